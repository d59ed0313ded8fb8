"""How the content of a record is protected: one CRC32C up to 64 KiB, above that an array of them, one per 64 KiB.

The array stands directly behind the stored bytes, little-endian u32 each; its own CRC32C is kept where the content is
referred to. So a range of a long content is verified by reading the array and the chunks it touches.
"""

from __future__ import annotations

import struct

from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer

CHUNK = 65_536
"""Bytes of content under one CRC: a range read verifies so much more than it gives, and the array takes 0.006 %."""


def array_bytes(size: int) -> int:
    """Length of the array behind a content of `size` bytes; 0 up to CHUNK."""
    return 4 * -(-size // CHUNK) if size > CHUNK else 0


def flat(content: Buffer) -> memoryview:
    """The same contiguous bytes, counted one by one whatever their buffer counts in."""
    view = memoryview(content)
    return view if view.itemsize == 1 and view.ndim == 1 else view.cast("B")


class RunningChecksum:
    """Checksum of a content of a known size while its bytes pass. Not thread-safe. Costs 40 us per MiB."""

    __slots__ = ("_crc", "_filled", "_sums", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._sums: list[int] = []  # of the whole chunks that passed
        self._crc = 0  # of what passed of the next one
        self._filled = 0

    def add(self, piece: memoryview) -> None:
        """The next bytes, as `flat` gives them; in all no more than the size."""
        if self.size <= CHUNK:
            self._crc = crc32c(piece, self._crc)
            return
        at, end = 0, len(piece)
        crc, filled = self._crc, self._filled
        while at < end:
            stop = min(at + CHUNK - filled, end)
            crc = crc32c(piece[at:stop], crc)
            filled += stop - at
            at = stop
            if filled == CHUNK:
                self._sums.append(crc)
                crc = filled = 0
        self._crc, self._filled = crc, filled

    def finish(self) -> tuple[int, bytes]:
        """(what to keep where the content is referred to, the array or b""); all bytes have passed. Once."""
        if self.size <= CHUNK:
            return self._crc, b""
        sums = self._sums
        if self._filled:
            sums.append(self._crc)
        array = struct.pack(f"<{len(sums)}I", *sums)
        assert len(array) == array_bytes(self.size), "finished before all bytes passed"
        return crc32c(array), array
