"""SQL over the metadata of streams: one PostgreSQL SELECT over the relation `streams`, run by a locked DuckDB.

The relation is an Arrow copy of catalog rows; nothing else is in reach (`dialect` says how that is kept). A statement
gets one thread, MEMORY_LIMIT, TIME_LIMIT_S and ROW_LIMIT; beyond any of them it ends with SqlError.
"""

from __future__ import annotations

import contextlib
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.catalog.rows import StreamRow
from lamina.columns import library
from lamina.tables.dialect import SqlError, Statement, translate
from lamina.tables.growth import Widths
from lamina.time import Clock, SystemClock

if TYPE_CHECKING:
    from lamina.engine.database import Database

__all__ = ["SqlError", "StreamsTable", "query"]

MEMORY_LIMIT = "256MB"
TIME_LIMIT_S = 30.0  # from start to the last row fetched: a reader that stalls holds the memory no longer than this
ROW_LIMIT = 1_000_000

_BATCH = 1024  # rows made into Python objects at a time
_CHUNK = 8192  # rows made into Arrow at a time
_TEXTS = ("collection", "name", "unit", "ingress", "distiller")

_LOCKED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",  # or it would spill into the working directory
    "memory_limit": MEMORY_LIMIT,
    "threads": "1",
    "integer_division": "true",  # 5 / 2 is 2 in PostgreSQL
    "lock_configuration": "true",
}


class StreamsTable:
    """The relation `streams` of one generation of the catalog, for any number of queries. Immutable, thread-safe.

    Columns (contract btrdb 6.2): uuid, collection, name, unit, ingress, distiller (unset tags are ""),
    property_version, annotations. `generation` is the caller's: build a new table when it has moved on.
    """

    __slots__ = ("arrow", "generation", "widths")

    def __init__(self, rows: Iterable[StreamRow], generation: int = 0) -> None:
        pa = library("pyarrow", "server")
        schema = pa.schema(
            [
                ("uuid", pa.uuid()),
                *((name, pa.string()) for name in _TEXTS),
                ("property_version", pa.int64()),
                ("annotations", pa.map_(pa.string(), pa.string())),
            ]
        )
        batches = []
        longest = dict.fromkeys(schema.names, 36)  # a uuid as text; numbers are shorter
        item = 0
        source = iter(rows)
        while chunk := list(islice(source, _CHUNK)):
            columns: list[list[Any]] = [[row.uuid.bytes for row in chunk], [row.collection for row in chunk]]
            columns += [[row.tags.get(tag, "") for row in chunk] for tag in _TEXTS[1:]]
            columns += [[row.property_version for row in chunk], [list(row.annotations.items()) for row in chunk]]
            for name, values in zip(_TEXTS, columns[1:6], strict=True):
                longest[name] = max(longest[name], *(len(value.encode()) for value in values))
            for row in chunk:
                sizes = [len(text.encode()) for pair in row.annotations.items() for text in pair]
                item = max(item, *sizes, 0)
                longest["annotations"] = max(longest["annotations"], sum(sizes))
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        self.arrow = pa.Table.from_batches(batches, schema)
        self.generation = generation
        self.widths = Widths(longest, item)


_tables: weakref.WeakKeyDictionary[Database, StreamsTable] = weakref.WeakKeyDictionary()
_tables_lock = threading.Lock()  # guards _tables; not held while a table is built


def streams_table(db: Database) -> StreamsTable:
    """The relation of all streams of a database, built anew only after metadata changed."""
    generation = db.metadata.generation
    with _tables_lock:
        table = _tables.get(db)
    if table is None or table.generation != generation:
        table = StreamsTable(db.streams.rows(), generation)
        with _tables_lock:
            _tables[db] = table
    return table


def query(
    rows: Iterable[StreamRow] | StreamsTable,
    text: str,
    params: Sequence[str] = (),
    *,
    clock: Clock | None = None,
) -> Iterator[dict[str, object]]:
    """Rows of a SELECT as JSON-able dicts: label -> str, int, float, bool, None, list or dict.

    `params` are bound to $1, $2, ... Labels are PostgreSQL's; of two columns with one label the last stays. uuids
    are dashed strings, annotations a dict; NaN and infinities, which JSON lacks, are the strings PostgreSQL writes.
    The text is checked at once; it runs as the iterator is read, about 1,000 rows at a time, and ends when the
    iterator is closed. Raises SqlError.
    """
    table = rows if isinstance(rows, StreamsTable) else StreamsTable(rows)
    statement = translate(text, params, table.widths)
    return _run(table, statement, clock or SystemClock())


def _run(table: StreamsTable, statement: Statement, clock: Clock) -> Iterator[dict[str, object]]:
    duckdb = library("duckdb", "server")
    with contextlib.closing(duckdb.connect(":memory:", config=_LOCKED)) as connection:
        connection.register("streams", table.arrow)
        with _Watch(connection.interrupt, clock) as watch, _translated(duckdb, watch):
            result = connection.execute(statement.sql, statement.params or None)
            labels = [column[0] for column in result.description]
            converters = [_converter(str(column[1])) for column in result.description]
            left = ROW_LIMIT
            while batch := result.fetchmany(min(_BATCH, left) or 1):
                watch.check()
                if not left:
                    raise SqlError(f"the result has more than {ROW_LIMIT} rows")
                left -= len(batch)
                columns = [
                    column if convert is None else map(convert, column)
                    for convert, column in zip(converters, zip(*batch, strict=True), strict=True)
                ]
                for values in zip(*columns, strict=True):
                    yield dict(zip(labels, values, strict=True))
                watch.check()


class _Watch:
    """Interrupts a statement that runs longer than TIME_LIMIT_S."""

    def __init__(self, interrupt: Callable[[], None], clock: Clock) -> None:
        self._interrupt = interrupt
        self._clock = clock
        self._done = threading.Event()
        self.expired = False
        self._thread = threading.Thread(target=self._wait, name="lamina-sql-watch", daemon=True)

    def _wait(self) -> None:
        if self._clock.wait(self._done, TIME_LIMIT_S):
            return
        self.expired = True
        while not self._done.is_set():  # an interrupt between two fetches is lost: say it until it is heard
            self._interrupt()
            self._done.wait(0.05)

    def check(self) -> None:
        if self.expired:
            raise SqlError(f"the statement ran longer than {TIME_LIMIT_S:g} s")

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@contextlib.contextmanager
def _translated(duckdb: Any, watch: _Watch) -> Iterator[None]:
    """DuckDB's errors as SqlError: the first line only, for the rest quotes the translated statement."""
    try:
        yield
    except duckdb.InterruptException:
        watch.check()
        raise SqlError("the statement was interrupted") from None
    except duckdb.OutOfMemoryException:
        raise SqlError(f"the statement needs more than {MEMORY_LIMIT} of memory") from None
    except duckdb.Error as error:
        raise SqlError(str(error).partition("\n")[0].rstrip("!")) from None


_AS_IT_IS = frozenset(
    ("VARCHAR", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "BOOLEAN", "HUGEINT", "UBIGINT", "MAP(VARCHAR, VARCHAR)")
)


def _converter(kind: str) -> Callable[[Any], object] | None:
    """What makes a value of a DuckDB type JSON-able; None if it is already."""
    return None if kind in _AS_IT_IS else _plain


def _plain(value: Any) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
