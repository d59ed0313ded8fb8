"""The unsealed points of one measurement, in memory: columns that only grow.

Rows are in the order of their ops, so "up to seq S" is a prefix. A row is never taken out: it dies (`died`), and a
reader that looks as of an earlier seq still sees it. An update is the death of a row and the birth of another with the
same ordinal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.points.batch import Batch, Interned, Order, TagSet
from lamina.points.field import ABSENT, MIXED, TEXT, FieldColumn

U64 = NDArray[np.uint64]
_T = TypeVar("_T", bound=np.generic)
_V = TypeVar("_V")

FOREVER = (1 << 64) - 1
"""The seq at which a living row died."""

FIRST_ROWS = 16
ROW_BYTES = 40
"""What a row takes here besides its fields."""
FIELD_BYTES = 9
SET_BYTES = 160
"""Of Python objects per distinct tag set or text, besides its characters."""


class Rows(NamedTuple):
    """Some rows of a tail with all that is known of them."""

    batch: Batch
    ordinals: U64
    born: U64  # seq of the op that made each
    died: U64  # FOREVER: alive


class Tail:
    """Written under the publish lock only; readers take columns and their own length."""

    __slots__ = (
        "_order",
        "_orders",
        "_tagset",
        "_tagsets",
        "_texts",
        "_time",
        "bytes",
        "died",
        "fields",
        "ordinal",
        "seq",
    )

    def __init__(self) -> None:
        self._time = np.empty(FIRST_ROWS, np.int64)
        self._tagset = np.empty(FIRST_ROWS, np.int32)
        self._order = np.empty(FIRST_ROWS, np.int32)
        self.ordinal: U64 = np.empty(FIRST_ROWS, np.uint64)
        self.seq: U64 = np.empty(FIRST_ROWS, np.uint64)
        self.died: U64 = np.full(FIRST_ROWS, FOREVER, np.uint64)
        # Each column is replaced as a whole, so that a reader never sees new kinds with old bits. It may be shorter
        # than the tail: the rows behind do not have the key.
        self.fields: dict[str, FieldColumn] = {}
        self._texts: dict[str, Interned[str]] = {}
        self._tagsets: Interned[TagSet] = Interned()
        self._orders: Interned[Order] = Interned()
        self.bytes = 0
        """About what tag sets, orders and texts take, for the bound on tails."""

    def row_bytes(self) -> int:
        """What a row takes."""
        return ROW_BYTES + FIELD_BYTES * len(self.fields)

    def batch(self, n: int) -> Batch:
        """The first n rows, over the tail's own columns: later rows do not show."""
        # Copied in one step: a publisher may add a key meanwhile.
        fields = {key: _cut(column, n) for key, column in self.fields.copy().items()}
        return Batch(
            self._time[:n], self._tagset[:n], self._tagsets.values, self._order[:n], self._orders.values, fields
        )

    def take(self, rows: NDArray[np.intp], n: int) -> Rows:
        """These of the first n rows, in this order."""
        return Rows(self.batch(n).take(rows), self.ordinal[rows], self.seq[rows], self.died[rows])

    def write(self, n: int, batch: Batch, ordinals: U64, seq: int | U64) -> None:
        """Put points behind the first n rows. Repeatable; what was behind is gone."""
        if len(batch.tagsets) > batch.n or len(batch.orders) > batch.n:
            batch = batch.compact()
        end = n + batch.n
        self._reserve(end)
        self._time[n:end] = batch.time_us
        self.ordinal[n:end] = ordinals
        self.seq[n:end] = seq
        self._tagset[n:end] = self._interned(self._tagsets, batch.tagsets)[batch.tagset]
        self._order[n:end] = self._interned(self._orders, batch.orders)[batch.order]
        for key, column in batch.fields.items():
            if column.kinds is not None or column.kind != ABSENT:
                self._write_field(key, n, end, column)
            elif key in self.fields:
                self._write_absent(key, n, end)
        if len(self.fields) > len(batch.fields):
            for key in self.fields.keys() - batch.fields.keys():
                self._write_absent(key, n, end)

    def _interned(self, table: Interned[_V], values: Sequence[_V]) -> NDArray[np.int32]:
        known = len(table.values)
        numbers = table.all(values)
        for value in table.values[known:]:
            self.bytes += SET_BYTES + len(repr(value))
        return numbers

    def _reserve(self, rows: int) -> None:
        size = len(self._time)
        if rows > size:
            size = max(rows, 2 * size)
            self._time, self._tagset = _grown(self._time, size), _grown(self._tagset, size)
            self._order, self.ordinal = _grown(self._order, size), _grown(self.ordinal, size)
            self.seq = _grown(self.seq, size)
            died = np.full(size, FOREVER, np.uint64)
            died[: len(self.died)] = self.died
            self.died = died

    def _write_field(self, key: str, n: int, end: int, column: FieldColumn) -> None:
        old = self.fields.get(key)
        texts = self._texts.setdefault(key, Interned())
        bits = column.bits
        are = column.of_kind(TEXT)
        if are is not False and column.texts:
            place = self._interned(texts, column.texts)
            bits = place[bits].astype(np.int64) if are is True else np.where(are, place[np.where(are, bits, 0)], bits)
        if old is None:
            old = FieldColumn(column.kind if not n else ABSENT, None, np.zeros(0, np.int64), texts.values)
        room = self._room(old.bits, n, end)
        room[n:end] = bits
        kinds = old.kinds
        if kinds is not None or column.kinds is not None or old.kind != column.kind:
            kinds = self._kinds(old, n, end)
            kinds[n:end] = column.row_kinds()
        kind = old.kind if kinds is None else MIXED
        self.fields[key] = FieldColumn(kind, kinds, room, texts.values)

    def _write_absent(self, key: str, n: int, end: int) -> None:
        old = self.fields[key]
        kinds = self._kinds(old, n, min(end, len(old.bits)))
        kinds[n:end] = ABSENT
        bits = old.bits
        bits[n:end] = 0
        self.fields[key] = FieldColumn(MIXED, kinds, bits, old.texts)

    def _kinds(self, old: FieldColumn, n: int, end: int) -> NDArray[np.uint8]:
        """The kinds of the first n rows, with room up to `end`; what was never written is ABSENT."""
        if old.kinds is None:
            kinds = np.zeros(max(len(self._time), end), np.uint8)
            kinds[: min(n, len(old.bits))] = old.kind
            return kinds
        return self._room(old.kinds, n, end)

    def _room(self, column: NDArray[_T], n: int, end: int) -> NDArray[_T]:
        """The column with room up to `end`, zeros where nothing was written."""
        if end <= len(column):
            return column
        room = np.zeros(len(self._time), column.dtype)
        room[: min(n, len(column))] = column[:n]
        return room


def _cut(column: FieldColumn, n: int) -> FieldColumn:
    have = len(column.bits)
    if have >= n and column.kinds is None:
        return FieldColumn(column.kind, None, column.bits[:n], column.texts)
    kinds, bits = np.zeros(n, np.uint8), column.bits[:n]
    if column.kinds is None:
        kinds[:have] = column.kind
    elif len(column.kinds) >= n:
        kinds = column.kinds[:n]
    else:
        kinds[: len(column.kinds)] = column.kinds
    if have < n:
        bits = np.zeros(n, np.int64)
        bits[:have] = column.bits
    return FieldColumn(MIXED, kinds, bits, column.texts)


def _grown(array: NDArray[_T], size: int) -> NDArray[_T]:
    bigger: NDArray[_T] = np.empty(size, array.dtype)
    bigger[: len(array)] = array
    return bigger
