"""Points as callers hand them in -> columns: pairs of (time, value), or what holds columns already."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lamina.btrdb.sequences import PointTuple
from lamina.columns import Samples, Times, Values

_BLOCK = 256
"""Points at once: they stay in the cache; 1,000 take half as long again."""
_TIMES = struct.Struct(f"={_BLOCK}q")
_VALUES = struct.Struct(f"={_BLOCK}d")


class NotPoints(TypeError):
    """What is no pair of an integer and a number; the message names the place."""


def columns(data: Any, first: int = 0) -> Samples:
    """Times and values in the order given.

    `data`: a sequence of (time, value) pairs (tuples, lists, RawPoints), times int ns and values numbers; or columns,
    of which nothing is copied: what `values()` gave, Samples, an Arrow table, a pandas or polars DataFrame with a
    column `time` and one of values. Raises NotPoints, which counts points from `first`; numbers are never rounded or
    parsed from text.
    """
    if isinstance(data, PointTuple):
        found = data.columns
        if isinstance(found, Samples):
            return found
        raise NotPoints(f"{type(found).__name__} are no points: expected (time, value) pairs")
    if isinstance(data, Samples) or hasattr(data, "columns") or hasattr(data, "to_batches"):
        from lamina.streams import batch

        return Samples(*batch.as_given(data))
    if not isinstance(data, Sequence):
        data = list(data)
    times, values = bytearray(), bytearray()
    for start in range(0, len(data), _BLOCK):
        packed = _packed(data[start : start + _BLOCK], first + start)
        times += packed[0]
        values += packed[1]
    return Samples(np.frombuffer(times, np.int64), np.frombuffer(values, np.float64))


def parts(data: Any, size: int | None) -> Iterator[tuple[Times, Values]]:
    """As columns, `size` points at once; None: all in one part, which may be empty.

    Pairs are read as parts are asked for, so what is wrong behind a part is found after it."""
    if size is None:
        whole = columns(data)
        yield whole.time, whole.value
    elif isinstance(data, Sequence) and not isinstance(data, PointTuple):
        for start in range(0, len(data), size):
            part = columns(data[start : start + size], start)
            yield part.time, part.value
    else:
        whole = columns(data)
        for start in range(0, len(whole), size):
            yield whole.time[start : start + size], whole.value[start : start + size]


def _packed(block: Sequence[Any], start: int) -> tuple[bytes, bytes]:
    """At the speed of C where all is well: struct takes integers for times and numbers for values, nothing else."""
    try:
        times, values = zip(*block, strict=True)
        if len(times) == _BLOCK:
            return _TIMES.pack(*times), _VALUES.pack(*values)
        return struct.pack(f"={len(times)}q", *times), struct.pack(f"={len(times)}d", *values)
    except (TypeError, ValueError, struct.error, OverflowError):
        pairs = [_one(pair, start + i) for i, pair in enumerate(block)]  # raises, and names the point
        raise AssertionError(f"{len(pairs)} points are good one by one but not together") from None


def _one(pair: Iterable[Any], at: int) -> bytes:
    try:
        time, value = pair
        return struct.pack("=qd", time, value)
    except (TypeError, ValueError, struct.error, OverflowError) as error:
        text = f"point {at} is {pair!r}: expected a pair of int nanoseconds and a number ({error})"
        raise NotPoints(text) from None
