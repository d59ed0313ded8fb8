"""Points that look like those of real sensors; the same arguments give the same points on every run."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lamina.columns import Times, Values

TimeShape = Literal["regular", "alternating", "jittered", "poisson"]
ValueShape = Literal["voltage", "decimals", "counter", "angle", "constant", "special"]

START = 1_500_000_000_000_000_000
"""2017, ns: 61 bits, as today's times have."""

_SPECIAL = (  # bit patterns that codecs are careless with
    0x7FF8_0000_0000_0000,  # NaN
    0x7FF8_0000_0000_0001,  # NaN with payload
    0xFFF8_DEAD_00BE_EF00,  # negative NaN with payload
    0x7FF0_0000_0000_0001,  # signalling NaN
    0x7FF0_0000_0000_0000,  # inf
    0xFFF0_0000_0000_0000,  # -inf
    0x8000_0000_0000_0000,  # -0.0
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0001,  # smallest subnormal
    0x000F_FFFF_FFFF_FFFF,  # largest subnormal
    0x7FEF_FFFF_FFFF_FFFF,  # largest finite
)


def times(shape: TimeShape, n: int, *, start: int = START, seed: int = 0) -> Times:
    """n sorted times, ns. regular: 100 Hz. alternating: 120 Hz, whose steps alternate by rounding. jittered: 120 Hz
    with a standard deviation of 50 µs. poisson: independent arrivals at 120 Hz on average."""
    random = np.random.default_rng(seed)
    index = np.arange(n, dtype=np.int64)
    if shape == "regular":
        return start + index * 10_000_000
    if shape == "poisson":
        return start + np.cumsum(random.exponential(1e9 / 120, n).astype(np.int64) + 1)
    ticks = start + index * 1_000_000_000 // 120
    return ticks if shape == "alternating" else np.sort(ticks + random.normal(0, 50_000, n).astype(np.int64))


def values(shape: ValueShape, n: int, *, seed: int = 1) -> Values:
    """n values. voltage: a grid's, as float32 sensors give it. decimals: a temperature with two places. counter: whole
    numbers that grow. angle: a phase that wraps at 180. constant: steps of a thousand equal values. special: normal
    ones with NaN payloads, infinities, zeros of both signs and subnormals among them (not storable, but decodable)."""
    random = np.random.default_rng(seed)
    if shape == "voltage":
        slow = np.cumsum(random.normal(0, 0.02, n))
        wave = 20 * np.sin(np.arange(n) / 120 / 3600 * 2 * np.pi)
        return _float32(7200 + slow + wave + random.normal(0, 0.8, n))
    if shape == "decimals":
        return np.round(20 + np.cumsum(random.normal(0, 0.01, n)) + random.normal(0, 0.03, n), 2)
    if shape == "counter":
        return np.cumsum(random.poisson(3, n)).astype(np.float64)
    if shape == "angle":
        drift = 0.003 + np.cumsum(random.normal(0, 1e-6, n))
        phase = np.cumsum(drift) * 360 / 120 + random.normal(0, 0.01, n)
        return _float32(np.mod(phase + 180, 360) - 180)
    if shape == "constant":
        return np.repeat(random.integers(0, 5, n // 1000 + 1) * 1.5, 1000)[:n]
    found = random.normal(0, 1, n)
    some = random.integers(0, n, n // 10)
    found.view(np.uint64)[some] = random.choice(np.array(_SPECIAL, np.uint64), len(some))
    return found


def _float32(numbers: Values) -> Values:
    return numbers.astype(np.float32).astype(np.float64)
