"""A catalog in plain Python, for `":memory:"` databases and tests. Behaves as the one in SQLite does."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from lamina.catalog.catalog import CatalogDelta, Sequence_
from lamina.catalog.delta import encode, numbers
from lamina.catalog.encoding import (
    DATABASE,
    STREAM,
    TABLE,
    Columns,
    Table,
    finding_of,
    matches,
    text_argument,
    to_json_text,
)
from lamina.catalog.reader import Reader, closed
from lamina.catalog.rows import (
    DatabaseRow,
    EntryRow,
    PointSectionRow,
    RecordSectionRow,
    RecordStateRow,
    RootRow,
    StreamRow,
    canonical_tags,
)
from lamina.errors import Conflict

UUIDS, TAGS = "stream.uuid", "stream.tags"
BUCKETS, ENTRIES = "bucket.name", "entry.name"
MEASUREMENTS = "measurement.name"
"""Names of the unique indexes, kept beside the tables: uuid bytes -> id, (collection, tags_key) -> id; of the living:
name -> id, (bucket, name) -> id; name -> id."""

_UUID = STREAM.columns.index("uuid")
_COLLECTION = STREAM.columns.index("collection")
_NAME = STREAM.columns.index("name")
_TAGS_KEY = STREAM.columns.index("tags_key")
_VERSION = TABLE["stream_root"].columns.index("version")
_APPLIED = TABLE["record_state"].columns.index("applied_seq")
_POINTS_APPLIED = TABLE["point_state"].columns.index("applied_seq")
_IDENTITY = {  # table -> (index, columns that make it)
    "stream": ((UUIDS, (_UUID,)), (TAGS, (_COLLECTION, _TAGS_KEY))),
    "bucket": ((BUCKETS, (TABLE["bucket"].columns.index("name"),)),),
    "entry": ((ENTRIES, (TABLE["entry"].columns.index("bucket"), TABLE["entry"].columns.index("name"))),),
    "measurement": ((MEASUREMENTS, (TABLE["measurement"].columns.index("name"),)),),
}
_DEAD = {name: TABLE[name].columns.index("dead") for name in ("bucket", "entry")}

State = dict[str, dict[Any, Any]]
Undo = list[tuple[dict[Any, Any], Any, Any]]


class MemorySnapshot(Reader):
    __slots__ = ("__weakref__", "_forget", "_state")

    def __init__(self, state: State, forget: Callable[[MemorySnapshot], None]) -> None:
        self._state: State | None = state
        self._forget = forget

    def close(self) -> None:
        self._state = None
        self._forget(self)

    def _table(self, name: str) -> dict[Any, Any]:
        state = self._state
        if state is None:
            raise closed()
        return state[name]

    def _get(self, table: Table, key: object) -> Columns | None:
        return self._table(table.name).get(table.encode_key(key) if table is not DATABASE else 0)

    def _scan(self, table: Table) -> Iterator[Columns]:
        rows = self._table(table.name)
        for key in sorted(rows):
            self._table(table.name)  # Closed, as from the middle of a query
            yield rows[key]

    def _by_index(self, index: str, key: object) -> StreamRow | None:
        id = self._table(index).get(key)
        return None if id is None else self.stream(id)

    def stream_by_uuid(self, uuid: UUID) -> StreamRow | None:
        return self._by_index(UUIDS, (uuid.bytes,))

    def stream_by_tags(self, collection: str, tags: dict[str, str]) -> StreamRow | None:
        key = text_argument(to_json_text(canonical_tags(tags)))
        return self._by_index(TAGS, (text_argument(collection), key))

    def streams(
        self,
        collection: str | None = None,
        prefix: bool = False,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, str | None] | None = None,
    ) -> Iterator[StreamRow]:
        if collection is not None:
            text_argument(collection)
        for conditions in (tags or {}, annotations or {}):
            for key, value in conditions.items():
                text_argument(key)
                text_argument(value or "")
        return self._streams(collection, prefix, tags, annotations)

    def _streams(
        self,
        collection: str | None,
        prefix: bool,
        tags: dict[str, str | None] | None,
        annotations: dict[str, str | None] | None,
    ) -> Iterator[StreamRow]:
        found = [
            columns
            for columns in self._table("stream").values()
            if collection is None
            or (columns[_COLLECTION].startswith(collection) if prefix else columns[_COLLECTION] == collection)
        ]
        found.sort(key=lambda columns: (columns[_COLLECTION], columns[_NAME], columns[0]))
        for columns in found:
            self._table("stream")
            row: StreamRow = STREAM.decode(columns)
            if matches(row, tags, annotations):
                yield row

    def collections(self, prefix: str = "") -> Iterator[str]:
        text_argument(prefix)
        return self._collections(prefix)

    def _collections(self, prefix: str) -> Iterator[str]:
        names = {columns[_COLLECTION] for columns in self._table("stream").values()}
        for name in sorted(name for name in names if name.startswith(prefix)):
            self._table("stream")
            yield name

    def stream_count(self) -> int:
        return len(self._table("stream"))

    def roots(self, streams: Sequence[int]) -> dict[int, RootRow]:
        found = ((stream, self.root(stream)) for stream in streams)
        return {stream: row for stream, row in found if row is not None}

    def entries(self, bucket: int) -> Iterator[EntryRow]:
        TABLE["bucket"].encode_key(bucket)
        return (row for row in self.rows("entry") if row.bucket == bucket)

    def record_states(self, entries: Sequence[int]) -> dict[int, RecordStateRow]:
        found = ((entry, self._row("record_state", entry)) for entry in entries)
        return {entry: row for entry, row in found if row is not None}

    def record_sections(self, entries: Sequence[int]) -> dict[int, list[RecordSectionRow]]:
        wanted = {TABLE["entry"].encode_key(entry) for entry in entries}
        result: dict[int, list[RecordSectionRow]] = {}
        for row in sorted(self.rows("record_section"), key=lambda row: (row.entry, row.t_min, row.id)):
            if row.entry in wanted:
                result.setdefault(row.entry, []).append(row)
        return result

    def sections_of_segment(self, segment: int) -> Iterator[RecordSectionRow]:
        TABLE["segment"].encode_key(segment)
        return (row for row in self.rows("record_section") if row.segment == segment)

    def point_sections(self, measurement: int) -> Iterator[PointSectionRow]:
        TABLE["measurement"].encode_key(measurement)
        return self._point_sections(measurement)

    def _point_sections(self, measurement: int) -> Iterator[PointSectionRow]:
        found = (row for row in self.rows("point_section") if row.measurement == measurement)
        yield from sorted(found, key=lambda row: (row.t_min, row.id))

    def point_sections_of_segment(self, segment: int) -> Iterator[PointSectionRow]:
        TABLE["segment"].encode_key(segment)
        return (row for row in self.rows("point_section") if row.segment == segment)


class MemoryCatalog:
    """A `Catalog` that lives as long as its process. Snapshots share its dicts; a commit copies those it
    changes, once, while a snapshot is open."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # guards everything below; re-entered by snapshots that are collected
        self._state: State | None = {name: {} for name in (*TABLE, UUIDS, TAGS, BUCKETS, ENTRIES, MEASUREMENTS)}
        self._state["database"][0] = DATABASE.encode(DatabaseRow(b"", 0, 0, "", 0, 0))
        self._next: dict[str, int] = {}
        self._open: weakref.WeakSet[MemorySnapshot] = weakref.WeakSet()
        self._shared: set[str] = set()  # names of dicts an open snapshot may see

    def _live(self) -> State:
        if self._state is None:
            raise closed()
        return self._state

    def snapshot(self) -> MemorySnapshot:
        with self._lock:
            state = self._live()
            self._shared.update(state)
            snapshot = MemorySnapshot(dict(state), self._forget)
            self._open.add(snapshot)
            return snapshot

    def _forget(self, snapshot: MemorySnapshot) -> None:
        with self._lock:
            self._open.discard(snapshot)
            if not self._open:
                self._shared.clear()

    def commit(self, delta: CatalogDelta) -> None:
        encoded = encode(delta)
        with self._lock:
            state = self._live()
            database: DatabaseRow = DATABASE.decode(state["database"][0])
            encoded.expect_epoch(database.epoch)
            roots = state["stream_root"]
            encoded.expect_versions(
                {stream: roots[stream][_VERSION] for stream in encoded.expect_roots if stream in roots}
            )
            states = state["record_state"]
            encoded.expect_applied(
                {entry: states[entry][_APPLIED] for entry in encoded.expect_record_states if entry in states}
            )
            points = state["point_state"]
            encoded.expect_points_applied(
                {id: points[id][_POINTS_APPLIED] for id in encoded.expect_point_states if id in points}
            )
            undo: Undo = []
            try:
                for name, keys in encoded.deletes.items():
                    for (key,) in keys:
                        self._put(name, key, None, undo)
                for name, rows in encoded.puts.items():
                    for columns in rows:
                        self._put(name, columns[0], columns, undo)
                changed = encoded.database(database)
                if changed is not None:
                    self._put("database", 0, DATABASE.encode(changed), undo)
            except BaseException:
                for held, key, old in reversed(undo):
                    _place(held, key, old)
                raise

    def _put(self, name: str, key: Any, columns: Columns | None, undo: Undo) -> None:
        """Set or (None) delete a row with its index entries. Raises Conflict for a second row of one
        identity."""
        for index, at in _IDENTITY.get(name, ()):
            old = self._live()[name].get(key)
            if old is not None and _alive(name, old):
                self._set(index, tuple(old[i] for i in at), None, undo)
            if columns is not None and _alive(name, columns):
                self._claim(index, tuple(columns[i] for i in at), key, undo)
        self._set(name, key, columns, undo)

    def _claim(self, index: str, identity: Any, id: int, undo: Undo) -> None:
        if identity in self._live()[index]:
            raise Conflict(f"the catalog has another row with this identity: {index} {identity!r}")
        self._set(index, identity, id, undo)

    def _set(self, name: str, key: Any, value: Any, undo: Undo) -> None:
        state = self._live()
        if name in self._shared:
            state[name] = dict(state[name])
            self._shared.discard(name)
        held = state[name]
        undo.append((held, key, held.get(key)))
        _place(held, key, value)

    def reserve(self, sequence: Sequence_, n: int) -> range:
        with self._lock:
            self._live()
            given = numbers(sequence, self._next.get(sequence, 1), n)
            self._next[sequence] = given.stop
            return given

    def acquire_epoch(self, instance: str) -> int:
        with self._lock:
            row: DatabaseRow = DATABASE.decode(self._live()["database"][0])
            row = row._replace(epoch=row.epoch + 1, instance=instance)
            self._put("database", 0, DATABASE.encode(row), [])
            return row.epoch

    def check(self) -> Iterator[str]:
        with self.snapshot() as snapshot:
            for table in TABLE.values():
                for columns in snapshot._scan(table):
                    finding = finding_of(table.name, columns)
                    if finding is not None:
                        yield finding
            for root in snapshot.all_roots():
                if snapshot.stream(root.stream) is None:
                    yield f"table stream_root, key {root.stream}: there is no such stream"
            for table_name in ("record_section", "point_section"):
                for section in snapshot.rows(table_name):
                    if snapshot.segment(section.segment) is None:
                        yield f"table {table_name}, key {section.id}: there is no such segment"

    def backup(self, target_path: str) -> None:
        """A SQLite catalog with the same content."""
        from lamina.catalog.sqlite import SqliteCatalog

        with self._lock:
            sequences = dict(self._next)
            snapshot = self.snapshot()
        delta = CatalogDelta(0)
        with snapshot:
            for table in TABLE:
                delta.puts.extend(snapshot.rows(table))
        target = SqliteCatalog.create(target_path)
        try:
            target.commit(delta)
            for sequence, next in sequences.items():
                target.reserve(sequence, next - 1)  # type: ignore[arg-type]
        finally:
            target.close()

    def close(self) -> None:
        with self._lock:
            for snapshot in list(self._open):
                snapshot.close()
            self._state = None


def _alive(name: str, columns: Columns) -> bool:
    """Whether a row holds its identity: a dead bucket or entry has let its name go."""
    return name not in _DEAD or columns[_DEAD[name]] == 0


def _place(held: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        held.pop(key, None)
    else:
        held[key] = value
