"""API tokens: made, listed, removed, and recognised in an `Authorization` header.

The catalog holds a salted hash. Values made here carry 128 random bits, so one SHA-256 is enough; values that people
choose are stretched with scrypt, and because that costs 50 ms and 16 MiB, what was verified is remembered under a
keyed BLAKE2 of the value. A value itself is never kept, printed or put into an error.

Invariants: 1. any change of the token table forgets everything remembered; 2. a change made elsewhere takes effect
within RELOAD_NS; 3. expiry is looked at on every call.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from lamina.access.permissions import Permissions
from lamina.access.principals import Principal
from lamina.catalog.catalog import Catalog
from lamina.catalog.rows import Row, TokenRow
from lamina.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, PermissionDenied, TooBig
from lamina.random import Random
from lamina.time import Clock, TimeLike, to_ns

INIT_TOKEN = "init-token"
"""Name of the token that the server's configuration gives (contract reductstore 13)."""

TOKEN_LIMIT = 10_000  # architecture section 15
RELOAD_NS = 500_000_000  # revocation must be effective within 1 s; reading the table takes 2 us a token
REFUSED_LIMIT = 10_000  # wrong values remembered, so that a misconfigured client costs no scrypt per call (1 MB)
VALUE_LIMIT = 512  # characters of a chosen value: it travels in a header

_NAME = re.compile(r"[!-~]{1,255}")  # part of a generated value, which travels in a header: visible ASCII
_VALUE = re.compile(rf"[!-~]{{1,{VALUE_LIMIT}}}")
_LONGEST = max(VALUE_LIMIT, 255 + 33)  # characters of any value there can be

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 14, 8, 1  # 16 MiB, about 50 ms


class Metadata(Protocol):
    def put(self, rows: Sequence[Row]) -> object: ...

    def delete(self, table: str, key: Any) -> object: ...


class Database(Protocol):
    """What is needed of an open database."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def metadata(self) -> Metadata: ...

    @property
    def random(self) -> Random: ...

    @property
    def clock(self) -> Clock: ...


class TokenInfo(NamedTuple):
    """A token as it may be shown."""

    name: str
    permissions: Permissions
    created_us: int
    expires_us: int  # 0 = never
    provisioned: bool


class _Known:
    """The token table as last read, and the digests of values that were held against it."""

    __slots__ = ("accepted", "read_ns", "refused", "rows")

    def __init__(self, rows: dict[str, TokenRow], read_ns: int) -> None:
        self.rows = rows
        self.read_ns = read_ns
        self.accepted: dict[bytes, TokenRow] = {}  # never more than there are tokens
        self.refused: set[bytes] = set()  # apart, so that a flood of wrong values pushes out no right one


class Tokens:
    """The tokens of a database. Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._key = db.random.token_bytes(32)  # of the BLAKE2 digests; lives as long as this object
        self._changing = threading.Lock()  # one change at a time
        self._stretching = threading.Lock()  # one scrypt at a time: a flood of wrong values costs one core, not all
        self._known = self._read()

    def create(
        self,
        name: str,
        permissions: Permissions | Mapping[str, Any],
        expires: TimeLike | None = None,
        value: str | None = None,
        *,
        provisioned: bool = False,
    ) -> str:
        """Make a token; the value, which is shown here and never again.

        Without `value` one is made: `<name>-<32 hex digits>`. `expires` is a time as everywhere (int: ns).
        Raises AlreadyExists, InvalidArgument (name, permissions, expiry in the past, value), TooBig (TOKEN_LIMIT).
        """
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"token name {name[:40]!r}: expected 1 to 255 visible ASCII characters")
        allowed = Permissions.of(permissions)
        now_us = self._db.clock.wall_us()
        expires_us = 0 if expires is None else to_ns(expires) // 1000
        if expires is not None and expires_us <= now_us:
            raise InvalidArgument(f"Token expiration date must not be in the past, got {expires!r}")
        with self._changing:
            rows = self._read().rows
            if name in rows:
                raise AlreadyExists(f"Token '{name}' already exists")
            if len(rows) >= TOKEN_LIMIT:
                raise TooBig(f"there are {len(rows)} tokens, at most {TOKEN_LIMIT} are allowed")
            row, value = _make_row(self._db, name, allowed, expires_us, value, provisioned)
            self._db.metadata.put([row])
            self._known = self._read()
        return value

    def remove(self, name: str) -> None:
        """Revoke a token; its value is refused at once.

        Raises NotFound, or Conflict for a provisioned token and for the last one with full access.
        """
        with self._changing:
            rows = self._read().rows
            row = rows.get(name)
            if row is None:
                raise NotFound(f"Token '{name}' doesn't exist")
            if row.provisioned:
                raise Conflict(f"Can't remove provisioned token '{name}'")
            if row.permissions.get("full_access") and not any(
                other.permissions.get("full_access") for other in rows.values() if other.name != name
            ):
                raise Conflict(f"Can't remove token '{name}': at least one full-access token must remain")
            self._db.metadata.delete("token", name)
            self._known = self._read()

    def list(self) -> list[TokenInfo]:
        """All tokens by name, expired ones included."""
        rows = self._read().rows
        return [
            TokenInfo(row.name, _permissions(row), row.created_us, row.expires_us, row.provisioned)
            for _, row in sorted(rows.items())
        ]

    def authenticate(self, header_value: str | None) -> Principal:
        """Who an `Authorization` header names. The scheme is Bearer in any case of letters.

        Raises PermissionDenied("invalid api key"), whatever the reason. About 3 us for a value seen before.
        """
        scheme, _, value = (header_value or "").partition(" ")
        value = value.strip()
        known = self._current()
        row = self._find(known, value) if scheme.lower() == "bearer" and value else None
        if row is None or (row.expires_us and row.expires_us <= self._db.clock.wall_us()):
            raise PermissionDenied("invalid api key")
        return Principal(row.name, _permissions(row))

    def _find(self, known: _Known, value: str) -> TokenRow | None:
        if len(value) > _LONGEST:
            return None
        secret = value.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(secret, key=self._key, digest_size=32).digest()
        row = known.accepted.get(digest)
        if row is None and digest not in known.refused:
            row = self._verify(known, secret, digest)
            if row is not None:
                known.accepted[digest] = row
            else:
                if len(known.refused) >= REFUSED_LIMIT:
                    known.refused.clear()
                known.refused.add(digest)
        return row

    def _verify(self, known: _Known, secret: bytes, digest: bytes) -> TokenRow | None:
        """The token whose value this is. A generated value names its token, so one hash decides; the chosen ones are
        tried one after the other."""
        row = known.rows.get(secret.rpartition(b"-")[0].decode("ascii", "replace"))
        if row is not None and row.kind == "sha256" and _matches(row, secret):
            return row
        for row in known.rows.values():
            if row.kind == "scrypt":
                with self._stretching:
                    if digest in known.accepted or digest in known.refused:  # tried by another call meanwhile
                        return known.accepted.get(digest)
                    if _matches(row, secret):
                        known.accepted[digest] = row  # before the lock is let go, or the next call stretches again
                        return row
        return None

    def _current(self) -> _Known:
        known = self._known
        if self._db.clock.monotonic_ns() - known.read_ns >= RELOAD_NS:
            fresh = self._read()
            if fresh.rows == known.rows:
                known.read_ns = fresh.read_ns  # invariant 1 holds: nothing changed
            else:
                self._known = known = fresh
        return known

    def _read(self) -> _Known:
        read_ns = self._db.clock.monotonic_ns()  # before reading: a change after it is seen by the next read
        with self._db.catalog.snapshot() as snapshot:
            return _Known({row.name: row for row in snapshot.tokens()}, read_ns)


def bootstrap(db: Database, api_token: str | None) -> None:
    """Make `api_token` the value of the provisioned full-access token `init-token`; a no-op if it already is.

    Without a value an earlier `init-token` lives on as an ordinary token, which can be removed. To be called before
    `Tokens(db)`. Raises InvalidArgument (value).
    """
    if api_token is None:
        _release(db)
        return
    allowed = Permissions(full_access=True)
    with db.catalog.snapshot() as snapshot:
        row = next((row for row in snapshot.tokens() if row.name == INIT_TOKEN), None)
    kept = row is not None and row.provisioned and not row.expires_us and _permissions(row) == allowed
    if row is not None and kept and _matches(row, api_token.encode("utf-8", "surrogatepass")):
        return
    row, _ = _make_row(db, INIT_TOKEN, allowed, 0, api_token, provisioned=True)
    db.metadata.put([row])


def _release(db: Database) -> None:
    with db.catalog.snapshot() as snapshot:
        row = next((row for row in snapshot.tokens() if row.name == INIT_TOKEN and row.provisioned), None)
    if row is not None:
        db.metadata.put([row._replace(provisioned=False)])


def _make_row(
    db: Database, name: str, permissions: Permissions, expires_us: int, value: str | None, provisioned: bool
) -> tuple[TokenRow, str]:
    if value is None:
        kind, value = "sha256", f"{name}-{db.random.token_bytes(16).hex()}"
    else:
        kind = "scrypt"
        if not _VALUE.fullmatch(value):
            raise InvalidArgument(
                f"the value of a token has 1 to {VALUE_LIMIT} visible ASCII characters; the one given has {len(value)}"
            )
    salt = db.random.token_bytes(16)
    row = TokenRow(
        name=name,
        id=db.random.token_bytes(8).hex(),
        kind=kind,
        salt=salt,
        hash=_hash(kind, salt, value.encode()),
        permissions=permissions.to_json(),
        created_us=db.clock.wall_us(),
        expires_us=expires_us,
        provisioned=provisioned,
    )
    return row, value


def _hash(kind: str, salt: bytes, secret: bytes) -> bytes:
    if kind == "sha256":
        return hashlib.sha256(salt + secret).digest()
    return hashlib.scrypt(secret, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=64 << 20, dklen=32)


def _matches(row: TokenRow, secret: bytes) -> bool:
    return hmac.compare_digest(_hash(row.kind, row.salt, secret), row.hash)


def _permissions(row: TokenRow) -> Permissions:
    members = row.permissions
    return Permissions(
        members.get("full_access") is True, tuple(members.get("read", ())), tuple(members.get("write", ()))
    )
