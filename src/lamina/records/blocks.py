"""The contract's blocks of one entry: what reported sizes, `block_count` and eviction go by (contract section 4).

A block is a stretch of time: it begins with its first record and ends where the next begins. A record behind all
others opens a new block where the last would grow beyond its limits; one before all others opens a block of its own;
any other goes into the block of its time, however full that is. So the block of a record follows from its time
alone, and evicting the oldest blocks is removing everything below a time.

Blocks exist in numbers only: segments are cut for reading, not by them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.records.size import offset_length


class BlockLimits(NamedTuple):
    """What a block may hold before the next one begins."""

    size: int  # bytes of content
    records: int


class Block(NamedTuple):
    begin: int  # time of the first record, µs
    records: int
    content: int  # bytes ever put into it: the offset of the next content
    size: int  # content and metadata of its living records, as reported


class Plan(NamedTuple):
    """What some changes lead to: absolute numbers, so that carrying it out twice is carrying it out once."""

    blocks: dict[int, Block]  # by begin; one without records is to go
    size: int  # of the entry
    records: int
    last: int  # largest time ever put in
    metas: Sequence[int] | NDArray[np.uint32]  # full metadata length of each record added


class Blocks:
    """Mutable; guarded by whoever owns the entry. About 32 bytes a block."""

    __slots__ = ("_begins", "_content", "_records", "_sizes", "last", "records", "size")

    def __init__(self) -> None:
        self._begins = array("Q")  # ascending
        self._records = array("Q")
        self._content = array("Q")
        self._sizes = array("Q")
        self.size = 0  # sum of sizes
        self.records = 0
        self.last = -1

    def __len__(self) -> int:
        return len(self._begins)

    @property
    def oldest_begin(self) -> int | None:
        """Where the first block begins: the oldest record is there or later (it may have been removed)."""
        return self._begins[0] if self._begins else None

    def at(self, index: int) -> Block:
        return Block(self._begins[index], self._records[index], self._content[index], self._sizes[index])

    def first_from(self, time_us: int) -> int:
        """Number of blocks that begin below a time."""
        return bisect_left(self._begins, time_us)

    def next_begin(self, below: int) -> int | None:
        """Where the oldest block begins that begins at or above `below`; None: there is none."""
        i = self.first_from(below)
        return self._begins[i] if i < len(self._begins) else None

    def evictable(self, below: int, wanted: int, before: int) -> tuple[int, int]:
        """The oldest blocks that begin at or above `below`: the last time that goes with them, and their reported
        size. As many as it takes to free `wanted` bytes, of those that begin before `before`; at least one, which must
        be there."""
        i = self.first_from(below)
        size = self._sizes[i]
        while size < wanted and i + 1 < len(self._begins) and self._begins[i + 1] < before:
            i += 1
            size += self._sizes[i]
        return self._through(i), size

    def _through(self, index: int) -> int:
        return self._begins[index + 1] - 1 if index + 1 < len(self._begins) else self.last

    def _find(self, time_us: int, changed: dict[int, Block]) -> Block | None:
        """The block of a time, as a plan in the making sees it."""
        i = bisect_right(self._begins, time_us) - 1
        found = self.at(i) if i >= 0 else None
        best = found
        if changed:
            if found is not None:
                best = changed.get(found.begin, found)
            for begin, block in changed.items():  # few: those of one change
                if begin <= time_us and (best is None or begin > best.begin):
                    best = block
        return best

    def plan_add(self, times: Sequence[int], sizes: Sequence[int], bases: Sequence[int], limits: BlockLimits) -> Plan:
        """Records put in one after the other. `bases` are metadata lengths without offsets."""
        changed: dict[int, Block] = {}
        metas: list[int] = []
        total, last = self.size, self.last
        # The block that records in order go into; kept out of `changed` until it is left.
        begin, records, content, size = self.at(-1) if self._begins else Block(0, 0, 0, 0)
        open_, dirty = bool(self._begins), False
        offset = offset_length(content)  # of the next content
        limit_size, limit_records = limits
        for time_us, length, base in zip(times, sizes, bases, strict=True):
            if time_us > last:
                if not open_ or records >= limit_records or (records and content + length > limit_size):
                    if dirty:
                        changed[begin] = Block(begin, records, content, size)
                    begin, records, content, size, open_ = time_us, 0, 0, 0, True
                    offset = 0
                records += 1
                content += length
                meta = base + offset
                offset = (content.bit_length() + 13) // 7 if content else 0  # as offset_length
                meta += offset
                size += length + meta
                last, dirty = time_us, True
            else:
                if dirty:
                    changed[begin] = Block(begin, records, content, size)
                block = self._find(time_us, changed) or Block(time_us, 0, 0, 0)
                end = block.content + length
                meta = base + offset_length(block.content) + offset_length(end)
                block = Block(block.begin, block.records + 1, end, block.size + length + meta)
                changed[block.begin] = block
                if open_ and block.begin == begin:
                    begin, records, content, size = block
                elif not open_:
                    begin, records, content, size, open_ = *block, True
                offset = offset_length(content)
            metas.append(meta)
            total += length + meta
        if dirty:
            changed[begin] = Block(begin, records, content, size)
        return Plan(changed, total, self.records + len(metas), last, metas)

    def plan_many(
        self,
        times: NDArray[np.uint64],
        sizes: NDArray[np.uint64],
        bases: NDArray[np.uint32],
        limits: BlockLimits,
    ) -> Plan:
        """`plan_add` of columns: without a loop where all go into the last block, in order, which is the usual case."""
        n = len(times)
        if self._begins and int(times[0]) > self.last and (times[1:] > times[:-1]).all():
            begin, records, content, size = self.at(-1)
            end = content + int(sizes.sum())
            offset = offset_length(content)
            # offsets of one length: from the first to the last, and none of them zero
            if records + n <= limits.records and end <= limits.size and content and offset == offset_length(end):
                metas = bases + np.uint32(2 * offset)
                grown = end - content + int(metas.sum())
                block = Block(begin, records + n, end, size + grown)
                return Plan({begin: block}, self.size + grown, self.records + n, int(times[-1]), metas)
        return self.plan_add(times.tolist(), sizes.tolist(), bases.tolist(), limits)

    def plan_change(self, times: Sequence[int], records: Sequence[int], sizes: Sequence[int]) -> Plan:
        """Records that go (-1, minus their size) or whose metadata grow or shrink (0, the difference)."""
        changed: dict[int, Block] = {}
        for time_us, count, size in zip(times, records, sizes, strict=True):
            block = self._find(time_us, changed)
            if block is not None:
                changed[block.begin] = block._replace(records=block.records + count, size=block.size + size)
        return Plan(changed, self.size + sum(sizes), self.records + sum(records), self.last, [])

    def plan_remove(self, times: NDArray[np.uint64], sizes: NDArray[np.int64]) -> Plan:
        """Many records that go, in any order; `sizes`: content and metadata of each. As plan_change of each of them."""
        changed: dict[int, Block] = {}
        at = np.array(self._begins, np.uint64).searchsorted(times, side="right") - 1
        inside = at >= 0
        counts = np.bincount(at[inside], minlength=len(self._begins))
        order = np.argsort(at[inside], kind="stable")
        held = np.flatnonzero(counts)
        firsts = np.cumsum(counts[held]) - counts[held]
        gone = np.add.reduceat(sizes[inside][order], firsts) if len(held) else sizes[:0]
        for i, size in zip(held.tolist(), gone.tolist(), strict=True):
            block = self.at(i)
            changed[block.begin] = block._replace(records=block.records - int(counts[i]), size=block.size - size)
        return Plan(changed, self.size - int(sizes.sum()), self.records - len(times), self.last, [])

    def cut_by(self, through: int) -> tuple[int, int] | None:
        """The block that an eviction up to a time would cut in two: (begin, last time); None: it cuts none."""
        i = bisect_right(self._begins, through) - 1
        if i < 0 or self._through(i) <= through:
            return None
        return self._begins[i], self._through(i)

    def plan_evict(self, through: int, rest: tuple[int, int] = (0, 0)) -> Plan:
        """Everything up to a time goes; `rest`: records and size of what stays of the block it cuts."""
        changed: dict[int, Block] = {}
        size, records = self.size, self.records
        for i in range(bisect_right(self._begins, through)):
            block = self.at(i)
            if self._through(i) > through:
                kept = changed[block.begin] = block._replace(records=rest[0], size=rest[1])
            else:
                kept = changed[block.begin] = Block(block.begin, 0, 0, 0)
            size += kept.size - block.size
            records += kept.records - block.records
        return Plan(changed, size, records, self.last, [])

    def carry_out(self, plan: Plan) -> None:
        """Repeatable, and right also after an earlier call that was interrupted. `size` is left to the caller, who
        changes the bucket's sum with it in one stroke."""
        for begin, block in plan.blocks.items():
            i = bisect_left(self._begins, begin)
            present = i < len(self._begins) and self._begins[i] == begin
            if block.records <= 0:
                if present:
                    for column in (self._begins, self._records, self._content, self._sizes):
                        del column[i]
            elif present:
                self._records[i], self._content[i], self._sizes[i] = block.records, block.content, block.size
            else:
                for column, value in zip((self._begins, self._records, self._content, self._sizes), block, strict=True):
                    column.insert(i, value)
        # Where nothing is left no time is late: else all that follows would go into one block, however full.
        self.records, self.last = plan.records, plan.last if self._begins else -1

    def put_all(
        self,
        begins: NDArray[np.uint64],
        records: NDArray[np.uint32],
        content: NDArray[np.uint64],
        sizes: NDArray[np.uint64],
    ) -> None:
        """Add what sealed sections hold of blocks (at load: any order; parts of one block add up). Costs 0.1 µs a block
        that is behind those present, more where it is not."""
        if not len(begins):
            return
        columns = [begins, records.astype(np.uint64), content, sizes]
        self.size += int(sizes.sum())
        self.records += int(columns[1].sum())
        mine = (self._begins, self._records, self._content, self._sizes)
        behind = bisect_left(self._begins, int(begins.min()))  # mostly the last block, which two sections share
        if behind < len(self._begins):
            columns = [
                np.concatenate((np.array(present[behind:], np.uint64), added))
                for present, added in zip(mine, columns, strict=True)
            ]
            for present in mine:
                del present[behind:]
        if not (columns[0][1:] > columns[0][:-1]).all():
            order = np.argsort(columns[0], kind="stable")
            begins = columns[0][order]
            firsts = np.flatnonzero(np.append(True, begins[1:] != begins[:-1]))
            columns = [begins[firsts], *(np.add.reduceat(column[order], firsts) for column in columns[1:])]
        for present, column in zip(mine, columns, strict=True):
            present.frombytes(column.tobytes())

    def begin_of(self, time_us: int) -> int:
        """Begin of the block of a time; the time itself where there is none."""
        i = bisect_right(self._begins, time_us) - 1
        return self._begins[i] if i >= 0 else time_us

    def begins(self) -> array[int]:
        return self._begins
