"""The CRC of a whole from those of its pieces."""

from __future__ import annotations

import itertools
import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.storage.crc import crc32c
from lamina.storage.crcjoin import joined


def of_runs(runs: list[list[bytes]]) -> list[int]:
    pieces = list(itertools.chain.from_iterable(runs))
    crcs = np.array([crc32c(piece) for piece in pieces], np.uint32)
    sizes = np.array([len(piece) for piece in pieces], np.uint64)
    firsts = np.cumsum([0] + [len(run) for run in runs[:-1]]).astype(np.intp)
    return joined(crcs, sizes, firsts).tolist()


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=9), min_size=1, max_size=6))
def test_is_the_crc_of_the_bytes_of_each_run(runs: list[list[bytes]]) -> None:
    assert of_runs(runs) == [crc32c(b"".join(run)) for run in runs]


def test_holds_for_long_pieces_and_many_of_them() -> None:
    lengths = [0, 1, 16_383, 16_384, 16_385, 65_536, 100_000, 3, 1_000_000, 7]
    runs = [[os.urandom(length) for length in lengths], [os.urandom(11) for _ in range(10_000)], [b"x"]]
    assert of_runs(runs) == [crc32c(b"".join(run)) for run in runs]


def test_a_changed_bit_in_any_piece_changes_it() -> None:
    pieces = [bytes(100) for _ in range(50)]
    (whole,) = of_runs([pieces])
    for i in range(0, 50, 7):
        damaged = bytearray(b"".join(pieces))
        damaged[100 * i + i] ^= 1 << (i % 8)
        assert crc32c(damaged) != whole
