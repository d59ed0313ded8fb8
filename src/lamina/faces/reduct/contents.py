"""Contents on their way out: read and verified on threads, and sent from there where the connection allows it.

What goes past the loop is read into a buffer that is used again and again: a new page for every 4 KiB of a body would
cost as much as reading it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lamina.engine.records.record import SMALL, Record, read_contents
from lamina.faces.reduct.call import Parts

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call

PART_BYTES = 1 << 20
"""Read and sent at a time: 8 connections hold 8 MiB, 16 where the loop sends them."""

FIRST_BYTES = 64 << 10
"""Of contents above 64 KiB: sent first by a thread, so that the client has something to read while the next part is.
What is wrong with a record behind it can be told by breaking the answer off only, as behind any part."""

LONG_BYTES = 256 << 10
"""More than this is sent by a thread where that is possible: it is still in the cache when it is sent."""

BUFFER_BYTES = PART_BYTES + 4096
"""Room for the checksums behind a content, too."""

JOIN_BYTES = 16_384
"""Shorter contents that the loop sends are joined: a send costs as much as copying this."""

_buffers: deque[memoryview] = deque(maxlen=16)
"""Buffers that nobody refers to. Of a body that was broken off the buffer does not come back: something may still be
on its way out of it."""


class Contents(NamedTuple):
    """The first parts of a body, and what reads the rest; None: there is no rest."""

    first: Parts
    rest: Iterator[Parts] | None


NOTHING = Contents((), None)


def is_long(size: int, direct: bool) -> bool:
    """Whether so much is read when it is sent, not before. `direct`: threads may send it themselves."""
    return direct and size > LONG_BYTES


def read(records: Sequence[Record], direct: bool) -> Contents:
    """The contents of records, one after the other; what is short is read at once. Blocks, unless they are long.
    Raises Corrupt, NotFound."""
    total = sum(record.size for record in records)
    if not total:
        return NOTHING
    if is_long(total, direct):
        return Contents((), _reusing(records))
    parts = _parts(records, None)
    first = next(parts)
    return Contents(first, None if sum(map(len, first)) == total else parts)


def read_range(record: Record, start: int, stop: int, direct: bool) -> Contents:
    """Bytes [start, stop) of a content. As `read`."""
    if is_long(stop - start, direct):
        return Contents((), _reusing_range(record, start, stop))
    parts = ((chunk,) for chunk in record.chunks(start, stop))
    return Contents(next(parts), parts)


def _reusing(records: Sequence[Record]) -> Iterator[Parts]:
    buffer = _take_buffer()
    yield from _parts(records, buffer)
    _buffers.append(buffer)


def _reusing_range(record: Record, start: int, stop: int) -> Iterator[Parts]:
    buffer = _take_buffer()
    for chunk in record.chunks(start, stop, buffer):
        yield (chunk,)
    _buffers.append(buffer)


def _take_buffer() -> memoryview:
    try:
        return _buffers.pop()
    except IndexError:
        return memoryview(bytearray(BUFFER_BYTES))


def _parts(records: Sequence[Record], buffer: memoryview | None) -> Iterator[Parts]:
    """Lists of parts, about PART_BYTES together. With a buffer they may lie in it and be overwritten by the next."""
    gathered: list[bytes | memoryview] = []
    size = used = 0
    at = 0
    limit = PART_BYTES if buffer is None else FIRST_BYTES
    while at < len(records):
        record = records[at]
        if record.size > SMALL:
            if buffer is not None and gathered and used + record.room > len(buffer):
                yield gathered
                gathered, size, used = [], 0, 0
            for chunk in record.chunks(into=None if buffer is None else buffer[used:]):
                gathered.append(chunk)
                size += len(chunk)
                used += record.room
                if size >= limit or (buffer is not None and record.room > len(buffer)):
                    yield gathered
                    gathered, size, used = [], 0, 0
                    limit = PART_BYTES
            at += 1
            continue
        run = at
        while at < len(records) and records[at].size <= SMALL and size < PART_BYTES:
            size += records[at].size
            at += 1
        found = read_contents(records[run:at])
        gathered += found if buffer is not None else _joined(found)
        if size >= PART_BYTES:
            yield gathered
            gathered, size, used = [], 0, 0
    if gathered:
        yield gathered


def _joined(contents: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same bytes without short parts."""
    short: list[bytes | memoryview] = []
    size = 0
    for content in contents:
        if len(content) < JOIN_BYTES:
            short.append(content)
            size += len(content)
            if size < PART_BYTES:
                continue
            content = b""
        if short:
            yield b"".join(short)
            short, size = [], 0
        if content:
            yield content
    if short:
        yield b"".join(short)


async def send(call: Call, contents: Contents) -> None:
    """Send a whole body behind a head that was sent. Raises what reading raises: the answer can only be broken off."""
    parts, rest = contents
    if rest is not None and not parts:
        await _send_directly(call, rest)
        return
    while rest is not None:
        reading = call.run(next, rest, ())
        try:
            for part in parts:
                await call.part(part)
        except BaseException:
            with contextlib.suppress(Exception):
                await reading  # the connection's failure is told
            raise
        parts = await reading
        if not parts:
            rest = None
    for part in parts[:-1]:
        await call.part(part)
    await call.end(parts[-1] if parts else b"")


async def _send_directly(call: Call, parts: Iterator[Parts]) -> None:
    direct = call.direct
    assert direct is not None, "asked before contents were left unread"
    try:
        await direct.send(call.run, parts)
    except Exception:
        call.started = direct.begun()  # what is wrong with the first part can still be said
        raise
