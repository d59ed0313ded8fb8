"""Queries answered over columns, as masks.

Equal to asking `query(point)` for every row, only faster: tags are tested once per distinct tag set, texts once per
distinct text, numbers and times by array. Whatever these rules do not cover is asked row by row.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.points.batch import Batch, Numbers, TagSet
from lamina.points.compare import EXACT, Choice, Mask, both, compared, either, opposite, passes, times_pass
from lamina.points.field import ABSENT, BOOL, FLOAT, INT, NULL, TEXT, FieldColumn
from lamina.points.point import Point
from lamina.points.queries import COMPARISONS, CompoundQuery, Query, SimpleQuery, may_raise, resolver

_AT_ONCE = 4096
"""Rows made into points together where a query has to see points."""


class Columns(Protocol):
    """Rows that a query is asked of; columns are read when a query needs them."""

    @property
    def n(self) -> int: ...

    @property
    def measurement(self) -> str: ...

    def times(self) -> NDArray[np.int64]: ...

    def tagset(self) -> tuple[Numbers, list[TagSet]]: ...

    def field(self, key: str) -> FieldColumn | None:
        """None: no row has the key."""
        ...

    def batch(self) -> Batch:
        """All columns."""
        ...

    def narrowed(self, rows: NDArray[np.intp]) -> Columns:
        """Some of the rows."""
        ...


def choose(query: Query, columns: Columns) -> Choice:
    """The rows that satisfy the query."""
    if not columns.n:
        return False
    if isinstance(query, CompoundQuery):
        return _compound(query, columns)
    if query._kind == "noop":
        return True
    if query._kind is None:
        return _by_row(query, columns)
    if query._point_attr == "_time":
        return times_pass(query, columns.times())
    if query._point_attr == "_measurement":
        return bool(query.check(columns.measurement))
    if query._point_attr == "_tags":
        return _tags(query, columns)
    # A function ahead of the first key sees the whole dict.
    if not query._path or not isinstance(query._path[0], str):
        return _by_row(query, columns)
    column = columns.field(query._path[0])
    return False if column is None else _field(query, query._path[1:], column)


def _compound(query: CompoundQuery, columns: Columns) -> Choice:
    if not query.query2:
        if query.operator is not operator.not_:
            return _by_row(query, columns)
        return opposite(choose(query.query1, columns))
    if query.operator is operator.or_:
        return either(choose(query.query1, columns), choose(query.query2, columns))
    if query.operator is not operator.and_:
        return _by_row(query, columns)
    first, second = sorted((query.query1, query.query2), key=_cost)
    chosen = choose(first, columns)
    if may_raise(second) or isinstance(chosen, bool):
        # What may raise has to see every row, as `query(point)` shows it.
        return chosen if chosen is False and not may_raise(second) else both(chosen, choose(second, columns))
    rows = np.flatnonzero(chosen)
    rest = choose(second, columns.narrowed(rows))
    if rest is True:
        return chosen
    out = np.zeros(columns.n, np.bool_)
    if rest is not False:
        out[rows[rest]] = True
    return out


def _cost(query: Query) -> int:
    """Cheap ones first, so that the others read less; what may raise before everything, it sees all rows anyway."""
    if may_raise(query):
        return 0
    if isinstance(query, CompoundQuery):
        return max(_cost(query.query1), _cost(query.query2) if query.query2 else 0)
    return {"_measurement": 1, "_time": 2, "_tags": 2}.get(query._point_attr, 3)


def _by_row(query: Query, columns: Columns) -> Mask:
    """The ground truth itself, over points made for the purpose."""
    out = np.empty(columns.n, np.bool_)
    for start in range(0, columns.n, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, columns.n))
        points: list[Point] = columns.narrowed(rows).batch().points(columns.measurement)
        out[rows] = [bool(query(point)) for point in points]
    return out


def _tags(query: SimpleQuery, columns: Columns) -> Choice:
    """Each tag set that occurs is tested once."""
    numbers, tagsets = columns.tagset()
    if may_raise(query) or len(tagsets) > columns.n:
        right = np.zeros(len(tagsets), np.bool_)
        for number in np.flatnonzero(np.bincount(numbers, minlength=len(tagsets))).tolist():
            right[number] = bool(query.check(dict(tagsets[number])))
    else:
        # A tag set that no row has does no harm, and nearly all occur.
        right = np.fromiter((bool(query.check(dict(tags))) for tags in tagsets), np.bool_, len(tagsets))
    if right.all():
        return True
    return right[numbers] if right.any() else False


def _field(query: SimpleQuery, path: tuple[Any, ...], column: FieldColumn) -> Choice:
    """Rows whose value of the field passes; a row without the key does not."""
    if query._kind == "exists" and not path:
        return opposite(column.of_kind(ABSENT))
    resolve = resolver(path)

    def test(value: Any) -> bool:
        return bool(passes(query, resolve, value))

    vectorised = not path and query._kind in COMPARISONS
    if column.kinds is None:
        return _of_kind(query, vectorised, column.kind, column, test)
    out = np.zeros(len(column.bits), np.bool_)
    for kind in np.flatnonzero(np.bincount(column.kinds)).tolist():
        if kind != ABSENT:
            rows = np.flatnonzero(column.kinds == kind)
            out[rows] = _of_kind(query, vectorised, kind, column.take(rows), test)
    return out


def _of_kind(
    query: SimpleQuery, vectorised: bool, kind: int, column: FieldColumn, test: Callable[[Any], bool]
) -> Choice:
    """Rows, all of one kind, that pass."""
    rhs = query._rhs
    if kind == ABSENT:
        return False
    if kind == NULL:
        return test(None)
    if kind == BOOL:
        values = column.bits != 0
        right = [test(value) if (values == value).any() else False for value in (False, True)]
        return np.where(values, right[1], right[0])
    if kind == TEXT:
        seen = np.flatnonzero(np.bincount(column.bits, minlength=len(column.texts)))
        right_texts = np.zeros(len(column.texts), np.bool_)
        right_texts[seen] = [test(column.texts[number]) for number in seen.tolist()]
        return right_texts[column.bits]
    if vectorised:
        if rhs is None or isinstance(rhs, str):
            return test(0.0)  # any number compares alike
        found = _numbers(query, kind, column, rhs, test)
        if found is not None:
            return found
    return np.fromiter(map(test, column.list()), np.bool_, len(column.bits))


def _numbers(query: SimpleQuery, kind: int, column: FieldColumn, rhs: Any, test: Callable[[Any], bool]) -> Mask | None:
    """Floats or ints compared with a number; None if only Python compares them exactly."""
    if isinstance(rhs, float):
        rhs = float(rhs)
        if kind == FLOAT:
            return compared(query, column.floats, rhs)
        out = compared(query, column.bits.astype(np.float64), rhs)
        for row in np.flatnonzero((column.bits > EXACT) | (column.bits < -EXACT)).tolist():
            out[row] = test(int(column.bits[row]))
        return out
    if type(rhs) not in (int, bool):
        return None
    if kind == INT:
        return compared(query, column.bits, int(rhs)) if -(1 << 63) <= rhs < 1 << 63 else None
    return compared(query, column.floats, float(rhs)) if abs(rhs) <= EXACT else None
