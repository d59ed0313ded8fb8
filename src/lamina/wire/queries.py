"""Queries of points as JSON: ["and" | "or", query, query ...], ["not", query], [test, part of the point, path], and
[comparison, part, path, value]; a time is {"us": microseconds}."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from lamina.errors import InvalidArgument
from lamina.points.point import EPOCH, MICROSECOND
from lamina.points.queries import (
    COMPARISONS,
    CompoundQuery,
    FieldQuery,
    MeasurementQuery,
    Query,
    SimpleQuery,
    TagQuery,
    TimeQuery,
)

MOST = 200
"""Tests, and what joins them, of one query: they are nested calls where they are asked."""

_PARTS: dict[str, Callable[[], Any]] = {
    "_time": TimeQuery, "_measurement": MeasurementQuery, "_tags": TagQuery, "_fields": FieldQuery,
}  # fmt: skip
_NAMES = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_JOINS: dict[Callable[..., Any], str] = {operator.and_: "and", operator.or_: "or"}


def told(query: Query) -> Query | None:
    """What a server can be told of a query: the narrowest one without functions and patterns that is true wherever
    this one is. None: all points. The query itself if it has neither."""
    return query if _is_told(query) else _wider(query, negated=False)


def _is_told(query: Query) -> bool:
    if isinstance(query, CompoundQuery):
        return _is_told(query.query1) and (query.query2 is None or _is_told(query.query2))
    return query._kind in (*COMPARISONS, "exists", "noop") and all(type(part) is str for part in query._path)


def _wider(query: Query, negated: bool) -> Query | None:
    if isinstance(query, SimpleQuery):
        return None if not _is_told(query) else ~query if negated else query
    if query.query2 is None:
        return _wider(query.query1, not negated)
    first, second = (_wider(one, negated) for one in (query.query1, query.query2))
    if (query.operator is operator.and_) is not negated:  # both have to hold
        return second if first is None else first if second is None else first & second
    return None if first is None or second is None else first | second


def tree_of(query: Query) -> list[Any]:
    """Naive times are UTC already. Raises InvalidArgument for what a server is not told: functions and patterns."""
    left = [MOST]
    return _tree(query, left)


def _tree(query: Query, left: list[int]) -> list[Any]:
    left[0] -= 1
    if left[0] < 0:
        raise InvalidArgument(
            f"the query has more than {MOST} tests: ask several, or fetch points and filter them here"
        )
    if isinstance(query, CompoundQuery):
        if query.query2 is None:
            return ["not", _tree(query.query1, left)]
        return [_JOINS[query.operator], _tree(query.query1, left), _tree(query.query2, left)]
    kind, path = query._kind, query._path
    if not _is_told(query):
        what = "a pattern" if kind in ("matches", "search") else "a function"
        raise InvalidArgument(
            f"the query holds {what}, which a server does not run: search for the points, and change them by what they"
            " have in common"
        )
    attribute = query.point_attr.removeprefix("_")
    if kind in COMPARISONS:
        return [kind, attribute, list(path), _plain(query._rhs)]
    return [kind, attribute, list(path)]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"us": (value - EPOCH) // MICROSECOND}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, float | str | int):
        return float(value) if isinstance(value, float) else str(value) if isinstance(value, str) else int(value)
    raise InvalidArgument(
        f"the query compares with {value!r:.100}: a server takes numbers, texts, bools, None and times"
    )


def query_of(tree: Any) -> Query:
    """Raises ValueError for what is no tree, or too large a one."""
    left = [MOST]
    return _query(tree, left)


def _query(tree: Any, left: list[int]) -> Query:
    left[0] -= 1
    if type(tree) is not list or len(tree) < 2 or left[0] < 0:
        raise ValueError
    kind, *rest = tree
    if kind == "not" and len(rest) == 1:
        return ~_query(rest[0], left)
    if kind in ("and", "or") and len(rest) == 2:
        first, second = (_query(one, left) for one in rest)
        return first & second if kind == "and" else first | second
    return _test(kind, *rest)


def _test(kind: Any, attribute: Any = None, path: Any = None, *values: Any) -> SimpleQuery:
    if type(attribute) is not str or f"_{attribute}" not in _PARTS or type(path) is not list:
        raise ValueError
    builder = _PARTS[f"_{attribute}"]()
    try:
        for key in path:
            if type(key) is not str:
                raise ValueError
            builder = builder[key]
        if kind == "noop" and not values:
            found: SimpleQuery = builder.noop()
        elif kind == "exists" and not values and isinstance(builder, TagQuery | FieldQuery):
            found = builder.exists()
        elif type(kind) is str and kind in _NAMES and len(values) == 1:
            found = getattr(operator, _NAMES[kind])(builder, _value(values[0]))
        else:
            raise ValueError
    except (TypeError, RuntimeError) as error:  # what a builder does not take
        raise ValueError from error
    return found


def _value(value: Any) -> Any:
    if type(value) is dict:
        if value.keys() != {"us"} or type(value["us"]) is not int:
            raise ValueError
        try:
            return EPOCH + timedelta(microseconds=value["us"])
        except OverflowError as error:
            raise ValueError from error
    if value is not None and type(value) not in (bool, int, float, str):
        raise ValueError
    return value
