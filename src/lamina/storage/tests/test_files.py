"""Files: the contract on a directory and in memory, and what only a directory can show."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from lamina.errors import Locked
from lamina.storage import local
from lamina.storage.local import LocalFiles
from lamina.storage.memory import MemoryFiles
from lamina.testing.files_contract import FilesContract, read, write


class TestMemoryFiles(FilesContract):
    @pytest.fixture
    def files(self):
        return MemoryFiles()


class TestLocalFiles(FilesContract):
    @pytest.fixture
    def files(self, tmp_path):
        return LocalFiles(str(tmp_path))


@pytest.fixture
def files(tmp_path):
    return LocalFiles(str(tmp_path / "deep" / "root"))


def test_root_is_made_on_request(files):
    files.make_folder("")
    write(files, "a", b"x")
    assert os.path.exists(os.path.join(files.root, "a"))


def test_folders_and_files_are_private(files):
    files.make_folder("a/b")
    write(files, "a/b/c", b"x")
    files.lock("LOCK", b"1").release()
    modes = [stat.S_IMODE(os.stat(os.path.join(files.root, p)).st_mode) for p in ("", "a", "a/b")]
    assert modes == [0o700] * 3
    assert stat.S_IMODE(os.stat(os.path.join(files.root, "a/b/c")).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.join(files.root, "LOCK")).st_mode) == 0o600


def test_descriptors_are_not_inherited(files):
    files.make_folder("")
    file = files.open("a", "create")
    assert not os.get_inheritable(file._fd)
    file.close()


def test_new_folder_is_synced_into_its_parent_and_known_ones_are_not_synced_again(files, monkeypatch):
    synced = []
    real = local._sync_directory
    monkeypatch.setattr(local, "_sync_directory", lambda place: (synced.append(place), real(place)))
    files.make_folder("a/b")
    root = files.root
    assert synced == [os.path.dirname(root), root, f"{root}/a"]
    files.make_folder("a/b")
    files.make_folder("a")
    assert len(synced) == 3


def test_existing_folder_of_an_earlier_life_is_synced_into_its_parent(files, monkeypatch):
    files.make_folder("a")
    synced = []
    real = local._sync_directory
    monkeypatch.setattr(local, "_sync_directory", lambda place: (synced.append(place), real(place)))
    LocalFiles(files.root).make_folder("a")
    assert files.root in synced


def test_short_writes_are_completed(files, monkeypatch):
    files.make_folder("")
    file = files.open("a", "create")
    real_v, real = os.pwritev, os.pwrite
    monkeypatch.setattr(local.os, "pwritev", lambda fd, parts, at: real_v(fd, [b"".join(parts)[:3]], at))
    monkeypatch.setattr(local.os, "pwrite", lambda fd, data, at: real(fd, data[:2], at))
    file.write_at(5, (b"abc", b"defg", b"hi"))
    assert file.read_at(0, 99) == bytes(5) + b"abcdefghi"


def test_disk_that_fills_up_inside_a_write_raises(files, monkeypatch):
    files.make_folder("")
    file = files.open("a", "create")
    real = os.pwritev
    monkeypatch.setattr(local.os, "pwritev", lambda fd, parts, at: real(fd, [b"".join(parts)[:3]], at))

    def full(fd, data, at):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(local.os, "pwrite", full)
    with pytest.raises(OSError) as caught:
        file.write_at(0, (b"abcdef",))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(local.os, "pwrite", lambda fd, data, at: 0)
    with pytest.raises(OSError):
        file.write_at(0, (b"abcdef",))


def test_short_reads_are_completed(files, monkeypatch):
    files.make_folder("")
    write(files, "a", b"abcdefgh")
    real = os.pread
    monkeypatch.setattr(local.os, "pread", lambda fd, n, at: real(fd, min(n, 3), at))
    file = files.open("a", "read")
    assert file.read_at(1, 6) == b"bcdefg"
    assert file.read_at(1, 60) == b"bcdefgh"


def test_failed_sync_poisons_the_handle_for_good_and_no_other(files, monkeypatch):
    files.make_folder("")
    file = files.open("a", "create")
    other = files.open("a", "append")
    calls = []

    def fail(fd):
        calls.append(fd)
        raise OSError(errno.EIO, "lost a page")

    monkeypatch.setattr(local.os, "fdatasync", fail)
    with pytest.raises(OSError):
        file.sync()
    monkeypatch.undo()
    for _ in range(2):
        with pytest.raises(OSError, match="earlier sync failed") as caught:
            file.sync()
        assert caught.value.errno == errno.EIO
    assert len(calls) == 1, "the kernel would answer that all is well"
    other.sync()


@pytest.mark.skipif(sys.platform != "linux", reason="holes and reservations are tried on Linux")
def test_allocate_reserves_and_punch_gives_back(files):
    files.make_folder("")
    file = files.open("a", "create")

    def blocks():
        return os.fstat(file._fd).st_blocks * 512

    file.allocate(1 << 20)
    if not blocks():
        pytest.skip("this file system cannot reserve")
    assert blocks() >= 1 << 20
    file.write_at(0, (b"x" * (1 << 20),))
    assert file.punch(0, 1 << 19)
    assert blocks() <= (1 << 19) + 65536
    file.start_writeback(0, 1 << 20)


def test_systems_without_the_c_functions_do_without(files, monkeypatch):
    monkeypatch.setattr(local, "_c_functions", lambda: (None, None))
    files.make_folder("")
    file = files.open("a", "create")
    file.write_at(0, (b"abc",))
    file.allocate(100)
    file.start_writeback(0, 3)
    assert file.punch(0, 3) is False
    assert file.read_at(0, 9) == b"abc"


def test_reservation_on_a_full_disk_raises_and_one_that_is_unknown_does_not(files, monkeypatch):
    import ctypes

    code = errno.ENOSPC
    monkeypatch.setattr(local, "_c_functions", lambda: (lambda *_: -1, None))
    monkeypatch.setattr(ctypes, "get_errno", lambda: code)
    files.make_folder("")
    file = files.open("a", "create")
    with pytest.raises(OSError) as caught:
        file.allocate(100)
    assert caught.value.errno == errno.ENOSPC
    code = errno.EOPNOTSUPP
    file.allocate(100)


def test_lock_of_another_process_is_seen_and_ends_with_it(files, tmp_path):
    files.make_folder("")
    script = (
        "import os, sys; from lamina.storage.local import LocalFiles\n"
        "lock = LocalFiles(sys.argv[1]).lock('LOCK', b'%d x' % os.getpid())\n"
        "print('locked', flush=True); sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, files.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(Locked, match=str(holder.pid)) as caught:
            files.lock("LOCK", b"2")
        assert caught.value.pid == holder.pid
        holder.kill()
        holder.wait()
    files.lock("LOCK", b"2").release()


def test_forgotten_handle_gives_its_descriptor_back(files):
    files.make_folder("")
    file = files.open("a", "create")
    fd = file._fd
    del file
    with pytest.raises(OSError):
        os.fstat(fd)


def test_import_does_not_load_ctypes():
    code = "import sys, lamina.storage.local; print({'ctypes', 'numpy'} & {*sys.modules} == {'ctypes'})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, env=environment, check=True)
    assert out.stdout == b"False\n"


def test_copy_of_memory_is_apart_and_unlocked():
    files = MemoryFiles()
    files.make_folder("f")
    write(files, "f/a", b"one")
    files.lock("LOCK", b"1")
    copy = files.copy()
    file = files.open("f/a", "append")
    file.write_at(0, (b"two",))
    assert read(copy, "f/a") == b"one"
    copy.lock("LOCK", b"1")
