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
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MASK, _HALF = (1 << 64) - 1, 1 << 63
_FEW = 32
"""Rows up to which Python's integers are faster than calls of NumPy."""
_ZSTD_FROM = 64
"""Bytes below which zstd never wins."""

Column = NDArray[np.uint64]


def pack(columns: Sequence[Column]) -> bytes:
    """Columns of one length."""
    rows = len(columns[0])
    body = b"".join(_pack(column) for column in columns) if rows else b""
    small = zstd.encode(body) if len(body) >= _ZSTD_FROM else body
    packed = len(small) < len(body)
    return _HEAD.pack(rows, len(columns), packed, 0) + (small if packed else body)


def unpack(data: bytes, columns: int) -> list[Column]:
    """The columns of `pack`. Raises Corrupt, UnknownFormat."""
    try:
        rows, found, packed, zero = _HEAD.unpack_from(data)
    except struct.error as error:
        raise Corrupt(f"table of integers: {error}") from None
    if packed > 1 or zero:
        raise UnknownFormat(f"table of integers: flags {packed}, {zero}: this version reads 0..1, 0")
    if found != columns:
        raise Corrupt(f"table of integers: expected {columns} columns, found {found}")
    body = data[_HEAD.size :]
    if packed:
        body = zstd.decode_up_to(body, columns * (_COLUMN.size + 8 * rows))
    if not rows:
        return [np.empty(0, np.uint64) for _ in range(columns)]
    result, at = [], 0
    for _ in range(columns):
        if at + _COLUMN.size > len(body):
            raise Corrupt(f"table of {rows} integers: ends at byte {len(body)}")
        first, width = _COLUMN.unpack_from(body, at)
        at += _COLUMN.size
        if width not in _WIDTHS or at + width * (rows - 1) > len(body):
            raise Corrupt(f"table of {rows} integers: width {width} at byte {at} of {len(body)}")
        result.append(_unpack(first, np.frombuffer(body, f"<u{width}", rows - 1, at), rows))
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


def _unpack(first: int, narrow: NDArray[np.unsignedinteger], rows: int) -> Column:
    folded = narrow.astype(np.uint64)
    steps = np.empty(rows, np.uint64)
    steps[0] = first
    steps[1:] = (folded >> np.uint64(1)) ^ (np.uint64(0) - (folded & np.uint64(1)))
    return np.cumsum(steps, dtype=np.uint64)
