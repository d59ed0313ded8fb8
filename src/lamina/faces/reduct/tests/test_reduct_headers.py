"""Words of headers: what goes in comes out, and nothing can break a line."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.faces.reduct import headers
from lamina.faces.reduct.headers import decode_name, encode_name, label_headers, label_set, number

texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(texts.filter(lambda text: "%" not in text))
def test_names_come_back(text):
    assert decode_name(encode_name(text).encode()) == text


def test_names_keep_token_characters_and_a_percent_sign():
    assert encode_name("a/b c@é") == "a%2Fb%20c%40%C3%A9"
    tokens = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
    assert encode_name(tokens) == tokens


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+1", b"1_0", b" 1", b"1.0", b"18446744073709551616", b"0" * 21, "١".encode()]
)
def test_only_plain_digits_are_a_number(text):
    assert number(text) is None


@pytest.mark.parametrize("value", [0, 1, (1 << 64) - 1])
def test_numbers_up_to_64_bits(value):
    assert number(b"%d" % value) == value


@given(st.dictionaries(texts, texts, max_size=4))
def test_label_headers_are_tokens_and_visible_ascii(labels):
    """Contract 21 item 4: labels that are no header words must not fail a read."""
    for name, value in label_headers(tuple(sorted(labels.items()))):
        assert set(name) <= set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
        assert all(32 <= byte <= 126 for byte in value)


def test_labels_that_differ_in_case_alone_are_one_header():
    assert label_headers((("A", "1"), ("a", "2"))) == [(b"x-reduct-label-a", b"2")]


def test_labels_of_a_write_are_as_their_headers_say():
    given_headers = ((b"x-reduct-label-b", b"2"), (b"x-reduct-label-a", "é".encode()), (b"x-reduct-label-b", b""))
    assert label_set(given_headers) == (("a", "é"), ("b", ""))
    assert label_set(()) == ()


def test_label_that_is_no_utf8_is_refused():
    with pytest.raises(InvalidArgument, match=r"^Label values for x-reduct-label-x must be valid UTF-8 strings$"):
        label_set(((b"x-reduct-label-x", b"\xff"),))


def test_long_labels_are_not_remembered():
    before = len(headers._label_sets)
    label_set(((b"x-reduct-label-x", b"v" * 2000),))
    assert len(headers._label_sets) == before
