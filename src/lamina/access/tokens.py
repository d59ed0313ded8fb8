"""API tokens: made, listed, rotated, removed, recognised in an `Authorization` header (contract reductstore 1.4, 13).

Every change is decided under the metadata lane, on the table as it is then. Expiry, idleness and the client's address
are looked at on every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lamina.access.database import Database
from lamina.access.permissions import Permissions
from lamina.access.principals import ANONYMOUS_FULL, Principal
from lamina.access.recognition import Holder, Recognition, permissions_of
from lamina.access.uses import Uses
from lamina.access.values import Hashed, check_name, chosen, made
from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import TokenRow
from lamina.engine.metadata import Change
from lamina.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TooBig,
    Unauthenticated,
)
from lamina.time import TimeLike, to_ns

TOKEN_LIMIT = 10_000  # architecture section 15
TTL_LIMIT_S = (1 << 63) - 1  # a column of the catalog is a signed 64-bit number

ADDRESS_LIMIT = 1024
"""Entries of an address list, and characters of one."""

_SCHEME = "Bearer "


class TokenInfo(NamedTuple):
    """A token as it may be shown."""

    name: str
    permissions: Permissions
    created_us: int  # of its value
    expires_us: int  # 0 = never
    provisioned: bool
    ttl_s: int  # 0 = may idle for ever
    last_access_us: int  # 0 = not known
    ip_allowlist: tuple[str, ...]  # empty: from anywhere
    is_expired: bool  # past `expires_us`, or idle for longer than `ttl_s`


DISABLED = TokenInfo(ANONYMOUS_FULL.name, ANONYMOUS_FULL.permissions, 0, 0, False, 0, 0, (), False)
"""What `/me` shows on a server without authentication."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A value just made; shown once."""

    value: str = field(repr=False)
    created_us: int


class Tokens:
    """The tokens of a database. Thread-safe.

    Whoever serves calls `save_uses` every few seconds on a thread, and `close` before the database is closed: a token
    with a ttl lives on its last use across restarts.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._uses = Uses(db)
        self._recognition = Recognition(db)

    # -- changing

    def create(
        self,
        name: str,
        permissions: Permissions | Mapping[str, Any],
        expires: TimeLike | None = None,
        value: str | None = None,
        *,
        ttl_s: int | None = None,
        ip_allowlist: Sequence[str] = (),
        provisioned: bool = False,
    ) -> str:
        """Make a token; the value, as `issue` gives it."""
        issued = self.issue(
            name, permissions, expires, value, ttl_s=ttl_s, ip_allowlist=ip_allowlist, provisioned=provisioned
        )
        return issued.value

    def issue(
        self,
        name: str,
        permissions: Permissions | Mapping[str, Any],
        expires: TimeLike | None = None,
        value: str | None = None,
        *,
        ttl_s: int | None = None,
        ip_allowlist: Sequence[str] = (),
        provisioned: bool = False,
    ) -> Issued:
        """Make a token; its value, which is given here and never again.

        Without `value` one is made: `<name>-<32 hex digits>`. `expires` is a time as everywhere (int: ns). `ttl_s`:
        seconds without use after which it is dead. `ip_allowlist`: addresses and CIDR blocks; malformed ones match
        nothing. Raises, in this order, InvalidArgument (name), AlreadyExists, InvalidArgument (permissions, ttl,
        expiry in the past, list, value), TooBig (TOKEN_LIMIT). Blocks for a metadata commit.
        """
        check_name(name)
        if self._row(name) is not None:
            raise _taken(name)
        allowed = Permissions.of(permissions)
        if ttl_s is not None and ttl_s <= 0:
            raise InvalidArgument("Token TTL must be greater than zero")
        if ttl_s is not None and ttl_s > TTL_LIMIT_S:
            raise InvalidArgument(f"Token TTL is {ttl_s} s, at most {TTL_LIMIT_S} are allowed")
        now_us = self._db.clock.wall_us()
        expires_us = 0 if expires is None else to_ns(expires) // 1000
        if expires is not None and expires_us <= now_us:
            raise InvalidArgument("Token expiration date must not be in the past")
        addresses = _addresses(ip_allowlist)
        hashed: Hashed
        if value is None:
            value, hashed = made(name, self._db.random)
        else:
            hashed = chosen(value, self._db.random)
        id = self._db.random.token_bytes(8).hex()
        row = TokenRow(name, id, *hashed, allowed.to_json(), now_us, expires_us, provisioned, ttl_s or 0, 0, addresses)

        def decide(snapshot: CatalogSnapshot) -> Change:
            names = {held.name for held in snapshot.tokens()}
            if name in names:
                raise _taken(name)
            if len(names) >= TOKEN_LIMIT:
                raise TooBig(f"there are {len(names)} tokens, at most {TOKEN_LIMIT} are allowed")
            return Change([row])

        self._change(decide)
        return Issued(value, now_us)

    def rotate(self, name: str) -> Issued:
        """A new value for a token that keeps everything else; the old one is refused at once.

        Raises NotFound, Conflict (provisioned), InvalidArgument (expired). Blocks for a metadata commit.
        """
        now_us = self._db.clock.wall_us()
        value, hashed = made(name, self._db.random)

        def decide(snapshot: CatalogSnapshot) -> Change:
            row = _named(snapshot, name)
            if row.provisioned:
                raise Conflict(f"Can't rotate provisioned token '{name}'")
            if self._is_expired(row, now_us):
                raise InvalidArgument(f"Can't rotate expired token '{name}'")
            kind, salt, hash = hashed
            return Change([row._replace(kind=kind, salt=salt, hash=hash, created_us=now_us)])

        self._change(decide)
        return Issued(value, now_us)

    def remove(self, name: str) -> None:
        """Revoke a token; its value is refused at once.

        Raises NotFound, or Conflict for a provisioned token and for the last one with full access.
        """

        def decide(snapshot: CatalogSnapshot) -> Change:
            row = _named(snapshot, name)
            if row.provisioned:
                raise Conflict(f"Can't remove provisioned token '{name}'")
            if row.permissions.get("full_access") and not any(
                other.permissions.get("full_access") for other in snapshot.tokens() if other.name != name
            ):
                raise Conflict(f"Can't remove token '{name}': at least one full-access token must remain")
            return Change(deletes=[("token", name)])

        self._change(decide)

    def rename_bucket(self, old: str, new: str) -> None:
        """Give a bucket its new name in the permissions of all tokens; patterns stay. Nothing to do is fine."""
        self._permit(lambda permissions: permissions.renamed(old, new))

    def forget_bucket(self, name: str) -> None:
        """Take the name of a removed bucket out of the permissions of all tokens; patterns stay."""
        self._permit(lambda permissions: permissions.without(name))

    def _permit(self, changed: Callable[[Permissions], Permissions]) -> None:
        def decide(snapshot: CatalogSnapshot) -> Change:
            change = Change()
            for row in snapshot.tokens():
                before = permissions_of(row)
                after = changed(before)
                if after != before:
                    change.puts.append(row._replace(permissions=after.to_json()))
            return change

        self._change(decide)

    def _change(self, decide: Callable[[CatalogSnapshot], Change]) -> None:
        self._db.metadata.change(decide)
        self._recognition.forget()

    # -- showing

    def list(self) -> list[TokenInfo]:
        """All tokens by name, expired ones included."""
        with self._db.catalog.snapshot() as snapshot:
            rows = sorted(snapshot.tokens())  # by name, the first field
        return [self._info(row) for row in rows]

    def get(self, name: str) -> TokenInfo:
        """Raises NotFound."""
        row = self._row(name)
        if row is None:
            raise _missing(name)
        return self._info(row)

    def _row(self, name: str) -> TokenRow | None:
        with self._db.catalog.snapshot() as snapshot:
            return snapshot.token(name)

    def _info(self, row: TokenRow) -> TokenInfo:
        return TokenInfo(
            row.name,
            permissions_of(row),
            row.created_us,
            row.expires_us,
            row.provisioned,
            row.ttl_s,
            self._uses.last(row),
            tuple(row.ip_allowlist),
            self._is_expired(row, self._db.clock.wall_us()),
        )

    # -- recognising

    def authenticate(self, header_value: str | None, client_ip: str | None = None) -> Principal:
        """Who an `Authorization` header names. The scheme is Bearer in any case of letters.

        A token with an address list is refused where `client_ip` is not given. Raises
        PermissionDenied("invalid api key"), whatever the reason. About 3 us for a value seen before.
        """
        scheme, _, value = (header_value or "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise Unauthenticated("No bearer token in request header")
            return self._admit(self._recognition.find(value.strip()), client_ip)
        except Unauthenticated:
            raise PermissionDenied("invalid api key") from None  # who has none learns nothing about keys

    def identify(self, header_value: str | None, client_ip: str | None) -> Principal:
        """Who an `Authorization` header of HTTP names, called from an address (None: not known).

        Raises Unauthenticated with the messages and in the order of contract reductstore 1.4. About 3 us for a value
        seen before; blocks for others (`try_identify`).
        """
        return self._admit(self._recognition.find(_bearer(header_value)), client_ip)

    def try_identify(self, header_value: str | None, client_ip: str | None) -> Principal | None:
        """The same without blocking. None: the table is to be read or a value to be stretched, call `identify` on a
        thread."""
        sure, holder = self._recognition.recall(_bearer(header_value))
        return self._admit(holder, client_ip) if sure else None

    def _admit(self, holder: Holder | None, client_ip: str | None) -> Principal:
        if holder is None:
            raise Unauthenticated("Invalid token")
        now_us = self._db.clock.wall_us()
        row = holder.row
        if (row.expires_us or row.ttl_s) and self._is_expired(row, now_us):
            raise Unauthenticated("Token has expired")
        if holder.allowed is not None:
            if not client_ip:
                raise Unauthenticated("Client IP is required for this token")
            if not holder.allowed.admits(client_ip):
                raise Unauthenticated(f"Token is not allowed for client IP {client_ip}")
        self._uses.note(row.id, now_us)
        return holder.principal

    def _is_expired(self, row: TokenRow, now_us: int) -> bool:
        if row.expires_us and row.expires_us <= now_us:
            return True
        # one that was never used idles since it got its value
        return bool(row.ttl_s) and now_us - max(self._uses.last(row), row.created_us) > row.ttl_s * 1_000_000

    # -- last uses

    def save_uses(self) -> None:
        """Write last uses that are a minute newer than what is on disk; cheap when there are none. Raises as a
        metadata change does; nothing is lost then, the next call tries again."""
        self._uses.save()

    def close(self) -> None:
        """Write all last uses. Raises as `save_uses`."""
        self._uses.save(all=True)


def required_tokens(db: Database) -> Tokens | None:
    """The tokens that callers must show; None: the database has none, and everybody may do everything. Reads the
    catalog."""
    tokens = Tokens(db)
    return tokens if tokens.list() else None


def _bearer(header_value: str | None) -> str:
    if header_value is None or not header_value.startswith(_SCHEME):
        raise Unauthenticated("No bearer token in request header")
    return header_value[len(_SCHEME) :]


def _named(snapshot: CatalogSnapshot, name: str) -> TokenRow:
    row = snapshot.token(name)
    if row is None:
        raise _missing(name)
    return row


def _missing(name: str) -> NotFound:
    return NotFound(f"Token '{name}' doesn't exist")


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(f"Token '{name}' already exists")


def _addresses(entries: Sequence[str]) -> list[str]:
    if isinstance(entries, str) or len(entries) > ADDRESS_LIMIT:
        raise InvalidArgument(f"ip_allowlist: expected a list of at most {ADDRESS_LIMIT} addresses or CIDR blocks")
    for entry in entries:
        if not isinstance(entry, str) or not entry.isascii() or len(entry) > ADDRESS_LIMIT:
            raise InvalidArgument(f"ip_allowlist: {entry!r:.80} is neither an address nor a CIDR block")
    return list(entries)
