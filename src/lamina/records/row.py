"""One record in memory and in the log: 64 bytes that say when, how large, where, and which labels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype(
    [
        ("time", "<u8"),  # µs since the epoch; unique among the living records of an entry
        ("size", "<u8"),  # bytes of the content
        ("where", "<u8"),  # offset of the stored bytes in their payload file, or position in the log where file is 0
        ("stored", "<u8"),  # bytes at `where`: the size, or less where codec says so; a checksum array may follow
        ("seq", "<u8"),  # of the op that made this row; 0 inside that op itself
        ("crc", "<u4"),  # of the content; of its checksum array where the content is longer than CHUNK (checksum.py)
        ("file", "<u4"),  # payload file; 0: inline in the log
        ("meta", "<u4"),  # the contract's metadata length without the two offsets (size.py)
        ("set", "<u4"),  # number of the label set in the table that goes with the rows
        ("type", "<u4"),  # number of the content type, likewise
        ("codec", "<u4"),  # 0 as it is, 1 zstd
    ]
)
assert ROW.itemsize == 64, "part of the log's format"

Rows: TypeAlias = NDArray[np.void]
"""dtype ROW"""

NO_ROWS: Rows = np.empty(0, ROW)

Place: TypeAlias = tuple[int, int, int, int, int]
"""file, where, stored, crc, codec"""


def place_in(row: np.void) -> Place:
    return int(row["file"]), int(row["where"]), int(row["stored"]), int(row["crc"]), int(row["codec"])


RAW, ZSTD = 0, 1
"""Codecs of a stored payload."""

FOREVER = (1 << 64) - 1
"""The seq at which a living row died."""
