"""Recordings and crash states: the trace tells all, and each mode keeps exactly what power loss may leave."""

from __future__ import annotations

import random

import pytest

from lamina.storage.local import LocalFiles
from lamina.storage.memory import MemoryFiles
from lamina.testing import MODES, CrashStates, RecordingFiles, materialise, write_state
from lamina.testing.crashstates import (
    PAGE,
    SECTOR,
    Create,
    Folder,
    FolderSync,
    Mark,
    Punch,
    Rename,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from lamina.testing.files_contract import FilesContract, read, write


class TestRecordingFiles(FilesContract):
    @pytest.fixture
    def files(self):
        return RecordingFiles(MemoryFiles())


@pytest.fixture
def files():
    return RecordingFiles(MemoryFiles())


def create(files, path, content=b"", sync=False):
    file = files.open(path, "create")
    if content:
        file.write_at(0, (content,))
    if sync:
        file.sync()
    return file


def end(files, mode="min", seed=0):
    states = CrashStates(files.trace)
    return states.state(states.points[-1], mode, random.Random(seed))


def many(files, mode, n=300):
    return [end(files, mode, seed) for seed in range(n)]


def test_trace_tells_every_change_in_order(files):
    files.make_folder("a/b")
    file = create(files, "a/b/c", b"abc")
    file.write_at(3, (b"d", b"e"))
    file.truncate(4)
    file.punch(1, 2)
    file.sync()
    files.rename("a/b/c", "d")
    files.sync_folder("")
    files.mark("acknowledged")
    files.unlink("d")
    assert [(type(e), *e) for e in files.trace.events[files.trace.start :]] == [
        (Folder, "a"),
        (Folder, "a/b"),
        (Create, "a/b/c", 1),
        (Write, 1, 0, b"abc"),
        (Write, 1, 3, b"de"),
        (Truncate, 1, 4),
        (Punch, 1, 1, 2),
        (Sync, 1, files.trace.start + 7),
        (Rename, "a/b/c", "d", 1),
        (FolderSync, "", files.trace.start + 9),
        (Mark, "acknowledged"),
        (Unlink, "d"),
    ]


def test_failed_calls_are_not_told(files):
    before = len(files.trace.events)
    for call in (
        lambda: files.open("a", "read"),
        lambda: files.unlink("a"),
        lambda: files.rename("a", "b"),
        lambda: files.sync_folder("nowhere"),
    ):
        with pytest.raises(OSError):
            call()
    assert len(files.trace.events) == before


def test_what_was_there_before_is_durable():
    inner = MemoryFiles()
    inner.make_folder("f/empty")
    write(inner, "f/a", b"old")
    files = RecordingFiles(inner)
    file = files.open("f/a", "append")
    file.write_at(0, (b"new",))
    assert end(files) == {"f/": b"", "f/empty/": b"", "f/a": b"old"}
    file.sync()
    assert end(files)["f/a"] == b"new"
    assert CrashStates(files.trace).points[0] == files.trace.start > 0


def test_file_needs_both_its_own_sync_and_that_of_its_folder(files):
    a = create(files, "a", b"content", sync=True)
    assert end(files) == {}, "the name is not durable"
    create(files, "b", b"content")
    files.sync_folder("")
    assert end(files) == {"a": b"content", "b": b""}
    assert end(files, "all") == {"a": b"content", "b": b"content"}
    a.write_at(0, (b"CON",))
    a.truncate(5)
    assert end(files)["a"] == b"content"
    assert end(files, "all")["a"] == b"CONte"
    a.sync()
    assert end(files)["a"] == b"CONte"


def test_rename_is_durable_with_the_folder_of_its_target_alone(files):
    files.make_folder("tmp")
    files.make_folder("final")
    create(files, "tmp/x", b"new", sync=True)
    files.rename("tmp/x", "final/x")
    files.sync_folder("tmp")
    assert "final/x" not in end(files)
    files.sync_folder("final")
    state = end(files)
    assert state["final/x"] == b"new"
    for mode in MODES:
        assert "tmp/x" not in end(files, mode), "renaming is atomic"


def test_rename_settles_the_creation_of_its_source(files):
    files.make_folder("tmp")
    create(files, "tmp/x", b"new", sync=True)
    files.rename("tmp/x", "x")
    files.sync_folder("")
    for mode in MODES:
        assert end(files, mode) == {"tmp/": b"", "x": b"new"}


def test_writes_after_a_rename_belong_to_the_renamed_file(files):
    create(files, "a", b"abc", sync=True)
    files.rename("a", "b")
    file = files.open("b", "append")
    file.write_at(0, (b"ABC",))
    file.sync()
    create(files, "a", b"another", sync=True)
    files.sync_folder("")
    assert end(files) == {"a": b"another", "b": b"ABC"}


def test_replaced_file_comes_back_unless_the_folder_is_synced(files):
    create(files, "a", b"old", sync=True)
    files.sync_folder("")
    create(files, "b", b"new", sync=True)
    files.rename("b", "a")
    assert end(files) == {"a": b"old"}
    assert {s["a"] for s in many(files, "page")} == {b"old", b"new"}
    files.sync_folder("")
    assert {tuple(s.items()) for s in many(files, "torn", 20)} == {(("a", b"new"),)}


def test_unlinked_file_comes_back_unless_the_folder_is_synced(files):
    create(files, "a", b"old", sync=True)
    files.sync_folder("")
    files.unlink("a")
    assert end(files) == {"a": b"old"}
    assert end(files, "all") == {}
    files.sync_folder("")
    assert end(files) == {}


def test_pending_names_survive_as_a_prefix(files):
    for name in "abc":
        create(files, name)
    found = {"".join(sorted(s)) for s in many(files, "page")}
    assert found == {"", "a", "ab", "abc"}


def test_syncing_one_folder_leaves_names_of_another_pending(files):
    files.make_folder("f")
    files.make_folder("g")
    create(files, "f/a")
    create(files, "g/b")
    files.sync_folder("g")
    assert set(end(files)) == {"f/", "g/", "g/b"}


def test_pages_survive_independently_and_holes_read_as_zeros(files):
    create(files, "a", b"1" * PAGE + b"2" * PAGE + b"3" * 100)
    files.sync_folder("")
    contents = {s["a"] for s in many(files, "page")}
    one, two, three, hole = b"1" * PAGE, b"2" * PAGE, b"3" * 100, bytes(PAGE)
    assert contents == {
        b"",
        one,
        hole + two,
        hole + hole + three,
        one + two,
        one + hole + three,
        hole + two + three,
        one + two + three,
    }


def test_torn_pages_are_cut_between_sectors_of_the_file(files):
    offset = 100
    file = create(files, "a", bytes(offset), sync=True)
    files.sync_folder("")
    file.write_at(offset, (b"x" * 2000,))
    lengths = set()
    for state in many(files, "torn"):
        content = state["a"]
        changed = [i for i, byte in enumerate(content) if byte]
        if changed:
            first, last = changed[0], changed[-1] + 1
            assert content[first:last] == b"x" * (last - first)
            assert first == offset or first % SECTOR == 0
            assert last == offset + 2000 or last % SECTOR == 0
        lengths.add(len(changed))
    assert {0, 2000, 412, 2000 - 412} <= lengths


def test_write_within_a_sector_is_never_torn(files):
    file = create(files, "a", bytes(SECTOR), sync=True)
    files.sync_folder("")
    file.write_at(0, (b"x" * SECTOR,))
    assert {s["a"] for s in many(files, "torn")} == {bytes(SECTOR), b"x" * SECTOR}


def test_write_during_a_sync_is_not_covered_by_it():
    class Slow(MemoryFiles):
        """A sync during which somebody else writes, and creates."""

        def open(self, path, mode):
            file = super().open(path, mode)

            class Wrapped(type(file)):
                __slots__ = ()

                def sync(self):
                    if path == "a":
                        meddle()

            file.__class__ = Wrapped
            return file

        def sync_folder(self, folder):
            create(files, "late")

    def meddle():
        file.write_at(0, (b"late",))

    files = RecordingFiles(Slow())
    file = create(files, "a", b"soon")
    file.sync()
    files.sync_folder("")
    assert end(files) == {"a": b"soon"}
    assert end(files, "all") == {"a": b"late", "late": b""}


def test_states_of_every_point_do_not_depend_on_the_order_asked(files):
    files.make_folder("f")
    file = create(files, "f/a")
    for n in range(20):
        file.write_at(n * 3000, (bytes([n + 1]) * 3000,))
        if n % 3 == 0:
            file.sync()
        if n % 5 == 0:
            files.sync_folder("f")
    states = CrashStates(files.trace)
    up = {(k, m): states.state(k, m, random.Random(k)) for k in states.points for m in MODES}
    for (k, mode), state in reversed(up.items()):
        assert states.state(k, mode, random.Random(k)) == state
    assert up[states.points[-1], "all"]["f/a"] == read(files, "f/a")


def test_marks_are_those_before_the_point(files):
    files.mark("one")
    files.mark("two")
    states = CrashStates(files.trace)
    assert [states.marks(k) for k in states.points] == [[], ["one"], ["one", "two"]]


def test_states_become_files_in_memory_and_in_a_directory(files, tmp_path):
    files.make_folder("f/empty")
    create(files, "f/a", b"abc")
    state = end(files, "all")
    memory, local = materialise(state), LocalFiles(str(tmp_path))
    write_state(state, local)
    for made in (memory, local):
        assert read(made, "f/a") == b"abc"
        assert [e.name for e in made.list("f")] == ["a", "empty"]
        assert made.list("f/empty") == []
