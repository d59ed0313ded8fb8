"""Rows of a section that died since it was written, as bytes (FORMAT.md, Deaths)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import integers
from lamina.errors import Corrupt

_U32 = np.uint64((1 << 32) - 1)


def write_deaths(rows: NDArray[np.uint32], seqs: NDArray[np.uint64]) -> bytes:
    """Rows, each once, in any order, and the seq at which each died. 0.3 to 2 bytes a row."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    assert (ordered[1:] > ordered[:-1]).all(), "a row dies once"
    return integers.pack([ordered.astype(np.uint64), seqs[order]])


def read_deaths(data: bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Rows, ascending, and seqs. Raises Corrupt, UnknownFormat."""
    rows, seqs = integers.unpack(data, 2)
    if not (rows[1:] > rows[:-1]).all() or (len(rows) and rows[-1] > _U32):
        raise Corrupt(f"deaths: expected {len(rows)} rows that ascend below 2**32")
    return rows.astype(np.uint32), seqs
