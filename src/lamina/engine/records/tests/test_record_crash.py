"""Power loss at any point of a recorded life: what was acknowledged is there, nothing is half or someone else's."""

from __future__ import annotations

import os
import random

import pytest

from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordedlife import Recording, explains, observed
from lamina.engine.records.tests.recordmodel import TINY, times_of
from lamina.engine.records.write import INLINE
from lamina.engine.tests.machine import Machine
from lamina.engine.tests.recorded import Unclosed, reopened
from lamina.testing import MODES

STATES = int(os.environ.get("LAMINA_EXAMPLES", "0")) or 50
"""Crashed of each recording; the long version takes more."""


def without_lost(moment, found, synced):
    """Records written since the last sync whose contents did not go through the log may be gone one by one."""
    return {
        key: held
        for key, held in moment.items()
        if key in found or synced.get(key) == held or len(held.content) <= INLINE
    }


def differences(found, expected):
    return [(key, found.get(key), expected.get(key)) for key in found.keys() | expected.keys()
            if found.get(key) != expected.get(key)]  # fmt: skip


@pytest.mark.parametrize("seed", range(max(2, STATES // 100)))
@pytest.mark.parametrize("durability", ["group", "os"])
def test_what_was_acknowledged_survives_power_loss(durability, seed):
    recording = Recording(TINY._replace(durability=durability), seed, 60)
    rng = random.Random(seed)
    for k in sorted(rng.choices(recording.crashes.points, k=STATES)):
        mode = rng.choice(MODES)
        files, catalog = recording.survivors(k, mode, rng)
        held = Unclosed(catalog)
        db = reopened(files, held, recording.settings, seed=k)
        assert not db.degraded, (k, mode)
        found = observed(db)
        acknowledged, begun, _, _ = recording.progress(k)
        moments = recording.moments
        if durability == "os":
            oldest = recording.synced(k)
            fitting = [
                n
                for n in range(oldest, begun + 1)
                if explains(found, *(without_lost(moments[m], found, moments[oldest]) for m in (n, min(n + 1, begun))))
            ]
            assert fitting, (k, mode, oldest, begun)
        else:
            expected = moments[acknowledged]
            assert explains(found, expected, moments[begun]), (k, mode, differences(found, expected))
        after_more_work(db, held, files, recording, found)


def after_more_work(db, held, files, recording, found):
    """What was recovered is sound: it can be sealed, compacted, closed, opened, written to."""
    db.flush()
    db.upkeep.run_once()
    assert observed(db) == found
    db.close()
    db = reopened(files, held, recording.settings, seed=99)
    assert observed(db) == found
    for bucket in db.buckets:
        entry = bucket.entry("a")
        before = times_of(entry) if bucket.find_entry("a") else []
        entry.write(b"more", 10**6)
        assert 10**6 in times_of(entry)
        if bucket.name == "p":
            assert times_of(entry) == [*before, 10**6]
    db.compact()
    db.close()


@pytest.mark.parametrize("mode", MODES)
def test_recovery_that_is_cut_short_is_done_again(machine, entry, mode):
    entry.write_many([NewRecord(time, b"%d" % time * 20) for time in range(20)])
    entry.update(3, {"a": "b"})
    entry.remove(4)
    machine.db.flush()
    entry.update(5, {"a": "b"})
    entry.remove(6)
    entry.write(b"late", 4)
    for seed in range(4):
        db = machine.lose_power(random.Random(seed), mode)
        entry = db.buckets["b"].entry("e")
        assert times_of(entry) == [time for time in range(20) if time != 6]
        assert [entry.read(time).labels for time in (3, 5)] == [(("a", "b"),)] * 2
        assert entry.read(4).read() == b"late"


def test_an_upload_that_power_loss_interrupts_leaves_nothing(machine, bucket):
    (entry,) = bucket.ensure_entries(["e"])
    write = bucket.open_write(entry, 1, 200_000, (), "text/plain")
    write.write(bytes(150_000))
    finished = bucket.open_write(entry, 2, 100_000, (), "text/plain")
    finished.write(bytes(100_000))
    finished.finish()
    db = machine.kill()
    assert times_of(db.buckets["b"].entry("e")) == []
    assert list(db.records.payloads.list()) == []
    assert db.buckets["b"].load == 0


@pytest.mark.parametrize("name", ["e", "e/$meta"])
def test_in_os_mode_records_whose_contents_were_lost_are_lost_whole(name):
    survived = set()
    for seed in range(30):
        machine = Machine(TINY._replace(durability="os"))
        bucket = machine.db.buckets.create("b")
        for time in range(5):
            bucket.entry(name).write(bytes([time + 1]) * 70_000, time, labels={"key": str(time)})
        bucket = machine.lose_power(random.Random(seed)).buckets["b"]
        found = times_of(bucket.entry(name)) if bucket.find_entry(name) else []
        for time in found:
            assert bucket.entry(name).read(time).read() == bytes([time + 1]) * 70_000
        assert bucket.size == (bucket.entry(name).info().size if found else 0)
        assert not machine.db.degraded
        survived.add(len(found))
        machine.off()
    assert len(survived) > 1


def test_what_was_lost_once_stays_lost():
    """The log still has the op, and says of it later that it was durable."""
    for seed in range(12):
        machine = Machine(TINY._replace(durability="os"))
        bucket = machine.db.buckets.create("b")
        for name in ("e", "e/$meta", "f"):
            for time in range(3):
                bucket.entry(name).write(bytes([time + 1]) * 70_000, time, labels={"key": str(time)})
        db = machine.lose_power(random.Random(seed))
        found = observed(db)
        db.buckets["b"].entry("other").write(b"x", 1)
        db._log.sync()
        db.buckets["b"].entry("other").write(b"y", 2)
        db._log.sync()
        found[("b", "other", 1)] = found[("b", "other", 2)] = None
        assert observed(machine.kill()).keys() == found.keys()
        machine.off()
