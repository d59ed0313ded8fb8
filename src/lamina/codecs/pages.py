"""A long column as pages of a fixed number of values, each decoded by itself.

pcodec's wrapped form: what is learnt of the values is written once (`meta`, 15 to 100 bytes), so a page of 256 values
takes hardly more than its share of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, PagingSpec, wrapped

from lamina.codecs import pco
from lamina.errors import Corrupt

MOST_VALUES = 1 << 20
"""Of a column: learning from more gains nothing, and pcodec ends at 2**24."""

_SAMPLE = 2048
"""Values of the middle of a column of integers that decide whether neighbours are subtracted."""


class Paged(NamedTuple):
    """A column as it is written."""

    meta: bytes
    pages: list[bytes]


def encode_floats(values: NDArray[np.float64], page: int, mode: pco.Mode, parameter: int, delta: int) -> Paged | None:
    """The column with the choices of a ValueCodec (`values.learn`), or None if pcodec refuses it."""
    modes = {
        "classic": ModeSpec.classic,
        "quant": lambda: ModeSpec.try_float_quant(parameter),
        "mult": lambda: ModeSpec.try_float_mult(10.0**-parameter),
    }
    return _encode(values, page, modes[mode](), delta)


def encode_integers(values: NDArray[np.int64], page: int, delta: int | None = None) -> Paged | None:
    """The column, neighbours subtracted `delta` times (None: where that is smaller); None if pcodec refuses it."""
    if delta is None:
        middle = max(0, len(values) // 2 - _SAMPLE // 2)
        sample = np.ascontiguousarray(values[middle : middle + _SAMPLE])
        sizes = [pco.encode(sample, pco.config("classic", 0, order)) for order in (0, 1)]
        delta = int(sizes[0] is not None and sizes[1] is not None and len(sizes[1]) < len(sizes[0]))
    return _encode(values, page, ModeSpec.classic(), delta)


def _encode(values: NDArray[Any], page: int, mode: Any, delta: int) -> Paged | None:
    n = len(values)
    sizes = [page] * (n // page) + ([n % page] if n % page else [])
    order = DeltaSpec.try_consecutive(delta) if delta else DeltaSpec.no_op()
    how = ChunkConfig(
        compression_level=pco.LEVEL,
        mode_spec=mode,
        delta_spec=order,
        paging_spec=PagingSpec.exact_page_sizes(sizes),
    )
    try:
        file = wrapped.FileCompressor()
        chunk = file.chunk_compressor(np.ascontiguousarray(values), how)
        return Paged(file.write_header() + chunk.write_meta(), [chunk.write_page(i) for i in range(len(sizes))])
    except RuntimeError:
        return None


class PageDecoder:
    """Decodes the pages of one column. Making it costs 10 µs, a page of 256 values 1 to 2 µs. Raises Corrupt."""

    __slots__ = ("_chunk",)

    def __init__(self, meta: bytes, floats: bool) -> None:
        try:
            file, used = wrapped.FileDecompressor.new(meta)
            self._chunk, _ = file.chunk_decompressor(meta[used:], "f64" if floats else "i64")
        except (RuntimeError, TypeError) as error:
            raise Corrupt(f"head of a paged column: {error}") from None

    def decode_into(self, page: bytes, out: NDArray[Any]) -> None:
        """Fill `out` (contiguous, of the column's dtype) with the page's values."""
        try:
            self._chunk.read_page_into(page, len(out), out)
        except RuntimeError as error:
            raise Corrupt(f"page of {len(out)} numbers: {error}") from None

    def decode_all(self, blob: bytes, ends: Sequence[int], page: int, out: NDArray[Any]) -> None:
        """Fill `out` from pages that lie one behind the other, each of `page` values but perhaps the last."""
        read = self._chunk.read_page_into
        whole = len(out) // page
        start = 0
        try:
            for end, rows in zip(ends, out[: whole * page].reshape(whole, page), strict=False):
                read(blob[start:end], page, rows)
                start = end
            if whole < len(ends):
                read(blob[start:], len(out) - whole * page, out[whole * page :])
        except RuntimeError as error:
            raise Corrupt(f"page of {page} numbers: {error}") from None
