"""The embedded catalog: one SQLite file in WAL mode (FORMAT.md).

One writer connection behind a lock, read connections from a pool, one per open snapshot. `synchronous=FULL`,
because the log is trimmed up to what a commit made durable (law 5). Never open the file by other means than
SQLite in the process that has the catalog open: closing it would drop SQLite's advisory locks.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from lamina.catalog.catalog import CatalogDelta, Sequence_
from lamina.catalog.delta import EncodedDelta, encode, numbers
from lamina.catalog.encoding import ADVICE, DATABASE, TABLE, Columns, finding_of, row_crc
from lamina.catalog.order import SELECT
from lamina.catalog.reader import closed
from lamina.catalog.rows import DatabaseRow
from lamina.catalog.snapshot import SqliteSnapshot, fail_read
from lamina.errors import Conflict, Corrupt, Unavailable, UnknownFormat

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

MIGRATIONS = ("0001_streams.sql", "0002_records.sql", "0003_points.sql")
"""Files in schema/, in order. The number of the last one is the newest format this code reads and writes."""

BUSY_S = 5.0
"""Wait for another process's transaction; ours take milliseconds."""

IDLE_CONNECTIONS = 16
"""Read connections kept for the next snapshot: about 100 kB each, 0.3 ms to make."""

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables."""

_WRITE = {
    name: f"INSERT INTO {name} ({', '.join(table.columns)}) VALUES ({', '.join('?' * len(table.columns))})"
    f" ON CONFLICT ({table.key}) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in table.columns if column != table.key)
    for name, table in TABLE.items()
}
_DELETE = {name: f"DELETE FROM {name} WHERE {table.key} = ?" for name, table in TABLE.items()}
_VERSIONS = "SELECT stream, version FROM stream_root WHERE stream IN (SELECT value FROM json_each(?))"
_APPLIED = "SELECT entry, applied_seq FROM record_state WHERE entry IN (SELECT value FROM json_each(?))"
_POINTS_APPLIED = (
    "SELECT measurement, applied_seq FROM point_state WHERE measurement IN (SELECT value FROM json_each(?))"
)


class SqliteCatalog:
    """A `Catalog` in a file. Made by `open` and `open_readonly`."""

    def __init__(self, path: str, writer: sqlite3.Connection | None) -> None:
        self.path = path
        self._lock = threading.Lock()  # guards _writer, _stopped: held for whole write transactions
        self._writer = writer
        self._stopped: BaseException | None = None
        self._pool = threading.Lock()  # guards _idle, _open, _closed; never held during I/O
        self._idle: list[sqlite3.Connection] = []
        self._open: weakref.WeakSet[SqliteSnapshot] = weakref.WeakSet()
        self._closed = False
        self._read_only = writer is None

    @staticmethod
    def open(path: str, *, create: bool) -> SqliteCatalog:
        """Open for writing; `create` makes an empty catalog where there is none (the folder must exist).

        Raises Corrupt (damaged, or missing without `create`), UnknownFormat, Unavailable. Takes a few ms.
        """
        connection = _connect(path, "rwc" if create else "rw")
        try:
            # No pages, or the one that switching to WAL writes: a creation that did not finish.
            if create and _one(connection, "PRAGMA page_count") <= 1 and not _tables(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                _migrate(connection, 0)
            read, write = _format(connection)
            if max(read, write) > len(MIGRATIONS):
                raise _newer(path, read, write)
            if _one(connection, "PRAGMA journal_mode") != b"wal":
                connection.execute("PRAGMA journal_mode = WAL")
            _prepare(connection)
            if write < len(MIGRATIONS):
                _migrate(connection, write)
        except Exception as error:
            connection.close()
            fail_read(error)
        return SqliteCatalog(path, connection)

    @staticmethod
    def create(path: str) -> SqliteCatalog:
        """An empty catalog in a file that is not there yet. Raises Unavailable if there is something."""
        connection = _connect(path, "rwc")
        try:
            _refuse_content(connection, path)
        except Exception as error:
            fail_read(error)
        finally:
            connection.close()
        return SqliteCatalog.open(path, create=True)

    @staticmethod
    def open_readonly(path: str) -> SqliteCatalog:
        """Open for snapshots, `check` and `backup`, also while another process has it open for writing."""
        connection = _connect(path, "ro")
        try:
            read, write = _format(connection)
            if read > len(MIGRATIONS):
                raise _newer(path, read, write)
            if write < len(MIGRATIONS):
                raise Unavailable(
                    f"the catalog {path} is of format {write}, to read it takes format {len(MIGRATIONS)}: open the"
                    " directory for writing once, which brings it up to date"
                )
        except Exception as error:
            fail_read(error)
        finally:
            connection.close()
        return SqliteCatalog(path, None)

    def snapshot(self) -> SqliteSnapshot:
        with self._pool:
            if self._closed:
                raise closed()
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = _connect(self.path, "ro" if self._read_only else "rw")
            connection.execute("PRAGMA query_only = ON")
        snapshot = SqliteSnapshot(connection, self._give_back)
        with self._pool:
            if not self._closed:
                self._open.add(snapshot)
                return snapshot
        snapshot.close()
        raise closed()

    def _give_back(self, connection: sqlite3.Connection | None) -> None:
        if connection is None:
            return
        with self._pool:
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def commit(self, delta: CatalogDelta) -> None:
        encoded = encode(delta)  # refuses what does not fit before anything is written
        self._transact(lambda connection: _apply(connection, encoded))

    def reserve(self, sequence: Sequence_, n: int) -> range:
        def take(connection: sqlite3.Connection) -> range:
            found = connection.execute("SELECT name, next, row_crc FROM sequence WHERE name = ?", (sequence,))
            columns = found.fetchone() or (sequence, 1, row_crc("sequence", (sequence, 1)))
            finding = finding_of("sequence", columns)
            if finding is not None:
                raise Corrupt(f"catalog, {finding}; {ADVICE}")
            given = numbers(sequence, columns[1], n)
            row = (sequence, given.stop, row_crc("sequence", (sequence, given.stop)))
            connection.execute("INSERT OR REPLACE INTO sequence (name, next, row_crc) VALUES (?, ?, ?)", row)
            return given

        numbers(sequence, 1, n)  # a wrong call never reaches the file
        return self._transact(take)

    def acquire_epoch(self, instance: str) -> int:
        def take(connection: sqlite3.Connection) -> int:
            row = _database(connection)
            row = row._replace(epoch=row.epoch + 1, instance=instance)
            connection.execute(_WRITE["database"], DATABASE.encode(row))
            return row.epoch

        return self._transact(take)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a write transaction. A LaminaError it raises rolls back; an error of SQLite stops the
        catalog, except where it is certain that nothing happened."""
        with self._lock:
            connection = self._writer
            if self._closed:
                raise closed()
            if connection is None:
                raise Unavailable(f"the catalog {self.path} is open for reading only")
            if self._stopped is not None:
                raise Unavailable(f"the catalog takes no more commits since: {self._stopped}") from self._stopped
            begun = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                begun = True
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    self._roll_back(connection)
                self._fail_write(error, begun)
            return result

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        import sqlite3

        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._stopped = error

    def _fail_write(self, error: BaseException, begun: bool) -> NoReturn:
        import sqlite3

        if isinstance(error, sqlite3.IntegrityError):
            raise Conflict(f"the catalog has another row with this identity: {error}") from error
        if not isinstance(error, sqlite3.Error):
            raise error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY and not begun:
            raise Unavailable(f"another process is writing the catalog for over {BUSY_S} s") from error
        self._stopped = error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise Corrupt(f"the catalog is damaged: {error}; {ADVICE}") from error
        raise Unavailable(f"the catalog commit failed, its outcome is unknown: {error}") from error

    def check(self) -> Iterator[str]:
        try:
            snapshot = self.snapshot()
        except Corrupt as error:
            yield str(error)
            return
        with snapshot:
            yield from snapshot.findings()

    def backup(self, target_path: str) -> None:
        """Raises Unavailable if the target cannot be written, or is a database already."""
        target = _connect(target_path, "rwc")
        try:
            _refuse_content(target, target_path)
            with self.snapshot() as snapshot:
                snapshot.copy_to(target)
        except Exception as error:
            fail_read(error)
        finally:
            target.close()

    def close(self) -> None:
        """Closes the snapshots too; their readers then raise Closed. The last one out folds the WAL in."""
        with self._pool:
            self._closed = True
            snapshots = list(self._open)
            idle, self._idle = self._idle, []
        for snapshot in snapshots:
            snapshot.close()
        for connection in idle:
            connection.close()
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()


def _connect(path: str, mode: str) -> sqlite3.Connection:
    import sqlite3

    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise Unavailable(f"SQLite {sqlite3.sqlite_version} is too old: STRICT tables need 3.37 or later")
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    root = "//" if path.startswith("//") else ""  # an empty authority, or the first folder would be taken as one
    try:
        connection = sqlite3.connect(
            f"file:{root}{quoted}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,  # a snapshot may be closed elsewhere; SQLite is in serialized mode
            timeout=BUSY_S,
        )
    except sqlite3.Error as error:
        if mode == "rwc":
            raise Unavailable(f"the catalog {path} cannot be made: {error}") from error
        raise Corrupt(f"the catalog {path} is missing or cannot be read: {error}; {ADVICE}") from error
    connection.text_factory = bytes  # checksums are over bytes, and damaged UTF-8 must not raise before they are seen
    try:
        connection.execute("PRAGMA cell_size_check = ON")  # notices more damage when a page is loaded
        connection.execute("PRAGMA trusted_schema = OFF")
    except Exception as error:
        connection.close()
        fail_read(error)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Settings of the writer; those of SQLite's build do not count."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _refuse_content(connection: sqlite3.Connection, path: str) -> None:
    if _one(connection, "PRAGMA page_count"):
        raise Unavailable(f"{path} exists; a backup replaces nothing")


def _tables(connection: sqlite3.Connection) -> int:
    return int(_one(connection, "SELECT count(*) FROM sqlite_schema"))


def _format(connection: sqlite3.Connection) -> tuple[int, int]:
    """(format a reader needs, format a writer needs)."""
    columns = connection.execute("SELECT key, read, write, writer, row_crc FROM format").fetchone()
    if columns is None:
        raise Corrupt(f"catalog, table format: its only row is missing; {ADVICE}")
    finding = finding_of("format", columns)
    if finding is not None:
        raise Corrupt(f"catalog, {finding}; {ADVICE}")
    return columns[1], columns[2]


def _newer(path: str, read: int, write: int) -> UnknownFormat:
    return UnknownFormat(
        f"the catalog {path} was written by a newer Lamina: readers need format {read}, writers {write};"
        f" this one knows up to {len(MIGRATIONS)}"
    )


def _migrate(connection: sqlite3.Connection, present: int) -> None:
    """Apply the migrations above `present`, all in one transaction."""
    import pkgutil

    from lamina import __version__

    _prepare(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if present == 0 and _tables(connection):  # somebody else was faster
            connection.execute("ROLLBACK")
            return
        for name in MIGRATIONS[present:]:
            text = (pkgutil.get_data("lamina.catalog", f"schema/{name}") or b"").decode()
            for statement in text.split(";\n"):
                connection.execute(statement)
            if name == "0002_records.sql":
                _carry_tokens(connection)
        latest = len(MIGRATIONS)
        row = (0, latest, latest, f"lamina {__version__}")
        connection.execute("INSERT OR REPLACE INTO format VALUES (?, ?, ?, ?, ?)", (*row, row_crc("format", row)))
        if present == 0:
            empty = DatabaseRow(b"", 0, 0, "", 0, 0)
            connection.execute(_WRITE["database"], DATABASE.encode(empty))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _carry_tokens(connection: sqlite3.Connection) -> None:
    """The tokens of format 1 into the wider table of format 2, with the row_crc they have there. Raises Corrupt for a
    damaged one: a new row_crc would make it sound."""
    query = "SELECT name, id, kind, salt, hash, permissions, created_us, expires_us, provisioned, row_crc FROM token_1"
    for columns in connection.execute(query).fetchall():
        finding = finding_of("token", columns)
        if finding is not None:
            raise Corrupt(f"catalog, {finding}; {ADVICE}")
        row = TABLE["token"].row((*columns[:-1], 0, 0, b"[]"))
        connection.execute(_WRITE["token"], TABLE["token"].encode(row))
    connection.execute("DROP TABLE token_1")


def _database(connection: sqlite3.Connection) -> DatabaseRow:
    columns: Columns | None = connection.execute(SELECT["database"]).fetchone()
    if columns is None:
        raise Corrupt(f"catalog, table database: its only row is missing; {ADVICE}")
    row: DatabaseRow = DATABASE.decode(columns)
    return row


def _apply(connection: sqlite3.Connection, delta: EncodedDelta) -> None:
    database = _database(connection)
    delta.expect_epoch(database.epoch)
    if delta.expect_roots:
        ids = "[" + ",".join(map(str, delta.expect_roots)) + "]"
        delta.expect_versions(dict(connection.execute(_VERSIONS, (ids,))))
    if delta.expect_record_states:
        ids = "[" + ",".join(map(str, delta.expect_record_states)) + "]"
        delta.expect_applied(dict(connection.execute(_APPLIED, (ids,))))
    if delta.expect_point_states:
        ids = "[" + ",".join(map(str, delta.expect_point_states)) + "]"
        delta.expect_points_applied(dict(connection.execute(_POINTS_APPLIED, (ids,))))
    for table, keys in delta.deletes.items():
        connection.executemany(_DELETE[table], keys)
    for table, rows in delta.puts.items():
        connection.executemany(_WRITE[table], rows)
    changed = delta.database(database)
    if changed is not None:
        connection.execute(_WRITE["database"], DATABASE.encode(changed))
