"""Short tables of u64, packed: what records which version (and op) a few points or changes belong to.

Each column is its first number and the differences to the next, zigzagged and cut to the narrowest of 1, 2, 4, 8
bytes; the whole is put through zstd where that is smaller. Layout (little-endian): rows u32, columns u8, zstd u8,
zero u16; then, possibly compressed, per column: first u64, width u8, differences.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import zstd
from lamina.errors import Corrupt, UnknownFormat

_HEAD = struct.Struct("<IBBH")
_COLUMN = struct.Struct("<QB")
_WIDTHS = (1, 2, 4, 8)
_TYPES = {width: np.dtype(f"<u{width}") for width in _WIDTHS}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MASK, _HALF = (1 << 64) - 1, 1 << 63
_FEW = 32
"""Rows up to which Python's integers are faster than calls of NumPy."""
_ZSTD_FROM = 64
"""Bytes below which zstd never wins."""

Column = NDArray[np.uint64]


def pack(columns: Sequence[Column], *, plain: bool = False) -> bytes:
    """Columns of one length. `plain`: without zstd, for many tables that are read together: half of the time."""
    rows = len(columns[0])
    body = b"".join(_pack(column) for column in columns) if rows else b""
    small = zstd.encode(body) if len(body) >= _ZSTD_FROM and not plain else body
    packed = len(small) < len(body)
    return _HEAD.pack(rows, len(columns), packed, 0) + (small if packed else body)


def unpack(data: bytes, columns: int) -> list[Column]:
    """The columns of `pack`. Raises Corrupt, UnknownFormat."""
    found = [_unpack(first, narrow) for first, narrow in _parsed(data, columns)]
    return found or [np.empty(0, np.uint64) for _ in range(columns)]


def unpack_many(tables: Sequence[bytes], columns: int) -> tuple[list[Column], NDArray[np.int64]]:
    """The columns of several tables, those of each behind those of the one before, and how many rows each has. Raises
    Corrupt, UnknownFormat. Costs 6 µs a table of four columns, a quarter of what each alone would."""
    if len(tables) == 1:
        alone = unpack(tables[0], columns)
        return alone, np.array([len(alone[0])], np.int64)
    parsed = [_parsed(data, columns) for data in tables]
    filled = [table for table in parsed if table]
    rows = np.array([len(table[0][1]) + 1 if table else 0 for table in parsed], np.int64)
    if not filled:
        return [np.empty(0, np.uint64) for _ in range(columns)], rows
    firsts = np.cumsum(rows[rows > 0]) - rows[rows > 0]
    found = []
    for place in range(columns):
        pieces = [piece for table in filled for piece in (_GAP, table[place][1])]
        folded = np.concatenate(pieces, dtype=np.uint64)
        steps = (folded >> np.uint64(1)) ^ (np.uint64(0) - (folded & np.uint64(1)))
        steps[firsts] = np.array([table[place][0] for table in filled], np.uint64)
        sums = np.cumsum(steps, dtype=np.uint64)
        before = sums[firsts] - steps[firsts]  # each table counts from its own first number
        found.append(sums - np.repeat(before, rows[rows > 0]))
    return found, rows


_GAP = np.zeros(1, np.uint8)
"""In the place of a first number, which stands apart."""


def _parsed(data: bytes, columns: int) -> list[tuple[int, NDArray[np.unsignedinteger]]]:
    """The first number of each column, and the folded steps to the others; nothing of a table without rows."""
    try:
        rows, found, packed, zero = _HEAD.unpack_from(data)
    except struct.error as error:
        raise Corrupt(f"table of integers: {error}") from None
    if packed > 1 or zero:
        raise UnknownFormat(f"table of integers: flags {packed}, {zero}: this version reads 0..1, 0")
    if found != columns:
        raise Corrupt(f"table of integers: expected {columns} columns, found {found}")
    body, at = data, _HEAD.size
    if packed:
        body, at = zstd.decode_up_to(data[at:], columns * (_COLUMN.size + 8 * rows)), 0
    result: list[tuple[int, NDArray[np.unsignedinteger]]] = []
    for _ in range(columns if rows else 0):
        if at + _COLUMN.size > len(body):
            raise Corrupt(f"table of {rows} integers: ends at byte {len(body)}")
        first, width = _COLUMN.unpack_from(body, at)
        at += _COLUMN.size
        if width not in _WIDTHS or at + width * (rows - 1) > len(body):
            raise Corrupt(f"table of {rows} integers: width {width} at byte {at} of {len(body)}")
        result.append((first, np.frombuffer(body, _TYPES[width], rows - 1, at)))
        at += width * (rows - 1)
    return result


def _pack(column: Column) -> bytes:
    if len(column) <= _FEW:
        return _pack_few(column.tolist())
    steps = (column[1:] - column[:-1]).view(np.int64)  # wraps, and so does the sum
    folded = ((steps << 1) ^ (steps >> 63)).view(np.uint64)
    most = int(folded.max()) if len(folded) else 0
    width = next(w for w in _WIDTHS if most < 1 << (8 * w))
    return _COLUMN.pack(int(column[0]), width) + folded.astype(f"<u{width}").tobytes()


def _pack_few(numbers: list[int]) -> bytes:
    """The same, without NumPy: a quarter of the time for the dozen rows that the table of one leaf has."""
    steps = [(b - a) & _MASK for a, b in pairwise(numbers)]
    folded = [2 * step if step < _HALF else 2 * (_MASK - step) + 1 for step in steps]
    most = max(folded, default=0)
    width = next(w for w in _WIDTHS if most < 1 << (8 * w))
    return _COLUMN.pack(numbers[0], width) + struct.pack(f"<{len(folded)}{_CODES[width]}", *folded)


def _unpack(first: int, narrow: NDArray[np.unsignedinteger]) -> Column:
    folded = narrow.astype(np.uint64)
    steps = np.empty(len(folded) + 1, np.uint64)
    steps[0] = first
    steps[1:] = (folded >> np.uint64(1)) ^ (np.uint64(0) - (folded & np.uint64(1)))
    return np.cumsum(steps, dtype=np.uint64)
