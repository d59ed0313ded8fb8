"""`Index`: points by time, measurement, tag and field in plain dicts; and what a database shows as its index.

A database does not search here: its own tables are faster. `DatabaseIndex` keeps the flag that programs watch and
answers everything else of `Index` by building one when asked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lamina.tinyflux.point import FieldValue, Point
from lamina.tinyflux.queries import CompoundQuery, Query, SimpleQuery, checked, resolver


class IndexResult:
    """Positions a query selects, of `index_count` in all."""

    def __init__(self, items: set[int], index_count: int) -> None:
        self._items = items
        self._index_count = index_count

    @property
    def items(self) -> set[int]:
        """The positions."""
        return self._items

    def __invert__(self) -> IndexResult:
        return IndexResult(set(range(self._index_count)) - self._items, self._index_count)

    def __and__(self, other: IndexResult) -> IndexResult:
        return IndexResult(self._items & other._items, self._index_count)

    def __or__(self, other: IndexResult) -> IndexResult:
        return IndexResult(self._items | other._items, self._index_count)


class Index:
    """Points by their parts; positions count from 0 in the order of insertion."""

    _num_items: int
    _tags: dict[str, dict[str | None, list[int]]]
    _fields: dict[str, list[tuple[int, FieldValue]]]
    _measurements: dict[str, list[int]]
    _timestamps: list[float]

    def __init__(self, valid: bool = True) -> None:
        self._clear()
        self._valid = valid

    def _clear(self) -> None:
        self._num_items = 0
        self._tags = {}
        self._fields = {}
        self._measurements = {}
        # Ascending POSIX seconds, as programs know them; searches use the datetimes, which lose nothing.
        self._timestamps = []
        self._times: list[datetime] = []

    def _reset(self) -> None:
        self._clear()
        self._valid = True

    @property
    def valid(self) -> bool:
        """Whether this stands for what the store holds."""
        return self._valid

    @property
    def empty(self) -> bool:
        """Whether nothing is in it."""
        return not (self._num_items or self._tags or self._fields or self._measurements or self._timestamps)

    @property
    def latest_time(self) -> datetime:
        """The greatest time, in UTC. ValueError if the index is empty."""
        return max(self._times).astimezone(UTC)

    @property
    def lateset_time(self) -> datetime:
        """`latest_time`, as TinyFlux 0.4 spelled it."""
        return self.latest_time

    def __len__(self) -> int:
        return self._num_items

    def __repr__(self) -> str:
        sizes = f"_tags={len(self._tags)}, _measurements={len(self._measurements)}, _timestamps={len(self._timestamps)}"
        return f"<{type(self).__name__} {sizes}>"

    def build(self, points: Iterable[Point]) -> None:
        """Starts over with these points."""
        self._reset()
        self._add(points)

    def insert(self, points: Iterable[Point] = ()) -> None:
        """Adds points behind the others."""
        self._add(points)

    def _add(self, points: Iterable[Point]) -> None:
        for point in points:
            if not point.time:
                raise ValueError("a point without a time cannot be indexed")
            position = self._num_items
            self._num_items += 1
            self._times.append(point.time)
            self._insert_tags(position, point.tags)
            self._insert_fields(position, point.fields)
            self._insert_measurements(position, point.measurement)
        self._timestamps = sorted(time.timestamp() for time in self._times)

    def _insert_time(self, time: datetime) -> None:
        self._times.append(time)
        self._timestamps = sorted([*self._timestamps, time.timestamp()])

    def _insert_tags(self, position: int, tags: Mapping[str, str | None]) -> None:
        for key, value in tags.items():
            self._tags.setdefault(key, {}).setdefault(value, []).append(position)

    def _insert_fields(self, position: int, fields: Mapping[str, FieldValue]) -> None:
        for key, value in fields.items():
            self._fields.setdefault(key, []).append((position, value))

    def _insert_measurements(self, position: int, measurement: str) -> None:
        self._measurements.setdefault(measurement, []).append(position)

    def invalidate(self) -> None:
        """Empties the index and says so: it no longer stands for the store."""
        self._clear()
        self._valid = False

    def remove(self, r_items: set[int]) -> None:
        """Takes these positions out; the others keep theirs (see `update`)."""
        self._renumber(lambda position: None if position in r_items else position)
        self._times = [time for position, time in enumerate(self._times) if position not in r_items]
        self._timestamps = sorted(time.timestamp() for time in self._times)
        self._num_items -= len(r_items)

    def update(self, u_items: Mapping[int, int]) -> None:
        """Gives positions new numbers, old to new."""
        self._renumber(lambda position: u_items.get(position, position))

    def _renumber(self, moved: Callable[[int], int | None]) -> None:
        def places(positions: list[int]) -> list[int]:
            return [new for new in map(moved, positions) if new is not None]

        self._measurements = {name: new for name, old in self._measurements.items() if (new := places(old))}
        tags = {
            key: {value: new for value, old in values.items() if (new := places(old))}
            for key, values in self._tags.items()
        }
        self._tags = {key: values for key, values in tags.items() if values}
        fields = {
            key: [(place, value) for at, value in entries if (place := moved(at)) is not None]
            for key, entries in self._fields.items()
        }
        self._fields = {key: entries for key, entries in fields.items() if entries}

    def get_measurements(self) -> set[str]:
        """Names of all measurements."""
        return set(self._measurements)

    def _members(self, measurement: str | None) -> set[int] | None:
        return set(self._measurements.get(measurement, ())) if measurement else None

    def get_field_keys(self, measurement: str | None = None) -> set[str]:
        """Field keys, of one measurement if named."""
        members = self._members(measurement)
        return {
            key for key, entries in self._fields.items() if members is None or any(at in members for at, _ in entries)
        }

    def get_field_values(self, field_key: str, measurement: str | None = None) -> list[FieldValue]:
        """Values of a field in the order of insertion."""
        members = self._members(measurement)
        return [value for at, value in self._fields.get(field_key, ()) if members is None or at in members]

    def get_tag_keys(self, measurement: str | None = None) -> set[str]:
        """Tag keys, of one measurement if named."""
        return set(self.get_tag_values([], measurement))

    def get_tag_values(
        self, tag_keys: Iterable[str] = (), measurement: str | None = None
    ) -> dict[str, set[str | None]]:
        """Distinct values by tag key; requested keys are always present, without a request all that occur."""
        members = self._members(measurement)
        wanted = list(tag_keys)
        out: dict[str, set[str | None]] = {key: set() for key in wanted}
        for key in wanted or self._tags:
            values = {
                value
                for value, positions in self._tags.get(key, {}).items()
                if members is None or not members.isdisjoint(positions)
            }
            if values or wanted:
                out[key] = values
        return out

    def get_timestamps(self, measurement: str | None = None) -> list[float]:
        """POSIX seconds in the order of insertion."""
        members = self._members(measurement)
        return [time.timestamp() for at, time in enumerate(self._times) if members is None or at in members]

    def search(self, query: Query) -> IndexResult:
        """Positions that may satisfy the query.

        Exact but for `~field_query`, which selects every position (alone and inside `&` and `|`): a candidate set, as
        the original documents. TypeError: no query.
        """
        return self._search_helper(query)

    def _search_helper(self, query: Any) -> IndexResult:
        return IndexResult(self._candidates(checked(query)), self._num_items)

    def _candidates(self, query: Query) -> set[int]:
        if isinstance(query, CompoundQuery):
            if query.query2:
                first, second = self._candidates(query.query1), self._candidates(query.query2)
                return first & second if query.operator is operator.and_ else first | second
            if isinstance(query.query1, SimpleQuery) and query.query1.point_attr == "_fields":
                return set(range(self._num_items))
        return self._exact(query)

    def _exact(self, query: Query) -> set[int]:
        if isinstance(query, CompoundQuery):
            first = self._exact(query.query1)
            if not query.query2:
                return set(range(self._num_items)) - first
            second = self._exact(query.query2)
            return first & second if query.operator is operator.and_ else first | second
        if query._kind == "noop":
            return set(range(self._num_items))
        if query.point_attr == "_time":
            return {position for position, time in enumerate(self._times) if query.check(time)}
        if query.point_attr == "_measurement":
            return {at for name, positions in self._measurements.items() if query.check(name) for at in positions}
        return self._exact_by_key(query)

    def _exact_by_key(self, query: SimpleQuery) -> set[int]:
        pairs: Callable[[str], Iterable[tuple[Any, Iterable[int]]]]
        if query.point_attr == "_tags":
            keys: Iterable[str] = self._tags
            pairs = lambda key: self._tags.get(key, {}).items()  # noqa: E731
        else:
            keys = self._fields
            pairs = lambda key: [(value, (at,)) for at, value in self._fields.get(key, ())]  # noqa: E731
        if query._kind is not None and query._path and isinstance(query._path[0], str):
            resolve = resolver(query._path[1:])
            return {
                at for value, positions in pairs(query._path[0]) if _passes(query, resolve, value) for at in positions
            }
        # A function ahead of the first key sees all of a point's keys at once.
        whole: dict[int, dict[str, Any]] = {position: {} for position in range(self._num_items)}
        for key in keys:
            for value, positions in pairs(key):
                for at in positions:
                    whole.setdefault(at, {})[key] = value
        return {position for position, part in whole.items() if query.check(part)}


def _passes(query: SimpleQuery, resolve: Callable[[Any], Any], value: Any) -> Any:
    try:
        resolved = resolve(value)
    except Exception:
        return False
    return query._test(resolved)


class DatabaseIndex(Index):
    """What `db.index` is: a flag, a count and the latest time; everything else is built from the store when asked.

    `count`, and `names` if `counts_names`: how many points the database knows of, and of each measurement, for storages
    it may not read. `latest`: the greatest time. `cheap`: asking the store for its table costs little.
    """

    def __init__(self, valid: bool, store: Any, cheap: bool, counts_names: bool) -> None:
        self._store = store
        self._cheap = cheap
        self._counts_names = counts_names
        self.count = 0
        self.names: dict[str, int] = {}
        self.latest: datetime | None = None
        self._built: tuple[Any, Index] | None = None
        self._valid = valid

    def renew(self, count: int, latest: datetime | None) -> None:
        """Valid, with so many points up to this time."""
        self._valid, self.count, self.latest = True, count, latest
        self.names = {}
        self._built = None

    def invalidate(self) -> None:
        self._valid, self.count, self.latest = False, 0, None
        self._built = None

    def _reset(self) -> None:
        self.renew(0, None)

    def __len__(self) -> int:
        if not self._valid:
            return 0
        return len(self._store.table()) if self._cheap else self.count

    @property
    def empty(self) -> bool:
        return not len(self)

    def _index(self) -> Index:
        state = (self._valid, len(self), self.latest)
        if self._built is None or self._built[0] != state:
            index = Index()
            if self._valid:
                index.build(self._store.table().each(None))
            self._built = (state, index)
        return self._built[1]

    @property
    def _num_items(self) -> int:  # type: ignore[override]
        return len(self)

    @property
    def _tags(self) -> dict[str, dict[str | None, list[int]]]:  # type: ignore[override]
        return self._index()._tags

    @property
    def _fields(self) -> dict[str, list[tuple[int, FieldValue]]]:  # type: ignore[override]
        return self._index()._fields

    @property
    def _measurements(self) -> dict[str, list[int]]:  # type: ignore[override]
        return self._index()._measurements

    @property
    def _timestamps(self) -> list[float]:  # type: ignore[override]
        return self._index()._timestamps

    @property
    def _times(self) -> list[datetime]:  # type: ignore[override]
        return self._index()._times

    def build(self, points: Iterable[Point]) -> None:
        """Valid again. The points are the store's, whatever is passed."""
        listed = list(points)
        self.renew(len(listed), max((point.time for point in listed if point.time), default=None))

    def insert(self, points: Iterable[Point] = ()) -> None:
        """Counts points the store has got."""
        for point in points:
            self.count += 1
            self.latest = point.time
            if self._counts_names:
                self.names[point.measurement] = self.names.get(point.measurement, 0) + 1

    def remove(self, r_items: set[int]) -> None:
        """Counts points the store has lost."""
        self.count -= len(r_items)
        self._built = None

    def update(self, u_items: Mapping[int, int]) -> None:
        """Positions are the store's; nothing to do but to forget what was built."""
        self._built = None
