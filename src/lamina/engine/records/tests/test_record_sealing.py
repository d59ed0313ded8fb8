"""What happens to an entry while it is sealed, and what sealing leaves to whoever looks back."""

from __future__ import annotations

import pytest

from lamina import errors
from lamina.engine.records import seal
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import begin, drained, shown, times_of


@pytest.fixture
def meanwhile(machine, monkeypatch):
    """Something to do between the write of the segment and the swap of the states."""
    calls: list = []
    commit = seal.RecordSealer._commit

    def patched(self, *arguments):
        due, calls[:] = list(calls), []
        for call in due:
            call()
        commit(self, *arguments)

    monkeypatch.setattr(seal.RecordSealer, "_commit", patched)
    return calls


def test_an_empty_record_does_not_hide_where_its_neighbour_went(machine, entry, meanwhile):
    """Both lie at the same place of the log."""
    entry.write_many([NewRecord(1, b"content"), NewRecord(2, b"")])
    entry.write_many([NewRecord(11, b""), NewRecord(10, b"other")])
    meanwhile.append(lambda: [entry.update(time, {"a": "b"}) for time in (1, 2, 10, 11)])
    machine.db.flush()
    machine.db._log.rotate()
    machine.db.upkeep._trim_always()
    assert [record.read() for record in entry.query()] == [b"content", b"", b"other", b""]
    machine.db.flush()
    assert [record.read() for record in entry.query()] == [b"content", b"", b"other", b""]


def test_a_place_in_a_file_is_not_taken_for_one_in_the_log(machine, entry, meanwhile):
    entry.write(b"inline", 1)
    where = entry.read(1)._place[1]
    large = bytes(range(256)) * 300
    entry.write(large, 2)
    slot = entry.slot
    slot.state.tail.rows["where"][1] = where  # as it may be: offsets and positions are numbers of the same size
    meanwhile.append(lambda: entry.update(1, {"a": "b"}))
    machine.db.flush()
    assert entry.read(1)._place[0] != 0
    assert entry.read(1).read() == b"inline"


def test_changes_while_an_entry_is_sealed_are_kept(machine, entry, meanwhile):
    entry.write_many([NewRecord(time, b"%d" % time, {"n": str(time)}) for time in range(20)])

    def change():
        entry.remove(3)
        entry.update(4, {"n": "four"})
        entry.update(4, {"n": "4b"})
        entry.remove_range(10, 12)
        entry.write(b"late", 3)
        entry.write(b"new", 30)

    meanwhile.append(change)
    machine.db.flush()
    for _ in range(2):
        found = {record.time_us: shown(record)[1] for record in entry.query()}
        assert sorted(found) == [*range(10), *range(12, 20), 30]
        assert found[3].content == b"late"
        assert found[4].labels == (("n", "4b"),)
        assert entry.info().record_count == len(found)
        machine.db.flush()
    assert times_of(machine.kill().buckets["b"].entry("e")) == sorted(found)


def test_what_died_while_an_entry_was_sealed_is_dead_after_a_crash(machine, entry, meanwhile):
    entry.write_many([NewRecord(time, b"x") for time in range(5)])
    meanwhile.append(lambda: (entry.remove(0), entry.update(1, {"a": "b"})))
    machine.db.flush()
    entry = machine.kill().buckets["b"].entry("e")
    assert [(r.time_us, r.labels) for r in entry.query()] == [(1, (("a", "b"),)), (2, ()), (3, ()), (4, ())]


def test_times_are_those_of_living_records_though_a_snapshot_keeps_dead_ones(machine, entry):
    entry.write_many([NewRecord(time, b"x") for time in (1, 5, 9)])
    machine.db.snapshot("monday").close()
    entry.remove(1)
    entry.remove(9)
    machine.db.flush()
    assert (entry.info().oldest_record, entry.info().latest_record) == (5, 5)
    assert entry.read().time_us == 5
    entry.remove(5)
    machine.db.flush()
    assert (entry.info().oldest_record, entry.info().latest_record) == (0, 0)
    with pytest.raises(errors.NotFound):
        entry.read()


@pytest.mark.parametrize("sealed", [True, False])
def test_sections_that_only_a_snapshot_needed_go_with_it(machine, entry, sealed):
    entry.write_many([NewRecord(time, b"x") for time in range(5)])
    if sealed:
        machine.db.flush()
    machine.db.snapshot("monday").close()
    entry.remove_range()
    machine.db.flush()
    entry.write(b"after", 100)
    machine.db.drop_snapshot("monday")
    machine.db.compact()
    machine.db.records._indexes.clear()
    assert times_of(entry) == [100]
    assert times_of(machine.restart().buckets["b"].entry("e")) == [100]


def test_a_seal_of_many_entries_and_sections(machine, bucket, monkeypatch):
    monkeypatch.setattr(seal, "MOST_ROWS", 4)
    monkeypatch.setattr(seal, "SEGMENT_ENTRIES", 3)
    for number in range(7):
        bucket.entry(f"e{number}").write_many([NewRecord(time, b"%d" % time) for time in range(number + 5)])
    query = begin(bucket)
    machine.db.flush()
    for db in (machine.db, machine.db):
        for number in range(7):
            entry = db.buckets["b"].entry(f"e{number}")
            assert [record.read() for record in entry.query()] == [b"%d" % time for time in range(number + 5)]
            assert len(entry.slot.state.sections) == -(-(number + 5) // 4)
    assert len(drained(query)) == sum(number + 5 for number in range(7))


def test_a_failed_seal_leaves_everything_as_it_was(machine, entry, meanwhile):
    entry.write_many([NewRecord(time, b"x") for time in range(5)])

    def fail():
        raise OSError("ordered")

    meanwhile.append(fail)
    with pytest.raises(OSError, match="ordered"):
        machine.db.flush()
    entry.write(b"y", 7)
    assert times_of(entry) == [0, 1, 2, 3, 4, 7]
    machine.db.flush()
    assert times_of(entry) == [0, 1, 2, 3, 4, 7]
    assert times_of(machine.kill().buckets["b"].entry("e")) == [0, 1, 2, 3, 4, 7]
