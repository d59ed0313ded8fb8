"""Quotas against a naive model of blocks: who must go, and that the reported size never exceeds one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina import errors
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import TINY, rows_size, times_of
from lamina.engine.tests.machine import Machine
from lamina.records.size import LONGEST_OFFSETS, base_length

TYPE = "application/octet-stream"


class NaiveBucket:
    """Blocks as lists of (time, size); bytes counted as the bucket does when it decides."""

    def __init__(self, quota: int, block_records: int) -> None:
        self.quota = quota
        self.block_records = block_records
        self.entries: dict[str, list[list[tuple[int, int]]]] = {}
        self.exact: dict[tuple[str, int], int] = {}  # reported bytes, as the database tells

    def oldest(self) -> str | None:
        filled = [name for name, blocks in self.entries.items() if blocks]
        return min(filled, key=lambda name: self.entries[name][0][0][0], default=None)

    def write(self, name: str, time: int, size: int) -> bool:
        need = size + base_length(time, (), TYPE) + LONGEST_OFFSETS
        if size > self.quota:
            return False
        while sum(self.exact.values()) + need > self.quota:
            oldest = self.oldest()
            if oldest is None:
                return True
            for gone, _ in self.entries[oldest].pop(0):
                del self.exact[oldest, gone]
        blocks = self.entries.setdefault(name, [])
        last = max((t for block in blocks for t, _ in block), default=-1)
        if time > last and blocks and len(blocks[-1]) < self.block_records:
            blocks[-1].append((time, size))
        elif time > last or time < blocks[0][0][0]:
            blocks.append([(time, size)])
        else:
            max((block for block in blocks if block[0][0] <= time), key=lambda block: block[0][0]).append((time, size))
        blocks.sort(key=lambda block: block[0][0])
        return True


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 300), st.integers(0, 400), st.booleans()),
        min_size=1,
        max_size=60,
        unique_by=lambda write: write[1],
    ),
    st.integers(1, 4),
)
def test_the_oldest_blocks_go_and_no_more_than_must(writes, block_records):
    machine = Machine(TINY)
    settings = {"quota_type": "FIFO", "quota_size": 1500, "max_block_records": block_records}
    bucket = machine.db.buckets.create("b", settings)
    model = NaiveBucket(1500, block_records)
    for name, time, size, flush in writes:
        entry = bucket.entry(name)
        before = bucket.size
        assert model.write(name, time, size)
        entry.write(bytes(size), time)
        assert bucket.info().size <= 1500
        kept = sum(model.exact.values())
        model.exact[name, time] = bucket.size - kept
        assert base_length(time, (), TYPE) + size <= model.exact[name, time] <= before + size + 200
        for other, blocks in model.entries.items():
            assert times_of(bucket.entry(other)) == sorted(t for block in blocks for t, _ in block)
            assert bucket.entry(other).info().block_count == len(blocks)
        if flush:
            machine.db.flush()
            machine.db.upkeep.run_once()
            assert bucket.size == sum(rows_size(bucket.entry(n)) for n in bucket.names())
    machine.off()


@pytest.fixture
def fifo(machine):
    return machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 2000, "max_block_records": 2})


def test_a_record_larger_than_the_quota_is_refused(fifo):
    entry = fifo.entry("e")
    entry.write(b"x", 1)
    with pytest.raises(errors.QuotaExceeded, match="Failed to keep quota of 'f'"):
        entry.write(bytes(2001), 2)
    assert fifo.load <= 2000
    assert times_of(entry) == [1]  # what could not make room for it stays
    entry.write(b"y", 3)
    assert times_of(entry) == [1, 3]


def test_attachments_count_and_stay(fifo):
    fifo.entry("e/$meta").write(bytes(1000), 1, labels={"key": "k"})
    for time in range(2, 20):
        fifo.entry("e").write(bytes(100), time)
        assert fifo.info().size <= 2000
    assert times_of(fifo.entry("e/$meta")) == [1]
    assert times_of(fifo.entry("e"))[-1] == 19
    assert fifo.info().oldest_record > 2


def test_a_lowered_quota_is_kept_at_once(machine, fifo):
    entry = fifo.entry("e")
    for time in range(12):
        entry.write(bytes(60), time)
    fifo.update({"quota_size": 700})
    assert fifo.info().size <= 700
    left = times_of(entry)
    assert left == list(range(12 - len(left), 12))
    assert times_of(machine.kill().buckets["f"].entry("e")) == left


def test_an_emptied_entry_stays_listed(fifo):
    fifo.entry("old").write(bytes(500), 1)
    for time in range(10, 20):
        fifo.entry("e").write(bytes(500), time)
    assert fifo.entry("old").info().record_count == 0
    assert fifo.names() == ["e", "old"]
    fifo.entry("old").write(b"again", 1)
    assert times_of(fifo.entry("old")) == [1]


def test_a_late_record_into_evicted_time_is_kept(machine, fifo):
    entry = fifo.entry("e")
    for time in range(10, 40):
        entry.write(bytes(100), time)
    assert times_of(entry)[0] > 12
    entry.write(b"late", 11)
    assert times_of(entry)[0] == 11
    machine.db.flush()
    assert entry.read(11).read() == b"late"
    assert machine.kill().buckets["f"].entry("e").read(11).read() == b"late"


def test_a_hard_quota_refuses_and_frees_with_removals(machine):
    bucket = machine.db.buckets.create("h", {"quota_type": "HARD", "quota_size": 1000})
    entry = bucket.entry("e")
    entry.write(bytes(600), 1)
    with pytest.raises(errors.QuotaExceeded, match="Quota of 'h' exceeded"):
        entry.write(bytes(600), 2)
    entry.write(bytes(100), 2)
    entry.remove(1)
    entry.write(bytes(600), 3)
    assert times_of(entry) == [2, 3]


def test_a_hard_quota_counts_what_is_under_way(machine):
    bucket = machine.db.buckets.create("h", {"quota_type": "HARD", "quota_size": 1000})
    (entry,) = bucket.ensure_entries(["e"])
    write = bucket.open_write(entry, 1, 600, (), TYPE)
    with pytest.raises(errors.QuotaExceeded):
        bucket.open_write(entry, 2, 600, (), TYPE)
    write.abort()
    bucket.open_write(entry, 2, 600, (), TYPE).abort()
    assert bucket.load == 0


def test_claims_of_writes_that_failed_are_given_back_once(machine, bucket, monkeypatch):
    """Of two submissions the first was through when the second was refused."""
    monkeypatch.setattr("lamina.engine.records.write.OP_BYTES", 70)
    a, c = bucket.ensure_entries(["a", "c"])
    writes = []
    for entry in (a, c):
        for time in (1, 2):
            write = bucket.open_write(entry, time, 60, (), TYPE)
            write.set_content(bytes(60))
            writes.append(write)
    c.slot.leaving = True  # as if it were being removed at this moment
    commit = bucket.commit_writes(writes)
    with pytest.raises(errors.NotFound):
        commit.wait()
    c.slot.leaving = False
    assert bucket.load == bucket.size
    c.write_many([NewRecord(time, b"") for time in (1, 2, 3)])
    assert bucket.load == bucket.size


def test_an_eviction_under_way_when_its_entry_is_removed_counts_once(machine, fifo):
    (entry,) = fifo.ensure_entries(["e"])
    other = fifo.entry("o")
    entry.write(bytes(900), 1)
    write = fifo.open_write(entry, 2, 1500, (), TYPE)
    assert fifo.load < 1700
    fifo.remove_entry("e")
    write.abort()
    assert (fifo.load, fifo.size) == (0, 0)
    other.write(bytes(1000), 1)
    assert fifo.load == fifo.size


def test_a_write_numbered_before_its_entry_went_leaves_nothing(machine, bucket, monkeypatch):
    """The removal is in the log, but memory does not know yet."""
    entry = bucket.entry("e")
    entry.write(b"x", 1)
    metadata = machine.db.records.metadata
    apply = metadata._apply

    def late(*arguments):
        apply(*arguments)
        entry.write(b"too late", 2)
        monkeypatch.undo()

    monkeypatch.setattr(metadata, "_apply", late)
    bucket.remove_entry("e")
    assert (bucket.load, bucket.size) == (0, 0)
    assert machine.db.upkeep.records.dirty == []
    assert machine.kill().buckets["b"].names() == []


def test_the_limit_of_all_buckets(machine, bucket):
    machine.db.records.max_bytes = 500
    bucket.entry("e").write(bytes(300), 1)
    other = machine.db.buckets.create("other").entry("e")
    with pytest.raises(errors.QuotaExceeded, match="storage limit exceeded"):
        other.write(bytes(300), 1)
    other.write(b"x", 1)


def test_an_eviction_that_failed_is_decided_again(machine, monkeypatch):
    """The log has no room for it, for once; then the record it was for must not get in either."""
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 1000, "max_block_records": 1})
    entry = bucket.entry("e")
    entry.write(bytes(400), 1)
    entry.write(bytes(400), 2)
    number = machine.db.records.publisher.number

    def full(submitted):
        monkeypatch.undo()
        raise errors.NoSpace("ordered")

    monkeypatch.setattr(machine.db.records.publisher, "number", full)
    entry.write(bytes(400), 3)
    assert machine.db.records.publisher.number == number
    assert bucket.load == bucket.size
    entry.write(bytes(400), 4)
    assert bucket.info().size <= 1000
    assert times_of(entry) == [3, 4]
