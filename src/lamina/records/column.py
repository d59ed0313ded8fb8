"""Columns of u64: what is alike in them is written once, the rest as narrow as it goes (FORMAT.md).

All sums are modulo 2**64, so a column of any numbers comes back, and signed ones pass as u64.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lamina.errors import UnknownFormat
from lamina.records.stored import Cursor, Stored, store

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

U64: TypeAlias = NDArray[np.uint64]
Narrow: TypeAlias = NDArray[np.unsignedinteger]
Codes: TypeAlias = NDArray[np.signedinteger]
Index: TypeAlias = NDArray[np.intp] | slice

NARROW, STEPS = 0, 1
"""Forms. value[i] = base + stored[i]; value[0] = base, value[i] = value[i - 1] + step + stored[i - 1]."""

WIDTHS = (0, 1, 2, 4, 8, 16, 32, 64)
"""Bits of a stored number; below 8 several share a byte, the first in its lowest bits. 0: nothing is stored."""

FEW_ROWS = 64
"""Rows up to which Python's integers are faster than calls of NumPy."""

_HEAD = struct.Struct("<BBQ")
_STEP = struct.Struct("<Q")
_MASK = (1 << 64) - 1


def write_column(
    out: SegmentWriter, values: U64, *, signed: bool = False, steps: bool = False, compress: bool = True
) -> bytes:
    """Write a column and return its description.

    `signed`: the numbers are i64 in disguise, which is narrower around zero. `steps`: try differences too.
    """
    if 0 < len(values) <= FEW_ROWS:
        form, bits, base, step, few = _narrowest_few(values.tolist(), signed, steps)
        data = _pack_few(few, bits) if bits else b""
    else:
        form, bits, base, step, small = _narrowest(values, signed, steps)
        data = _pack(small, bits) if bits else b""
    head = _HEAD.pack(form, bits, base)
    if form == STEPS:
        head += _STEP.pack(step)
    return head + store(out, data, compress=compress) if bits else head


def bits_of(values: U64, *, signed: bool = False, steps: bool = False) -> int:
    """Width at which write_column would write it."""
    if 0 < len(values) <= FEW_ROWS:
        return _narrowest_few(values.tolist(), signed, steps)[1]
    return _narrowest(values, signed, steps)[1]


def _narrowest(values: U64, signed: bool, steps: bool) -> tuple[int, int, int, int, U64]:
    if not len(values):
        return NARROW, 0, 0, 0, values
    bits, base = _span(values, signed)
    if steps and bits:
        differences = values[1:] - values[:-1]
        step_bits, step = _span(differences, True)
        if step_bits < bits:
            return STEPS, step_bits, int(values[0]), step, differences - np.uint64(step)
    return NARROW, bits, base, 0, values - np.uint64(base) if base else values


def _span(values: U64, signed: bool) -> tuple[int, int]:
    """Bits that the differences to a base take, and the base: the smallest, or 0 where that is as narrow."""
    seen = values.view(np.int64) if signed else values
    low, high = int(seen.min()), int(seen.max())
    bits = _width(high - low)
    if low >= 0 and _width(high) == bits:
        low = 0
    return bits, low & _MASK


def _width(number: int) -> int:
    return _WIDTH_OF[number.bit_length()]


_WIDTH_OF = [next(width for width in WIDTHS if needed <= width) for needed in range(65)]


def _pack(small: U64, bits: int) -> bytes:
    if bits >= 8:
        return small.astype(f"<u{bits // 8}").tobytes()
    few = small.astype(np.uint8)
    if bits == 1:
        return np.packbits(few, bitorder="little").tobytes()
    share = 8 // bits
    padded = np.zeros(-(-len(few) // share) * share, np.uint8)
    padded[: len(few)] = few
    packed = padded[0::share].copy()
    for i in range(1, share):
        packed |= padded[i::share] << np.uint8(i * bits)
    return packed.tobytes()


def _narrowest_few(values: list[int], signed: bool, steps: bool) -> tuple[int, int, int, int, list[int]]:
    """`_narrowest` by Python's integers: a sixth of the time for the dozen rows of a small tail."""
    bits, base = _span_few(values, signed)
    if steps and bits:
        differences = [(b - a) & _MASK for a, b in pairwise(values)]
        step_bits, step = _span_few(differences, True)
        if step_bits < bits:
            return STEPS, step_bits, values[0], step, [(value - step) & _MASK for value in differences]
    return NARROW, bits, base, 0, [(value - base) & _MASK for value in values]


def _span_few(values: list[int], signed: bool) -> tuple[int, int]:
    seen = [value - (value >> 63 << 64) for value in values] if signed else values
    low, high = min(seen), max(seen)
    bits = _width(high - low)
    if low >= 0 and _width(high) == bits:
        low = 0
    return bits, low & _MASK


def _pack_few(small: list[int], bits: int) -> bytes:
    if bits >= 8:
        return struct.pack(f"<{len(small)}{_CODES[bits]}", *small)
    whole = 0
    for i, value in enumerate(small):
        whole |= value << (i * bits)
    return whole.to_bytes((len(small) * bits + 7) // 8, "little")


_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


def _unpack(data: bytes, n: int, bits: int) -> Narrow:
    if bits >= 8:
        return np.frombuffer(data, f"<u{bits // 8}", n)
    packed = np.frombuffer(data, np.uint8)
    if bits == 1:
        return np.unpackbits(packed, count=n, bitorder="little")
    share = 8 // bits
    few = np.empty(len(packed) * share, np.uint8)
    mask = np.uint8((1 << bits) - 1)
    for i in range(share):
        few[i::share] = (packed >> np.uint8(i * bits)) & mask
    return few[:n]


class Values:
    """A column in memory, as narrow as it was stored where that allows to look up single rows. Immutable."""

    __slots__ = ("_base", "_narrow", "_step", "n")

    def __init__(self, n: int, base: int, step: int, narrow: Narrow | None) -> None:
        self.n = n
        self._base = np.uint64(base)
        self._step = np.uint64(step)
        self._narrow = narrow

    @property
    def nbytes(self) -> int:
        return 0 if self._narrow is None else self._narrow.nbytes

    def take(self, index: Index) -> Narrow | int:
        """The values of some rows: an array, or the one that all have."""
        if self._narrow is not None:
            found: Narrow = self._narrow[index]
            return found + self._base if self._base else found
        if not self._step:
            return int(self._base)
        if isinstance(index, slice):
            steps = np.arange(*index.indices(self.n), dtype=np.uint64)
        else:
            steps = index.astype(np.uint64)
        steps *= self._step  # in place: memory touched for the first time is most of what this costs
        steps += self._base
        return steps

    def all(self) -> U64:
        """The whole column; the caller's own unless it is u64 as stored."""
        found = self.take(slice(None))
        if isinstance(found, int):
            return np.full(self.n, found, np.uint64)
        return found.astype(np.uint64, copy=False)

    def codes(self, less: int, type: type[np.signedinteger] = np.int32) -> Codes:
        """The whole column less a number, of a type; what does not fit wraps. Not to be changed: where all are alike it
        is one number that stands for all."""
        wrapped = _wrapped(int(self._base) - less, type)
        if self._narrow is None:
            if not self._step:
                return np.broadcast_to(wrapped, self.n)
            rising: Codes = self.all().astype(type) - _wrapped(less, type)
            return rising
        if self._narrow.dtype.itemsize == wrapped.itemsize:  # the same bits, signed: nothing is widened
            same: Codes = self._narrow.view(type) + wrapped
            return same
        widened: Codes = np.add(self._narrow, wrapped, dtype=type, casting="unsafe")
        return widened

    def smallest(self) -> int:
        """Of one row at least; wraps as the column does."""
        if self._narrow is None:
            return int(self.all().min()) if self._step else int(self._base)
        return (int(self._narrow.min()) + int(self._base)) & _MASK

    def largest(self) -> int:
        """0 of none; wraps as the column does."""
        if self._narrow is None:
            return int(self.all().max(initial=0)) if self._step else int(self._base)
        return (int(self._narrow.max(initial=0)) + int(self._base)) & _MASK


def _wrapped(number: int, type: type[np.signedinteger]) -> np.signedinteger:
    found: np.signedinteger = np.uint64(number & _MASK).astype(type)
    return found


class Column(NamedTuple):
    """What a description says of a column."""

    n: int
    form: int
    bits: int
    base: int
    step: int
    stored: Stored  # of no bytes where nothing is stored

    def decode(self, data: bytes) -> Values:
        """From the bytes at `stored`. Costs 1 µs, and 1 ns a row for STEPS."""
        if not self.bits:
            return Values(self.n, self.base, self.step, None)
        if self.form == NARROW:
            return Values(self.n, self.base, 0, _unpack(data, self.n, self.bits))
        full = np.empty(self.n, np.uint64)
        full[0] = self.base
        np.add(_unpack(data, self.n - 1, self.bits), np.uint64(self.step), out=full[1:])
        return Values(self.n, 0, 0, np.cumsum(full, out=full))


_NOTHING = Stored(0, b"", 0, 0, 0, False)


def read_column(cursor: Cursor, n: int, limit: int = _MASK) -> Column:
    """The description at the cursor, of a column of n numbers up to `limit`. Raises Corrupt, UnknownFormat."""
    form, bits, base = cursor.unpack(_HEAD)
    if form > STEPS or bits not in WIDTHS:
        raise UnknownFormat(f"{cursor.what}: column of form {form}, {bits} bits: this version reads 0..1 of {WIDTHS}")
    step = cursor.unpack(_STEP)[0] if form == STEPS else 0
    if base > limit:
        raise cursor.corrupt(f"numbers up to {limit}", base)
    if not bits:
        return Column(n, form, bits, base, step, _NOTHING)
    stored = cursor.stored()
    count = max(n - 1, 0) if form == STEPS else n
    size = (count * bits + 7) // 8
    if stored.size != size or not n:
        raise cursor.corrupt(f"{size} bytes of a column of {n} rows", stored.size)
    return Column(n, form, bits, base, step, stored)
