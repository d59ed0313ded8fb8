"""Tokens that the server's configuration gives (contract reductstore 13 and 19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lamina.access.database import Database
from lamina.access.permissions import Permissions
from lamina.access.recognition import permissions_of
from lamina.access.values import check_name, chosen, is_value_of
from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import SettingRow, TokenRow
from lamina.engine.metadata import Change
from lamina.errors import InvalidArgument

INIT_TOKEN = "init-token"
"""Name of the token that RS_API_TOKEN or RS_INIT_API_TOKEN gives."""

INIT_WRITTEN = "init-token written"
"""Setting: RS_INIT_API_TOKEN had its turn, whatever became of its token since."""


@dataclass(frozen=True, slots=True)
class Provision:
    """A token as variables describe it (RS_TOKEN_<id>_*)."""

    name: str
    value: str = field(repr=False)
    permissions: Permissions
    expires_us: int = 0  # 0 = never


def bootstrap(
    db: Database, api_token: str | None, *, init_token: str | None = None, provisioned: Sequence[Provision] = ()
) -> None:
    """Bring the token table in line with the configuration; a no-op if it already is.

    `api_token` becomes the value of the provisioned full-access token `init-token`; `provisioned` ones are made or
    changed likewise. Tokens that an earlier start provisioned and this one does not live on as ordinary ones, which
    can be removed. `init_token` is written once in the life of a database, as an ordinary `init-token` with full
    access, and does not come back when that was removed. To be called before `Tokens(db)`. Raises InvalidArgument
    (name, value, a name given twice). Up to 50 ms per token that is wanted: the values are stretched.
    """
    wanted = list(provisioned)
    if api_token is not None:
        wanted.insert(0, Provision(INIT_TOKEN, api_token, Permissions(full_access=True)))
    names = [provision.name for provision in wanted]
    for name in names:
        check_name(name)
        if names.count(name) > 1:
            raise InvalidArgument(f"token '{name}' is configured more than once")
    with db.catalog.snapshot() as snapshot:
        held = {row.name: row for row in snapshot.tokens()}
    rows = [_row(db, provision, held.get(provision.name)) for provision in wanted]  # stretched before the lane is held
    once = None
    if init_token is not None and api_token is None:
        once = _new(db, Provision(INIT_TOKEN, init_token, Permissions(full_access=True)), provisioned=False)

    def decide(snapshot: CatalogSnapshot) -> Change:
        before = {row.name: row for row in snapshot.tokens()}
        change = Change([row for row in rows if before.get(row.name) != row])
        change.puts += [
            row._replace(provisioned=False) for row in before.values() if row.provisioned and row.name not in names
        ]
        if once is not None and snapshot.setting(INIT_WRITTEN) is None:
            change.puts.append(SettingRow(INIT_WRITTEN, {"written_us": once.created_us}))
            if INIT_TOKEN not in before and INIT_TOKEN not in names:
                change.puts.append(once)
        return change

    db.metadata.change(decide)


def _row(db: Database, provision: Provision, held: TokenRow | None) -> TokenRow:
    """The row wanted, which is the one held where nothing changed."""
    if held is None or not is_value_of(held, provision.value.encode("utf-8", "surrogatepass")):
        return _new(db, provision, provisioned=True)
    wanted = Permissions.of(provision.permissions)
    kept = held if permissions_of(held) == wanted else held._replace(permissions=wanted.to_json())
    return kept._replace(expires_us=provision.expires_us, provisioned=True, ttl_s=0, ip_allowlist=[])


def _new(db: Database, provision: Provision, *, provisioned: bool) -> TokenRow:
    return TokenRow(
        provision.name,
        db.random.token_bytes(8).hex(),
        *chosen(provision.value, db.random),
        Permissions.of(provision.permissions).to_json(),
        db.clock.wall_us(),
        provision.expires_us,
        provisioned,
        0,
        0,
        [],
    )
