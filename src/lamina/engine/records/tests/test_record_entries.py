"""Buckets and entries: the tree of names, attachments, what becomes of them when their parents move or go."""

from __future__ import annotations

import pytest

from lamina import errors
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import begin, drained, shown, times_of


def test_writing_makes_an_entry_with_its_parents(machine, bucket):
    bucket.entry("a/b/c").write(b"x", 1)
    assert bucket.names() == ["a", "a/b", "a/b/c"]
    assert bucket.entry("a").info().record_count == 0
    assert bucket.info().entry_count == 3
    assert machine.kill().buckets["b"].names() == ["a", "a/b", "a/b/c"]


def test_removing_covers_everything_below(machine, bucket):
    for name in ("a", "a/b", "a/b/c", "ab", "a/$meta"):
        bucket.entry(name).write(b"x", 1, labels={"key": "k"})
    bucket.remove_entry("a")
    assert bucket.names() == ["ab"]
    assert bucket.size == bucket.entry("ab").info().size
    with pytest.raises(errors.NotFound, match="Entry 'a' not found in bucket 'b'"):
        bucket.remove_entry("a")
    with pytest.raises(errors.NotFound, match="Entry 'a/b' not found in bucket 'b'"):
        bucket.entry("a/b").read(1)
    bucket.entry("a/b").write(b"new", 1)
    db = machine.kill()
    assert db.buckets["b"].names() == ["a", "a/b", "ab"]
    assert db.buckets["b"].entry("a/b").read(1).read() == b"new"


@pytest.mark.parametrize("sealed", [True, False])
def test_renaming_moves_everything_below(machine, bucket, sealed):
    for name in ("a", "a/b", "a/b/$meta", "a/$meta"):
        bucket.entry(name).write(name.encode(), 1, labels={"key": "k"})
    if sealed:
        machine.db.flush()
    bucket.rename_entry("a", "x/y")
    expected = ["x", "x/y", "x/y/$meta", "x/y/b", "x/y/b/$meta"]
    for db in (lambda: machine.db, lambda: machine.kill()):
        found = db().buckets["b"]
        assert found.names() == expected
        assert found.entry("x/y/b").read(1).read() == b"a/b"
        assert found.entry("x/y/b").read(1).entry == "x/y/b"
        assert found.entry("x/y/$meta").read(1).read() == b"a/$meta"
        assert found.info().entry_count == 3


def test_a_bucket_is_renamed_and_removed(machine, bucket, entry):
    entry.write(b"x", 1)
    buckets = machine.db.buckets
    buckets.create("other")
    with pytest.raises(errors.InvalidArgument):
        buckets.rename("missing", "a b")
    with pytest.raises(errors.AlreadyExists, match="Bucket 'other' already exists"):
        buckets.rename("missing", "other")
    with pytest.raises(errors.NotFound, match="Bucket 'missing' is not found"):
        buckets.rename("missing", "new")
    buckets.rename("b", "new")
    assert buckets["new"].entry("e").read(1).read() == b"x"
    buckets.remove("other")
    with pytest.raises(errors.NotFound):
        buckets.remove("other")
    db = machine.kill()
    assert [bucket.name for bucket in db.buckets] == ["new"]
    assert db.buckets["new"].entry("e").read(1).read() == b"x"
    db.buckets.remove("new")
    with pytest.raises(errors.NotFound):
        db.buckets["new"].entry("e")
    assert list(machine.restart().buckets) == []


def test_a_provisioned_bucket_stays_as_it_is(machine):
    buckets = machine.db.buckets
    bucket = buckets.create("p", provisioned=True)
    for change in (
        lambda: bucket.update({"quota_size": 5}),
        lambda: buckets.rename("p", "q"),
        lambda: buckets.remove("p"),
    ):
        with pytest.raises(errors.Conflict, match="provisioned bucket 'p'"):
            change()
    buckets.update(bucket, {"quota_size": 5}, provisioned=False)
    buckets.remove("p")


def test_settings_change_one_by_one(machine, bucket):
    bucket.update({"quota_type": "HARD", "quota_size": None})
    bucket.update({"max_block_records": 5})
    expected = ("HARD", 0, 64_000_000, 5)
    assert tuple(bucket.settings) == expected
    for wrong in ({"quota_type": "SOFT"}, {"quota_size": -1}, {"max_block_records": 0}, {"max_block_size": "1"}):
        with pytest.raises(errors.InvalidArgument):
            bucket.update(wrong)
    with pytest.raises(errors.InvalidArgument, match=r"quota_size 9223372036854775808: .* 0 \.\. 2\*\*63 - 1"):
        bucket.update({"quota_size": 1 << 63})
    assert tuple(machine.kill().buckets["b"].settings) == expected


@pytest.fixture
def meta(bucket):
    return bucket.entry("e/$meta")


def test_an_attachment_takes_the_place_of_the_one_with_its_key(machine, meta):
    keys = ["1", "2.5", "$system", "1.0", "true"]
    for time, key in enumerate(keys):
        meta.write(key.encode(), time, labels={"key": key})
    meta.write(b"new", 100, labels={"key": "1"})
    for reopen in (lambda: machine.db.flush(), lambda: machine.kill(), lambda: machine.restart()):
        meta = machine.db.buckets["b"].entry("e/$meta")
        found = {dict(record.labels)["key"]: record.read() for record in meta.query()}
        assert found == {"1": b"new", **{key: key.encode() for key in keys[1:]}}
        assert meta.info().record_count == 5
        reopen()
    meta = machine.db.buckets["b"].entry("e/$meta")
    meta.write(b"newest", 101, labels={"key": "1"})
    found = [record.read() for record in meta.query(when={"$eq": [{"&key": {"$cast": "string"}}, "1"]})]
    assert found == [b"1.0", b"newest"]  # the text of 1.0 is "1" for a condition


def test_several_with_one_key_in_one_batch(machine, bucket, meta):
    results = meta.write_many([NewRecord(time, b"%d" % time, {"key": "k"}) for time in (5, 3, 4)])
    assert results == [None, None, None]
    assert times_of(meta) == [4]
    assert bucket.size == meta.info().size
    meta = machine.kill().buckets["b"].entry("e/$meta")
    assert times_of(meta) == [4]
    assert meta.read(4).read() == b"4"


def test_an_attachment_marked_as_removed_is_read_by_time_only(machine, meta):
    meta.write(b"x", 1, labels={"key": "k"})
    meta.update(1, {"remove": "true"})
    machine.db.flush()
    assert times_of(meta) == []
    assert dict(meta.read(1).labels)["remove"] == "true"
    meta.write(b"y", 2, labels={"key": "k"})
    assert times_of(meta) == [2]
    with pytest.raises(errors.NotFound):
        meta.read(1)


def test_rules_of_attachments(bucket, meta):
    with pytest.raises(errors.InvalidArgument, match=r"System entry 'e/\$meta' records must contain label 'key'"):
        meta.write(b"x", 1)
    with pytest.raises(errors.InvalidArgument, match="use record update"):
        meta.write(b"x", 1, labels={"key": "k", "remove": "true"})
    meta.write(b"x", 1, labels={"key": "k"})
    with pytest.raises(errors.InvalidArgument, match="use label update with remove=true"):
        meta.remove(1)
    assert meta.remove_range() == 0
    with pytest.raises(errors.InvalidArgument, match="remove the parent entry instead"):
        bucket.remove_entry("e/$meta")
    assert bucket.info().entry_count == 1
    assert bucket.info().latest_record == 0
    assert bucket.info().size == meta.info().size > 0
    assert [info.name for info in bucket.entry_infos()] == ["e"]
    query = begin(bucket)
    assert drained(query) == []
    query.close()
    query = begin(bucket, ["e/$meta"])
    assert [shown(record)[0] for record in drained(query)] == [1]
    query.close()


def test_attachments_of_which_no_section_can_match(machine, meta):
    meta.write(b"x", 1, labels={"key": "k"})
    machine.db.flush()
    assert times_of(meta.query(when={"&key": {"$eq": "other"}})) == []
