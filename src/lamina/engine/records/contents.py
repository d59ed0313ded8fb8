"""Contents in the log, many at a time, as they are to lie in a payload file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamina.errors import NotFound
from lamina.storage.log import Log
from lamina.storage.payloadbulk import Laid
from lamina.storage.payloadfile import ALIGNMENT

SPAN_BYTES = 1 << 20
"""Contents laid out at a time, and the most that is read as one range."""

GAP_BYTES = 512
"""Between two contents in the log lie a row, a label set, a frame's head: reading them along costs less than a call."""

Positions = NDArray[np.int64]


def read_inline(log: Log, wheres: NDArray[np.uint64], sizes: NDArray[np.uint64]) -> Iterator[Laid]:
    """Contents at log positions, none of them empty, in the order given. Neighbours come with one read, and what lies
    in the log as it will lie in the file is not copied. Costs 0.1 to 0.5 us a content, and the reading."""
    source, length = wheres.astype(np.int64), sizes.astype(np.int64)
    space = (length + ALIGNMENT - 1) & -ALIGNMENT
    ends = np.cumsum(space)
    start = 0
    while start < len(source):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + SPAN_BYTES, "right")), start + 1)
        part = slice(start, stop)
        yield Laid(_lay(log, source[part], length[part], ends[part] - space[part] - before), sizes[part])
        start = stop


def _lay(log: Log, source: Positions, length: Positions, target: Positions) -> bytes | bytearray:
    """Copy contents from the log to offsets of a buffer that ends, aligned, behind the last of them."""
    size = int(target[-1] + length[-1])
    size += -size % ALIGNMENT
    if size == int(length.sum()) and np.array_equal(source - source[0], target):
        try:
            return log.read(int(source[0]), size)
        except NotFound:  # it goes on in the next file
            pass
    laid = bytearray(size)
    order = np.argsort(source, kind="stable")
    source, length, target = source[order], length[order], target[order]
    ends = source + length
    # Joined both here and there: never across files, each of which begins with a header.
    joined = (source[1:] == ends[:-1]) & (target[1:] == target[:-1] + length[:-1])
    first = np.flatnonzero(np.concatenate(([True], ~joined)))
    last = np.concatenate((first[1:], [len(source)])) - 1
    _copy(log, laid, source[first], ends[last], target[first])
    return laid


def _copy(log: Log, laid: bytearray, starts: Positions, ends: Positions, targets: Positions) -> None:
    """Copy pieces, by position in the log; such as lie near one another are read together."""
    at = 0
    begin, end, target = starts.tolist(), ends.tolist(), targets.tolist()
    while at < len(begin):
        first, stop = begin[at], at + 1
        while stop < len(begin) and begin[stop] <= end[stop - 1] + GAP_BYTES and end[stop] - first <= SPAN_BYTES:
            stop += 1
        try:
            data = memoryview(log.read(first, end[stop - 1] - first))
        except NotFound:
            if stop == at + 1:
                raise
            stop = at + 1  # the range goes on in the next file: each for itself
            data = memoryview(log.read(first, end[at] - first))
        for i in range(at, stop):
            laid[target[i] : target[i] + end[i] - begin[i]] = data[begin[i] - first : end[i] - first]
        at = stop
