"""Values that stay the same for long: (value, how often) pairs, compared as bits so that -0.0 and 0.0 differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt

RUN_POINTS = 128
"""Mean length of a run from which pairs are used: 0.09 B per point at most, and decoding is a fill."""

_RUN_BYTES = 12  # u64 bits, u32 count
_HEAD = 9
"""Points looked at before anything else: restless values change there more than twice ..."""
_FEW = 3
"""... and mostly do so at once."""


def encode(values: NDArray[np.float64]) -> bytes | None:
    """The payload, all values and then all counts, if runs are long; else None."""
    bits = values.view(np.uint64)
    if len(set(bits[:_FEW].tolist())) > 2 or len(set(bits[:_HEAD].tolist())) > 2:
        return None
    starts = np.flatnonzero(bits[1:] != bits[:-1]) + 1
    if len(starts) * RUN_POINTS > len(values):
        return None
    starts = np.concatenate(([0], starts))
    counts = np.diff(starts, append=len(values)).astype("<u4")
    return bits[starts].tobytes() + counts.tobytes()


def decode_into(data: bytes, out: NDArray[np.float64]) -> None:
    runs = len(data) // _RUN_BYTES
    if runs * _RUN_BYTES != len(data):
        raise Corrupt(f"runs of {len(out)} values: {len(data)} bytes are not a multiple of {_RUN_BYTES}")
    bits = np.frombuffer(data, "<u8", runs)
    counts = np.frombuffer(data, "<u4", runs, runs * 8)
    if int(counts.sum(dtype=np.uint64)) != len(out):
        raise Corrupt(f"runs of {len(out)} values: found {int(counts.sum(dtype=np.uint64))}")
    if runs == 1:
        out.view(np.uint64).fill(bits[0])
    else:
        out.view(np.uint64)[:] = np.repeat(bits, counts)
