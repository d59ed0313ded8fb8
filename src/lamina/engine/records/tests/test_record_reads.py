"""Reading while things change: what a reader looks at stays as it was, what lives is always found."""

from __future__ import annotations

import threading

import pytest

from lamina import errors
from lamina.engine.records import seal
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.record import read_contents
from lamina.engine.records.tests.recordmodel import begin, drained, shown, times_of
from lamina.records.condition.condition import compile_condition

LARGE = bytes(range(256)) * 400


def moment(view):
    return [shown(record) for record in view.query()]


def test_the_row_of_a_state_is_found_after_its_label_changed(entry):
    """A reader took the state, then a writer was faster."""
    entry.write_many(
        [NewRecord(time, b"%d" % time, {"n": "1"}) for time in (5, 3)]
    )  # late: found by the index of times
    store, slot = entry.bucket.store, entry.slot
    entry.read(3)
    before = slot.state
    entry.update(3, {"n": "2"})
    entry.remove(5)
    for time in (3, 5):
        found = store.find(slot, before, time, before.seq)
        assert found is not None
        assert found.source.label_sets([found.at]) == [(("n", "1"),)]
    assert entry.read(3).labels == (("n", "2"),)
    with pytest.raises(errors.NotFound):
        entry.read(5)


def test_the_row_of_a_state_in_order_is_found_after_its_label_changed(entry):
    entry.write(b"x", 1)
    store, slot = entry.bucket.store, entry.slot
    before = slot.state
    entry.update(1, {"n": "2"})
    assert store.find(slot, before, 1, before.seq) is not None
    assert before.find_in_tail(1) == 0


@pytest.mark.parametrize("late", [True, False])
def test_a_record_is_there_all_the_time_while_its_labels_change(machine, entry, late):
    entry.write(b"x", 10)
    if late:
        entry.write(b"y", 5)
    stop = threading.Event()
    missing: list[BaseException] = []

    def read():
        try:
            while not stop.is_set():
                assert entry.read(10).read() == b"x"
                assert 10 in times_of(entry)
        except BaseException as error:
            missing.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(200):
        entry.update(10, {"n": str(n)})
        if n % 50 == 0:
            machine.db.flush()
    stop.set()
    for reader in readers:
        reader.join()
    assert missing == []


def test_the_content_is_found_after_labels_changed_and_the_log_let_it_go(machine, entry):
    entry.write(b"x", 10)
    kept, replaced = entry.read(10), entry.read(10)
    for n in range(200):
        entry.update(10, {"n": str(n)})
        if n % 50 == 0:
            machine.db.flush()
    assert kept.read() == b"x"
    entry.remove(10)
    entry.write(b"y", 10)
    machine.db.flush()
    with pytest.raises(errors.NotFound, match="Record 10 not found in entry b/e"):
        replaced.read()


def test_writers_in_threads_get_each_time_once(machine, bucket, entry):
    entry.write(b"", 50)
    taken: list[int] = []
    won: list[int] = []

    def write(mine):
        for time in range(100):
            try:
                entry.write(b"%d %d" % (mine, time), time)
                won.append(time)
            except errors.AlreadyExists:
                taken.append(time)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        machine.db.upkeep.run_once()
    for thread in threads:
        thread.join()
    assert sorted(won) == [time for time in range(100) if time != 50]
    assert len(won) + len(taken) == 400
    assert times_of(entry) == list(range(100))
    assert bucket.load == bucket.size
    assert entry.info().record_count == 100


@pytest.mark.parametrize("sealed", [True, False])
def test_snapshots_and_queries_see_records_as_they_were(machine, bucket, entry, sealed):
    written = {time: b"%d" % time * 10 for time in range(6)} | {9: LARGE}
    for time, content in written.items():
        entry.write(content, time, labels={"n": str(time)})
    if sealed:
        machine.db.flush()
    machine.db.snapshot("monday").close()
    query, view = begin(bucket, ["e"]), machine.db.snapshot()
    expected = moment(view.bucket("b").entry("e"))
    assert [time for time, _ in expected] == list(written)
    entry.update(1, {"n": "one"})
    entry.remove(2)
    entry.remove(9)
    entry.write(b"again", 2)
    entry.write(b"late", 7)
    machine.db.flush()
    entry.update(3, {"n": ""})
    entry.remove_range(4, 6)
    machine.db.flush()
    machine.db.upkeep.run_once()
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert [shown(record) for record in drained(query, 2)] == expected
    query.close()
    assert moment(view.bucket("b").entry("e")) == expected
    assert shown(view.bucket("b").entry("e").read()) == expected[-1]
    assert shown(view.bucket("b").entry("e").read(2)) == expected[2]
    with pytest.raises(errors.NotFound):
        view.bucket("b").entry("e").read(7)
    found = view.bucket("b").entry("e").query(1, 4, when={"&n": {"$lt": 3}})
    assert times_of(found) == [1, 2]
    view.close()
    with pytest.raises(errors.Closed):
        view.bucket("b")
    for reopen in (machine.kill, machine.restart):
        with reopen().open_snapshot("monday") as snapshot:
            assert moment(snapshot.bucket("b").entry("e")) == expected
    machine.db.drop_snapshot("monday")
    assert times_of(machine.db.buckets["b"].entry("e")) == [0, 1, 2, 3, 7]


@pytest.mark.parametrize("sealed", ["all", "some", "none"])
@pytest.mark.parametrize("whole", ["entry", "bucket"])
def test_snapshots_see_entries_and_buckets_that_were_removed_since(machine, bucket, entry, sealed, whole):
    entry.write_many([NewRecord(time, b"%d" % time) for time in range(4)])
    if sealed == "some":
        machine.db.flush()
    entry.write(LARGE, 9)
    entry.remove(0)
    if sealed == "all":
        machine.db.flush()
    machine.db.snapshot("monday").close()
    view = machine.db.snapshot()
    expected = moment(view.bucket("b").entry("e"))
    entry.write(b"after", 20)
    entry.remove(1)
    if whole == "entry":
        bucket.remove_entry("e")
    else:
        machine.db.buckets.remove("b")
        machine.db.buckets.create("b")
    machine.db.buckets["b"].entry("e").write(b"another", 1)
    machine.db.flush()
    machine.db.upkeep.run_once()
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert moment(view.bucket("b").entry("e")) == expected
    view.close()
    for db in (machine.db, machine.kill(), machine.restart()):
        if db is machine.db:
            with db.open_snapshot("monday") as snapshot:
                assert moment(snapshot.bucket("b").entry("e")) == expected
    machine.db.drop_snapshot("monday")
    machine.db.compact()
    machine.db.upkeep.run_once()
    assert [record.read() for record in machine.db.buckets["b"].entry("e").query()] == [b"another"]
    with machine.catalog.snapshot() as catalog:
        assert not [row for row in catalog.rows("entry") if row.dead]
        assert not [row for row in catalog.rows("bucket") if row.dead]


def test_what_died_before_a_snapshot_is_not_in_it_though_its_section_was_evicted(machine):
    bucket = machine.db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 3000, "max_block_records": 4})
    entry = bucket.entry("e")
    for time in range(4):
        entry.write(bytes(300), time)
    machine.db.flush()
    entry.remove(2)
    entry.update(1, {"a": "b"})
    machine.db.snapshot("monday").close()
    expected = moment(machine.db.open_snapshot("monday").bucket("f").entry("e"))
    for time in range(10, 20):
        entry.write(bytes(300), time)
    machine.db.upkeep.records.give_back()
    machine.db.flush()
    with machine.db.open_snapshot("monday") as snapshot:
        assert moment(snapshot.bucket("f").entry("e")) == expected
    with machine.kill().open_snapshot("monday") as snapshot:
        assert moment(snapshot.bucket("f").entry("e")) == expected


def test_a_reader_that_begins_while_an_entry_is_sealed_keeps_what_it_sees(machine, bucket, entry, monkeypatch):
    entry.write_many([NewRecord(time, b"%d" % time) for time in range(5)])
    commit = seal.RecordSealer._commit
    views = []

    def meanwhile(self, *arguments):
        views.append(machine.db.snapshot())
        entry.remove(3)
        entry.update(4, {"a": "b"})
        commit(self, *arguments)

    monkeypatch.setattr(seal.RecordSealer, "_commit", meanwhile)
    machine.db.flush()
    monkeypatch.undo()
    machine.db.flush()
    machine.db.compact()
    assert times_of(views[0].bucket("b").entry("e")) == [0, 1, 2, 3, 4]
    assert views[0].bucket("b").entry("e").read(4).labels == ()
    assert times_of(entry) == [0, 1, 2, 4]
    views[0].close()


def test_records_handed_out_are_read_after_their_contents_moved(machine, bucket, entry):
    for time in range(4):
        entry.write(b"%d" % time * 100, time)
    entry.write(LARGE, 9)
    records = list(entry.query())
    machine.db.flush()
    machine.db._log.rotate()
    machine.db.upkeep._trim_always()
    entry.update(1, {"a": "b"})
    assert [bytes(content) for content in read_contents(records)] == [b"%d" % t * 100 for t in range(4)] + [LARGE]
    assert b"".join(bytes(part) for part in records[4].chunks(100, 70_000)) == LARGE[100:70_000]
    entry.remove(1)
    machine.db.flush()
    assert records[0].read() == b"0" * 100


def test_reading_finds_missing_records_and_entries_as_the_contract_says(bucket, entry):
    with pytest.raises(errors.NotFound, match="Entry 'e' not found in bucket 'b'"):
        entry.read(1)
    bucket.ensure_entries(["e"])
    with pytest.raises(errors.NotFound, match="Record 1 not found in entry b/e"):
        entry.read(1)
    with pytest.raises(errors.NotFound):
        entry.read()
    with pytest.raises(errors.NotFound):
        entry.try_read(1)
    assert times_of(entry) == []
    assert entry.info()[1:] == (0, 0, 0, 0, 0, "READY")


def test_the_latest_record_is_that_of_the_largest_time(machine, entry):
    for time in (5, 9, 7):
        entry.write(b"%d" % time, time)
    assert entry.read().time_us == 9
    machine.db.flush()
    entry.write(b"8", 8)
    assert entry.read().time_us == 9
    entry.remove(9)
    assert entry.read().time_us == 8
    assert entry.try_read() is None or entry.try_read().time_us == 8


def test_a_batch_ends_where_it_must_and_says_when_it_was_the_last(machine, bucket):
    for number in range(3):
        bucket.entry(f"e{number}").write_many([NewRecord(10 * n + number, b"x" * n) for n in range(40)])
        machine.db.flush() if number == 1 else None
    everything = sorted((10 * n + number, f"e{number}") for number in range(3) for n in range(40))
    query = begin(bucket)
    first = query.next_batch(85, 8_000_000, 512_000, None)
    second = query.next_batch(85, 8_000_000, 512_000, None)
    assert (len(first.records), first.last, len(second.records), second.last) == (85, False, 35, True)
    assert [(r.time_us, r.entry) for r in first.records + second.records] == everything
    assert query.next_batch(85, 1, 1, None) == ([], True)
    query.close()
    query = begin(bucket, ["e0", "e2"])
    assert len(query.next_batch(85, 20, 512_000, None).records) == 11  # 0 0 1 1 2 2 3 3 4 4: 20 bytes, and one more
    assert len(query.next_batch(85, 8_000_000, 100, lambda _: 40).records) == 2
    assert len(query.next_batch(85, 8_000_000, 10, lambda _: 40).records) == 1
    query.close()


def test_a_condition_that_fails_in_strict_mode_gives_what_came_before(bucket, entry):
    entry.write(b"1", 1, labels={"x": "1"})
    entry.write(b"2", 2)
    from lamina.engine.records.queries import Query

    query = Query(bucket, ["e"], None, None, compile_condition({"&x": {"$eq": 1}}), True, False)
    assert times_of(query.next_batch(85, 1 << 40, 1 << 40, None).records) == [1]
    for _ in range(2):
        with pytest.raises(errors.LaminaError):
            query.next_batch(85, 1 << 40, 1 << 40, None)
    query.close()
    with pytest.raises(errors.LaminaError):
        entry.remove_range(when={"&x": {"$eq": 1}}, strict=True)
    assert times_of(entry) == [1, 2]


def test_queries_are_numbered_owned_and_end(machine, bucket, entry):
    entry.write(b"x", 1)
    queries = machine.db.queries
    given = {"start": None, "stop": None, "condition": compile_condition(None), "strict": False, "continuous": False}
    one = queries.open(bucket, ["e"], owner="b/b/e", ttl_s=5, **given)
    two = queries.open(bucket, ["e"], owner="io/b", ttl_s=0, **given)
    assert (one, two) == (1, 2)
    assert times_of(drained(queries.get(1, "b/b/e"))) == [1]
    for id, owner in ((1, "io/b"), (2, "io/b"), (3, "io/b")):
        with pytest.raises(errors.NotFound, match=f"Query {id} not found and it might have expired"):
            queries.get(id, owner)
    machine.clock.advance(4)
    queries.get(1, "b/b/e")
    machine.clock.advance(4)
    queries.get(1, "b/b/e")
    machine.clock.advance(6)
    with pytest.raises(errors.NotFound):
        queries.get(1, "b/b/e")
    queries.sweep()
    assert len(queries) == 0
    assert machine.db.records.readers.open == {}


@pytest.mark.parametrize("continuous", [True, False])
def test_a_query_that_begins_while_records_go_sees_them_all_or_knows_they_went(
    machine, bucket, entry, monkeypatch, continuous
):
    entry.write_many([NewRecord(time, b"%d" % time) for time in range(3)])
    store, begin_read = machine.db.records, machine.db.records.begin_read

    def late(seq=None):
        monkeypatch.undo()
        entry.remove(1)
        machine.db.flush()
        machine.db._log.rotate()
        machine.db.upkeep._trim_always()
        return begin_read(seq)

    monkeypatch.setattr(store, "begin_read", late)
    query = begin(bucket, ["e"], continuous=continuous)
    assert [record.read() for record in drained(query)] == [b"0", b"2"]
    query.close()
    assert store.readers.open == {}
