"""Frames: how an iteration travels in one answer. Each is a kind (u8), a length (u32, little-endian) and as many bytes.

DATA is a portion; END says that it was the last one, FAILED (as `failures` writes it) why there are no more. An answer
that stops without one of them was cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lamina.errors import Corrupt

DATA, END, FAILED = range(3)

HEAD = struct.Struct("<BI")
LENGTH = struct.Struct("<I")
"""In front of the JSON of a body with a payload, and of a portion with one."""

LONGEST = 1 << 30
"""Bytes of a frame that a reader takes; writers stay far below."""


def head(kind: int, length: int) -> bytes:
    return HEAD.pack(kind, length)


def heading(json: bytes) -> bytes:
    """JSON in front of a payload, which begins at a multiple of 64: columns need not be moved to be read then."""
    padded = json.ljust(-(-(LENGTH.size + len(json)) // 64) * 64 - LENGTH.size)
    return LENGTH.pack(len(padded)) + padded


def joined(json: bytes, payload: bytes | memoryview = b"") -> bytes:
    """JSON and what belongs to it, as one portion."""
    return b"".join((heading(json), payload))


def split(portion: bytes | bytearray | memoryview) -> tuple[memoryview, memoryview]:
    """What `joined` joined. Raises Corrupt."""
    view = memoryview(portion)
    if len(view) < LENGTH.size:
        raise Corrupt(f"a portion of {len(view)} bytes: expected at least {LENGTH.size}")
    end = LENGTH.size + LENGTH.unpack_from(view)[0]
    if end > len(view):
        raise Corrupt(f"a portion of {len(view)} bytes says that its JSON ends at {end}")
    return view[LENGTH.size : end], view[end:]


def frames(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytearray]]:
    """(kind, bytes) of each frame of an answer that comes in chunks; ends where the chunks do, which may be in the
    middle of a frame. Raises Corrupt for bytes that are no frames."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= HEAD.size:
            kind, length = HEAD.unpack_from(held)
            if kind > FAILED or length > LONGEST:
                raise Corrupt(f"a frame of kind {kind} with {length} bytes: expected 0..{FAILED}, {LONGEST} at most")
            if length > 1 << 16 and len(held) < HEAD.size + length:
                held, body = _large(chunks, held, length)
            elif len(held) < HEAD.size + length:
                break
            else:
                body = held[HEAD.size : HEAD.size + length]
                del held[: HEAD.size + length]
            if body is None:
                return
            yield kind, body


def _large(chunks: Iterator[bytes], held: bytearray, length: int) -> tuple[bytearray, bytearray | None]:
    """A frame whose bytes are put where they stay; what was read beyond it, and its bytes, None if they do not come."""
    body = bytearray(length)
    at = len(held) - HEAD.size
    body[:at] = memoryview(held)[HEAD.size :]
    for chunk in chunks:
        taken = min(len(chunk), length - at)
        body[at : at + taken] = chunk if taken == len(chunk) else memoryview(chunk)[:taken]
        at += taken
        if at == length:
            return bytearray(memoryview(chunk)[taken:]), body
    return bytearray(), None
