"""A stream at one version: the reads, over a pinned state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lamina.columns import Ranges, Samples, Summaries
from lamina.engine.slots import Slot
from lamina.errors import Closed
from lamina.streams import changes, nearest, scan, window
from lamina.streams.bounds import check_range
from lamina.streams.node import BIAS
from lamina.streams.state import StreamState
from lamina.streams.view import View
from lamina.time import LAST_TIME, MIN_TIME, TimeLike, to_interval_ns, to_ns

if TYPE_CHECKING:
    from lamina.engine.database import Database


class StreamView:
    """Reads of one version; every answer is of exactly that version. Close it (or use `with`): until then compaction
    keeps what it reads. Methods are those of `Stream` without `version`."""

    __slots__ = ("_db", "_lease", "_slot", "_state", "_view", "version")

    def __init__(self, db: Database, slot: Slot, state: StreamState, view: View, lease: int) -> None:
        self._db = db
        self._slot = slot
        self._state = state
        self._view = view
        self._lease = lease
        self.version = view.version

    def values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> Samples:
        return Samples.concat(list(self.iter_values(start, end)))

    def iter_values(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> Iterator[Samples]:
        return scan.raw(self._open(), self._db.read, to_ns(start), to_ns(end))

    def windows(self, start: TimeLike, end: TimeLike, width: int | str, depth: int = 0) -> Summaries:
        return Summaries.concat(list(self.iter_windows(start, end, width, depth)))

    def iter_windows(self, start: TimeLike, end: TimeLike, width: int | str, depth: int = 0) -> Iterator[Summaries]:
        return window.windows(self._open(), self._db.read, to_ns(start), to_ns(end), to_interval_ns(width), depth)

    def aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int) -> Summaries:
        return Summaries.concat(list(self.iter_aligned_windows(start, end, pointwidth)))

    def iter_aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int) -> Iterator[Summaries]:
        return window.aligned_windows(self._open(), self._db.read, to_ns(start), to_ns(end), pointwidth)

    def nearest(self, time: TimeLike, backward: bool = False) -> tuple[int, float] | None:
        return nearest.nearest(self._open(), self._db.read, to_ns(time), backward)

    def count(self, start: TimeLike = MIN_TIME, end: TimeLike = LAST_TIME + 1) -> int:
        first, last = check_range(to_ns(start), to_ns(end))
        (whole,) = window.windows(self._open(), self._db.read, first - BIAS, last - BIAS, last - first, 0)
        return int(whole.count[0])

    def changes_since(self, from_version: int, resolution: int = 0) -> Ranges:
        """Ranges that differ between `from_version` (exclusive) and this version."""
        view = self._open()
        extra = self._state.changed_since(from_version, self.version) if self.version > from_version else []
        return changes.changed_ranges(view.root, self._db.read, from_version, resolution, extra)

    def _open(self) -> View:
        if self._lease < 0:
            raise Closed("the view is closed")
        self._db.check_open()
        return self._view

    def close(self) -> None:
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
