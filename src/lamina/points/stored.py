"""Bytes of a section that are no numbers: a block, compressed where that is worth it (FORMAT.md, Stored bytes)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from lamina.codecs import zstd
from lamina.errors import Corrupt, UnknownFormat
from lamina.points.packedtables import TableReader
from lamina.points.pagedread import Place, Source
from lamina.points.pagedwrite import PLACE

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

PLAIN, ZSTD = 0, 1

_HEAD = struct.Struct("<BI")  # way, bytes inside
_ZSTD_FROM = 256
"""Bytes below which zstd saves less than its own time."""


def store(out: SegmentWriter, data: bytes) -> bytes:
    """Put bytes away and return their description. Nothing is written of no bytes."""
    if not data:
        return _HEAD.pack(PLAIN, 0)
    small = zstd.encode(data) if len(data) >= _ZSTD_FROM else data
    way = ZSTD if len(small) < len(data) else PLAIN
    return _HEAD.pack(way, len(data)) + PLACE.pack(*out.append(small if way == ZSTD else data))


class Stored(NamedTuple):
    """What a description says."""

    way: int
    size: int
    place: Place | None

    def read(self, source: Source) -> bytes:
        """Raises Corrupt, NotFound."""
        if self.place is None:
            return b""
        block = source.block(self.place)
        try:
            data = zstd.decode(block, self.size) if self.way == ZSTD else block
        except Corrupt as error:
            raise Corrupt(f"segment {source.segment}: offset {self.place.offset}: {error}") from None
        if len(data) != self.size:
            raise Corrupt(
                f"segment {source.segment}: offset {self.place.offset}: expected {self.size} bytes, found {len(data)}"
            )
        return data


def read_stored(reader: TableReader) -> Stored:
    """The description at the reader."""
    way, size = reader.unpack(_HEAD)
    if way > ZSTD:
        raise UnknownFormat(f"{reader.what}: byte {reader.at}: bytes stored in way {way}: this version reads 0..{ZSTD}")
    return Stored(way, size, Place(*reader.unpack(PLACE)) if size else None)
