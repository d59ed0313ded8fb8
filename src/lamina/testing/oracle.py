"""What the BTrDB contract says every query answers, by brute force over a list of points.

Knows nothing of trees, blocks, buffers or NumPy: plain lists, exact integers, exactly rounded sums. Slow on
purpose; for tests with up to some thousand points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

MIN = -(16 << 56)
MAX = 48 << 56
FIRST_VERSION = 10
"""The version of a created, empty stream."""

Policy = Literal["never", "equal", "retain", "replace"]


class Point(NamedTuple):
    time: int
    value: float


class Window(NamedTuple):
    time: int
    min: float
    mean: float
    max: float
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody needs here
    stddev: float


class Change(NamedTuple):
    """What one version did: every timestamp that it added to or took from."""

    version: int
    points: list[Point]  # the whole stream afterwards
    times: list[int]  # changed, sorted


class StreamModel:
    """All versions of one stream. Each insert with points, and each delete, is the next version."""

    def __init__(self) -> None:
        self._changes = [Change(FIRST_VERSION, [], [])]

    @property
    def version(self) -> int:
        return self._changes[-1].version

    def insert(self, times: Iterable[int], values: Iterable[float], policy: Policy = "never") -> int:
        """The version after it; without points nothing changes. `policy` as in section 5 of the contract."""
        batch = [Point(int(t), float(v)) for t, v in zip(times, values, strict=True)]
        if not batch:
            return self.version
        stored = self._changes[-1].points
        if policy == "replace":
            batch = list({p.time: p for p in batch}.values())
            added = {p.time for p in batch}
            stored = [p for p in stored if p.time not in added]
        elif policy == "retain":
            batch = _keep_new(batch, {p.time for p in stored}, lambda p: p.time)
        elif policy == "equal":
            batch = _keep_new(batch, set(stored), lambda p: p)  # -0.0 and 0.0 are equal and hash alike
        return self._commit([*stored, *batch], {p.time for p in batch})

    def delete(self, start: int, end: int) -> int:
        """Removes [start, end). Always a version, even if nothing was there."""
        stored = self._changes[-1].points
        kept = [p for p in stored if not start <= p.time < end]
        return self._commit(kept, {p.time for p in stored if start <= p.time < end})

    def _commit(self, points: Iterable[Point], changed: Iterable[int]) -> int:
        ordered = sorted(points, key=lambda p: p.time)  # stable: ties stay in insertion order
        self._changes.append(Change(self.version + 1, ordered, sorted(changed)))
        return self.version

    def at(self, version: int = 0) -> list[Point]:
        """All points of a version, ascending, ties in insertion order; 0 is the latest."""
        return self._changes[(version or self.version) - FIRST_VERSION].points

    def raw(self, start: int, end: int, version: int = 0) -> list[Point]:
        return [p for p in self.at(version) if start <= p.time < end]

    def count(self, start: int, end: int, version: int = 0) -> int:
        return len(self.raw(start, end, version))

    def windows(self, start: int, end: int, width: int, version: int = 0) -> list[Window]:
        """Every whole window of [start, end), empty ones with zeros."""
        n = (end - start) // width
        inside: dict[int, list[float]] = {}
        for p in self.raw(start, start + n * width, version):
            inside.setdefault((p.time - start) // width, []).append(p.value)
        return [_summary(start + k * width, inside.get(k, [])) for k in range(n)]

    def aligned_windows(self, start: int, end: int, pointwidth: int, version: int = 0) -> list[Window]:
        """The windows with points between the windows that contain start (included) and end (not).

        From end = MAX - 1 on there is no upper limit.
        """
        inside: dict[int, list[float]] = {}
        for p in self.at(version):
            k = p.time >> pointwidth
            if start >> pointwidth <= k and (end >= MAX - 1 or k < end >> pointwidth):
                inside.setdefault(k, []).append(p.value)
        return [_summary(k << pointwidth, inside[k]) for k in sorted(inside)]

    def nearest(self, time: int, backward: bool, version: int = 0) -> Point | None:
        """Forward the first stored at the smallest time >= `time`, backward the last at the largest < it."""
        if backward:
            return next((p for p in reversed(self.at(version)) if p.time < time), None)
        return next((p for p in self.at(version) if p.time >= time), None)

    def changed_times(self, from_version: int, to_version: int = 0) -> list[int]:
        """The distinct times changed after `from_version` up to `to_version`, ascending."""
        until = to_version or self.version
        return sorted({t for c in self._changes if from_version < c.version <= until for t in c.times})

    def check_changes(
        self, ranges: Sequence[tuple[int, int]], from_version: int, to_version: int, resolution: int
    ) -> None:
        """Assert that the ranges are a legal answer: complete, and of the promised form.

        Ranges may be wider than the change; without any change there must be none.
        """
        changed = self.changed_times(from_version, to_version)
        assert ranges or not changed, f"{len(changed)} changed times but no range"
        for start, end in ranges:
            assert MIN <= start < end <= MAX, f"[{start}, {end}) is empty or out of bounds"
            assert start == MIN or start % (1 << resolution) == 0, f"start {start} is no multiple"
            assert end == MAX or end % (1 << resolution) == 0, f"end {end} is no multiple"
        for (_, end), (start, _) in itertools.pairwise(ranges):
            assert end < start, f"range ending at {end} touches the one starting at {start}"
        for time in changed:
            assert any(start <= time < end for start, end in ranges), f"changed time {time} is not covered"


def _keep_new(batch: list[Point], seen: set[Hashable], key: Callable[[Point], Hashable]) -> list[Point]:
    kept = []
    for point in batch:
        if key(point) not in seen:
            seen.add(key(point))
            kept.append(point)
    return kept


def _summary(time: int, values: list[float]) -> Window:
    """Population statistics, exact up to the final rounding."""
    if not values:
        return Window(time, 0.0, 0.0, 0.0, 0, 0.0)
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    variance = sum((v - mean) ** 2 for v in exact) / len(exact)
    return Window(time, min(values), float(mean), max(values), len(values), math.sqrt(variance))
