"""Continuous queries: every record once, as it comes, whatever becomes of it and of the tail meanwhile."""

from __future__ import annotations

import itertools
import threading

import pytest

from lamina.engine.records import seal
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import begin, drained, times_of


@pytest.fixture
def query(bucket, entry):
    entry.write(b"first", 10)
    query = begin(bucket, ["e"], continuous=True)
    assert times_of(drained(query)) == [10]
    yield query
    query.close()


def test_records_come_once_across_seals_and_however_late_they_are(machine, entry, query):
    entry.write(b"", 20)
    entry.write(b"", 5)
    assert times_of(drained(query)) == [5, 20]
    assert drained(query) == []
    machine.db.flush()
    assert drained(query) == []
    entry.write(b"", 15)
    machine.db.flush()
    entry.write(b"", 7)
    machine.db.flush()
    entry.write(b"", 30)
    assert [record.time_us for record in drained(query)] == [15, 7, 30]
    assert drained(query) == []


def test_a_label_update_gives_a_record_neither_twice_nor_not_at_all(machine, entry, query):
    entry.write(b"two", 20, labels={"a": "1"})
    entry.update(20, {"a": "2"})
    entry.update(20, {"a": "3"})
    entry.update(10, {"a": "0"})
    (record,) = drained(query)
    assert (record.time_us, record.labels, record.read()) == (20, (("a", "3"),), b"two")
    entry.update(20, {"a": "4"})
    assert drained(query) == []
    entry.write(b"", 30, labels={"a": "1"})
    machine.db.flush()
    entry.update(30, {"a": "2"})
    assert times_of(drained(query)) == [30]
    assert drained(query) == []


def test_a_record_removed_before_it_was_given_is_not_and_one_written_again_is(machine, entry, query):
    entry.write(b"x", 20)
    entry.update(20, {"a": "1"})
    entry.remove(20)
    entry.write(b"y", 21)
    entry.remove(21)
    entry.write(b"z", 21)
    entry.update(21, {"a": "1"})
    (record,) = drained(query)
    assert (record.time_us, record.read()) == (21, b"z")


def test_what_is_written_while_the_tail_is_sealed_comes_once(machine, entry, query, monkeypatch):
    entry.write_many([NewRecord(time, b"%d" % time) for time in (20, 21, 22)])
    commit = seal.RecordSealer._commit
    seen: list[int] = []

    def meanwhile(self, *arguments):
        seen.extend(times_of(query.next_batch(1, 1 << 62, 1 << 62, None).records))
        entry.write(b"late", 15)
        entry.update(21, {"a": "1"})
        entry.update(15, {"a": "1"})
        commit(self, *arguments)

    monkeypatch.setattr(seal.RecordSealer, "_commit", meanwhile)
    machine.db.flush()
    monkeypatch.undo()
    machine.db.flush()
    seen += [record.time_us for record in drained(query)]
    assert sorted(seen) == [15, 20, 21, 22]


def test_entries_made_later_are_followed_too(bucket):
    query = begin(bucket, ["e*"], continuous=True)
    assert drained(query) == []
    bucket.entry("e2").write(b"x", 5)
    bucket.entry("other").write(b"x", 5)
    assert [(record.entry, record.time_us) for record in drained(query)] == [("e2", 5)]
    bucket.remove_entry("e2")
    bucket.entry("e2").write(b"y", 5)
    assert [record.read() for record in drained(query)] == [b"y"]
    query.close()


def test_counters_of_a_condition_go_on(bucket, entry):
    query = begin(bucket, ["e"], when={"$each_n": 2}, continuous=True)
    for time in range(1, 8):
        entry.write(b"", time)
        drained(query)
    entry.write(b"", 8)
    everything = begin(bucket, ["e"], when={"$each_n": 2})
    expected = times_of(drained(everything))
    again = begin(bucket, ["e"], when={"$each_n": 2}, continuous=True)
    found = times_of(drained(again))
    for time in range(9, 14):
        entry.write(b"", time)
        found += times_of(drained(again))
    assert found[: len(expected)] == expected
    assert {b - a for a, b in itertools.pairwise(found)} == {2}
    for open_ in (query, everything, again):
        open_.close()


def test_who_waits_is_told(bucket, entry, query):
    told: list[int] = []
    query.on_change(lambda: told.append(1))
    assert told == []
    entry.write(b"", 20)
    assert told == [1]
    query.on_change(lambda: told.append(2))
    assert told == [1, 2]
    drained(query)
    query.on_change(lambda: told.append(3))
    query.close()
    assert told == [1, 2, 3]
    entry.write(b"", 30)


def test_a_writer_and_a_reader_in_threads_lose_nothing(machine, bucket, entry, query):
    done = threading.Event()
    seen: list[int] = []

    def read():
        while not done.is_set():
            seen.extend(times_of(drained(query)))
        seen.extend(times_of(drained(query)))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(150):
        time = 100 + n if n % 3 else 1000 - n
        entry.write(b"", time)
        if n % 5 == 0:
            entry.update(time, {"n": str(n)})
        if n % 20 == 0:
            machine.db.flush()
    done.set()
    reader.join()
    assert sorted(seen) == times_of(entry)[1:]
