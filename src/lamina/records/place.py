"""Where payloads lie that were written one behind the other: nearly always a sum that need not be stored."""

from __future__ import annotations

import numpy as np

from lamina.records.column import U64
from lamina.storage.checksums import CHUNK

_ONE = np.uint64(1)


def footprints(sizes: U64, stored: U64) -> U64:
    """Bytes that each payload takes in its file, checksums included."""
    chunk = np.uint64(CHUNK)
    trailers = ((sizes - _ONE) // chunk + _ONE) << np.uint64(2)  # the sum of size and chunk could wrap
    return stored + np.where(sizes > chunk, trailers, np.uint64(0))


def follow(where: U64, files: U64, footprints: U64) -> tuple[U64, U64]:
    """(rest, starts). Payloads taken file by file, in the order of rows: `rest` is the gap between the end of the one
    before and each, modulo 2**64, 0 for the first of a file; `starts` are the places of these first."""
    order = _by_file(files)
    own, mine = where[order], footprints[order]
    first = _firsts(files[order])
    rest = np.zeros(len(own), np.uint64)
    rest[1:] = own[1:] - own[:-1] - mine[:-1]
    rest[first] = 0
    return rest, own[first]


def lead(rest: U64, starts: U64, files: U64, footprints: U64) -> U64 | None:
    """The `where` of which `follow` made these; None: there are not as many starts as files."""
    order = _by_file(files)
    mine = footprints[order]
    first = _firsts(files[order])
    if len(starts) != np.count_nonzero(first):
        return None
    sums = np.zeros(len(mine), np.uint64)
    np.cumsum(rest[1:] + mine[:-1], out=sums[1:])
    own = sums + (starts - sums[first])[np.cumsum(first) - 1]
    where = np.empty(len(own), np.uint64)
    where[order] = own
    return where


def _by_file(files: U64) -> np.ndarray[tuple[int], np.dtype[np.intp]] | slice:
    if (files[1:] >= files[:-1]).all():
        return slice(None)
    return np.argsort(files, kind="stable")


def _firsts(files: U64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.append(True, files[1:] != files[:-1])
