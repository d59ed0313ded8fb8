"""One consistent state of a SQLite catalog: a read transaction on a connection of its own.

SQLite's pages carry no checksum, so nothing is believed unseen:
1. every row that leaves is checked against its row_crc, and must be the one that was asked for: an index
   may lead to a sound but wrong one;
2. a miss is believed only after the rows on both sides of the gap were checked, lie on their sides and
   follow each other: a damaged key or pointer sends a binary search astray, and then a neighbour is the
   damaged row, lies on the wrong side or has another neighbour when it is searched for itself;
3. scans must ascend.
What remains are losses of whole cells or pages that leave every neighbour intact; `check` finds those.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from lamina.catalog.encoding import (
    ADVICE,
    DATABASE,
    STREAM,
    TABLE,
    Column,
    Columns,
    Table,
    finding_of,
    matches,
    text_argument,
    to_json_text,
)
from lamina.catalog.order import (
    AROUND,
    BESIDE,
    BY_NAME,
    ENTRIES,
    OF_ENTRIES,
    POINT_SECTION_IDS,
    POINT_SECTIONS,
    SECTION,
    SECTION_IDS,
    SECTIONS,
    SELECT,
    Order,
)
from lamina.catalog.reader import Reader, closed
from lamina.catalog.rows import (
    SECTION_NUMBERS,
    EntryRow,
    PointSectionRow,
    RecordSectionRow,
    RecordStateRow,
    RootRow,
    StreamRow,
    canonical_tags,
)
from lamina.errors import Corrupt, Unavailable

if TYPE_CHECKING:
    import sqlite3

FIRST_ROWS = 2
"""A look-up by collection and name needs one row and the one behind; the number doubles up to CHUNK_ROWS."""

CHUNK_ROWS = 256
"""Rows fetched under the lock at a time: a scan holds up other readers of the snapshot for under a
millisecond."""

IDS_PER_QUERY = 10_000
"""Ids passed as one JSON array: about 100 kB, and one query text whatever the number."""

_GET = {name: f"{SELECT[name]} WHERE {table.key} = ?" for name, table in TABLE.items()}
_NEXT = {name: f"{SELECT[name]} WHERE {table.key} > ? ORDER BY {table.key} LIMIT 1" for name, table in TABLE.items()}
_PREVIOUS = {
    name: f"{SELECT[name]} WHERE {table.key} < ? ORDER BY {table.key} DESC LIMIT 1" for name, table in TABLE.items()
}
_ALL = {name: f"{SELECT[name]} ORDER BY {table.key}" for name, table in TABLE.items()}

_STREAM = SELECT["stream"]
_BY_UUID = f"{_STREAM} INDEXED BY stream_by_uuid WHERE uuid"
_BY_TAGS = f"{_STREAM} INDEXED BY stream_by_tags WHERE (collection, tags_key)"
_UUID = STREAM.columns.index("uuid")
_COLLECTION = STREAM.columns.index("collection")
_TAGS = STREAM.columns.index("tags")
_ANNOTATIONS = STREAM.columns.index("annotations")
_TAGS_KEY = STREAM.columns.index("tags_key")

_MANY = {name: f"{SELECT[name]} WHERE {table.key} IN (SELECT value FROM json_each(?))" for name, table in TABLE.items()}


def fail_read(error: Exception) -> NoReturn:
    """Raise what a failed read means to a caller."""
    import sqlite3

    if isinstance(error, sqlite3.ProgrammingError):  # the connection was closed in between
        raise closed() from error
    if isinstance(error, UnicodeDecodeError):  # a message of SQLite that quotes damaged bytes
        raise Corrupt(f"the catalog is damaged: {error}; {ADVICE}") from error
    if not isinstance(error, sqlite3.Error):
        raise error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH):
        # Our queries are right for the format that was checked at open: an SQL error is a damaged schema.
        raise Corrupt(f"the catalog is damaged: {error}; {ADVICE}") from error
    raise Unavailable(f"the catalog could not be read: {error}") from error


def _argument(column: Any, like: object) -> Column:
    """A column as it came from SQLite, as an argument of the type of `like`: texts come as bytes."""
    found: Column = column.decode() if isinstance(like, str) else column
    return found


class SqliteSnapshot(Reader):
    """Thread-safe; may be closed on any thread. `release` gets the connection back, or None if it must not be
    used again."""

    __slots__ = ("__weakref__", "_connection", "_database", "_lock", "_release", "_scans")

    def __init__(self, connection: sqlite3.Connection, release: Callable[[sqlite3.Connection | None], None]) -> None:
        self._lock = threading.RLock()  # guards _connection and _scans; held while a query runs
        self._connection: sqlite3.Connection | None = connection
        self._release = release
        self._scans = 0
        try:
            connection.execute("BEGIN")
            found = self._fetch(_GET["database"], (0,))  # the first read fixes the state
            self._database = found[0] if found else None
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            if self._scans:  # an unfinished query would keep the read transaction alive
                connection.close()
                self._release(None)
                return
            try:
                connection.execute("ROLLBACK")
            except Exception as error:
                connection.close()
                self._release(None)
                fail_read(error)
            self._release(connection)

    def _fetch(self, query: str, arguments: Sequence[Column]) -> list[Columns]:
        with self._lock:
            if self._connection is None:
                raise closed()
            try:
                return self._connection.execute(query, arguments).fetchall()
            except Exception as error:
                fail_read(error)

    def _stream_rows(self, query: str, arguments: Sequence[Column]) -> Iterator[Columns]:
        """Rows of a query, lazily. Raises Closed once the snapshot is closed."""
        with self._lock:
            if self._connection is None:
                raise closed()
            try:
                cursor = self._connection.execute(query, arguments)
            except Exception as error:
                fail_read(error)
            self._scans += 1
        size = FIRST_ROWS
        try:
            while True:
                with self._lock:
                    if self._connection is None:
                        raise closed()
                    try:
                        chunk = cursor.fetchmany(size)
                    except Exception as error:
                        fail_read(error)
                if not chunk:
                    return
                yield from chunk
                size = min(2 * size, CHUNK_ROWS)
        finally:
            with self._lock:
                self._scans -= 1
                if self._connection is not None:
                    cursor.close()

    def _checked(self, table: Table, query: str, arguments: Sequence[Column]) -> Columns | None:
        """The first row of a query, its row_crc checked."""
        for columns in self._fetch(query, arguments):
            table.check(columns)
            return columns
        return None

    def _gap(self, table: Table, key: Column) -> Any:
        """Rule 2 for a key of a table; the next key there is, None behind the last. Raises Corrupt."""
        column: Any = key.encode() if isinstance(key, str) else key
        above = self._checked(table, _NEXT[table.name], (key,))
        below = self._checked(table, _PREVIOUS[table.name], (key,))
        if below is not None:
            behind = self._checked(table, _NEXT[table.name], (_argument(below[0], key),))
            if below[0] >= column or behind != above:
                raise self._disorder(table, column)
        if above is None:
            return None
        if above[0] <= column:
            raise self._disorder(table, column)
        return above[0]

    def _disorder(self, table: Table, near: object) -> Corrupt:
        return Corrupt(f"catalog, table {table.name}: rows out of order near {near!r}; {ADVICE}")

    def _get(self, table: Table, key: object) -> Columns | None:
        if table is DATABASE:
            if self._connection is None:
                raise closed()
            if self._database is None:
                raise Corrupt(f"catalog, table database: its only row is missing; {ADVICE}")
            return self._database
        column = table.encode_key(key)
        for columns in self._fetch(_GET[table.name], (column,)):
            return columns
        self._gap(table, column)
        return None

    def _scan(self, table: Table) -> Iterator[Columns]:
        last: Any = None
        for columns in self._stream_rows(_ALL[table.name], ()):
            key: Any = columns[0]
            if last is not None and (type(key) is not type(last) or key <= last):
                raise self._disorder(table, key)
            last = key
            yield columns

    def _index_get(self, index: str, marks: str, key: tuple[Any, ...], at: tuple[int, ...]) -> StreamRow | None:
        """The stream with `key` in the columns `at`, by an index; rule 2 for a miss."""
        found = tuple(part.encode() if isinstance(part, str) else part for part in key)
        for columns in self._fetch(f"{index} = {marks}", key):
            row: StreamRow = STREAM.decode(columns)
            if tuple(columns[i] for i in at) != found:  # a sound row, but not the one this entry was made for
                raise Corrupt(f"catalog, table stream: the index entry of {found!r} leads to {row.id}; {ADVICE}")
            return row
        names = ", ".join(STREAM.columns[i] for i in at)
        descending = ", ".join(f"{STREAM.columns[i]} DESC" for i in at)
        behind = f"{index} > {marks} ORDER BY {names} LIMIT 1"
        above = self._checked(STREAM, behind, key)
        below = self._checked(STREAM, f"{index} < {marks} ORDER BY {descending} LIMIT 1", key)
        if below is not None:
            place = [_argument(below[i], part) for i, part in zip(at, key, strict=True)]
            if tuple(below[i] for i in at) >= found or self._checked(STREAM, behind, place) != above:
                raise self._disorder(STREAM, found)
        if above is not None and tuple(above[i] for i in at) <= found:
            raise self._disorder(STREAM, found)
        return None

    def stream_by_uuid(self, uuid: UUID) -> StreamRow | None:
        return self._index_get(_BY_UUID, "?", (uuid.bytes,), (_UUID,))

    def stream_by_tags(self, collection: str, tags: dict[str, str]) -> StreamRow | None:
        key = (text_argument(collection), text_argument(to_json_text(canonical_tags(tags))))
        return self._index_get(_BY_TAGS, "(?, ?)", key, (_COLLECTION, _TAGS_KEY))

    def streams(
        self,
        collection: str | None = None,
        prefix: bool = False,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, str | None] | None = None,
    ) -> Iterator[StreamRow]:
        parts: list[tuple[int, bytes]] = []  # texts that canonical JSON holds where a condition is true
        for at, conditions in ((_TAGS, tags), (_ANNOTATIONS, annotations)):
            for key, value in (conditions or {}).items():
                text = text_argument(to_json_text(key) + ":" + ("" if value is None else to_json_text(value)))
                if at == _ANNOTATIONS or value != "":
                    parts.append((at, text.encode()))
        if collection is None:
            found = self._range(BY_NAME, (), None)
        elif prefix:
            start = text_argument(collection).encode()
            found = self._range(BY_NAME, (start,), lambda place: place[0].startswith(start))
        else:
            start = text_argument(collection).encode()
            name = (tags or {}).get("name")
            if name is None:
                found = self._range(BY_NAME, (start,), lambda place: place[0] == start)
            else:
                both = (start, name.encode())
                found = self._range(BY_NAME, both, lambda place: place[:2] == both)
        return (
            row
            for columns in found
            if all(part in columns[at] for at, part in parts)  # type: ignore[operator]
            and matches(row := STREAM.row(columns), tags, annotations)
        )

    def _range(self, order: Order, key: tuple[Any, ...], inside: Callable[[Any], bool] | None) -> Iterator[Columns]:
        """Checked rows from `key` on in an order, as long as `inside`. Rule 2 for both ends: the row before must be
        smaller and have the first one behind it; the row that ends the range is looked at as any other, not left to
        SQL, and searching for it must lead back to the last one given."""
        last: tuple[Any, ...] = ()
        where, arguments = order.compare(">=", key) if key else ("", [])
        if key:
            last = self._last(order, *order.compare("<", key))
        first = self._first(order, *order.compare(">", last)) if last else None
        end: tuple[Any, ...] | None = None
        for columns in self._stream_rows(f"{order.query} {where} {order.up}", arguments):
            order.table.check(columns)
            place = order.place(columns)
            if place <= last or (first is not None and place != first):
                raise self._disorder(order.table, place)
            first = None
            if inside is not None and not inside(place):
                end = place
                break
            last = place
            yield columns
        found = self._last(order) if end is None else self._last(order, *order.compare("<", end))
        if found != last or first:
            raise self._disorder(order.table, last)

    def _first(self, order: Order, where: str = "", arguments: Sequence[Column] = ()) -> tuple[Any, ...]:
        """Place of the first row that fulfils a condition, checked; () if there is none."""
        columns = self._checked(order.table, f"{order.query} {where} {order.up} LIMIT 1", arguments)
        return () if columns is None else order.place(columns)

    def _last(self, order: Order, where: str = "", arguments: Sequence[Column] = ()) -> tuple[Any, ...]:
        """Place of the last row that fulfils a condition, checked; () if there is none."""
        columns = self._checked(order.table, f"{order.query} {where} {order.down} LIMIT 1", arguments)
        return () if columns is None else order.place(columns)

    def collections(self, prefix: str = "") -> Iterator[str]:
        return self._collections(text_argument(prefix))

    def _collections(self, prefix: str) -> Iterator[str]:
        # Jumps from collection to collection (30 us each), each proven by whole rows; DISTINCT over the index
        # would be one scan but hand out names that no checksum covers.
        start, last = prefix.encode(), b""
        before, after, at = "<", ">=", prefix
        order = BY_NAME
        while True:
            below = self._last(order, f"WHERE collection {before} ?", (at,))
            if below and (below[0] >= start if before == "<" else below[0] != last):
                raise self._disorder(STREAM, below)
            columns = self._checked(STREAM, f"{order.query} WHERE collection {after} ? {order.up} LIMIT 1", (at,))
            if columns is None:
                return
            found = order.place(columns)[0]
            if found < last or (after == ">" and found == last):
                raise self._disorder(STREAM, found)
            if not found.startswith(start):
                return
            at = found.decode()
            yield at
            before, after, last = "<=", ">", found

    def stream_count(self) -> int:
        found: Any = self._fetch("SELECT count(*) FROM stream", ())[0][0]
        return int(found)

    def roots(self, streams: Sequence[int]) -> dict[int, RootRow]:
        return self._many(TABLE["stream_root"], streams)

    def record_states(self, entries: Sequence[int]) -> dict[int, RecordStateRow]:
        return self._many(TABLE["record_state"], entries)

    def _many(self, table: Table, keys: Sequence[int]) -> dict[int, Any]:
        """The rows of a table by numbers; absent ones are left out."""
        result: dict[int, Any] = {}
        for at in range(0, len(keys), IDS_PER_QUERY):
            ids = [table.encode_key(id) for id in keys[at : at + IDS_PER_QUERY]]
            for columns in self._fetch(_MANY[table.name], (to_json_text(ids),)):
                row = table.decode(columns)
                result[row[0]] = row
            behind: Any = None  # missing ids up to the next row lie in the same gap
            for id in sorted(id for id in ids if id not in result):
                if behind is None or id > behind:
                    behind = self._gap(table, id)
                    if behind is None:
                        break
        return result

    def entries(self, bucket: int) -> Iterator[EntryRow]:
        key = TABLE["bucket"].encode_key(bucket)
        found = self._range(ENTRIES, (key,), lambda place: place[0] == key)
        return (TABLE["entry"].row(columns) for columns in found)

    def sections_of_segment(self, segment: int) -> Iterator[RecordSectionRow]:
        first = segment * SECTION_NUMBERS
        key = SECTION.encode_key(first)
        found = self._range(SECTION_IDS, (key,), lambda place: place[0] < first + SECTION_NUMBERS)
        return (SECTION.row(columns) for columns in found)

    def record_sections(self, entries: Sequence[int]) -> dict[int, list[RecordSectionRow]]:
        result: dict[int, list[RecordSectionRow]] = {}
        keys: list[Any] = sorted({TABLE["entry"].encode_key(entry) for entry in entries})
        for at in range(0, len(keys), IDS_PER_QUERY):
            ids = keys[at : at + IDS_PER_QUERY]
            held: dict[int, list[RecordSectionRow]] = {id: [] for id in ids}
            last: tuple[Any, ...] = ()
            for columns in self._fetch(OF_ENTRIES, (to_json_text(ids),)):
                row: RecordSectionRow = SECTION.decode(columns)
                place = (row.entry, row.t_min, row.id)
                if place <= last or row.entry not in held:  # an index entry led to another row
                    raise self._disorder(SECTION, place)
                last = place
                held[row.entry].append(row)
            self._section_bounds(ids, held)
            result.update((id, rows) for id, rows in held.items() if rows)
        return result

    def _section_bounds(self, ids: list[int], held: dict[int, list[RecordSectionRow]]) -> None:
        """Rule 2 for the ranges of many entries, as _range has it for one."""
        around: list[Any] = self._fetch(AROUND, (to_json_text(ids),))
        outside = {section for _, *both in around for section in both if section is not None}
        wanted = to_json_text(sorted(outside))
        entry_of = {}
        for columns in self._fetch(_MANY[SECTION.name], (wanted,)):
            row: RecordSectionRow = SECTION.decode(columns)
            entry_of[row.id] = row.entry
        beside: dict[Any, Any] = {id: both for id, *both in self._fetch(BESIDE, (wanted,))}
        first, last = self._first(SECTIONS), self._last(SECTIONS)
        beside[None] = [last[-1], first[-1]] if last and first else [None, None]
        for id, before, after in around:
            rows = held[id]
            if (
                (before is not None and entry_of.get(before, id) >= id)
                or (after is not None and entry_of.get(after, id) <= id)
                or beside.get(before, "")[1:] != [rows[0].id if rows else after]
                or beside.get(after, "")[:1] != [rows[-1].id if rows else before]
            ):
                raise self._disorder(SECTION, id)

    def point_sections(self, measurement: int) -> Iterator[PointSectionRow]:
        key = TABLE["measurement"].encode_key(measurement)
        found = self._range(POINT_SECTIONS, (key,), lambda place: place[0] == key)
        return (TABLE["point_section"].row(columns) for columns in found)

    def point_sections_of_segment(self, segment: int) -> Iterator[PointSectionRow]:
        first = segment * SECTION_NUMBERS
        key = TABLE["point_section"].encode_key(first)
        found = self._range(POINT_SECTION_IDS, (key,), lambda place: place[0] < first + SECTION_NUMBERS)
        return (TABLE["point_section"].row(columns) for columns in found)

    def findings(self) -> Iterator[str]:
        """Damage in any page or row, a line each. Reads the whole file."""
        if self._database is None:
            yield "table database: its only row is missing"
        yield from self._findings(self._pages())
        for query, table in (
            *((query, name) for name, query in _ALL.items()),
            ("SELECT name, next, row_crc FROM sequence", "sequence"),
        ):
            yield from self._findings(self._rows_wrong(query, table))
        yield from self._findings(self._orphans())

    def _findings(self, part: Iterator[str]) -> Iterator[str]:
        """A part of the check; damage that ends it is its last finding."""
        try:
            yield from part
        except Corrupt as error:
            yield str(error)

    def _pages(self) -> Iterator[str]:
        for columns in self._stream_rows("PRAGMA integrity_check", ()):
            line: Any = columns[0]
            text = str(line, "utf-8", "replace")
            if text != "ok":
                yield text

    def _rows_wrong(self, query: str, table: str) -> Iterator[str]:
        for columns in self._stream_rows(query, ()):
            finding = finding_of(table, columns)
            if finding is not None:
                yield finding

    def _orphans(self) -> Iterator[str]:
        query = "SELECT stream FROM stream_root WHERE stream NOT IN (SELECT id FROM stream)"
        for (stream,) in self._stream_rows(query, ()):
            yield f"table stream_root, key {stream!r}: there is no such stream"
        for table in ("record_section", "point_section"):
            query = f"SELECT id FROM {table} WHERE segment NOT IN (SELECT id FROM segment)"
            for (section,) in self._stream_rows(query, ()):
                yield f"table {table}, key {section!r}: there is no such segment"

    def copy_to(self, target: sqlite3.Connection) -> None:
        """This state into another file, page by page, in one step: it cannot be disturbed by commits."""
        with self._lock:
            if self._connection is None:
                raise closed()
            self._connection.backup(target)
