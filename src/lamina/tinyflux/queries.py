"""The queries of points under TinyFlux's name, and what a naive time means to it: this machine's local time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from lamina.points.queries import (
    COMPARISONS,
    BaseQuery,
    CompoundQuery,
    FieldQuery,
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
