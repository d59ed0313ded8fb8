"""Removals as disjoint ranges: which rows they hit, which they cover, which points they take.

A removal of exact times is one of ranges 1 ns long, so there is one case only. Overlapping and touching ranges join and
take the larger version: a version may be seen wider than what it removed, never narrower.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Times
from lamina.streams.node import Rows
from lamina.streams.view import Removal

Mask = NDArray[np.bool_]
Versions = NDArray[np.uint64]

_ONE = np.int64(1)


class Ranges:
    """Disjoint, ascending ranges [start, end) of biased time, each with a version."""

    __slots__ = ("ends", "starts", "versions")

    def __init__(self, removals: Sequence[Removal]) -> None:
        starts = [np.array([r.start], np.int64) if r.times is None else r.times for r in removals]
        ends = [np.array([r.end], np.int64) if r.times is None else r.times + 1 for r in removals]
        versions = [np.full(len(s), r.version, np.uint64) for r, s in zip(removals, starts, strict=True)]
        self.starts: Times = np.concatenate([np.empty(0, np.int64), *starts])
        self.ends: Times = np.concatenate([np.empty(0, np.int64), *ends])
        self.versions: Versions = np.concatenate([np.empty(0, np.uint64), *versions])
        if len(self.starts) > 1:
            self._join()

    def __len__(self) -> int:
        return len(self.starts)

    def _join(self) -> None:
        order = np.argsort(self.starts, kind="stable")
        starts, ends = self.starts[order], np.maximum.accumulate(self.ends[order])
        first = np.flatnonzero(np.append(True, starts[1:] > ends[:-1]))
        self.starts, self.ends = starts[first], ends[np.append(first[1:], len(ends)) - 1]
        self.versions = np.maximum.reduceat(self.versions[order], first)

    def hits(self, rows: Rows) -> tuple[Mask, Mask, Versions]:
        """For each row: whether a range touches its window, whether one covers it, the largest version that does
        either (0 if none)."""
        t0 = np.ascontiguousarray(rows["t0"])
        end = t0 + (_ONE << rows["pw"].astype(np.int64))
        low = self.ends.searchsorted(t0, "right")
        high = self.starts.searchsorted(end, "left")
        hit = high > low
        versions = np.zeros(len(rows), np.uint64)
        covered = np.zeros(len(rows), np.bool_)
        if hit.any():
            low, high = low[hit], high[hit]
            covered[hit] = (self.starts[low] <= t0[hit]) & (self.ends[low] >= end[hit])
            versions[hit] = self._largest(low, high)
        return hit, covered, versions

    def _largest(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> Versions:
        """max(versions[low[i]:high[i]]), none empty; slices may share an end."""
        padded = np.append(self.versions, np.uint64(0))  # high may be len(versions)
        return np.maximum.reduceat(padded, np.column_stack((low, high)).ravel())[::2]

    def takes(self, times: Times) -> Mask:
        """Which of the times lie in a range."""
        return self.starts.searchsorted(times, "right") > self.ends.searchsorted(times, "right")
