"""Faulty files: every fault does what was ordered, where it was ordered, and nothing else."""

from __future__ import annotations

import errno

import pytest

from lamina.storage.memory import MemoryFiles
from lamina.testing import FaultyFiles, ManualClock
from lamina.testing.files_contract import FilesContract, read, write


class TestFaultyFilesWithoutFaults(FilesContract):
    @pytest.fixture
    def files(self):
        return FaultyFiles(MemoryFiles())


@pytest.fixture
def files():
    return FaultyFiles(MemoryFiles())


def attempt(files):
    """One of each call, in this order; name and errno of those that failed."""
    failed = []
    file = files.open("a", "create")
    for name, call in (
        ("write", lambda: file.write_at(0, (b"abc",))),
        ("read", lambda: file.read_at(0, 3)),
        ("truncate", lambda: file.truncate(2)),
        ("sync", file.sync),
        ("rename", lambda: files.rename("a", "b")),
        ("sync_folder", lambda: files.sync_folder("")),
        ("unlink", lambda: files.unlink(files.list("")[0].name)),
    ):
        try:
            call()
        except OSError as error:
            failed.append((name, error.errno))
    return failed


@pytest.mark.parametrize("call", ["write", "read", "truncate", "sync", "rename", "sync_folder"])
def test_ordered_call_fails_once_and_does_nothing(files, call):
    files.fail(call, error=errno.ENOSPC)
    assert attempt(files) == [(call, errno.ENOSPC)]
    assert sum(files.calls.values()) == 8


def test_failed_open_creates_nothing(files):
    files.fail("open")
    with pytest.raises(OSError) as caught:
        files.open("a", "create")
    assert caught.value.errno == errno.EIO
    assert files.list("") == []
    files.open("a", "create")


def test_nth_call_is_counted_from_the_order_on(files):
    file = files.open("a", "create")
    file.write_at(0, (b"1",))
    files.fail("write", 3)
    file.write_at(1, (b"2",))
    file.write_at(2, (b"3",))
    with pytest.raises(OSError):
        file.write_at(3, (b"4",))
    file.write_at(3, (b"5",))
    assert file.read_at(0, 9) == b"1235"


def test_persistent_fault_stays_until_healed(files):
    file = files.open("a", "create")
    files.fail("write", 2, errno.ENOSPC, persistent=True)
    file.write_at(0, (b"1",))
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            file.write_at(1, (b"2",))
        assert caught.value.errno == errno.ENOSPC
    files.heal()
    file.write_at(1, (b"3",))
    assert file.read_at(0, 9) == b"13"


def test_fault_keeps_to_its_path(files):
    files.make_folder("log")
    files.fail("open", path="log/")
    write(files, "a", b"x")
    with pytest.raises(OSError):
        files.open("log/a", "create")
    files.fail("rename", path="log/")
    with pytest.raises(OSError):
        files.rename("a", "log/a")


def test_failed_sync_poisons_the_handle_even_after_healing(files):
    file, other = files.open("a", "create"), files.open("a", "append")
    files.fail("sync")
    with pytest.raises(OSError):
        file.sync()
    files.heal()
    with pytest.raises(OSError):
        file.sync()
    other.sync()


def test_short_write_leaves_a_part_and_raises(files):
    file = files.open("a", "create")
    files.short_write(keep=4)
    with pytest.raises(OSError) as caught:
        file.write_at(0, (b"abc", b"def"))
    assert caught.value.errno == errno.ENOSPC
    assert file.read_at(0, 9) == b"abcd"


def test_lying_write_succeeds_and_writes_nothing(files):
    file = files.open("a", "create")
    files.lie()
    file.write_at(0, (b"abc",))
    assert file.size() == 0
    file.write_at(0, (b"def",))
    assert read(files, "a") == b"def"


def test_one_bit_is_flipped_in_what_is_read_and_not_in_the_file(files):
    write(files, "a", b"\0\0")
    files.flip(bit=9)
    assert read(files, "a") == b"\0\2"
    assert read(files, "a") == b"\0\0"


def test_delay_passes_on_the_clock(files):
    clock = ManualClock(autojump=True)
    files = FaultyFiles(MemoryFiles(), clock)
    files.delay("sync", 2.5)
    file = files.open("a", "create")
    file.sync()
    file.sync()
    assert clock.monotonic_ns() == 5_000_000_000


def test_free_bytes_are_as_ordered(files):
    files.set_free(10, 100)
    assert files.free_bytes() == (10, 100)
    files.heal()
    assert files.free_bytes()[0] > 100
