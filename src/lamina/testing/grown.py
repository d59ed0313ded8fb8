"""A stream grown by inserts, deletes and flushes over objects in memory, next to its model.

Keeps the rule of the write path and nothing more of it: what removes points is the first change after a flush, so that
between two flushes points are only added.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.codecs.values import learn
from lamina.columns import Times, Values
from lamina.storage.blocks import BlockReader
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentWriter
from lamina.streams.node import BIAS, NO_ROWS, ROW, Rows
from lamina.streams.tree import Shape, merge
from lamina.streams.view import EMPTY_TIMES, EMPTY_VALUES, Removal, View
from lamina.testing.oracle import FIRST_VERSION, MAX, MIN, Policy, StreamModel


class GrownStream:
    """`model` says what every version holds, `view(version)` and `read` are what queries take."""

    def __init__(self, shape: Shape | None = None, cache_bytes: int = 1 << 20) -> None:
        self.model = StreamModel()
        self.blobs = MemoryBlobs()
        self.read = BlockReader(self.blobs, str, ROW, cache_bytes)
        self.roots: list[tuple[int, Rows]] = [(FIRST_VERSION, NO_ROWS)]
        self._shape = shape or Shape()
        self._removal: Removal | None = None
        self._points: list[tuple[int, float, int]] = []  # unbiased time, value, version; in arrival order
        self._changes = 0

    def insert(self, times: Sequence[int], values: Sequence[float], policy: Policy = "never") -> int:
        before = self.model.at()
        if policy == "replace":
            hit = sorted({p.time for p in before} & set(times))
            if hit:
                self.flush()
                self._removal = Removal(
                    self.model.version + 1, hit[0] + BIAS, hit[-1] + BIAS + 1, np.array(hit, np.int64) + BIAS
                )
            before = [p for p in before if p.time not in set(hit)]
        version = self.model.insert(times, values, policy)
        if len(times):
            added = list(self.model.at())
            for point in before:
                added.remove(point)
            self._points += [(time, value, version) for time, value in added]
            self._changes += 1
        return version

    def delete(self, start: int, end: int) -> int:
        self.flush()
        version = self.model.delete(start, end)
        self._removal = Removal(version, start + BIAS, end + BIAS)
        self._changes += 1
        return version

    def flush(self) -> None:
        """The buffer becomes a part of the tree; versions inside it stay readable."""
        if not self._changes:
            return
        points = sorted(self._points, key=lambda p: p[0])
        times, values, versions = _columns(points)
        out = SegmentWriter(
            self.blobs,
            str(len(self.roots)),
            id=len(self.roots),
            kind="streams",
            database_id=bytes(16),
            epoch=1,
        )
        root = merge(
            self.roots[-1][1],
            times,
            values,
            self.model.version if self._changes == 1 else versions,
            [self._removal] if self._removal else [],
            out=out,
            read=self.read,
            shape=self._shape,
            codec=learn(values),
        )
        out.finish()
        self.roots.append((self.model.version, root))
        self._removal, self._points, self._changes = None, [], 0

    def view(self, version: int = 0) -> View:
        version = version or self.model.version
        for newest, root in self.roots:
            if version <= newest:
                return View(root, version, (), EMPTY_TIMES, EMPTY_VALUES)
        removals = [r for r in [self._removal] if r is not None and r.version <= version]
        visible = sorted((p for p in self._points if p[2] <= version), key=lambda p: p[0])
        times, values, _ = _columns(visible)
        return View(self.roots[-1][1], version, removals, times, values)

    def pending(self, from_version: int) -> tuple[Times, Times]:
        """Biased starts and ends of the changes after `from_version` that are not in the tree."""
        ranges = [(p[0] + BIAS, p[0] + BIAS + 1) for p in self._points if p[2] > from_version]
        if self._removal is not None and self._removal.version > from_version:
            ranges.append((self._removal.start, self._removal.end))
        starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T
        return starts, ends


def _columns(points: Sequence[tuple[int, float, int]]) -> tuple[Times, Values, NDArray[np.uint64]]:
    """Biased times, values, versions."""
    return (
        np.array([p[0] for p in points], np.int64) + BIAS,
        np.array([p[1] for p in points], np.float64),
        np.array([p[2] for p in points], np.uint64),
    )


def random_stream(seed: int) -> tuple[GrownStream, random.Random]:
    """Some hundred points in some ten versions, tiny leaves and nodes, ties, late points, deletes, both ends of time.

    And the generator to draw queries from.
    """
    rng = random.Random(seed)
    leaf_points = rng.choice([2, 4, 16, 100])
    shape = Shape(leaf_points, rng.choice([2, 4, 8, 64]), rng.choice([0, 2, leaf_points // 2]))
    stream = GrownStream(shape, cache_bytes=rng.choice([0, 3000, 1 << 20]))
    span = rng.choice([6, 1000, 10**6, 10**12, 1 << 58, 1 << 61])
    low = rng.choice([MIN, -span // 2, 10**18, MAX - 1 - span])
    position = low
    for _ in range(rng.randrange(1, 12)):
        action = rng.random()
        if action < 0.2:
            start = low + rng.randrange(span)
            stream.delete(start, min(start + 1 + rng.randrange(span) // rng.choice([2, 10, 1000]), MAX - 1))
        elif action < 0.4:
            stream.flush()
        else:
            n = rng.choice([1, 3, 20, 90])
            if rng.random() < 0.5:  # in order, behind what is there
                step = max(1, span // 300)
                times = [position + i * step + rng.randrange(step) for i in range(n)]
                position = times[-1] if times[-1] < low + span else low
            else:
                times = [low + rng.randrange(span) for _ in range(n)]
            policy: Policy = rng.choice(["never", "never", "equal", "retain", "replace"])
            times = [min(t, MAX - 2) for t in times]
            stream.insert(times, [round(rng.gauss(100, 5), 1) for _ in times], policy)
    return stream, rng


def random_range(stream: GrownStream, rng: random.Random) -> tuple[int, int]:
    """Start and end of a query: edges on, next to and far from points, now and then all of time."""
    times = [p.time for p in stream.model.at()] or [0]
    low, high = times[0], times[-1]

    def edge() -> int:
        near = rng.choice(times) + rng.choice([0, 0, 1, -1])
        anywhere = low + rng.randrange(-1 - (high - low) // 4, high - low + 2)
        return max(MIN, min(rng.choice([near, anywhere]), MAX - 1))

    if rng.random() < 0.2:
        return MIN, MAX - 1
    start, end = sorted((edge(), edge()))
    return (start, end) if start < end else (min(start, MAX - 2), min(start, MAX - 2) + 1)
