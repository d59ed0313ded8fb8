"""Contents in the log, as they are to lie in a payload file."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.engine.records import contents
from lamina.engine.records.contents import read_inline
from lamina.errors import NotFound
from lamina.storage.payloadfile import aligned


class Files:
    """A log of two files: no read reaches across the end of the first."""

    def __init__(self, size, cut):
        self.data = random.Random(size).randbytes(size)
        self.cut = cut
        self.reads = []

    def read(self, position, length):
        if position < self.cut < position + length or position + length > len(self.data):
            raise NotFound(f"{position} {length}")
        self.reads.append(length)
        return self.data[position : position + length]


def laid(log, places):
    """(contents, whether each begins at a multiple of 8 and what is between them is zero)"""
    wheres, sizes = (np.array(column, np.uint64) for column in zip(*places, strict=True))
    found, tidy = [], True
    for data, lengths in read_inline(log, wheres, sizes):
        at = 0
        for length in lengths.tolist():
            found.append(bytes(data[at : at + length]))
            tidy &= not any(data[at + length : at + aligned(length)])
            at += aligned(length)
        assert at == len(data)
    return found, tidy


lengths = st.lists(st.sampled_from((1, 7, 8, 16, 64)) | st.integers(1, 40), min_size=1, max_size=12)


@given(lengths, st.lists(st.integers(0, 9) | st.just(600), min_size=12, max_size=12), st.integers(0, 12), st.randoms())
def test_contents_come_in_the_order_asked_for_each_at_a_multiple_of_the_alignment(sizes, gaps, cut, order):
    places, at, first = [], 5, 0
    for i, (size, gap) in enumerate(zip(sizes, gaps, strict=False)):
        if i == cut:  # the next file begins with its header
            first, at = at, at + 64
        places.append((at, size))
        at += size + gap
    log = Files(at, first)
    order.shuffle(places)
    for chosen in (places, sorted(places)):
        found, tidy = laid(log, chosen)
        assert found == [log.data[where : where + size] for where, size in chosen]
        assert tidy


def test_what_lies_in_the_log_as_it_will_lie_in_the_file_is_one_read(monkeypatch):
    monkeypatch.setattr(contents, "SPAN_BYTES", 64)
    log = Files(200, 0)
    assert laid(log, [(8 + 16 * i, 16) for i in range(10)])[1]
    assert log.reads == [64, 64, 32]


def test_neighbours_come_with_one_read():
    log = Files(2000, 0)
    laid(log, [(10, 5), (20, 5), (700, 5)])
    assert log.reads == [15, 5]
