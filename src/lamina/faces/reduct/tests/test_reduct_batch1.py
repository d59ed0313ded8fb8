"""Batch protocol v1: what headers mean, and how records are told in them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.faces.reduct import batch1
from lamina.faces.reduct.wanted import Wanted


def items(*headers: tuple[bytes, bytes]) -> list[Wanted]:
    return batch1.parse_items(headers, "e")


def one(value: bytes) -> Wanted:
    return items((b"x-reduct-time-5", value))[0]


def test_records_come_by_time_whatever_the_order_of_headers():
    found = items(
        (b"x-reduct-time-30", b"3,a"),
        (b"host", b"x"),
        (b"x-reduct-time-4", b"4,a"),
        (b"x-reduct-time-18446744073709551615", b"1,a"),
    )
    assert [item.time_us for item in found] == [4, 30, (1 << 64) - 1]
    assert [item.size for item in found] == [4, 3, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"10,text/plain", (10, "text/plain", ())),
        (b" 10 ,", (10, "application/octet-stream", ())),
        (b"0,,b=2,a=1", (0, "application/octet-stream", (("a", "1"), ("b", "2")))),
        (b'1,t,a="x,y=z",b=2', (1, "t", (("a", "x,y=z"), ("b", "2")))),
        (b"1,t, a = 1 , b= 2 ", (1, "t", (("a", "1"), ("b", "2")))),
        (b"1,t,a=1,2", (1, "t", (("a", "1"),))),  # reduct-py does not quote
        (b"1,t,a=1,2,b=3", (1, "t", (("a", "1"), ("b", "3")))),
        (b"1,t,a=,b=x", (1, "t", (("a", ""), ("b", "x")))),
        (b"1,t,nonsense", (1, "t", ())),
        (b"1,t,a=b=c", (1, "t", (("a", "b=c"),))),
        ("1,t,a=µ".encode(), (1, "t", (("a", "µ"),))),
        (b"1,t,a=1,a=2", (1, "t", (("a", "2"),))),
    ],
)
def test_a_value_is_length_type_and_labels(value, expected):
    assert one(value)[2:] == expected
    assert one(value)[2:] == expected, "the second time it is remembered"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (b"x-reduct-time-5", b"10", "Invalid batched header"),
        (b"x-reduct-time-5", b'10,a,b="x', "Invalid batched header"),
        (b"x-reduct-time-5", b"10,a,b=\xff", "Invalid batched header"),
        (b"x-reduct-time-5", b"-1,a", "Invalid content length"),
        (b"x-reduct-time-5", b",a", "Invalid content length"),
        (b"x-reduct-time-5", b"1_0,a", "Invalid content length"),
        (b"x-reduct-time-5", b"99999999999999999999,a", "Invalid content length"),
        (
            b"x-reduct-time-abc",
            b"1,a",
            "Invalid header 'x-reduct-time-abc': must be an unix timestamp in microseconds",
        ),
        (
            b"x-reduct-time-18446744073709551616",
            b"1,a",
            "Invalid header 'x-reduct-time-18446744073709551616': must be an unix timestamp in microseconds",
        ),
    ],
)
def test_what_does_not_parse_is_refused_with_the_contracts_message(name, value, message):
    with pytest.raises(InvalidArgument) as caught:
        items((name, value))
    assert str(caught.value) == message


def test_only_names_count_in_a_removal():
    assert batch1.parse_times([(b"x-reduct-time-7", b""), (b"x-reduct-time-3", b"junk"), (b"a", b"")]) == [3, 7]


def test_labels_are_sorted_by_their_text_and_commas_are_quoted():
    name, value = batch1.encode_item(7, 5, "a/b", (("a", "x,y"), ("a-", "1")))
    assert (name, value) == (b"x-reduct-time-7", b'5,a/b,a-=1,a="x,y"')


texts = st.text(st.characters(codec="utf-8"), max_size=12)
plain_names = st.text("abcXYZ_-.@ ", min_size=1, max_size=6).map(str.strip).filter(bool)
plain_values = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"'), max_size=8).map(
    str.strip
)


@given(st.dictionaries(plain_names, plain_values, max_size=5), st.integers(0, (1 << 64) - 1))
def test_what_is_told_reads_back(labels, time_us):
    expected = tuple(sorted(labels.items()))
    header = batch1.encode_item(time_us, 9, "image/png", expected)
    assert items(header) == [Wanted("e", time_us, 9, "image/png", expected)]


@given(st.dictionaries(texts, texts, max_size=4), texts)
def test_whatever_labels_say_a_header_is_one_line_of_visible_ascii(labels, content_type):
    _, value = batch1.encode_item(1, 0, content_type, tuple(sorted(labels.items())))
    assert all(32 <= byte <= 126 for byte in value)
    found = one(value)  # and it never breaks the grammar
    assert len(found.labels) <= len(labels)


@given(st.binary(max_size=60))
def test_garbage_is_parsed_or_refused(value):
    with suppress(InvalidArgument):
        one(value)


digits = st.integers(0, 10**20).map(lambda n: b"%d" % n) | st.sampled_from([b"", b"00", b"007", b"1", b"2", b"9" * 19])


@given(st.lists(digits), st.sampled_from([b"3,a", b"0,", b"70,text/plain,a=b", b"x", b"4"]))
def test_headers_that_say_the_same_are_read_as_each_of_them(texts, value):
    def outcome(read):
        try:
            return read()
        except InvalidArgument as error:
            return str(error)

    found = outcome(lambda: batch1.run_of(texts, value, "e"))
    expected = outcome(lambda: batch1.parse_run([(b"x-reduct-time-" + text, value) for text in texts], "e"))
    assert found is None or found == expected


def test_ascending_times_of_headers_that_say_the_same_are_read_at_once():
    found = batch1.run_of([b"4", b"30"], b"3,a", "e")
    assert found is not None
    assert (found.times, found.kinds, found.chosen, found.size) == ([4, 30], [(3, "a", ())], None, 6)
    assert batch1.run_of([b"30", b"4"], b"3,a", "e") is None
