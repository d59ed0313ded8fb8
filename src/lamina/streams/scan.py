"""Raw points of a range of time."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from lamina.columns import Samples, Times, Values
from lamina.storage.blocks import BlockReader
from lamina.streams.bounds import check_range
from lamina.streams.descend import descend, stretch
from lamina.streams.leaves import points
from lamina.streams.node import BIAS
from lamina.streams.view import View

CHUNK = 131_072
"""Points per chunk, about: 2 MiB. The descent for a chunk is then some percent of decoding it."""


def raw(view: View, read: BlockReader, start: int, end: int) -> Generator[Samples, None, None]:
    """Points with start <= time < end, ascending, equal times in insertion order; lazy, no chunk is empty.

    A chunk holds about CHUNK points of the tree and of the buffer each; more only where one leaf does.
    Arguments are checked at the call. Raises InvalidTimeRange.
    """
    low, high = check_range(start, end)
    return _chunks(view, read, low, high)


def whole(view: View, read: BlockReader, start: int, end: int) -> Samples:
    """What `raw` gives, in one piece: decoded straight into arrays of the right size, which is half the cost of joining
    chunks. Raises InvalidTimeRange."""
    low, high = check_range(start, end)
    times, values = _stretch(view, read, low, high)
    times -= BIAS
    return Samples(times, values)


def _chunks(view: View, read: BlockReader, low: int, high: int) -> Generator[Samples, None, None]:
    while low < high and (part := stretch(view, read, low, high, CHUNK)) is not None:
        first, low = part
        times, values = _stretch(view, read, first, low)
        if len(times):
            times -= BIAS
            yield Samples(times, values)


def _stretch(view: View, read: BlockReader, low: int, high: int) -> tuple[Times, Values]:
    """All points of the view in [low, high), biased, in new arrays."""
    times, values = _within(*points(view, read, descend(view, read, low, high)), low, high)
    buffered = _within(view.times, view.values, low, high)
    if len(buffered[0]):
        return _merge(times, values, *buffered)
    return times, values


def _within(times: Times, values: Values, low: int, high: int) -> tuple[Times, Values]:
    i, j = times.searchsorted((low, high)).tolist()
    return times[i:j], values[i:j]


def _merge(times: Times, values: Values, new_times: Times, new_values: Values) -> tuple[Times, Values]:
    """New arrays with both, the new points behind old ones of equal time."""
    in_order = not len(times) or times[-1] <= new_times[0]
    times, values = np.concatenate((times, new_times)), np.concatenate((values, new_values))
    if in_order:
        return times, values
    order = times.argsort(kind="stable")
    return times[order], values[order]
