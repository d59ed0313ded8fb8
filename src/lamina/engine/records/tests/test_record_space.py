"""Space of what went is given back, and never that of what somebody still needs."""

from __future__ import annotations

import random
from contextlib import closing

import pytest

from lamina import errors
from lamina.engine.records import space
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import TINY, begin, drained, times_of
from lamina.engine.tests.machine import Machine
from lamina.testing import MODES

LARGE = bytes(range(256)) * 400


def payload_files(machine) -> int:
    return sum(1 for _ in machine.db.records.payloads.list())


def index_segments(machine) -> int:
    return sum(info.name.startswith("records/") for info in machine.db.blobs.list(""))


def test_files_of_evicted_records_are_deleted_in_the_life_that_wrote_them(machine):
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 300_000, "max_block_records": 4})
    entry = bucket.entry("e")
    for time in range(60):
        entry.write(b"%d" % time * 10_000, time)
        machine.db.upkeep.run_once()
    machine.db.flush()
    machine.db.upkeep.run_once()
    stored = sum(size for _, size in machine.db.records.payloads.list())
    assert stored < 1_000_000
    assert [record.read() for record in entry.query()] == [b"%d" % t * 10_000 for t in times_of(entry)]
    machine.db.compact()  # index segments stay as long as they say something newest to a rebuild of the catalog
    machine.db.upkeep.run_once()
    assert index_segments(machine) <= 10


def test_sections_and_files_of_evicted_entries_go_in_one_transaction(machine, monkeypatch):
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 10**9, "max_block_records": 1})
    entries = [bucket.entry(f"e-{i}") for i in range(5)]
    for time, entry in enumerate(entries):
        entry.write(LARGE, time)
        machine.db.flush()  # a segment and a payload file for each
    bucket.update({"quota_size": len(LARGE) + 1000})
    deltas = []
    commit = machine.catalog.commit
    monkeypatch.setattr(machine.catalog, "commit", lambda delta: (deltas.append(delta), commit(delta)))
    machine.db.upkeep.records.give_back()
    (delta,) = deltas
    assert [table for table, _ in delta.deletes] == ["record_section"] * 4
    assert {row.state for row in delta.puts} == {"retired"}
    machine.db.upkeep.delete_retired()
    assert payload_files(machine) == 1
    assert [record.read() for record in bucket.query()] == [LARGE]
    after = machine.kill().buckets.get("f")
    assert [times_of(after.entry(f"e-{i}")) for i in range(5)] == [[], [], [], [], [4]]


def test_files_of_removed_records_are_deleted(machine, entry):
    for time in range(4):
        entry.write(LARGE, time)
    machine.db.flush()
    entry.remove_range()
    machine.db.flush()
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert payload_files(machine) == 0
    assert index_segments(machine) <= 1  # which says to a rebuild of the catalog that the entry is empty


def test_a_large_record_that_is_removed_before_it_is_sealed_gives_its_space_back(machine, entry):
    for time in range(3):
        entry.write(LARGE, time)
        entry.remove(time)
        machine.db.upkeep.run_once()
        machine.db.upkeep.run_once()
        assert payload_files(machine) == 0
    entry.write(b"small", 5)
    assert [record.read() for record in machine.kill().buckets["b"].entry("e").query()] == [b"small"]


@pytest.mark.parametrize("whole", ["entry", "bucket"])
@pytest.mark.parametrize("sealed", [True, False])
def test_files_of_a_removed_entry_or_bucket_are_deleted(machine, bucket, whole, sealed):
    bucket.entry("e/f").write(LARGE, 1)
    bucket.entry("e").write(b"small", 1)
    if sealed:
        machine.db.flush()
    if whole == "entry":
        bucket.remove_entry("e")
    else:
        machine.db.buckets.remove("b")
    machine.db.upkeep.run_once()
    machine.db.upkeep.run_once()
    assert payload_files(machine) == 0
    assert index_segments(machine) == 0


@pytest.mark.parametrize("whole", ["entry", "bucket"])
def test_files_of_what_was_removed_before_a_crash_are_deleted_after_it(machine, bucket, whole):
    bucket.entry("e").write(LARGE, 1)
    machine.db.flush()
    if whole == "entry":
        bucket.remove_entry("e")
    else:
        machine.db.buckets.remove("b")
    db = machine.kill()
    db.compact()
    db.upkeep.run_once()
    assert payload_files(machine) == 0
    assert index_segments(machine) == 0


def test_a_removed_record_that_a_snapshot_holds_keeps_its_file(machine, bucket, entry):
    entry.write(LARGE, 1)
    bucket.entry("other").write(b"x", 1)
    machine.db.snapshot("monday").close()
    entry.remove(1)
    machine.db.flush()
    bucket.entry("other").remove(1)
    machine.db.upkeep.run_once()
    machine.db.upkeep.run_once()
    with machine.db.open_snapshot("monday") as snapshot:
        assert snapshot.bucket("b").entry("e").read(1).read() == LARGE
    with machine.kill().open_snapshot("monday") as snapshot:
        assert snapshot.bucket("b").entry("e").read(1).read() == LARGE


def test_a_removed_record_in_the_log_that_a_snapshot_holds_keeps_its_file(machine, bucket, entry):
    bucket.entry("other").write(b"", 1)
    machine.db.flush()
    entry.write(LARGE, 1)
    machine.db.snapshot("monday").close()
    entry.remove(1)
    bucket.entry("other").remove(1)
    machine.db.upkeep.records.give_back()
    machine.db.upkeep.delete_retired()
    with machine.db.open_snapshot("monday") as snapshot:
        assert snapshot.bucket("b").entry("e").read(1).read() == LARGE


def test_an_open_query_keeps_files_until_it_is_closed(machine, bucket, entry):
    for time in range(3):
        entry.write(LARGE, time)
    machine.db.flush()
    query = begin(bucket)
    entry.remove_range()
    machine.db.flush()
    machine.db.upkeep.run_once()
    assert [record.read() for record in query.next_batch(2, 1 << 62, 1 << 62, None).records] == [LARGE, LARGE]
    assert [record.read() for record in drained(query)] == [LARGE]
    query.close()
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert payload_files(machine) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["remove", "evict"])
def test_in_os_mode_a_removal_that_power_loss_undoes_has_not_given_the_content_away(mode, how):
    """The removal may be lost, as it was not synced: then the record is whole again."""
    machine = Machine(TINY._replace(durability="os"))
    settings = {"quota_type": "FIFO", "quota_size": 200_000, "max_block_records": 1}
    bucket = machine.db.buckets.create("b", settings if how == "evict" else None)
    entry = bucket.entry("e")
    entry.write(LARGE, 1)
    entry.write(b"x", 2)
    machine.db.flush()
    machine.db._log.sync()
    if how == "remove":
        entry.remove(1)
    else:
        entry.write(LARGE, 3)
    machine.db.upkeep.records.give_back()
    machine.db.upkeep.delete_retired()
    entry = machine.lose_power(random.Random(2), mode).buckets["b"].entry("e")
    assert not machine.db.degraded
    for record in entry.query():
        assert record.read() == (b"x" if record.time_us == 2 else LARGE)
    machine.off()


def test_contents_of_a_cut_section_are_given_back_page_by_page(machine):
    """Who still has the record in hand is told that it went, not that the disk is bad."""
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 400_000, "max_block_records": 1})
    entry = bucket.entry("e")
    entry.write_many([NewRecord(time, bytes([65 + time]) * 60_000) for time in range(6)])
    machine.db.flush()
    first = entry.read(0)
    entry.write(bytes([65 + 6]) * 60_000, 6)
    machine.db.upkeep.run_once()
    file, where, *_ = first._place
    assert not any(machine.db.records.payloads.read(file, where + 8192, 1000))
    assert [record.read() for record in entry.query()] == [bytes([65 + time]) * 60_000 for time in range(1, 7)]
    with pytest.raises(errors.NotFound):
        first.read()
    with pytest.raises(errors.NotFound):
        b"".join(first.chunks())
    machine.db.records.payloads.punch(*entry.read(2)._place[:2], 60_000)
    with pytest.raises(errors.Corrupt):
        entry.read(2).read()


def test_what_lies_between_evicted_contents_stays(machine):
    """A seal lays short contents of other entries into the files that uploads go on with."""
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 500_000, "max_block_records": 1})
    entry, other = bucket.ensure_entries(["e", "other"])
    for time in (1, 2):
        entry.write(LARGE[:66_000], time)
        other.write(b"short", 100 + time)
        machine.db.upkeep.records.seal([other.slot])
    places = [record._place for record in (entry.read(1), other.read(101), entry.read(2))]
    assert [place[0] for place in places] == [places[0][0]] * 3
    assert [place[1] for place in places] == sorted(place[1] for place in places)
    for time in range(3, 8):
        entry.write(LARGE[:66_000], time)
    machine.db.flush()
    for time in (8, 9):
        entry.write(LARGE[:66_000], time)
    machine.db.upkeep.run_once()
    assert times_of(entry)[0] == 3
    assert not any(machine.db.records.payloads.read(places[2][0], places[2][1] + 8192, 1000))
    assert [record.read() for record in other.query()] == [b"short"] * 2


def test_a_record_that_is_published_while_unused_files_are_looked_for_keeps_its_file(
    machine, bucket, entry, monkeypatch
):
    content = LARGE[:66_000]  # two of them fit into a file
    entry.write(content, 1)
    write = bucket.open_write(entry, 2, len(content), (), "text/plain")
    write.write(content)
    write.finish()
    entry.remove(1)  # the file holds nothing alive but what is about to be
    open_files = machine.db.records.payloads.open_files

    def publishing(id):
        monkeypatch.undo()
        bucket.commit_writes([write]).wait()
        return open_files(id)

    monkeypatch.setattr(machine.db.records.payloads, "open_files", publishing)
    space.release(machine.db.records, [bucket])
    machine.db.upkeep.delete_retired()
    assert entry.read(2).read() == content
    assert machine.restart().buckets["b"].entry("e").read(2).read() == content


def test_who_begins_to_read_now_brings_nothing_back_that_went_before(machine, entry):
    """The last change of what is read lies before the eviction, and what was evicted is still in a tail."""
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 250_000, "max_block_records": 1})
    bucket.entry("e").write(LARGE, 1)
    entry.write(b"x", 1)
    for time in range(2, 5):
        bucket.entry("e").write(LARGE, time)
    space.release(machine.db.records, [bucket])
    machine.db.upkeep.delete_retired()
    assert payload_files(machine) == 2
    with closing(entry.query()) as reading:
        assert next(iter(reading)).read() == b"x"
        machine.db.flush()
        assert [record.read() for record in bucket.query()] == [LARGE, LARGE]
    machine.db.compact()
    after = machine.restart().buckets.get("f")
    assert [record.read() for record in after.query()] == [LARGE, LARGE]


def test_what_goes_while_it_is_sealed_keeps_its_file_until_then(machine, bucket, entry, monkeypatch):
    entry.write(LARGE, 1)
    entry.write(b"stays", 2)
    sealer = machine.db.upkeep.records.sealer
    commit = sealer._commit

    def removing(works, row, files):
        entry.remove(1)
        space.release(machine.db.records, [bucket])
        machine.db.upkeep.delete_retired()
        commit(works, row, files)

    monkeypatch.setattr(sealer, "_commit", removing)
    machine.db.flush()
    monkeypatch.undo()
    assert times_of(entry.query()) == [2]
    machine.db.flush()
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert payload_files(machine) == 1
    assert times_of(machine.restart().buckets["b"].entry("e").query()) == [2]


def test_an_aborted_upload_leaves_nothing(machine, bucket):
    (entry,) = bucket.ensure_entries(["e"])
    write = bucket.open_write(entry, 1, len(LARGE), (), "text/plain")
    write.write(LARGE[:70_000])
    write.abort()
    write.abort()
    assert bucket.load == bucket.size == 0
    entry.write(LARGE, 1)
    assert entry.read(1).read() == LARGE
    db = machine.restart()
    assert db.buckets["b"].entry("e").read(1).read() == LARGE


def test_a_long_content_has_a_file_of_its_own_that_goes_with_it(machine, bucket, entry, monkeypatch):
    monkeypatch.setattr("lamina.storage.payloads.OWN_FILE", 80_000)
    entry.write(LARGE, 1)
    entry.write(LARGE[:70_000], 2)
    assert payload_files(machine) == 2
    entry.remove(1)
    machine.db.flush()
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert payload_files(machine) == 1
    assert entry.read(2).read() == LARGE[:70_000]


@pytest.mark.parametrize("mode", MODES)
def test_in_os_mode_a_file_that_only_the_log_knew_is_not_given_away_before_the_removal_is_durable(mode):
    machine = Machine(TINY._replace(durability="os"))
    bucket = machine.db.buckets.create("b")
    bucket.entry("other").write(b"", 1)
    machine.db.flush()
    bucket.entry("e").write(LARGE, 1)
    machine.db._log.sync()
    bucket.entry("e").remove(1)
    bucket.entry("other").remove(1)
    machine.db.upkeep.records.give_back()
    found = times_of(machine.lose_power(random.Random(2), mode).buckets["b"].entry("e"))
    entry = machine.kill().buckets["b"].entry("e")  # recovery may have kept the file open
    assert [record.read() for record in entry.query()] == [LARGE for _ in found]
    machine.off()


@pytest.mark.parametrize("seed", range(8))
def test_in_os_mode_pages_are_not_given_back_before_the_eviction_is_durable(seed):
    machine = Machine(TINY._replace(durability="os"))
    settings = {"quota_type": "FIFO", "quota_size": 400_000, "max_block_records": 1}
    bucket = machine.db.buckets.create("f", settings)
    bucket.entry("e").write_many([NewRecord(time, bytes([65 + time]) * 60_000) for time in range(6)])
    machine.db.flush()
    bucket.entry("e").write(bytes([65 + 6]) * 60_000, 6)
    machine.db.upkeep.records.give_back()
    entry = machine.lose_power(random.Random(seed)).buckets["f"].entry("e")
    assert [record.read() for record in entry.query()] == [bytes([65 + t]) * 60_000 for t in times_of(entry)]
    machine.off()
