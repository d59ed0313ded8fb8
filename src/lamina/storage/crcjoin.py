"""CRC32C of bytes that lie behind one another, from the CRC32C of each piece.

A CRC is the remainder of a polynomial over GF(2), so that of a whole is a sum of those of its pieces, each times
x**(8 * bytes behind it). Many pieces with checksums of their own are verified by one pass over the bytes of all: a
damaged piece changes the sum, because no power of x is divisible by the polynomial. Two damaged pieces could make up
for each other with probability 2**-32, as any damage may.

Numbers are reflected, as everywhere with CRC32C: the highest bit is x**0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

POLYNOMIAL = 0x82F63B78
_ONE = 1 << 31

STEP_BITS = 14
"""Powers are kept for every number of bytes below 2**14 (64 KiB of them), and for multiples of that."""
REACH = 1 << 28
"""Bytes behind a piece are fewer than that."""

_AT_ONCE = 4096
"""Products at a time: what lies between the steps stays in the first caches. 20 ns a product; of 1,024: 40 ns."""

_EVERY_FOURTH = np.array([[0x1111111111111111 << shift & (1 << 64) - 1] for shift in range(4)], np.uint64)
"""Bits 0, 4, 8 ...; bits 1, 5, 9 ...; and so on: shape (4, 1)."""


def joined(crcs: U32, sizes: U64, firsts: NDArray[np.intp]) -> U32:
    """The CRC32C of each run of pieces, which begin at `firsts` (ascending, from 0): dtype uint32, one a run.

    `crcs` and `sizes` (bytes, below 2**28 in a run) are those of the pieces, in order. Costs 30 ns a piece.
    """
    ends = np.cumsum(sizes, dtype=np.uint64)
    last = np.append(firsts[1:], len(sizes)) - 1
    behind = np.repeat(ends[last], last - firsts + 1) - ends
    assert int(behind.max(initial=0)) < REACH, "spans are read at once, so they are short"
    steps = behind >> np.uint64(STEP_BITS)
    terms = _product(crcs, _powers()[0][behind & np.uint64((1 << STEP_BITS) - 1)])
    # Pieces with as many whole steps behind them are neighbours: they are added up before they are moved on.
    starts = np.zeros(len(crcs), np.bool_)
    starts[firsts] = True
    starts[1:] |= steps[1:] != steps[:-1]
    groups = np.flatnonzero(starts)
    sums = _product(np.bitwise_xor.reduceat(terms, groups), _powers()[1][steps[groups]])
    found: U32 = np.bitwise_xor.reduceat(sums, groups.searchsorted(firsts))
    return found


@cache
def _powers() -> tuple[U32, U32]:
    """x**(8 n) for n below 2**STEP_BITS, and for its multiples below REACH. Costs 4 ms, once."""
    byte = _ONE >> 8
    low = _doubled(byte, STEP_BITS)
    whole = int(_product(low[-1:], np.array([byte], np.uint32))[0])
    return low, _doubled(whole, REACH.bit_length() - 1 - STEP_BITS)


def _doubled(factor: int, bits: int) -> U32:
    """factor**i for i below 2**bits."""
    powers = np.array([_ONE], np.uint32)
    next_ = np.array([factor], np.uint32)
    for _ in range(bits):
        powers = np.concatenate((powers, _product(powers, np.repeat(next_, len(powers)))))
        next_ = _product(next_, next_)
    return powers


def _product(a: U32, b: U32) -> U32:
    """a * b modulo the polynomial, by elements."""
    found = np.empty(len(a), np.uint32)
    for at in range(0, len(a), _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        found[part] = _reduced(_carryless(a[part], b[part]))
    return found


def _carryless(a: U32, b: U32) -> U64:
    """Products without carries, by ordinary multiplication: of every fourth bit of both at most eight meet in one
    place, and their sum does not reach the next bit that counts."""
    mine = a.astype(np.uint64) & _EVERY_FOURTH
    other = b.astype(np.uint64) & _EVERY_FOURTH
    found = np.zeros(len(a), np.uint64)
    total, term = np.empty_like(found), np.empty_like(found)  # written over and over: they stay in the cache
    for place in range(4):
        np.multiply(mine[0], other[place], out=total)
        for i in range(1, 4):
            np.multiply(mine[i], other[(place - i) % 4], out=term)
            np.bitwise_xor(total, term, out=total)
        np.bitwise_and(total, _EVERY_FOURTH[place], out=total)
        np.bitwise_or(found, total, out=found)
    return found


def _reduced(product: U64) -> U32:
    """Remainders; bit 62 of a product is x**0."""
    wide = product << np.uint64(1)
    found = (wide >> np.uint64(32)).astype(np.uint32)
    rest = wide.astype("<u8").view(np.uint8).reshape(-1, 8)
    for i, table in enumerate(_tables()):
        found ^= table.take(rest[:, i])
    return found


@cache
def _tables() -> list[U32]:
    """Remainders of x**32 times a byte that stands in place i of four."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & np.uint32(1), np.uint32(POLYNOMIAL), np.uint32(0))
    tables = [table]
    for _ in range(3):
        tables.insert(0, (tables[0] >> np.uint32(8)) ^ table[tables[0] & np.uint32(255)])
    return tables
