"""Deaths, blocks and payload files of a section come back; nonsense is refused."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.codecs import integers
from lamina.errors import Corrupt
from lamina.records import manifest

U64 = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 300))
U32 = st.integers(0, 2**32 - 1)


@given(st.dictionaries(U32, U64, max_size=50))
def test_deaths_come_back(deaths):
    index = np.array(sorted(deaths), np.uint32)
    seqs = np.array([deaths[i] for i in sorted(deaths)], np.uint64)
    found = manifest.decode_deaths(manifest.encode_deaths(index, seqs))
    assert (found[0].tolist(), found[1].tolist()) == (index.tolist(), seqs.tolist())
    assert (found[0].dtype, found[1].dtype) == (np.uint32, np.uint64)


def test_deaths_of_a_whole_range_take_little():
    index = np.arange(65_536, dtype=np.uint32)
    assert len(manifest.encode_deaths(index, np.full(65_536, 2**40, np.uint64))) < 200


@given(st.dictionaries(U64, st.tuples(U32, U64, U64), max_size=50))
def test_blocks_come_back(blocks):
    begins = np.array(sorted(blocks), np.uint64)
    rest = [blocks[begin] for begin in sorted(blocks)]
    columns = [np.array([row[i] for row in rest], kind) for i, kind in enumerate((np.uint32, np.uint64, np.uint64))]
    found = manifest.decode_blocks(manifest.encode_blocks(begins, *columns))
    assert [column.tolist() for column in found] == [begins.tolist(), *(column.tolist() for column in columns)]
    assert [column.dtype for column in found] == [np.uint64, np.uint32, np.uint64, np.uint64]


@given(st.dictionaries(U64, U64, max_size=20))
def test_files_come_back(living):
    assert manifest.decode_files(manifest.encode_files(living)) == living


def test_what_does_not_ascend_is_refused():
    twice = np.array([5, 5], np.uint64)
    with pytest.raises(Corrupt, match="deaths"):
        manifest.decode_deaths(integers.pack([twice, twice]))
    with pytest.raises(Corrupt, match="deaths"):
        manifest.decode_deaths(integers.pack([np.array([1, 2**32], np.uint64), twice]))
    with pytest.raises(Corrupt, match="blocks"):
        manifest.decode_blocks(integers.pack([twice] * 4))
    with pytest.raises(Corrupt, match="blocks"):
        manifest.decode_blocks(
            integers.pack([np.array([2], np.uint64), np.array([2**32], np.uint64), *[twice[:1]] * 2])
        )
    pair = manifest.encode_files({5: 1})
    for wrong in (pair + pair, manifest.encode_files({6: 1}) + pair, pair[:-1]):
        with pytest.raises(Corrupt, match="payload files"):
            manifest.decode_files(wrong)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data):
    for decode in (manifest.decode_deaths, manifest.decode_blocks, manifest.decode_files):
        with suppress(Corrupt):
            decode(data)
