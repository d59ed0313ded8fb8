"""A database on a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.catalog.rows import PinRow
from lamina.errors import InvalidArgument
from lamina.remote.buckets import Buckets
from lamina.remote.snapshot import Snapshot
from lamina.remote.streams import Streams
from lamina.storage.log import Damage

if TYPE_CHECKING:
    from lamina.remote.link import Link
    from lamina.remote.measurements import Measurements


class Database:
    """What `lamina.connect` gives; a context manager that closes it. Thread-safe.

    As `lamina.Database`: `streams`, `buckets` and `measurements` hold the data. `path` is the URL, `id` the 16 random
    bytes of the directory. What concerns the whole of it needs a token with full access. Every method raises Closed
    after `close()`, and in a forked child; Unavailable where the server does not answer; OutcomeUnknown where the
    connection broke after a change was asked for; PermissionDenied.
    """

    def __init__(self, link: Link, id: bytes) -> None:
        self._link = link
        self.path = link.url
        self.id = id
        self.streams = Streams(self)
        self.buckets = Buckets(self)

    @cached_property
    def measurements(self) -> Measurements:
        """Points, by measurement."""
        from lamina.remote.measurements import Measurements  # of which programs without points load nothing

        return Measurements(self._link)

    def flush(self) -> None:
        """Put everything unflushed into segments now. Never needed for durability or visibility. Full access."""
        self._link.call("database/flush")

    def snapshot(self, name: str | None = None) -> Snapshot:
        """The whole database as it is now, readable until closed; with a name (full access) kept until it is dropped.

        The server closes one that was not used for an hour."""
        if name is None:
            return Snapshot(self, *self._link.call("database/snapshot"))
        return Snapshot(self, *self._link.call("database/pin", name=name))

    def open_snapshot(self, name: str) -> Snapshot:
        """A named snapshot, opened again; close it. Raises NotFound."""
        return Snapshot(self, *self._link.call("database/open_snapshot", name=name))

    def snapshots(self) -> list[PinRow]:
        """Named snapshots by name: rows of name, seq and created_us (µs since the epoch)."""
        found: list[PinRow] = self._link.call("database/snapshots")
        return found

    def drop_snapshot(self, name: str) -> None:
        """Forget a named snapshot. Full access. Raises NotFound."""
        self._link.call("database/drop_snapshot", name=name)

    def set_retention(self, rule: Mapping[str, int] | None) -> None:
        """The rule for streams without one of their own; None, the default: keep all versions. Full access."""
        self._link.call("database/set_retention", rule=mapping(rule, "retention"))

    def compact(self) -> int:
        """Give back space of pruned versions, obliterated streams and dead records; bytes freed of streams. Full
        access. Takes as long as it takes."""
        freed: int = self._link.call("database/compact")
        return freed

    def stats(self) -> dict[str, int | float]:
        """Counters and sizes, as /metrics shows them. Full access."""
        found: dict[str, int | float] = self._link.call("database/stats")
        return found

    @property
    def poisoned(self) -> BaseException | None:
        """Why the server stopped writing; None while all is well. Full access."""
        (error,) = self._link.call("database/poisoned")
        stopped: BaseException | None = error
        return stopped

    @property
    def degraded(self) -> Sequence[Damage]:
        """Acknowledged changes that recovery found missing: log file, first and last missing seq. Full access."""
        return [Damage(*one) for one in self._link.call("database/degraded")]

    @property
    def version_gaps(self) -> dict[int, tuple[int, int]]:
        """Streams that lost changes: stream id -> (version expected, version found). Full access."""
        return {id: (expected, found) for id, expected, found in self._link.call("database/version_gaps")}

    @property
    def closed(self) -> bool:
        return self._link.closed

    def check_open(self) -> None:
        """Raises Closed."""
        self._link.check_open()

    def close(self) -> None:
        """Let the connections go. Idempotent; the server goes on."""
        self._link.close()

    def __enter__(self) -> Database:
        self.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<lamina.remote.Database {self.path!r}{' closed' if self.closed else ''}>"


def mapping(given: Mapping[str, object] | None, what: str) -> dict[str, object] | None:
    """As JSON takes it. Raises InvalidArgument."""
    if given is not None and not isinstance(given, Mapping):
        raise InvalidArgument(f"{what} {given!r}: expected a mapping")
    return None if given is None else dict(given)
