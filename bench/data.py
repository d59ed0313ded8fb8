"""The points every line is measured on: 120 Hz with 50 µs of jitter, a voltage as a float32 sensor gives it.

Made in blocks, each from a seed of its own, so that 1e9 points need the memory of one block.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamina.testing.data import START, times, values

BLOCK = 1_000_000
_SPAN = BLOCK * 1_000_000_000 // 120

Times = NDArray[np.int64]
Values = NDArray[np.float64]


def block(number: int, n: int = BLOCK) -> tuple[Times, Values]:
    """The first n points of a block; block k + 1 begins where block k ends."""
    return times("jittered", n, start=START + number * _SPAN, seed=2 * number), values(
        "voltage", n, seed=2 * number + 1
    )


def batches(n: int, size: int = BLOCK) -> Iterator[tuple[Times, Values]]:
    """The first n points in batches (a divisor of BLOCK, or BLOCK)."""
    for number in range(-(-n // BLOCK)):
        t, v = block(number, min(BLOCK, n - number * BLOCK))
        for i in range(0, len(t), size):
            yield t[i : i + size], v[i : i + size]


def points(n: int) -> tuple[Times, Values]:
    """All of the first n points."""
    parts = list(batches(n))
    return np.concatenate([t for t, _ in parts]), np.concatenate([v for _, v in parts])


def bounds(n: int) -> tuple[int, int]:
    """Start and end of the first n points' time range, without making them all."""
    last = (n - 1) // BLOCK
    return int(block(0, 1000)[0][0]), int(block(last, n - last * BLOCK)[0][-1]) + 1
