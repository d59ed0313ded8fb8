"""Sharing one open database: who opens it, who closes it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest

import lamina
from lamina.engine.shared import open_shared
from lamina.errors import Closed, InvalidArgument, Locked

QUIET = lamina.Settings(background=False)


def test_handles_on_one_directory_share_its_database(tmp_path):
    with open_shared(tmp_path / "db") as first, open_shared(str(tmp_path / "." / "db")) as second:
        assert first.database is second.database
        with open_shared(tmp_path / "other") as third:
            assert third.database is not first.database


def test_the_last_handle_releases_the_directory(tmp_path):
    first, second = open_shared(tmp_path), open_shared(tmp_path)
    database = first.database
    first.close()
    first.close()
    assert not database.closed
    with pytest.raises(Locked):
        lamina.open(tmp_path)
    second.close()
    assert database.closed
    lamina.open(tmp_path).close()


def test_a_closed_handle_gives_no_database(tmp_path):
    first, second = open_shared(tmp_path), open_shared(tmp_path)
    first.close()
    assert (first.closed, second.closed) == (True, False)
    with pytest.raises(Closed):
        _ = first.database
    second.close()


def test_a_directory_is_opened_anew_after_the_last_handle(tmp_path):
    with open_shared(tmp_path) as first:
        first.database.streams.create("c", "x")
        gone = first.database
    with open_shared(tmp_path) as second:
        assert second.database is not gone
        assert len(second.database.streams) == 1


def test_a_database_that_somebody_closed_is_opened_anew(tmp_path):
    with open_shared(tmp_path) as first:
        first.database.close()
        with open_shared(tmp_path) as second:
            assert not second.database.closed


def test_a_lost_handle_is_closed(tmp_path):
    handle = open_shared(tmp_path)
    database = handle.database
    del handle
    gc.collect()
    assert database.closed


def test_memory_is_never_shared():
    with open_shared(":memory:") as first, open_shared(":memory:") as second:
        assert first.database is not second.database


def test_settings_are_those_of_the_first(tmp_path):
    with open_shared(tmp_path, settings=QUIET) as first:
        assert first.database.settings == QUIET
        for settings in (None, QUIET):
            open_shared(tmp_path, settings=settings).close()
        with pytest.raises(InvalidArgument, match="expected no settings"):
            open_shared(tmp_path, settings=lamina.Settings())
        assert not first.database.closed


def test_a_failed_opening_leaves_nothing_behind(tmp_path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "letter.txt").write_text("not ours")
    for _ in range(2):
        with pytest.raises(InvalidArgument):
            open_shared(tmp_path / "db")
    (tmp_path / "db" / "letter.txt").unlink()
    open_shared(tmp_path / "db").close()


def test_threads_that_open_at_once_get_one_database(tmp_path):
    ready = threading.Barrier(8)
    handles = []

    def use():
        ready.wait()
        handles.append(open_shared(tmp_path))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(handle.database) for handle in handles}) == 1
    for handle in handles:
        handle.close()
    lamina.open(tmp_path).close()


def test_the_end_of_the_process_closes_it(tmp_path):
    program = (
        "from lamina.engine.shared import open_shared\n"
        f"handle = open_shared({str(tmp_path)!r})\n"
        "handle.database.streams.create('c', 'x').insert([1], [1.0])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    with lamina.open(tmp_path, create=False) as db:
        assert db.streams["c", "x"].values().time.tolist() == [1]
        assert db.stats()["dirty_streams"] == 0  # a kill would have left it in the log


def test_a_forked_child_opens_nothing_that_is_its_parents(tmp_path):
    with open_shared(tmp_path) as handle:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                handle.database.streams.create("c", "x")
            except Closed:
                try:
                    open_shared(tmp_path)
                except Locked:
                    handle.close()
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert len(handle.database.streams) == 0
