"""Many streams as one table: a row per time, a column per stream, NaN where a stream has nothing.

Lazy: what is held is one chunk per stream and one block of the result. Streams cannot hold NaN, so NaN is free to
say "absent".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Samples, Summaries, Times, Values
from lamina.time import MAX_TIME, MIN_TIME

Chunk = tuple[Times, Values]
"""Ascending times, and values of shape (columns, n)."""

Track = Iterator[Chunk]
"""One stream of a join: chunks in ascending order, each reaching at least as far as the one before."""


def points(chunks: Iterable[Samples]) -> Track:
    """Points as a track of one column."""
    for chunk in chunks:
        yield chunk.time, chunk.value[np.newaxis]


def windows(chunks: Iterable[Summaries]) -> Track:
    """Windows as a track of four columns: min, mean, max, count (as float64)."""
    for chunk in chunks:
        yield chunk.time, np.stack((chunk.min, chunk.mean, chunk.max, chunk.count.astype(np.float64)))


def outer_join(tracks: Sequence[Track], rows: int, columns: int = 1) -> Iterator[Chunk]:
    """Rows of all tracks in ascending order of time, at most `rows` at once.

    A track that has a time more than once gets a row for each: its i-th point goes into the i-th row of that time,
    where other tracks are absent unless they have an i-th point too. Result: times, and values of shape
    (len(tracks) * columns, n), C-contiguous, so each column is one stretch of memory. Every track has `columns`
    columns. Blocks are never empty. The tracks are the caller's to close.
    """
    fronts = [_Front(track, columns) for track in tracks]
    for front in fronts:
        front.fill()
    while True:
        # What lies before the horizon is complete: every track that goes on has delivered beyond it.
        horizon = min((int(front.times[-1]) for front in fronts if front.more), default=None)
        parts = [front.before(horizon) for front in fronts]
        if any(len(times) for times, _ in parts):
            yield from _rows(parts, rows, columns)
        if horizon is None:
            return
        for front in fronts:
            if front.more and int(front.times[-1]) == horizon:
                front.fill()


class _Front:
    """What a track has delivered and the join has not used."""

    __slots__ = ("more", "times", "track", "values")

    def __init__(self, track: Track, columns: int) -> None:
        self.track = track
        self.more = True
        self.times: Times = np.empty(0, np.int64)
        self.values: Values = np.empty((columns, 0))

    def fill(self) -> None:
        """The next chunk that is not empty, behind what is held."""
        for times, values in self.track:
            if len(times):
                self.times = np.concatenate((self.times, times)) if len(self.times) else times
                self.values = np.concatenate((self.values, values), 1) if self.values.shape[1] else values
                return
        self.more = False

    def before(self, horizon: int | None) -> Chunk:
        """Take what lies before the horizon; None: all."""
        n = len(self.times) if horizon is None else int(self.times.searchsorted(horizon))
        taken = self.times[:n], self.values[:, :n]
        self.times, self.values = self.times[n:], self.values[:, n:]
        return taken


def _rows(parts: Sequence[Chunk], rows: int, columns: int) -> Iterator[Chunk]:
    """The join of parts that lie in memory."""
    times, places = _places([times for times, _ in parts])
    for start in range(0, len(times), rows):
        end = min(start + rows, len(times))
        block = np.full((len(parts) * columns, end - start), np.nan)
        for i, ((_, values), place) in enumerate(zip(parts, places, strict=True)):
            target = block[i * columns : (i + 1) * columns]
            if place is None:
                target[:] = values[:, start:end]
                continue
            low, high = place.searchsorted((start, end)).tolist()
            target[:, place[low:high] - start] = values[:, low:high]
        yield times[start:end], block


def _places(tracks: Sequence[Times]) -> tuple[Times, list[NDArray[np.int64] | None]]:
    """The times of all rows, and for each track the row of each of its points (None: point i is row i)."""
    first = tracks[0]
    if all(len(times) == len(first) and np.array_equal(times, first) for times in tracks[1:]):
        return first, [None] * len(tracks)
    every = np.concatenate(tracks)
    every.sort(kind="stable")  # finds the ascending runs it consists of
    distinct = every[np.concatenate(([True], every[1:] != every[:-1]))]
    places = [distinct.searchsorted(times) for times in tracks]
    repeats = np.ones(len(distinct), np.int64)
    for times, place in zip(tracks, places, strict=True):
        if (times[1:] == times[:-1]).any():
            np.maximum(repeats, np.bincount(place, minlength=len(distinct)), out=repeats)
    if len(distinct) == repeats.sum():
        return distinct, list(places)
    row = np.cumsum(repeats) - repeats
    ordinals = [np.arange(len(times)) - times.searchsorted(times) for times in tracks]
    return (
        np.repeat(distinct, repeats),
        [row[place] + ordinal for place, ordinal in zip(places, ordinals, strict=True)],
    )


def snap_range(start: int, end: int, period: int) -> tuple[int, int] | None:
    """The range of points that may snap into [start, end), within the storable times; None if none can."""
    first = -(-start // period) * period
    last = (end - 1) // period * period
    low = max(first - period // 2, MIN_TIME)
    high = min(last - period // 2 + period, MAX_TIME - 1)
    return (low, high) if first <= last and low < high else None


def snapped(chunks: Iterable[Samples], start: int, end: int, period: int) -> Track:
    """Points moved to the nearest multiple of `period` (> 0) ns counted from the epoch, halves up.

    Of the points that meet at one multiple the one nearest to it stays, the earlier of two equally near, the first
    stored of equal times. Multiples outside [start, end) are left out.
    """
    half = period // 2
    last: Chunk | None = None  # the best point so far of the last multiple, which the next chunk may go on with
    for chunk in chunks:
        times, values = chunk.time, chunk.value
        if last is not None:
            times, values = np.concatenate((last[0], times)), np.concatenate((last[1], values))
        # No overflow: a time is below 2**62 in size and half a period below 2**62.
        grid = (times + half) // period * period
        low, high = grid.searchsorted((start, end)).tolist()
        times, values, grid = times[low:high], values[low:high], grid[low:high]
        if not len(grid):
            last = None
            continue
        best = _nearest(times, grid)
        last = times[best[-1:]], values[best[-1:]]
        best = best[:-1]
        if len(best):
            yield grid[best], values[np.newaxis, best]
    if last is not None:
        yield (last[0] + half) // period * period, last[1][np.newaxis]


def _nearest(times: Times, grid: Times) -> NDArray[np.int64]:
    """For each distinct value of `grid` the first index where |times - grid| is smallest."""
    distance = np.abs(times - grid)
    begins = np.flatnonzero(np.concatenate(([True], grid[1:] != grid[:-1])))
    lengths = np.diff(begins, append=len(grid))
    group = np.repeat(np.arange(len(begins)), lengths)
    hits = np.flatnonzero(distance == np.minimum.reduceat(distance, begins)[group])
    firsts = np.concatenate(([True], group[hits][1:] != group[hits][:-1]))
    return hits[firsts]
