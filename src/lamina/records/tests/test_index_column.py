"""Columns come back whatever their numbers, and are as narrow as they say."""

from __future__ import annotations

import math
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamina.errors import Corrupt, UnknownFormat
from lamina.records import column
from lamina.records.numbers import numbers_of
from lamina.records.place import follow, footprints, lead
from lamina.records.stored import Cursor, fetch
from lamina.records.texts import MEASURED, SEPARATED, read_texts, write_texts
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentWriter

NUMBERS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 1),
    st.integers(2**64 - 16, 2**64 - 1),
    st.integers(2**63 - 70, 2**63 + 70),
)


def through(write, read):
    """What `read` finds in what `write` wrote into a segment."""
    blobs = MemoryBlobs()
    out = SegmentWriter(blobs, "x", id=1, kind="records", database_id=bytes(16), epoch=1)
    cursor = Cursor(write(out), "x")
    out.finish()
    described = read(cursor)
    cursor.end()
    (data,) = fetch(blobs, "x", [described.stored])
    return described, data


def column_through(numbers, **how):
    values = np.array(numbers, np.uint64)
    described, data = through(
        lambda out: column.write_column(out, values, **how), lambda cursor: column.read_column(cursor, len(values))
    )
    return described, described.decode(data)


def bytes_of(numbers, few_rows, **how):
    blobs = MemoryBlobs()
    out = SegmentWriter(blobs, "x", id=1, kind="records", database_id=bytes(16), epoch=1)
    with mock.patch.object(column, "FEW_ROWS", few_rows):
        described = column.write_column(out, np.array(numbers, np.uint64), **how)
    out.finish()
    return described, blobs.read("x", [(0, blobs.size("x"))])


@given(st.lists(NUMBERS, min_size=1, max_size=70), st.booleans(), st.booleans())
def test_few_rows_are_written_as_many_are(numbers, signed, steps):
    how = {"signed": signed, "steps": steps}
    assert bytes_of(numbers, 100, **how) == bytes_of(numbers, 0, **how)


@given(st.lists(NUMBERS, min_size=1, max_size=300), st.booleans(), st.booleans())
def test_columns_come_back(numbers, signed, steps):
    described, values = column_through(numbers, signed=signed, steps=steps)
    assert values.all().tolist() == numbers
    assert values.all().dtype == np.uint64
    assert values.largest() == max(numbers) or described.bits == 64 or signed
    index = np.arange(len(numbers))[::2]
    some = values.take(index)
    assert (np.full(len(index), some, np.uint64) if isinstance(some, int) else some).tolist() == numbers[::2]


@pytest.mark.parametrize("type", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("numbers", [[0, 128, 3], [0, 5], [200, 201, 327], [9] * 4, [1, 2, 3], [0, 2**15, 2**31]])
def test_codes_are_as_wide_as_they_are_asked_for(numbers, type):
    for steps in (False, True):
        _, values = column_through(numbers, steps=steps)
        codes = values.codes(1, type)
        assert codes.dtype == type
        assert codes.tolist() == (np.array(numbers, np.int64) - 1).astype(type).tolist()
        assert values.all().tolist() == numbers  # the column itself stays


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(1, 100))
def test_progressions_take_nothing(first, step, n):
    numbers = [(first + i * step) % 2**64 for i in range(n)]
    described, values = column_through(numbers, steps=True)
    assert described.bits == 0
    assert values.all().tolist() == numbers
    for less in (0, 1):
        expected = (np.array(numbers, np.uint64) - np.uint64(less)).astype(np.int32)
        assert values.codes(less).tolist() == expected.tolist()
    assert values.smallest() == min(numbers)
    assert values.nbytes == 0


@pytest.mark.parametrize(
    ("numbers", "how", "bits"),
    [
        ([7] * 9, {}, 0),
        ([2**40, 2**40 + 1, 2**40], {}, 1),
        ([0, 3, 1], {}, 2),
        ([5, 20], {}, 4),
        ([0, 255], {}, 8),
        ([0, 256], {}, 16),
        ([0, 2**32 - 1], {}, 32),
        ([0, 2**32], {}, 64),
        ([0, 2**64 - 1], {}, 64),
        ([0, 2**64 - 1], {"signed": True}, 1),
        ([0, 1000, 2001, 3000], {"steps": True}, 2),
        ([0, 2**63, 1, 2**63 + 5], {"steps": True}, 4),
    ],
)
def test_columns_are_as_narrow_as_their_span(numbers, how, bits):
    described, _ = column_through(numbers, **how)
    assert described.bits == bits
    assert column.bits_of(np.array(numbers, np.uint64), **how) == bits


def test_repetitive_columns_are_compressed_and_random_ones_are_not():
    rng = np.random.default_rng(0)
    described, _ = column_through([0, 200] * 4000)
    assert described.stored.compressed
    assert described.stored.length < 500
    described, _ = column_through(rng.integers(0, 2**32, 4000).tolist())
    assert not described.stored.compressed
    described, _ = column_through([0, 200] * 4000, compress=False)
    assert not described.stored.compressed


def test_descriptions_that_fit_nothing_are_refused():
    good = bytes((0, 8)) + bytes(8) + bytes((0, 3, 0)) + b"abc"
    assert column.read_column(Cursor(good, "x"), 3).decode(b"abc").all().tolist() == [97, 98, 99]
    for end in range(len(good)):
        with pytest.raises(Corrupt, match="x: byte"):
            column.read_column(Cursor(good[:end], "x"), 3)
    with pytest.raises(Corrupt, match="4 bytes of a column of 4 rows, found 3"):
        column.read_column(Cursor(good, "x"), 4)
    with pytest.raises(Corrupt, match="numbers up to 5, found 6"):
        column.read_column(Cursor(bytes((0, 0)) + (6).to_bytes(8, "little"), "x"), 3, 5)
    for changed in (bytes((2, 8)), bytes((0, 3)), bytes((0, 128))):
        with pytest.raises(UnknownFormat):
            column.read_column(Cursor(changed + good[2:], "x"), 3)
    with pytest.raises(UnknownFormat, match="stored in way 3"):
        column.read_column(Cursor(good[:10] + b"\3" + good[11:], "x"), 3)
    with pytest.raises(Corrupt, match="the end, found 1 bytes more"):
        Cursor(b"1", "x").end()


@given(st.lists(st.text(max_size=5), max_size=50))
@example(["\0"])
@example(["", "", ""])
@example(["\ud800", "x"])
@example(["é" * 5000] * 3)
def test_texts_come_back(texts):
    described, data = through(lambda out: write_texts(out, texts), lambda cursor: read_texts(cursor, 50))
    assert described.decode(data, "x") == texts
    assert described.form == (MEASURED if any("\0" in text for text in texts) else SEPARATED)


def test_texts_that_fit_nothing_are_refused():
    described, data = through(lambda out: write_texts(out, ["a", "b"]), lambda cursor: read_texts(cursor, 2))
    with pytest.raises(Corrupt, match="expected 2 texts, found 1"):
        described.decode(b"ab", "x")
    with pytest.raises(Corrupt, match="utf-8"):
        described.decode(b"\xff\0a", "x")
    described, data = through(lambda out: write_texts(out, ["\0", "b"]), lambda cursor: read_texts(cursor, 2))
    for wrong in (data[:-1], data + b"x"):
        with pytest.raises(Corrupt, match="expected 2 texts"):
            described.decode(wrong, "x")
    with pytest.raises(Corrupt, match="at most 1 texts"):
        through(lambda out: write_texts(out, ["a", "b"]), lambda cursor: read_texts(cursor, 1))


PLACES = st.lists(st.tuples(NUMBERS, st.integers(0, 2), NUMBERS), min_size=1, max_size=30)


@given(PLACES)
def test_places_come_back(rows):
    where, files, sizes = (np.array(numbers, np.uint64) for numbers in zip(*rows, strict=True))
    mine = footprints(sizes, sizes)
    rest, starts = follow(where, files, mine)
    assert lead(rest, starts, files, mine).tolist() == where.tolist()
    assert lead(rest, starts[1:], files, mine) is None


@pytest.mark.parametrize("several", [[2, 1, 2, 1, 2, 2, 1], [2] * 7, [1, 1, 2, 2, 2, 2, 2]])
def test_payloads_in_order_leave_no_rest(several):
    sizes = np.array([0, 5, 65_536, 65_537, 131_072, 131_073, 1], np.uint64)
    trailers = [0, 0, 0, 8, 8, 12, 0]
    assert (footprints(sizes, sizes) - sizes).tolist() == trailers
    files = np.array(several, np.uint64)
    ends, where = {1: 64, 2: 640}, []
    for size, trailer, file in zip(sizes.tolist(), trailers, files.tolist(), strict=True):
        where.append(ends[file])
        ends[file] += size + trailer
    rest, starts = follow(np.array(where, np.uint64), files, footprints(sizes, sizes))
    assert not rest.any()
    assert starts.tolist() == [{1: 64, 2: 640}[file] for file in sorted(set(several))]


def number(text: str) -> float:
    """Contract 10.2, word for word."""
    if text in ("true", "false"):
        return math.nan
    if re.fullmatch(r"[+-]?[0-9]+", text) and -(2**63) <= int(text) < 2**63:
        return float(int(text))
    sign = -1.0 if text.startswith("-") else 1.0
    body = text[1:] if text[:1] in ("+", "-") else text
    if body.isascii() and body.lower() in ("inf", "infinity"):
        return sign * math.inf
    if re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", body):
        return sign * float(body)
    return math.nan


WORDS = [
    "007",
    "1e5",
    ".5",
    "5.",
    "-0",
    "-0.0",
    "+3",
    "inf",
    "-Infinity",
    "NaN",
    "1_0",
    " 1",
    "1 ",
    "",
    ".",
    "e5",
    "1e",
    "-",
]
WORDS += [
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "9007199254740993",
    "1e400",
    "0x10",
    "١",
]
WORDS += ["true", "false", "1\n", "\x1c1", "1.5.2", "--1", "ınf", "+-1", "1e+5", "infin"]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text("0123456789+-.eE_ x", max_size=6)), max_size=12))
@example(WORDS)
@example(["1", "-0", "2.5"])
def test_texts_read_as_the_contract_says(texts):
    expected = [number(text) for text in texts]
    found = numbers_of(texts).tolist()
    assert list(map(repr, found)) == list(map(repr, expected))
