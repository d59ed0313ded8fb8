"""Contents on their way out: read on a thread, verified, sent in parts of about 1 MiB while the next are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lamina.engine.records.record import SMALL, Record, read_contents

if TYPE_CHECKING:
    from lamina.faces.reduct.call import Call

PART_BYTES = 1 << 20
"""Read and sent at a time: 8 connections hold 16 MiB."""

JOIN_BYTES = 16_384
"""Shorter contents are joined: a send costs as much as copying this."""

Parts = Sequence[bytes | memoryview]


class Contents(NamedTuple):
    """The first parts of a body, and what reads the rest; None: there is no rest."""

    first: Parts
    rest: Iterator[Parts] | None


NOTHING = Contents((), None)


def read(records: Sequence[Record]) -> Contents:
    """The contents of records, one after the other; what is short is read at once. Blocks. Raises Corrupt, NotFound."""
    total = sum(record.size for record in records)
    if not total:
        return NOTHING
    parts = _parts(records)
    first = next(parts)
    return Contents(first, None if sum(map(len, first)) == total else parts)


def read_range(record: Record, start: int, stop: int) -> Contents:
    """Bytes [start, stop) of a content. Blocks. Raises Corrupt, NotFound."""
    parts = ((chunk,) for chunk in record.chunks(start, stop))
    return Contents(next(parts), parts)


def _parts(records: Sequence[Record]) -> Iterator[Parts]:
    """Lists of parts, about PART_BYTES together."""
    gathered: list[bytes | memoryview] = []
    size = 0
    at = 0
    while at < len(records):
        if records[at].size > SMALL:
            for chunk in records[at].chunks():
                gathered.append(chunk)
                size += len(chunk)
                if size >= PART_BYTES:
                    yield gathered
                    gathered, size = [], 0
            at += 1
            continue
        run = at
        while at < len(records) and records[at].size <= SMALL and size < PART_BYTES:
            size += records[at].size
            at += 1
        gathered += _joined(read_contents(records[run:at]))
        if size >= PART_BYTES:
            yield gathered
            gathered, size = [], 0
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
