"""`lamina import tinyflux` and the way back."""

from pathlib import Path

from typer.testing import CliRunner, Result

from lamina.cli.app import app
from lamina.errors import InvalidArgument, NotFound
from lamina.tinyflux.tests.test_transfer import csv_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_file_goes_into_a_directory_and_back(tmp_path: Path) -> None:
    text = csv_of(tmp_path / "a.csv", 30)
    there = run("import", "tinyflux", tmp_path / "a.csv", tmp_path / "db")
    assert (there.exit_code, there.stdout) == (0, "30 points inserted, of 2 measurements now\n")
    back = run("export", "tinyflux", tmp_path / "db", tmp_path / "b.csv")
    assert (back.exit_code, "30 points written" in back.stderr) == (0, True)
    assert (tmp_path / "b.csv").read_bytes() == text
    only = run("export", "tinyflux", tmp_path / "db", tmp_path / "c.csv", "--measurement", "a")
    assert (only.exit_code, "15 points written" in only.stderr) == (0, True)


def test_a_measurement_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    csv_of(tmp_path / "a.csv", 4)
    run("import", "tinyflux", tmp_path / "a.csv", tmp_path / "db")
    refused = run("export", "tinyflux", tmp_path / "db", tmp_path / "c.csv", "--measurement", "z")
    assert isinstance(refused.exception, NotFound)
    assert "'z' has no points; there are a, b" in str(refused.exception)


def test_a_file_that_is_none_of_tinyflux_is_told_by_row_and_byte(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("2024-01-01,_default\nyesterday,_default\n")
    for options, words in (([], "'yesterday' (row 2 at byte 20 of"), (["--encoding", "utf-99"], "utf-99")):
        refused = run("import", "tinyflux", tmp_path / "a.csv", tmp_path / "db", *options)
        assert isinstance(refused.exception, InvalidArgument)
        assert words in str(refused.exception)


def test_half_a_row_is_told_of(tmp_path: Path) -> None:
    text = csv_of(tmp_path / "a.csv", 4)
    (tmp_path / "a.csv").write_bytes(text + b"2024-0")
    there = run("import", "tinyflux", tmp_path / "a.csv", tmp_path / "db")
    assert there.exit_code == 0
    assert "half a row" in there.stderr


def test_help_shows_both_forms() -> None:
    for command in ("import", "export"):
        shown = run(command, "--help").stdout
        assert "tinyflux" in shown
        assert "file" in shown
