"""Between a database and its storage: the points as a table, kept in step with the storage, and the way back.

`CSVStore`, `MemoryStore` and `LaminaStore` (laminastore.py) serve the storages of this package as they are;
`ForeignStore` serves everything else, subclasses of them included, through the methods a Storage has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Union
from warnings import warn

from lamina.tinyflux.csvfile import Piece
from lamina.tinyflux.plain import PlainTable
from lamina.tinyflux.point import Point
from lamina.tinyflux.rows import Rows, TornRowWarning, decoded, one_ending, parse, points_of
from lamina.tinyflux.storages import CSVStorage, MemoryStorage, Storage
from lamina.tinyflux.updates import Update

if TYPE_CHECKING:
    from lamina.tinyflux.columnar import ColumnTable
    from lamina.tinyflux.laminastore import LaminaStore
    from lamina.tinyflux.queries import Query

Table = Union[PlainTable, "ColumnTable"]
Store = Union["CSVStore", "ForeignStore", "LaminaStore", "MemoryStore"]

# Above this many points columns pay for loading NumPy (70 ms, once): up to here a search of a list takes a millisecond.
LARGE = 2000

# Bytes of the file parsed at a time: the lists made of them are gone before the next.
_STEP = 1 << 19
# Fewer bytes are not worth the arrays.
_MANY = 1 << 14

# Of the file with the columns, beside the CSV.
SUFFIX = ".columns"

_METHODS = (
    "__iter__",
    "__len__",
    "append",
    "read",
    "reset",
    "_deserialize_measurement",
    "_deserialize_storage_item",
    "_deserialize_timestamp",
    "_serialize_point",
    "_init_temp_storage",
    "_swap_temp_with_primary",
    "_cleanup_temp_storage",
    "_write",
)


def store_for(storage: Storage) -> Store:
    """The fastest store that is sure to do what the storage's methods would."""
    if _unmodified(storage, MemoryStorage):
        return MemoryStore(storage)  # type: ignore[arg-type]
    if _unmodified(storage, CSVStorage) and storage.plain:  # type: ignore[attr-defined]
        return CSVStore(storage)  # type: ignore[arg-type]
    if hasattr(storage, "measurements"):  # no other has it, and this asks for no import
        from lamina.tinyflux.laminastorage import LaminaStorage
        from lamina.tinyflux.laminastore import LaminaStore

        if _unmodified(storage, LaminaStorage):
            return LaminaStore(storage)  # type: ignore[arg-type]
    return ForeignStore(storage)


def _unmodified(storage: Storage, ours: type) -> bool:
    kind = type(storage)
    return isinstance(storage, ours) and all(getattr(kind, name, None) is getattr(ours, name) for name in _METHODS)


def table_of(points: list[Point], shared: bool) -> Table:
    """A table of these points; `shared`: they are handed out themselves."""
    if len(points) <= LARGE:
        return PlainTable(points, shared)
    import numpy as np

    from lamina.points.columns import Columns
    from lamina.tinyflux.columnar import ColumnTable, groups_of_points

    table = ColumnTable(Columns(), points if shared else None)
    table.extend(groups_of_points(points, np.arange(len(points))))
    return table


# A change by query is worked out without a lock, so that functions of the user may use the file, and worked out again
# if somebody else changed the file meanwhile. Losing so often in a row means a writer that never pauses.
_ATTEMPTS = 20


class ByPosition:
    """What changes points by query, for stores that know their points by position."""

    update_type = Update
    edition: int

    def table(self) -> Table:
        raise NotImplementedError

    def replace(self, edition: int, positions: Sequence[int], points: Sequence[Point]) -> bool:
        raise NotImplementedError

    def remove(self, edition: int, positions: Sequence[int]) -> bool:
        raise NotImplementedError

    def changed(self, update: Update, query: Query, measurement: str | None) -> int:
        """Update the matches; how many became another. All or none."""
        for _ in range(_ATTEMPTS):
            table = self.table()
            edition = self.edition
            positions: Any = table.find(query, measurement)
            new = [(at, update.applied(old)) for at, old in zip(positions, table.points_at(positions), strict=True)]
            changed = [(at, point) for at, point in new if point is not None]
            if not changed:
                return 0
            if self.replace(edition, [at for at, _ in changed], [point for _, point in changed]):
                return len(changed)
        raise _too_busy()

    def removed(self, query: Query, measurement: str | None) -> int:
        """Remove the matches; how many."""
        for _ in range(_ATTEMPTS):
            table = self.table()
            edition = self.edition
            positions: Any = table.find(query, measurement)
            if not len(positions) or self.remove(edition, positions):
                return len(positions)
        raise _too_busy()


def _too_busy() -> OSError:
    return OSError(f"others changed the file during each of {_ATTEMPTS} attempts to change it; nothing was done")


class ForeignStore(ByPosition):
    """Any Storage, through its methods. Every read goes through all its items."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # Our own CSV storage with another dialect or encoding: what was read stays valid while the file stays.
        self._file = storage._file if _unmodified(storage, CSVStorage) else None  # type: ignore[attr-defined]
        self._read: tuple[int, Any, Table] | None = None
        self.edition = 0

    def table(self) -> Table:
        """All points now."""
        storage = self._storage
        if self._file is None:
            # A storage may hold the caller's objects; subclasses of ours that read points make new ones.
            shared = not storage.makes_points
            return PlainTable([storage._deserialize_storage_item(item) for item in storage], shared)
        self._file.check_readable()
        stamp = self._file.stamp()
        if self._read is None or self._read[:2] != (self._file.generation, stamp):
            table = table_of([storage._deserialize_storage_item(item) for item in storage], shared=False)
            self._read = (self._file.generation, stamp, table)
            self.edition += 1
        return self._read[2]

    def insert(self, points: Sequence[Point], compact: bool) -> None:
        """The points appended in one call of the storage."""
        serialize = self._storage._serialize_point
        self._storage.append([serialize(point, compact_key_prefixes=compact) for point in points])

    def replace(self, edition: int, positions: Sequence[int], points: Sequence[Point]) -> bool:
        """Points at these positions replaced. False: the storage changed since that edition, nothing was done."""
        if self._file is not None and self.table() and self.edition != edition:
            return False
        self._rewritten(dict(zip(map(int, positions), points, strict=True)), frozenset())
        return True

    def remove(self, edition: int, positions: Sequence[int]) -> bool:
        """Points at these positions removed. False: the storage changed since that edition, nothing was done."""
        if self._file is not None and self.table() and self.edition != edition:
            return False
        self._rewritten({}, frozenset(map(int, positions)))
        return True

    def _rewritten(self, changed: dict[int, Point], removed: frozenset[int]) -> None:
        storage = self._storage
        undo: list[tuple[Point, Point]] = []
        storage._init_temp_storage()
        try:
            for position, item in enumerate(storage):
                if position in changed:
                    # A storage may hold the caller's objects: those are changed, not replaced.
                    point = storage._deserialize_storage_item(item)
                    undo.append((point, adopt(point, changed[position])))
                    item = storage._serialize_point(point)
                if position not in removed:
                    storage.append([item], temporary=True)
            storage._swap_temp_with_primary()
        except BaseException:
            for point, old in undo:
                adopt(point, old)
            raise
        finally:
            storage._cleanup_temp_storage()

    def clear(self) -> None:
        """No points any more."""
        self._storage.reset()

    def close(self) -> None:
        """Nothing is held here."""


def adopt(point: Point, other: Point) -> Point:
    """Gives `point` the values of `other`; its old ones come back as a point."""
    old = Point.__new__(Point)
    old._time, old._measurement, old._tags, old._fields = (
        point._time,
        point._measurement,
        point._tags,
        point._fields,
    )
    point._time, point._measurement = other._time, other._measurement
    point._tags, point._fields = other._tags, other._fields
    return old


class MemoryStore(ByPosition):
    """A MemoryStorage. The caller's objects are the store; columns, if any, only find them."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._table: Table = PlainTable(storage._memory, shared=True)
        self._held = storage._memory  # in which positions have a meaning; what is appended moves nobody
        self.edition = 0

    def table(self) -> Table:
        """All points now: grown by what was appended, made anew if the list was replaced."""
        memory = self._storage._memory
        table = self._table
        if self._held is not memory or len(memory) < len(table):
            self._held = memory
            self.edition += 1
        if isinstance(table, PlainTable):
            if table.rows is not memory or len(memory) > LARGE:
                self._table = table = table_of(memory, shared=True)
        elif table.owned is not memory or len(memory) < len(table):
            self._table = table = table_of(memory, shared=True)
        elif len(memory) > len(table):
            import numpy as np

            from lamina.tinyflux.columnar import groups_of_points

            n = len(table)
            table.extend(groups_of_points(memory[n:], np.arange(n, len(memory))))
        return table

    def insert(self, points: Sequence[Point], compact: bool) -> None:
        """The points themselves, appended."""
        self._storage._memory.extend(points)

    def replace(self, edition: int, positions: Sequence[int], points: Sequence[Point]) -> bool:
        """The objects at these positions take on the values of `points`. False: points went since that edition, nothing
        was done."""
        table = self.table()
        if self.edition != edition:
            return False
        if not isinstance(table, PlainTable):
            table = table.replaced(positions, points)
        memory = self._storage._memory
        for position, point in zip(positions, points, strict=True):
            adopt(memory[position], point)
        self._table = table
        return True

    def remove(self, edition: int, positions: Sequence[int]) -> bool:
        """The objects at these positions are forgotten. False: as of `replace`."""
        table = self.table()
        if self.edition != edition:
            return False
        table = table.removed(positions)
        kept = table.rows if isinstance(table, PlainTable) else table.owned
        if kept is not None:
            self._storage._memory = kept
        self._table = table
        return True

    def clear(self) -> None:
        """No points any more."""
        self._storage.reset()

    def close(self) -> None:
        """Nothing is held here."""


class CSVStore(ByPosition):
    """A CSVStorage: its file as a table, and the byte at which each row begins.

    The table is what the file says, never what a caller handed in: it holds the rows of bytes [0, _end). After an
    insert of ours only the new bytes are read. After somebody else's change a small file is read again; of a large one
    the old bytes are compared first, by their CRC-32C `_crc`.
    """

    def __init__(self, storage: CSVStorage) -> None:
        self._storage = storage
        self._file = storage._file
        # A handle that may only write never reads.
        self._checkpointed = storage._checkpoint and self._file.readable
        self.edition = 0
        self._forget()

    def _forget(self) -> None:
        self._saved = -1
        self.edition += 1
        self._table: Table = PlainTable([], shared=False)
        self._starts = []
        self._end = 0
        self._crc = 0
        self._cut = False
        self._generation = -1
        self._writes = -1

    @property
    def _starts(self) -> Any:
        """The byte at which each row begins; room for more may follow. Worked out of a checkpoint when first needed."""
        if self._lengths is not None:
            self._starts = self._lengths.cumsum(dtype="i8") - self._lengths
        return self._begins

    @_starts.setter
    def _starts(self, starts: Any) -> None:
        self._begins: Any = starts
        self._lengths: Any = None

    def table(self) -> Table:
        """All points now. One stat call if nothing changed. IndexError, ValueError: a row that is none."""
        file = self._file
        file.check_readable()
        file.stamp()
        if file.generation != self._generation or file.writes != self._writes:
            with file.locked() as stamp:
                self._refresh(stamp.size)
        return self._table

    def _refresh(self, size: int) -> None:
        if self._generation == -1 and self._checkpointed:
            self._load(size)
        if self._cut or size < self._end or (self._generation != self._file.generation and not self._same_prefix()):
            self._forget()
        while self._end < size and not self._cut:
            self._read_on(size)
        self._generation = self._file.generation
        self._writes = self._file.writes

    def _read_on(self, size: int) -> None:
        """The next rows into the table: a step, if it is simple to cut at a row, or all there are."""
        data = self._file.read(self._end, min(size, self._end + _STEP))
        stop = data.rfind(b"\n") + 1
        if self._end + len(data) < size:
            if stop and b'"' not in data:
                data = data[:stop]
            else:
                data = self._file.read(self._end, size)
        if isinstance(self._table, PlainTable) and len(self._table) + data.count(b"\n") > LARGE:
            self._widen()
        if not isinstance(self._table, PlainTable) and self._take_text(data):
            rows_end = self._end + len(data)
        else:
            rows = parse(data, self._end, self._storage._codec)
            if rows.cut:
                self._warn(rows, size)
            self._take(rows)
            rows_end = rows.end
            self._cut = rows.cut
        if not isinstance(self._table, PlainTable):
            self._crc = self._crc32c(data[: rows_end - self._end], self._crc)
        self._end = rows_end

    @staticmethod
    def _crc32c(data: bytes, seed: int) -> int:
        from lamina.storage.crc import crc32c  # with NumPy: only a large store comes here

        return crc32c(data, seed)

    def _take_text(self, data: bytes) -> bool:
        """Whether these rows, all of one kind and ended alike, went into the columns without a list per row."""
        ending = one_ending(data)
        if len(data) < _MANY or not data.endswith(b"\n") or not ending or b'"' in data:
            return False
        import numpy as np

        from lamina.points.columns import extended
        from lamina.tinyflux.columnar import group_of_text

        n = len(self._table)
        text = decoded(data, self._end, self._storage._codec)
        group = group_of_text(text, ending, n)
        if group is None:
            return False
        self.edition += 1
        self._table.extend([group])  # type: ignore[union-attr]
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
        starts = np.concatenate(([0], ends[:-1])) + self._end
        self._starts = extended(self._starts, n, starts)
        return True

    def _same_prefix(self) -> bool:
        """Whether bytes [0, _end) are those this table was made of."""
        if isinstance(self._table, PlainTable):
            return False
        crc = 0
        for start in range(0, self._end, _STEP):
            crc = self._crc32c(self._file.read(start, min(start + _STEP, self._end)), crc)
        return crc == self._crc

    def _warn(self, rows: Rows, size: int) -> None:
        number, path = len(self._table) + len(rows.rows), self._file.path
        if rows.torn:
            text = (
                f"{path}: the last {len(rows.torn)} bytes, from byte {rows.end}, are half a row (row {number + 1}, no "
                f"line end): not read, and cut off by the next insert: {rows.torn[:200]!r}"
            )
        elif number > 1:
            text = (
                f"{path}: the last row (row {number}, from byte {rows.starts[-1]}) has no line end. It was read as it "
                "stands; check its last value if the program that wrote it may have been stopped"
            )
        else:
            return
        warn(text, TornRowWarning, stacklevel=5)

    def _take(self, rows: Rows) -> None:
        """More rows at the end of the table."""
        n = len(self._table)
        path = self._file.path
        if not rows.rows:
            return
        self.edition += 1
        if isinstance(self._table, PlainTable):
            if n + len(rows.rows) <= LARGE:
                self._table.rows += points_of(rows, path, n)
                self._starts += rows.starts
                return
            self._widen()
        import numpy as np

        from lamina.points.columns import extended
        from lamina.tinyflux.columnar import groups_of_rows

        self._table.extend(groups_of_rows(rows, n, path, n))  # type: ignore[union-attr]
        self._starts = extended(self._starts, n, np.array(rows.starts, np.int64))

    def _widen(self) -> None:
        """The list becomes columns."""
        import numpy as np

        from lamina.points.columns import Columns
        from lamina.tinyflux.columnar import ColumnTable, groups_of_points

        points = self._table.rows  # type: ignore[union-attr]
        table = ColumnTable(Columns())
        table.extend(groups_of_points(points, np.arange(len(points))))
        self._table = table
        self._starts = np.array(self._starts, np.int64)
        self._crc = self._crc32c(self._file.read(0, self._end), 0)

    def insert(self, points: Sequence[Point], compact: bool) -> None:
        """One write, one sync. The rows come into the table when it is next asked for."""
        storage = self._storage
        data = storage.joined([point._serialize_to_list(compact) for point in points])
        self._file.append(data, bool(storage._flush_on_insert))

    def replace(self, edition: int, positions: Sequence[int], points: Sequence[Point]) -> bool:
        """Rows replaced. False: the file changed since that edition, nothing was done.

        OverflowError: an int beyond floats. UnicodeEncodeError: text the encoding cannot write.
        """
        rows = [point._serialize_to_list() for point in points]
        texts = [self._storage.joined([row]) for row in rows]
        # What the file will say, which is what everybody reads from now on.
        stored = [Point()._deserialize_from_list(row) for row in rows]
        with self._file.locked():
            table = self.table()
            if self.edition != edition:
                return False
            self._rewrite(table.replaced(positions, stored), positions, texts)
        return True

    def remove(self, edition: int, positions: Sequence[int]) -> bool:
        """Rows removed. False: the file changed since that edition, nothing was done."""
        with self._file.locked():
            table = self.table()
            if self.edition != edition:
                return False
            self._rewrite(table.removed(positions), positions, [b""] * len(positions))
        return True

    def _rewrite(self, table: Table, positions: Sequence[int], texts: list[bytes]) -> None:
        starts = self._moved(positions, texts)
        checksum = None if isinstance(table, PlainTable) else self._crc32c
        stamp, crc = self._file.rewrite(self._pieces(positions, texts), checksum)
        self._table = table
        self._starts = starts
        self._crc = crc
        self._end = stamp.size
        self._cut = self._cut and stamp.size > 0
        self._generation = self._file.generation
        self._writes = self._file.writes
        self.edition += 1
        self._saved = -1

    def _spans(self, positions: Sequence[int]) -> list[tuple[int, int]]:
        """First byte and byte after the last of the rows at these positions."""
        n = len(self._table)
        starts = self._starts
        return [
            (int(starts[position]), int(starts[position + 1]) if position + 1 < n else self._end)
            for position in map(int, positions)
        ]

    def _moved(self, positions: Sequence[int], texts: list[bytes]) -> Any:
        """Where the rows begin after the rewrite; an empty text means the row is gone."""
        n = len(self._table)
        if isinstance(self._starts, list):
            ends = [*self._starts[1:], self._end]
            lengths = [end - start for start, end in zip(self._starts, ends, strict=True)]
            for position, text in zip(positions, texts, strict=True):
                lengths[position] = len(text)
            lengths = [length for length in lengths if length]
            return list(accumulate(lengths, initial=0))[: len(lengths)]
        import numpy as np

        sizes = np.diff(self._starts[:n], append=self._end)
        sizes[positions] = [len(text) for text in texts]
        sizes = sizes[sizes > 0]
        return np.cumsum(sizes) - sizes

    def _pieces(self, positions: Sequence[int], texts: list[bytes]) -> Iterator[Piece]:
        copied = 0
        for (start, end), text in zip(self._spans(positions), texts, strict=True):
            if start > copied:
                yield copied, start
            if text:
                yield text
            copied = end
        if copied < self._end:
            yield copied, self._end

    def clear(self) -> None:
        """No points any more: the file is cut to nothing."""
        self._storage.reset()

    def close(self) -> None:
        """Writes the checkpoint, if there is to be one and much changed since the last. It is only a cache."""
        if self._checkpointed and not self._file.closed:
            with suppress(OSError, ValueError):
                self._save()

    def _save(self) -> None:
        table = self.table()
        # Parsing a sixteenth of the file at the next start costs little; writing all columns at each close would.
        if not isinstance(table, PlainTable) and not self._end * 15 // 16 <= self._saved <= self._end:
            from lamina.tinyflux.checkpoint import save

            save(self._file.path, table.columns, self._starts[: len(table)], self._end, self._crc)
            self._saved = self._end

    def _load(self, size: int) -> None:
        from lamina.tinyflux.csvfile import read_beside

        data = read_beside(self._file.path, SUFFIX)
        if data is None:
            return
        from lamina.tinyflux.checkpoint import load
        from lamina.tinyflux.columnar import ColumnTable

        loaded = load(data)
        if loaded is not None and loaded.end <= size:
            self._table = ColumnTable(loaded.columns)
            self._lengths, self._end, self._crc = loaded.lengths, loaded.end, loaded.crc
            self._saved = loaded.end
