"""`TinyFlux`: the database. Checks calls, keeps the flag of the index, and lets a store do the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from lamina.tinyflux.csvfile import CSVFile
from lamina.tinyflux.decorators import append_op, read_op, temp_storage_op, write_op
from lamina.tinyflux.index import DatabaseIndex, Index
from lamina.tinyflux.measurement import Measurement
from lamina.tinyflux.point import FieldValue, Point
from lamina.tinyflux.queries import CompoundQuery, MeasurementQuery, Query, SimpleQuery, TagQuery, checked
from lamina.tinyflux.storages import CSVStorage, Storage
from lamina.tinyflux.stores import ForeignStore, store_for
from lamina.tinyflux.updates import Update

__all__ = ["TinyFlux", "append_op", "read_op", "temp_storage_op", "write_op"]


class TinyFlux:
    """A database of points. All arguments but `auto_index` and `storage` go to the storage.

        db = TinyFlux("weather.csv")
        db = TinyFlux(storage=MemoryStorage)

    `measurement` arguments: None and "" mean all. Orders: insertion order, or time order with ties in that order.
    Raises TypeError for an `auto_index` that is no bool; OSError if a non-empty file cannot be read for the index.
    """

    default_storage_class: Callable[..., Storage] = CSVStorage
    default_measurement_name = "_default"

    def __init__(self, *args: Any, auto_index: bool = True, **kwargs: Any) -> None:
        make = kwargs.pop("storage", type(self).default_storage_class)
        self._storage: Storage = make(*args, **kwargs)
        self._store = store_for(self._storage)
        file = getattr(self._storage, "_file", None)
        # A file that may not be read: then the index alone knows how much was inserted.
        self._blind = isinstance(file, CSVFile) and not file.readable
        empty = bool(self._storage._initially_empty)
        cheap = not (self._blind or isinstance(self._store, ForeignStore))
        self._index = DatabaseIndex(empty, self._store, cheap, self._blind)
        self._measurements: dict[str, Measurement] = {}
        self._open = True
        if not isinstance(auto_index, bool):
            raise TypeError("'auto_index' must be True/False.")
        self._auto_index = auto_index
        if auto_index and not self._storage._initially_empty:
            self.reindex()

    @property
    def storage(self) -> Storage:
        """The storage."""
        return self._storage

    @property
    def index(self) -> Index:
        """The index: `valid`, `empty`, `len`."""
        return self._index

    def __enter__(self) -> TinyFlux:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._open:
            self.close()

    def close(self) -> None:
        """Closes the storage; again: nothing. In-memory databases stay usable."""
        if self._open:
            self._open = False
            self._store.close()
            self._storage.close()

    def __iter__(self) -> Iterator[Point]:
        """Points in insertion order; iterators are independent of each other and of other calls."""
        if isinstance(self._store, ForeignStore):
            for item in self._storage:
                yield self._storage._deserialize_storage_item(item)
        else:
            yield from self._store.table().each(None)

    def __len__(self) -> int:
        if self._auto_index and self._index.valid:
            return len(self._index)
        return len(self._storage if isinstance(self._store, ForeignStore) else self._store.table())

    def __repr__(self) -> str:
        parts = [f"auto_index_ON={self._auto_index}", f"index_valid={self._index.valid}"]
        if self._auto_index and self._index.valid:
            # A closed file is not asked: what was known of it is shown.
            count = len(self._index) if self._open else self._index.count
            parts.insert(0, f"all_points_count={count}")
        return f"<{type(self).__name__} {', '.join(parts)}>"

    @read_op
    def all(self, sorted: bool = True) -> list[Point]:
        """All points by time, or in insertion order."""
        return self._all(None, sorted)

    def _all(self, name: str | None, by_time: bool) -> list[Point]:
        return self._store.table().everything(name, by_time)

    @read_op
    def search(self, query: Query, measurement: str | None = None, sorted: bool = True) -> list[Point]:
        """Points the query is truthy for, by time or in insertion order. ValueError: no query."""
        return self._search(query, measurement or None, sorted)

    def _search(self, query: Query, name: str | None, by_time: bool) -> list[Point]:
        if not isinstance(query, (SimpleQuery, CompoundQuery)):
            raise ValueError("query must be a TinyFlux Query.")
        return self._store.table().search(checked(query), name, by_time)

    @read_op
    def get(self, query: Query, measurement: str | None = None) -> Point | None:
        """The first match in insertion order, or None."""
        return self._get(query, measurement or None)

    def _get(self, query: Query, name: str | None) -> Point | None:
        query = checked(query)
        return self._store.table().first(query, name)

    @read_op
    def contains(self, query: Query, measurement: str | None = None) -> bool:
        """Whether any point matches."""
        return self._get(query, measurement or None) is not None

    @read_op
    def count(self, query: Query, measurement: str | None = None) -> int:
        """How many points match."""
        return self._count(query, measurement or None)

    def _count(self, query: Query, name: str | None) -> int:
        query = checked(query)
        return self._store.table().count(query, name)

    @read_op
    def select(self, select_keys: Any, query: Query, measurement: str | None = None) -> list[Any]:
        """Parts of the matches in insertion order: "time", "measurement", "tags.<key>", "fields.<key>".

        One key gives bare values, several give tuples; None where a point has no such tag or field.

        ValueError: a bad key.
        """
        return self._select(select_keys, query, measurement or None)

    def _select(self, select_keys: Any, query: Query, name: str | None) -> list[Any]:
        keys = _select_keys(select_keys)
        query = checked(query)
        columns = self._store.table().select(keys, query, name)
        if not keys:
            return [()] * len(columns[0])
        return columns[0] if len(keys) == 1 else list(zip(*columns, strict=True))

    @read_op
    def get_measurements(self) -> list[str]:
        """Names of all measurements, sorted."""
        return sorted(self._store.table().measurements())

    @read_op
    def get_field_keys(self, measurement: str | None = None) -> list[str]:
        """Field keys, sorted."""
        return sorted(self._store.table().field_keys(measurement or None))

    @read_op
    def get_tag_keys(self, measurement: str | None = None) -> list[str]:
        """Tag keys, sorted."""
        return sorted(self._store.table().tag_keys(measurement or None))

    @read_op
    def get_field_values(self, field_key: str, measurement: str | None = None) -> list[FieldValue]:
        """All values of a field in insertion order."""
        return self._store.table().field_values(field_key, measurement or None)

    @read_op
    def get_tag_values(
        self, tag_keys: Iterable[str] = (), measurement: str | None = None
    ) -> dict[str, list[str | None]]:
        """Distinct values by tag key, sorted, None last. Requested keys are always present; none requested: all."""
        return self._tag_values(tag_keys, measurement or None)

    def _tag_values(self, tag_keys: Iterable[str], name: str | None) -> dict[str, list[str | None]]:
        found = self._store.table().tag_values(list(tag_keys or ()), name)
        return {key: sorted(values, key=lambda value: (value is None, value or "")) for key, values in found.items()}

    @read_op
    def get_timestamps(self, measurement: str | None = None) -> list[datetime]:
        """All times in insertion order, aware, UTC."""
        return self._store.table().times(measurement or None)

    @append_op
    def insert(self, point: Point, measurement: str | None = None, compact_key_prefixes: bool = False) -> int:
        """Adds a point, stamped now if it has no time; 1. TypeError: no Point."""
        return self._insert((point,), measurement or None, compact_key_prefixes, 1)

    @append_op
    def insert_multiple(
        self,
        points: Iterable[Point],
        measurement: str | None = None,
        compact_key_prefixes: bool = False,
        batch_size: int = 1000,
    ) -> int:
        """Adds points from any iterable, a batch per write and sync; how many. A batch is stored whole or not at all.

        ValueError: batch_size below 1. TypeError: something that is no Point.
        """
        return self._insert(points, measurement or None, compact_key_prefixes, batch_size)

    def _insert(self, points: Iterable[Point], name: str | None, compact: bool, batch_size: int) -> int:
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        now = datetime.now(UTC)
        rest = iter(points)
        total = 0
        while batch := self._stamped(islice(rest, batch_size), name, now):
            self._store.insert(batch, compact)
            if not self._auto_index:
                # Before the next batch, which may fail: the index must not outlive what it stands for.
                self._index.invalidate()
            elif self._index.valid:
                self._index.insert(batch)
            total += len(batch)
        return total

    def _stamped(self, points: Iterable[Any], name: str | None, now: datetime) -> list[Any]:
        batch = []
        latest = self._index.latest
        for point in points:
            if not isinstance(point, self._storage.point_type):
                raise TypeError("Data must be a Point instance.")
            if name is not None and point.measurement != name:
                point.measurement = name
            time = point.time
            point._time = time = now if time is None else time.astimezone(UTC)
            if latest is not None and time < latest:
                latest = None
                if self._auto_index:
                    self._index.invalidate()
            elif self._index.valid:
                latest = time
            batch.append(point)
        return batch

    def update(
        self,
        query: Query,
        time: Any = None,
        measurement: Any = None,
        tags: Any = None,
        fields: Any = None,
        unset_fields: Any = None,
        unset_tags: Any = None,
        _measurement: str | None = None,
    ) -> int:
        """Changes the matches; how many really changed. New values may be functions of the old.

        Tags and fields are merged into what is there. All or nothing: whatever is raised, nothing was changed.
        """
        change = (time, measurement, tags, fields, unset_fields, unset_tags)
        return self._update(query, change, _measurement or None)

    @read_op
    @write_op
    def _update(self, query: Any, change: tuple[Any, ...], name: str | None) -> int:
        if query and not isinstance(query, (SimpleQuery, CompoundQuery)):
            raise ValueError("Argument 'query' must be a TinyFlux Query.")
        update = self._store.update_type(*change)
        return self._change(update, checked(query), name)

    def update_all(
        self,
        time: Any = None,
        measurement: Any = None,
        tags: Any = None,
        fields: Any = None,
        unset_fields: Any = None,
        unset_tags: Any = None,
    ) -> int:
        """As `update`, of every point."""
        change = (time, measurement, tags, fields, unset_fields, unset_tags)
        return self._update_all(change, None)

    @read_op
    @write_op
    def _update_all(self, change: tuple[Any, ...], name: str | None) -> int:
        return self._change(self._store.update_type(*change), TagQuery().noop(), name)

    def _change(self, update: Update, query: Query, name: str | None) -> int:
        changed = self._store.changed(update, query, name)
        if changed:
            self._after_change()
        return changed

    def _after_change(self) -> None:
        if self._auto_index:
            self._renew_index()
        else:
            self._index.invalidate()

    def _renew_index(self) -> None:
        table = self._store.table()
        self._index.renew(len(table), table.latest())

    @read_op
    @write_op
    def remove(self, query: Query, measurement: str | None = None) -> int:
        """Removes the matches; how many. Nothing brings them back."""
        return self._remove(query, measurement or None)

    def _remove(self, query: Query, name: str | None) -> int:
        return self._take_out(checked(query), name)

    def _take_out(self, query: Query, name: str | None) -> int:
        removed = self._store.removed(query, name)
        if removed:
            if not len(self._store.table()):
                self._measurements.clear()
            self._after_change()
        return removed

    @write_op
    def remove_all(self) -> None:
        """Removes every point. A CSV file stays, empty."""
        self._store.clear()
        self._measurements.clear()
        self._index.renew(0, None)
        if not self._auto_index:
            self._index.invalidate()

    def drop_measurement(self, name: str) -> int:
        """Removes the points of a measurement; how many."""
        return self._drop(name)

    @read_op
    @write_op
    def _drop(self, name: str) -> int:
        query = MeasurementQuery() == name  # TypeError for what is no name
        # None is nobody's name, where it would be no filter.
        removed = 0 if name is None else self._take_out(checked(query), name)
        self._measurements.pop(name, None)
        return removed

    # What a Measurement needs: the same calls with a name that is taken literally, "" too.

    @read_op
    def _ready(self) -> TinyFlux:
        return self

    @append_op
    def _insert_as(self, name: str, points: Iterable[Point], compact: bool, batch_size: int) -> int:
        return self._insert(points, name, compact, batch_size)

    @read_op
    @write_op
    def _remove_from(self, name: str, query: Query) -> int:
        return self._remove(query, name)

    def _tally(self, name: str) -> int:
        if self._blind and self._auto_index and self._index.valid:
            return self._index.names.get(name, 0)
        return self._store.table().tally(name)

    def measurement(self, name: str, **kwargs: Any) -> Measurement:
        """A view of one measurement, which need not exist yet; the same object for the same name."""
        if name not in self._measurements:
            self._measurements[name] = Measurement(name, self, **kwargs)
        return self._measurements[name]

    def reindex(self) -> None:
        """Makes the index valid; says so on standard output if it is already."""
        if not self._storage.can_read:
            raise OSError("the storage cannot be read")
        if self._index.valid:
            print("Index already valid.")
            return
        self._renew_index()


def _select_keys(keys: Any) -> list[tuple[str, str]]:
    if isinstance(keys, str):
        keys = [keys]
    elif not isinstance(keys, Iterable):
        raise ValueError("'keys' must be a string or iterable of strings.")
    out = []
    for key in keys:
        part, dot, rest = key.partition(".") if isinstance(key, str) else ("", "", "")
        if not (part in ("tags", "fields") and rest) and not (part in ("time", "measurement") and not dot):
            raise ValueError(f"Invalid key `{key}`.")
        out.append((part, rest))
    return out
