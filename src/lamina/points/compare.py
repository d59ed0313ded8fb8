"""Comparisons of a query over arrays, exactly as Python makes them one by one."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.points.point import EPOCH, MICROSECOND
from lamina.points.queries import COMPARISONS, CompoundQuery, Query, SimpleQuery, may_raise

Mask = NDArray[np.bool_]
Choice = bool | Mask
"""What a query selects of some rows: all (True), none (False), or a mask."""

EXACT = 1 << 53
"""Integers beyond this are not exact in float64, so comparing them there could lie."""

_BOUNDS = COMPARISONS - {"!="}
_UFUNCS: dict[str, Any] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def compared(query: SimpleQuery, column: NDArray[Any], rhs: int | float) -> Mask:
    """The query's comparison symbol over a column."""
    ufunc = _UFUNCS[query._kind or ""]
    out: Mask = ufunc(column, rhs)
    return out


def both(a: Choice, b: Choice) -> Choice:
    if a is True or b is False:
        return b
    if b is True or a is False:
        return a
    return a & b


def either(a: Choice, b: Choice) -> Choice:
    if a is False or b is True:
        return b
    if b is False or a is True:
        return a
    return a | b


def opposite(a: Choice) -> Choice:
    return (not a) if isinstance(a, bool) else np.logical_not(a)


def passes(query: SimpleQuery, resolve: Any, value: Any) -> Any:
    """What the query's test says of a value that `resolve` has still to walk from."""
    try:
        resolved = resolve(value)
    except Exception:
        return False
    return query._test(resolved)


def times_pass(query: SimpleQuery, time_us: NDArray[np.int64]) -> Choice:
    """A query of the time."""
    if query._kind in COMPARISONS and not query._path:
        rhs = query._rhs
        if not rhs and not isinstance(rhs, datetime):
            return query._kind == "!="
        bound = microseconds(rhs)
        if bound is not None:
            # A bound outside int64 cannot occur: datetimes span 3e17 microseconds.
            return compared(query, time_us, bound)
    times = [EPOCH + timedelta(microseconds=time) for time in time_us.tolist()]
    return np.fromiter((bool(query.check(time)) for time in times), np.bool_, len(times))


def microseconds(rhs: Any) -> int | None:
    """Microseconds of an aware datetime; None if comparing with it is more than comparing instants."""
    if type(rhs) is not datetime or rhs.tzinfo is None:
        return None
    if type(rhs.tzinfo) is timezone:
        return (rhs - EPOCH) // MICROSECOND
    offset = rhs.utcoffset()
    # Python never calls a time equal whose offset depends on `fold`: leave those to Python.
    if offset is None or rhs.replace(fold=not rhs.fold).utcoffset() != offset:
        return None
    return (rhs.replace(tzinfo=UTC) - EPOCH) // MICROSECOND - offset // MICROSECOND


def time_window(query: Query) -> tuple[int | None, int | None, Query | None]:
    """First and last microsecond (inclusive; None: open) outside which no point passes, and what is left to be asked
    of those inside (None: nothing)."""
    if isinstance(query, CompoundQuery):
        # What may raise has to see every row.
        if query.operator is not operator.and_ or not query.query2 or may_raise(query):
            return None, None, query
        first, last, one = time_window(query.query1)
        low, high, other = time_window(query.query2)
        first = low if first is None else first if low is None else max(first, low)
        last = high if last is None else last if high is None else min(last, high)
        if one is None or other is None:
            return first, last, one or other
        return first, last, query
    if query._point_attr != "_time" or query._kind not in _BOUNDS or query._path:
        return None, None, query
    bound = microseconds(query._rhs)
    if bound is None:
        return None, None, query
    first = last = None
    if query._kind in ("<", "<=", "=="):
        last = bound - (query._kind == "<")
    if query._kind in (">", ">=", "=="):
        first = bound + (query._kind == ">")
    return first, last, None
