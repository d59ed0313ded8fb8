"""Summaries of windows: aligned windows of 2**pw ns, and windows of any width from any start.

Both are one computation over a `_Grid`. What lies in one window as a whole is taken from the rows' summaries;
the leaves that a window edge cuts are decoded; buffered points come on top. All contributions are collected
as parallel arrays and combined at the end, window by window, in one pass. Every caller comes through here, so
the same query always gives bit-identical numbers (contract section 4.4).

Long queries go slab by slab, so that neither time nor memory before the first chunk depends on the number of
windows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Summaries, Times, Values
from lamina.storage.blocks import BlockReader
from lamina.streams.bounds import check_exponent, check_range, check_width
from lamina.streams.descend import Mask, descend, stretch
from lamina.streams.leaves import chunks
from lamina.streams.nearest import nearest
from lamina.streams.node import BIAS, Rows
from lamina.streams.summary import Summary, merged, of_points
from lamina.streams.view import View
from lamina.time import MAX_TIME, MIN_TIME

SLAB = 16_384
"""Windows computed, and given out, at once: 0.8 MB of columns. Bounds the leaves read before the first
answer."""

SEARCH = 8
"""Searching an edge among times takes as long as dividing so many of them."""


class _Part(NamedTuple):
    """What some points contribute to windows of the grid. Several parts may speak of one window."""

    windows: NDArray[np.int64]  # ascending numbers in the grid
    summary: Summary  # one for each of them


class _Grid(NamedTuple):
    """n windows of `width` ns from `start`. All edges are within [0, 2**62], biased."""

    start: int
    width: int
    n: int

    @property
    def end(self) -> int:
        return self.start + self.width * self.n


def windows(
    view: View, read: BlockReader, start: int, end: int, width: int, depth: int = 0
) -> Generator[Summaries, None, None]:
    """Every whole window [start + k * width, start + (k + 1) * width) of [start, end), empty ones with zeros.

    What is left at the end is ignored; a width above end - start gives nothing. `depth` permits to count rows
    of up to 2**depth ns wholly into the window they start in; stored points then may be off by so much at the
    edges. Arguments are checked at the call, the windows are computed as chunks of at most SLAB are asked
    for. Reads at most one leaf per edge. Raises InvalidTimeRange, InvalidWidth.
    """
    low, high = check_range(start, end)
    check_width(width)
    check_exponent(depth, "depth")
    return _dense(view, read, _Grid(low, width, (high - low) // width), depth)


def aligned_windows(
    view: View, read: BlockReader, start: int, end: int, pointwidth: int
) -> Generator[Summaries, None, None]:
    """The windows [k * 2**pointwidth, (k + 1) * 2**pointwidth) that have points, oldest first.

    They go from the one that contains `start` up to the one that contains `end`, which is left out.

    `end` >= MAX_TIME - 1 means no upper limit. A window may start below MIN_TIME. Chunks are lazy and hold
    some ten thousand windows at most; arguments are checked at the call. No leaf is read that is not wider
    than a window. Raises InvalidTimeRange, InvalidWidth.
    """
    check_range(start, end)
    check_exponent(pointwidth, "point width")
    width = 1 << pointwidth
    first = start >> pointwidth << pointwidth
    last = end >> pointwidth << pointwidth
    if end >= MAX_TIME - 1:
        last = ((MAX_TIME - 1) >> pointwidth << pointwidth) + width
    if width > BIAS:
        return _widest(view, read, range(first, last, width), width)
    return _sparse(view, read, _Grid(first + BIAS, width, (last - first) // width))


def _dense(view: View, read: BlockReader, grid: _Grid, depth: int) -> Generator[Summaries, None, None]:
    """All windows of the grid, slab by slab; behind an empty one, slabs before the next point are not looked up in the
    tree.

    Between slabs `depth` is not used: a row must not count into both, or into neither.
    """
    if grid.n <= SLAB:
        if grid.n:
            yield _spread(grid, _summarize(view, read, grid, depth))
        return
    data = grid.start  # no point of the view lies between the current slab and here
    for k in range(0, grid.n, SLAB):
        slab = _Grid(grid.start + k * grid.width, grid.width, min(SLAB, grid.n - k))
        found = _summarize(view, read, slab) if data < slab.end else _combine([])
        if data < slab.end < grid.end and not len(found.time):
            point = nearest(view, read, slab.end - BIAS, backward=False)
            data = point[0] + BIAS if point is not None else grid.end
        yield _spread(slab, found)


def _sparse(view: View, read: BlockReader, grid: _Grid) -> Generator[Summaries, None, None]:
    """The windows with points. A slab is SLAB windows, or more where SLAB points or so need more."""
    width, position = grid.width, grid.start
    while position < grid.end:
        cut = grid.end
        if cut - position > SLAB * width:
            part = stretch(view, read, position, grid.end, SLAB)
            if part is None:
                return
            position = part[0] // width * width
            cut = min(cut, max(position + SLAB * width, -(-part[1] // width) * width))
        found = _summarize(view, read, _Grid(position, width, (cut - position) // width))
        if len(found.time):
            found.time *= width
            found.time += position - BIAS
            yield found
        position = cut


def _widest(view: View, read: BlockReader, starts: range, width: int) -> Generator[Summaries, None, None]:
    """Windows of 2**61 ns and more, at most three. Biased time does not align with them, and their edges
    leave int64: each is a query of its own, cut to the legal range."""
    for time in starts:
        low, high = max(time, MIN_TIME), min(time + width, MAX_TIME)
        found = _summarize(view, read, _Grid(low + BIAS, high - low, 1))
        if len(found.time):
            found.time[0] = time
            yield found


def _spread(grid: _Grid, found: Summaries) -> Summaries:
    """Every window of the grid from those with points, whose `time` is their number."""
    times = grid.start - BIAS + grid.width * np.arange(grid.n, dtype=np.int64)
    if len(found.time) == grid.n:
        found.time = times
        return found
    result = Summaries(
        times,
        np.zeros(grid.n),
        np.zeros(grid.n),
        np.zeros(grid.n),
        np.zeros(grid.n, np.uint64),
        np.zeros(grid.n),
    )
    for name in Summaries.fields[1:]:
        getattr(result, name)[found.time] = getattr(found, name)
    return result


def _summarize(view: View, read: BlockReader, grid: _Grid, depth: int = 0) -> Summaries:
    """The windows with points; `time` is the number of the window in the grid, ascending."""
    low, width, high = grid.start, grid.width, grid.end
    parts: list[_Part] = []

    def settle(rows: Rows, starts: Times, ends: Times, trusted: Mask | None) -> Mask:
        first = _number(starts, low, width)
        settled: Mask = first == _number(ends - 1, low, width)  # false for a row that sticks out of the grid
        if depth:
            settled |= (rows["pw"] <= depth) & (starts >= low)
        if trusted is not None:
            settled &= trusted
        taken = np.flatnonzero(settled)
        if len(taken):
            parts.append(_Part(first[taken], Summary(*(rows[name][taken] for name in Summary._fields))))
        return settled

    leaves = descend(view, read, low, high, settle)
    for times, values in chunks(view, read, leaves):
        _reduce(times, values, grid, parts)
    _reduce(view.times, view.values, grid, parts)
    return _combine(parts)


def _number(times: Times, low: int, width: int) -> NDArray[np.int64]:
    """Floor of (times - low) / width; a shift where it can be."""
    if width & (width - 1):
        return (times - low) // width
    return (times - low) >> (width.bit_length() - 1)


def _reduce(times: Times, values: Values, grid: _Grid, parts: list[_Part]) -> None:
    """Add a part for the points within the grid. `times` ascend."""
    i, j = times.searchsorted((grid.start, grid.end)).tolist()
    if i == j:
        return
    times, values = times[i:j], values[i:j]
    first = (int(times[0]) - grid.start) // grid.width
    last = (int(times[-1]) - grid.start) // grid.width
    if SEARCH * (last - first) < len(times):  # search the edges in the times: cheaper than dividing every time
        edges = grid.start + grid.width * np.arange(first + 1, last + 1, dtype=np.int64)
        starts = np.concatenate(([0], times.searchsorted(edges), [len(times)]))
        filled = np.flatnonzero(starts[1:] > starts[:-1])
        starts, index = starts[filled], first + filled
    else:
        numbers = _number(times, grid.start, grid.width)
        starts = np.concatenate(([0], np.flatnonzero(numbers[1:] != numbers[:-1]) + 1))
        index = numbers[starts]
    parts.append(_Part(index, of_points(values, starts)))


def _combine(parts: Sequence[_Part]) -> Summaries:
    """One row per window, `time` its number, ascending. What is found in one part only is taken as it is."""
    if not parts:
        return Summaries.concat([])
    parts = _chained(parts)
    index, found = parts[0]
    if len(parts) > 1:
        index = np.concatenate([part.windows for part in parts])
        found = Summary(*(np.concatenate(columns) for columns in zip(*(part.summary for part in parts), strict=True)))
    if (index[1:] <= index[:-1]).any():
        order = index.argsort(kind="stable")
        index = index[order]
        starts = np.concatenate(([0], np.flatnonzero(index[1:] != index[:-1]) + 1))
        found = merged(Summary._make(column[order] for column in found), starts)
        index = index[starts]
    count, least, most, mean, m2 = found
    return Summaries(index, least, np.clip(mean, least, most), most, count, np.sqrt(m2 / count))


def _chained(parts: Sequence[_Part]) -> list[_Part]:
    """The same with one row where a part ends in the window that the next begins with, as points that were decoded
    chunk by chunk do: then nothing is left to be put in order."""
    chain = [parts[0]]
    for part in parts[1:]:
        windows, summary = chain[-1]
        if windows[-1] == part.windows[0]:
            ends = (np.concatenate((one[-1:], other[:1])) for one, other in zip(summary, part.summary, strict=True))
            for column, value in zip(part.summary, merged(Summary._make(ends), np.zeros(1, np.int64)), strict=True):
                column[0] = value[0]
            if len(windows) == 1:
                chain.pop()
            else:
                chain[-1] = _Part(windows[:-1], Summary._make(column[:-1] for column in summary))
        chain.append(part)
    return chain
