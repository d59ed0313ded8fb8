"""One file of the log as bytes: header, frames, ops (LOGFORMAT.md). No I/O here.

A frame is trusted only at its own position in its own file: both its CRCs start from the file's random salt
and the frame's log position. So bytes inside a stored payload that look like a frame, by accident or
forged, never count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt, UnknownFormat
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer
from lamina.storage.log import OP_HEADER, Op

FILE_MAGIC = b"LAMLOG\r\n"  # the line end shows a transfer in text mode
FRAME_MAGIC = b"LAMf"
READER, WRITER = 1, 1  # format a reader needs, format a writer needs

HEADER_BYTES = 64  # of a file
FRAME_HEADER = 40
FRAME_OVERHEAD = 48  # header, CRC and padding behind the body
OP_BYTES = OP_HEADER.itemsize  # 16

MAX_BODY = 64 << 20  # cap on what a length field may make a reader allocate
MAX_OP = 48 << 20  # leaves room for other ops of its submission

LONG_PART = 16 << 10
"""Parts of a body from here on are not copied into a frame: copying costs more than a call for the CRC of each."""

OPS = 1  # a commit group: `count` ops
MARK = 2  # carries durable_seq while idle; no ops
LOST = 3  # `count` acknowledged seqs that recovery could not read
CUT = 4  # `count` seqs that were never acknowledged and must not be given again

_FILE = Struct("<8sHHIQQ16s8sI")  # bytes 0..60 of a file
_U32 = Struct("<I")
_U64 = Struct("<Q")
_HEAD = Struct("<4sBBHI")  # bytes 0..12 of a frame, bytes 12..16 are their CRC
_CHECKED_HEAD = Struct("<4sBBHII")
_REST = Struct("<QQII")  # bytes 16..40
_TAIL = Struct("<II")
_OP = Struct("<IBBHQ")
_MAGIC = np.uint32(int.from_bytes(FRAME_MAGIC, "little"))
_COPIED = 4096  # bytes of a part that is worth no array
_LOOKED_AT = 8192  # words in which a magic is looked for at a time
_PADDING = [bytes(n) for n in range(8)]
_FIELDS = np.dtype([*((name, OP_HEADER[name]) for name in OP_HEADER.names or ()), ("offset", "<u8")])


class FileHeader(NamedTuple):
    epoch: int
    base: int  # log position of byte 0
    first_seq: int  # of the first frame
    database_id: bytes
    salt: bytes

    def encode(self) -> bytes:
        content = _FILE.pack(
            FILE_MAGIC, READER, WRITER, self.epoch, self.base, self.first_seq, self.database_id, self.salt, 0
        )
        return content + _U32.pack(crc32c(content))


def decode_header(data: bytes, path: str) -> FileHeader:
    """The header in the first 64 bytes. Raises Corrupt, UnknownFormat; `path` is for the message."""
    if len(data) < HEADER_BYTES:
        raise Corrupt(f"{path}: expected a header of {HEADER_BYTES} bytes, found {len(data)} bytes")
    magic, reader, writer, epoch, base, first_seq, database_id, salt, _ = _FILE.unpack_from(data)
    (stored,) = _U32.unpack_from(data, _FILE.size)
    found = crc32c(data[: _FILE.size])
    if found != stored:
        raise Corrupt(f"{path}: header at offset 0: expected CRC {stored:08x}, found {found:08x}")
    if magic != FILE_MAGIC:
        raise Corrupt(f"{path}: expected magic {FILE_MAGIC!r} at offset 0, found {magic!r}")
    if reader > READER or writer > WRITER:
        raise UnknownFormat(
            f"{path}: needs a reader of format {reader} and a writer of format {writer}; "
            f"this is reader {READER} and writer {WRITER}"
        )
    return FileHeader(epoch, base, first_seq, database_id, salt)


def surviving_salt(data: bytes | memoryview, database_id: bytes) -> bytes | None:
    """The salt out of a damaged header, if the database id beside it is unharmed; else None.

    A wrong salt does no harm: no frame verifies with it. The id must match so that a zeroed or foreign
    header does not make a salt that somebody could have known.
    """
    if len(data) < HEADER_BYTES:
        return None
    _, _, _, _, _, _, stored_id, salt, _ = _FILE.unpack_from(data)
    return salt if stored_id == database_id and any(salt) else None


class Frame(NamedTuple):
    """A valid frame. `seqs` is how many it covers: ops, or lost or cut ones; 0 in a mark."""

    offset: int  # in the file
    type: int
    length: int  # of the body
    first_seq: int
    durable_seq: int
    epoch: int
    seqs: int

    @property
    def end(self) -> int:
        return self.offset + FRAME_OVERHEAD + self.length

    @property
    def next_seq(self) -> int:
        return self.first_seq + self.seqs


class Framing:
    """Frames of one file: knows its salt and base."""

    __slots__ = ("_base", "_seed")

    def __init__(self, salt: bytes, base: int) -> None:
        self._seed = crc32c(salt)
        self._base = base

    def encode(
        self,
        offset: int,
        type: int,
        first_seq: int,
        durable_seq: int,
        epoch: int,
        count: int,
        body: Sequence[Buffer] = (),
    ) -> list[Buffer]:
        """The frame at a file offset as buffers to write one behind the other. `body` is a multiple of 8
        long; what is short of it is joined, so that there are few calls."""
        rest = _joined([_REST.pack(first_seq, durable_seq, epoch, count), *body])
        head = _HEAD.pack(FRAME_MAGIC, 1, type, 0, sum(map(len, rest)) - _REST.size)
        seed = crc32c(_U64.pack(self._base + offset), self._seed)
        crc = seed
        for part in rest:
            crc = crc32c(part, crc)
        return [head + _U32.pack(crc32c(head, seed)), *rest, _TAIL.pack(crc, 0)]

    def check(self, data: bytes | memoryview, offset: int) -> Frame | None:
        """The frame at a file offset of `data` (the whole file), or None. The length is used only once the
        CRC of the header has been verified. Raises UnknownFormat for a valid header of a later version."""
        if offset + FRAME_OVERHEAD > len(data):
            return None
        magic, version, type, flags, length, head_crc = _CHECKED_HEAD.unpack_from(data, offset)
        if magic != FRAME_MAGIC:
            return None
        seed = crc32c(_U64.pack(self._base + offset), self._seed)
        if _sum(data[offset : offset + 12], seed) != head_crc:
            return None
        end = offset + FRAME_HEADER + length
        if length > MAX_BODY or end + _TAIL.size > len(data):
            return None
        if _sum(data[offset + 16 : end], seed) != _U32.unpack_from(data, end)[0]:
            return None
        if version != 1 or not OPS <= type <= CUT or flags:
            raise UnknownFormat(
                f"log position {self._base + offset}: frame of version {version}, type {type}, flags {flags};"
                f" known are version 1, types {OPS} to {CUT}, flags 0"
            )
        return Frame._make((offset, type, length, *_REST.unpack_from(data, offset + 16)))

    def walk(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Every valid frame of a whole file in order, also behind bytes that are none.

        1-2 us a frame. Behind damage every aligned magic is tried.
        """
        view = memoryview(data)  # its parts are no copies
        offset = HEADER_BYTES
        while True:
            frame = self.check(view, offset)
            if frame is None:
                offset = _next_magic(view, offset + 8)
                if offset < 0:
                    return
                continue
            yield frame
            offset += FRAME_OVERHEAD + frame.length


def _sum(part: bytes | memoryview, seed: int) -> int:
    """Its CRC32C. A short part is copied sooner than it is made an array of."""
    return crc32c(part if len(part) >= _COPIED else bytes(part), seed)


def _next_magic(data: memoryview, offset: int) -> int:
    """Where the next frame may begin, at an offset (a multiple of 8) or behind it; -1: nowhere."""
    words = np.frombuffer(data, "<u8", len(data) // 8)
    for at in range(offset // 8, len(words), _LOOKED_AT):
        low = words[at : at + _LOOKED_AT].astype(np.uint32)  # the assignment wraps
        found = np.flatnonzero(low == _MAGIC)
        if len(found):
            return 8 * (at + int(found[0]))
    return -1


def _joined(parts: Sequence[Buffer]) -> list[bytes]:
    """The same bytes in fewer pieces: long ones stay what they are."""
    found: list[bytes] = []
    start = 0
    for at, part in enumerate(parts):
        if type(part) is bytes and len(part) >= LONG_PART:
            if at > start:
                found.append(b"".join(parts[start:at]))
            found.append(part)
            start = at + 1
    if start < len(parts):
        found.append(b"".join(parts[start:]))
    return found


def op_length(op: Op) -> int:
    """Bytes the op takes in a frame: header, body, padding."""
    length = OP_BYTES
    for part in op.parts:
        length += len(part) if type(part) is bytes else memoryview(part).nbytes
    return length + (-length & 7)


def encode_ops(ops: Sequence[Op], position: int) -> list[Buffer]:
    """The body of an OPS frame that starts at a log position; sets the position of each op."""
    body: list[Buffer] = []
    for op in ops:
        size = OP_BYTES
        for part in op.parts:
            size += len(part) if type(part) is bytes else memoryview(part).nbytes
        padding = -size & 7
        body.append(_OP.pack(size + padding, op.kind, op.type, op.flags, op.object_id))
        body += op.parts
        if padding:
            body.append(_PADDING[padding])
        op.position = position + OP_BYTES
        position += size + padding
    return body


def decode_ops(data: bytes | memoryview, frames: Sequence[Frame]) -> NDArray[np.void]:
    """The ops of OPS frames of a file: OP_HEADER fields plus `offset` u8, where the body starts in `data`.

    Frames whose ops are all of one length are read by stride, the others op by op (0.3 us each); the
    lengths found are verified either way. Raises Corrupt where they do not add up to the frame.
    """
    starts, short = _strided_ops(data, frames)
    for slot, frame in short:
        starts[slot : slot + frame.seqs] = list(walk_ops(data, frame))
    words = np.frombuffer(data, "<u8", len(data) // 8)
    index = starts >> 3
    head = words[index]
    ops = np.empty(len(starts), _FIELDS)
    ops["length"] = head  # its low half; the assignment wraps
    ops["kind"] = head >> np.uint64(32)
    ops["type"] = head >> np.uint64(40)
    ops["flags"] = head >> np.uint64(48)
    ops["object"] = words[index + 1]
    ops["offset"] = starts + OP_BYTES
    return ops


def walk_ops(data: bytes | memoryview, frame: Frame) -> Iterator[int]:
    """Where each op of a frame starts in `data`, one by one."""
    offset = frame.offset + FRAME_HEADER
    end = offset + frame.length
    for _ in range(frame.seqs):
        length = _U32.unpack_from(data, offset)[0] if offset < end else 0
        if length < OP_BYTES or length & 7 or offset + length > end:
            raise Corrupt(f"op at file offset {offset}: length {length} does not fit its frame ({end - offset})")
        yield offset
        offset += length
    if offset != end:
        raise Corrupt(f"frame at file offset {frame.offset}: {end - offset} bytes behind its {frame.seqs} ops")


def _strided_ops(
    data: bytes | memoryview, frames: Sequence[Frame]
) -> tuple[NDArray[np.int64], list[tuple[int, Frame]]]:
    """Starts of all ops, filled where the ops of a frame have one length, and (slot, frame) of the others."""
    table = np.array([(f.offset, f.length, f.seqs) for f in frames], np.int64).reshape(-1, 3)
    body, length, count = table[:, 0] + FRAME_HEADER, table[:, 1], table[:, 2]
    slots = np.cumsum(count) - count
    lengths = np.frombuffer(data, "<u4", len(data) // 4)
    stride = lengths[body >> 2].astype(np.int64)
    uniform = (stride >= OP_BYTES) & (stride & 7 == 0) & (stride * count == length)
    # The stride of a frame that does not fit is replaced by one that stays inside it; its ops are walked
    # later.
    stride = np.where(uniform, stride, 0)
    within = np.arange(int(count.sum())) - np.repeat(slots, count)
    strides = np.repeat(stride, count)
    starts = np.repeat(body, count) + within * strides
    wrong = lengths[starts >> 2] != strides
    if wrong.any():
        uniform[np.repeat(np.arange(len(frames)), count)[wrong]] = False
    return starts, [(int(slots[i]), frames[i]) for i in np.flatnonzero(~uniform).tolist()]
