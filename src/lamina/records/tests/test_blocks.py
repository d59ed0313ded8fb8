"""The contract's blocks against lists of records."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.records.blocks import Block, BlockLimits, Blocks
from lamina.records.size import offset_length

BASE = 20
LIMITS = BlockLimits(100, 3)


class Model:
    """Each block as the records put into it: [time, content, meta] each, and the bytes ever put in."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, list[list[int]]]] = []  # (begin, records), ascending
        self.content: dict[int, int] = {}
        self.last = -1

    def add(self, time: int, size: int, limits: BlockLimits) -> int:
        if not self.blocks:
            begin = self._open(time)
        elif time > self.last:
            begin, records = self.blocks[-1]
            full = len(records) >= limits.records or (records and self.content[begin] + size > limits.size)
            if full:
                begin = self._open(time)
        elif time < self.blocks[0][0]:
            begin = self._open(time)
        else:
            begin = max(other for other, _ in self.blocks if other <= time)
        at = self.content[begin]
        meta = BASE + offset_length(at) + offset_length(at + size)
        dict(self.blocks)[begin].append([time, size, meta])
        self.content[begin] += size
        self.last = max(self.last, time)
        return meta

    def _open(self, begin: int) -> int:
        self.blocks.append((begin, []))
        self.blocks.sort(key=lambda block: block[0])
        self.content[begin] = 0
        return begin

    def remove(self, time: int) -> int:
        for _, records in self.blocks:
            for record in records:
                if record[0] == time:
                    records.remove(record)
                    self._tidy()
                    return record[1] + record[2]
        raise AssertionError(time)

    def evict(self, through: int) -> None:
        for _, records in self.blocks:
            records[:] = [record for record in records if record[0] > through]
        self._tidy()

    def _tidy(self) -> None:
        self.blocks = [(begin, records) for begin, records in self.blocks if records]
        if not self.blocks:
            self.last = -1

    def told(self) -> list[Block]:
        return [
            Block(begin, len(records), self.content[begin], sum(size + meta for _, size, meta in records))
            for begin, records in self.blocks
        ]


def told(blocks: Blocks) -> list[Block]:
    return [blocks.at(i) for i in range(len(blocks))]


def add(blocks: Blocks, *records: tuple[int, int], limits: BlockLimits = LIMITS) -> list[int]:
    times, sizes = [time for time, _ in records], [size for _, size in records]
    plan = blocks.plan_add(times, sizes, [BASE] * len(times), limits)
    carry_out(blocks, plan)
    return plan.metas


def carry_out(blocks: Blocks, plan) -> None:
    blocks.carry_out(plan)
    blocks.carry_out(plan)
    blocks.size = plan.size


def test_a_block_ends_at_its_number_of_records():
    blocks = Blocks()
    add(blocks, *((time, 1) for time in range(7)))
    assert [(block.begin, block.records) for block in told(blocks)] == [(0, 3), (3, 3), (6, 1)]


def test_a_block_ends_where_the_next_content_would_exceed_its_size():
    blocks = Blocks()
    add(blocks, (1, 60), (2, 40), (3, 1), (4, 200), (5, 0))
    assert [(block.begin, block.content) for block in told(blocks)] == [(1, 100), (3, 1), (4, 200), (5, 0)]


def test_an_older_record_than_all_opens_a_block_and_other_late_ones_join_that_of_their_time():
    blocks = Blocks()
    add(blocks, (10, 1), (20, 1), (30, 1), (40, 1))
    add(blocks, (5, 1), (25, 100), (35, 1), (7, 1))
    assert [(block.begin, block.records, block.content) for block in told(blocks)] == [
        (5, 2, 2), (10, 5, 104), (40, 1, 1)]  # fmt: skip


def test_offsets_begin_anew_in_each_block():
    blocks = Blocks()
    metas = add(blocks, (1, 50), (2, 50), (3, 50), (4, 0))
    assert metas == [BASE + 0 + 2, BASE + 2 + 2, BASE + 0 + 2, BASE + 2 + 2]


def test_an_empty_entry_has_no_block():
    blocks = Blocks()
    add(blocks, (1, 1))
    carry_out(blocks, blocks.plan_change([1], [-1], [-(1 + BASE + 2)]))
    assert (len(blocks), blocks.size, blocks.records, blocks.oldest_begin) == (0, 0, 0, None)


def test_in_an_entry_that_was_emptied_no_record_is_late():
    blocks = Blocks()
    add(blocks, (100, 1))
    carry_out(blocks, blocks.plan_evict(100))
    add(blocks, *((time, 1) for time in range(7)))
    assert [block.records for block in told(blocks)] == [3, 3, 1]


records = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20, unique_by=lambda record: record[0])
limits = st.builds(BlockLimits, st.integers(1, 120), st.integers(1, 5))


@given(records, limits, st.data())
def test_one_plan_for_many_is_many_plans_for_one(many, limits, data):
    whole, single = Blocks(), Blocks()
    at = data.draw(st.integers(0, len(many)))
    for blocks in (whole, single):
        add(blocks, *many[:at], limits=limits)
    metas = add(whole, *many[at:], limits=limits)
    assert metas == [add(single, record, limits=limits)[0] for record in many[at:]]
    assert told(whole) == told(single)
    assert (whole.size, whole.records, whole.last) == (single.size, single.records, single.last)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60) | st.sampled_from((127, 128, 16_384))), max_size=9),
    st.lists(st.integers(0, 60) | st.just(16_384), min_size=1, max_size=9),
    st.integers(1, 90),
    st.builds(BlockLimits, st.integers(1, 120) | st.just(40_000), st.integers(1, 20)),
)
def test_a_plan_of_columns_is_that_of_lists(first, sizes, begin, limits):
    blocks = Blocks()
    add(blocks, *first, limits=limits)
    times = list(range(begin, begin + len(sizes)))
    bases = [BASE + i % 2 for i in range(len(sizes))]
    columns = np.array(times, np.uint64), np.array(sizes, np.uint64), np.array(bases, np.uint32)
    plan = blocks.plan_many(*columns, limits)
    assert plan._replace(metas=list(plan.metas)) == blocks.plan_add(times, sizes, bases, limits)


def test_columns_in_order_within_a_block_need_no_loop(monkeypatch):
    blocks = Blocks()
    add(blocks, (1, 200))
    monkeypatch.setattr(Blocks, "plan_add", None)
    columns = np.array([2, 3], np.uint64), np.array([0, 100], np.uint64), np.array([BASE, BASE], np.uint32)
    assert blocks.plan_many(*columns, BlockLimits(300, 3)).metas.tolist() == [BASE + 6, BASE + 6]


@given(records, limits, st.data())
def test_sums_are_those_of_the_records(many, limits, data):
    blocks, model = Blocks(), Model()
    for time, size in many:
        assert add(blocks, (time, size), limits=limits) == [model.add(time, size, limits)]
        what = data.draw(st.sampled_from(["", "", "remove", "evict"]))
        living = [record for _, held in model.blocks for record in held]
        if what == "remove" and living:
            chosen = data.draw(st.sampled_from(living))[0]
            carry_out(blocks, blocks.plan_change([chosen], [-1], [-model.remove(chosen)]))
        elif what == "evict" and living:
            wanted, before = data.draw(st.integers(0, 300)), data.draw(st.integers(0, 60))
            through, held = blocks.evictable(0, wanted, before)
            assert blocks.next_begin(0) == model.blocks[0][0]
            gone = [block for block in told(blocks) if block.begin <= through]
            assert held == sum(block.size for block in gone)
            assert len(gone) == 1 or (gone[-1].begin < before and sum(block.size for block in gone[:-1]) < wanted)
            left = told(blocks)[len(gone) :]
            assert held >= wanted or not left or left[0].begin >= before
            carry_out(blocks, blocks.plan_evict(through))
            model.evict(through)
        assert told(blocks) == model.told()
        assert blocks.size == sum(block.size for block in model.told())
        assert blocks.records == sum(block.records for block in model.told())


@given(records, limits, st.integers(0, 60))
def test_an_eviction_that_cuts_a_block_leaves_the_rest(many, limits, through):
    blocks, model = Blocks(), Model()
    for time, size in many:
        add(blocks, (time, size), limits=limits)
        model.add(time, size, limits)
    cut = blocks.cut_by(through)
    model.evict(through)
    rest = (0, 0)
    if cut is not None:
        left = [r for _, held in model.blocks for r in held if through < r[0] <= cut[1]]
        rest = (len(left), sum(size + meta for _, size, meta in left))
    carry_out(blocks, blocks.plan_evict(through, rest))
    assert blocks.records == sum(block.records for block in model.told())
    assert blocks.size == sum(block.size for block in model.told())


def put_all(*rows):
    """Blocks of (begin, records, content, size), some at a time."""
    blocks = Blocks()
    kinds = np.uint64, np.uint32, np.uint64, np.uint64
    for part in rows:
        columns = zip(*part, strict=True) if part else [()] * 4
        blocks.put_all(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))
    return blocks


@given(records, limits)
def test_blocks_put_together_from_sections_are_the_same(many, limits):
    blocks = Blocks()
    add(blocks, *many, limits=limits)
    parts = []
    for block in reversed(told(blocks)):
        half = Block(block.begin, block.records // 2, block.content // 2, block.size // 2)
        rest = Block(block.begin, block.records - half.records, block.content - half.content, block.size - half.size)
        parts += [half, rest]
    again = put_all(parts[:3], parts[3:])
    assert told(again) == told(blocks)
    assert (again.size, again.records) == (blocks.size, blocks.records)


PARTS = st.lists(
    st.dictionaries(
        st.integers(0, 30), st.tuples(st.integers(1, 9), st.integers(0, 99), st.integers(1, 99)), min_size=1
    ),
    max_size=4,
)


@given(PARTS)
def test_what_sections_hold_of_a_block_adds_up(parts):
    rows = [[(begin, *part[begin]) for begin in sorted(part)] for part in parts]
    together = put_all(*rows)
    assert told(together) == told(put_all([row for part in rows for row in part]))
    sums = {}
    for part in parts:
        for begin, numbers in part.items():
            sums[begin] = tuple(map(sum, zip(sums.get(begin, (0, 0, 0)), numbers, strict=True)))
    assert told(together) == [(begin, *sums[begin]) for begin in sorted(sums)]
    assert together.records == sum(records for records, _, _ in sums.values())
    assert together.size == sum(size for _, _, size in sums.values())


@given(records, limits, st.lists(st.booleans(), max_size=40), st.integers(0, 5))
def test_many_records_that_go_at_once_go_as_one_by_one(many, limits, chosen, before):
    blocks = Blocks()
    metas = add(blocks, *many, limits=limits)
    gone = [(time, size + meta) for (time, size), meta, go in zip(many, metas, chosen) if go]  # noqa: B905
    gone += [(0, 1)] * (before if not blocks.first_from(1) else 0)  # where no block is
    times, sizes = [time for time, _ in gone], [-size for _, size in gone]
    plan = blocks.plan_remove(np.array(times, np.uint64), -np.array(sizes, np.int64))
    assert plan == blocks.plan_change(times, [-1] * len(times), sizes)
