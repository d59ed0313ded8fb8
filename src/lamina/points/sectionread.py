"""Reads a sealed section: columns when they are asked for, whole or for some rows (FORMAT.md, Section).

What is read is verified block by block: damage of one column leaves the others readable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import PointSectionRow
from lamina.errors import Corrupt, UnknownFormat
from lamina.points.batch import Batch, Numbers, Order, TagSet
from lamina.points.deaths import read_deaths
from lamina.points.field import ABSENT, BOOL, FLOAT, INT, MIXED, TEXT, Bits, FieldColumn, Kinds, uniform
from lamina.points.packedtables import TableReader, named
from lamina.points.pagedread import PagedColumn, Read, Source
from lamina.points.section import Section
from lamina.points.sectionwrite import (
    BORN,
    CODES,
    COUNTS,
    DIED,
    FIELD,
    HEAD,
    INTS,
    KINDS,
    MOST_ROWS,
    NUMBERS,
    READ_FORMAT,
)
from lamina.points.stored import Stored, read_stored
from lamina.points.tail import FOREVER
from lamina.storage.address import ADDRESS, Addresses

U64 = NDArray[np.uint64]
Rows = NDArray[np.intp] | None
"""Row numbers; None: all."""
_T = TypeVar("_T")

_OWN_BYTES = 4096
"""About what the parsed directory takes."""


class FieldPart(NamedTuple):
    """Where one field of a section is."""

    kind: int
    kinds: PagedColumn | None
    numbers: PagedColumn | None
    ints: PagedColumn | None
    codes: PagedColumn | None
    texts: Stored
    text_count: int


class SectionReader:
    """One section as it was written. Immutable and thread-safe.

    Times, ordinals, tag sets and orders stay once they were read whole (`resident_bytes`), fields do not. Reading
    raises Corrupt (object, offset) and NotFound (the object is gone).
    """

    def __init__(self, row: PointSectionRow, read: Read) -> None:
        """Reads the directory. Raises Corrupt, UnknownFormat (written by a newer Lamina), NotFound."""
        [address] = np.frombuffer(row.place, ADDRESS)
        [directory] = read(np.frombuffer(row.place, ADDRESS))
        self._source = Source(row.segment, read)
        what = f"segment {row.segment}: directory of a section of points at offset {int(address['offset'])}"
        reader = TableReader(directory, what)
        need, self.write_format, n, flags = reader.unpack(HEAD)
        if need > READ_FORMAT or flags > BORN + DIED:
            raise UnknownFormat(f"{what}: format {need}, flags {flags}: this Lamina reads up to {READ_FORMAT}, 3")
        if not 0 < n <= MOST_ROWS or n != row.points:
            raise reader.corrupt(f"{row.points} of at most {MOST_ROWS} rows, not {n}")
        self.n: int = n
        """Rows, dead ones included; by time, equal times by ordinal."""
        self.time = PagedColumn(reader, n, self._source)
        if not self.time.ascends:
            raise reader.corrupt("times with the first of each page")
        self._ordinal = PagedColumn(reader, n, self._source)
        self._tagset = PagedColumn(reader, n, self._source)
        self._order = PagedColumn(reader, n, self._source)
        self._born = PagedColumn(reader, n, self._source) if flags & BORN else None
        self._died = PagedColumn(reader, n, self._source) if flags & DIED else None
        self._counts = reader.unpack(COUNTS)
        self._stored_sets, self._stored_orders = read_stored(reader), read_stored(reader)
        self.fields: dict[str, FieldPart] = {}
        for _ in range(self._counts[2]):
            key = reader.text()
            self.fields[key] = self._field_part(reader)
        reader.end()
        self._what = what
        self._kept: dict[str, Any] = {}  # dict.setdefault decides races; values are never replaced
        self._kept_bytes: dict[str, int] = {}

    def _field_part(self, reader: TableReader) -> FieldPart:
        kind, columns, texts = reader.unpack(FIELD)
        if not ABSENT < kind <= MIXED or columns > KINDS + NUMBERS + INTS + CODES:
            raise UnknownFormat(f"{reader.what}: byte {reader.at}: field of kind {kind}, columns {columns}")
        if (kind == MIXED) != bool(columns & KINDS):
            raise reader.corrupt(f"kinds of a field of kind {kind}")
        kinds, numbers, ints, codes = (
            PagedColumn(reader, self.n, self._source) if columns & flag else None
            for flag in (KINDS, NUMBERS, INTS, CODES)
        )
        if numbers is not None and not numbers.summarised:
            raise reader.corrupt("numbers with summaries")
        return FieldPart(kind, kinds, numbers, ints, codes, read_stored(reader), texts)

    def read(self, addresses: Addresses) -> list[bytes]:
        """Blocks of any segment."""
        return self._source.read(addresses)

    # Columns of every section

    @property
    def times(self) -> NDArray[np.int64]:
        """Ascending, µs."""
        return self._once("times", self.time.all)

    @property
    def ordinals(self) -> U64:
        return self._once("ordinals", lambda: self._ordinal.all().view(np.uint64))

    @property
    def tagset(self) -> Numbers:
        """Into `tagsets`."""
        return self._once("tagset", lambda: self._numbers(self._tagset, None, self._counts[0], "tag sets"))

    @property
    def order(self) -> Numbers:
        """Into `orders`."""
        return self._once("order", lambda: self._numbers(self._order, None, self._counts[1], "orders"))

    @property
    def born(self) -> U64 | None:
        """The seq of every row; None: not kept."""
        born = self._born
        return None if born is None else self._once("born", lambda: born.all().view(np.uint64))

    @property
    def died(self) -> U64 | None:
        """The seq at which every row had died when the section was written, FOREVER if it lived; None: all lived."""
        died = self._died
        return None if died is None else self._once("died", lambda: died.all().view(np.uint64))

    @property
    def tagsets(self) -> Sequence[TagSet]:
        return self._once("tagsets", self._read_tagsets)

    @property
    def orders(self) -> Sequence[Order]:
        return self._once("orders", self._read_orders)

    # Points

    def batch(self, rows: Rows = None) -> Batch:
        """These rows, in this order."""
        fields = {key: self.field(key, rows) for key in self.fields}
        return Batch(*self.frame(rows), fields)

    def frame(self, rows: Rows = None) -> tuple[NDArray[np.int64], Numbers, Sequence[TagSet], Numbers, Sequence[Order]]:
        """Everything of these rows but the fields, as a Batch has it."""
        times = self._of("times", rows, self.time)
        tagset = self._numbers_of("tagset", rows, self._tagset, self._counts[0], "tag sets")
        order = self._numbers_of("order", rows, self._order, self._counts[1], "orders")
        return times, tagset, self.tagsets, order, self.orders

    def ordinals_of(self, rows: Rows) -> U64:
        """Ordinals of these rows."""
        return self.ordinals if rows is None else self._of("ordinals", rows, self._ordinal).view(np.uint64)

    def field(self, key: str, rows: Rows = None) -> FieldColumn:
        """One field of these rows; ABSENT throughout if no row has it."""
        part = self.fields.get(key)
        if part is None:
            return FieldColumn(ABSENT, None, np.zeros(self.n if rows is None else len(rows), np.int64))
        if part.kinds is None:
            column = self._uniform(key, part, rows)
        else:
            kinds = _values(part.kinds, rows).astype(np.uint8)
            if int(kinds.max(initial=0)) >= MIXED:
                raise Corrupt(f"{self._what}: kinds of field {key!r}: found {int(kinds.max())}")
            column = self._mixed(part, kinds, rows)
        are = column.of_kind(TEXT)
        if are is False:
            return column
        texts = self._texts(key, part)
        codes = column.bits if are is True else column.bits[are]
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(texts):
            raise Corrupt(f"{self._what}: field {key!r}: expected texts below {len(texts)}, found {int(codes.max())}")
        return column._replace(texts=texts)

    def _uniform(self, key: str, part: FieldPart, rows: Rows) -> FieldColumn:
        stored = part.codes if part.kind in (BOOL, TEXT) else part.numbers
        if stored is None:
            if part.kind in (FLOAT, INT, BOOL, TEXT):
                raise Corrupt(f"{self._what}: field {key!r} of kind {part.kind} has no values")
            return FieldColumn(part.kind, None, np.zeros(self.n if rows is None else len(rows), np.int64))
        return FieldColumn(part.kind, None, _values(stored, rows).view(np.int64))

    def _mixed(self, part: FieldPart, kinds: Kinds, rows: Rows) -> FieldColumn:
        bits: Bits = np.zeros(len(kinds), np.int64)
        if part.numbers is not None:
            numbers = _values(part.numbers, rows)
            floats, ints = kinds == FLOAT, kinds == INT
            bits[floats] = numbers.view(np.int64)[floats]
            exact = numbers if part.ints is None else _values(part.ints, rows)
            bits[ints] = exact[ints].astype(np.int64)
        if part.codes is not None:
            coded = (kinds == BOOL) | (kinds == TEXT)
            bits[coded] = _values(part.codes, rows)[coded]
        return uniform(kinds, bits)

    def numbers(self, key: str, rows: Rows = None) -> NDArray[np.float64]:
        """The floats and ints of one field as float64, NaN where a row has none. Reads one or two columns."""
        part = self.fields.get(key)
        if part is None or part.numbers is None:
            return np.full(self.n if rows is None else len(rows), np.nan)
        values = _values(part.numbers, rows).astype(np.float64, copy=False)
        if part.kinds is not None:
            kinds = _values(part.kinds, rows)
            values[(kinds != FLOAT) & (kinds != INT)] = np.nan
        return values

    # What stays

    @property
    def resident_bytes(self) -> int:
        """About what all that was read and kept takes in memory."""
        return _OWN_BYTES + sum(self._kept_bytes.copy().values())

    def _of(self, name: str, rows: Rows, column: PagedColumn) -> NDArray[Any]:
        if rows is None or name in self._kept or 2 * len(rows) > self.n:
            whole: NDArray[Any] = getattr(self, name)
            return whole if rows is None else whole[rows]
        return column.take(rows)

    def _numbers_of(self, name: str, rows: Rows, column: PagedColumn, size: int, what: str) -> Numbers:
        if rows is None or name in self._kept or 2 * len(rows) > self.n:
            whole: Numbers = getattr(self, name)
            return whole if rows is None else whole[rows]
        return self._numbers(column, rows, size, what)

    def _numbers(self, column: PagedColumn, rows: Rows, size: int, what: str) -> Numbers:
        found = _values(column, rows)
        if len(found) and not 0 <= int(found.min()) <= int(found.max()) < size:
            raise Corrupt(f"{self._what}: expected {what} below {size}, found {int(found.min())}..{int(found.max())}")
        return found.astype(np.int32)

    def _read_tagsets(self) -> list[TagSet]:
        reader = TableReader(self._stored_sets.read(self._source), f"{self._what}: tag sets")
        found = reader.tagsets(self._counts[0])
        reader.end()
        return found

    def _read_orders(self) -> list[Order]:
        reader = TableReader(self._stored_orders.read(self._source), f"{self._what}: orders of fields")
        found = named(reader.orders(self._counts[1]), list(self.fields), reader)
        reader.end()
        return found

    def _texts(self, key: str, part: FieldPart) -> list[str]:
        def read() -> list[str]:
            reader = TableReader(part.texts.read(self._source), f"{self._what}: texts of field {key!r}")
            found = reader.texts(part.text_count)
            reader.end()
            return found

        return self._once(f"texts {key}", read)

    def _once(self, name: str, read: Callable[[], _T]) -> _T:
        try:
            return cast("_T", self._kept[name])
        except KeyError:
            value = read()
            self._kept_bytes[name] = value.nbytes if isinstance(value, np.ndarray) else 200 * len(cast("Any", value))
            return cast("_T", self._kept.setdefault(name, value))


def _values(column: PagedColumn, rows: Rows) -> NDArray[Any]:
    return column.all() if rows is None else column.take(rows)


class OpenSection:
    """A section as it is now: what was written, and who died since. Immutable; made anew for every Section."""

    __slots__ = ("_died", "_looked", "reader", "section")

    def __init__(self, section: Section, reader: SectionReader) -> None:
        self.section = section
        self.reader = reader
        self._looked = False
        self._died: U64 | None = None

    @property
    def ordinals(self) -> U64:
        return self.reader.ordinals

    @property
    def born(self) -> U64 | None:
        return self.reader.born

    @property
    def died(self) -> U64 | None:
        """The seq at which each row died, FOREVER if it lives; None: all live."""
        if not self._looked:
            self._died = self._merged()
            self._looked = True
        return self._died

    def _merged(self) -> U64 | None:
        section, row = self.section, self.section.row
        written = self.reader.died
        if written is None and not row.deaths and not len(section.fresh) and not section.dead:
            return None
        died = np.full(self.reader.n, FOREVER, np.uint64) if written is None else written.copy()
        if row.deaths:
            [data] = self.reader.read(np.frombuffer(row.deaths, ADDRESS))
            rows, seqs = read_deaths(data)
            if len(rows) and int(rows[-1]) >= self.reader.n:
                raise Corrupt(f"segment {row.segment}: deaths of row {int(rows[-1])} of {self.reader.n}")
            died[rows] = seqs
        died[section.fresh] = section.fresh_seqs
        if section.dead:
            died[died == np.uint64(FOREVER)] = section.dead
        return died

    def living(self, seq: int) -> NDArray[np.bool_] | None:
        """Which rows live as of a seq; None: all."""
        born, died = self.born, self.died
        late = self.section.row.max_seq > seq
        if late and born is None:
            # Not kept because no snapshot lies between them: older ones see none of it.
            return np.zeros(self.reader.n, np.bool_)
        alive = None if died is None else died > np.uint64(seq)
        if late and born is not None:
            there = born <= np.uint64(seq)
            alive = there if alive is None else alive & there
        return None if alive is None or alive.all() else alive
