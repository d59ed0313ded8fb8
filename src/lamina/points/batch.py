"""Points of one measurement as columns: what an op carries, a tail holds, and a section gives back.

Tags and the order of field keys repeat, so a row has numbers into tables of them. Which fields a point has follows from
its order alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.errors import InvalidArgument, InvalidTimeRange
from lamina.points.field import ABSENT, TEXT, FieldColumn, Index, column_of, constant, joined, uniform
from lamina.points.point import EPOCH, MICROSECOND, Point

TagSet: TypeAlias = tuple[tuple[str, str | None], ...]
"""(key, value) pairs of one point, in its order; keys are distinct."""
Order: TypeAlias = tuple[str, ...]
"""The field keys of one point, in its order; distinct."""
Numbers: TypeAlias = NDArray[np.int32]

MIN_TIME_US = -62_135_596_800_000_000
"""0001-01-01, the first time of a point."""
MAX_TIME_US = 253_402_300_799_999_999
"""The last microsecond of 9999, the last time of a point."""

P = TypeVar("P", bound=Point)
_T = TypeVar("_T")


class Interned(Generic[_T]):
    """Distinct values, numbered as they come."""

    __slots__ = ("numbers", "values")

    def __init__(self, values: Iterable[_T] = ()) -> None:
        self.values: list[_T] = list(values)
        self.numbers: dict[_T, int] = {value: number for number, value in enumerate(self.values)}

    def number(self, value: _T) -> int:
        found = self.numbers.get(value)
        if found is None:
            found = self.numbers[value] = len(self.values)
            self.values.append(value)
        return found

    def all(self, values: Iterable[_T]) -> Numbers:
        return np.array([self.number(value) for value in values], np.int32)


class Batch(NamedTuple):
    """n points in some order. Immutable by convention; tables may hold entries that no row uses."""

    time_us: NDArray[np.int64]  # [n], µs since 1970, UTC, MIN_TIME_US .. MAX_TIME_US
    tagset: Numbers  # [n], into `tagsets`
    tagsets: Sequence[TagSet]  # distinct
    order: Numbers  # [n], into `orders`
    orders: Sequence[Order]  # distinct
    fields: dict[str, FieldColumn]  # every key of every order that is used, each of n rows

    @property
    def n(self) -> int:
        return len(self.time_us)

    def take(self, index: Index) -> Batch:
        """These rows, in this order, over the same tables."""
        fields = {key: column.take(index) for key, column in self.fields.items()}
        return Batch(self.time_us[index], self.tagset[index], self.tagsets, self.order[index], self.orders, fields)

    def compact(self) -> Batch:
        """The same points; what no row uses is gone from the tables."""
        tagset, tagsets = _used(self.tagset, self.tagsets)
        order, orders = _used(self.order, self.orders)
        keys = {key for one in orders for key in one}
        fields = {key: _trimmed(column) for key, column in self.fields.items() if key in keys}
        return Batch(self.time_us, tagset, tagsets, order, orders, fields)

    def tag_dicts(self) -> list[dict[str, str | None]]:
        """The tags of each row; new dicts."""
        return [dict(self.tagsets[number]) for number in self.tagset.tolist()]

    def field_dicts(self) -> list[dict[str, Any]]:
        """The fields of each row, keys in the point's order; new dicts."""
        out: list[dict[str, Any]] = [{} for _ in range(self.n)]
        for number in np.unique(self.order).tolist():
            keys = self.orders[number]
            if not keys:
                continue
            rows = np.flatnonzero(self.order == number)
            whole = len(rows) == self.n
            columns = [self.fields[key] if whole else self.fields[key].take(rows) for key in keys]
            for row, values in zip(rows.tolist(), zip(*[c.list() for c in columns], strict=True), strict=True):
                out[row] = dict(zip(keys, values, strict=True))
        return out

    def points(self, measurement: str, make: Callable[[], P] = Point) -> list[P]:  # type: ignore[assignment]
        """As objects of their own. Costs 2 µs each."""
        times = (self.time_us.astype("M8[us]")).tolist()
        out = []
        for time, tags, fields in zip(times, self.tag_dicts(), self.field_dicts(), strict=True):
            point = make()
            point._time = time.replace(tzinfo=UTC)
            point._measurement = measurement
            point._tags = tags
            point._fields = fields
            out.append(point)
        return out


class Grouped(NamedTuple):
    """Points of several measurements: a batch of each, and where in the call its points stood (ascending)."""

    measurement: str
    batch: Batch
    places: NDArray[np.int64]


def empty_batch() -> Batch:
    none = np.empty(0, np.int32)
    return Batch(np.empty(0, np.int64), none, [], none, [], {})


def batch_of_points(points: Sequence[Point], now_us: int) -> Batch:
    """Points of one measurement; `now_us` for those without a time, a naive time is UTC. Costs 1 to 2 µs a point.

    InvalidTimeRange, InvalidArgument: a time or value that cannot be stored.
    """
    times = np.fromiter((_time_us(point, now_us) for point in points), np.int64, len(points))
    check_times(times)
    tagsets: Interned[TagSet] = Interned()
    orders: Interned[Order] = Interned()
    tagset = tagsets.all(_tag_set(point._tags) for point in points)
    order = orders.all(tuple(point._fields) for point in points)
    shapes: dict[str, list[tuple[NDArray[np.intp] | None, FieldColumn]]] = {}
    for number, keys in enumerate(orders.values):
        rows = None if len(orders.values) == 1 else np.flatnonzero(order == number)
        chosen = points if rows is None else [points[row] for row in rows.tolist()]
        columns = zip(*[point._fields.values() for point in chosen], strict=True)
        for key, values in zip(keys, columns, strict=True):
            if not isinstance(key, str):
                raise InvalidArgument(f"field key {key!r}: expected a str")
            shapes.setdefault(key, []).append((rows, column_of(values, key)))
    fields = {key: _scattered(parts, len(points)) for key, parts in shapes.items()}
    return Batch(times, tagset, tagsets.values, order, orders.values, fields)


def group_points(points: Sequence[Point], now_us: int) -> list[Grouped]:
    """Points of any measurements, a batch for each name in order of appearance; see `batch_of_points`."""
    names: dict[str, list[int]] = {}
    for place, point in enumerate(points):
        names.setdefault(point._measurement, []).append(place)
    if len(names) == 1:
        return [Grouped(next(iter(names)), batch_of_points(points, now_us), np.arange(len(points)))]
    return [
        Grouped(name, batch_of_points([points[place] for place in places], now_us), np.array(places, np.int64))
        for name, places in names.items()
    ]


def concat(batches: Sequence[Batch]) -> Batch:
    """All points, one batch behind the other."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return empty_batch()
    tagset, tagsets = _joined_table([batch.tagset for batch in batches], [batch.tagsets for batch in batches])
    order, orders = _joined_table([batch.order for batch in batches], [batch.orders for batch in batches])
    keys = dict.fromkeys(key for batch in batches for key in batch.fields)
    fields = {key: joined([b.fields.get(key) or constant(ABSENT, b.n) for b in batches]) for key in keys}
    return Batch(np.concatenate([batch.time_us for batch in batches]), tagset, tagsets, order, orders, fields)


def _joined_table(columns: Sequence[Numbers], tables: Sequence[Sequence[_T]]) -> tuple[Numbers, Sequence[_T]]:
    if all(table is tables[0] for table in tables):
        return np.concatenate(columns), tables[0]
    shared: Interned[_T] = Interned()
    parts = []
    for column, table in zip(columns, tables, strict=True):
        parts.append(shared.all(table)[column] if len(table) else column)
    return np.concatenate(parts), shared.values


def _scattered(parts: Sequence[tuple[NDArray[np.intp] | None, FieldColumn]], n: int) -> FieldColumn:
    """One column out of the columns of some rows each; None: of all."""
    if parts[0][0] is None:
        return parts[0][1]
    at = np.concatenate([rows for rows, _ in parts if rows is not None])
    together = joined([column for _, column in parts])
    kinds, bits = np.zeros(n, np.uint8), np.zeros(n, np.int64)
    kinds[at] = together.row_kinds()
    bits[at] = together.bits
    return uniform(kinds, bits, together.texts)


def _time_us(point: Point, now_us: int) -> int:
    time = point._time
    if time is None:
        return now_us
    return ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def check_times(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The times themselves. InvalidTimeRange: one outside the years 1 to 9999."""
    if len(times) and (int(times.min()) < MIN_TIME_US or int(times.max()) > MAX_TIME_US):
        bad = times[(times < MIN_TIME_US) | (times > MAX_TIME_US)][0]
        raise InvalidTimeRange(f"time {bad} µs since 1970: expected years 1 .. 9999, {MIN_TIME_US} .. {MAX_TIME_US}")
    return times


def _tag_set(tags: Any) -> TagSet:
    found = tuple(tags.items())
    for key, value in found:
        if not isinstance(key, str) or not (value is None or isinstance(value, str)):
            raise InvalidArgument(f"tag {key!r} = {value!r}: expected a str as key, a str or None as value")
    return found


def _used(numbers: Numbers, table: Sequence[_T]) -> tuple[Numbers, Sequence[_T]]:
    """Numbers into a table without the entries that none of them names. A table of its own: that of a tail grows."""
    size = len(table)
    if size == 1 and len(numbers):
        return numbers, table[:1]
    seen = np.bincount(numbers, minlength=size) > 0
    if seen.all():
        return numbers, table[:size]
    place = (np.cumsum(seen) - 1).astype(np.int32)
    return place[numbers], [table[number] for number in np.flatnonzero(seen).tolist()]


def _trimmed(column: FieldColumn) -> FieldColumn:
    are = column.of_kind(TEXT)
    if are is False or not column.texts:
        return column._replace(texts=()) if column.texts else column
    bits = column.bits if are is True else column.bits[are]
    given = bits.astype(np.int32)
    numbers, texts = _used(given, column.texts)
    if numbers is given:
        return column._replace(texts=texts)
    out = column.bits.copy()
    out[are if are is not True else slice(None)] = numbers
    return FieldColumn(column.kind, column.kinds, out, texts)
