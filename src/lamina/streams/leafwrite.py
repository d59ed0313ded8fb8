"""The bottom of a merge: leaves that points or removals touch are rewritten, or given a delta.

A leaf row whose `below` is 1 had points removed at some version up to its own. When such a leaf is cut, the parts of
its window that end up in no leaf stay behind as tombstones, or `changes` would lose the removal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import leaf
from lamina.codecs.values import ValueCodec
from lamina.columns import Times, Values
from lamina.streams import summary
from lamina.streams.node import LEAF, NO_ROWS, ROW, TOMBSTONE, Rows
from lamina.streams.nodes import ascending, concatenate
from lamina.streams.partition import Ints, Windows, cover, partition
from lamina.streams.removals import Mask, Ranges
from lamina.streams.shape import Shape

if TYPE_CHECKING:
    from lamina.storage.blocks import BlockReader
    from lamina.storage.segment import SegmentWriter

Versions = NDArray[np.uint64]

CHUNK_POINTS = 65_536
"""Points loaded and merged at once: 1 MiB, so that merging into many leaves takes bounded memory."""

SUMMARY_POINTS = 16_384
"""Points summarised at once: values and temporaries stay in the second-level cache."""

_ONE = np.int64(1)


class Points(NamedTuple):
    """Sorted points and the version of each: an array, or one for all (then blocks record none)."""

    times: Times
    values: Values
    versions: Versions | int

    def take(self, index: slice | Ints) -> Points:
        versions = self.versions if isinstance(self.versions, int) else self.versions[index]
        return Points(self.times[index], self.values[index], versions)


class LeafWriter:
    """Writes the leaves of one merge."""

    def __init__(self, out: SegmentWriter, read: BlockReader, shape: Shape, codec: ValueCodec) -> None:
        self.out = out
        self.read = read
        self.shape = shape
        self.codec = codec

    def merge(self, rows: Rows, points: Points, ranges: Ranges) -> tuple[Rows, Mask]:
        """The rows that take the place of `rows`, ascending, and which of `rows` changed.

        `rows`: leaves, or tombstones (version 0: a window that never held anything), ascending; every point lies in
        one of them. Rows that did not change come back as they are.
        """
        t0 = np.ascontiguousarray(rows["t0"])
        first = points.times.searchsorted(t0)
        last = points.times.searchsorted(t0 + (_ONE << rows["pw"].astype(np.int64)))
        fresh = last - first
        hit, hit_versions = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.uint64)
        if len(ranges):
            hit, _, hit_versions = ranges.hits(rows)
            hit &= rows["kind"] == LEAF
        light = self._fits_delta(rows, fresh) & ~hit
        changed = np.ones(len(rows), np.bool_)
        found: list[Rows] = []
        if light.any():
            found.append(self._extend(rows[light], points, first[light], last[light]))
        for chunk in _chunks(np.flatnonzero(~light), rows["count"].astype(np.int64) + fresh):
            part = _gather(points, first[chunk], last[chunk])
            new, changed[chunk] = self._rewrite(rows[chunk], part, ranges, hit_versions[chunk])
            found.append(new)
        return (ascending(concatenate(found)) if found else NO_ROWS), changed

    def _fits_delta(self, rows: Rows, fresh: Ints) -> Mask:
        base = rows["count"].astype(np.int64) - rows["delta_count"]
        delta = rows["delta_count"] + fresh
        fits: Mask = (delta <= np.minimum(self.shape.delta_points, base // 2)) & (fresh > 0)
        fits &= base + delta <= self.shape.most_points
        fits &= rows["kind"] == LEAF
        return fits

    def _extend(self, rows: Rows, points: Points, first: Ints, last: Ints) -> Rows:
        """Put the points into the delta of each leaf; its base is not read."""
        rows = rows.copy()
        blocks = self.read.blocks(rows["delta"])
        olds = rows["delta_count"].tolist()
        for i, (block, old, a, b) in enumerate(zip(blocks, olds, first.tolist(), last.tolist(), strict=True)):
            part = points.take(slice(a, b))
            if old:
                times, values = np.empty(old, np.int64), np.empty(old)
                leaf.decode_into(block, times, values)
                part = _join(times, values, part)
            rows["delta"][i] = self._write(part)
        news = (last - first).astype(np.uint64)
        pairs = np.zeros(2 * len(rows), ROW)  # what was there, what comes
        pairs[::2] = rows
        chosen = _gather(points, first, last)
        starts = np.cumsum(last - first) - (last - first)
        summary.of_points(chosen.values, starts).store(pairs[1::2])
        summary.of_rows(pairs, np.arange(0, len(pairs), 2)).store(rows)
        rows["delta_count"] += news.astype(np.uint32)
        rows["version"] = np.maximum(rows["version"], _largest(chosen, starts))
        return rows

    def _rewrite(self, rows: Rows, points: Points, ranges: Ranges, hit_versions: Versions) -> tuple[Rows, Mask]:
        """Merge stored and new points of these windows and cut them anew."""
        changed = np.ones(len(rows), np.bool_)
        stored = rows["kind"] == LEAF
        times, values = self._load(rows[stored])
        versions = rows["version"].copy()
        flagged = np.where(stored, rows["below"] == 1, rows["version"] > 0)
        if len(ranges) and len(times):
            gone = ranges.takes(times)
            counts = rows["count"][stored].astype(np.int64)
            lost = np.zeros(len(rows), np.bool_)
            lost[stored] = np.logical_or.reduceat(gone, np.cumsum(counts) - counts)
            versions[lost] = np.maximum(versions[lost], hit_versions[lost])
            flagged |= lost
            starts = np.ascontiguousarray(rows["t0"])
            ends = starts + (_ONE << rows["pw"].astype(np.int64))
            changed = lost | ~stored | (points.times.searchsorted(ends) > points.times.searchsorted(starts))
            if not changed.all():
                gone |= np.repeat(~changed[stored], counts)
            times, values = times[~gone], values[~gone]
        before = rows[~changed]
        rows, versions, flagged = rows[changed], versions[changed], flagged[changed]
        found = [before] if len(before) else []
        merged = _join(times, values, points) if len(times) else points
        if len(rows):
            windows, limit = self._windows(rows, merged.times)
            windows = partition(merged.times, windows, limit, self.shape.leaf_points)
            if len(merged.times):
                owner = np.ascontiguousarray(rows["t0"]).searchsorted(windows.t0, "right") - 1
                pieces = self._emit(merged, windows)
                pieces["version"] = np.maximum(versions[owner], _added(points, windows))
                pieces["below"] = flagged[owner]
                found.append(pieces)
            if flagged.any():
                found.append(_gaps(rows[flagged], versions[flagged], windows))
        return ascending(concatenate(found)), changed

    def _windows(self, rows: Rows, times: Times) -> tuple[Windows, Ints]:
        t0 = np.ascontiguousarray(rows["t0"])
        first = times.searchsorted(t0)
        windows = Windows(t0, rows["pw"].astype(np.int64), first, np.append(first[1:], len(times)))
        return windows, np.where(rows["kind"] == LEAF, self.shape.most_points, self.shape.leaf_points)

    def _load(self, rows: Rows) -> tuple[Times, Values]:
        """All stored points of leaves, ascending; base before delta at equal times."""
        total = int(rows["count"].sum())
        times, values = np.empty(total, np.int64), np.empty(total)
        if not total:
            return times, values
        bases = self.read.blocks(rows["base"])
        deltas = self.read.blocks(rows["delta"][rows["delta_count"] > 0])
        extra = iter(deltas)
        at = 0
        for block, n, small in zip(bases, rows["count"].tolist(), rows["delta_count"].tolist(), strict=True):
            middle, end = at + n - small, at + n
            leaf.decode_into(block, times[at:middle], values[at:middle])
            if small:
                leaf.decode_into(next(extra), times[middle:end], values[middle:end])
            at = end
        if deltas:
            order = np.argsort(times, kind="stable")
            times, values = times[order], values[order]
        return times, values

    def _emit(self, points: Points, windows: Windows) -> Rows:
        """Write a leaf per window; rows without version. No block outlives its own append."""
        rows = np.zeros(len(windows.t0), ROW)
        rows["t0"], rows["pw"], rows["kind"] = windows.t0, windows.pw, LEAF
        cuts = np.flatnonzero(np.diff(windows.first // SUMMARY_POINTS, prepend=-1)).tolist()
        for a, b in zip(cuts, [*cuts[1:], len(rows)], strict=True):
            first, last = int(windows.first[a]), int(windows.last[b - 1])
            summary.of_points(points.values[first:last], windows.first[a:b] - first).store(rows[a:b])
            bounds = zip(windows.first[a:b].tolist(), windows.last[a:b].tolist(), strict=True)
            rows["base"][a:b] = [self._write(points.take(slice(i, j))) for i, j in bounds]
        return rows

    def _write(self, points: Points) -> tuple[int, int, int, int]:
        """Append one block; its address as ADDRESS has it."""
        runs = None if isinstance(points.versions, int) else points.versions
        block = leaf.encode(points.times, points.values, self.codec, runs)
        offset, length, crc = self.out.append(block)
        return self.out.id, length, offset, crc


def _chunks(index: Ints, sizes: Ints) -> Iterator[Ints]:
    """Cut `index` where about CHUNK_POINTS items have gathered; what is larger stands alone."""
    if not len(index):
        return
    total = np.cumsum(sizes[index])
    large = sizes[index] > CHUNK_POINTS
    cut = np.diff(total // CHUNK_POINTS, prepend=0) > 0
    cut |= large | np.append(False, large[:-1])
    cut[0] = True
    starts = np.flatnonzero(cut).tolist()
    for a, b in zip(starts, [*starts[1:], len(index)], strict=True):
        yield index[a:b]


def _gather(points: Points, first: Ints, last: Ints) -> Points:
    """The points of several stretches, ascending; a view where they are neighbours."""
    if (first[1:] == last[:-1]).all():
        return points.take(slice(int(first[0]), int(last[-1])))
    sizes = last - first
    shift = np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
    return points.take(np.arange(len(shift)) + shift)


def _join(times: Times, values: Values, points: Points) -> Points:
    """Stored points (version 0) and new ones, both sorted; stored ones first at equal times."""
    total = len(times) + len(points.times)
    stored = points.times.searchsorted(times) + np.arange(len(times))
    fresh = np.ones(total, np.bool_)
    fresh[stored] = False
    all_times, all_values = np.empty(total, np.int64), np.empty(total)
    all_times[stored], all_times[fresh] = times, points.times
    all_values[stored], all_values[fresh] = values, points.values
    if isinstance(points.versions, int):
        return Points(all_times, all_values, points.versions)
    versions = np.zeros(total, np.uint64)
    versions[fresh] = points.versions
    return Points(all_times, all_values, versions)


def _largest(points: Points, starts: Ints) -> Versions:
    """The largest version of points[starts[i]:starts[i + 1]], no group empty."""
    if isinstance(points.versions, int):
        return np.full(len(starts), points.versions, np.uint64)
    return np.maximum.reduceat(points.versions, starts)


def _added(points: Points, windows: Windows) -> Versions:
    """The largest version that adds to each window, 0 if none does. The windows hold all points."""
    first = points.times.searchsorted(windows.t0)
    some = np.append(first[1:], len(points.times)) > first
    found = np.zeros(len(first), np.uint64)
    if some.any():
        found[some] = _largest(points, first[some])
    return found


def _gaps(rows: Rows, versions: Versions, pieces: Windows) -> Rows:
    """Tombstones over what the pieces leave free of each row's window."""
    ends = pieces.t0 + (_ONE << pieces.pw)
    found: list[tuple[int, int, int]] = []  # t0, pw, version
    for t0, pw, version in zip(rows["t0"].tolist(), rows["pw"].tolist(), versions.tolist(), strict=True):
        at, end = t0, t0 + (1 << pw)
        a, b = pieces.t0.searchsorted((t0, end)).tolist()
        for start, stop in zip(pieces.t0[a:b].tolist(), ends[a:b].tolist(), strict=True):
            found += [(*window, version) for window in cover(at, start)]
            at = stop
        found += [(*window, version) for window in cover(at, end)]
    result = np.zeros(len(found), ROW)
    result["kind"] = TOMBSTONE
    if found:
        result["t0"], result["pw"], result["version"] = (list(column) for column in zip(*found, strict=True))
    return result
