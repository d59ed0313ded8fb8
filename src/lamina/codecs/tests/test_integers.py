import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.codecs import integers, zstd
from lamina.errors import Corrupt, UnknownFormat

NUMBERS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 300), st.sampled_from([0, 2**63, 2**64 - 1]))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60))
def test_tables_come_back(rows):
    table = np.array(rows, np.uint64).reshape(-1, 2)
    found = integers.unpack(integers.pack([table[:, 0], table[:, 1]]), 2)
    np.testing.assert_array_equal(np.column_stack(found), table)


@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=40), max_size=6), st.booleans())
def test_many_tables_are_each_behind_the_one_before(tables, plain):
    packed = [integers.pack(list(np.array(rows, np.uint64).reshape(-1, 2).T), plain=plain) for rows in tables]
    found, rows = integers.unpack_many(packed, 2)
    assert rows.tolist() == [len(table) for table in tables]
    for place in range(2):
        assert found[place].tolist() == [row[place] for table in tables for row in table]


def test_a_table_cut_anywhere_is_corrupt():
    table = [np.random.default_rng(0).integers(0, 1000, 50).astype(np.uint64)] * 2
    for data in (integers.pack(table), integers.pack([np.arange(5, dtype=np.uint64)] * 2)):
        for end in range(len(data)):
            with pytest.raises(Corrupt):
                integers.unpack(data[:end], 2)


def test_other_tables_are_refused():
    data = bytearray(integers.pack([np.arange(5, dtype=np.uint64)] * 2))
    with pytest.raises(Corrupt, match="expected 3 columns, found 2"):
        integers.unpack(bytes(data), 3)
    data[5] = 9
    with pytest.raises(UnknownFormat):
        integers.unpack(bytes(data), 2)


def test_a_frame_that_inflates_beyond_what_was_announced_is_refused():
    bomb = zstd.encode(bytes(10_000_000))
    with pytest.raises(Corrupt, match="more than 1000 bytes"):
        zstd.decode(bomb, 1000)
    with pytest.raises(Corrupt):
        zstd.decode(zstd.encode(bytes(10)), 1000)
    with pytest.raises(Corrupt):
        zstd.decode(b"no frame at all", 10)


@given(st.lists(NUMBERS, min_size=1, max_size=integers._FEW))
def test_few_numbers_are_packed_as_many_are(numbers):
    column = np.array(numbers, np.uint64)
    steps = np.diff(column).view(np.int64)
    folded = ((steps << 1) ^ (steps >> 63)).view(np.uint64)
    head = integers._COLUMN.unpack_from(integers._pack(column))
    assert head[0] == numbers[0]
    assert integers._pack(column)[integers._COLUMN.size :] == folded.astype(f"<u{head[1]}").tobytes()
    assert all(int(folded.max(initial=0)) >= 1 << (8 * width) for width in integers._WIDTHS if width < head[1])
