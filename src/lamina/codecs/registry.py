"""Every codec id a column can have, and its decoder. Ids are one byte in the block and are never given again.

| id | name | column | payload |
|---|---|---|---|
| 0 | RAW | any | the numbers, 8 bytes each |
| 1 | PCO | any | a pcodec standalone file |
| 2 | ZSTD | any | a zstd frame of the raw numbers |
| 3 | GRID | times | `grid` |
| 4 | REPEATS | values | `repeats` |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import grid, pco, repeats, zstd
from lamina.errors import Corrupt, UnknownFormat

RAW, PCO, ZSTD, GRID, REPEATS = range(5)


def raw(numbers: NDArray[Any]) -> tuple[int, bytes]:
    """Codec id and payload of a column that nothing else fits: raw, or zstd where that is smaller."""
    data = numbers.tobytes()
    packed = zstd.encode(data)
    return (ZSTD, packed) if len(packed) < len(data) else (RAW, data)


def _raw_into(data: bytes, out: NDArray[Any]) -> None:
    if len(data) < out.nbytes:
        raise Corrupt(f"raw column of {len(out)} numbers: expected {out.nbytes} bytes, found {len(data)}")
    out[:] = np.frombuffer(data, out.dtype, len(out))


def _zstd_into(data: bytes, out: NDArray[Any]) -> None:
    _raw_into(zstd.decode(data, out.nbytes), out)


_DECODERS: dict[int, Callable[[bytes, NDArray[Any]], None]] = {
    RAW: _raw_into,
    PCO: pco.decode_into,
    ZSTD: _zstd_into,
    GRID: grid.decode_into,
    REPEATS: repeats.decode_into,
}


def decode_into(codec: int, data: bytes, out: NDArray[Any]) -> None:
    """Fill `out` (int64 or float64, contiguous) from a column's payload. Raises Corrupt, UnknownFormat."""
    decoder = _DECODERS.get(codec)
    if decoder is None:
        raise UnknownFormat(f"column codec {codec}: this version reads 0..{max(_DECODERS)}")
    decoder(data, out)
