"""Queries answered over the columns of one shape, as masks.

Equal to asking `query(point)` for every row, only faster: texts are tested once per distinct value, numbers and times
by array. Whatever these rules do not cover is asked row by row.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.points.columns import NULL, ODD, Shape
from lamina.points.compare import EXACT, Choice, Mask, both, compared, either, opposite, passes, time_window, times_pass
from lamina.tinyflux.queries import COMPARISONS, CompoundQuery, Query, SimpleQuery, may_raise, resolver


def count_where(query: Query | None, shape: Shape, measurement: str | None) -> int:
    """How many rows `rows_where` selects."""
    lo, hi, choice = _selected(query, shape, measurement)
    if isinstance(choice, bool):
        return hi - lo if choice else 0
    return int(np.count_nonzero(choice))


def first_where(query: Query | None, shape: Shape, measurement: str | None) -> int | None:
    """The first row `rows_where` selects, or None."""
    lo, hi, choice = _selected(query, shape, measurement)
    if isinstance(choice, bool):
        return lo if choice and lo < hi else None
    at = int(choice.argmax()) if len(choice) else 0
    return lo + at if len(choice) and choice[at] else None


def rows_where(query: Query | None, shape: Shape, measurement: str | None) -> slice | NDArray[np.int64]:
    """Rows of the shape that belong to the measurement (None: any) and satisfy the query (None: all)."""
    lo, hi, choice = _selected(query, shape, measurement)
    if choice is True:
        return slice(lo, hi)
    if choice is False:
        return slice(0, 0)
    found = np.flatnonzero(choice)
    return found + lo if lo else found


def _selected(query: Query | None, shape: Shape, measurement: str | None) -> tuple[int, int, Choice]:
    """A run of rows, and which of them."""
    lo, hi = 0, shape.n
    within: Choice = True
    if measurement is not None:
        code = shape.names.codes.get(measurement) if isinstance(measurement, str) else None
        within = False if code is None else shape.measurement == code
        if query is not None and not isinstance(within, bool) and may_raise(query):
            # What may raise is asked of the measurement's points only.
            sub = shape.kept(within, shape.rows[within])
            choice = np.zeros(shape.n, np.bool_)
            choice[np.flatnonzero(within)[rows_where(query, sub, None)]] = True
            return lo, hi, choice
    rest: Query | None = query
    if query is not None and shape.ordered:
        lo, hi, rest = _window(query, shape)
        if not isinstance(within, bool):
            within = within[lo:hi]
    if rest is None or lo >= hi:
        return lo, hi, within
    return lo, hi, both(within, _choose(rest, shape, lo, hi))


def _window(query: Query, shape: Shape) -> tuple[int, int, Query | None]:
    """Rows outside [lo, hi) fail the query, those inside pass it if they pass what is left of it (None: nothing).

    Takes out the time comparisons a query needs; the times must be in order.
    """
    first, last, rest = time_window(query)
    lo = 0 if first is None else _place(shape.time_us, first, "left")
    hi = shape.n if last is None else _place(shape.time_us, last, "right")
    return lo, max(lo, hi), rest


def _place(times: NDArray[np.int64], bound: int, side: Any) -> int:
    return int(times.searchsorted(bound, side))


def _choose(query: Query, shape: Shape, lo: int, hi: int) -> Choice:
    if isinstance(query, CompoundQuery):
        first = _choose(query.query1, shape, lo, hi)
        if query.query2:
            second = _choose(query.query2, shape, lo, hi)
            if query.operator is operator.and_:
                return both(first, second)
            if query.operator is operator.or_:
                return either(first, second)
            return _by_row(query, shape, lo, hi)
        if query.operator is not operator.not_:
            return _by_row(query, shape, lo, hi)
        return opposite(first)
    if query._kind == "noop":
        return True
    if query._kind is None:
        return _by_row(query, shape, lo, hi)
    if query._point_attr == "_time":
        return times_pass(query, shape.time_us[lo:hi])
    if query._point_attr == "_measurement":
        return _texts(query, query._path, shape.names.values, shape.names.codes, shape.measurement[lo:hi])
    # A function ahead of the first key sees the whole dict.
    if not query._path or not isinstance(query._path[0], str):
        return _by_row(query, shape, lo, hi)
    key, rest = query._path[0], query._path[1:]
    j = (shape.tag_at if query._point_attr == "_tags" else shape.field_at).get(key)
    if j is None:
        return False
    if query._kind == "exists" and not rest:
        return True
    if query._point_attr == "_tags":
        dictionary = shape.dictionaries[j]
        return _texts(query, rest, dictionary.values, dictionary.codes, shape.tag(j)[lo:hi])
    return _fields(query, rest, shape, j, lo, hi)


def _by_row(query: Query, shape: Shape, lo: int, hi: int) -> Mask:
    """The ground truth itself, over points made for the purpose."""
    from lamina.tinyflux.columnar import lazy_point

    return np.fromiter((bool(query(lazy_point(shape, row))) for row in range(lo, hi)), np.bool_, hi - lo)


def _texts(
    query: SimpleQuery,
    path: tuple[Any, ...],
    values: list[Any],
    codes: dict[Any, int],
    column: NDArray[np.int32],
) -> Choice:
    """Rows whose text passes. Each distinct value is tested once, and only if it occurs."""
    rhs = query._rhs
    if not path and query._kind in ("==", "!=") and (rhs is None or type(rhs) is str):
        code = codes.get(rhs, -1)
        same: Mask = column == code
        return same if query._kind == "==" else ~same
    right = np.zeros(len(values), np.bool_)
    occurring = np.flatnonzero(np.bincount(column, minlength=len(values))).tolist()
    resolve = resolver(path)
    for code in occurring:
        right[code] = bool(passes(query, resolve, values[code]))
    return right[column]


def _fields(query: SimpleQuery, path: tuple[Any, ...], shape: Shape, j: int, lo: int, hi: int) -> Choice:
    rhs = query._rhs
    plain = not path and query._kind in COMPARISONS
    if plain and (rhs is None or (type(rhs) in (int, float, bool) and (type(rhs) is float or abs(rhs) <= EXACT))):
        kinds = shape.kinds(j)
        if rhs is None:
            out = np.full(hi - lo, query._kind == "!=", np.bool_)
        else:
            out = compared(query, shape.field(j)[lo:hi], rhs)
        if kinds is not None:
            kinds = kinds[lo:hi]
            out[kinds == NULL] = bool(query._test(None))
            if shape.odd[j]:
                for row in np.flatnonzero(kinds == ODD).tolist():
                    out[row] = bool(query._test(shape.odd[j][lo + row]))
        return out
    resolve = resolver(path)
    values = shape.field_list(j, slice(lo, hi))
    return np.fromiter((bool(passes(query, resolve, value)) for value in values), np.bool_, hi - lo)
