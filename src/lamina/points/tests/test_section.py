"""Sections give back the points they were given, to the bit, whole and row by row; damage is Corrupt with its place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import Corrupt, UnknownFormat
from lamina.points.batch import Batch
from lamina.points.field import ABSENT, BOOL, FLOAT, INT, NULL, TEXT, FieldColumn, uniform
from lamina.points.marks import PAGE_BITS, sizes
from lamina.points.packedtables import TableReader
from lamina.points.pagedread import PagedColumn, Source
from lamina.points.pagedwrite import write_integers
from lamina.points.point import Point
from lamina.points.sectionread import SectionReader
from lamina.points.sectionwrite import HEAD
from lamina.points.tail import FOREVER
from lamina.points.tests.sections import Store, name
from lamina.points.tests.strategies import LISTS, batch_of, described
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentWriter


@settings(deadline=None)
@given(LISTS.filter(len), st.data())
def test_points_come_back_to_the_bit(listed: list[Point], data: st.DataObject) -> None:
    store, n = Store(), len(listed)
    ordinals = np.array(data.draw(st.permutations(range(n))), np.uint64) * 3 + 2
    born, died = ordinals + np.uint64(5), np.full(n, FOREVER, np.uint64)
    died[::2] = 1000
    section, order = store.write(batch_of(listed), ordinals, born, died)
    expected = sorted(range(n), key=lambda i: (batch_of(listed).time_us[i], ordinals[i]))
    assert order.tolist() == expected
    reader = store.reader(section)
    shown = described([listed[i] for i in expected])
    assert described(reader.batch().points("m")) == shown
    assert reader.ordinals.tolist() == ordinals[order].tolist()
    assert reader.born is not None
    assert reader.born.tolist() == born[order].tolist()
    assert reader.died is not None
    assert reader.died.tolist() == died[order].tolist()
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=5)), np.intp)
    for opened in (reader, store.reader(section)):
        assert described(opened.batch(rows).points("m")) == [shown[i] for i in rows]
        assert opened.ordinals_of(rows).tolist() == ordinals[order][rows].tolist()
    assert reader.resident_bytes > store.reader(section).resident_bytes


_PAGE, _QUARTER, _CHUNK = sizes(PAGE_BITS)


def large(n: int, seed: int = 1) -> Batch:
    """Every kind of column, over many pages; every third row lacks the mixed field."""
    random = np.random.default_rng(seed)
    kinds = random.choice(np.array([NULL, FLOAT, INT, BOOL, TEXT], np.uint8), n)
    order = (np.arange(n) % 3 == 0).astype(np.int32)
    kinds[order == 1] = ABSENT
    bits = np.zeros(n, np.int64)
    bits[kinds == FLOAT] = random.normal(0, 1, n).view(np.int64)[kinds == FLOAT]
    bits[kinds == INT] = random.integers(-(2**62), 2**62, n)[kinds == INT]
    bits[kinds >= BOOL] = random.integers(0, 2, n)[kinds >= BOOL]
    noisy = random.normal(20, 3, n)
    noisy[random.integers(0, n, n // 100)] = np.nan
    fields = {
        "noisy": FieldColumn(FLOAT, None, noisy.view(np.int64)),
        "decimal": FieldColumn(FLOAT, None, np.round(random.normal(20, 1, n), 2).view(np.int64)),
        "ints": FieldColumn(INT, None, random.integers(0, 1000, n)),
        "huge": FieldColumn(INT, None, random.integers(-(2**63), 2**63 - 1, n)),
        "flag": FieldColumn(BOOL, None, random.integers(0, 2, n)),
        "state": FieldColumn(TEXT, None, random.integers(0, 3, n), ["on", "off", "ü\0"]),
        "nothing": FieldColumn(NULL, None, np.zeros(n, np.int64)),
        "mixed": uniform(kinds, bits, ["x", "y"]),
    }
    rest = tuple(key for key in fields if key != "mixed")
    times = np.cumsum(random.integers(0, 2_000_000, n)) + 1_700_000_000_000_000
    tagsets = [(("host", f"h{i}"),) for i in range(50)]
    tagset = random.integers(0, 50, n).astype(np.int32)
    return Batch(times, tagset, tagsets, order, [tuple(fields), rest], fields)


def test_columns_of_many_pages_are_read_whole_and_page_by_page() -> None:
    n = 3 * _CHUNK + 2 * _QUARTER + 300
    store, batch = Store(), large(n)
    ordinals = np.random.default_rng(2).permutation(n).astype(np.uint64)
    section, order = store.write(batch, ordinals)
    whole = store.reader(section).batch()
    assert whole.time_us.tolist() == batch.time_us.tolist()
    for key, column in batch.fields.items():
        found = whole.fields[key]
        assert found.row_kinds().tolist() == column.row_kinds().tolist(), key
        assert found.list() == column.list() or key == "noisy", key
        assert found.bits.tolist() == column.bits.tolist(), key
    for rows in (np.array([n - 1, 0, 5000, _PAGE, _PAGE - 1, 5000]), np.arange(n)[::-1], np.array([], np.intp)):
        reader = store.reader(section)
        some = reader.batch(rows)
        assert some.time_us.tolist() == batch.time_us[rows].tolist()
        assert some.tag_dicts() == batch.take(rows).tag_dicts()
        assert repr(some.field_dicts()) == repr(batch.take(rows).field_dicts())
        assert reader.ordinals_of(rows).tolist() == ordinals[order][rows].tolist()
    numbers = store.reader(section).numbers("mixed")
    expected, are = batch.fields["mixed"].numbers()
    assert are is not None
    assert np.array_equal(numbers, np.where(are, expected, np.nan), equal_nan=True)


def test_a_few_rows_cost_a_few_pages() -> None:
    store = Store()
    section, _ = store.write(large(65_536), np.arange(65_536, dtype=np.uint64))
    reader = store.reader(section)
    before = store.bytes_read
    reader.field("noisy", np.array([40_000, 7]))
    assert 0 < store.bytes_read - before < 10_000
    before = store.bytes_read
    reader.field("noisy")
    assert store.bytes_read - before > 400_000


def test_who_died_is_merged_from_all_that_know() -> None:
    n = 10
    listed = [Point(fields={"x": float(i)}) for i in range(n)]
    ordinals = np.arange(n, dtype=np.uint64)
    born = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 3], np.uint64)
    died = np.full(n, FOREVER, np.uint64)
    died[0] = 3
    store = Store()
    deaths = np.array([4, 1], np.uint32), np.array([5, 4], np.uint64)
    batch = batch_of(listed)._replace(time_us=np.arange(n))
    section, _ = store.write(batch, ordinals, born, died, deaths)
    section = section.kill(np.array([7], np.uint32), 6)

    def alive(seq: int) -> list[int]:
        living = store.open(section).living(seq)
        return list(range(n)) if living is None else np.flatnonzero(living).tolist()

    assert [alive(seq) for seq in range(1, 8)] == [
        [0, 1, 2],
        [0, 1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5, 6, 7, 8, 9],
        [2, 3, 4, 5, 6, 7, 8, 9],
        [2, 3, 5, 6, 7, 8, 9],
        [2, 3, 5, 6, 8, 9],
        [2, 3, 5, 6, 8, 9],
    ]
    section = section.clear(8)
    assert alive(7) == [2, 3, 5, 6, 8, 9]
    assert alive(8) == []
    untouched, _ = store.write(batch, ordinals)
    assert store.open(untouched).died is None
    assert store.open(untouched).living(untouched.row.max_seq) is None
    assert not store.open(untouched).living(untouched.row.max_seq - 1).any()


def test_damage_anywhere_is_corrupt_with_its_place_and_leaves_other_columns_readable() -> None:
    store = Store()
    section, _ = store.write(large(5000), np.arange(5000, dtype=np.uint64))
    [info] = store.blobs.list("")
    [original] = store.blobs.read(info.name, [(0, info.size)])
    hurt: dict[str, list[str]] = {}
    for at in range(80, info.size, 997):
        damaged = Store()
        broken = bytearray(original)
        broken[at] ^= 0x40
        out = damaged.blobs.create(info.name)
        out.append([bytes(broken)])
        out.finish()
        whole = 0
        for key in ("noisy", "mixed", "state", "times", "tagsets"):
            try:
                reader = damaged.reader(section)
                reader.field(key) if key in reader.fields else getattr(reader, key)
                whole += 1
            except Corrupt as error:
                hurt.setdefault(key, []).append(str(error))
        assert whole >= 4 or at > info.size - 8000, "one column, or the directory"
    assert set(hurt) >= {"noisy", "mixed"}
    assert all("offset" in message for messages in hurt.values() for message in messages)


def test_a_newer_section_says_so_and_cut_directories_are_corrupt() -> None:
    store = Store()
    section, _ = store.write(large(600), np.arange(600, dtype=np.uint64))

    def opened(directory: bytes) -> None:
        SectionReader(section.row, lambda _: [directory])

    for end in range(len(store.directory)):
        with pytest.raises(Corrupt):
            opened(store.directory[:end])
    at = len(HEAD.pack(0, 0, 0, 0))
    out = SegmentWriter(MemoryBlobs(), "s", id=1, kind="points", database_id=bytes(16), epoch=1)
    unmarked = write_integers(out, np.random.default_rng(1).integers(0, 9, 600))
    with pytest.raises(Corrupt, match="times with the first"):
        opened(store.directory[:at] + unmarked + store.directory[at:])
    with pytest.raises(UnknownFormat, match="form 9"):
        opened(store.directory[:at] + b"\x09" + store.directory[at + 1 :])
    with pytest.raises(UnknownFormat, match="format 2"):
        opened(b"\x02" + store.directory[1:])
    with pytest.raises(Corrupt, match="the end"):
        opened(store.directory + b"\0")


@pytest.mark.parametrize(
    "values",
    [[5], [7, 7, 7], [0, 2**62, -(2**63)], [2**63 - 1, -(2**63)], [-(2**63), 2**63 - 1], [1, 2, 4], [3, 2, 1, 0, -1]],
)
def test_integers_that_wrap_are_no_line(values: list[int]) -> None:
    blobs = MemoryBlobs()
    out = SegmentWriter(blobs, name(1), id=1, kind="points", database_id=bytes(16), epoch=1)
    described_as = write_integers(out, np.array(values, np.int64))
    out.finish()
    store = Store(blobs)
    column = PagedColumn(TableReader(described_as, "test"), len(values), Source(1, store.read))
    assert column.all().tolist() == values
    assert column.take(np.arange(len(values))[::-1]).tolist() == values[::-1]
    steps = {b - a for a, b in pairwise(values)}
    assert (column.line is None) == (len(steps) > 1 or any(abs(step) >= 2**63 for step in steps))
