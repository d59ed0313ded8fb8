"""A table of Points in a list: small stores, and stores other people wrote. No NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from lamina.points.point import Point as AnyPoint
from lamina.points.point import copied
from lamina.tinyflux.point import FieldValue, Point
from lamina.tinyflux.queries import Query, runs_user_code


class PlainTable:
    """Points in insertion order.

    `shared`: the points belong to the caller and are handed out as they are; else everything read is a fresh copy.
    `measurement` arguments: None is no filter, anything else, "" too, selects by equality.
    """

    def __init__(self, points: list[Point], shared: bool) -> None:
        self.rows = points
        self.shared = shared

    def __len__(self) -> int:
        return len(self.rows)

    def matches(self, query: Query, measurement: str | None) -> Iterator[int]:
        """Positions of the points the query is truthy for, one after another."""
        # A user's function may change what it is given: never our own dicts.
        guarded = not self.shared and runs_user_code(query)
        for position, point in enumerate(self.rows):
            if (measurement is None or point._measurement == measurement) and query(fresh(point) if guarded else point):
                yield position

    def find(self, query: Query, measurement: str | None) -> list[int]:
        return list(self.matches(query, measurement))

    def count(self, query: Query, measurement: str | None) -> int:
        return sum(1 for _ in self.matches(query, measurement))

    def first(self, query: Query, measurement: str | None) -> Point | None:
        """The first match in insertion order; looks no further than it."""
        for position in self.matches(query, measurement):
            return self.out(self.rows[position])
        return None

    def out(self, point: Point) -> Point:
        return point if self.shared else fresh(point)

    def _of(self, measurement: str | None) -> list[Point]:
        if measurement is None:
            return self.rows
        return [point for point in self.rows if point._measurement == measurement]

    def search(self, query: Query, measurement: str | None, by_time: bool) -> list[Point]:
        """Matches in insertion order, or by time with ties in that order."""
        found = [self.rows[position] for position in self.find(query, measurement)]
        return self._listed(found, by_time)

    def everything(self, measurement: str | None, by_time: bool) -> list[Point]:
        return self._listed(list(self._of(measurement)), by_time)

    def _listed(self, points: list[Point], by_time: bool) -> list[Point]:
        if by_time:
            points.sort(key=_time)
        return points if self.shared else [fresh(point) for point in points]

    def each(self, measurement: str | None) -> Iterator[Point]:
        """Points in insertion order, as they are when the walk begins or appended during it."""
        for point in self.rows:
            if measurement is None or point._measurement == measurement:
                yield self.out(point)

    def select(self, keys: Sequence[tuple[str, str]], query: Query, measurement: str | None) -> list[list[Any]]:
        """For each key (part of a point, key in it) the values of the matches in insertion order; None if absent."""
        found = [self.rows[position] for position in self.find(query, measurement)]
        return [[_part(point, part, key) for point in found] for part, key in keys] or [[None] * len(found)]

    def tally(self, measurement: str | None) -> int:
        """How many points."""
        return len(self._of(measurement))

    def measurements(self) -> set[str]:
        return {point._measurement for point in self.rows}

    def field_keys(self, measurement: str | None) -> set[str]:
        return {key for point in self._of(measurement) for key in point._fields}

    def tag_keys(self, measurement: str | None) -> set[str]:
        return {key for point in self._of(measurement) for key in point._tags}

    def field_values(self, key: str, measurement: str | None) -> list[FieldValue]:
        return [point._fields[key] for point in self._of(measurement) if key in point._fields]

    def tag_values(self, keys: Sequence[str], measurement: str | None) -> dict[str, set[str | None]]:
        """Distinct values by key; all keys there are if none are given."""
        out: dict[str, set[str | None]] = {key: set() for key in keys}
        for point in self._of(measurement):
            for key, value in point._tags.items():
                if not keys or key in out:
                    out.setdefault(key, set()).add(value)
        return out

    def times(self, measurement: str | None) -> list[datetime]:
        return [_time(point) for point in self._of(measurement)]

    def latest(self) -> datetime | None:
        """The greatest time, None without points."""
        return max(map(_time, self.rows), default=None)

    def points_at(self, positions: Sequence[int]) -> list[Point]:
        """Copies to work on, of shared points too."""
        return [fresh(self.rows[position]) for position in positions]

    def replaced(self, positions: Sequence[int], points: Sequence[Point]) -> PlainTable:
        """A table with other points at these positions."""
        rows = list(self.rows)
        for position, point in zip(positions, points, strict=True):
            rows[position] = point
        return PlainTable(rows, self.shared)

    def removed(self, positions: Sequence[int]) -> PlainTable:
        """A table without these positions."""
        gone = set(positions)
        return PlainTable([point for at, point in enumerate(self.rows) if at not in gone], self.shared)


def fresh(point: AnyPoint) -> Point:
    """A point of its own with equal values; mappings of other types than dict are copied as such."""
    out = Point.__new__(Point)
    copied(point, out)
    return out


def _time(point: Point) -> datetime:
    time = point._time
    if time is None:
        raise ValueError("a point in the store has no time: it was not inserted by the database")
    return time


def _part(point: Point, part: str, key: str) -> Any:
    if part == "time":
        return point._time
    if part == "measurement":
        return point._measurement
    return (point._tags if part == "tags" else point._fields).get(key)
