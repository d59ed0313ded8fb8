"""Times as callers give them, in the unit of points: microseconds over the years 1 to 9999."""

from __future__ import annotations

import operator
from typing import SupportsIndex, cast

from lamina.errors import InvalidTimeRange
from lamina.points.batch import MAX_TIME_US, MIN_TIME_US
from lamina.time import TimeLike, to_ns


def bound_us(value: TimeLike) -> int:
    """Microseconds since the epoch of an int (µs), datetime, numpy.datetime64 or ISO 8601 string; a naive time means
    UTC. A bound that is finer than a microsecond means the next one: no point lies between.

    Raises InvalidArgument; InvalidTimeRange beyond one after year 9999.
    """
    integral = isinstance(value, int) and not isinstance(value, bool)
    if integral or (type(value).__module__ == "numpy" and hasattr(value, "__index__")):
        micros = operator.index(cast(SupportsIndex, value))
    else:
        micros = -(-to_ns(value) // 1000)
    if not MIN_TIME_US <= micros <= MAX_TIME_US + 1:
        raise InvalidTimeRange(f"time {value!r}: expected a time of the years 1 to 9999")
    return micros
