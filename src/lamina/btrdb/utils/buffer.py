"""Points of several streams gathered by time until all streams have passed it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


class PointBuffer(defaultdict[int, list[Any]]):
    """time -> a point per stream, None where a stream has none at that time. `length`: the number of streams."""

    def __init__(self, length: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(lambda: [None] * length, *args, **kwargs)
        self.num_streams = length
        self.active = [True] * length
        self.last_known_time: list[int | None] = [None] * length

    def add_point(self, stream_index: int, point: Any) -> None:
        """A point of a stream; streams come in order of time, so it has nothing before this any more."""
        last = self.last_known_time[stream_index]
        self.last_known_time[stream_index] = point.time if last is None else max(last, point.time)
        self[point.time][stream_index] = point

    def earliest(self) -> int | None:
        """The first time held; None if nothing is."""
        return min(self, default=None)

    def deactivate(self, stream_index: int) -> None:
        """The stream has no more points."""
        self.active[stream_index] = False

    def is_ready(self, key: int) -> bool:
        """Whether every stream that goes on has reached this time."""
        return all(
            last is not None and key <= last
            for last, active in zip(self.last_known_time, self.active, strict=True)
            if active
        )

    def next_key_ready(self) -> int | None:
        """The first time that is ready; None if none is."""
        return next((key for key in sorted(self) if self.is_ready(key)), None)
