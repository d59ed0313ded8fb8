"""Bytes of an index section: kept where they are described if they are few, else in a block of the segment.

A description is read front to back with a Cursor; nothing in it is believed before it was compared with what is
there, so that damage costs an error and never memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.codecs import zstd
from lamina.errors import Corrupt, UnknownFormat
from lamina.storage.crc import crc32c

if TYPE_CHECKING:
    from lamina.storage.blobs import Blobs
    from lamina.storage.segment import SegmentWriter

INLINE, PLAIN, ZSTD = 0, 1, 2

_INLINE = struct.Struct("<BH")
_PLAIN = struct.Struct("<BQII")
_ZSTD = struct.Struct("<BIQII")
_LENGTH = struct.Struct("<I")
_REST_PLAIN = struct.Struct("<QII")
_REST_ZSTD = struct.Struct("<IQII")
_REST_INLINE = struct.Struct("<H")

FEW = 48
"""Bytes that stay in the description: an address takes 16, a read of its own more time than 48 bytes ever will."""
_ZSTD_FROM = 1024
"""Bytes below which what zstd saves is lost in alignment and addresses."""
_TEXT_LIMIT = 1 << 20
"""Bytes of a text inside a description: a label name has at most 64 KiB."""


class Stored(NamedTuple):
    """Where some bytes are."""

    size: int  # uncompressed
    inline: bytes | None  # None: in a block
    offset: int
    length: int
    crc: int
    compressed: bool


def store(out: SegmentWriter, data: bytes, *, few: int = FEW, compress: bool = True) -> bytes:
    """Put bytes away and return their description. Compressed where that saves at least a third: less is not worth the
    time of every later read (numbers of 10 bits in 16: a quarter, for twice the time of the column)."""
    if len(data) <= few:
        return _INLINE.pack(INLINE, len(data)) + data
    if compress and len(data) >= _ZSTD_FROM:
        small = zstd.encode(data)
        if 3 * len(small) <= 2 * len(data):
            return _ZSTD.pack(ZSTD, len(data), *out.append(small))
    return _PLAIN.pack(PLAIN, *out.append(data))


class Cursor:
    """Reads a description. `what` says in errors whose. Raises Corrupt where it ends early."""

    __slots__ = ("_at", "_data", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self.what = what

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        at = self._at
        self._at = at + layout.size
        if self._at > len(self._data):
            self._ends(at, layout.size)
        return layout.unpack_from(self._data, at)

    def take(self, length: int) -> bytes:
        at = self._at
        self._at = at + length
        if self._at > len(self._data):
            self._ends(at, length)
        return self._data[at : self._at]

    def byte(self) -> int:
        at = self._at
        self._at = at + 1
        if at >= len(self._data):
            self._ends(at, 1)
        return self._data[at]

    def number(self) -> int:
        """A u32."""
        (number,) = self.unpack(_LENGTH)
        return int(number)

    def text(self) -> str:
        length = self.number()
        if length > _TEXT_LIMIT:
            raise self.corrupt(f"a text of at most {_TEXT_LIMIT} bytes", length)
        data = self.take(length)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self.corrupt("UTF-8", error) from None

    def stored(self) -> Stored:
        tag = self.byte()
        if tag == INLINE:
            (size,) = self.unpack(_REST_INLINE)
            return Stored(size, self.take(size), 0, 0, 0, False)
        if tag == PLAIN:
            offset, length, crc = self.unpack(_REST_PLAIN)
            return Stored(length, None, offset, length, crc, False)
        if tag == ZSTD:
            size, offset, length, crc = self.unpack(_REST_ZSTD)
            return Stored(size, None, offset, length, crc, True)
        raise UnknownFormat(
            f"{self.what}: byte {self._at - 1}: bytes stored in way {tag}: this version reads 0..{ZSTD}"
        )

    def end(self) -> None:
        if self._at != len(self._data):
            raise self.corrupt("the end", f"{len(self._data) - self._at} bytes more")

    def corrupt(self, expected: object, found: object) -> Corrupt:
        return Corrupt(f"{self.what}: byte {self._at}: expected {expected}, found {found}")

    def _ends(self, at: int, length: int) -> None:
        raise Corrupt(f"{self.what}: byte {at}: expected {length} bytes, found {len(self._data) - at}")


def write_text(text: str) -> bytes:
    """What Cursor.text reads."""
    data = text.encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(data)) + data


def write_number(number: int) -> bytes:
    """What Cursor.number reads."""
    return _LENGTH.pack(number)


def fetch(blobs: Blobs, name: str, wanted: Sequence[Stored]) -> list[bytes]:
    """The bytes, verified and uncompressed, by one batch of reads. Raises Corrupt (object, offset), NotFound."""
    ranges = [(stored.offset, stored.length) for stored in wanted if stored.inline is None]
    blocks = iter(blobs.read(name, ranges)) if ranges else iter(())
    return [_open(name, stored, next(blocks)) if stored.inline is None else stored.inline for stored in wanted]


def _open(name: str, stored: Stored, block: bytes) -> bytes:
    found = crc32c(block)
    if found != stored.crc:
        raise Corrupt(f"{name}: offset {stored.offset}: CRC32C: expected {stored.crc:08x}, found {found:08x}")
    if not stored.compressed:
        return block
    try:
        return zstd.decode(block, stored.size)
    except Corrupt as error:
        raise Corrupt(f"{name}: offset {stored.offset}: {error}") from None
