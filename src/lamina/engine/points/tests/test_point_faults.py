"""Every call of a disk that fails once while points are written, sealed, changed, rewritten: the call fails or the
database stops writing; whatever it is, reopening finds what was acknowledged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import pytest

from lamina import errors
from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.points.tests.pointmodel import EPOCH, TINY, Fact
from lamina.engine.points.tests.recordedpoints import observed
from lamina.engine.tests.machine import copied
from lamina.engine.tests.recorded import Unclosed, reopened
from lamina.points.point import Point
from lamina.points.queries import FieldQuery
from lamina.testing import FaultyFiles, SimulatedFiles
from lamina.testing.faulty_catalog import FaultyCatalog

EVERY = 1 if os.environ.get("LAMINA_EXAMPLES") else 4
"""Which of the calls fail in turn: each in the long version."""

Step = Callable[[Database], object]


def points(first: int, n: int, *names: str) -> list[Point]:
    return [
        Point(time=EPOCH, measurement=names[i % len(names)], tags={"n": str(i % 3)}, fields={"v": float(first + i)})
        for i in range(n)
    ]


STEPS: list[Step] = [
    lambda db: db.measurements.insert(points(0, 3, "weather")),
    lambda db: db.measurements.insert(points(10, 6, "weather", "motor")),
    lambda db: db.flush(),
    lambda db: db.measurements["weather"].update(FieldQuery().v == 1.0, fields={"w": 1}),
    lambda db: db.measurements.remove(FieldQuery().v == 12.0),
    lambda db: db.measurements.insert(points(20, 30, "weather", "motor")),
    lambda db: db.upkeep.run_once(),
    lambda db: db.measurements.update(FieldQuery().v > 25, measurement="ß/ü", fields={"x": "text"}),
    lambda db: db.flush(),
    lambda db: db.measurements.update(fields=lambda fields: {"v": fields["v"] + 1000.0}),
    lambda db: db.measurements["motor"].clear(),
    lambda db: db.snapshot("pin").close(),
    lambda db: db.measurements.remove(FieldQuery().v < 1025),
    lambda db: db.flush(),
    lambda db: db.compact(),
    lambda db: db.drop_snapshot("pin"),
    lambda db: db.compact(),
    lambda db: db.upkeep.run_once(),
    lambda db: db.measurements.insert(points(90, 2, "motor")),
    lambda db: db.flush(),
]


@cache
def moments() -> list[list[Fact]]:
    """What is there before each step and after the last."""
    db = reopened(SimulatedFiles(), MemoryCatalog(), TINY)
    found = [observed(db)]
    for step in STEPS:
        step(db)
        db.barrier()
        found.append(observed(db))
    db.close()
    assert len(found[-1]) > 10
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
        order(self.files)
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
                if self.db.upkeep.full:
                    self.db.upkeep.run_once()  # finds that there is room again
                if observed(self.db) == moments()[number]:
                    with suppress(errors.NotFound):  # a snapshot that had been dropped
                        step(self.db)
            assert self.seen() == moments()[number + 1], number
        self.reopen()
        assert observed(self.db) == moments()[-1]
        self.db.flush()
        assert observed(self.db) == moments()[-1]
        self.db.close()
        return failures

    def seen(self) -> list[Fact]:
        """What is there, even if the call that fails comes now."""
        try:
            return observed(self.db)
        except OSError:
            self.files.heal()
            return observed(self.db)

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
    life.files.calls.clear()
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
        assert observed(life.db) in moments()[done : done + 2]
        life.db.close()


@pytest.mark.parametrize("nth", [1, 2])
def test_a_snapshot_shows_nothing_twice_where_nobody_knows_whether_a_seal_is_in_the_catalog(nth):
    catalog = FaultyCatalog(MemoryCatalog())
    db = reopened(SimulatedFiles(), catalog, TINY)
    points = db.measurements["m"]
    points.insert({"time": [1, 2, 3], "f": [1.0, 2.0, 3.0]})
    db.snapshot("kept").close()
    points.clear()
    with db.open_snapshot("kept") as kept:
        before = [point.fields for point in kept.measurement("m")]
        catalog.fail(nth, "after")
        with pytest.raises(errors.LaminaError):
            db.flush()
        assert [point.fields for point in kept.measurement("m")] == before == [{"f": 1.0}, {"f": 2.0}, {"f": 3.0}]
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
        assert observed(db) in moments()[done : done + 2], (nth, done)
        db.flush()
        db.close()
