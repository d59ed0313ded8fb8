"""Rows and addresses: the fixed-width records the statistical tree is made of (FORMAT.md).

A **row** describes one aligned window of 2**pw ns: summary, the version that last changed it, and the address of what
lies below (a leaf block of compressed points, or an inner node, which is a packed array of rows). Rows carry no
pointers to their neighbours, so rows from any number of nodes concatenate into one array and are filtered as one.

Times inside the tree are **biased** by +2**60, so that the legal range is non-negative and below 2**62 and windows
align for every pw <= 62.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.storage.address import ADDRESS, Addresses

BIAS = 1 << 60
ROOT_PW = 62
"""The whole range [0, 2**62) of biased time."""

LEAF, INNER, TOMBSTONE = 0, 1, 2
"""Row kinds. A tombstone (count 0) keeps the version of a deletion so that `changes` reports it."""

ROW = np.dtype(
    [
        ("t0", "<i8"),  # biased start of the window
        ("count", "<u8"),
        ("min", "<f8"),
        ("max", "<f8"),
        ("mean", "<f8"),
        ("m2", "<f8"),  # sum of squared deviations from the mean
        ("version", "<u8"),  # largest version that changed something below
        ("base", ADDRESS),  # leaf: base block; inner: the array of rows
        ("delta", ADDRESS),  # leaf only: points added since, not yet merged into the base
        ("delta_count", "<u4"),
        ("pw", "u1"),
        ("kind", "u1"),
        ("below", "<u2"),  # inner: number of rows; leaf: 1 if points were removed somewhere in its window
    ]
)
assert ROW.itemsize == 104, "rows of different widths could not be concatenated"

Rows = NDArray[np.void]  # dtype ROW

NO_ROWS: Rows = np.empty(0, ROW)

__all__ = ["ADDRESS", "BIAS", "INNER", "LEAF", "NO_ROWS", "ROOT_PW", "ROW", "TOMBSTONE", "Addresses", "Rows"]
