"""Getting space back: what of each segment is still reachable, and moving that out of segments that are to go.

Both look at inner rows only (0.1 B a point); a leaf is read where it moves, nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.streams import history
from lamina.streams.history import Entry
from lamina.streams.node import ADDRESS, INNER, NO_ROWS, ROOT_PW, ROW, Addresses, Rows

if TYPE_CHECKING:
    from lamina.storage.blocks import BlockReader
    from lamina.storage.segment import SegmentWriter

CHUNK_NODES = 512
"""Nodes opened at once: 3.4 MB of rows on each level."""

CHUNK_BYTES = 4 << 20
"""Blocks held at once while they move."""

GATHERED = 1 << 20
"""Addresses gathered (20 MB) before repeated ones are thrown out."""

_Key = tuple[int, int]  # segment, offset


def reachable(
    roots: Rows, histories: Sequence[bytes], read: BlockReader, blocks: Addresses | None = None
) -> dict[int, int]:
    """Live bytes of each segment: blocks below the roots, nodes and runs of the histories, and single `blocks`.

    A block counts once, however many versions share it. The roots inside the histories are not followed: the caller
    names those it keeps. Memory: 20 B for each block, and CHUNK_NODES nodes a level.
    """
    found = [] if blocks is None else [blocks]
    for pointer in histories:
        for node, address in history.nodes(pointer, read):
            found.append(np.array([address], ADDRESS))
            if node.dtype == history.ENTRY:
                found.append(node["runs"])
    live = _Gathering()
    for addresses in found:
        live.add(addresses)
    seen: set[_Key] = set()
    rows, stack = roots, list[Addresses]()  # of nodes to open
    while True:
        live.add(rows["base"])
        live.add(rows["delta"])
        inner = rows["base"][rows["kind"] == INNER]
        fresh = {key: i for i, key in enumerate(_keys(inner)) if key not in seen}
        seen.update(fresh)
        index = list(fresh.values())
        stack += [inner[index[i : i + CHUNK_NODES]] for i in range(0, len(index), CHUNK_NODES)]
        if not stack:
            return live.by_segment()
        rows = read.nodes(stack.pop())


class _Gathering:
    """Addresses, each once."""

    def __init__(self) -> None:
        self._parts: list[Addresses] = []
        self._held = 0
        self._bound = GATHERED

    def add(self, addresses: Addresses) -> None:
        self._parts.append(addresses[addresses["length"] > 0])
        self._held += len(self._parts[-1])
        if self._held > self._bound:
            self._settle()
            self._bound = 2 * self._held + GATHERED

    def _settle(self) -> Addresses:
        every = np.concatenate(self._parts) if self._parts else np.empty(0, ADDRESS)
        every = every[np.lexsort((every["offset"], every["segment"]))]
        same = (every["segment"][1:] == every["segment"][:-1]) & (every["offset"][1:] == every["offset"][:-1])
        every = every[np.append(True, ~same)] if len(every) else every
        self._parts, self._held = [every], len(every)
        return every

    def by_segment(self) -> dict[int, int]:
        every = self._settle()
        segments, index = np.unique(every["segment"], return_inverse=True)
        sums = np.bincount(index, every["length"])
        return {int(s): int(n) for s, n in zip(segments, sums, strict=True)}


class Rewritten(NamedTuple):
    """The same versions without the victims."""

    history: bytes  # of the entries, in order
    latest: Entry


def rewrite(
    entries: Sequence[Entry], latest: Entry, victims: Set[int], *, out: SegmentWriter, read: BlockReader
) -> Rewritten:
    """Copy what the entries and the latest root need out of the segments `victims` into `out`.

    Nodes above a moved block are rewritten, everything else is kept by reference; what versions shared they share
    again. The history is built anew, so entries left out are gone. Memory: the entries, one address for each moved
    block and each inner node, CHUNK_NODES nodes a level, CHUNK_BYTES of blocks.
    """
    records = history.to_records([*entries, latest])
    mover = _Mover(victims, out, read)
    real = np.flatnonzero(records["root"]["pw"] == ROOT_PW)
    records["root"][real] = mover.rows(records["root"][real])
    records["runs"] = mover.blocks(records["runs"])
    last = records[-1:]
    root = last["root"] if len(latest.root) else NO_ROWS
    return Rewritten(history.build(records[:-1], out), latest._replace(root=root, runs=last["runs"]))


class _Mover:
    """Moves blocks, each once: the memo knows where every block went that a moved tree may share."""

    def __init__(self, victims: Set[int], out: SegmentWriter, read: BlockReader) -> None:
        self._victims = np.array(sorted(victims), np.uint32)
        self._out = out
        self._read = read
        self._moved: dict[_Key, tuple[int, int, int, int]] = {}  # blocks of victims -> address
        self._nodes: dict[_Key, tuple[int, int, int, int]] = {}  # inner nodes -> address, perhaps the same

    def rows(self, rows: Rows) -> Rows:
        """The same rows with the addresses of where everything below them lies now."""
        rows = rows.copy()
        inner = rows["kind"] == INNER
        if not inner.all():
            leaves = rows[~inner]
            leaves["base"] = self.blocks(leaves["base"])
            leaves["delta"] = self.blocks(leaves["delta"])
            rows[~inner] = leaves
        if inner.any():
            rows["base"][inner] = self._inner(rows["base"][inner])
        return rows

    def blocks(self, addresses: Addresses) -> Addresses:
        """The addresses of these blocks now; those in victims are copied, unless they were before."""
        found = addresses.copy()
        doomed = np.flatnonzero(np.isin(addresses["segment"], self._victims) & (addresses["length"] > 0))
        keys = _keys(addresses[doomed])
        fresh = dict(zip(keys, doomed.tolist(), strict=True))
        index = np.array([i for key, i in fresh.items() if key not in self._moved], np.int64)
        for part in _bounded(addresses[index]):
            for key, block in zip(_keys(part), self._read.blocks(part), strict=True):
                self._moved[key] = self._append(block)
        if len(doomed):
            found[doomed] = [self._moved[key] for key in keys]
        return found

    def _inner(self, addresses: Addresses) -> Addresses:
        keys = _keys(addresses)
        fresh = {key: i for i, key in enumerate(keys) if key not in self._nodes}
        index = np.array(list(fresh.values()), np.int64)
        for at in range(0, len(index), CHUNK_NODES):
            self._rewrite(addresses[index[at : at + CHUNK_NODES]])
        return np.array([self._nodes[key] for key in keys], ADDRESS)

    def _rewrite(self, addresses: Addresses) -> None:
        """Settle where these nodes lie from now on."""
        before = self._read.nodes(addresses)
        after = self.rows(before)
        moved = _differ(before["base"], after["base"]) | _differ(before["delta"], after["delta"])
        sizes = addresses["length"].astype(np.int64) // ROW.itemsize
        last = np.cumsum(sizes)
        first = last - sizes
        changed = np.isin(addresses["segment"], self._victims) | np.logical_or.reduceat(moved, first)
        self._out.align(8)
        places = zip(_keys(addresses), addresses.tolist(), strict=True)
        for (key, address), anew, a, b in zip(places, changed.tolist(), first.tolist(), last.tolist(), strict=True):
            if key not in self._nodes:  # another root may hold it further down, then it was settled meanwhile
                self._nodes[key] = self._append(after[a:b].tobytes()) if anew else address

    def _append(self, block: bytes) -> tuple[int, int, int, int]:
        offset, length, crc = self._out.append(block)
        return self._out.id, length, offset, crc


def _keys(addresses: Addresses) -> list[_Key]:
    return list(zip(addresses["segment"].tolist(), addresses["offset"].tolist(), strict=True))


def _differ(a: Addresses, b: Addresses) -> NDArray[np.bool_]:
    differ: NDArray[np.bool_] = (a["segment"] != b["segment"]) | (a["offset"] != b["offset"])
    return differ


def _bounded(addresses: Addresses) -> Iterator[Addresses]:
    """Stretches of at most about CHUNK_BYTES of blocks."""
    total = np.cumsum(addresses["length"], dtype=np.int64)
    cuts = np.flatnonzero(np.diff(total // CHUNK_BYTES, prepend=-1)).tolist()
    for a, b in pairwise([*cuts, len(addresses)]):
        yield addresses[a:b]
