"""What ops refer to is durable before the log is: the hook that `os` mode syncs payload files by."""

from __future__ import annotations

import errno
import itertools
import random

import pytest

from lamina.errors import LaminaError, Unavailable
from lamina.settings import Settings
from lamina.storage.commitlog import CommitLog
from lamina.storage.memory import MemoryFiles
from lamina.storage.payloads import PayloadFiles
from lamina.testing import CrashStates, FaultyFiles, RecordingFiles, materialise
from lamina.testing.clock import ManualClock
from lamina.testing.crashstates import MODES
from lamina.testing.log_contract import ListSink, op, replayed
from lamina.testing.random import SeededRandom

DATABASE = bytes(16)


def open_log(files, before_sync=None, durability="os", **settings):
    return CommitLog.open(
        files,
        database_id=DATABASE,
        epoch=1,
        applied_seq=0,
        sink=ListSink(),
        settings=Settings(min_free=0, durability=durability, **settings),
        clock=ManualClock(),
        random=SeededRandom(1),
        inline=True,
        before_sync=before_sync,
    )


def payload_files(files):
    ids = itertools.count(1)
    return PayloadFiles(files, database_id=DATABASE, epoch=1, segment_id=lambda: next(ids))


@pytest.mark.parametrize("step", ["sync", "rotate", "close"])
def test_it_is_called_once_before_each_sync_that_says_more_ops_are_durable(step):
    files = FaultyFiles(MemoryFiles())
    seen = []
    log = open_log(files, lambda: seen.append((log.durable_seq, files.calls["sync"])))
    log.submit([op()]).wait()
    log.submit([op()]).wait()
    before = files.calls["sync"]
    assert seen == []
    getattr(log, step)()
    assert seen == [(0, before)]
    if step != "close":
        assert log.durable_seq == 2
        log.sync()
        assert len(seen) == 1, "nothing more to sync"
        log.close()


def test_where_each_group_is_synced_its_payloads_were_synced_by_who_submitted_it():
    seen = []
    log = open_log(MemoryFiles(), lambda: seen.append(1), durability="group")
    log.submit([op()]).wait()
    log.sync()
    log.close()
    assert seen == []


def test_a_failure_of_it_ends_writing_and_nothing_is_said_to_be_durable():
    files = FaultyFiles(MemoryFiles())
    payloads = payload_files(files)
    log = open_log(files, payloads.sync_dirty)
    one = payloads.open_upload(1, 3)
    one.write(b"abc")
    one.finish()
    log.submit([op()]).wait()
    one.release()
    files.fail("sync", error=errno.EIO, path="segments/payload")
    with pytest.raises(Unavailable):
        log.sync()
    assert log.durable_seq == 0
    assert isinstance(log.poisoned, OSError)
    assert payloads.failed is log.poisoned
    with pytest.raises(Unavailable):
        log.submit([op()])
    log.close()


def test_no_loss_of_power_leaves_a_durable_op_without_its_payload():
    files = RecordingFiles(MemoryFiles())
    payloads = payload_files(files)
    log = open_log(files, payloads.sync_dirty, log_file_bytes=Settings().log_file_bytes)
    rng = random.Random(5)
    contents = {}
    for n in range(12):
        content = rng.randbytes(rng.choice([100, 9000, 70_000]))
        one = payloads.open_upload(1, len(content))
        one.write(content)
        one.finish()
        log.submit([op(n, one.where.to_bytes(8, "little"))]).wait()
        one.release()
        contents[n] = (one.file, one.where, content)
        if n % 4 == 3:
            if n == 7:
                log.rotate()
            files.mark(f"durable {log.sync()}")
    log.close()
    payloads.close()
    states = CrashStates(files.trace)
    unsynced_lost = 0
    for k in range(states.points.start, states.points.stop, 2):
        durable = max((int(mark.split()[1]) for mark in states.marks(k)), default=0)
        for mode in MODES:
            after = materialise(states.state(k, mode, rng))
            reopened = payload_files(after)
            log = open_log(after)
            found = {stored.seq: stored for stored in replayed(log)}
            log.close()
            for seq in range(1, durable + 1):
                assert seq in found
            for seq, stored in found.items():
                file, where, content = contents[stored.object_id]
                assert stored.body == where.to_bytes(8, "little")
                try:
                    intact = reopened.read(file, where, len(content)) == content
                except LaminaError:
                    intact = False
                assert intact or seq > durable
                unsynced_lost += not intact
    assert unsynced_lost, "an op that was not durable may outlive its payload: readers verify"
