"""A sealed section of an entry: which records it holds, when, how large, where, with which labels (FORMAT.md).

Columns are read when they are asked for, each verified by itself: damage of one leaves the others readable.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt, UnknownFormat
from lamina.records.column import U64, Column, Index, Narrow, Values, read_column
from lamina.records.indexwrite import BORN, DIED, FOLLOWING, HEAD, MOST_ROWS, READ_FORMAT, STORED
from lamina.records.labelread import Dense, Group, LabelTable, PickedLabels, Rare
from lamina.records.labels import LabelColumn, LabelSet, LabelStats
from lamina.records.place import footprints, lead
from lamina.records.row import ROW, Rows
from lamina.records.stats import Statistics, read_stats
from lamina.records.stored import Cursor, fetch
from lamina.records.texts import Texts, read_texts

if TYPE_CHECKING:
    from lamina.storage.blobs import Blobs

_T = TypeVar("_T")
_U32 = (1 << 32) - 1
_FORMATS = struct.Struct("<HH")
_OWN_BYTES = 4096
"""About what the parsed directory takes."""


class IndexSection:
    """One section of an index segment, by its directory. Immutable and thread-safe.

    What was read stays until the section is dropped (`resident_bytes`); two threads may read the same column at once,
    both get the one that was kept. Reading raises Corrupt (object, offset) and NotFound (the object is gone).
    """

    def __init__(self, blobs: Blobs, name: str, directory: bytes) -> None:
        """Raises Corrupt, UnknownFormat (written by a newer Lamina). Reads nothing."""
        self._blobs = blobs
        self._name = name
        what = f"{name}: directory of a section"
        cursor = Cursor(directory, what)
        need, _ = _FORMATS.unpack_from(directory) if len(directory) >= _FORMATS.size else (0, 0)
        if need > READ_FORMAT:
            raise UnknownFormat(f"{what}: format {need}, this Lamina reads up to {READ_FORMAT}: use a newer one")
        _, self.write_format, n, t_min, t_max, min_seq, max_seq, flags = cursor.unpack(HEAD)
        if not 0 < n <= MOST_ROWS:
            raise cursor.corrupt(f"1..{MOST_ROWS} rows", n)
        if t_min > t_max or min_seq > max_seq:
            raise cursor.corrupt("ranges that ascend", (t_min, t_max, min_seq, max_seq))
        if flags > BORN + DIED + FOLLOWING + STORED:
            raise UnknownFormat(f"{what}: flags {flags}: this version reads 0..15")
        self.n: int = n
        """Rows, dead ones included."""
        self.t_min: int = t_min
        self.t_max: int = t_max
        """Times of the first and last row, µs, both inclusive."""
        self.min_seq: int = min_seq
        self.max_seq: int = max_seq
        """Smallest and largest seq at which a row was born, both inclusive."""
        columns = {"time": read_column(cursor, n), "size": read_column(cursor, n)}
        if flags & STORED:
            columns["stored"] = read_column(cursor, n)
        columns["file"] = read_column(cursor, n, _U32)
        columns["where"] = read_column(cursor, n)
        if flags & FOLLOWING:
            starts = cursor.number()
            if not 0 < starts <= n:
                raise cursor.corrupt(f"1..{n} payload files", starts)
            columns["starts"] = read_column(cursor, starts)
        for field in ("crc", "meta", "codec", "type"):
            columns[field] = read_column(cursor, n, _U32)
        self._types: Texts = read_texts(cursor, n)
        if flags & BORN:
            columns["born"] = read_column(cursor, n)
        if flags & DIED:
            columns["died"] = read_column(cursor, n)
        self._columns: dict[str, Column] = columns
        self._statistics: Statistics = read_stats(cursor)
        self._table_place = cursor.stored()
        cursor.end()
        self._fields = tuple(field for field in columns if field not in ("died", "starts"))
        self._kept: dict[object, Any] = {}  # dict.setdefault decides races; values are never replaced
        self._kept_bytes: dict[object, int] = {}

    # Times and rows

    @property
    def times(self) -> U64:
        """Of every row, µs, ascending; equal times only where rows have died."""
        return self._once("times", self._read_times)

    @property
    def born(self) -> U64 | None:
        """The seq of every row; None: not kept, no snapshot tells them apart."""
        return self._once(("whole", "born"), lambda: self._whole("born"))

    @property
    def died(self) -> U64 | None:
        """The seq at which every row had died when the section was written, FOREVER if it lived; None: all lived."""
        return self._once(("whole", "died"), lambda: self._whole("died"))

    @property
    def types(self) -> Sequence[str]:
        """Content types; `type` of a row is the place in here."""
        return self._once("types", self._read_types)

    def rows(self, start: int, stop: int) -> Rows:
        """The rows start <= i < stop, as by `take`."""
        return self._fill(slice(start, stop), max(min(stop, self.n) - start, 0))

    def take(self, index: NDArray[np.intp]) -> Rows:
        """These rows, in this order; a copy. `set` is 0; `seq` is max_seq where `born` is None; `type` indexes `types`.

        Costs 20 µs for 80 rows once the columns are there, which takes one batch of reads.
        """
        return self._fill(index, len(index))

    def field(self, name: str, index: Index) -> U64:
        """One field of some rows, in this order, without making rows of them. `name`: of a ROW but `seq` and `set`."""
        self._load(self._fields)
        if name == "where":
            return cast("U64", np.asarray(self._spread(self._where(index), index), np.uint64))
        if name == "stored" and "stored" not in self._columns:
            name = "size"
        return np.asarray(self._spread(self._kept[name].take(index), index), np.uint64)

    def _spread(self, found: Narrow | int, index: Index) -> Narrow:
        if not isinstance(found, int):
            return found
        return np.full(len(range(*index.indices(self.n))) if isinstance(index, slice) else len(index), found, np.uint64)

    def _fill(self, index: Index, count: int) -> Rows:
        self._load(self._fields)
        kept = self._kept
        found = np.zeros(count, ROW)
        for field in ("time", "size", "file", "crc", "meta", "codec", "type"):
            found[field] = kept[field].take(index)
        found["stored"] = kept["stored"].take(index) if "stored" in self._columns else found["size"]
        found["seq"] = kept["born"].take(index) if "born" in self._columns else self.max_seq
        found["where"] = self._where(index)
        return found

    def _where(self, index: Index) -> Any:
        if "starts" not in self._columns:
            return self._kept["where"].take(index)
        return self._once("places", self._lead)[index]

    def _lead(self) -> U64:
        self._load(("file", "where", "starts", "size", *(("stored",) if "stored" in self._columns else ())))
        kept = self._kept
        sizes = kept["size"].all()
        stored = kept["stored"].all() if "stored" in self._columns else sizes
        found = lead(kept["where"].all(), kept["starts"].all(), kept["file"].all(), footprints(sizes, stored))
        if found is None:
            raise self._corrupt("starts", f"a start for each payload file, found {kept['starts'].n}")
        return found

    def _read_times(self) -> U64:
        self._load(("time",))
        times = cast("U64", self._kept["time"].all())
        if int(times[0]) != self.t_min or int(times[-1]) != self.t_max or not (times[1:] >= times[:-1]).all():
            raise self._corrupt("time", f"times that ascend from {self.t_min} to {self.t_max}")
        return times

    def _whole(self, field: str) -> U64 | None:
        if field not in self._columns:
            return None
        self._load((field,))
        return cast("U64", self._kept[field].all())

    def _read_types(self) -> list[str]:
        (data,) = fetch(self._blobs, self._name, [self._types.stored])
        return self._types.decode(data, self._name)

    def _load(self, fields: Sequence[str]) -> None:
        """Columns into `_kept`, by one batch of reads."""
        missing = [field for field in fields if field not in self._kept]
        if not missing:
            return
        columns = [self._columns[field] for field in missing]
        found = fetch(self._blobs, self._name, [column.stored for column in columns])
        for field, column, data in zip(missing, columns, found, strict=True):
            values = column.decode(data)
            if field == "type" and values.largest() >= self._types.n:
                raise self._corrupt("type", f"types below {self._types.n}, found {values.largest()}")
            self._keep(field, values)

    # Labels

    @property
    def label_names(self) -> Sequence[str]:
        """Every label that a row has, ascending. Reads the names that few rows have, too."""
        return self._once("names", self._read_names)

    def label(self, name: str) -> LabelColumn | None:
        """The whole column of a label, with `numbers`; None: no row has it.

        Costs 0.1 to 0.2 ms for 65,536 rows with few values when first read."""
        dense = self._table.dense.get(name)
        if dense is not None:
            return self._dense(dense)
        rare = self._rare(name)
        return None if rare is None else rare.column(self.n)

    def label_sets(self, index: NDArray[np.intp]) -> list[LabelSet]:
        """The labels of these rows, in this order. Equal ones are mostly the same object.

        Costs 40 µs for 80 rows with four labels once all columns of labels are there.
        """
        return self.pick_labels(index).sets()

    def pick_labels(self, index: NDArray[np.intp]) -> PickedLabels:
        """The labels of these rows, read now and put together when somebody asks: a copy that keeps no column."""
        columns = [(name, self._dense(entry)) for name, entry in self._table.dense.items()]
        dense = [(name, LabelColumn(column.codes[index], column.values)) for name, column in columns]
        return PickedLabels(index, dense, [self._group(i) for i in range(len(self._table.groups))])

    def stats(self, name: str) -> LabelStats | None:
        """What is known of a label without any read; None: nothing is. Of a label that surely no row has: no values."""
        return self._statistics.of(name)

    @property
    def _table(self) -> LabelTable:
        return self._once("table", self._read_table)

    def _read_table(self) -> LabelTable:
        (data,) = fetch(self._blobs, self._name, [self._table_place])
        return LabelTable(data, f"{self._name}: label table at offset {self._table_place.offset}", self.n)

    def _dense(self, entry: Dense) -> LabelColumn:
        return self._once(("label", entry.name), lambda: entry.read(self._blobs, self._name))

    def _group(self, i: int) -> Group:
        return self._once(("group", i), lambda: self._table.groups[i].read(self._blobs, self._name, self.n))

    def _rare(self, name: str) -> Rare | None:
        key = "rare", name
        found: Rare | None = self._kept.get(key)
        if found is None and (i := self._table.group_of(name)) is not None:
            found = self._group(i).find(name)
            if found is not None:  # names that nobody has are asked for without end
                found = self._keep(key, found)
        return found

    def _read_names(self) -> list[str]:
        table = self._table
        rare = [name for i in range(len(table.groups)) for name in self._group(i).names]
        return sorted([*table.dense, *rare]) if rare else list(table.dense)

    # What stays

    @property
    def resident_bytes(self) -> int:
        """About what all that was read takes in memory."""
        return _OWN_BYTES + sum(self._kept_bytes.copy().values())

    def _once(self, key: object, read: Callable[[], _T]) -> _T:
        try:
            return cast("_T", self._kept[key])
        except KeyError:
            return self._keep(key, read())

    def _keep(self, key: object, value: _T) -> _T:
        self._kept_bytes[key] = _bytes_of(value)
        return cast("_T", self._kept.setdefault(key, value))

    def _corrupt(self, field: str, expected: str) -> Corrupt:
        offset = self._columns[field].stored.offset
        return Corrupt(f"{self._name}: offset {offset}: column {field}: expected {expected}")


def _bytes_of(value: object) -> int:
    """About what a value takes in memory."""
    if isinstance(value, LabelColumn):
        numbers = 0 if value.numbers is None else value.numbers.nbytes
        return value.codes.nbytes + numbers + sum(map(len, value.values)) + 60 * len(value.values)
    if isinstance(value, list):
        return sum(map(len, value)) + 60 * len(value)
    if isinstance(value, np.ndarray):
        return value.nbytes if value.base is None else 0  # a view of what is kept under another key
    if isinstance(value, Values | LabelTable | Group | Rare):
        return value.nbytes
    return 64
