"""What a caller may hand over as content, labels, condition and settings, and what is said of everything else."""

from __future__ import annotations

import array

import numpy as np
import pytest

from lamina import NewRecord, errors

LONG = 30_000


@pytest.mark.parametrize("n", [3, LONG])
@pytest.mark.parametrize("of", [memoryview, lambda items: items, lambda items: array.array("d", items.tolist())])
def test_a_content_is_as_long_as_its_bytes_not_as_its_items(bucket, n, of):
    items = np.arange(float(n))
    entry = bucket.entry("e")
    entry.write(of(items), 1)
    entry.write(iter([of(items), b"!"]), 2, size=8 * n + 1)
    assert entry.write_many([NewRecord(3, of(items))]) == [None]
    assert [entry.read(time).read() for time in (1, 3)] == [items.tobytes()] * 2
    assert entry.read(2).read() == items.tobytes() + b"!"
    assert entry.read(1).size == 8 * n


def test_a_view_with_gaps_is_gathered(bucket):
    bucket.entry("e").write(memoryview(b"abcdef")[::2], 1)
    assert bucket.entry("e").read(1).read() == b"ace"


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        ("text", None, r"^data 'text' is text: expected bytes, such as data.encode\(\)$"),
        ("text", 4, "is text"),
        (5, None, "^data is of type int: expected bytes, or an iterable of bytes with its size$"),
        (None, 0, "type NoneType"),
        (iter([b"a"]), None, "give size="),
        (["a"], 1, "^data 'a' is text"),
        (["a"] * 70_000, 70_000, "^data 'a' is text"),
    ],
)
def test_what_has_no_bytes_is_refused_and_leaves_nothing(bucket, data, size, message):
    entry = bucket.entry("e")
    with pytest.raises(errors.InvalidArgument, match=message):
        entry.write(data, 1, size=size)
    entry.write(b"x", 1)
    assert entry.info().record_count == 1


def test_of_many_only_the_wrong_ones_are_left_out(bucket):
    entry = bucket.entry("e")
    results = entry.write_many([NewRecord(1, "x"), NewRecord(2, b"x"), NewRecord(3, b"x", ["a"])])
    assert [type(result) for result in results] == [errors.InvalidArgument, type(None), errors.InvalidArgument]
    with pytest.raises(errors.InvalidArgument, match=r"^tuple among the records: expected NewRecord"):
        entry.write_many([NewRecord(4, b"x"), (5, b"x")])
    assert [record.time_us for record in entry.query()] == [2]


def test_labels_of_numpy_are_those_of_python_and_none_is_no_label(bucket):
    entry = bucket.entry("e")
    labels = {"ok": np.bool_(True), "n": np.int64(4), "x": np.float64(0.5), "text": "ä", "none": None}
    entry.write(b"x", 1, labels=labels)
    assert entry.read(1).labels == (("n", "4"), ("ok", "true"), ("text", "ä"), ("x", "0.5"))
    assert len(list(entry.query(when={"&ok": {"$eq": True}}))) == 1
    entry.update(1, {"ok": np.bool_(False), "n": None})
    assert entry.read(1).labels == (("ok", "false"), ("text", "ä"), ("x", "0.5"))


@pytest.mark.parametrize("value", [b"x", [1, 2], {"a": 1}, np.arange(2)])
def test_labels_that_are_no_text_are_refused(bucket, value):
    entry = bucket.entry("e")
    with pytest.raises(errors.InvalidArgument, match="expected text, a number or a bool"):
        entry.write(b"x", 1, labels={"a": value})
    with pytest.raises(errors.InvalidArgument, match="expected a mapping"):
        entry.write(b"x", 1, labels=["a"])
    assert bucket.names() == []
    entry.write(b"x", 1)
    with pytest.raises(errors.InvalidArgument, match="expected text, a number or a bool"):
        entry.update(1, {"a": value})
    with pytest.raises(errors.InvalidArgument, match="expected a mapping"):
        entry.update(1, "a=1")
    with pytest.raises(errors.InvalidArgument, match="content type 3: expected text"):
        entry.write(b"x", 2, content_type=3)


def test_a_condition_that_is_no_json_and_a_time_that_is_no_time_say_so(db, bucket):
    entry = bucket.entry("e")
    entry.write(b"x", 1)
    with db.snapshot("s") as snapshot:
        then = snapshot.bucket("b").entry("e")
        for call in (entry.query, entry.remove_range, then.query):
            with pytest.raises(errors.InvalidArgument, match=r"^when '{&a' is not JSON: "):
                call(when="{&a")
    with pytest.raises(errors.InvalidArgument, match=r"^time 1.5: expected int microseconds, "):
        entry.write(b"x", 1.5)


def test_a_misspelt_setting_is_refused(db, bucket):
    with pytest.raises(errors.InvalidArgument, match=r"^setting 'quotasize' of a bucket: expected one of quota_type, "):
        db.buckets.create("other", quotasize=1)
    with pytest.raises(errors.InvalidArgument, match=r"^setting 'quota_typ' of a bucket"):
        bucket.update({"quota_typ": "FIFO"})


def test_a_bucket_is_asked_for_several_entries_at_once_by_names_and_patterns(bucket):
    for i, name in enumerate(["line-1/camera", "line-2/camera", "line-9/camera", "log"]):
        bucket.entry(name).write(b"x", 10 - i, labels={"i": i})
    found = [(record.entry, record.time_us) for record in bucket.query(["line-*/camera", "!line-9/*"])]
    assert found == [("line-2/camera", 9), ("line-1/camera", 10)]
    assert len(list(bucket.query())) == 4
    assert [record.entry for record in bucket.query(["*"], 8, 10, when={"&i": {"$lt": 2}})] == ["line-2/camera"]
    assert list(bucket.query(["nothing"])) == []
