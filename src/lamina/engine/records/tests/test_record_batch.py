"""Opening many records of an entry at once is opening them one by one, or refusing to."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamina.engine.records.batch import Kind
from lamina.engine.records.commit import _op
from lamina.engine.records.tests.recordmodel import TINY
from lamina.engine.tests.machine import Machine
from lamina.errors import InvalidArgument, LaminaError

SETS = ((), (("a", "1"),), (("a", "1"), ("b", "ü")), tuple((f"n{i}", "v") for i in range(300)))
TYPES = ("text/plain", "image/png")
SETTINGS = ({}, {"quota_type": "FIFO", "quota_size": 700}, {"quota_type": "HARD", "quota_size": 700})

records = st.lists(
    st.tuples(
        st.integers(0, 12) | st.just(1 << 64),
        st.sampled_from((0, 1, 300)),
        st.sampled_from(TYPES),
        st.sampled_from(SETS),
    ),
    max_size=5,
)


def seen(bucket, slot):
    return bucket.load, sorted(slot.pending), slot.high


@given(records, st.sampled_from(SETTINGS))
@example([(4, 300, "text/plain", ()), (5, 300, "text/plain", ())], SETTINGS[1])  # no room: nothing is claimed
def test_same_as_one_by_one_or_nothing(asked, settings):
    machine = Machine(TINY)
    bucket = machine.db.buckets.create("b", settings)
    bucket.entry("e").write(b"", 3)
    (entry,) = bucket.ensure_entries(["e"])
    before = seen(bucket, entry.slot)
    batch = opened(bucket, entry, asked)
    after = seen(bucket, entry.slot)
    if batch is not None:
        batch.abort()
        batch.abort()
    entry.slot.high = before[2]
    assert seen(bucket, entry.slot) == before
    if batch is None:
        assert after == before
        machine.off()
        return
    single = [bucket.try_open_write(entry, time, size, labels, type) for time, size, type, labels in asked]
    assert seen(bucket, entry.slot) == after
    content = random.Random(7).randbytes(batch.size)
    batch.set_content(content)
    at = 0
    for write in single:
        write.set_content(content[at : at + write.size])
        at += write.size
    assert b"".join(map(bytes, batch.op().parts)) == b"".join(map(bytes, _op(single).parts))
    assert vars_of(batch.op().note) == vars_of(_op(single).note)
    machine.off()


def vars_of(note):
    return {name: getattr(note, name) for name in type(note).__slots__}


def opened(bucket, entry, asked):
    """`try_open_batch` of records (time, size, content type, labels)."""
    kinds = {}
    chosen = [kinds.setdefault(Kind(*record[1:]), len(kinds)) for record in asked]
    return bucket.try_open_batch(
        entry, [record[0] for record in asked], list(kinds), chosen if len(kinds) > 1 else None
    )


def test_ordinary_records_behind_all_others_are_opened_at_once(bucket):
    (entry,) = bucket.ensure_entries(["e"])
    bucket.entry("e").write(b"", 9)
    assert opened(bucket, entry, [(10, 1, "t", ()), (11, 1, "t", ())]) is not None


@pytest.mark.parametrize(
    "asked",
    [
        [(9, 1, "t", ())],
        [(11, 1, "t", ()), (10, 1, "t", ())],
        [(10, 1, "t", ()), (10, 1, "t", ())],
        [(10, 1, "t", (("a", "v" * 70_000),))],
        [(10, 65_537, "t", ())],
        [(time, 65_536, "t", ()) for time in range(10, 267)],
        [],
    ],
    ids=["taken", "descending", "twice", "labels too long", "not inline", "too long for an op", "none"],
)
def test_what_needs_a_closer_look_is_not_opened(bucket, asked):
    (entry,) = bucket.ensure_entries(["e"])
    bucket.entry("e").write(b"", 9)
    assert opened(bucket, entry, asked) is None


def test_a_content_of_another_length_is_refused(bucket):
    (entry,) = bucket.ensure_entries(["e"])
    batch = opened(bucket, entry, [(10, 1, "t", ()), (11, 2, "t", ())])
    for length in (2, 4):
        with pytest.raises(InvalidArgument):
            batch.set_content(bytes(length))
    batch.set_content(b"abc")
    bucket.commit_writes([batch]).wait()
    assert [record.read() for record in entry.query()] == [b"a", b"bc"]


def test_what_cannot_be_written_is_not_opened(bucket):
    (entry,) = bucket.ensure_entries(["e", "e/$meta"])[:1]
    assert opened(bucket, bucket.entry("e/$meta"), [(1, 1, "t", (("key", "k"),))]) is None
    bucket.remove_entry("e")
    assert opened(bucket, entry, [(1, 1, "t", ())]) is None
    with pytest.raises(LaminaError):
        bucket.try_open_write(entry, 1, 1, (), "t")
