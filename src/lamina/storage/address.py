"""Where a block lies: segment, length, offset, and the CRC32C of its bytes, kept by whoever refers to it.

A checksum beside the address, not in the block, shows a misdirected or stale block too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ADDRESS = np.dtype([("segment", "<u4"), ("length", "<u4"), ("offset", "<u8"), ("crc", "<u4")])
"""length 0 = no block."""
assert ADDRESS.itemsize == 20, "part of every format that holds addresses"

Addresses = NDArray[np.void]  # dtype ADDRESS
