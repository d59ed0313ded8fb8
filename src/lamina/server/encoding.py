"""Compressed request bodies, undone while they come (contract reductstore 1.1, last item).

What lies behind sees an ordinary request: no content-encoding, and the announced uncompressed size as its
content-length. A body that does not inflate, or to more than it may, reads as a broken connection there; who put this
in front then finds `error` and gives the answer.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from lamina.errors import InvalidArgument
from lamina.server.limits import HttpLimits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

CODINGS = (b"gzip", b"zstd")

PIECE_BYTES = 256 << 10
"""Inflated at a time: about 1 ms, after which others have their turn."""

WINDOW_LOG = 23
"""8 MiB, the most that RFC 9659 lets a zstd body ask of its reader."""

GZIP_WBITS = 31


def coding_of(fields: Mapping[bytes, bytes]) -> bytes | None:
    """The coding of a body by its request's headers, None if there is none to undo.

    Raises InvalidArgument for one that is not known: the answer is 415.
    """
    named = fields.get(b"content-encoding")
    if named is None:
        return None
    coding = named.strip().lower()
    if coding in (b"identity", b""):
        return None
    if coding not in CODINGS:
        shown = named.decode("latin-1")
        raise InvalidArgument(f"Content-Encoding '{shown}' is not supported: expected gzip or zstd")
    return coding


def plain_headers(
    headers: list[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]
) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """Headers as if the body were not compressed, and its announced size, None if it announces none.

    Raises InvalidArgument for a size that is no number.
    """
    announced = fields.get(b"x-reduct-content-length")
    kept = [item for item in headers if item[0] not in (b"content-encoding", b"content-length")]
    if announced is None:
        return kept, None
    if not (announced.isdigit() and len(announced) <= 20):
        raise InvalidArgument(f"x-reduct-content-length '{announced.decode('latin-1')}': expected bytes")
    kept.append((b"content-length", announced))
    return kept, int(announced)


class Inflated:
    """The receiving side of a request with such a body.

    `announced`: its uncompressed size; `encoded`: its own size, None if it is chunked.
    """

    def __init__(
        self, receive: Receive, coding: bytes, announced: int | None, encoded: int | None, limits: HttpLimits
    ) -> None:
        self.error = ""
        self._receive = receive
        self._coding = coding
        self._announced = announced
        self._encoded = encoded
        self._limits = limits
        self._engine: Any = None  # None between members and frames: some writers put several behind one another
        self._pending = b""  # fed, not taken by the engine
        self._full = False  # the engine may hold more output
        self._more = True
        self._fed = 0
        self._given = 0

    async def receive(self) -> Message:
        """ASGI's receive: pieces of at most PIECE_BYTES."""
        while not self.error:
            if self._pending or self._full:
                try:
                    piece = self._inflate()
                except (zlib.error, _zstd_error()) as problem:
                    self.error = f"body is no {self._coding.decode()}: {problem}"
                    break
                if piece:
                    self._given += len(piece)
                    allowed = self._allowed()
                    if self._given > allowed:
                        self.error = f"compressed body inflates to more than the {allowed} bytes it may"
                        break
                    await asyncio.sleep(0)
                    return {"type": "http.request", "body": piece, "more_body": True}
            elif self._more:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._pending = message["body"]
                self._more = message.get("more_body", False)
                self._fed += len(self._pending)
            elif self._engine is not None:
                self.error = f"{self._coding.decode()} body is cut off"
            else:
                return {"type": "http.request", "body": b"", "more_body": False}
        self._pending = b""
        return {"type": "http.disconnect"}

    def _allowed(self) -> int:
        if self._announced is not None:
            return self._announced
        size = self._fed if self._encoded is None else self._encoded
        return min(self._limits.ratio * size, self._limits.inflated_bytes)

    def _inflate(self) -> bytes:
        engine = self._engine
        if engine is None:
            engine = self._engine = _engine(self._coding)
        piece: bytes = engine.decompress(self._pending, PIECE_BYTES)
        self._full = len(piece) == PIECE_BYTES
        if engine.eof:
            self._pending, self._engine, self._full = engine.unused_data, None, False
        else:
            self._pending = engine.unconsumed_tail if self._coding == b"gzip" else b""
        return piece


def _engine(coding: bytes) -> Any:
    if coding == b"gzip":
        return zlib.decompressobj(GZIP_WBITS)
    zstd = _zstd()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _zstd_error() -> type[Exception]:
    found: type[Exception] = _zstd().ZstdError
    return found
