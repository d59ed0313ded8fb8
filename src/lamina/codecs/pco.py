"""pcodec behind two functions: level and errors are settled here."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from lamina.errors import Corrupt

LEVEL = 3
"""Above: 4 takes 12 % more time to write for 0.5-2 %, the others up to 5x for 1-5 %. Below: up to 100x larger on
constant runs (streams.md section 7)."""

Mode = Literal["classic", "quant", "mult"]

Config: TypeAlias = "ChunkConfig"


@lru_cache(maxsize=64)
def config(mode: Mode, parameter: int, delta: int) -> Config:
    """How to write a column. Never automatic: that misjudges the delta order and is 1-4x slower.

    `quant`: the low `parameter` mantissa bits are mostly zero. `mult`: multiples of 10**-parameter. `delta`: how often
    neighbours are subtracted, 0 or 1.
    """
    modes = {
        "classic": ModeSpec.classic,
        "quant": lambda: ModeSpec.try_float_quant(parameter),
        "mult": lambda: ModeSpec.try_float_mult(10.0**-parameter),
    }
    order = DeltaSpec.try_consecutive(delta) if delta else DeltaSpec.no_op()
    found: Config = ChunkConfig(compression_level=LEVEL, mode_spec=modes[mode](), delta_spec=order)
    return found


def encode(numbers: NDArray[Any], how: Config) -> bytes | None:
    """The column (int64 or float64, contiguous), or None if pcodec refuses it."""
    try:
        encoded: bytes = standalone.simple_compress(numbers, how)
    except RuntimeError:
        return None
    return encoded


def decode_into(data: bytes, out: NDArray[Any]) -> None:
    """Fill `out`; bytes behind the encoded column are ignored. Raises Corrupt."""
    try:
        found = standalone.simple_decompress_into(data, out).n_processed
    except RuntimeError as error:
        raise Corrupt(f"column of {len(out)} numbers: {error}") from None
    if found != len(out):
        raise Corrupt(f"column of {len(out)} numbers: found {found}")
