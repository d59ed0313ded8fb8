"""Batch protocol v2, answers: read by decoders like those of each family of SDKs.

They disagree on the order of contents (by index, by time) and on whose record is the previous one (by index, by name).
"""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.faces.reduct.encode2 import Encoder
from lamina.records.labels import LabelSet

Told = tuple[str, int, str, dict[str, str], bytes]


def decode(headers: list[tuple[bytes, bytes]], body: bytes, *, by_time: bool, by_name: bool) -> list[Told]:
    """The records of an answer, as an SDK of one family reads them."""
    fields = {name.decode(): value.decode() for name, value in headers}
    entries = [unquote(name) for name in fields["x-reduct-entries"].split(",")]
    start = int(fields["x-reduct-start-ts"])
    names = [unquote(name) for name in fields.get("x-reduct-labels", "").split(",")]
    places = []
    for name, value in fields.items():
        index, _, delta = name.removeprefix("x-reduct-").rpartition("-")
        if index.isdigit():
            places.append((int(index), int(delta), value))
    places.sort(key=lambda place: (place[1], place[0]) if by_time else (place[0], place[1]))
    previous: dict[object, tuple[str, dict[str, str]]] = {}
    found: list[Told] = []
    for index, delta, value in places:
        key = entries[index] if by_name else index
        length, _, rest = value.partition(",")
        if "," not in value:
            content_type, labels = previous[key]
        else:
            given, _, ops = rest.partition(",")
            before = previous.get(key, ("application/octet-stream", {}))
            content_type, labels = given or before[0], dict(before[1])
            while ops:
                number, _, ops = ops.partition("=")
                if ops.startswith('"'):
                    text, _, ops = ops[1:].partition('"')
                    ops = ops.removeprefix(",")
                else:
                    text, _, ops = ops.partition(",")
                label = names[int(number)]
                if text:
                    labels[label] = text
                else:
                    labels.pop(label, None)
        previous[key] = content_type, labels
        content, body = body[: int(length)], body[int(length) :]
        found.append((entries[index], start + delta, content_type, labels, content))
    assert not body
    return sorted(found, key=lambda told: (told[1], told[0]))


def encode(records: list[tuple[str, int, str, LabelSet, bytes]]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    encoder = Encoder()
    for entry, time_us, content_type, labels, content in records:
        encoder.add(entry, time_us, len(content), content_type, labels)
    return encoder.headers(), b"".join(content for *_, content in records)


values = st.sampled_from(["1", "2", "x,y", "long text"])
labels = st.dictionaries(st.sampled_from(["a", "b", "c", "p q", "@sum"]), values, max_size=4)
rows = st.lists(
    st.tuples(
        st.sampled_from(["cam", "cam/front", "b", "z"]),
        st.integers(0, 12),
        st.sampled_from(["image/png", "text/plain"]),
        labels,
        st.binary(max_size=3),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda row: row[:2],
)


@pytest.mark.parametrize("by_time", [True, False], ids=["time order", "index order"])
@pytest.mark.parametrize("by_name", [True, False], ids=["previous by name", "previous by index"])
@given(rows, st.integers(0, (1 << 64) - 20))
def test_interleaved_entries_read_alike_in_every_sdk(by_time, by_name, found, start):
    """Contract 21 item 1: the reference's answers are cut at wrong places in Python and JS, without notice."""
    merged = sorted(((e, start + t, c, tuple(sorted(ls.items())), b) for e, t, c, ls, b in found),
                    key=lambda row: (row[1], row[0]))  # fmt: skip
    headers, body = encode(merged)
    expected = [(entry, time_us, kind, dict(pairs), content) for entry, time_us, kind, pairs, content in merged]
    assert decode(headers, body, by_time=by_time, by_name=by_name) == expected


def test_entries_that_do_not_interleave_look_as_in_the_reference():
    headers, _ = encode([("b", 1000, "t", (), b"xx"), ("a", 1010, "t", (), b"y")])
    assert headers == [
        (b"x-reduct-entries", b"b,a"),
        (b"x-reduct-start-ts", b"1000"),
        (b"x-reduct-0-0", b"2,t,"),
        (b"x-reduct-1-10", b"1,t,"),
    ]


def test_interleaved_entries_are_named_once_per_run():
    headers, _ = encode([("a/x", 1, "t", (), b""), ("b", 2, "t", (), b""), ("a/x", 3, "t", (), b"")])
    assert headers[0] == (b"x-reduct-entries", b"a%2Fx,b,a%2Fx")


def test_only_what_changed_is_told():
    first, second = (("a", "1"), ("b", "2")), (("a", "1"), ("c", "x,y"))
    headers, _ = encode([("e", 1, "t", first, b"1"), ("e", 2, "t", first, b"22"), ("e", 3, "u", second, b"")])
    assert headers[2:] == [
        (b"x-reduct-labels", b"a,b,c"),
        (b"x-reduct-0-0", b"1,t,0=1,1=2"),
        (b"x-reduct-0-1", b"2"),
        (b"x-reduct-0-2", b'0,u,1=,2="x,y"'),
    ]


def test_what_the_encoder_says_it_takes_is_what_the_headers_take():
    encoder = Encoder()
    total = sum(
        encoder.add(entry, time_us, 5, "t", (("k", str(time_us)),))
        for time_us, entry in enumerate(["a/b", "a/b", "c", "a/b"])
    )
    lines = [(name, value) for name, value in encoder.headers() if name[9:10].isdigit()]
    lists = len(b"a%2Fb,c,a%2Fb") + len(b"k") + 2
    assert total == sum(len(name) + len(value) + 2 for name, value in lines) + lists


def test_without_records_the_two_headers_stand_that_sdks_demand():
    assert Encoder().headers() == [(b"x-reduct-entries", b""), (b"x-reduct-start-ts", b"0")]
