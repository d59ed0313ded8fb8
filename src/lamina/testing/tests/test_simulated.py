"""Simulated files: power loss keeps what is durable, a kill keeps everything."""

from __future__ import annotations

import random

import pytest

from lamina.errors import Locked
from lamina.testing import SimulatedFiles
from lamina.testing.files_contract import FilesContract, read, write


class TestSimulatedFiles(FilesContract):
    @pytest.fixture
    def files(self):
        return SimulatedFiles()


class TestSimulatedFilesAfterACrash(FilesContract):
    @pytest.fixture
    def files(self):
        return SimulatedFiles().crash(random.Random(1)).kill()


@pytest.fixture
def files():
    files = SimulatedFiles()
    files.make_folder("f")
    file = files.open("f/a", "create")
    file.write_at(0, (b"synced",))
    file.sync()
    files.sync_folder("f")
    file.write_at(6, (b" and not",))
    write(files, "f/b", b"nameless")
    return files


def test_crash_keeps_what_is_durable(files):
    after = files.crash(random.Random(0), "min")
    assert [e.name for e in after.list("f")] == ["a"]
    assert read(after, "f/a") == b"synced"


def test_crash_by_chance_keeps_more_or_less(files):
    found = {len(files.crash(random.Random(seed)).list("f")) for seed in range(40)}
    contents = {read(files.crash(random.Random(seed)), "f/a") for seed in range(40)}
    assert found == {1, 2}
    assert contents == {b"synced", b"synced and not"}


def test_same_seed_gives_the_same_crash(files):
    for seed in range(10):
        one, two = files.crash(random.Random(seed)), files.crash(random.Random(seed))
        assert one.list("f") == two.list("f")


def test_what_survived_a_crash_is_durable(files):
    after = files.crash(random.Random(0), "all").crash(random.Random(0), "min")
    assert read(after, "f/a") == b"synced and not"
    assert read(after, "f/b") == b"nameless"


def test_kill_keeps_everything_and_makes_nothing_durable(files):
    after = files.kill()
    assert read(after, "f/a") == b"synced and not"
    assert read(after, "f/b") == b"nameless"
    later = after.crash(random.Random(0), "min")
    assert read(later, "f/a") == b"synced"
    assert [e.name for e in later.list("f")] == ["a"]


def test_next_life_can_make_durable_what_the_killed_one_wrote(files):
    after = files.kill()
    file = after.open("f/a", "append")
    file.sync()
    after.sync_folder("f")
    later = after.crash(random.Random(0), "min")
    assert read(later, "f/a") == b"synced and not"
    assert [e.name for e in later.list("f")] == ["a", "b"]


def test_lives_do_not_touch_each_other(files):
    killed, crashed = files.kill(), files.crash(random.Random(0), "all")
    file = files.open("f/a", "append")
    file.write_at(0, (b"SYNCED",))
    file.sync()
    for life in (killed, crashed):
        assert read(life, "f/a") == b"synced and not"
        assert read(life.crash(random.Random(0), "min"), "f/a")[:6] == b"synced"


def test_lock_of_a_dead_life_is_free(files):
    files.lock("LOCK", b"1")
    with pytest.raises(Locked):
        files.lock("LOCK", b"2")
    files.kill().lock("LOCK", b"2")
    files.crash(random.Random(0)).lock("LOCK", b"2")
