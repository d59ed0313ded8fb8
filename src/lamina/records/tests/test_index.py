"""A section gives back the records it was written from, and knows about labels what the plain list knows."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.records.numbers import numbers_of
from lamina.records.row import FOREVER
from lamina.records.tests.index_sections import Record, label_set, records_of, sealed, section_of, write

U64 = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 300), st.sampled_from([0, 1, 2**63, 2**64 - 1]))
U32 = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 20))
NAMES = st.one_of(st.sampled_from(["a", "b", "cam", "ok", "é", "\U0001f600", ""]), st.text(max_size=4))
VALUES = st.one_of(
    st.sampled_from(["", "1", "2", "true", "0.5", "-0", "1e400", "nan", "x\0y", "\0", "9007199254740993"]),
    st.text(max_size=5),
    st.integers(-5, 5).map(str),
    st.floats(allow_nan=False).map(repr),
)
LABELS = st.dictionaries(NAMES, VALUES, max_size=5).map(label_set)
TYPES = st.sampled_from(["text/plain", "", "application/octet-stream", "x" * 100])


@st.composite
def record_lists(draw):
    n = draw(st.integers(1, 40))
    sets = draw(st.lists(LABELS, min_size=1, max_size=12))
    start = draw(U64)
    steps = draw(st.lists(st.integers(0, 1000), min_size=n, max_size=n))
    times = draw(st.sampled_from([sorted(draw(st.lists(U64, min_size=n, max_size=n))), None]))
    if times is None:
        times = np.minimum(np.cumsum(np.array(steps, object)) + start, 2**64 - 1).tolist()
    files = draw(st.lists(st.integers(0, draw(st.sampled_from([0, 2, 2**32 - 1]))), min_size=n, max_size=n))
    found, ends = [], {}
    for time, file in zip(times, files, strict=True):
        size = draw(st.one_of(st.integers(0, 10), st.integers(0, 1 << 20), U64))
        stored = draw(st.one_of(st.just(size), U64))
        where = draw(st.one_of(st.just(ends.get(file, 64)), st.just(ends.get(file, 64)), U64))
        trailer = 4 * math.ceil(size / 65536) if size > 65536 else 0
        ends[file] = (where + stored + trailer) % 2**64
        crc, meta, codec, seq = draw(U32), draw(U32), draw(st.integers(0, 1)), draw(U64)
        died = draw(st.sampled_from([FOREVER, FOREVER, seq, 12]))
        labels = draw(st.sampled_from(sets))
        found.append(Record(time, labels, size, where, stored, seq, crc, file, meta, draw(TYPES), codec, died))
    return found


@given(record_lists())
@settings(max_examples=25, deadline=None)
def test_every_record_comes_back(records):
    assert records_of(section_of(records, keep_seqs=True)) == records


@given(record_lists(), st.data())
@settings(max_examples=15, deadline=None)
def test_rows_taken_in_any_order_are_those_of_the_list(records, data):
    section = section_of(records, keep_seqs=True)
    every = section.rows(0, section.n)
    index = np.array(data.draw(st.lists(st.integers(0, len(records) - 1), max_size=20)), np.intp)
    fresh = section_of(records, keep_seqs=True)
    assert fresh.take(index).tobytes() == every[index].tobytes()
    assert fresh.label_sets(index) == [records[i].labels for i in index]
    start, stop = data.draw(st.integers(0, 45)), data.draw(st.integers(0, 45))
    assert fresh.rows(start, stop).tobytes() == every[start:stop].tobytes()
    assert fresh.times.tolist() == [record.time for record in records]
    assert fresh.times.dtype == np.uint64


@given(record_lists())
@settings(max_examples=15, deadline=None)
def test_label_columns_are_those_of_the_list(records):
    section = section_of(records)
    names = sorted({name for record in records for name, _ in record.labels})
    assert list(section.label_names) == names
    for name in names:
        column = section.label(name)
        assert column.codes.dtype in (np.int8, np.int16, np.int32)
        found = [column.values[code] if code >= 0 else None for code in column.codes.tolist()]
        assert found == [dict(record.labels).get(name) for record in records]
        assert len(set(column.values)) == len(column.values)
        np.testing.assert_array_equal(column.numbers, numbers_of(column.values))
        assert np.signbit(column.numbers[column.numbers == 0]).tolist() == [
            bool(np.signbit(number)) for number in numbers_of(column.values) if number == 0
        ]
    assert section.label("no such name") is None


@given(record_lists())
@settings(max_examples=15, deadline=None)
def test_statistics_are_true_of_the_list(records):
    section = section_of(records)
    for name in ["no such name", *section.label_names]:
        values = [dict(record.labels)[name] for record in records if name in dict(record.labels)]
        stats = section.stats(name)
        numbers = numbers_of(values)
        assert stats.everywhere == (len(values) == len(records))
        assert stats.values == frozenset(values)
        assert stats.numeric == (bool(values) and all(math.isfinite(number) for number in numbers))
        if stats.numeric:
            exact = [int(value) if value.lstrip("+-").isdigit() else float(value) for value in values]
            assert stats.low <= min(exact)
            assert stats.high >= max(exact)


def test_without_seqs_rows_are_as_young_as_the_youngest():
    records = [Record(1, seq=5), Record(2, seq=9)]
    section = section_of(records)
    assert (section.born, section.died) == (None, None)
    assert section.rows(0, 2)["seq"].tolist() == [9, 9]
    assert (section.min_seq, section.max_seq, section.t_min, section.t_max, section.n) == (5, 9, 1, 2, 2)


def test_deaths_are_kept_though_seqs_are_not_asked_for():
    section = section_of([Record(1, seq=5, died=7), Record(1, seq=7)])
    assert section.died.tolist() == [7, FOREVER]


def test_labels_of_equal_sets_are_one_object():
    labels = [label_set({"a": str(i % 3), "b": "x"}) for i in range(60)]
    found = section_of([Record(i, labels[i]) for i in range(60)]).label_sets(np.arange(60))
    assert len({id(each) for each in found}) == 3


def test_values_of_a_column_stay_the_same_object():
    records = [Record(i, label_set({"a": str(i)} if i % 50 else {"a": "1", "rare": "1"})) for i in range(200)]
    section = section_of(records)
    for name in ("a", "rare"):
        assert section.label(name).values is section.label(name).values


@pytest.mark.parametrize(
    ("distinct", "type"), [(1, np.int8), (128, np.int8), (129, np.int16), (32_768, np.int16), (32_769, np.int32)]
)
def test_codes_are_as_narrow_as_the_values_are_few(distinct, type):
    """The first and the last value, and the row that has none, are those of the list at the edges of each type."""
    values = [str(i) for i in range(distinct)]
    texts = [*values, None, *values[::-1], *values, *values]  # few of them new, or they are written as such
    records = [Record(time=i, labels=() if text is None else (("a", text),)) for i, text in enumerate(texts)]
    column = section_of(records).label("a")
    assert column.codes.dtype == type
    assert [column.values[code] if code >= 0 else None for code in column.codes.tolist()] == texts


def test_as_many_names_as_records():
    records = [Record(i, label_set({f"name{i:05}": str(i % 7), "ok": "true"})) for i in range(3000)]
    written = write(sealed(records))
    section = written.open()
    assert len(written.content) < 60 * len(records)
    assert len(written.directory) < 1000  # statistics of rare labels would only fill it
    assert section.label_sets(np.arange(3000)) == [record.labels for record in records]
    column = section.label("name01234")
    assert np.flatnonzero(column.codes >= 0).tolist() == [1234]
    assert (list(column.values), column.numbers.tolist()) == ([str(1234 % 7)], [1234 % 7])
    assert section.label("name") is None
    assert section.label("zz") is None
    assert section.label_names == sorted([f"name{i:05}" for i in range(3000)] + ["ok"])
    assert section.stats("ok").everywhere
    assert section.stats("name01234") is None  # neither known nor known to be absent
    assert section.resident_bytes < 3_000_000


def test_names_that_nobody_has_take_no_memory():
    section = section_of([Record(i, label_set({f"n{i}": "1"})) for i in range(100)])
    section.label("n5")
    before = section.resident_bytes
    for i in range(100):
        assert section.label(f"n{i}x") is None
    assert section.resident_bytes == before


def test_rare_labels_of_rows_that_share_sets_are_found():
    rare = label_set({"a": "1", "rare": "x"})
    records = [Record(i, rare if i in (3, 77, 199) else label_set({"a": str(i % 2)})) for i in range(200)]
    section = section_of(records)
    assert np.flatnonzero(section.label("rare").codes == 0).tolist() == [3, 77, 199]
    assert section.label_sets(np.arange(200)) == [record.labels for record in records]


def test_rare_labels_are_kept_by_row():
    sets = [label_set({"rare": str(k)}) for k in range(3)]
    records = [Record(i, sets[i // 100 % 3] if i % 100 == 5 else ()) for i in range(1000)]
    section = section_of(records)
    section.label("rare")
    assert section._group(0).rows.tolist() == list(range(5, 1000, 100))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text", ["1e20", "1e308", "-9223372036854775808", "9007199254740993", "0.1", "1e-9", "inf", "nan"]
)
def test_numbers_come_back_to_the_bit(text):
    for values in ([text], [text, "-0.0"], [text, "7"], [text, "no number"]):
        section = section_of([Record(i, label_set({"a": value})) for i, value in enumerate(values)])
        assert section.label("a").numbers.tobytes() == numbers_of(values).tobytes()
        assert section.stats("a").numeric == all(math.isfinite(number) for number in numbers_of(values))


def test_rare_labels_are_split_into_groups(monkeypatch):
    monkeypatch.setattr("lamina.records.labelwrite.GROUP_PAIRS", 100)
    records = [Record(i, label_set({f"n{(i * 7 + k) % 500:03}": str(k) for k in range(4)})) for i in range(2000)]
    written = write(sealed(records))
    section = written.open()
    assert len(section._table.groups) > 20
    assert section.label_sets(np.arange(2000)) == [record.labels for record in records]
    for name in section.label_names[::37]:
        column = section.label(name)
        expected = [dict(record.labels).get(name) for record in records]
        assert [column.values[code] if code >= 0 else None for code in column.codes.tolist()] == expected


def test_more_names_than_columns(monkeypatch):
    monkeypatch.setattr("lamina.records.labelwrite.MOST_COLUMNS", 3)
    records = [Record(i, label_set({f"n{k}": str(i * k) for k in range(i % 9)})) for i in range(100)]
    section = section_of(records)
    assert section.label_sets(np.arange(100)) == [record.labels for record in records]
    assert list(section._table.dense) == ["n0", "n1", "n2"]


def test_two_hundred_and_fifty_six_labels_of_64_kib():
    labels = [label_set({f"label{i:03}": f"{k}" + "é" * 120 for i in range(256)}) for k in range(3)]
    written = write(sealed([Record(k, labels[k]) for k in range(3)]))
    assert len(written.directory) <= 16_384
    assert written.open().label_sets(np.arange(3)) == labels


def test_statistics_that_do_not_fit_lose_the_longest_lists_first():
    records = [
        Record(i, label_set({"few": str(i % 2), **{f"many{k:02}": f"{i % 20:040}" for k in range(10)}}))
        for i in range(40)
    ]
    section = section_of(records)
    assert section.stats("few").values == {"0", "1"}
    kept = [section.stats(f"many{k:02}") for k in range(10)]
    assert any(stats.values is None for stats in kept)
    assert all((stats.numeric, stats.low, stats.high) == (True, 0, 19) for stats in kept)
    assert section.stats("none").values == frozenset()


def test_statistics_with_too_long_names_say_nothing():
    records = [Record(i, label_set({"a": "1", "b" * 5000: "1"})) for i in range(3)]
    section = section_of(records)
    assert section.stats("a").everywhere
    assert section.stats("b" * 5000) is None
    assert section.stats("c") is None


def test_statistics_of_integers_beyond_float64_lie_outside():
    for text in ("9007199254740995", "-9007199254740995", "9223372036854775807", "-9223372036854775807"):
        stats = section_of([Record(1, label_set({"a": text}))]).stats("a")
        assert int(stats.low) <= int(text) <= int(stats.high)


def test_many_values_are_not_listed():
    section = section_of([Record(i, label_set({"id": str(i), "long": "x" * 1100})) for i in range(100)])
    assert section.stats("id") == (True, None, 0.0, 99.0, True)
    assert section.stats("long") == (True, None, 0.0, 0.0, False)


def test_two_threads_get_one_column():
    section = section_of([Record(i, label_set({"a": str(i)})) for i in range(5000)])
    barrier, found = threading.Barrier(4), []

    def read():
        barrier.wait()
        found.append((section.times, section.label("a").values))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(id(times), id(values)) for times, values in found}) == 1


def test_reading_columns_shows_in_the_resident_bytes():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 1000, 5000)).tolist()
    section = section_of([Record(time, label_set({"a": str(i % 10)})) for i, time in enumerate(times)])
    empty = section.resident_bytes
    section.times.sum()
    with_times = section.resident_bytes
    assert 8 * 5000 <= with_times - empty < 9 * 5000
    section.label("a")
    assert section.resident_bytes - with_times >= 5000


def test_a_regular_section_takes_little():
    """24 bytes a record are allowed; what this stands for is that places, constant columns and seqs cost nothing."""
    rng = np.random.default_rng(0)
    crcs = rng.integers(0, 2**32, 5000).tolist()
    labels = [
        label_set(
            {"cam": str(i % 16), "ok": str(i % 2), "score": f"{(i * 7919 % 1000) / 1000:.3f}", "run": str(i // 1000)}
        )
        for i in range(5000)
    ]
    jitter = np.cumsum(rng.integers(900, 1100, 5000)).tolist()
    records = [Record(jitter[i], labels[i], 1000, 64 + 1000 * i, 1000, 3 + i // 80, crcs[i]) for i in range(5000)]
    written = write(sealed(records))
    assert len(written.content) < 9.5 * 5000


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9])
def test_small_sections_have_no_blocks(n):
    written = write(sealed([Record(i, label_set({"a": str(i)}), where=64 + 5 * i) for i in range(n)]))
    section = written.open()
    assert section.label("a").codes.tolist() == list(range(n))
    assert len(written.content) < 700
