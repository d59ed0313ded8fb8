"""How the values of a stream are written: mode and delta order chosen from a sample, kept while they fit.

Per stream instead of per block: 1.2-1.9x faster to write and mostly smaller, because pcodec's automatic choice
misjudges the delta order of decimals (streams.md section 2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import pco, repeats
from lamina.codecs.registry import PCO, RAW, REPEATS, raw
from lamina.codecs.times import RAW_POINTS
from lamina.errors import Corrupt

SAMPLE_PART = 1024
"""Points of one contiguous part of a sample; three of them (start, middle, end) cost a millisecond to learn from."""

DEGRADED = 1.25
"""Learn again when a sample takes so much more than at learning time ..."""
DEGRADED_BYTES = 0.1
"""... and so many bytes per point more: a ratio near 0 (constants) would otherwise never be content."""

FLOAT32_BITS = 29
"""Mantissa bits of a float64 that came from a float32 and are zero."""
DECIMALS = 9
"""Most decimal places looked for."""


class ValueCodec(NamedTuple):
    """How to write values. `ratio`: bytes per point of the sample it was learnt from; 0.0: not learnt."""

    mode: pco.Mode = "classic"
    parameter: int = 0  # as in pco.config
    delta: int = 0
    ratio: float = 0.0

    def encode(self, values: NDArray[np.float64]) -> tuple[int, bytes]:
        """Codec id and payload of one block's values (contiguous)."""
        runs = repeats.encode(values)
        if runs is not None:
            return REPEATS, runs
        if len(values) < RAW_POINTS:
            return RAW, values.tobytes()
        packed = pco.encode(values, pco.config(self.mode, self.parameter, self.delta))
        if packed is None or len(packed) >= values.nbytes:
            return raw(values)
        return PCO, packed

    def degraded(self, sample: NDArray[np.float64]) -> bool:
        """Whether it is time to learn again. Costs one block's encoding (about 30 µs); False for tiny samples."""
        middle = max(0, len(sample) // 2 - SAMPLE_PART)
        part = sample[middle : middle + 2 * SAMPLE_PART]
        if len(part) < RAW_POINTS:
            return False
        now = len(self.encode(part)[1]) / len(part)
        return now > self.ratio * DEGRADED + DEGRADED_BYTES

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


def from_json(fields: dict[str, Any]) -> ValueCodec:
    """The inverse of ValueCodec.to_json. Raises Corrupt."""
    try:
        codec = ValueCodec(**fields)
        pco.config(codec.mode, codec.parameter, codec.delta)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise Corrupt(f"value codec {fields!r}: {error}") from None
    return codec


def learn(sample: NDArray[np.float64]) -> ValueCodec:
    """The codec that writes these values smallest. Of a long sample three parts are looked at.

    Fewer than 96 values teach nothing: the default comes back, and `degraded` will ask for more.
    """
    if len(sample) < RAW_POINTS:
        return ValueCodec()
    parts = _parts(np.ascontiguousarray(sample))
    points = sum(map(len, parts))
    best: ValueCodec | None = None
    for mode, parameter in _modes(np.concatenate(parts)):
        for delta in (0, 1):
            codec = ValueCodec(mode, parameter, delta)
            ratio = sum(len(codec.encode(part)[1]) for part in parts) / points
            if best is None or ratio < best.ratio * 0.99:  # near ties: the earlier, faster one
                best = codec._replace(ratio=ratio)
    assert best is not None, "classic is always a candidate"
    return best


def _parts(sample: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    n = len(sample)
    if n <= 3 * SAMPLE_PART:
        return [sample]
    return [sample[at : at + SAMPLE_PART] for at in (0, (n - SAMPLE_PART) // 2, n - SAMPLE_PART)]


def _modes(sample: NDArray[np.float64]) -> list[tuple[pco.Mode, int]]:
    modes: list[tuple[pco.Mode, int]] = [("classic", 0)]
    if not (sample.view(np.uint64) & np.uint64((1 << FLOAT32_BITS) - 1)).any():
        modes.append(("quant", FLOAT32_BITS))
    finite = sample[np.isfinite(sample)]
    with np.errstate(over="ignore", invalid="ignore"):
        for places in range(DECIMALS + 1):
            scale = 10.0**places
            if len(finite) and np.mean(np.round(finite * scale) / scale == finite) > 0.9:
                modes.append(("mult", places))
                break
    return modes
