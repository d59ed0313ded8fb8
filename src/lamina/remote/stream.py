"""One stream on a server, and one at a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.catalog.rows import StreamRow
from lamina.columns import Ranges, Samples, Summaries
from lamina.errors import Closed, StreamNotFound
from lamina.streams import batch
from lamina.streams.bounds import check_answer
from lamina.streams.described import Described
from lamina.time import LAST_TIME, MIN_TIME, TimeLike, WidthLike, to_interval_ns, to_ns

if TYPE_CHECKING:
    from lamina.remote.database import Database
    from lamina.streams.policy import Policy

LATEST = 0
"""In place of a version: whatever is newest."""


class Stream(Described):
    """A handle on a stream of a server; cheap, thread-safe, equal to any other handle on the same stream. Each method
    is a round trip, and so are the properties but `uuid` and `id`; all mean what they mean for `lamina.Stream`."""

    __slots__ = ("_db", "_link", "id", "uuid")

    def __init__(self, db: Database, uuid: UUID, id: int) -> None:
        self._db = db
        self._link = db._link
        self.uuid = uuid
        self.id = id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.uuid == self.uuid and other._db is self._db

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<lamina.remote.Stream {self.uuid}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import stream_html

        return stream_html(self)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._link.call(f"stream/{method}", stream=self.uuid, **arguments)

    # -- writing ------------------------------------------------------------------------------------------------

    def insert(self, times: Any, values: Any = None, *, policy: Policy = "never") -> int:
        """Add points; the new version, durable and readable when this returns. As `lamina.Stream.insert`; one call
        carries 16,777,216 points at most (TooBig)."""
        from lamina.remote.streams import encoded

        self._db.check_open()
        payload = encoded(Samples(*batch.checked(times, values)))
        version: int = self._link.send("stream/insert", payload, len(payload), stream=str(self.uuid), policy=policy)
        return version

    def delete(self, start: TimeLike, end: TimeLike) -> int:
        """Remove the points in [start, end) in a new version, which is returned; older versions keep them."""
        version: int = self._call("delete", start=to_ns(start), end=to_ns(end))
        return version

    def flush(self) -> int:
        """Put what is buffered into segments; the latest version. Never needed for durability."""
        version: int = self._call("flush")
        return version

    def obliterate(self) -> None:
        """Remove the stream with its metadata and all versions, at once and for good. Full access."""
        self._call("obliterate")

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The latest version: 10 when created, one more per acknowledged insert or delete."""
        version: int = self._call("version")
        return version

    def at(self, version: int = LATEST) -> StreamView:
        """The stream as it was at a version, for several reads of the same; a context manager, to be closed. The
        server closes one that was not used for an hour."""
        return StreamView(self._db, *self._call("at", version=version))

    def values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1, version: int = LATEST) -> Samples:
        """Points with start <= time < end: time int64 ns ascending, value float64; equal times in insertion order."""
        return Samples.gathered(self.iter_values(start, end, version))

    def iter_values(
        self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1, version: int = LATEST
    ) -> Iterator[Samples]:
        """As values, lazily in chunks of some 130,000 points, none of them empty."""
        yield from self._call("values", start=to_ns(start), end=to_ns(end), version=version)

    def windows(
        self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0, version: int = LATEST
    ) -> Summaries:
        """Summaries of the windows [start + k * width, start + (k + 1) * width) that end by `end`, oldest first."""
        check_answer(to_ns(start), to_ns(end), to_interval_ns(width))
        return Summaries.gathered(self.iter_windows(start, end, width, depth, version))

    def iter_windows(
        self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0, version: int = LATEST
    ) -> Iterator[Summaries]:
        """As windows, lazily in chunks of at most 16,384."""
        yield from self._call(
            "windows", start=to_ns(start), end=to_ns(end), width=to_interval_ns(width), depth=depth, version=version
        )

    def aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int, version: int = LATEST) -> Summaries:
        """Summaries of the windows [k * 2**pointwidth, (k + 1) * 2**pointwidth) ns that have points, oldest first."""
        return Summaries.gathered(self.iter_aligned_windows(start, end, pointwidth, version))

    def iter_aligned_windows(
        self, start: TimeLike, end: TimeLike, pointwidth: int, version: int = LATEST
    ) -> Iterator[Summaries]:
        """As aligned_windows, lazily in chunks of some ten thousand."""
        yield from self._call(
            "aligned_windows", start=to_ns(start), end=to_ns(end), pointwidth=pointwidth, version=version
        )

    def nearest(self, time: TimeLike, backward: bool = False, version: int = LATEST) -> tuple[int, float] | None:
        """(time, value) of the first point at or after `time`, or with `backward` of the last strictly before it."""
        found: tuple[int, float] | None = self._call(
            "nearest", time=to_ns(time), backward=bool(backward), version=version
        )
        return found

    def earliest(self, version: int = LATEST) -> tuple[int, float] | None:
        """(time, value) of the first point; None without points."""
        return self.nearest(MIN_TIME, version=version)

    def latest(self, version: int = LATEST) -> tuple[int, float] | None:
        """(time, value) of the last point in time; None without points."""
        return self.nearest(LAST_TIME + 1, backward=True, version=version)

    def count(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1, version: int = LATEST) -> int:
        """Number of points with start <= time < end."""
        count: int = self._call("count", start=to_ns(start), end=to_ns(end), version=version)
        return count

    def changes(self, from_version: int, to_version: int = LATEST, resolution: int = 0) -> Ranges:
        """Ranges that hold every time whose points differ between the two versions (from exclusive, to inclusive)."""
        found: Ranges = self._call("changes", from_version=from_version, to_version=to_version, resolution=resolution)
        return found

    # -- metadata -----------------------------------------------------------------------------------------------

    def row(self) -> StreamRow:
        """All metadata as it is now. Raises StreamNotFound."""
        found: StreamRow = self._call("row")
        return found

    def exists(self) -> bool:
        """Whether it was not obliterated."""
        try:
            self._call("exists")
        except StreamNotFound:
            return False
        return True

    @property
    def oldest_version(self) -> int:
        """Versions below are not available; 0: all are kept."""
        version: int = self._call("oldest_version")
        return version

    def set_tags(
        self,
        changes: Mapping[str, str],
        *,
        collection: str | None = None,
        remove: Sequence[str] = (),
        expected: int | None = None,
    ) -> int:
        """Set tags, reset those in `remove`, move to another collection; the new property version."""
        version: int = self._call(
            "set_tags", changes=dict(changes), collection=collection, remove=list(remove), expected=expected
        )
        return version

    def set_annotations(
        self, changes: Mapping[str, str], *, remove: Sequence[str] = (), expected: int | None = None
    ) -> int:
        """Set annotations and delete those in `remove`; the new property version."""
        version: int = self._call("set_annotations", changes=dict(changes), remove=list(remove), expected=expected)
        return version

    def set_oldest_version(self, version: int) -> None:
        """Give up the versions below. Full access."""
        self._call("set_oldest_version", version=version)

    def set_retention(self, rule: Mapping[str, int] | None) -> None:
        """Which versions may be given up; None: as the database says. Full access."""
        from lamina.remote.database import mapping

        self._call("set_retention", rule=mapping(rule, "retention"))


class StreamView:
    """Reads of one version of a stream on a server, as `lamina.StreamView`: close it, or use `with`. `version` is the
    version read, never 0. The server closes one that was not used for an hour: Closed then."""

    __slots__ = ("_db", "_handle", "_link", "version")

    def __init__(self, db: Database, handle: str, version: int) -> None:
        self._db = db
        self._link = db._link
        self._handle: str | None = handle
        self.version = version

    def _call(self, method: str, **arguments: Any) -> Any:
        if self._handle is None:
            raise Closed("the view is closed")
        return self._link.call(f"view/{method}", view=self._handle, **arguments)

    def values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> Samples:
        """Points with start <= time < end, ascending; see `Stream.values`."""
        return Samples.gathered(self.iter_values(start, end))

    def iter_values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> Iterator[Samples]:
        """As values, lazily in chunks of some 130,000 points, none of them empty."""
        found: Iterator[Samples] = self._call("values", start=to_ns(start), end=to_ns(end))
        return found

    def windows(self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0) -> Summaries:
        """Summaries of the whole windows of `width` from `start` on, empty ones too; see `Stream.windows`."""
        check_answer(to_ns(start), to_ns(end), to_interval_ns(width))
        return Summaries.gathered(self.iter_windows(start, end, width, depth))

    def iter_windows(self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0) -> Iterator[Summaries]:
        """As windows, lazily in chunks of at most 16,384 windows."""
        found: Iterator[Summaries] = self._call(
            "windows", start=to_ns(start), end=to_ns(end), width=to_interval_ns(width), depth=depth
        )
        return found

    def aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int) -> Summaries:
        """Summaries of the 2**pointwidth ns windows that have points; see `Stream.aligned_windows`."""
        return Summaries.gathered(self.iter_aligned_windows(start, end, pointwidth))

    def iter_aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int) -> Iterator[Summaries]:
        """As aligned_windows, lazily in chunks of some ten thousand."""
        found: Iterator[Summaries] = self._call(
            "aligned_windows", start=to_ns(start), end=to_ns(end), pointwidth=pointwidth
        )
        return found

    def nearest(self, time: TimeLike, backward: bool = False) -> tuple[int, float] | None:
        """The first point at or after `time`, or with `backward` the last before; see `Stream.nearest`."""
        found: tuple[int, float] | None = self._call("nearest", time=to_ns(time), backward=bool(backward))
        return found

    def count(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> int:
        """Number of points with start <= time < end."""
        count: int = self._call("count", start=to_ns(start), end=to_ns(end))
        return count

    def changes_since(self, from_version: int, resolution: int = 0) -> Ranges:
        """Ranges that differ between `from_version` (exclusive) and this version; see `Stream.changes`."""
        found: Ranges = self._call("changes_since", from_version=from_version, resolution=resolution)
        return found

    def close(self) -> None:
        """Let the server have what only this view needs. Idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None and not self._link.closed:
            self._link.call("view/close", view=handle)

    def __enter__(self) -> StreamView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
