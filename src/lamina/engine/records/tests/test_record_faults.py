"""Every call of a disk that fails once while records are written, sealed, evicted, rewritten: the request fails or the
database stops writing; whatever it is, reopening finds what was acknowledged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache

import pytest

from lamina import errors
from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordedlife import Facts, explains, observed
from lamina.engine.records.tests.recordmodel import TINY, times_of
from lamina.engine.tests.machine import copied
from lamina.engine.tests.recorded import Unclosed, reopened
from lamina.testing import FaultyFiles, SimulatedFiles
from lamina.testing.faulty_catalog import FaultyCatalog

LARGE = bytes(range(256)) * 300
EVERY = 1 if os.environ.get("LAMINA_EXAMPLES") else 4
"""Which of the calls fail in turn: each in the long version."""

Step = Callable[[Database], object]


def write(name: str, time: int, content: bytes, labels: dict[str, str] | None = None) -> Step:
    bucket, _, entry = name.partition("/")
    return lambda db: db.buckets[bucket].entry(entry).write(content, time, labels=labels)


def entry(db: Database):
    return db.buckets["p"].entry("e")


STEPS: list[Step] = [
    lambda db: db.buckets.create("p", {"max_block_records": 2}, exist_ok=True),
    lambda db: db.buckets.create(
        "f", {"quota_type": "FIFO", "quota_size": 200_000, "max_block_records": 1}, exist_ok=True
    ),
    *(write("p/e", time, b"%d" % time * 30, {"n": str(time)}) for time in (5, 6, 3)),
    write("p/e", 10, LARGE),
    write("f/x", 1, LARGE),
    lambda db: db.flush(),
    lambda db: entry(db).update(6, {"n": "six"}),
    lambda db: entry(db).remove(3),
    write("f/x", 2, LARGE),
    write("f/x", 3, LARGE),
    lambda db: db.upkeep.run_once(),
    lambda db: entry(db).write_many([NewRecord(time, b"%d" % time) for time in range(20, 27)]),
    lambda db: entry(db).update(20, {"a": "b"}),
    lambda db: db.flush(),
    write("p/e/$meta", 1, b"attached", {"key": "k"}),
    write("p/e/$meta", 2, b"again", {"key": "k"}),
    lambda db: entry(db).remove_range(5, 21),
    lambda db: db.flush(),
    write("f/x", 4, bytes(40_000)),
    write("f/x", 5, bytes(40_000)),
    lambda db: db.compact(),
    lambda db: db.upkeep.run_once(),
    lambda db: db.flush(),
    lambda db: db.buckets["p"].rename_entry("e", "r/e"),
    lambda db: db.upkeep.run_once(),
]


@cache
def moments() -> list[Facts]:
    """What is there before each step and after the last."""
    db = reopened(SimulatedFiles(), MemoryCatalog(), TINY)
    found = [observed(db)]
    for step in STEPS:
        step(db)
        db.barrier()
        found.append(observed(db))
    db.close()
    assert sorted(time for _, name, time in found[-1] if name == "r/e") == [21, 22, 23, 24, 25, 26]
    assert sorted(time for _, name, time in found[-1] if name == "x") == [3, 4, 5]
    return found


class Life:
    """A database over faulty files, and what its steps come to."""

    def __init__(self) -> None:
        self.disk = SimulatedFiles()
        self.files = FaultyFiles(self.disk)
        self.catalog = Unclosed(MemoryCatalog())
        self.db = reopened(self.files, self.catalog, TINY)

    def run(self, order: Callable[[FaultyFiles], None]) -> int:
        """All steps, each that fails tried again; how many failed."""
        before = self.files.calls.total()
        order(self.files)
        assert self.files.calls.total() == before
        failures = 0
        for number, step in enumerate(STEPS):
            try:
                step(self.db)
                self.db.barrier()
            except (OSError, errors.LaminaError) as error:
                failures += 1
                self.files.heal()
                refused = isinstance(error, OSError | errors.NoSpace) or "trimming" in str(error)
                if not refused and self.db.poisoned is None:
                    raise
                if self.db.poisoned is not None:
                    self.reopen()
                    assert explains(observed(self.db), moments()[number], moments()[number + 1]), number
                self.again(number, step)
            assert self.seen() == moments()[number + 1], number
        self.reopen()
        assert observed(self.db) == moments()[-1]
        self.db.flush()
        assert observed(self.db) == moments()[-1]
        self.db.close()
        return failures

    def seen(self) -> Facts:
        """What is there, even if the call that fails comes now."""
        try:
            return observed(self.db)
        except OSError:
            self.files.heal()
            return observed(self.db)

    def again(self, number: int, step: Step) -> None:
        try:
            step(self.db)
            self.db.barrier()
        except (errors.AlreadyExists, errors.NotFound):
            assert observed(self.db) == moments()[number + 1], "it had been done"

    def reopen(self) -> None:
        self.files.heal()
        self.disk = self.disk.kill()
        catalog = copied(self.catalog._inner)
        self.db.close()
        self.files = FaultyFiles(self.disk)
        self.catalog = Unclosed(catalog)
        self.db = reopened(self.files, self.catalog, TINY)


@cache
def calls() -> dict[str, int]:
    """How many calls of each sort all steps make."""
    life = Life()
    started = dict(life.files.calls)
    life.files.calls.clear()
    assert started
    for step in STEPS:
        step(life.db)
    counted = dict(life.files.calls)
    life.db.close()
    return counted


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["open", "write", "truncate", "sync", "rename", "unlink", "sync_folder"])
def test_each_call_fails_once(call, code):
    failures = 0
    for nth in range(1 + (code == errno.ENOSPC), calls().get(call, 0) + 1, EVERY):
        failures += Life().run(lambda files, nth=nth: files.fail(call, nth, code))
    if call in ("write", "sync", "rename"):
        assert failures


@pytest.mark.parametrize("keep", [1, 100])
def test_each_write_stops_halfway_once(keep):
    for nth in range(1, calls()["write"] + 1, EVERY):
        Life().run(lambda files, nth=nth: files.short_write(nth, keep))


def test_a_disk_that_stays_full_loses_nothing():
    for nth in range(1, calls()["write"] + 1, 5 * EVERY):
        life = Life()
        life.files.fail("write", nth, errno.ENOSPC, persistent=True)
        done = 0
        for step in STEPS:
            try:
                step(life.db)
                life.db.barrier()
            except (OSError, errors.LaminaError):
                break
            done += 1
        life.reopen()
        found = observed(life.db)
        assert explains(found, moments()[done], moments()[min(done + 1, len(STEPS))])
        life.db.close()


@pytest.mark.parametrize("nth", [1, 2])
def test_a_snapshot_shows_nothing_twice_where_nobody_knows_whether_a_seal_is_in_the_catalog(nth):
    catalog = FaultyCatalog(MemoryCatalog())
    db = reopened(SimulatedFiles(), catalog, TINY)
    entry = db.buckets.create("b").entry("e")
    for time in (1, 2, 3):
        entry.write(b"%d" % time, time)
    db.snapshot("kept").close()
    entry.remove_range()
    with db.open_snapshot("kept") as kept:
        before = [record.read() for record in kept.bucket("b").entry("e").query()]
        catalog.fail(nth, "after")
        with pytest.raises(errors.LaminaError):
            db.flush()
        assert [record.read() for record in kept.bucket("b").entry("e").query()] == before == [b"1", b"2", b"3"]
    db.abandon()


@pytest.mark.parametrize("when", ["before", "after"])
def test_each_catalog_transaction_fails_once(when):
    for nth in range(1, 60, EVERY):
        disk, catalog = SimulatedFiles(), FaultyCatalog(MemoryCatalog())
        catalog.close = lambda: None  # type: ignore[method-assign]  # the next life uses what is inside
        db = reopened(disk, catalog, TINY)
        catalog.fail(nth, when)
        done = 0
        for step in STEPS:
            try:
                step(db)
                db.barrier()
            except (OSError, errors.LaminaError):
                break
            done += 1
        if catalog.stopped is None:
            catalog._fault = None
            db.close()
            break
        disk = disk.kill()
        inner = copied(catalog.inner)
        db.abandon()
        db = reopened(disk, Unclosed(inner), TINY)
        assert explains(observed(db), moments()[done], moments()[min(done + 1, len(STEPS))]), (nth, done)
        db.flush()
        db.close()


def test_a_failed_upload_leaves_the_entry_as_it_was():
    life = Life()
    for step in STEPS[:3]:
        step(life.db)
    bucket = life.db.buckets["p"]
    load = bucket.load
    life.files.fail("write", path="segments/payload")
    with pytest.raises(OSError, match="ordered"):
        bucket.entry("e").write(LARGE, 50)
    assert bucket.load == load
    assert life.db.poisoned is None
    bucket.entry("e").write(LARGE, 50)
    assert bucket.entry("e").read(50).read() == LARGE
    life.db.close()


def test_a_sync_of_contents_that_failed_stops_writing_and_not_reading():
    life = Life()
    for step in STEPS[:3]:
        step(life.db)
    bucket = life.db.buckets["p"]
    bucket.entry("e").write(LARGE[:66_000], 50)
    life.files.fail("sync", path="segments/payload")
    with pytest.raises((OSError, errors.Unavailable)):
        bucket.entry("e").write(LARGE[:66_000], 51)
    life.files.heal()
    assert life.db.poisoned is not None
    with pytest.raises(errors.Unavailable):
        bucket.entry("e").write(b"x", 52)
    with pytest.raises(errors.Unavailable):
        bucket.entry("e").update(50, {"a": "b"})
    assert times_of(bucket.entry("e")) == [5, 50]
    assert bucket.entry("e").read(50).read() == LARGE[:66_000]
    life.reopen()
    handle = life.db.buckets["p"].entry("e")
    assert times_of(handle)[:2] == [5, 50]
    assert all(record.read() for record in handle.query())
    life.db.close()


def test_a_damaged_content_is_an_error_and_the_rest_is_readable():
    life = Life()
    for step in STEPS[:2]:
        step(life.db)
    handle = life.db.buckets["p"].entry("e")
    for time in range(3):
        handle.write(bytes([time]) * 1000, time)
    life.db.flush()
    life.files.flip(bit=8 * 1500, path="segments/payload", persistent=True)
    with pytest.raises(errors.Corrupt, match=r"payload/01/00000001\.dat|payload"):
        [record.read() for record in handle.query()]
    life.files.heal()
    assert [record.read() for record in handle.query()] == [bytes([time]) * 1000 for time in range(3)]
    life.db.close()


def test_a_content_that_would_use_up_the_reserve_is_refused_before_a_byte_is_written():
    reserve = 1 << 20
    files = FaultyFiles(SimulatedFiles())
    db = reopened(files, Unclosed(MemoryCatalog()), TINY._replace(min_free=reserve))
    bucket = db.buckets.create("b")
    bucket.ensure_entries(["e"])
    entry = bucket.entry("e")
    files.set_free(reserve + len(LARGE) - 1, 1 << 40)
    written = files.calls["write"]
    with pytest.raises(errors.NoSpace, match=f"a content of {len(LARGE)} and a reserve of {reserve} do not fit"):
        entry.write(LARGE, 2)
    assert files.calls["write"] == written
    files.set_free(reserve + len(LARGE), 1 << 40)
    entry.write(LARGE, 3)
    assert times_of(entry) == [3]
    db.close()
