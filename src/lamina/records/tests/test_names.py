"""Names of buckets and entries (contract section 2)."""

from __future__ import annotations

import pytest

from lamina.errors import InvalidArgument
from lamina.records.names import check_bucket_name, check_entry_name, is_meta, parent_of_meta, parents

BUCKET = "Bucket or entry name can contain only letters, digests and [-,_] symbols"
EMPTY = "Entry name must be non-empty and must not contain empty path segments"
SYMBOLS = "Entry name can contain only letters, digits and [-,_,/] symbols or end with '/$meta'"


@pytest.mark.parametrize("name", ["a", "A-z_09", "-", "_", "x" * 255])
def test_bucket_names_of_letters_digits_dash_and_underscore(name: str) -> None:
    assert check_bucket_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a.b", "ä", "a\n", "$system", "a$", "٣", "%20"])
def test_other_bucket_names_are_refused_with_the_contracts_message(name: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        check_bucket_name(name)
    assert str(error.value) == BUCKET


def test_reserved_bucket_names_need_leave() -> None:
    assert check_bucket_name("$system", system=True) == "$system"
    assert check_bucket_name("plain", system=True) == "plain"
    for name in ("$", "$a b", "$$a"):
        with pytest.raises(InvalidArgument):
            check_bucket_name(name, system=True)


@pytest.mark.parametrize("name", ["a", "a/b/c", "A-1/_x", "a/$meta", "a/b/$meta", "$meta", "/".join(["x" * 255] * 4)])
def test_entry_names_are_paths(name: str) -> None:
    assert check_entry_name(name) == name


@pytest.mark.parametrize("name", ["", "/", "/a", "a/", "a//b", "a/$meta/"])
def test_entry_names_without_empty_segments(name: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        check_entry_name(name)
    assert str(error.value) == EMPTY


@pytest.mark.parametrize(
    "name", ["a b", "ä", "a.b", "a\n", "$x", "$meta/a", "a/$meta/$meta", "a/$metas", "..", "a/../b"]
)
def test_entry_names_with_other_characters(name: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        check_entry_name(name)
    assert str(error.value) == SYMBOLS


def test_a_segment_holds_255_bytes_and_a_name_1024() -> None:
    name = "/".join(["x" * 255] * 4) + "/"  # exactly 1,024 with the last slash
    assert check_entry_name(name[:1022] + "/x") == name[:1022] + "/x"
    with pytest.raises(InvalidArgument, match="1025 bytes"):
        check_entry_name(name + "x")
    for check in (check_entry_name, check_bucket_name):
        with pytest.raises(InvalidArgument, match="a segment of 256"):
            check("x" * 256)


def test_parents_are_named_from_the_top() -> None:
    assert parents("a/b/c") == ["a", "a/b"]
    assert parents("a") == []
    assert parents("a/$meta") == ["a"]


def test_meta_entries_know_their_owner() -> None:
    assert is_meta("a/b/$meta")
    assert is_meta("$meta")
    assert not is_meta("a/meta")
    assert not is_meta("a$meta")
    assert parent_of_meta("a/b/$meta") == "a/b"
    assert parent_of_meta("$meta") == ""
