"""Entry patterns (contract 8.5)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.records.patterns import EntryPatterns


def matches(pattern: str, name: str) -> bool:
    return EntryPatterns.of([pattern]).matches(name)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("acc", "acc", True),
        ("/acc", "acc", True),
        ("acc", "acc/x", False),
        ("a/b", "a/b", True),
        ("*", "a/b/c", True),
        ("/*", "a/b/c", True),
        ("**", "a/b/c", True),
        ("/**", "a", True),
        ("acc-*", "acc-a/sub", True),
        ("acc-*", "acc-", True),
        ("/acc-*", "acc-a/sub", True),
        ("acc-*", "bcc-a", False),
        ("/a/*/b", "a/x/b", True),
        ("/a/*/b", "a/x/y/b", False),
        ("/a/*/b", "a/b", False),
        ("/a/**/b", "a/x/b", True),
        ("/a/**/b", "a/x/y/b", True),
        ("/a/**/b", "a/b", True),
        ("/a/**/b", "a/b/c", False),
        ("/a/**", "a/b", True),
        ("/a/**", "a/b/c", True),
        ("/a/**", "a", True),
        ("/a/**", "ab", False),
        ("**/b", "b", True),
        ("**/b", "x/y/b", True),
        ("**/b", "x/y/bb", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/x*", "a/xy", True),
        ("a/x*", "a/xy/z", False),
        ("sensor-*temp", "sensor-x-temp", True),
        ("sensor-*temp", "sensor-temp", True),
        ("sensor-*temp", "sensor-x/temp", False),
        ("*temp*", "my-temp-1", True),
        ("*temp*", "temp", True),
        ("*temp*", "a/temp", False),
        ("*temp", "a-temp", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*b", "ab", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("ab*ba", "aba", False),
        ("a/**/m/**/z", "a/m/z", True),
        ("a/**/m/**/z", "a/1/m/2/3/z", True),
        ("a/**/m/**/z", "a/1/2/z", False),
        ("a/**/m/n/**/z", "a/m/x/m/n/z", True),
        ("a/**/a", "a", False),
        ("**/**", "a/b", True),
        ("", "a", False),
        ("/", "a", False),
        ("a/", "a", False),
        ("a?", "ab", False),
        ("a.b*", "axb", False),
        ("[ab]*", "a", False),
    ],
)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_exclusions_apply_after_inclusions_wherever_they_stand() -> None:
    names = ["a", "a/x", "a/y", "b"]
    assert EntryPatterns.of(["!a/x", "a*"]).select(names) == ["a", "a/y"]
    assert EntryPatterns.of(["a*", "!a/*"]).select(names) == ["a"]
    assert EntryPatterns.of(["a", "!/a"]).select(names) == []


def test_only_exclusions_leave_everything_else() -> None:
    assert EntryPatterns.of(["!a/*"]).select(["a", "a/x", "b"]) == ["a", "b"]


def test_none_and_an_empty_list_select_everything() -> None:
    assert EntryPatterns.of(None).select(["b", "a/x"]) == ["b", "a/x"]
    assert EntryPatterns.of([]).select(["b", "a/x"]) == ["b", "a/x"]


@pytest.mark.parametrize("pattern", ["*", "**", "a/*", "a/**", "a*", "**/$meta", "a/$m*", "!b"])
def test_wildcards_never_select_attachments(pattern: str) -> None:
    assert not matches(pattern, "a/$meta")


def test_attachments_are_selected_by_their_exact_name() -> None:
    assert matches("a/$meta", "a/$meta")
    assert matches("/$meta", "$meta")
    assert not EntryPatterns.of(["a/$meta", "!a/$meta"]).matches("a/$meta")
    assert EntryPatterns.of(["a/$meta", "!a/*"]).matches("a/$meta"), "wildcards do not exclude them either"


def test_attachments_go_with_their_parent_where_asked() -> None:
    patterns = EntryPatterns.of(["a*", "!a/x"], meta_with_parent=True)
    assert patterns.select(["a/$meta", "a/x/$meta", "b/$meta", "a/y/$meta"]) == ["a/$meta", "a/y/$meta"]
    assert not EntryPatterns.of(["*", "!a/$meta"], meta_with_parent=True).matches("a/$meta")


def test_a_pattern_is_a_text() -> None:
    with pytest.raises(InvalidArgument, match="not int"):
        EntryPatterns.of(["a", 5])  # type: ignore[list-item]


def naive(pattern: list[str], name: list[str]) -> bool:
    """By the contract's words, trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(naive(pattern[1:], name[i:]) for i in range(len(name) + 1))
    return bool(name) and naive_segment(pattern[0], name[0]) and naive(pattern[1:], name[1:])


def naive_segment(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_segment(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return text[:1] == pattern[0] and naive_segment(pattern[1:], text[1:])


@given(
    st.lists(st.just("**") | st.text("ab*", min_size=1, max_size=5), min_size=2, max_size=5),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6),
)
def test_greedy_matching_finds_what_trying_everything_finds(pattern: list[str], name: list[str]) -> None:
    wild = any("*" in segment for segment in pattern)
    assert matches("/".join(pattern), "/".join(name)) is (naive(pattern, name) if wild else pattern == name)


def test_hostile_patterns_take_no_time() -> None:
    name = "/".join(["a" * 255] * 4)
    started = time.process_time()
    for pattern in (
        "*a" * 500_000 + "b",
        "a/" + "**/a*b/" * 100_000 + "c",
        "**/" * 300_000 + "b",
        "/" * 1_000_000 + "*",
    ):
        assert not matches(pattern, name)
    assert time.process_time() - started < 2
