"""The envelope of every file under segments/: writer, blocks, and a table of what they belong to (FORMAT.md).

Blocks carry no checksum of their own here: it is kept by whoever holds their address. A segment is enough to
rebuild its part of the catalog: each section's directory says, in the words of its kind, what the catalog
said about it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from lamina.errors import Corrupt, UnknownFormat
from lamina.storage.blobs import Blobs
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer
from lamina.version import __version__

MAGIC = b"LAMSEG\r\n"
"""CR LF: a transfer as text destroys it visibly."""
END_MAGIC = b"LAMEND\r\n"
READ_FORMAT = 1
"""Newest format this code reads, and the one that a reader of its files needs."""
WRITE_FORMAT = 1
"""What a writer must know to take such a file over."""

_HEADER = struct.Struct("<8sHHI8s16sII12xI")  # magic, formats, id, kind, database, epoch, two CRCs
_COUNT = struct.Struct("<II")  # number of entries, 0
_ENTRY = struct.Struct("<Q16sQIIqqQQQQ")
_FOOTER = struct.Struct("<QIIQ8s")  # offset, length and CRC of the section table; total length; magic
assert (_HEADER.size, _ENTRY.size, _FOOTER.size) == (64, 88, 32), "sizes are part of the format"
assert _COUNT.size == 8, "entries start 8-aligned"

_STR = struct.Struct("<I")
_WRITER_LIMIT = 255  # bytes of the writer's name: the head is read at once, whatever a damaged length says
_ALIGNMENT = 8  # blocks hold 8-byte columns
_BUFFER = 1 << 20
"""Bytes gathered before a write: a system call per block would cost more than the copy."""
_NO_UUID = bytes(16)
_PADDING = [bytes(n) for n in range(_ALIGNMENT)]


def segment_name(kind: str, id: int) -> str:
    """The object name. 256 folders a kind keep folders short: a million segments are 4,000 files each."""
    return f"{kind}/{id % 256:02x}/{id:08x}.seg"


class SegmentWriter:
    """One segment being written. Not thread-safe. Errors of the disk are OSError; call abort after any error.

    `kind` is ASCII, at most 8 bytes; `database_id` 16 bytes; 0 < id < 2**32.
    `offset` is where the next block starts, always a multiple of 8.
    """

    __slots__ = ("_blob", "_buffer", "_directories", "_entries", "id", "offset")

    def __init__(self, blobs: Blobs, name: str, *, id: int, kind: str, database_id: bytes, epoch: int) -> None:
        assert len(database_id) == 16, "an id of another length would be padded or cut in silence"
        assert len(kind) <= 8, "a longer kind would be cut in silence"
        writer = f"lamina {__version__}".encode()[:_WRITER_LIMIT]
        text = _STR.pack(len(writer)) + writer
        header = _HEADER.pack(
            MAGIC, READ_FORMAT, WRITE_FORMAT, id, kind.encode("ascii"), database_id, epoch, crc32c(text), 0
        )
        self.id = id
        self._blob = blobs.create(name)
        self._buffer = bytearray(header[:60] + _STR.pack(crc32c(header[:60])) + text)
        self.offset = len(self._buffer)
        self._entries: list[tuple[int | bytes, ...]] = []
        self._directories: list[bytes] = []
        self.align()

    def append(self, block: Buffer) -> tuple[int, int, int]:
        """Add a block, padded behind to a multiple of 8: (offset, length, CRC32C). The bytes are copied."""
        offset = self.offset
        crc = crc32c(block)
        length = block.nbytes if isinstance(block, memoryview) else len(block)
        buffer = self._buffer
        buffer += block
        padding = -length & (_ALIGNMENT - 1)
        if padding:
            buffer += _PADDING[padding]
        self.offset = offset + length + padding
        if len(buffer) >= _BUFFER:
            self._blob.append((buffer,))
            self._buffer = bytearray()
        return offset, length, crc

    def align(self, n: int = _ALIGNMENT) -> None:
        """Let the next block start at a multiple of n, itself a multiple of 8."""
        padding = -self.offset % n
        self._buffer += bytes(padding)
        self.offset += padding

    def section(
        self,
        *,
        object_id: int,
        uuid: bytes,
        first_time: int,
        last_time: int,
        min_seq: int,
        max_seq: int,
        version: int,
        live: int,
        directory: bytes,
    ) -> None:
        """Say what the segment holds of one object.

        `uuid`: 16 bytes, or b"" for none. Times are signed, inclusive, in the unit of the kind; seqs are
        inclusive. `directory` is for the kind.
        """
        assert len(uuid) in (0, 16), "a uuid of another length would be padded or cut in silence"
        self._entries.append(
            (
                object_id,
                uuid or _NO_UUID,
                len(directory),
                crc32c(directory),
                first_time,
                last_time,
                min_seq,
                max_seq,
                version,
                live,
            )
        )
        self._directories.append(bytes(directory))

    def finish(self) -> int:
        """Write the section table; durable under its name when this returns. The total number of bytes."""
        entries, directories = self._entries, self._directories
        packed = []
        for entry, directory in zip(entries, directories, strict=True):
            offset, _, _ = self.append(directory)
            packed.append(_ENTRY.pack(*entry[:2], offset, *entry[2:]))
        table = _COUNT.pack(len(packed), 0) + b"".join(packed)
        offset, length, crc = self.append(table)
        total = self.offset + _FOOTER.size
        self._buffer += _FOOTER.pack(offset, length, crc, total, END_MAGIC)
        self._blob.append((self._buffer,))
        self._buffer = bytearray()
        self._blob.finish()
        return total

    def abort(self) -> None:
        """Leave nothing."""
        self._blob.abort()


class Section(NamedTuple):
    """What a segment holds of one object."""

    read: Callable[[Section], bytes]
    object_id: int
    uuid: bytes  # 16 zeros: none
    offset: int  # of the directory
    length: int
    crc: int
    first_time: int
    last_time: int
    min_seq: int
    max_seq: int
    version: int
    live: int

    @property
    def directory(self) -> bytes:
        """The kind's own bytes, verified. Raises Corrupt: damage of one leaves the others readable."""
        return self.read(self)


class SegmentReader:
    """The envelope of one segment, verified; blocks are read through `Blobs` by their addresses.

    Raises NotFound, UnknownFormat (needs a newer reader), Corrupt. Costs three reads.
    """

    __slots__ = (
        "_blobs",
        "bytes",
        "database_id",
        "epoch",
        "id",
        "kind",
        "name",
        "sections",
        "write_format",
        "writer",
    )

    def __init__(self, blobs: Blobs, name: str) -> None:
        self._blobs = blobs
        self.name = name
        self.bytes = blobs.size(name)
        smallest = _HEADER.size + _STR.size + _COUNT.size + _FOOTER.size
        if self.bytes < smallest:
            raise Corrupt(f"{name}: offset 0: expected at least {smallest} bytes, found {self.bytes}")
        end = self.bytes - _FOOTER.size
        head_length = min(end, _HEADER.size + _STR.size + _WRITER_LIMIT)
        head, foot = blobs.read(name, [(0, head_length), (end, _FOOTER.size)])
        self._read_head(head)
        self.sections = self._read_table(foot, end)

    def _read_head(self, head: bytes) -> None:
        magic, need, write, id, kind, database_id, epoch, writer_crc, crc = _HEADER.unpack_from(head)
        self._expect(0, "magic", MAGIC, magic)
        self._expect(60, "CRC32C of the header", f"{crc:08x}", f"{crc32c(head[:60]):08x}")
        (length,) = _STR.unpack_from(head, _HEADER.size)
        text = head[_HEADER.size : _HEADER.size + _STR.size + length]
        intact = crc32c(text) == writer_crc
        self.writer = text[_STR.size :].decode("utf-8", "replace") if intact else "an unknown writer"
        if need > READ_FORMAT:
            raise UnknownFormat(
                f"{self.name}: offset 8: written by {self.writer!r} in format {need}, this Lamina reads "
                f"up to {READ_FORMAT}: use a newer one"
            )
        if not intact:
            self._expect(44, "CRC32C of the writer's name", f"{writer_crc:08x}", f"{crc32c(text):08x}")
        self.write_format: int = write
        self.id: int = id
        self.kind: str = kind.rstrip(b"\0").decode("ascii", "replace")
        self.database_id: bytes = database_id
        self.epoch: int = epoch

    def _read_table(self, foot: bytes, end: int) -> list[Section]:
        offset, length, crc, total, magic = _FOOTER.unpack(foot)
        self._expect(end + 24, "magic of the footer", END_MAGIC, magic)
        self._expect(end + 16, "total length", total, self.bytes)
        if length < _COUNT.size or offset + length > end:
            raise Corrupt(
                f"{self.name}: offset {end}: expected a section table before the footer, "
                f"found offset {offset}, length {length}"
            )
        (table,) = self._blobs.read(self.name, [(offset, length)])
        self._expect(offset, "CRC32C of the section table", f"{crc:08x}", f"{crc32c(table):08x}")
        count, _ = _COUNT.unpack_from(table)
        self._expect(offset, "number of sections", (length - _COUNT.size) / _ENTRY.size, count)
        entries = _ENTRY.iter_unpack(table[_COUNT.size :])
        return [Section(self._directory, *fields) for fields in entries]

    def _directory(self, section: Section) -> bytes:
        (data,) = self._blobs.read(self.name, [(section.offset, section.length)])
        self._expect(section.offset, "CRC32C of a directory", f"{section.crc:08x}", f"{crc32c(data):08x}")
        return data

    def _expect(self, offset: int, what: str, expected: object, found: object) -> None:
        if expected != found:
            raise Corrupt(f"{self.name}: offset {offset}: {what}: expected {expected}, found {found}")
