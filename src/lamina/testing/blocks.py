"""Blocks kept in memory, for tests of what stands on them: written and read like segments, verified like them."""

from __future__ import annotations

import numpy as np

from lamina.errors import Corrupt
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer
from lamina.streams.node import NO_ROWS, ROW, Addresses, Rows


class MemorySegment:
    """What the tree asks of a SegmentWriter. Its blocks can be read once `finish` was called."""

    def __init__(self, blocks: MemoryBlocks, id: int) -> None:
        self.id = id
        self.offset = 64  # as behind a segment's header
        self._blocks = blocks
        self._written: dict[int, bytes] = {}

    def append(self, block: Buffer) -> tuple[int, int, int]:
        data, at = bytes(block), self.offset
        self._written[at] = data
        self.offset += len(data)
        return at, len(data), crc32c(data)

    def align(self, n: int = 8) -> None:
        self.offset += -self.offset % n

    def finish(self) -> int:
        self._blocks.segments[self.id] = self._written
        return self.offset


class MemoryBlocks:
    """What the tree asks of a BlockReader. `segments`: id -> offset -> block; `nodes_read`, `blocks_read` count."""

    def __init__(self) -> None:
        self.segments: dict[int, dict[int, bytes]] = {}
        self.nodes_read = 0
        self.blocks_read = 0
        self._next = 1

    def segment(self) -> MemorySegment:
        self._next += 1
        return MemorySegment(self, self._next - 1)

    def blocks(self, addresses: Addresses) -> list[bytes]:
        found = [self._get(*address) for address in addresses.tolist()]
        self.blocks_read += len(found)
        return found

    def nodes(self, addresses: Addresses) -> Rows:
        self.nodes_read += len(addresses)
        parts = [self._get(*address) for address in addresses.tolist()]
        return np.frombuffer(b"".join(parts), ROW) if parts else NO_ROWS

    def block(self, segment: int, offset: int, length: int, crc: int) -> bytes:
        return self._get(segment, length, offset, crc)

    def _get(self, segment: int, length: int, offset: int, crc: int) -> bytes:
        if not length:
            return b""
        block = self.segments[segment][offset]
        if len(block) != length or crc32c(block) != crc:
            raise Corrupt(f"segment {segment}, offset {offset}: expected {length} bytes, crc {crc:08x}")
        return block
