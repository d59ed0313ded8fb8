"""Contents of many records as one buffer, read by large ranges.

Records that were sealed together lie behind one another, so most of what is asked for together is one range of a file:
read by one call, and verified by one pass whose sum must be that of the checksums of the records in it
(storage/crcjoin.py). What is not, because it is longer than 64 KiB, compressed, scattered, damaged or was moved
meanwhile, is read record by record, by the way that tells which one it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.engine.records.record import Origin, Record, read_contents
from lamina.errors import Corrupt, NotFound
from lamina.records.row import RAW
from lamina.storage.checksums import CHUNK
from lamina.storage.crc import crc32c
from lamina.storage.crcjoin import joined
from lamina.storage.files import Buffer

if TYPE_CHECKING:
    from lamina.engine.records.store import RecordStore

LEAST = 32_768
"""Bytes of a range from which it is worth a call of its own; records of smaller ones are read together with the gaps
between them."""

U64 = NDArray[np.uint64]


class Placed(NamedTuple):
    """Where the contents of some records lie: columns of one length, one at least."""

    times: U64
    sizes: U64
    files: U64
    wheres: U64
    stored: U64
    crcs: U64
    codecs: U64
    origin: NDArray[np.int32]  # of each record among `origins`
    origins: Sequence[Origin]


class Ranges:
    """Contents of records, in order. Reads nothing before `read`."""

    def __init__(self, store: RecordStore, placed: Placed, cuts: NDArray[np.intp]) -> None:
        """`cuts`: where parts begin that are read at once, ascending from 0."""
        self._store = store
        self._placed = placed
        sizes = placed.sizes
        ends = np.cumsum(sizes, dtype=np.int64)
        plain = (placed.codecs == np.uint64(RAW)) & (sizes <= np.uint64(CHUNK))
        self._firsts = _runs(placed, plain, cuts)
        self._stops = np.append(self._firsts[1:], len(sizes))
        self._lengths = ends[self._stops - 1] - ends[self._firsts] + sizes[self._firsts].astype(np.int64)
        self._large = plain[self._firsts] & (self._lengths >= LEAST)
        self._sums = np.zeros(len(self._firsts), np.uint32)
        if self._large.any():
            self._sums = joined(placed.crcs.astype(np.uint32), sizes, self._firsts)

    def read(self, first: int, stop: int) -> Buffer:
        """Contents of the records first <= i < stop, whole parts, behind one another; verified. Raises Corrupt,
        NotFound (removed since, and nobody held a snapshot)."""
        pieces: list[Buffer] = []
        alone = first  # from here on records are read one by one
        for run in range(int(self._firsts.searchsorted(first)), int(self._firsts.searchsorted(stop))):
            if not self._large[run]:
                continue
            begin, end = int(self._firsts[run]), int(self._stops[run])
            data = self._range(run, begin)
            if data is not None:
                pieces += self._each(alone, begin)
                pieces.append(data)
                alone = end
        pieces += self._each(alone, stop)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _range(self, run: int, first: int) -> bytes | None:
        """Contents that lie in one piece; None: something is not as it should be."""
        placed = self._placed
        where = int(placed.files[first]), int(placed.wheres[first])
        try:
            data = self._store.read_stored(*where, int(self._lengths[run]))
        except (NotFound, Corrupt):
            return None
        return data if crc32c(data) == int(self._sums[run]) else None

    def _each(self, first: int, stop: int) -> list[Buffer]:
        if first == stop:
            return []
        times, sizes, *columns, origin = (column[first:stop].tolist() for column in self._placed[:-1])
        origins, places = self._placed.origins, zip(*columns, strict=True)
        records = [
            Record(origins[number], 0, time_us, size, place)
            for number, time_us, size, place in zip(origin, times, sizes, places, strict=True)
        ]
        return list(read_contents(records))


def _runs(placed: Placed, plain: NDArray[np.bool_], cuts: NDArray[np.intp]) -> NDArray[np.intp]:
    """First record of each run that lies in one piece, inside one part."""
    files, wheres = placed.files, placed.wheres
    first = np.ones(len(files), np.bool_)
    first[1:] = (wheres[1:] != wheres[:-1] + placed.sizes[:-1]) | (files[1:] != files[:-1])
    first[1:] |= ~(plain[1:] & plain[:-1])
    first[cuts] = True
    return np.flatnonzero(first)
