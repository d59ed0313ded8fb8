"""A stream at one version: the reads, over a pinned state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from lamina.columns import Ranges, Samples, Summaries
from lamina.engine.slots import Slot
from lamina.errors import Closed
from lamina.streams import changes, nearest, scan, window
from lamina.streams.bounds import check_answer, check_exponent, check_range
from lamina.streams.node import BIAS
from lamina.streams.state import StreamState
from lamina.streams.view import EMPTY_TIMES, View
from lamina.time import LAST_TIME, MIN_TIME, TimeLike, WidthLike, to_interval_ns, to_ns

if TYPE_CHECKING:
    from lamina.engine.database import Database


class StreamView:
    """Reads of one version; every answer is of exactly that version. Made by `Stream.at` and `Snapshot.stream`.

    Close it (or use `with`): until then compaction keeps what it reads. Methods are those of `Stream` without
    `version`, with the same columns, order and errors; after `close` they raise Closed. `version` is the version
    read, never 0.
    """

    __slots__ = ("_db", "_lease", "_slot", "_state", "_view", "version")

    def __init__(self, db: Database, slot: Slot, state: StreamState, view: View, lease: int) -> None:
        self._db = db
        self._slot = slot
        self._state = state
        self._view = view
        self._lease = lease
        self.version = view.version

    def __repr__(self) -> str:
        return f"<lamina.StreamView {UUID(bytes=self._slot.uuid)} version={self.version}>"

    def values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> Samples:
        """Points with start <= time < end, ascending; see `Stream.values`."""
        return scan.whole(self._open(), self._db.read, to_ns(start), to_ns(end))

    def iter_values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> Iterator[Samples]:
        """As values, lazily in chunks of some 130,000 points, none of them empty. Arguments are checked at the call."""
        return scan.raw(self._open(), self._db.read, to_ns(start), to_ns(end))

    def windows(self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0) -> Summaries:
        """Summaries of the whole windows of `width` from `start` on, empty ones too; see `Stream.windows`."""
        first, last, step = to_ns(start), to_ns(end), to_interval_ns(width)
        check_answer(first, last, step)
        return Summaries.gathered(self.iter_windows(first, last, step, depth))

    def iter_windows(self, start: TimeLike, end: TimeLike, width: WidthLike, depth: int = 0) -> Iterator[Summaries]:
        """As windows, lazily in chunks of at most 16,384 windows. Arguments are checked at the call."""
        return window.windows(self._open(), self._db.read, to_ns(start), to_ns(end), to_interval_ns(width), depth)

    def aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int) -> Summaries:
        """Summaries of the 2**pointwidth ns windows that have points; see `Stream.aligned_windows`."""
        return Summaries.gathered(self.iter_aligned_windows(start, end, pointwidth))

    def iter_aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int) -> Iterator[Summaries]:
        """As aligned_windows, lazily in chunks of some ten thousand. Arguments are checked at the call."""
        return window.aligned_windows(self._open(), self._db.read, to_ns(start), to_ns(end), pointwidth)

    def nearest(self, time: TimeLike, backward: bool = False) -> tuple[int, float] | None:
        """The first point at or after `time`, or with `backward` the last before; see `Stream.nearest`."""
        return nearest.nearest(self._open(), self._db.read, to_ns(time), backward)

    def count(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> int:
        """Number of points with start <= time < end, from summaries and at most two leaves."""
        first, last = check_range(to_ns(start), to_ns(end))
        (whole,) = window.windows(self._open(), self._db.read, first - BIAS, last - BIAS, last - first, 0)
        return int(whole.count[0])

    def changes_since(self, from_version: int, resolution: int = 0) -> Ranges:
        """Ranges that differ between `from_version` (exclusive) and this version; see `Stream.changes`."""
        view = self._open()
        check_exponent(resolution, "resolution")
        if from_version >= self.version:
            return Ranges(EMPTY_TIMES, EMPTY_TIMES)
        extra = self._state.changed_since(from_version, self.version)
        return changes.changed_ranges(view.root, self._db.read, from_version, resolution, extra)

    def _open(self) -> View:
        if self._lease < 0:
            raise Closed("the view is closed")
        self._db.check_open()
        return self._view

    def close(self) -> None:
        """Let compaction have what only this view needs. Idempotent; iterators taken from it may fail afterwards."""
        if self._lease >= 0:
            self._db.leases.give_back(self._lease)
            self._lease = -1

    def __enter__(self) -> StreamView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_lease", -1) >= 0:
            self.close()
