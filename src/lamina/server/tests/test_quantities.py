"""Sizes, times and switches."""

import pytest

from lamina.errors import InvalidArgument
from lamina.server import quantities


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("4096", 4096),
        ("10GB", 10**10),
        ("10gb", 10**10),
        ("10 G", 10**10),
        ("1KiB", 1024),
        ("1K", 1000),
        ("8MB", 8_000_000),
        ("512KB", 512_000),
        ("2TiB", 2 << 40),
        ("1PB", 10**15),
        ("1.5 MB", 1_500_000),
        ("12B", 12),
        (str((1 << 64) - 1), (1 << 64) - 1),
    ],
)
def test_sizes(text, expected):
    assert quantities.parse_size("X", text) == expected


@pytest.mark.parametrize(
    "text", ["", "B", "KB", "-1", "1XB", "1iB", "1e3", "1.MB", "one", "٣", str(1 << 64), "99999PB"]
)
def test_what_is_no_size_is_shown_with_its_name(text):
    with pytest.raises(InvalidArgument, match="RS_SIZE"):
        quantities.parse_size("RS_SIZE", text)


@pytest.mark.parametrize(("text", "expected"), [("5", 5.0), ("0.5", 0.5), ("30s", 30.0), (" 1 S ", 1.0)])
def test_seconds(text, expected):
    assert quantities.parse_seconds("X", text) == expected


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "nan", "inf", "", "1m"])
def test_what_is_no_time(text):
    with pytest.raises(InvalidArgument, match="RS_TIME"):
        quantities.parse_seconds("RS_TIME", text)


@pytest.mark.parametrize(("text", "expected"), [("TRUE", True), ("0", False), ("Off", False), ("yes", True)])
def test_switches(text, expected):
    assert quantities.parse_switch("X", text) is expected


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "²", "1" * 19])
def test_what_is_no_count(text):
    with pytest.raises(InvalidArgument, match="RS_COUNT"):
        quantities.parse_count("RS_COUNT", text)


def test_choices_have_one_spelling():
    assert quantities.parse_choice("X", "fifo", ("NONE", "FIFO")) == "FIFO"
    with pytest.raises(InvalidArgument, match="NONE, FIFO"):
        quantities.parse_choice("X", "LIFO", ("NONE", "FIFO"))


def test_lists():
    assert quantities.parse_list(" a, b ,,c") == ("a", "b", "c")
    assert quantities.parse_list("") == ()
