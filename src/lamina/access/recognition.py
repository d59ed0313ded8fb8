"""Whose value is this: the token table as last read, and the values that were held against it.

Because a chosen value costs 50 ms to verify, what was verified is remembered under a keyed BLAKE2 of the value. A value
itself is never kept, printed or put into an error.

Invariants: 1. any change of the token table but that of last uses forgets everything remembered; 2. a change made
elsewhere takes effect within RELOAD_NS.
"""

from __future__ import annotations

import hashlib
import threading

from lamina.access.allowlist import AllowList
from lamina.access.database import Database
from lamina.access.permissions import Permissions
from lamina.access.principals import Principal
from lamina.access.values import LONGEST, is_value_of
from lamina.catalog.rows import TokenRow

RELOAD_NS = 500_000_000  # revocation must be effective within 1 s; reading the table takes 8 us a token
REFUSED_LIMIT = 10_000  # wrong values remembered, so that a misconfigured client costs no scrypt per call (1 MB)


class Holder:
    """A token somebody has proved to hold."""

    __slots__ = ("allowed", "principal", "row")

    def __init__(self, row: TokenRow) -> None:
        self.row = row
        self.principal = Principal(row.name, permissions_of(row))
        self.allowed = AllowList(row.ip_allowlist) if row.ip_allowlist else None  # None: from anywhere


class Known:
    """The token table as last read, and the digests of values that were held against it."""

    __slots__ = ("accepted", "read_ns", "refused", "rows")

    def __init__(self, rows: dict[str, TokenRow], read_ns: int) -> None:
        self.rows = rows
        self.read_ns = read_ns
        self.accepted: dict[bytes, Holder] = {}  # never more than there are tokens
        self.refused: set[bytes] = set()  # apart, so that a flood of wrong values pushes out no right one


class Recognition:
    """Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._key = db.random.token_bytes(32)  # of the BLAKE2 digests; lives as long as this object
        self._stretching = threading.Lock()  # one scrypt at a time: a flood of wrong values costs one core, not all
        self._replacing = threading.Lock()  # guards which Known is _known, not its content
        self._known = self._read()

    def find(self, value: str) -> Holder | None:
        """The token whose value this is. About 1.5 us for a value seen before, 50 ms for each chosen value that a new
        one must be tried against, a read of the table twice a second."""
        known = self._current()
        if not 0 < len(value) <= LONGEST:
            return None
        secret = value.encode("utf-8", "surrogatepass")
        digest = self._digest(secret)
        holder = known.accepted.get(digest)
        if holder is None and digest not in known.refused:
            holder = self._verify(known, secret, digest)
            if holder is not None:
                known.accepted[digest] = holder
            else:
                if len(known.refused) >= REFUSED_LIMIT:
                    known.refused.clear()
                known.refused.add(digest)
        return holder

    def recall(self, value: str) -> tuple[bool, Holder | None]:
        """Whether `find` would answer at once, without I/O or scrypt, and if so its answer."""
        known = self._known
        if self._db.clock.monotonic_ns() - known.read_ns >= RELOAD_NS:
            return False, None
        if not 0 < len(value) <= LONGEST:
            return True, None
        digest = self._digest(value.encode("utf-8", "surrogatepass"))
        holder = known.accepted.get(digest)
        return holder is not None or digest in known.refused, holder

    def forget(self) -> None:
        """After a change of the table: what is found from now on is as the table is now."""
        with self._replacing:  # reads in the order of their installation
            self._known = self._read()

    def _digest(self, secret: bytes) -> bytes:
        return hashlib.blake2b(secret, key=self._key, digest_size=32).digest()

    def _verify(self, known: Known, secret: bytes, digest: bytes) -> Holder | None:
        """A made value names its token, so one hash decides; the chosen ones are tried one after the other."""
        row = known.rows.get(secret.rpartition(b"-")[0].decode("ascii", "replace"))
        if row is not None and row.kind == "sha256" and is_value_of(row, secret):
            return Holder(row)
        for row in known.rows.values():
            if row.kind == "scrypt":
                with self._stretching:
                    if digest in known.accepted or digest in known.refused:  # tried by another call meanwhile
                        return known.accepted.get(digest)
                    if is_value_of(row, secret):
                        # before the lock is let go, or the next call stretches again
                        holder = known.accepted[digest] = Holder(row)
                        return holder
        return None

    def _current(self) -> Known:
        known = self._known
        if self._db.clock.monotonic_ns() - known.read_ns >= RELOAD_NS:
            fresh = self._read()
            if fresh.rows != known.rows:
                if not _same(fresh.rows, known.rows):
                    return self._replace(known, fresh)
                known.rows = fresh.rows
                for holder in list(known.accepted.values()):
                    holder.row = fresh.rows[holder.row.name]
            known.read_ns = fresh.read_ns  # invariant 1 holds: nothing changed that matters
        return known

    def _replace(self, known: Known, fresh: Known) -> Known:
        """Install a table, unless a change did meanwhile: it knows more."""
        with self._replacing:
            if self._known is known:
                self._known = fresh
            return self._known

    def _read(self) -> Known:
        read_ns = self._db.clock.monotonic_ns()  # before reading: a change after it is seen by the next read
        with self._db.catalog.snapshot() as snapshot:
            return Known({row.name: row for row in snapshot.tokens()}, read_ns)


def permissions_of(row: TokenRow) -> Permissions:
    members = row.permissions
    return Permissions(
        members.get("full_access") is True, tuple(members.get("read", ())), tuple(members.get("write", ()))
    )


def _same(one: dict[str, TokenRow], other: dict[str, TokenRow]) -> bool:
    """Whether two tables differ in last uses at most: those of a busy server change every minute."""
    return one.keys() == other.keys() and all(
        row == other[name]._replace(last_access_us=row.last_access_us) for name, row in one.items()
    )
