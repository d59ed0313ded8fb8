"""The process or the power is lost after any write to the disk: what was acknowledged is replicated all the same."""

from __future__ import annotations

import random
import threading

import pytest

import lamina
from lamina.engine.tests.machine import Machine, copied
from lamina.jobs import queue
from lamina.jobs.tests.replicating import SETTINGS, Wire, contents, replications, settle
from lamina.settings import Settings
from lamina.testing import FaultyFiles

TINY = Settings(background=False, min_free=0, log_file_bytes=2048)


class Run:
    """A replicated bucket at work. `acked`: records by time with the labels they must arrive with."""

    def __init__(self, machine):
        self.machine = machine
        self.there = lamina.open(":memory:")
        self.wire = Wire(self.there)
        self.acked = {}
        self.jobs = replications(machine.db, self.wire)
        machine.db.buckets.create("a")
        self.jobs.create("r", SETTINGS)

    def write(self, i):
        self.machine.db.buckets["a"].entry(f"e{i % 2}").write(b"%d" % i, i, labels={"n": "0"})
        self.acked[i] = "0"

    def update(self, i):
        self.machine.db.buckets["a"].entry(f"e{i % 2}").update(i, {"n": "1"})
        self.acked[i] = "1"

    def work(self, rng, steps):
        written = 0
        for _ in range(steps):
            step = rng.randint(0, 9)
            if step < 5 or not written:
                self.write(written)
                written += 1
            elif step == 5:
                self.update(rng.randrange(written))
            elif step == 6:
                self.jobs.pump()
            elif step == 7:
                self.machine.clock.advance(1)
                self.jobs.pump()
            elif step == 8:
                self.jobs.pump()
                self.jobs.tasks()[0].run_once()
            else:
                self.machine.db.flush()
                self.machine.db._log.rotate()
                self.machine.db.upkeep._trim_always()

    def arrived(self):
        return {time: labels["n"] for (_, time), (_, labels) in contents(self.there, "b").items()}


def moments(machine, run, rng, mode):
    """After every change of the disk: (files of the next life, catalog, acknowledged, arrived)."""
    found = []
    main = threading.current_thread()
    apply = machine.files._apply

    def noting(event):
        number = apply(event)
        if threading.current_thread() is not main:  # marks of the log, whose time is chance
            return number
        files = machine.files.kill() if mode == "kill" else machine.files.crash(rng, mode)
        found.append((files, copied(machine.catalog), dict(run.acked), run.arrived()))
        return number

    machine.files._emit = noting
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["kill", "min", "torn"])
@pytest.mark.parametrize("seed", range(2))
def test_at_any_moment(mode, seed, monkeypatch):
    monkeypatch.setattr(queue, "FILE_BYTES", 300)
    rng = random.Random(seed)
    machine = Machine(TINY)
    run = Run(machine)
    found = moments(machine, run, rng, mode)
    run.work(rng, 45)
    machine.off()
    run.there.close()
    assert len(found) > 40
    for files, catalog, acked, arrived in found[:: 1 + len(found) // 30]:
        later = Machine(TINY)
        later.off()
        later.files, later.catalog = files, catalog
        with lamina.open(":memory:") as there:
            jobs = replications(later.boot(), Wire(there))
            settle(jobs)
            sent = {time: labels["n"] for (_, time), (_, labels) in contents(there, "b").items()}
            for time, label in acked.items():
                assert time in arrived or time in sent
                latest = max(arrived.get(time, ""), sent.get(time, ""))
                assert latest >= label, "an update whose answer was not given may have arrived"
        later.off()


@pytest.mark.parametrize("sealed", [False, True])
def test_a_label_that_was_taken_off_before_the_crash_goes_at_the_destination(sealed):
    machine = Machine(TINY)
    run = Run(machine)
    entry = machine.db.buckets["a"].entry("e")
    entry.write_many([lamina.NewRecord(i, b"x", {"n": i, "m": "1", "k": "2"}) for i in range(3)])
    settle(run.jobs)
    entry.update(0, {"m": None})
    entry.update(1, {"n": None, "k": "3"})
    entry.update(1, {"m": None})
    if sealed:  # the label sets that were are in no tail any more
        machine.db.flush()
    machine.kill()
    settle(replications(machine.db, run.wire))
    found = {time: labels for (_, time), (_, labels) in contents(run.there, "b").items()}
    assert found == {0: {"n": "0", "k": "2"}, 1: {"k": "3"}, 2: {"n": "2", "m": "1", "k": "2"}}
    machine.off()
    run.there.close()


@pytest.mark.parametrize("call", ["open", "write", "sync", "sync_folder"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_queue_that_cannot_be_written_holds_the_log_and_nothing_is_lost(call, nth, monkeypatch):
    monkeypatch.setattr(queue, "FILE_BYTES", 300)
    machine = Machine(TINY)
    files = FaultyFiles(machine.files)
    machine.restart(files)
    run = Run(machine)
    files.fail(call, nth, path="queues")
    for i in range(12):
        run.write(i)
        machine.clock.advance(1)
        run.jobs.pump()
        machine.db.flush()
        machine.db._log.rotate()
        machine.db.upkeep._trim_always()
    assert len(run.acked) == 12, "writing goes on"
    files.heal()
    machine.kill()
    with lamina.open(":memory:") as there:
        jobs = replications(machine.db, Wire(there))
        settle(jobs)
        assert len(contents(there, "b")) == 12
    machine.off()
    run.there.close()
