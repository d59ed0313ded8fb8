"""The queries of points under TinyFlux's names, and what differs: fields are compared with numbers only, and a naive
time is this machine's local time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from lamina.points.queries import (
    COMPARISONS,
    BaseQuery,
    CompoundQuery,
    MeasurementQuery,
    Query,
    SimpleQuery,
    TagQuery,
    TimeQuery,
    in_zone,
    is_query,
    may_raise,
    resolver,
    runs_user_code,
)
from lamina.points.queries import FieldQuery as AnyFieldQuery

__all__ = [
    "COMPARISONS",
    "BaseQuery",
    "CompoundQuery",
    "FieldQuery",
    "MeasurementQuery",
    "Query",
    "SimpleQuery",
    "TagQuery",
    "TimeQuery",
    "checked",
    "local_offset",
    "localized",
    "may_raise",
    "resolver",
    "runs_user_code",
]


class FieldQuery(AnyFieldQuery):
    """`FieldQuery().temp > 20.0`: tests of fields."""

    def _generate_simple_query(
        self,
        operator: Callable[..., Any],
        test_against_rhs: bool,
        rhs: Any,
        args: Any,
        hashval: Any,
        kind: str = "test",
    ) -> SimpleQuery:
        if self._path and rhs and not isinstance(rhs, (int, float)):
            raise TypeError("FieldQuery comparison value must be numeric.")
        return super()._generate_simple_query(operator, test_against_rhs, rhs, args, hashval, kind)


def localized(query: Query) -> Query:
    """The query with naive right-hand sides of time comparisons taken as this machine's local time."""
    return in_zone(query, local_offset)


def local_offset(naive: datetime) -> timedelta:
    """UTC offset of this machine at a local time; of the nearest time Python can convert at the ends of the range."""
    for days in (0, 2, -2):
        try:
            offset = (naive + timedelta(days=days)).astimezone().utcoffset()
        except (OverflowError, ValueError):
            continue
        if offset is not None:
            return offset
    return timedelta(0)


def checked(query: Any) -> Query:
    """The query, ready to be evaluated; TypeError if it is none."""
    if not is_query(query):
        raise TypeError("Query must be SimpleQuery or CompoundQuery.")
    return localized(query)
