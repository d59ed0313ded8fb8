"""The label table of a section and what its descriptions lead to (FORMAT.md, Labels)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt, UnknownFormat
from lamina.records.column import Column, Values, read_column
from lamina.records.labels import LabelColumn, LabelSet
from lamina.records.labelwrite import DECIMALS, EVERYWHERE, FLOATS, FRESH, GROUP_PAIRS, MOST_DIGITS, NO_NUMBERS
from lamina.records.numbers import Floats, numbers_of
from lamina.records.stored import Cursor, Stored, fetch
from lamina.records.texts import TEXT_BYTES, Texts, read_texts

if TYPE_CHECKING:
    from lamina.storage.blobs import Blobs


class Dense(NamedTuple):
    """Description of a name that has a column."""

    name: str
    flags: int
    values: Texts
    codes: Column
    numbers: Stored | Column | None  # None: no value is a number
    digits: int  # of a Column of decimals

    def read(self, blobs: Blobs, object: str) -> LabelColumn:
        """Costs about 0.1 ms for 65,536 rows with few values, in one batch of reads."""
        numbers = self.numbers.stored if isinstance(self.numbers, Column) else self.numbers
        wanted = [self.values.stored, self.codes.stored] + ([] if numbers is None else [numbers])
        found = fetch(blobs, object, wanted)
        values = self.values.decode(found[0], object)
        column = self.codes.decode(found[1])
        codes: NDArray[np.signedinteger]
        if self.flags & FRESH:
            codes = _appeared(column)
            low, high = int(codes.min()), int(codes.max())
        else:
            codes = column.codes(1, _type_of(len(values)))
            low, high = column.smallest() - 1, column.largest() - 1  # of the narrow numbers: a quarter of the bytes
        if low < -1 or high >= len(values):
            raise Corrupt(
                f"{object}: offset {self.codes.stored.offset}: codes of label {self.name!r:.80}: "
                f"expected -1..{len(values) - 1}, found {low}..{high}"
            )
        return LabelColumn(codes, values, self._numbers(found[2] if numbers is not None else b""))

    def _numbers(self, data: bytes) -> Floats:
        if self.numbers is None:
            return np.full(self.values.n, np.nan)
        if isinstance(self.numbers, Stored):
            return np.frombuffer(data, "<f8")
        whole = self.numbers.decode(data).all().view(np.int64)
        return whole / 10.0**self.digits

    @property
    def nbytes(self) -> int:
        return 4 * self.codes.n + 8 * self.values.n + self.values.nbytes


def _type_of(values: int) -> type[np.signedinteger]:
    """The narrowest that holds -1 and the place of each value: a column is read to be compared, byte for byte."""
    return np.int8 if values <= 1 << 7 else np.int16 if values <= 1 << 15 else np.int32


def _appeared(column: Values) -> NDArray[np.int32]:
    """From 0 absent, 1 the next value, else the value two below."""
    codes = column.codes(0).copy()
    fresh = codes == 1
    absent = codes == 0
    codes -= 2
    codes[fresh] = np.arange(np.count_nonzero(fresh), dtype=np.int32)
    codes[absent] = -1
    return codes


class Group:
    """Names that few rows have, in memory. Immutable but for what it finds out late."""

    def __init__(
        self,
        names: list[str],
        values: list[str],
        ends: NDArray[np.int64],
        rows: NDArray[np.int64],
        codes: NDArray[np.int32],
    ) -> None:
        self.names = names
        self.values = values
        self._ends = ends
        self.rows = rows
        self.codes = codes
        self.nbytes = rows.nbytes * 4 + codes.nbytes + ends.nbytes
        self.nbytes += sum(map(len, names)) + sum(map(len, values)) + TEXT_BYTES * (len(names) + len(values))

    def find(self, name: str) -> Rare | None:
        """None: no row has it."""
        i = bisect_left(self.names, name)
        if i == len(self.names) or self.names[i] != name:
            return None
        start = int(self._ends[i - 1]) if i else 0
        part = slice(start, int(self._ends[i]))
        used, codes = np.unique(self.codes[part], return_inverse=True)
        values = [self.values[code] for code in used.tolist()]
        return Rare(self.rows[part], codes.astype(np.int32), values, numbers_of(values))

    @cached_property
    def _by_row(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows ascending, and the name and the pair of each."""
        order = np.argsort(self.rows, kind="stable")
        return self.rows[order], self._ends.searchsorted(order, "right"), order

    def labels_of(self, index: NDArray[np.intp]) -> list[tuple[int, tuple[str, str]]]:
        """(place in `index`, label) of all labels that rows of `index` have here."""
        rows, names, order = self._by_row
        first, last = rows.searchsorted(index), rows.searchsorted(index, "right")
        found = []
        for i in np.flatnonzero(last > first).tolist():
            for j in range(int(first[i]), int(last[i])):
                label = self.names[int(names[j])], self.values[int(self.codes[int(order[j])])]
                found.append((i, label))
        return found


class Rare(NamedTuple):
    """A label of a group, apart from the others."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int32]
    values: list[str]
    numbers: Floats

    def column(self, n: int) -> LabelColumn:
        """Over all n rows: made anew at each call, or many such labels would fill the memory."""
        codes = np.full(n, -1, np.int32)
        codes[self.rows] = self.codes
        return LabelColumn(codes, self.values, self.numbers)

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.codes.nbytes + sum(map(len, self.values)) + (8 + TEXT_BYTES) * len(self.values)


class Shared(NamedTuple):
    """Description of a group."""

    first: str  # of its names
    names: Texts
    values: Texts
    counts: Column
    rows: Column
    codes: Column

    def read(self, blobs: Blobs, object: str, n: int) -> Group:
        columns = (self.counts, self.rows, self.codes)
        wanted = [self.names.stored, self.values.stored, *(column.stored for column in columns)]
        found = fetch(blobs, object, wanted)
        names, values = self.names.decode(found[0], object), self.values.decode(found[1], object)
        counts, rows, codes = (column.decode(data).all() for column, data in zip(columns, found[2:], strict=True))
        pairs = self.rows.n
        if int(counts.max()) > pairs or int(counts.sum()) != pairs:
            raise self._wrong(object, self.counts, f"{pairs} rows in all", counts)
        if int(rows.max()) >= n:
            raise self._wrong(object, self.rows, f"rows below {n}", rows)
        if int(codes.max()) >= len(values):
            raise self._wrong(object, self.codes, f"codes below {len(values)}", codes)
        if names[0] != self.first or names != sorted(names):
            raise Corrupt(f"{object}: offset {self.names.stored.offset}: names of a group that do not ascend")
        ends = np.cumsum(counts.astype(np.int64))
        return Group(names, values, ends, rows.astype(np.int64), codes.astype(np.int32))

    def _wrong(self, object: str, column: Column, expected: str, found: NDArray[np.uint64]) -> Corrupt:
        return Corrupt(
            f"{object}: offset {column.stored.offset}: group of labels from {self.first!r:.80}: "
            f"expected {expected}, found a column up to {int(found.max())}"
        )


class LabelTable:
    """Which labels a section has and where they are."""

    def __init__(self, data: bytes, what: str, n: int) -> None:
        cursor = Cursor(data, what)
        dense, shared = cursor.number(), cursor.number()
        self.dense: dict[str, Dense] = {}
        for _ in range(dense):
            entry = _read_dense(cursor, n)
            self.dense[entry.name] = entry
        self.groups: list[Shared] = [_read_shared(cursor, n) for _ in range(shared)]
        cursor.end()
        self._firsts = [group.first for group in self.groups]
        for names in (list(self.dense), self._firsts):
            if names != sorted(names):
                raise cursor.corrupt("names that ascend", names[:4])
        self.nbytes = 400 * dense + 800 * shared  # of Python objects

    def group_of(self, name: str) -> int | None:
        """Number of the group that has a name if any has it; None: none can."""
        i = bisect_left(self._firsts, name)
        if i < len(self._firsts) and self._firsts[i] == name:
            return i
        return i - 1 if i else None


def _read_dense(cursor: Cursor, n: int) -> Dense:
    name, flags = cursor.text(), cursor.byte()
    if flags > EVERYWHERE + FRESH:
        raise UnknownFormat(f"{cursor.what}: flags of a label {flags}: this version reads 0..3")
    values = read_texts(cursor, n)
    codes = read_column(cursor, n, n + 1)
    numbers: Stored | Column | None = None
    digits, kind = 0, cursor.byte()
    if kind == FLOATS:
        numbers = cursor.stored()
        if numbers.size != 8 * values.n:
            raise cursor.corrupt(f"{8 * values.n} bytes of numbers", numbers.size)
    elif kind == DECIMALS:
        digits = cursor.byte()
        if digits > MOST_DIGITS:
            raise cursor.corrupt(f"0..{MOST_DIGITS} decimals", digits)
        numbers = read_column(cursor, values.n)
    elif kind != NO_NUMBERS:
        raise UnknownFormat(f"{cursor.what}: numbers of form {kind}: this version reads 0..{DECIMALS}")
    return Dense(name, flags, values, codes, numbers, digits)


def _read_shared(cursor: Cursor, n: int) -> Shared:
    first, pairs = cursor.text(), cursor.number()
    names = read_texts(cursor, pairs)
    values = read_texts(cursor, pairs)
    if not names.n or not values.n or pairs > min(names.n * n, GROUP_PAIRS + n):
        raise cursor.corrupt(f"up to {n} rows of each of {names.n} names, {GROUP_PAIRS} and one name's in all", pairs)
    return Shared(
        first,
        names,
        values,
        read_column(cursor, names.n, n),
        read_column(cursor, pairs, n - 1),
        read_column(cursor, pairs, pairs),
    )


class PickedLabels(NamedTuple):
    """The labels of some rows, read but not yet put together."""

    rows: NDArray[np.intp]  # of the section
    dense: Sequence[tuple[str, LabelColumn]]  # by name; of these rows
    groups: Sequence[Group]

    def sets(self) -> list[LabelSet]:
        """Label sets in the order of the rows. Equal ones without grouped labels are one object. 0.4 µs a row."""
        codes = [column.codes.tolist() for _, column in self.dense]
        keys = list(zip(*codes, strict=True)) if codes else [()] * len(self.rows)
        sets = {key: self._set(key) for key in set(keys)}
        found = [sets[key] for key in keys]
        extra: dict[int, list[tuple[str, str]]] = {}
        for group in self.groups:
            for i, label in group.labels_of(self.rows):
                extra.setdefault(i, []).append(label)
        for i, more in extra.items():
            found[i] = tuple(sorted((*found[i], *more)))
        return found

    def _set(self, key: tuple[int, ...]) -> LabelSet:
        return tuple(
            (name, column.values[code]) for (name, column), code in zip(self.dense, key, strict=True) if code >= 0
        )
