"""Which directories become databases."""

from __future__ import annotations

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


def test_a_file_is_no_directory_and_stays_as_it_is(tmp_path):
    (tmp_path / "points.csv").write_text("1,2")
    with pytest.raises(NotADirectoryError, match=r"a database is a directory, this is a file: .*points\.csv"):
        lamina.open(tmp_path / "points.csv")
    assert (tmp_path / "points.csv").read_text() == "1,2"
