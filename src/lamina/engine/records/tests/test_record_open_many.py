"""Opening many records of an entry at once is opening them one by one, or refusing to."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamina.engine.records.tests.recordmodel import TINY
from lamina.engine.tests.machine import Machine
from lamina.errors import LaminaError

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
    writes = bucket.try_open_many(entry, asked)
    after = seen(bucket, entry.slot)
    for write in writes or ():
        write.abort()
    entry.slot.high = before[2]
    assert seen(bucket, entry.slot) == before
    if writes is None:
        assert after == before
        machine.off()
        return
    single = [bucket.try_open_write(entry, time, size, labels, type) for time, size, type, labels in asked]
    assert seen(bucket, entry.slot) == after
    fields = ("time_us", "size", "labels", "content_type", "base", "claimed")
    assert [[getattr(write, field) for field in fields] for write in writes] == [
        [getattr(write, field) for field in fields] for write in single
    ]
    machine.off()


def test_ordinary_records_behind_all_others_are_opened_at_once(bucket):
    (entry,) = bucket.ensure_entries(["e"])
    bucket.entry("e").write(b"", 9)
    assert bucket.try_open_many(entry, [(10, 1, "t", ()), (11, 1, "t", ())]) is not None


@pytest.mark.parametrize(
    "asked",
    [
        [(9, 1, "t", ())],
        [(11, 1, "t", ()), (10, 1, "t", ())],
        [(10, 1, "t", ()), (10, 1, "t", ())],
        [(10, 1, "t", (("a", "v" * 70_000),))],
    ],
    ids=["taken", "descending", "twice", "labels too long"],
)
def test_what_needs_a_closer_look_is_not_opened(bucket, asked):
    (entry,) = bucket.ensure_entries(["e"])
    bucket.entry("e").write(b"", 9)
    assert bucket.try_open_many(entry, asked) is None


def test_what_cannot_be_written_is_not_opened(bucket):
    (entry,) = bucket.ensure_entries(["e", "e/$meta"])[:1]
    assert bucket.try_open_many(bucket.entry("e/$meta"), [(1, 1, "t", (("key", "k"),))]) is None
    bucket.remove_entry("e")
    assert bucket.try_open_many(entry, [(1, 1, "t", ())]) is None
    with pytest.raises(LaminaError):
        bucket.try_open_write(entry, 1, 1, (), "t")
