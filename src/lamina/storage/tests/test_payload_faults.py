"""Payload files on a disk that fails, fills up or loses power, and how syncs are shared."""

from __future__ import annotations

import errno
import itertools
import random
import threading

import pytest

from lamina.errors import LaminaError
from lamina.storage.checksums import CHUNK, array_bytes
from lamina.storage.crc import crc32c
from lamina.storage.memory import MemoryFiles
from lamina.storage.payloadfile import FIRST, payload_path
from lamina.storage.payloads import OWN_FILE, PayloadFiles
from lamina.testing import CrashStates, FaultyFiles, RecordingFiles, materialise
from lamina.testing.crashstates import MODES, Create, FolderSync, Sync, Write

NOISE = random.Random(8).randbytes(1 << 20)


def opened(files, first_id=1):
    ids = itertools.count(first_id)
    return PayloadFiles(files, database_id=bytes(16), epoch=1, segment_id=lambda: next(ids))


def finished(payloads, content, bucket=1):
    one = payloads.open_upload(bucket, len(content))
    one.write(content)
    one.finish()
    return one


def test_a_file_is_there_durably_before_it_has_an_extent():
    files = RecordingFiles(MemoryFiles())
    one = opened(files).open_upload(1, 100_000)
    one.write(NOISE[:100_000])
    kinds = [e for e in files.trace.events[files.trace.start :] if isinstance(e, Create | Write | Sync | FolderSync)]
    assert [type(event) for event in kinds] == [Create, Write, Sync, FolderSync, Write]
    assert kinds[0].path == payload_path(one.file)
    assert kinds[3].folder == "segments/payload/01"


@pytest.mark.parametrize("call", ["open", "write", "sync", "sync_folder"])
@pytest.mark.parametrize("size", [10, OWN_FILE + 1])
def test_a_file_that_cannot_be_made_leaves_nothing_and_the_next_is_tried_anew(call, size):
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    files.fail(call, error=errno.ENOSPC)
    with pytest.raises(OSError) as caught:
        payloads.open_upload(1, size)
    assert caught.value.errno == errno.ENOSPC
    assert list(payloads.list()) == []
    assert payloads.open_files(1) == []
    assert payloads.open_upload(1, size).file == 2, "an id is used once"


def test_a_disk_without_room_for_the_extent_is_told_before_bytes_come():
    class Full(MemoryFiles):
        full = False

        def open(self, path, mode):
            file = super().open(path, mode)
            outer = self

            class Wrapped(type(file)):
                __slots__ = ()

                def allocate(self, length):
                    if outer.full:
                        raise OSError(errno.ENOSPC, "full")

            file.__class__ = Wrapped
            return file

    files = Full()
    payloads = opened(files)
    kept = finished(payloads, NOISE[:100])
    files.full = True
    with pytest.raises(OSError):
        payloads.open_upload(1, 5 << 20)
    with pytest.raises(OSError):
        payloads.open_upload(1, OWN_FILE + 1)
    assert [id for id, _ in payloads.list()] == [kept.file]
    assert payloads.open_upload(1, 100).where == kept.where + 104, "what was not reserved is not missing"
    files.full = False
    assert payloads.open_upload(1, 5 << 20).file == kept.file


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_harms_no_other_upload(error):
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    before = finished(payloads, NOISE[:100_000])
    broken = payloads.open_upload(1, 200_000)
    after = payloads.open_upload(1, 70_000)
    files.short_write(keep=1000, error=error)
    with pytest.raises(OSError) as caught:
        broken.write(NOISE[:200_000])
    assert caught.value.errno == error
    broken.abort()
    after.write(NOISE[1:70_001])
    after.finish()
    for one in (before, after):
        one.sync()
        one.release()
    assert payloads.failed is None
    assert payloads.read(1, before.where, 100_000) == NOISE[:100_000]
    assert payloads.read(1, after.where, 70_000) == NOISE[1:70_001]
    payloads.close_file(1)
    assert payloads.open_files(1) == []


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
def test_contents_that_cannot_be_laid_down_leave_nothing_held(nth):
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    files.fail("write", nth=nth, error=errno.ENOSPC)
    with pytest.raises(OSError):
        payloads.append_many(1, [NOISE[:300_000]] * 12, file_bytes=2 << 20)
    for id in payloads.open_files(1):
        payloads.close_file(id)
    assert payloads.open_files(1) == []
    found, wheres = payloads.append_many(1, [NOISE[:300_000]] * 2)
    assert payloads.read(int(found[1]), int(wheres[1]), 300_000) == NOISE[:300_000]


def test_after_a_failed_sync_no_other_is_tried():
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    one = finished(payloads, NOISE[:100])
    two = finished(payloads, NOISE[:100])
    assert payloads.failed is None
    files.fail("sync", path="segments/payload")
    with pytest.raises(OSError, match="ordered by a test"):
        one.sync()
    tried = files.calls["sync"]
    for again in (one.sync, two.sync, payloads.sync_dirty, lambda: payloads.sync([one.file])):
        with pytest.raises(OSError, match="an earlier sync failed"):
            again()
    assert files.calls["sync"] == tried
    assert isinstance(payloads.failed, OSError)
    assert payloads.open_files(1) == [one.file], "what is not durable is not given up"
    assert payloads.open_upload(1, 100).file != one.file
    assert payloads.read(one.file, one.where, 100) == NOISE[:100], "reading goes on"


def test_a_device_that_cannot_read_is_told_by_file_and_offset():
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    one = finished(payloads, NOISE[:100])
    payloads.read(one.file, one.where, 1)
    files.fail("read")
    with pytest.raises(LaminaError, match=r"00000001\.dat: the device cannot read 100 bytes at offset 4096"):
        payloads.read(one.file, one.where, 100)


def test_an_unlink_that_fails_does_not_hide_why_an_upload_was_given_up():
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    one = payloads.open_upload(1, OWN_FILE + 1)
    files.fail("unlink", persistent=True)
    one.abort()
    assert [id for id, _ in payloads.list()] == [one.file], "left to the sweep at the next open"


# Shared syncs


class Gate(MemoryFiles):
    """Syncs of payloads wait until they are let through."""

    def __init__(self):
        super().__init__()
        self.syncs = 0
        self.began = threading.Semaphore(0)
        self.through = threading.Semaphore(0)
        self.error = None

    def open(self, path, mode):
        file = super().open(path, mode)
        outer = self

        class Gated(type(file)):
            __slots__ = ()

            def sync(self):
                if self.size() > FIRST:
                    outer.syncs += 1
                    outer.began.release()
                    assert outer.through.acquire(timeout=10)
                    if outer.error is not None:
                        raise outer.error

        file.__class__ = Gated
        return file


def started(call, results):
    def run():
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_uploads_finished_during_a_sync_share_the_next_one():
    files = Gate()
    payloads = opened(files)
    results = []
    threads = [started(finished(payloads, NOISE[:100]).sync, results)]
    assert files.began.acquire(timeout=10)
    later = [finished(payloads, NOISE[:100]) for _ in range(6)]
    threads += [started(one.sync, results) for one in later]
    threads.append(started(payloads.sync_dirty, results))
    assert files.syncs == 1
    files.through.release()
    assert files.began.acquire(timeout=10)
    assert len(results) <= 1, "none is answered by a sync that began before it was finished"
    files.through.release()
    for thread in threads:
        thread.join(10)
    assert results == [None] * 8
    assert files.syncs == 2
    later[0].sync()
    payloads.sync_dirty()
    assert files.syncs == 2, "durable is durable"


def test_everybody_who_waits_learns_of_a_failed_sync():
    files = Gate()
    payloads = opened(files)
    results = []
    threads = [started(finished(payloads, NOISE[:100]).sync, results)]
    assert files.began.acquire(timeout=10)
    threads += [started(finished(payloads, NOISE[:100]).sync, results) for _ in range(3)]
    files.error = OSError(errno.EIO, "lost")
    files.through.release()
    for thread in threads:
        thread.join(10)
    assert [type(result) for result in results] == [OSError] * 4
    assert files.syncs == 1


def test_an_interrupted_sync_is_nobodys_answer():
    files = Gate()
    payloads = opened(files)
    one = finished(payloads, NOISE[:100])
    files.error = KeyboardInterrupt()
    files.through.release(2)
    with pytest.raises(KeyboardInterrupt):
        one.sync()
    files.error = None
    assert payloads.failed is None
    one.sync()
    assert files.syncs == 2


def test_syncing_syncs_only_what_is_not_durable():
    files = FaultyFiles(MemoryFiles())
    payloads = opened(files)
    for bucket in range(3):
        one = finished(payloads, NOISE[:100], bucket)
        if bucket:
            one.release()
    finished(payloads, NOISE[:100], 3).abort()
    before = files.calls["sync"]
    payloads.sync_dirty()
    assert files.calls["sync"] == before + 3
    payloads.sync_dirty()
    assert files.calls["sync"] == before + 3


def test_an_upload_is_let_go_once_however_many_say_so():
    payloads = opened(MemoryFiles())
    other = finished(payloads, NOISE[:100])
    other.sync()
    for _ in range(50):
        one = finished(payloads, NOISE[:100])
        one.sync()
        results = []
        threads = [started(one.release, results) for _ in range(4)]
        for thread in threads:
            thread.join(10)
        assert results == [None] * 4
    payloads.close_file(1)
    assert payloads.open_files(1) == [1], "the other one's"
    other.release()
    assert payloads.open_files(1) == []


# Loss of power


def array_of(content):
    return b"".join(crc32c(content[at : at + CHUNK]).to_bytes(4, "little") for at in range(0, len(content), CHUNK))


def test_what_was_synced_survives_any_loss_of_power_and_nothing_wrong_passes_for_it():
    files = RecordingFiles(MemoryFiles())
    payloads = opened(files)
    rng = random.Random(3)
    places = []

    def note(file, where, content, text):
        places.append((file, where, content))
        files.mark(f"{text} {len(places) - 1}")

    open_ones = []
    for n in range(8):
        content = rng.randbytes(rng.choice([100, 5000, 70_000, 140_000]))
        one = payloads.open_upload(1, len(content))
        one.write(content[: len(content) // 2])
        open_ones.append((one, content))
        if n % 2:
            for one, content in open_ones:
                one.write(content[len(content) // 2 :])
                one.finish()
                if rng.random() < 0.7:
                    one.sync()
                    note(one.file, one.where, content, "durable")
                    one.release()
                else:
                    one.abort()
            open_ones.clear()
    contents = [rng.randbytes(700) for _ in range(20)]
    found, wheres = payloads.append_many(1, contents)
    payloads.sync(found)
    for place in zip(found.tolist(), wheres.tolist(), contents, strict=True):
        note(*place, "durable")
    payloads.release(found)
    payloads.close_file(1)
    payloads.close()
    states = CrashStates(files.trace)
    missing = 0
    for k in states.points:
        durable = {int(mark.split()[1]) for mark in states.marks(k)}
        for mode in MODES:
            after = opened(materialise(states.state(k, mode, rng)), first_id=1000)
            for i, (file, where, content) in enumerate(places):
                extent = content + (array_of(content) if len(content) > CHUNK else b"")
                try:
                    survived = after.read(file, where, len(content) + array_bytes(len(content))) == extent
                except LaminaError:
                    survived = False
                assert survived or i not in durable, f"event {k}, {mode}: content {i} was durable"
                missing += not survived
    assert missing, "some states lose what was not durable"
