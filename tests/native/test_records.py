"""Records through the native API, wherever the database is."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest

from lamina import NewRecord, errors

LARGE = bytes(range(256)) * 4000


def times_of(records):
    return [record.time_us for record in records]


def shown(record):
    return record.entry, record.time_us, record.size, record.labels, record.content_type, record.read()


def test_a_record_is_read_as_it_was_written(entry):
    entry.write(b"x", 5, labels={"part": 4711, "ok": True}, content_type="image/png")
    entry.write(LARGE, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    entry.write(b"", 1)
    found = [shown(record) for record in entry.query()]
    plain = "application/octet-stream"
    assert found == [
        ("e", 1, 0, (), plain, b""),
        ("e", 5, 1, (("ok", "true"), ("part", "4711")), "image/png", b"x"),
        ("e", 1_767_225_600_000_000, len(LARGE), (), plain, LARGE),
    ]
    assert shown(entry.read(5)) == found[1]
    assert shown(entry.read()) == found[2]
    with pytest.raises(errors.AlreadyExists):
        entry.write(b"y", 5)


def test_a_record_without_a_time_is_of_now(entry):
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    entry.write(b"x")
    assert times_of(entry.query(start=before)) == [entry.read().time_us]


@pytest.mark.parametrize("size", [100, 70_000, 3_000_000])
def test_contents_go_in_and_come_out_in_parts(entry, size):
    content = (LARGE * 3)[:size]
    entry.write((content[i : i + 30_000] for i in range(0, size, 30_000)), 1, size=size)
    record = entry.read(1)
    assert record.read() == content
    assert b"".join(record.chunks(50, 99)) == content[50:99]
    assert b"".join(record.chunks(size - 10)) == content[-10:]
    assert b"".join(record.chunks(size, size)) == b""


@pytest.mark.parametrize(("size", "word"), [(9, "bigger"), (11, "smaller"), (69_999, "smaller")])
def test_a_content_that_is_not_as_long_as_was_said_leaves_nothing(entry, size, word):
    with pytest.raises(errors.InvalidArgument, match=f"Content is {word} than in content-length"):
        entry.write(iter([b"12345", b"67890"]), 1, size=size)
    entry.write(b"x", 2)
    assert times_of(entry.query()) == [2]


def test_an_iterable_that_fails_leaves_nothing(entry):
    def pieces():
        yield LARGE
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        entry.write(pieces(), 1, size=2 * len(LARGE))
    entry.write(b"x", 1)
    assert entry.read(1).read() == b"x"


def test_many_records_are_stored_with_one_answer_each(entry):
    entry.write(b"there", 3)
    results = entry.write_many(NewRecord(i, b"%d" % i, {"n": i % 2, "text": "\u00e4"}, "text/plain") for i in range(5))
    assert [type(result) for result in results] == [type(None)] * 3 + [errors.AlreadyExists] + [type(None)]
    with pytest.raises(errors.AlreadyExists) as refused:
        entry.write(b"x", 3)
    assert str(results[3]) == str(refused.value)
    assert [record.read() for record in entry.query()] == [b"0", b"1", b"2", b"there", b"4"]
    assert entry.read(4).labels == (("n", "0"), ("text", "\u00e4"))
    assert entry.write_many([]) == []


def test_large_and_small_ones_of_many(entry):
    results = entry.write_many([NewRecord(1, b"x"), NewRecord(2, LARGE), NewRecord(3, b"")])
    assert results == [None] * 3
    assert [record.read() for record in entry.query()] == [b"x", LARGE, b""]


def test_many_records_are_more_than_one_call_and_no_more_than_that_in_memory(entry, monkeypatch):
    monkeypatch.setattr("lamina.remote.entry.CALL_RECORDS", 10)
    monkeypatch.setattr("lamina.remote.entry.CALL_BYTES", 1000)
    sent = []

    def frames():
        for i in range(35):
            sent.append(len(entry.bucket.names()))
            yield NewRecord(i, bytes(150), {"n": i}) if i != 20 else NewRecord(i, "no bytes")

    results = entry.write_many(frames())
    assert [i for i, result in enumerate(results) if result is not None] == [20]
    assert times_of(entry.query()) == [i for i in range(35) if i != 20]
    assert sent[-1] == 1, "the entry is there before the last record is made"


def test_queries_select_by_time_and_condition(bucket, entry):
    entry.write_many(NewRecord(i, b"%d" % i, {"n": i}) for i in range(3000))
    assert times_of(entry.query(10, 13)) == [10, 11, 12]
    assert times_of(entry.query(when={"&n": {"$lt": 2}})) == [0, 1]
    assert times_of(entry.query(when='{"&n": {"$gte": 2998}}')) == [2998, 2999]
    assert times_of(entry.query(when={"$each_n": 1000})) == [999, 1999, 2999]
    assert [record.read() for record in entry.query()] == [b"%d" % i for i in range(3000)]
    found = entry.query()
    assert next(found).time_us == 0
    found.close()
    bucket.entry("f").write(b"f", 1)
    assert [(r.entry, r.time_us) for r in bucket.query(None, 0, 2)] == [("e", 0), ("e", 1), ("f", 1)]


def test_a_condition_that_is_none_is_refused_at_once(entry):
    entry.write(b"x", 1)
    for wrong in ({"$nothing": 1}, [1], {"&a": {"$eq": object()}}):
        with pytest.raises(errors.InvalidArgument):
            entry.query(when=wrong)
    with pytest.raises(errors.LaminaError):
        list(entry.query(when={"&missing": {"$eq": 1}}, strict=True))
    assert list(entry.query(when={"&missing": {"$eq": 1}})) == []


def test_labels_change_and_records_go(entry):
    entry.write_many(NewRecord(i, b"x", {"a": "1", "b": "2"}) for i in range(4))
    before = entry.read(1)
    entry.update(1, {"a": 5, "b": None, "c": "new"})
    assert entry.read(1).labels == (("a", "5"), ("c", "new"))
    assert before.labels == (("a", "1"), ("b", "2"))
    assert before.read() == b"x"
    entry.remove(2)
    with pytest.raises(errors.NotFound, match="Record 2 not found in entry b/e"):
        entry.read(2)
    with pytest.raises(errors.NotFound):
        entry.remove(2)
    with pytest.raises(errors.NotFound):
        entry.update(2, {"a": "b"})
    assert entry.remove_range(3, 4) == 1
    assert entry.remove_range(when={"&a": {"$eq": 5}}) == 1
    assert times_of(entry.query()) == [0]


def test_what_was_read_and_removed_is_read_or_gone_and_never_another(db, entry):
    entry.write(b"x", 1)
    record = entry.read(1)
    entry.remove(1)
    entry.write(b"other", 1)
    db.flush()
    with contextlib.suppress(errors.NotFound):
        assert record.read() == b"x"


def test_a_record_is_read_after_its_entry_was_renamed(bucket, entry):
    entry.write(b"x", 1)
    record = entry.read(1)
    bucket.rename_entry("e", "f/g")
    assert record.read() == b"x"
    assert bucket.names() == ["f", "f/g"]
    assert bucket.entry("f/g").read(1).entry == "f/g"


def test_a_snapshot_keeps_records_as_they_were(db, bucket, entry):
    for i in range(4):
        entry.write(b"%d" % i, i, labels={"n": i})
    entry.write(LARGE, 9)
    with db.snapshot("before") as snapshot:
        entry.update(0, {"n": "changed"})
        entry.remove_range(1)
        db.flush()
        then = snapshot.bucket("b").entry("e")
        assert [r.read() for r in then.query()] == [b"0", b"1", b"2", b"3", LARGE]
        assert then.read(0).labels == (("n", "0"),)
        assert then.read().time_us == 9
        assert b"".join(then.read(9).chunks(5, 10)) == LARGE[5:10]
        assert times_of(then.query(1, 4, when={"&n": {"$gt": 1}})) == [2, 3]
        assert [view.name for view in snapshot.bucket("b").entries()] == ["e"]
        with pytest.raises(errors.NotFound):
            then.read(77)
    for call in (then.query, then.read, lambda: snapshot.bucket("b"), lambda: snapshot.stream(None)):
        with pytest.raises(errors.Closed, match="the snapshot is closed"):
            call()
    db.buckets.remove("b")
    with db.open_snapshot("before") as snapshot:
        assert len(list(snapshot.bucket("b").entry("e").query())) == 5
    db.drop_snapshot("before")


def test_buckets_are_made_found_changed_and_removed(db):
    made = db.buckets.create("a", quota_type="FIFO", quota_size=1000)
    db.buckets.create("b", {"max_block_records": 5})
    assert db.buckets.create("a", exist_ok=True) == made
    with pytest.raises(errors.AlreadyExists, match="Bucket 'a' already exists"):
        db.buckets.create("a")
    assert [bucket.name for bucket in db.buckets] == ["a", "b"]
    assert (len(db.buckets), "a" in db.buckets, "c" in db.buckets) == (2, True, False)
    assert db.buckets.find("c") is None
    with pytest.raises(errors.NotFound, match="Bucket 'c' is not found"):
        db.buckets["c"]
    assert tuple(made.settings) == ("FIFO", 1000, 64_000_000, 1024)
    made.update({"quota_type": "HARD", "quota_size": None})
    assert tuple(db.buckets["a"].settings) == ("HARD", 1000, 64_000_000, 1024)
    with pytest.raises(errors.QuotaExceeded):
        made.entry("e").write(bytes(2000), 1)
    for wrong in ({"quota_type": "SOFT"}, {"quota_size": -1}, {"max_block_size": "1"}):
        with pytest.raises(errors.InvalidArgument):
            made.update(wrong)
    db.buckets.rename("a", "c")
    assert db.buckets["c"].settings.quota_type == "HARD"
    with pytest.raises(errors.AlreadyExists):
        db.buckets.rename("c", "b")
    db.buckets.remove("c")
    with pytest.raises(errors.NotFound):
        db.buckets.remove("c")
    assert db.buckets.defaults.max_block_records == 1024


def test_a_bucket_tells_of_itself_and_its_entries(bucket):
    bucket.entry("a/b").write(b"12345", 7)
    bucket.entry("a/b").write(b"1", 9)
    info = bucket.info()
    assert (info.name, info.entry_count, info.oldest_record, info.latest_record) == ("b", 2, 7, 9)
    assert info.size == bucket.size > 6
    assert [(i.name, i.record_count) for i in bucket.entry_infos()] == [("a", 0), ("a/b", 2)]
    assert bucket.entry("a/b").info() == bucket.entry_infos()[1]
    assert not bucket.provisioned
    assert bucket.created_us > 0
    assert bucket.find_entry("nothing") is None
    assert bucket.existing_entry("a") == bucket.entry("a")
    with pytest.raises(errors.NotFound, match="Entry 'x' not found in bucket 'b'"):
        bucket.existing_entry("x")
    assert [entry.name for entry in bucket.ensure_entries(["n/m", "a"])] == ["n/m", "a"]
    bucket.remove_entry("a")
    assert bucket.names() == ["n", "n/m"]
    outcomes = bucket.update_labels([("n", 1, {"a": "b"})]) + bucket.remove_records([("gone", 1)])
    assert [type(outcome) for outcome in outcomes] == [errors.NotFound] * 2


def test_renaming_checks_in_the_order_of_the_contract(bucket):
    bucket.ensure_entries(["a", "c"])
    taken = r"Entry '{}' already exists in bucket 'b'"
    with pytest.raises(errors.InvalidArgument):
        bucket.rename_entry("missing", "a//b")
    for old, new in (("missing", "missing"), ("a", "a/b"), ("a", "c")):
        with pytest.raises(errors.AlreadyExists, match=taken.format(new)):
            bucket.rename_entry(old, new)
    with pytest.raises(errors.NotFound, match="Entry 'missing' not found in bucket 'b'"):
        bucket.rename_entry("missing", "c")


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a/", "a b", "$x", "$meta/a"])
def test_names_are_checked(bucket, name):
    with pytest.raises(errors.InvalidArgument):
        bucket.entry(name).write(b"x", 1)
    assert bucket.names() == []


def test_a_handle_of_a_removed_bucket_makes_nothing(db, bucket, entry):
    db.buckets.remove("b")
    db.buckets.create("b")
    with pytest.raises(errors.NotFound):
        entry.write(b"x", 1)
    assert db.buckets["b"].names() == []


def test_a_snapshot_of_an_entry_that_came_later_or_was_renamed(db, bucket, entry):
    entry.write(b"x", 1)
    with db.snapshot() as view:
        bucket.rename_entry("e", "r")
        bucket.entry("new").write(b"y", 1)
        old = view.bucket("b")
        assert [(entry.name, times_of(entry.query())) for entry in old.entries()] == [("new", []), ("r", [1])]
        with pytest.raises(errors.NotFound, match="Entry 'e' not found in bucket 'b'"):
            old.entry("e")
        with pytest.raises(errors.NotFound, match="Bucket 'x' is not found"):
            view.bucket("x")
        with pytest.raises(errors.NotFound, match="No records found"):
            old.entry("new").read()
