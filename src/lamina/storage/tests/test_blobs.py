"""Objects: the contract in memory and on files, and how files are published, cached and given up."""

from __future__ import annotations

import errno
import random

import pytest

from lamina.errors import Closed, Corrupt, NotFound
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.local import LocalFiles
from lamina.storage.memory import MemoryBlobs, MemoryFiles
from lamina.testing import CrashStates, FaultyFiles, RecordingFiles, SimulatedFiles, materialise
from lamina.testing.blobs_contract import BlobsContract, put
from lamina.testing.crashstates import Create, Folder, FolderSync, Rename, Sync, Write


class TestMemoryBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self):
        return MemoryBlobs()


class TestFileBlobs(BlobsContract):
    @pytest.fixture(params=["local", "memory", "recording", "faulty", "simulated"])
    def blobs(self, request, tmp_path):
        make = {
            "local": lambda: LocalFiles(str(tmp_path)),
            "memory": MemoryFiles,
            "recording": lambda: RecordingFiles(MemoryFiles()),
            "faulty": lambda: FaultyFiles(MemoryFiles()),
            "simulated": SimulatedFiles,
        }
        return FileBlobs(make[request.param](), open_limit=2)


class Counting(MemoryFiles):
    """Counts descriptors."""

    def __init__(self):
        super().__init__()
        self.handles = []

    def open(self, path, mode):
        file = super().open(path, mode)
        self.handles.append(file)
        return file

    @property
    def still_open(self):
        return sum(file._node is not None for file in self.handles)


def test_object_is_written_aside_synced_renamed_and_its_folder_synced():
    files = RecordingFiles(MemoryFiles())
    put(FileBlobs(files), "streams/01/a.seg", b"abc")
    events = [e for e in files.trace.events[files.trace.start :] if not isinstance(e, Folder)]
    assert [type(e) for e in events] == [Create, Write, Sync, Rename, FolderSync]
    assert events[0].path.startswith("tmp/")
    assert events[3][:2] == (events[0].path, "segments/streams/01/a.seg")
    assert events[4].folder == "segments/streams/01"


def test_finished_object_survives_every_crash_and_a_half_one_is_never_seen():
    files = RecordingFiles(MemoryFiles())
    blobs = FileBlobs(files)
    content = random.Random(1).randbytes(9000)
    put(blobs, "k/a", content)
    files.mark("done")
    blobs.delete("k/a")
    files.mark("deleted")
    states = CrashStates(files.trace)
    rng = random.Random(2)
    seen = set()
    for k in states.points:
        marks = states.marks(k)
        for mode in ("min", "all", "page", "torn"):
            after = FileBlobs(materialise(states.state(k, mode, rng)))
            found = [info.name for info in after.list("")]
            if "done" in marks and "deleted" not in marks and k == states.points[-1] - 3:
                assert found == ["k/a"]
            if "deleted" in marks:
                assert found == []
            for name in found:
                assert after.read(name, [(0, after.size(name))]) == [content]
            seen.add(bool(found))
    assert seen == {True, False}


def test_idle_descriptors_stay_within_the_limit():
    files = Counting()
    blobs = FileBlobs(files, open_limit=3)
    for n in range(10):
        put(blobs, f"k/{n}", b"x")
    for n in range(10):
        blobs.read(f"k/{n}", [(0, 1)])
    assert files.still_open == 3
    opened = len(files.handles)
    blobs.read("k/7", [(0, 1)])
    blobs.read("k/8", [(0, 1)])
    assert len(files.handles) == opened, "the last three are open already"
    blobs.read("k/0", [(0, 1)])  # pushes out 9, the least recently used
    opened = len(files.handles)
    blobs.read("k/7", [(0, 1)])
    assert len(files.handles) == opened
    blobs.read("k/9", [(0, 1)])
    assert len(files.handles) == opened + 1


@pytest.mark.parametrize("deleted", [True, False])
def test_read_that_began_ends_well_although_its_handle_is_pushed_out(deleted):
    class Meddling(Counting):
        meddle = None

        def open(self, path, mode):
            file = super().open(path, mode)
            real = file.will_need

            class Wrapped(type(file)):
                __slots__ = ()

                def will_need(self, ranges):
                    real(ranges)
                    if Meddling.meddle is not None:
                        call, Meddling.meddle = Meddling.meddle, None
                        call()

            file.__class__ = Wrapped
            return file

    files = Meddling()
    blobs = FileBlobs(files, open_limit=1)
    put(blobs, "k/a", b"abc")
    put(blobs, "k/b", b"def")
    blobs.read("k/a", [(0, 1)])

    def meddle():
        if deleted:
            blobs.delete("k/a")
        blobs.read("k/b", [(0, 1)])

    Meddling.meddle = staticmethod(meddle)
    assert blobs.read("k/a", [(0, 1), (1, 2)]) == [b"a", b"bc"]
    assert files.still_open == 1, "the one pushed out is closed, the other cached"
    assert [info.name for info in blobs.list("")] == (["k/b"] if deleted else ["k/a", "k/b"])


def test_handle_opened_while_the_object_is_deleted_is_not_kept():
    files = Counting()
    blobs = FileBlobs(files)
    put(blobs, "k/a", b"abc")
    real = files.open

    def open_then_delete(path, mode):
        file = real(path, mode)
        files.open = real
        blobs.delete("k/a")
        return file

    files.open = open_then_delete
    assert blobs.read("k/a", [(0, 3)]) == [b"abc"]
    assert files.still_open == 0
    with pytest.raises(NotFound):
        blobs.read("k/a", [(0, 3)])


def test_close_gives_descriptors_back_and_refuses_reads():
    files = Counting()
    blobs = FileBlobs(files)
    put(blobs, "k/a", b"abc")
    blobs.read("k/a", [(0, 1)])
    blobs.close()
    blobs.close()
    assert files.still_open == 0
    with pytest.raises(Closed):
        blobs.read("k/a", [(0, 1)])


@pytest.mark.parametrize("call", ["write", "sync", "rename", "sync_folder"])
def test_abort_after_any_failure_leaves_nothing(call):
    inner = Counting()
    files = FaultyFiles(inner)
    blobs = FileBlobs(files)
    writer = blobs.create("k/a")
    files.fail(call, error=errno.ENOSPC)

    def work():
        writer.append((b"abc",))
        writer.finish()

    with pytest.raises(OSError) as caught:
        work()
    assert caught.value.errno == errno.ENOSPC
    writer.abort()
    assert list(blobs.list("")) == []
    assert inner.list("tmp") == []
    assert inner.still_open == 0


def test_abort_on_a_disk_that_fails_throughout_does_not_hide_the_first_error():
    files = FaultyFiles(MemoryFiles())
    writer = FileBlobs(files).create("k/a")
    files.fail("unlink", persistent=True)
    writer.abort()


def test_device_error_while_reading_names_the_object():
    files = FaultyFiles(MemoryFiles())
    blobs = FileBlobs(files)
    put(blobs, "k/a", b"abc")
    files.fail("read")
    with pytest.raises(Corrupt, match=r"k/a.*\(0, 2\)"):
        blobs.read("k/a", [(0, 2)])
    assert blobs.read("k/a", [(0, 2)]) == [b"ab"]


def test_object_cut_short_behind_our_back_is_corrupt():
    files = MemoryFiles()
    blobs = FileBlobs(files)
    put(blobs, "k/a", b"abcdef")
    assert blobs.size("k/a") == 6
    files.open("segments/k/a", "append").truncate(2)
    with pytest.raises(Corrupt, match="k/a"):
        blobs.read("k/a", [(0, 4)])


def test_left_over_temporary_of_a_killed_life_is_stepped_over():
    files = MemoryFiles()
    FileBlobs(files).create("k/a").append((b"half",))
    put(FileBlobs(files), "k/a", b"whole")
    assert FileBlobs(files).read("k/a", [(0, 5)]) == [b"whole"]


def test_large_appends_start_writing_early():
    started = []

    class Watching(Counting):
        def open(self, path, mode):
            file = super().open(path, mode)

            class Wrapped(type(file)):
                __slots__ = ()

                def start_writeback(self, offset, length):
                    started.append((offset, length))

            file.__class__ = Wrapped
            return file

    writer = FileBlobs(Watching()).create("k/a")
    writer.append((b"x",))
    writer.append((bytes(1 << 20), b"x"))
    assert started == [(1, (1 << 20) + 1)]
