"""Contents of records, verified as they are read (storage/checksums.py says how they are protected).

Nothing is given out before its checksum was compared: a damaged content ends in Corrupt, which names file and offset.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from lamina.errors import Corrupt, InvalidArgument, UnknownFormat
from lamina.records.row import RAW, ZSTD
from lamina.storage.checksums import CHUNK, RunningChecksum, array_bytes, flat
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer
from lamina.storage.payloadfile import payload_path

__all__ = ["CHUNK", "Read", "array_bytes", "checksum", "chunks", "verify"]

Read: TypeAlias = Callable[[int, int, int], bytes]
"""(file, where, length) -> stored bytes, of a payload file or, where file is 0, of the log. Raises NotFound,
Corrupt."""

ReadInto: TypeAlias = Callable[[int, int, memoryview], None]
"""(file, where, buffer): the same bytes into a buffer that they fill."""

PART = 1 << 20
"""Bytes given out, and held, at a time."""

_INPUT = 262_144  # compressed bytes read at a time


def checksum(content: Buffer) -> int:
    """What the row keeps as `crc`: of a content up to CHUNK its CRC32C, of a longer one that of its checksum array.

    Costs 0.3 us, and 40 us per MiB.
    """
    if len(content) <= CHUNK and not isinstance(content, memoryview):
        return crc32c(content)
    view = flat(content)
    running = RunningChecksum(len(view))
    running.add(view)
    return running.finish()[0]


def verify(content: Buffer, crc: int, file: int, where: int) -> None:
    """Compare a whole uncompressed content with its row's `crc`. `file` and `where` are for the message of Corrupt."""
    found = checksum(content)
    if found != crc:
        raise _damaged(file, where, "checksum", crc, found)


def chunks(
    read: Read,
    file: int,
    where: int,
    size: int,
    stored: int,
    crc: int,
    codec: int,
    start: int = 0,
    stop: int | None = None,
    part: int = PART,
    into: tuple[ReadInto, memoryview] | None = None,
) -> Iterator[memoryview]:
    """Bytes [start, stop) of a content in verified pieces of at most `part` bytes (rounded down to whole CHUNKs).

    `file` to `codec` are the fields of its row; `stop` None is the end. Of an uncompressed content only the chunks in
    the range are read; of a compressed one everything up to its end, in bounded memory. `into`: pieces of a long
    uncompressed content are read into that buffer, which takes a CHUNK at least; such a piece is overwritten when the
    next is asked for. Raises InvalidArgument (a
    range outside of the content), Corrupt, UnknownFormat (codec), and what `read` raises.
    """
    end = size if stop is None else stop
    if not 0 <= start <= end <= size:
        raise InvalidArgument(f"bytes [{start}, {end}) of a content of {size} bytes")
    if codec not in (RAW, ZSTD):
        raise UnknownFormat(f"{_name(file)}: offset {where}: codec {codec}: this Lamina reads {RAW} and {ZSTD}")
    content = _Content(read, file, where, size, stored, crc, into)
    if start == end:
        return iter(())
    step = max((part if into is None else min(part, len(into[1]))) // CHUNK, 1) * CHUNK
    return (content.raw if codec == RAW else content.inflated)(start, end, step)


class _Content:
    __slots__ = ("_array", "_into", "crc", "file", "read", "size", "stored", "where")

    def __init__(
        self,
        read: Read,
        file: int,
        where: int,
        size: int,
        stored: int,
        crc: int,
        into: tuple[ReadInto, memoryview] | None,
    ) -> None:
        self.read = read
        self._into = into
        self.file = file
        self.where = where
        self.size = size
        self.stored = stored
        self.crc = crc
        self._array: list[int] = []

    def raw(self, start: int, end: int, step: int) -> Iterator[memoryview]:
        assert self.stored == self.size, "what is stored as it is takes as many bytes as it has"
        if self.size <= CHUNK:
            data = self.read(self.file, self.where, self.size)
            verify(data, self.crc, self.file, self.where)
            yield memoryview(data)[start:end]
            return
        at = start - start % CHUNK
        whole = self.size + array_bytes(self.size)
        fits = self.size <= step if self._into is None else whole <= len(self._into[1])
        if at == 0 and end == self.size and fits:  # one read instead of two
            both = self._fetch(self.where, whole)
            self._take_array(both[self.size :])
            data_view = both[: self.size]
            self._check(data_view, 0)
            yield data_view[start:]
            return
        self._take_array(self.read(self.file, self.where + self.size, array_bytes(self.size)))
        while at < end:
            until = min(at + step, -(-end // CHUNK) * CHUNK, self.size)
            view = self._fetch(self.where + at, until - at)
            self._check(view, at)
            yield view[max(start - at, 0) : min(end, until) - at]
            at = until

    def _fetch(self, where: int, length: int) -> memoryview:
        if self._into is None:
            return memoryview(self.read(self.file, where, length))
        read_into, buffer = self._into
        view = buffer[:length]
        read_into(self.file, where, view)
        return view

    def _take_array(self, array: Buffer) -> None:
        found = crc32c(array)
        if found != self.crc:
            raise self._corrupt(self.where + self.stored, "CRC32C of the checksum array", self.crc, found)
        self._array = np.frombuffer(array, "<u4").tolist()

    def _check(self, view: memoryview, at: int) -> None:
        """Whole chunks from byte `at` of the content."""
        array = self._array
        first = at // CHUNK
        for offset in range(0, len(view), CHUNK):
            found = crc32c(view[offset : offset + CHUNK])
            expected = array[first + offset // CHUNK]
            if found != expected:
                raise self._corrupt(self.where + at + offset, f"CRC32C of byte {at + offset} on", expected, found)

    def inflated(self, start: int, end: int, step: int) -> Iterator[memoryview]:
        """The checksums are of the content, not of what is stored: a wrong inflation shows too."""
        if self.size > CHUNK:
            self._take_array(self.read(self.file, self.where + self.stored, array_bytes(self.size)))
        else:
            self._array = [self.crc]
        at = 0
        for piece in self._inflate(step):
            view = memoryview(piece)
            self._check(view, at)
            if at + len(view) > start:
                yield view[max(start - at, 0) : end - at]
            at += len(view)
            if at >= end and end < self.size:
                return  # the end was not asked for: whether it is right is not ours to say

    def _inflate(self, step: int) -> Iterator[bytearray]:
        """The content in pieces of `step` bytes and a shorter last one. Raises Corrupt where it is longer or shorter
        than the row says; nothing beyond is inflated."""
        library = _zstd()
        stream: Any = library.ZstdDecompressor()
        taken = given = 0
        piece = bytearray()
        while not stream.eof:
            data = b""
            if stream.needs_input:
                if taken == self.stored:
                    raise self._corrupt_frame("it is cut off")
                data = self.read(self.file, self.where + taken, min(_INPUT, self.stored - taken))
                taken += len(data)
            try:
                # One byte more than is left, so that a frame that goes on is seen.
                piece += stream.decompress(data, min(step, self.size - given + 1) - len(piece))
            except library.ZstdError as error:
                raise self._corrupt_frame(str(error)) from None
            if given + len(piece) > self.size:
                raise self._corrupt_frame(f"more than {self.size} bytes inside")
            if len(piece) == step:
                given += step
                yield piece
                piece = bytearray()
        if given + len(piece) != self.size or taken != self.stored or stream.unused_data:
            raise self._corrupt_frame(f"expected {self.size} bytes inside, found {given + len(piece)}, or bytes behind")
        if piece:
            yield piece

    def _corrupt(self, offset: int, what: str, expected: int, found: int) -> Corrupt:
        return _damaged(self.file, offset, what, expected, found)

    def _corrupt_frame(self, what: str) -> Corrupt:
        return Corrupt(f"{_name(self.file)}: offset {self.where}: zstd frame of {self.stored} bytes: {what}")


def _damaged(file: int, offset: int, what: str, expected: int, found: int) -> Corrupt:
    return Corrupt(f"{_name(file)}: offset {offset}: {what}: expected {expected:08x}, found {found:08x}")


def _name(file: int) -> str:
    return payload_path(file) if file else "log"


def _zstd() -> ModuleType:
    """Imported when first used: it takes 10 ms, and most contents are not compressed."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    module: ModuleType = zstd
    return module
