"""Points as callers hand them in -> columns: pairs of (time, value), or what holds columns already."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from lamina.btrdb.point import RawPoint
from lamina.btrdb.sequences import PointTuple
from lamina.columns import Samples

_BLOCK = 1000
_PAIR = np.dtype([("time", "<i8"), ("value", "<f8")])
_PAIRS = struct.Struct("<" + "qd" * _BLOCK)
_FIRST_TWO = itemgetter(0, 1)


class NotPoints(TypeError):
    """What is no pair of an integer and a number; the message names the place."""


def columns(data: Any) -> Samples:
    """Times and values in the order given.

    `data`: a sequence of (time, value) pairs (tuples, lists, RawPoints), times int ns and values numbers; or columns,
    of which nothing is copied: what `values()` gave, Samples, an Arrow table, a pandas or polars DataFrame with a
    column `time` and one of values. Raises NotPoints; numbers are never rounded or parsed from text.
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
    packed = bytearray()
    for start in range(0, len(data), _BLOCK):
        packed += _packed(data[start : start + _BLOCK], start)
    pairs = np.frombuffer(packed, _PAIR)
    return Samples(np.ascontiguousarray(pairs["time"]), np.ascontiguousarray(pairs["value"]))


def _packed(block: Sequence[Any], start: int) -> bytes:
    """At the speed of C where all is well: struct takes integers for times and numbers for values, nothing else."""
    n = len(block)
    form = _PAIRS if n == _BLOCK else struct.Struct("<" + "qd" * n)
    try:
        if isinstance(block[0], RawPoint):  # which has no length
            block = list(map(_FIRST_TWO, block))
        if set(map(len, block)) == {2}:
            return form.pack(*chain.from_iterable(block))
    except (TypeError, struct.error, OverflowError):
        pass  # found below, one by one
    return b"".join(_one(pair, start + i) for i, pair in enumerate(block))


def _one(pair: Iterable[Any], at: int) -> bytes:
    try:
        time, value = pair
        return struct.pack("<qd", time, value)
    except (TypeError, ValueError, struct.error, OverflowError) as error:
        text = f"point {at} is {pair!r}: expected a pair of int nanoseconds and a number ({error})"
        raise NotPoints(text) from None
