"""`Measurement`: a database seen through one measurement."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lamina.tinyflux.index import Index
from lamina.tinyflux.point import FieldValue, Point
from lamina.tinyflux.queries import Query
from lamina.tinyflux.storages import Storage

if TYPE_CHECKING:
    from lamina.tinyflux.database import TinyFlux


class Measurement:
    """The points of a database whose measurement is `name`, exactly. Holds no data; need not exist in the store.

    The methods are those of `TinyFlux` without the `measurement` argument.
    """

    def __init__(self, name: str, db: TinyFlux) -> None:
        self._name = name
        self._db = db

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @property
    def storage(self) -> Storage:
        """The database's storage."""
        return self._db.storage

    @property
    def index(self) -> Index:
        """The database's index."""
        return self._db.index

    def __iter__(self) -> Generator[Point, None, None]:
        """Points in insertion order."""
        for point in self._db:
            if point.measurement == self._name:
                yield point

    def __len__(self) -> int:
        return self._db._tally(self._name)

    def __repr__(self) -> str:
        parts = [f"name={self._name}", f"storage={self._db._storage}"]
        if self._db._auto_index and self._db._index.valid:
            with suppress(ValueError):  # closed: nobody knows any more
                parts.insert(1, f"total={len(self)}")
        return f"<{type(self).__name__} {', '.join(parts)}>"

    def all(self, sorted: bool = True) -> list[Point]:
        """All points by time, or in insertion order."""
        return self._db._all(self._name, sorted)

    def contains(self, query: Query) -> bool:
        """Whether any point matches."""
        return self.get(query) is not None

    def count(self, query: Query) -> int:
        """How many points match."""
        return self._db._ready()._count(query, self._name)

    def get(self, query: Query) -> Point | None:
        """The first match in insertion order, or None."""
        return self._db._ready()._get(query, self._name)

    def get_field_keys(self) -> list[str]:
        """Field keys, sorted."""
        return sorted(self._db._ready()._store.table().field_keys(self._name))

    def get_field_values(self, field_key: str) -> list[FieldValue]:
        """All values of a field in insertion order."""
        return self._db._ready()._store.table().field_values(field_key, self._name)

    def get_tag_keys(self) -> list[str]:
        """Tag keys, sorted."""
        return sorted(self._db._ready()._store.table().tag_keys(self._name))

    def get_tag_values(self, tag_keys: Iterable[str] = ()) -> dict[str, list[str | None]]:
        """Distinct values by tag key, sorted, None last."""
        return self._db._ready()._tag_values(tag_keys, self._name)

    def get_timestamps(self) -> list[datetime]:
        """All times in insertion order, aware, UTC."""
        return self._db._ready()._store.table().times(self._name)

    def insert(self, point: Point, *, compact_key_prefixes: bool = False) -> int:
        """Adds a point under this measurement's name; 1."""
        return self._db._insert_as(self._name, (point,), compact_key_prefixes, 1)

    def insert_multiple(
        self, points: Iterable[Point], batch_size: int = 1000, *, compact_key_prefixes: bool = False
    ) -> int:
        """Adds points under this measurement's name; how many."""
        return self._db._insert_as(self._name, points, compact_key_prefixes, batch_size)

    def remove(self, query: Query) -> int:
        """Removes the matches; how many."""
        return self._db._remove_from(self._name, query)

    def remove_all(self) -> int:
        """Removes all points of this measurement; how many."""
        return self._db.drop_measurement(self._name)

    def search(self, query: Query, sorted: bool = True) -> list[Point]:
        """Matches by time or in insertion order."""
        return self._db._ready()._search(query, self._name, sorted)

    def select(self, keys: Any, query: Query) -> list[Any]:
        """Parts of the matches in insertion order."""
        return self._db._ready()._select(keys, query, self._name)

    def update(
        self,
        query: Query,
        time: Any = None,
        measurement: Any = None,
        tags: Any = None,
        fields: Any = None,
        unset_fields: Any = None,
        unset_tags: Any = None,
    ) -> int:
        """Changes the matches; how many really changed."""
        change = (time, measurement, tags, fields, unset_fields, unset_tags)
        return self._db._update(query, change, self._name)

    def update_all(
        self,
        time: Any = None,
        measurement: Any = None,
        tags: Any = None,
        fields: Any = None,
        unset_fields: Any = None,
        unset_tags: Any = None,
    ) -> int:
        """Changes all points of this measurement; how many really changed."""
        change = (time, measurement, tags, fields, unset_fields, unset_tags)
        return self._db._update_all(change, self._name)
