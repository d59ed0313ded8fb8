"""What every Files must do, as a pytest class: subclass it and supply the fixture `files`, an empty directory."""

from __future__ import annotations

import threading

import pytest

from lamina.errors import InvalidArgument, Locked
from lamina.storage.files import Files


def write(files: Files, path: str, content: bytes) -> None:
    """A file with this content."""
    file = files.open(path, "create")
    file.write_at(0, (content,))
    file.close()


def read(files: Files, path: str) -> bytes:
    """All of a file."""
    file = files.open(path, "read")
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()


class FilesContract:
    @pytest.fixture
    def files(self) -> Files:
        raise NotImplementedError("the subclass supplies the files")

    def test_parts_are_written_one_behind_the_other(self, files: Files) -> None:
        file = files.open("a", "create")
        file.write_at(3, (b"abc", bytearray(b"de"), memoryview(b"xfx")[1:2], b""))
        assert file.size() == 9
        assert file.read_at(0, 9) == b"\0\0\0abcdef"
        file.write_at(4, (b"B",))
        assert file.read_at(3, 3) == b"aBc"
        file.close()

    def test_more_parts_than_one_system_call_takes_are_all_written(self, files: Files) -> None:
        file = files.open("a", "create")
        parts = [b"%04d" % n for n in range(3000)]
        file.write_at(0, parts)
        assert file.read_at(0, 20_000) == b"".join(parts)
        file.close()

    def test_wide_items_of_a_memoryview_are_counted_in_bytes(self, files: Files) -> None:
        file = files.open("a", "create")
        file.write_at(0, (memoryview(bytes(range(16))).cast("Q"), b"end"))
        assert file.read_at(0, 99) == bytes(range(16)) + b"end"
        file.close()

    def test_read_is_short_only_at_the_end(self, files: Files) -> None:
        write(files, "a", b"0123456789")
        file = files.open("a", "read")
        assert file.read_at(2, 5) == b"23456"
        assert file.read_at(8, 5) == b"89"
        assert file.read_at(10, 5) == b""
        assert file.read_at(50, 5) == b""
        assert file.read_at(0, 0) == b""
        file.close()

    def test_reading_into_a_buffer_gives_what_reading_gives(self, files: Files) -> None:
        write(files, "a", b"0123456789")
        file = files.open("a", "read")
        for offset, length in ((2, 5), (0, 10), (8, 5), (10, 5), (50, 5), (0, 0)):
            buffer = bytearray(b"-" * 9)
            got = file.read_into(offset, memoryview(buffer)[2 : 2 + length])
            expected = file.read_at(offset, length)[: max(len(buffer) - 2, 0)]
            assert got == len(expected)
            assert bytes(buffer[2 : 2 + got]) == expected
            assert set(buffer[:2] + buffer[2 + got :]) <= set(b"-"), "nothing else is written to"
        file.close()

    def test_modes_say_whether_the_file_must_exist(self, files: Files) -> None:
        with pytest.raises(FileNotFoundError):
            files.open("a", "read")
        with pytest.raises(FileNotFoundError):
            files.open("a", "append")
        with pytest.raises(FileNotFoundError):
            files.open("no-folder/a", "create")
        files.make_folder("folder")
        for mode in ("read", "create", "append"):
            with pytest.raises(OSError):
                files.open("folder", mode)
        write(files, "a", b"kept")
        with pytest.raises(FileExistsError):
            files.open("a", "create")
        file = files.open("a", "append")
        file.write_at(4, (b"!",))
        file.close()
        assert read(files, "a") == b"kept!"

    def test_file_opened_for_reading_refuses_writes(self, files: Files) -> None:
        write(files, "a", b"abc")
        file = files.open("a", "read")
        with pytest.raises(OSError):
            file.write_at(0, (b"x",))
        with pytest.raises(OSError):
            file.truncate(0)
        file.close()
        assert read(files, "a") == b"abc"

    def test_closed_file_refuses_everything_but_close(self, files: Files) -> None:
        file = files.open("a", "create")
        file.close()
        file.close()
        with pytest.raises(OSError):
            file.read_at(0, 1)
        with pytest.raises(OSError):
            file.read_into(0, memoryview(bytearray(1)))
        with pytest.raises(OSError):
            file.write_at(0, (b"x",))
        with pytest.raises(OSError):
            file.sync()

    def test_truncate_cuts_and_fills_with_zeros(self, files: Files) -> None:
        file = files.open("a", "create")
        file.write_at(0, (b"abcdef",))
        file.truncate(2)
        file.truncate(4)
        assert file.read_at(0, 9) == b"ab\0\0"
        file.sync()
        file.close()

    def test_allocating_keeps_the_size(self, files: Files) -> None:
        file = files.open("a", "create")
        file.allocate(1 << 16)
        file.allocate(0)
        assert file.size() == 0
        file.write_at(0, (b"abc",))
        file.allocate(1 << 16)
        assert file.read_at(0, 9) == b"abc"
        file.close()

    def test_punched_range_reads_as_zeros(self, files: Files) -> None:
        file = files.open("a", "create")
        file.write_at(0, (b"x" * 16384,))
        if file.punch(4096, 8192):
            assert file.read_at(0, 20000) == b"x" * 4096 + bytes(8192) + b"x" * 4096
        else:
            assert file.read_at(0, 20000) == b"x" * 16384
        file.close()

    def test_hints_change_nothing(self, files: Files) -> None:
        file = files.open("a", "create")
        file.write_at(0, (b"abc",))
        file.start_writeback(0, 3)
        file.will_need([(0, 3), (100, 5)])
        assert file.read_at(0, 9) == b"abc"
        file.close()

    def test_rename_replaces_and_handles_stay_with_their_file(self, files: Files) -> None:
        write(files, "a", b"new")
        write(files, "b", b"old")
        old = files.open("b", "read")
        files.make_folder("f")
        files.rename("a", "b")
        assert old.read_at(0, 9) == b"old"
        assert read(files, "b") == b"new"
        files.rename("b", "f/c")
        assert read(files, "f/c") == b"new"
        assert [entry.name for entry in files.list("")] == ["f"]
        with pytest.raises(FileNotFoundError):
            files.rename("a", "b")
        with pytest.raises(FileNotFoundError):
            files.rename("f/c", "nowhere/c")
        old.close()

    def test_unlinked_file_lives_while_a_handle_is_open(self, files: Files) -> None:
        write(files, "a", b"abc")
        file = files.open("a", "append")
        files.unlink("a")
        with pytest.raises(FileNotFoundError):
            files.open("a", "read")
        with pytest.raises(FileNotFoundError):
            files.unlink("a")
        file.write_at(3, (b"def",))
        write(files, "a", b"another")
        assert file.read_at(0, 9) == b"abcdef"
        file.sync()
        file.close()
        assert read(files, "a") == b"another"

    def test_list_gives_entries_in_name_order(self, files: Files) -> None:
        assert files.list("") == []
        assert files.list("nowhere") == []
        files.make_folder("m")
        for name in ("b", "a", "m/x"):
            write(files, name, b"12")
        assert [(e.name, e.size, e.is_folder) for e in files.list("") if not e.is_folder] == [
            ("a", 2, False),
            ("b", 2, False),
        ]
        assert [(e.name, e.is_folder) for e in files.list("")] == [("a", False), ("b", False), ("m", True)]
        assert [e.name for e in files.list("m")] == ["x"]
        a, b, _ = files.list("")
        assert a.inode != b.inode
        files.rename("a", "c")
        assert next(e.inode for e in files.list("") if e.name == "c") == a.inode

    def test_folders_are_made_with_their_parents(self, files: Files) -> None:
        files.make_folder("a/b/c")
        files.make_folder("a/b")
        files.make_folder("")
        write(files, "a/b/c/file", b"x")
        files.sync_folder("a/b/c")
        files.sync_folder("")
        with pytest.raises(FileNotFoundError):
            files.sync_folder("a/nowhere")
        with pytest.raises(FileExistsError):
            files.make_folder("a/b/c/file")

    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "..", "../x", "a/../../x", "a/./b", "a//b", "a/", "/", "", "a\0b", "."]
    )
    def test_paths_that_leave_the_directory_are_refused(self, files: Files, path: str) -> None:
        write(files, "a", b"x")
        with pytest.raises(InvalidArgument):
            files.open(path, "read")
        with pytest.raises(InvalidArgument):
            files.rename("a", path)
        with pytest.raises(InvalidArgument):
            files.rename(path, "b")
        with pytest.raises(InvalidArgument):
            files.unlink(path)
        with pytest.raises(InvalidArgument):
            files.lock(path, b"")
        if path:
            with pytest.raises(InvalidArgument):
                files.make_folder(path)
            with pytest.raises(InvalidArgument):
                files.list(path)
            with pytest.raises(InvalidArgument):
                files.sync_folder(path)

    def test_names_that_only_look_like_parents_are_legal(self, files: Files) -> None:
        for name in ("..a", "a..", "...", ".hidden", "a b", "ä", "line\nbreak"):
            write(files, name, b"x")
        assert len(files.list("")) == 7

    def test_second_lock_names_the_holder(self, files: Files) -> None:
        lock = files.lock("LOCK", b"4711 instance 42")
        with pytest.raises(Locked, match="4711") as caught:
            files.lock("LOCK", b"4712")
        assert caught.value.pid == 4711
        assert read(files, "LOCK") == b"4711 instance 42"
        lock.release()
        lock.release()
        again = files.lock("LOCK", b"8")
        assert read(files, "LOCK") == b"8"
        again.release()

    def test_free_bytes_are_within_the_total(self, files: Files) -> None:
        free, total = files.free_bytes()
        assert 0 <= free <= total
        assert total > 0

    def test_threads_may_share_a_file(self, files: Files) -> None:
        file = files.open("a", "create")

        def work(mark: int) -> None:
            for n in range(50):
                place = (n * 4 + mark) * 8
                file.write_at(place, (bytes([mark]) * 8,))
                assert file.read_at(place, 8) == bytes([mark]) * 8

        threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert file.read_at(0, 2000) == b"".join(bytes([mark]) * 8 for mark in range(4)) * 50
        file.close()
