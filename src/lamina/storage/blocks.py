"""Blocks of immutable objects, read by address: verified, coalesced, inner nodes cached.

A block is verified against the CRC32C in its address every time it comes off the disk. Leaf blocks are not
cached (the page cache has them and decoding dominates); inner nodes and history nodes are, because every
query starts with them.

The cache holds **extents**: maximal runs of neighbouring nodes as they were read, at most EXTENT_BYTES each.
The nodes of one level of one flush lie side by side in time order, so a query over many of them mostly is one
slice of one extent: no copy, one lookup per run instead of one per node.

Numbered invariants:

1. Extents of one segment are disjoint and sorted; only bytes that no extent covers are read and added.
2. Every byte of an extent belongs to a block that was verified when the extent was read.
3. `_held` is the sum of the costs of all extents and exceeds `cache_bytes` only inside `_add`.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt
from lamina.storage.address import Addresses
from lamina.storage.blobs import Blobs
from lamina.storage.crc import crc32c

EXTENT_BYTES = 1 << 20
"""What is evicted at once. Smaller costs a copy per query of a whole level, larger pins what nobody asks
for."""

GAP_BYTES = 512
"""Leaf blocks so close are read as one range: padding, or a small block in between. Copying it is cheaper
than a call."""
_GAP = np.uint64(GAP_BYTES)

EXTENT_OVERHEAD = 400
"""Bytes of Python objects per extent (object, bytes header, list and dict entries), counted so that the bound
holds for caches of many small flushes as well."""

_Place = tuple[int, int, int]  # segment, start, end (bytes)


class _Extent:
    __slots__ = ("data", "end", "segment", "start")

    def __init__(self, segment: int, start: int, data: bytes) -> None:
        self.segment = segment
        self.start = start
        self.end = start + len(data)
        self.data = data

    @property
    def cost(self) -> int:
        return len(self.data) + EXTENT_OVERHEAD


class BlockReader:
    """Reads blocks of segments; thread-safe.

    `names` gives the object name of a segment id, `row` is what inner nodes are arrays of. `reads` and `bytes_read`
    count ranges and bytes asked of the blobs.
    """

    def __init__(self, blobs: Blobs, names: Callable[[int], str], row: np.dtype[np.void], cache_bytes: int) -> None:
        self._blobs = blobs
        self._names = names
        self._row = row
        self._none = np.empty(0, row)
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()  # guards everything below; never held while reading
        self._starts: dict[int, list[int]] = {}  # segment -> start of each extent, parallel to _extents
        self._extents: dict[int, list[_Extent]] = {}
        self._recent: OrderedDict[_Extent, None] = OrderedDict()  # least recently used first
        self._held = 0
        self.reads = 0
        self.bytes_read = 0

    def blocks(self, addresses: Addresses) -> list[bytes]:
        """The bytes of each block, in the order of the addresses; neighbours come with one read. Not cached.

        An address of length 0 gives b"". All ranges are asked for in one batch per object, so the caller
        bounds the memory by the number of addresses. Raises Corrupt, NotFound.
        """
        if len(addresses) == 1:  # the leaf at one time: the rest is worth its fixed cost for more only
            segment, length, offset, crc = addresses[0].item()  # fields in the order of ADDRESS
            return [self._verified(segment, offset, length, crc)] if length else [b""]
        order = _reading_order(addresses)
        if order is not None:
            found = [b""] * len(addresses)
            for i, block in zip(order.tolist(), self.blocks(addresses[order]), strict=True):
                found[i] = block
            return found
        segments, offsets, lengths = (np.ascontiguousarray(addresses[n]) for n in ("segment", "offset", "length"))
        ends = offsets + lengths
        far = (segments[1:] != segments[:-1]) | (offsets[1:] > ends[:-1] + _GAP)
        firsts = np.flatnonzero(np.append(True, far)) if len(addresses) else np.empty(0, np.intp)
        lasts = np.append(firsts[1:], len(addresses))[: len(firsts)]
        runs = list(zip(segments[firsts].tolist(), offsets[firsts].tolist(), ends[lasts - 1].tolist(), strict=True))
        blocks: list[bytes] = []
        for (_, start, _), data, i, j in zip(runs, self._read(runs), firsts.tolist(), lasts.tolist(), strict=True):
            if j - i == 1:
                blocks.append(data)
            else:
                begins = (offsets[i:j] - np.uint64(start)).tolist()
                blocks += [data[a : a + n] for a, n in zip(begins, lengths[i:j].tolist(), strict=True)]
        for i, (block, crc) in enumerate(zip(blocks, addresses["crc"].tolist(), strict=True)):
            if crc32c(block) != crc:
                raise self._damage(int(segments[i]), int(offsets[i]), block, crc)
        return blocks

    def nodes(self, addresses: Addresses) -> NDArray[np.void]:
        """The rows of all inner nodes concatenated, in the order of the addresses. Read-only, cached.

        Without misses the cost is that of one lookup per run of neighbours, plus a copy if there is more than
        one. Raises Corrupt, NotFound.
        """
        if len(addresses) == 1:  # the way down to one time: a third of the general cost
            segment, length, offset, crc = addresses[0].item()  # fields in the order of ADDRESS
            data, begin = self._one(segment, offset, length, crc)
            return np.frombuffer(data, self._row, length // self._row.itemsize, begin)
        if not len(addresses):
            return self._none
        segments, offsets = addresses["segment"], addresses["offset"]
        ends = offsets + addresses["length"]
        breaks = np.flatnonzero((segments[1:] != segments[:-1]) | (offsets[1:] != ends[:-1])) + 1
        firsts = np.concatenate(([0], breaks))
        lasts = np.append(breaks, len(addresses)) - 1
        runs = zip(segments[firsts].tolist(), offsets[firsts].tolist(), ends[lasts].tolist(), strict=True)
        pieces, missing = self._lookup(list(runs))
        if missing:
            self._fetch(addresses, pieces, missing)
        if len(pieces) == 1:
            data, begin, end = pieces[0]
            return np.frombuffer(data, self._row, (end - begin) // self._row.itemsize, begin)
        return np.frombuffer(b"".join([memoryview(d)[a:b] for d, a, b in pieces]), self._row)

    def block(self, segment: int, offset: int, length: int, crc: int) -> bytes:
        """One block, cached. For what is small and asked for often: history nodes, version runs."""
        data, begin = self._one(segment, offset, length, crc)
        return data[begin : begin + length]

    def _one(self, segment: int, offset: int, length: int, crc: int) -> tuple[bytes, int]:
        """Bytes that hold the block, cached, and where in them it begins."""
        with self._lock:
            i = bisect_right(self._starts.get(segment, ()), offset) - 1
            if i >= 0:
                extent = self._extents[segment][i]
                if offset + length <= extent.end:
                    self._recent.move_to_end(extent)
                    return extent.data, offset - extent.start
        data = self._verified(segment, offset, length, crc)
        self._add([_Extent(segment, offset, data)])
        return data, 0

    def drop(self, segment: int) -> None:
        """Forget what is cached of a segment that is deleted."""
        with self._lock:
            self._starts.pop(segment, None)
            for extent in self._extents.pop(segment, ()):
                del self._recent[extent]
                self._held -= extent.cost

    def _lookup(self, runs: Sequence[_Place]) -> tuple[list[tuple[bytes, int, int]], dict[int, _Place]]:
        """Slices (data, begin, end) that make up the runs; what is not cached is empty, listed by index."""
        pieces: list[tuple[bytes, int, int]] = []
        missing: dict[int, _Place] = {}
        with self._lock:
            recent = self._recent.move_to_end
            for segment, start, end in runs:
                starts, extents = self._starts.get(segment, ()), self._extents.get(segment, ())
                i = bisect_right(starts, start) - 1
                while start < end:
                    if i >= 0 and start < extents[i].end:
                        extent = extents[i]
                        stop = min(end, extent.end)
                        pieces.append((extent.data, start - extent.start, stop - extent.start))
                        recent(extent)
                    else:
                        stop = min(end, starts[i + 1]) if i + 1 < len(starts) else end
                        missing[len(pieces)] = (segment, start, stop)
                        pieces.append((b"", 0, 0))
                    start = stop
                    i += i + 1 < len(starts) and starts[i + 1] <= start
        return pieces, missing

    def _fetch(self, addresses: Addresses, pieces: list[tuple[bytes, int, int]], missing: dict[int, _Place]) -> None:
        """Read, verify and cache the missing runs, and put them into their places in `pieces`."""
        nodes = {
            (segment, offset): (length, crc)
            for segment, length, offset, crc in addresses.tolist()  # fields in the order of ADDRESS
        }
        parts: list[_Place] = []  # cut between nodes so that no extent is much larger than EXTENT_BYTES
        owners: list[int] = []
        blocks: list[list[tuple[int, int, int]]] = []
        for index, (segment, start, end) in missing.items():
            while start < end:
                at, inside = start, []
                while at < end and at - start < EXTENT_BYTES:
                    length, crc = nodes[segment, at]
                    inside.append((at - start, length, crc))
                    at += length
                parts.append((segment, start, at))
                owners.append(index)
                blocks.append(inside)
                start = at
        extents = []
        got: dict[int, list[bytes]] = {}
        for (segment, start, _), owner, inside, data in zip(parts, owners, blocks, self._read(parts), strict=True):
            for begin, length, crc in inside:
                block = data[begin : begin + length] if len(inside) > 1 else data
                if crc32c(block) != crc:
                    raise self._damage(segment, start + begin, block, crc)
            extents.append(_Extent(segment, start, data))
            got.setdefault(owner, []).append(data)
        self._add(extents)
        for index, datas in got.items():
            data = datas[0] if len(datas) == 1 else b"".join(datas)
            pieces[index] = (data, 0, len(data))

    def _add(self, extents: Sequence[_Extent]) -> None:
        with self._lock:
            for extent in extents:
                starts = self._starts.setdefault(extent.segment, [])
                known = self._extents.setdefault(extent.segment, [])
                i = bisect_right(starts, extent.start)
                if (i and known[i - 1].end > extent.start) or (i < len(starts) and starts[i] < extent.end):
                    continue  # another thread read the same meanwhile (invariant 1)
                starts.insert(i, extent.start)
                known.insert(i, extent)
                self._recent[extent] = None
                self._held += extent.cost
            while self._held > self._cache_bytes:
                old, _ = self._recent.popitem(last=False)
                self._held -= old.cost
                starts, known = self._starts[old.segment], self._extents[old.segment]
                i = bisect_right(starts, old.start) - 1
                del starts[i], known[i]
                if not starts:
                    del self._starts[old.segment], self._extents[old.segment]

    def _verified(self, segment: int, offset: int, length: int, crc: int) -> bytes:
        [data] = self._read([(segment, offset, offset + length)])
        if crc32c(data) != crc:
            raise self._damage(segment, offset, data, crc)
        return data

    def _read(self, places: Sequence[_Place]) -> list[bytes]:
        """The bytes of each place; one batch per object."""
        by_segment: dict[int, list[int]] = {}
        for i, place in enumerate(places):
            by_segment.setdefault(place[0], []).append(i)
        found: list[bytes] = [b""] * len(places)
        for segment, inside in by_segment.items():
            ranges = [(places[i][1], places[i][2] - places[i][1]) for i in inside]
            for i, data in zip(inside, self._blobs.read(self._names(segment), ranges), strict=True):
                found[i] = data
        with self._lock:
            self.reads += len(places)
            self.bytes_read += sum(map(len, found))
        return found

    def _damage(self, segment: int, offset: int, block: bytes, expected: int) -> Corrupt:
        return Corrupt(
            f"{self._names(segment)}: block of {len(block)} bytes at offset {offset}: "
            f"expected CRC32C {expected:08x}, found {crc32c(block):08x}"
        )


def _reading_order(addresses: Addresses) -> NDArray[np.intp] | None:
    """Where the blocks of addresses that are not in the order of the disk, or not all blocks, are to be found in that
    order; None: as they are."""
    segments, offsets = addresses["segment"], addresses["offset"]
    back = (segments[1:] < segments[:-1]) | ((segments[1:] == segments[:-1]) & (offsets[1:] < offsets[:-1]))
    given = addresses["length"] != 0
    if given.all() and not back.any():
        return None
    order = np.lexsort((offsets, segments))
    present: NDArray[np.intp] = order[given[order]]
    return present
