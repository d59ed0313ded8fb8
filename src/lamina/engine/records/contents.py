"""Contents in the log, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamina.errors import NotFound
from lamina.storage.log import Log

SPAN_BYTES = 1 << 20
"""Neighbouring contents are read as one range of at most so many bytes."""

GAP_BYTES = 512
"""Between two contents in the log lie a row, a label set, a frame's head: reading them along costs less than a call."""


def read_inline(log: Log, wheres: Sequence[int], sizes: Sequence[int]) -> Iterator[memoryview]:
    """Contents at log positions, in the order given; neighbours that follow each other come with one read."""
    at = 0
    while at < len(wheres):
        first = wheres[at]
        end = first + sizes[at]
        last = at + 1
        while last < len(wheres) and end <= wheres[last] <= end + GAP_BYTES:
            if wheres[last] + sizes[last] - first > SPAN_BYTES:
                break
            end = wheres[last] + sizes[last]
            last += 1
        try:
            data = memoryview(log.read(first, end - first))
        except NotFound:
            if last == at + 1:
                raise
            last = at + 1  # the run goes on in the next file: each for itself
            data = memoryview(log.read(first, sizes[at]))
        for i in range(at, last):
            yield data[wheres[i] - first : wheres[i] - first + sizes[i]]
        at = last
