"""The Range header."""

from __future__ import annotations

import pytest

from lamina.faces.reduct.ranges import parse_range


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes=0-0", (0, 1)),
        (b"bytes=2-4", (2, 5)),
        (b"Bytes = 2 - 4", (2, 5)),
        (b"bytes=7-", (7, 10)),
        (b"bytes=7-99", (7, 10)),
        (b"bytes=-3", (7, 10)),
        (b"bytes=-99", (0, 10)),
    ],
)
def test_one_range_of_ten_bytes(value, expected):
    assert parse_range(value, 10) == expected


@pytest.mark.parametrize("value", [b"bytes=10-", b"bytes=99-100", b"bytes=-0"])
def test_what_cannot_be_satisfied_is_empty(value):
    start, stop = parse_range(value, 10)
    assert start >= stop


@pytest.mark.parametrize(
    "value", [None, b"", b"bytes", b"lines=1-2", b"bytes=-", b"bytes=1-2,4-5", b"bytes=a-b", b"bytes=4-2"]
)
def test_anything_else_is_the_whole(value):
    assert parse_range(value, 10) is None
