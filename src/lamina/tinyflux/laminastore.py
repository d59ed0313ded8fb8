"""A database on a `LaminaStorage`: questions and changes go to the engine as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lamina.points.point import EPOCH, validate_fields
from lamina.points.point import Point as AnyPoint
from lamina.tinyflux.point import Point
from lamina.tinyflux.queries import Query, may_raise, runs_user_code
from lamina.tinyflux.updates import Update

if TYPE_CHECKING:
    from lamina.engine.points.measurement import Writing
    from lamina.engine.points.measurements import Measurements
    from lamina.engine.points.pointset import PointSet
    from lamina.tinyflux.laminastorage import LaminaStorage


class LaminaUpdate(Update):
    """As everywhere in the drop-in, but fields may be text and bools."""

    _validate_fields = staticmethod(validate_fields)


class LaminaTable:
    """All points now, each time it is asked: the methods of `PlainTable`, without positions."""

    def __init__(self, storage: LaminaStorage) -> None:
        self._storage = storage

    @property
    def _measurements(self) -> Measurements:
        return self._storage.measurements

    def of(self, measurement: str | None) -> Writing:
        """One measurement, or all."""
        return self._measurements if measurement is None else self._measurements[measurement]

    def _inserted(self, query: Query | None, measurement: str | None, limit: int | None = None) -> PointSet:
        return self.of(measurement).search(query, order="insertion", limit=limit)

    def __len__(self) -> int:
        return self._measurements.count()

    def count(self, query: Query, measurement: str | None) -> int:
        return self.of(measurement).count(query)

    def first(self, query: Query, measurement: str | None) -> Point | None:
        """The first match in insertion order. What may raise is asked no more often than needed to find it."""
        if runs_user_code(query) or may_raise(query):
            found = self._inserted(None, measurement)
            for at, point in enumerate(found.each(Point)):
                if query(point):
                    return found.point(at, Point)  # not the one the function saw: it may have changed it
            return None
        return next(self._inserted(query, measurement, limit=1).each(Point), None)

    def search(self, query: Query | None, measurement: str | None, by_time: bool) -> list[Point]:
        """Matches in insertion order, or by time with ties in that order."""
        return list(self.of(measurement).search(query, order="time" if by_time else "insertion").each(Point))

    def everything(self, measurement: str | None, by_time: bool) -> list[Point]:
        return self.search(None, measurement, by_time)

    def each(self, measurement: str | None) -> Iterator[Point]:
        """Points in insertion order, as they are when the walk begins."""
        return self._inserted(None, measurement).each(Point)

    def select(self, keys: Sequence[tuple[str, str]], query: Query, measurement: str | None) -> list[list[Any]]:
        """For each key (part of a point, key in it) the values of the matches in insertion order; None if absent."""
        found = self._inserted(query, measurement)
        return [self._column(found, part, key) for part, key in keys] or [[None] * len(found)]

    @staticmethod
    def _column(found: PointSet, part: str, key: str) -> list[Any]:
        batch = found.batch
        if part == "time":
            return _datetimes(found)
        if part == "measurement":
            return found.measurements()
        if part == "tags":
            values = [dict(tags).get(key) for tags in batch.tagsets]
            return [values[number] for number in batch.tagset.tolist()]
        column = batch.fields.get(key)
        return [None] * len(found) if column is None else column.list()

    def tally(self, measurement: str | None) -> int:
        """How many points."""
        return self.of(measurement).count()

    def measurements(self) -> set[str]:
        return set(self._measurements.list())

    def field_keys(self, measurement: str | None) -> set[str]:
        return set(self.of(measurement).field_keys())

    def tag_keys(self, measurement: str | None) -> set[str]:
        return set(self.of(measurement).tag_keys())

    def field_values(self, key: str, measurement: str | None) -> list[Any]:
        return self.of(measurement).field_values(key)

    def tag_values(self, keys: Sequence[str], measurement: str | None) -> dict[str, set[str | None]]:
        """Distinct values by key; all keys there are if none are given."""
        return {key: set(values) for key, values in self.of(measurement).tag_values(keys or None).items()}

    def times(self, measurement: str | None) -> list[datetime]:
        return _datetimes(self._inserted(None, measurement))

    def latest(self) -> datetime | None:
        """The greatest time, None without points."""
        last = self._measurements.latest_time()
        return None if last is None else EPOCH + timedelta(microseconds=last)


def _datetimes(found: PointSet) -> list[datetime]:
    return [time.replace(tzinfo=UTC) for time in found.times().view("M8[us]").tolist()]


class LaminaStore:
    """A LaminaStorage. Two databases on one directory see each other's changes at once."""

    update_type = LaminaUpdate

    def __init__(self, storage: LaminaStorage) -> None:
        self._storage = storage
        self._table = LaminaTable(storage)

    def table(self) -> LaminaTable:
        """All points, whenever it is asked. Raises Closed."""
        self._storage.database.check_open()
        return self._table

    def insert(self, points: Sequence[AnyPoint], compact: bool) -> None:
        """All or none, durable. InvalidArgument: an int beyond 64 bits, a name beyond 1,024 bytes."""
        self._storage.measurements.insert(points)

    def changed(self, update: Update, query: Query, measurement: str | None) -> int:
        """Update the matches; how many became another. Functions run while the measurements are held: they may
        insert, but not change points."""
        return self._table.of(measurement).replace(update.applied, query)

    def removed(self, query: Query, measurement: str | None) -> int:
        """Remove the matches; how many."""
        return self._table.of(measurement).remove(query)

    def clear(self) -> None:
        """No points any more."""
        self._storage.reset()

    def close(self) -> None:
        """Nothing is held here."""
