"""Batch protocol v2, requests: what the headers of a batch mean."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.faces.reduct import batch2
from lamina.faces.reduct.batch2 import Head, parse_changes, parse_head, parse_items
from lamina.faces.reduct.wanted import Wanted

START = (b"x-reduct-start-ts", b"1000")


def head(*headers: tuple[bytes, bytes], entries: bytes = b"a,b") -> Head:
    return parse_head([(b"x-reduct-entries", entries), START, *headers])


def written(*headers: tuple[bytes, bytes], entries: bytes = b"a,b") -> list[Wanted]:
    return parse_items(head(*headers, entries=entries))


def test_times_are_start_and_delta_and_records_go_by_entry_and_delta():
    found = written((b"x-reduct-1-5", b"1,"), (b"x-reduct-0-20", b"2,"), (b"x-reduct-0-3", b"3,"))
    assert [(entry, time_us, size) for entry, time_us, size, *_ in found] == [
        ("a", 1003, 3),
        ("a", 1020, 2),
        ("b", 1005, 1),
    ]


def test_what_is_left_out_is_as_in_the_entrys_previous_record():
    found = written(
        (b"x-reduct-0-0", b"1,image/png,x=1,y=2"),
        (b"x-reduct-0-1", b"1"),
        (b"x-reduct-0-2", b"1,,x=,z=3"),
        (b"x-reduct-0-3", b"1,text/plain"),
        (b"x-reduct-1-0", b"1,"),
    )
    assert [item[3:] for item in found] == [
        ("image/png", (("x", "1"), ("y", "2"))),
        ("image/png", (("x", "1"), ("y", "2"))),
        ("image/png", (("y", "2"), ("z", "3"))),
        ("text/plain", (("y", "2"), ("z", "3"))),
        ("application/octet-stream", ()),
    ]


def test_label_numbers_mean_the_dictionary_where_there_is_one():
    dictionary = (b"x-reduct-labels", b"one,t%20wo")
    assert written((b"x-reduct-0-0", b'1,,0=a,1="b,c",k=d'), dictionary)[0][4] == (
        ("k", "d"),
        ("one", "a"),
        ("t wo", "b,c"),
    )
    assert written((b"x-reduct-0-0", b"1,,0=a"))[0][4] == (("0", "a"),)


def test_entry_names_are_decoded_and_slashes_may_be_plain():
    assert head(entries=b"a%2Fb, c/d").entries == ["a/b", "c/d"]


def test_empty_batch_is_no_error():
    """Contract 21 item 5: reduct-py sends one when no attachment matches."""
    found = parse_head([(b"x-reduct-entries", b""), (b"x-reduct-start-ts", b"0")])
    assert found.entries == []
    assert found.echo() == [(b"x-reduct-entries", b""), (b"x-reduct-start-ts", b"0")]


def test_an_answer_echoes_entries_and_start_encoded_again():
    assert head(entries=b"a/b,c").echo() == [(b"x-reduct-entries", b"a%2Fb,c"), (b"x-reduct-start-ts", b"1000")]


def test_changes_gather_over_the_records_of_an_entry():
    found = parse_changes(
        head(
            (b"x-reduct-labels", b"x,y,z"),
            (b"x-reduct-0-0", b"0,,0=x,1="),
            (b"x-reduct-0-1", b"0,,0=,2=y"),
            (b"x-reduct-0-2", b"0"),
            (b"x-reduct-1-0", b"0,,0=q"),
        )
    )
    assert [changes for _, changes in found] == [
        {"x": "x", "y": ""},
        {"x": "", "y": "", "z": "y"},
        {"x": "", "y": "", "z": "y"},
        {"x": "q"},
    ]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([(b"x-reduct-entries", b"a")], "x-reduct-start-ts header is required"),
        ([(b"x-reduct-entries", b"a"), (b"x-reduct-start-ts", b"-1")], "Invalid x-reduct-start-ts header"),
        ([START], "x-reduct-entries header is required"),
        ([(b"x-reduct-entries", b""), START, (b"x-reduct-0-0", b"1,")], "x-reduct-entries header is required"),
        ([(b"x-reduct-entries", b"a,,b"), START], "x-reduct-entries header must not contain empty entry names"),
        ([(b"x-reduct-entries", b"a%2"), START], "Invalid entry encoding in header name: 'a%2'"),
        ([(b"x-reduct-entries", b"a%+2"), START], "Invalid entry encoding in header name: 'a%+2'"),
        ([(b"x-reduct-entries", b"%FF"), START], "Invalid entry encoding in header name: '%FF'"),
        ([(b"x-reduct-entries", b"a"), START, (b"x-reduct-labels", b" ")], "x-reduct-labels header is empty"),
        (
            [(b"x-reduct-entries", b"a"), START, (b"x-reduct-1-0", b"1,")],
            "Invalid header 'x-reduct-1-0': entry index out of range",
        ),
        (
            [(b"x-reduct-entries", b"a"), START, (b"x-reduct-time-5", b"1,")],
            "Invalid header 'x-reduct-time-5': entry index must be a number",
        ),
        (
            [(b"x-reduct-entries", b"a"), START, (b"x-reduct-label-1", b"x")],
            "Invalid header 'x-reduct-label-1': entry index must be a number",
        ),
        (
            [(b"x-reduct-entries", b"a"), START, (b"x-reduct-0-18446744073709551000", b"1,")],
            "Invalid header 'x-reduct-0-18446744073709551000': must be an unix timestamp in microseconds",
        ),
    ],
)
def test_a_head_that_makes_no_sense_is_refused(headers, message):
    with pytest.raises(InvalidArgument) as caught:
        parse_head(headers)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"1", "Content-type and labels must be provided for the first record of an entry"),
        (b"x,", "Invalid batched header"),
        (b"1,,a", "Invalid batched header"),
        (b'1,,a="x', "Invalid batched header"),
        (b"1,,=x", "Invalid batched header"),
        (b"1,,2=x", "Label index '2' is out of range"),
        (b"1,,@a=x", "Label names must not start with '@': reserved for computed labels"),
        (b"1,,1=x", "Label names must not start with '@': reserved for computed labels"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(value, message):
    with pytest.raises(InvalidArgument) as caught:
        written((b"x-reduct-0-0", value), (b"x-reduct-labels", b"a,%40b"))
    assert str(caught.value) == message


def test_other_headers_with_the_prefix_are_left_alone():
    assert written((b"x-reduct-content-length", b"7"), (b"x-reduct-query-id", b"1")) == []


@given(st.binary(max_size=40), st.binary(max_size=20), st.binary(max_size=20))
def test_garbage_is_parsed_or_refused(value, names, entries):
    with suppress(InvalidArgument):
        found = head((b"x-reduct-0-0", value), (b"x-reduct-labels", names), entries=entries)
        parse_items(found)
        parse_changes(found)


def test_caches_do_not_grow_without_bound():
    for i in range(10_000):
        written((b"x-reduct-0-0", b"1,,a=%d" % i))
    assert len(batch2._values) <= 4096
    assert len(batch2._applied) <= 4096
