"""Regular times as five numbers: t[i] = first + unit * ((i * num + phase) // den), exactly.

den = 1 is a constant step. A rate that does not divide a second gives steps that alternate by rounding, for example
(i * 10**9) // 120: then num / den is the step and `phase` where in the pattern the block begins. `unit` is the
clock's resolution (1000 where a µs clock was written as ns).

Neither the points nor the scan cost anything: 32 bytes a block, and decoding is arithmetic.
"""

from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt

if TYPE_CHECKING:
    from fractions import Fraction

MIN_POINTS = 5
"""From here on 32 bytes are less than raw times."""

_PAYLOAD = struct.Struct("<qQQII")  # first, unit, num, den, phase
_SAFE = 1 << 62  # products stay below, so int64 never wraps
_HEAD = 9
"""Points looked at before anything else: irregular times show a third distinct step there, for under 1 µs."""


def encode(times: NDArray[np.int64]) -> bytes | None:
    """The payload if sorted `times` are on a grid, else None."""
    n = len(times)
    if n < MIN_POINTS:
        return None
    head = times[:_HEAD].tolist()
    a, b, c = head[1] - head[0], head[2] - head[1], head[3] - head[2]
    if (a != b != c != a) or len({b - a for a, b in pairwise(head)}) > 2:  # jitter mostly shows in the first three
        return None
    first = int(times[0])
    steps = times[1:] - times[:-1]
    low, high = int(steps.min()), int(steps.max())
    if low == high:
        return _PAYLOAD.pack(first, 1, low, 1, 0) if low * n < _SAFE else None
    unit = high - low
    if low % unit:
        return None
    ticks = (times - first) // unit
    if not np.array_equal(ticks * unit, times - first):
        return None
    for step in _candidates(int(ticks[-1]), n - 1, unit):
        phase = _phase(ticks, step)
        if phase is not None:
            return _PAYLOAD.pack(first, unit, step.numerator, step.denominator, phase)
    return None


def _candidates(span: int, steps: int, unit: int) -> list[Fraction]:
    """Steps, in ticks, that `span` ticks in so many steps may come from; likely ones first."""
    from fractions import Fraction  # 3 ms with `decimal`, and most streams never come here

    mean = Fraction(span, steps)
    found = []
    if 1_000_000_000 % unit == 0:
        second = 1_000_000_000 // unit
        rate = round(second / mean)
        near = (rate, rate - 1, rate + 1, rate - 2, rate + 2)  # a short block tells fast rates only so well
        found += [Fraction(second, r) for r in near if r > 0]
    found += [mean.limit_denominator(bound) for bound in (16, 256)]
    return [step for i, step in enumerate(found) if step not in found[:i]]


def _phase(ticks: NDArray[np.int64], step: Fraction) -> int | None:
    """The phase with which the step gives exactly these ticks, if there is one.

    tick[i] = (i * num + phase) // den means den * tick[i] - i * num <= phase < that + den, for every i.
    """
    num, den, n = step.numerator, step.denominator, len(ticks)
    if den >= 1 << 32 or num * n + den >= _SAFE or den * (int(ticks[-1]) + 1) >= _SAFE:
        return None
    least = ticks * den - np.arange(n) * num
    phase = int(least.max())
    return phase if phase < int(least.min()) + den else None


_index = np.arange(4096)  # 0, 1, 2, ...; replaced by a longer one when needed


def _counting(n: int) -> NDArray[np.int64]:
    global _index
    if n > len(_index):
        _index = np.arange(1 << math.ceil(math.log2(n)))
    return _index[:n]


def decode_into(data: bytes, out: NDArray[np.int64]) -> None:
    if len(data) < _PAYLOAD.size:
        raise Corrupt(f"grid of times: expected {_PAYLOAD.size} bytes, found {len(data)}")
    first, unit, num, den, phase = _PAYLOAD.unpack_from(data)
    if not den or num * len(out) + phase >= 1 << 63:
        raise Corrupt(f"grid of {len(out)} times: step {num}/{den}, phase {phase} is out of range")
    np.multiply(_counting(len(out)), num, out=out)
    if den > 1:
        out += phase
        out //= den
    if unit > 1:
        out *= unit
    out += first
