"""Which directories become databases."""

from __future__ import annotations

import threading

import pytest

import lamina
from lamina.errors import InvalidArgument


def test_a_directory_with_other_things_in_it_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "passwd").write_text("root")
    with pytest.raises(InvalidArgument, match="holds no database: there is passwd"):
        lamina.open(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"passwd", "LOCK"}


def test_what_a_volume_or_an_unfinished_creation_holds_is_no_hindrance(tmp_path):
    for name in ("lost+found", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / ".hidden").touch()
    lamina.open(tmp_path).close()
    with lamina.open(tmp_path) as db:
        assert list(db.streams) == []


def test_settings_that_are_none_are_refused(tmp_path):
    for given in ({"min_free": 0}, {}, "os"):
        with pytest.raises(InvalidArgument, match=r"expected lamina\.Settings"):
            lamina.open(tmp_path / "db", settings=given)
    assert not (tmp_path / "db").exists()


def test_a_file_is_no_directory_and_stays_as_it_is(tmp_path):
    (tmp_path / "points.csv").write_text("1,2")
    with pytest.raises(NotADirectoryError, match=r"a database is a directory, this is a file: .*points\.csv"):
        lamina.open(tmp_path / "points.csv")
    assert (tmp_path / "points.csv").read_text() == "1,2"


@pytest.mark.parametrize("path", ["http://127.0.0.1:8383", "https://host/base", ""])
def test_a_url_is_no_path_and_makes_no_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match=r"expected that of a directory; a server's URL is for lamina\.connect"):
        lamina.open(path)
    assert not list(tmp_path.iterdir())


def test_a_relative_path_is_that_of_the_moment_of_opening(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with lamina.open("data") as db:
        stream = db.streams.create("plant", "speed")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        stream.insert([1, 2], [0.5, 1.5])
        found = []
        threads = [threading.Thread(target=lambda: found.append(db.streams["plant", "speed"].count())) for _ in "ab"]
        with db.catalog.snapshot():  # the first connection is taken: others are made now
            for thread in threads:
                thread.start()
                thread.join()
        assert found == [2, 2]
        assert db.path == str(tmp_path / "data")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_path_may_begin_with_two_slashes(tmp_path):
    with lamina.open(f"/{tmp_path}/data") as db:
        db.streams.create("plant", "speed")
    with lamina.open(tmp_path / "data") as db:
        assert len(db.streams) == 1
