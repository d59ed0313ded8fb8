"""Settings that no database can be run with are refused by name, before anything is made."""

from pathlib import Path

import pytest

import lamina
from lamina.errors import InvalidArgument
from lamina.settings import Settings


def test_the_defaults_are_good() -> None:
    Settings().check()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("durability", "x", "durability 'x': expected 'group', 'os' or 'strict'"),
        ("node_rows", 1, "node_rows 1: expected a number from 2"),
        ("leaf_points", 0, "leaf_points 0: expected a number from 1"),
        ("cache_limit", -5, "cache_limit -5: expected a number from 0"),
        ("min_free", -2, "min_free -2: expected a number from -1"),
        ("sync_interval_s", float("nan"), "sync_interval_s nan: expected a number from 0"),
        ("seal_points", "many", "seal_points 'many': expected a number from 1"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_no_directory_made(
    tmp_path: Path, name: str, value: object, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        lamina.open(tmp_path / "d", settings=Settings(**{name: value}))  # type: ignore[arg-type]
    assert not (tmp_path / "d").exists()
