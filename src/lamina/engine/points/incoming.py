"""What callers insert: points, or tables of them, as batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lamina.errors import InvalidArgument
from lamina.points.batch import Batch, Grouped, batch_of_points, group_points
from lamina.points.point import Point

if TYPE_CHECKING:
    Given: TypeAlias = Point | Iterable[Point] | Any


def batch_of(given: Given, now_us: int, tags: Sequence[str] | None, time: str | None) -> Batch:
    """Points of one measurement, whatever measurement they name. Raises InvalidArgument, InvalidTimeRange."""
    points = _points(given, tags, time)
    if points is not None:
        return batch_of_points(points, now_us)
    from lamina.points.tables import batch_of_table

    return batch_of_table(given, now_us, tags=tags, time=time)


def groups_of(given: Given, now_us: int, tags: Sequence[str] | None, time: str | None) -> list[Grouped]:
    """Points by the measurements they name. Raises InvalidArgument, InvalidTimeRange."""
    points = _points(given, tags, time)
    if points is not None:
        return group_points(points, now_us) if points else []
    from lamina.points.tables import groups_of_table

    return groups_of_table(given, now_us, tags=tags, time=time)


def _points(given: Given, tags: Sequence[str] | None, time: str | None) -> list[Point] | None:
    """None: it is a table."""
    if isinstance(given, Point):
        points = [given]
    elif hasattr(given, "__arrow_c_stream__") or hasattr(given, "columns") or isinstance(given, dict):
        return None
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        points = list(given)
    else:
        raise InvalidArgument(f"points {given!r:.100}: expected Point objects, or a table with a column of times")
    for point in points:
        if not isinstance(point, Point):
            raise InvalidArgument(f"point {point!r:.100}: expected a Point")
    if tags is not None or time is not None:
        raise InvalidArgument("tags= and time= name columns of a table; Point objects say themselves what is what")
    return points
