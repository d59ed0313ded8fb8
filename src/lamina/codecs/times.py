"""How the times of a block are written: a grid where they are on one, raw where few, else pcodec."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import grid, pco
from lamina.codecs.registry import GRID, PCO, RAW, raw

RAW_POINTS = 96
"""Below, pcodec's fixed cost (10 µs, 30 B of head) is more than it saves."""

_CONFIG = pco.config("classic", 0, 1)


def encode(times: NDArray[np.int64]) -> tuple[int, bytes]:
    """Codec id and payload of sorted times (contiguous)."""
    on_grid = grid.encode(times)
    if on_grid is not None:
        return GRID, on_grid
    if len(times) < RAW_POINTS:
        return RAW, times.tobytes()
    packed = pco.encode(times, _CONFIG)
    if packed is None or len(packed) >= times.nbytes:
        return raw(times)
    return PCO, packed
