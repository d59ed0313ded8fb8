"""Removal of many records: one op for an entry, the same once the log is read again."""

from __future__ import annotations

import pytest

from lamina.engine.records import changes, replay
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import rows_size, times_of


@pytest.fixture
def scattered(machine, entry):
    """Records in sections that overlap and in a tail out of order; some died before, some were relabelled."""
    entry.write_many([NewRecord(t, b"x" * (t % 7), {"n": t % 3}) for t in range(0, 300, 2)])
    machine.db.flush()
    entry.write_many([NewRecord(t, b"y" * (t % 5), {"n": t % 3}) for t in range(1, 200, 4)])
    entry.remove(8)
    entry.update(10, {"n": 7})
    machine.db.flush()
    entry.write_many([NewRecord(t, b"z", {"n": t % 3}) for t in (*range(400, 350, -1), 3, 7)])
    entry.update(351, {"n": 7})
    return entry


def told(entry):
    info = entry.info()
    return [(r.time_us, r.labels, r.read()) for r in entry.query()], info.record_count, info.size, info.block_count


@pytest.mark.parametrize("few", [0, 1 << 30])
def test_a_removal_is_the_same_once_the_log_is_read_again(machine, scattered, few, monkeypatch):
    monkeypatch.setattr(replay, "FEW_REMOVED", few)
    left = [r.time_us for r in scattered.query() if dict(r.labels)["n"] != "1" or not 20 <= r.time_us < 380]
    gone = scattered.info().record_count - len(left)
    assert scattered.remove_range(20, 380, when={"&n": {"$eq": 1}}) == gone > 50
    before = told(scattered)
    assert [time for time, *_ in before[0]] == left
    assert before[2] == rows_size(scattered)
    machine.kill()
    again = machine.db.buckets["b"].entry("e")
    assert told(again) == before
    machine.db.flush()
    assert told(again) == before
    machine.restart()
    assert told(machine.db.buckets["b"].entry("e")) == before


def test_a_time_that_was_removed_makes_nothing_late(machine, bucket, entry):
    """Else all that follows would go into one block, and a quota would let all of it go at once."""
    bucket.update({"max_block_records": 2})
    entry.write_many([NewRecord(t, b"x") for t in (1, 2, 1_000_000)])
    entry.remove(1_000_000)
    for t in range(3, 9):
        entry.write(b"x", t)
    before = told(entry)
    assert before[3] == 4
    machine.kill()
    assert told(machine.db.buckets["b"].entry("e")) == before


def test_all_go_by_one_op(scattered, monkeypatch):
    store = scattered.bucket.store
    submit, seen = store.submit, []
    monkeypatch.setattr(store, "submit", lambda ops, **kw: (seen.append(len(ops)), submit(ops, **kw))[1])
    assert scattered.remove_range() == 150 - 1 + 50 + 52
    assert seen == [1]
    assert told(scattered) == ([], 0, 0, 0)


def test_what_does_not_fit_into_an_op_goes_by_several(scattered, monkeypatch):
    monkeypatch.setattr(changes, "REMOVE_RECORDS", 10)
    scattered.remove_range(stop=100)
    assert min(times_of(scattered.query())) == 100


def test_what_was_evicted_meanwhile_is_not_counted_twice(machine, bucket, entry, monkeypatch):
    """An EVICT op is queued between the look and the REMOVE op."""
    bucket.update({"max_block_records": 4})
    entry.write_many([NewRecord(t, b"12345") for t in range(20)])
    machine.db.flush()
    entry.write_many([NewRecord(t, b"12345") for t in range(20, 40)])
    removal = changes._removal

    def evicting(slot, batches):
        note = removal(slot, batches)
        bucket.update({"quota_type": "FIFO", "quota_size": entry.info().size * 2 // 5})
        return note

    monkeypatch.setattr(changes, "_removal", evicting)
    entry.remove_range(10, 30)
    assert times_of(entry.query()) == list(range(30, 40))
    assert (entry.info().record_count, entry.info().size) == (10, rows_size(entry))
    assert bucket.info().size == bucket.load == entry.info().size
