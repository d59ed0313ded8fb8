"""One record: what is known of it, and its content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lamina.reduct.time import unix_timestamp_to_datetime

Content = bytes | bytearray | memoryview


class Read(Protocol):
    """How a content is read in pieces: `record.read(n=1024)` as well as `record.read(1024)`."""

    def __call__(self, n: int) -> AsyncIterator[bytes]: ...


@dataclass
class Record:
    """What a query, a read or a batch gives.

    `await read_all()` is the whole content; `async for piece in read(n)` gives it in pieces of n bytes, the last one
    shorter. A content of more than 1 MiB is not kept for later: read it before the next record is asked for.
    """

    timestamp: int  # µs since the epoch, UTC
    entry: str | None  # None in a `Batch`, which does not know
    size: int  # bytes of content, also where only the head was asked for
    last: bool  # the last of a query, if the server could tell
    content_type: str
    read_all: Callable[[], Awaitable[bytes]]
    read: Read
    labels: dict[str, str]

    def get_datetime(self) -> datetime:
        """The time as local time, without an offset."""
        return unix_timestamp_to_datetime(self.timestamp)


class HeldRecord(Record):
    """With its content in memory: bytes [start, stop) of a buffer that it may share, copied when they are asked for.

    A content that is the whole buffer is not copied."""

    def __init__(
        self,
        timestamp: int,
        entry: str | None,
        size: int,
        last: bool,
        content_type: str,
        labels: dict[str, str],
        buffer: Content,
        start: int,
        stop: int,
    ) -> None:
        self.timestamp = timestamp
        self.entry = entry
        self.size = size
        self.last = last
        self.content_type = content_type
        self.labels = labels
        self._buffer = buffer
        self._start = start
        self._stop = stop

    async def read_all(self) -> bytes:  # a field of Record, a method here: one object less
        return self.content()

    async def read(self, n: int) -> AsyncIterator[bytes]:
        check_piece(n)
        content = self.content()
        for at in range(0, len(content), n):
            yield content[at : at + n]

    def content(self) -> bytes:
        buffer = self._buffer
        if type(buffer) is bytes:
            return buffer[self._start : self._stop]  # all of it: the buffer itself
        return bytes(memoryview(buffer)[self._start : self._stop])

    def __repr__(self) -> str:
        return shown(self)


def shown(record: Record) -> str:
    """A record as its constructor has it, without the two callables."""
    return (
        f"Record(timestamp={record.timestamp!r}, entry={record.entry!r}, size={record.size!r}, last={record.last!r}, "
        f"content_type={record.content_type!r}, labels={record.labels!r})"
    )


def check_piece(n: int) -> None:
    """Raises ValueError."""
    if n < 1:
        raise ValueError(f"pieces of {n} bytes: expected 1 or more")
