"""zstd behind two functions, imported when first used: the library takes 10 ms, most databases never need it."""

from __future__ import annotations

import sys
from types import ModuleType

from lamina.errors import Corrupt

LEVEL = 3
"""The library's default; what comes here is small or nearly incompressible."""


def _library() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    module: ModuleType = zstd
    return module


def encode(data: bytes) -> bytes:
    encoded: bytes = _library().compress(data, LEVEL)
    return encoded


def decode(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes. Raises Corrupt."""
    found = decode_up_to(data, size)
    if len(found) != size:
        raise Corrupt(f"zstd frame of {len(data)} bytes: expected {size} bytes inside, found {len(found)}")
    return found


def decode_up_to(data: bytes, limit: int) -> bytes:
    """A whole frame of at most `limit` bytes. Raises Corrupt; nothing beyond the limit is inflated."""
    library = _library()
    stream = library.ZstdDecompressor()
    try:
        found: bytes = stream.decompress(data, limit + 1)
    except library.ZstdError as error:
        raise Corrupt(f"zstd frame of {len(data)} bytes: {error}") from None
    if len(found) > limit or not stream.eof:
        raise Corrupt(f"zstd frame of {len(data)} bytes: cut off, or more than {limit} bytes inside")
    return found
