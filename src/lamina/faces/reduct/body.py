"""A request's body: cut into contents, and poured onto the disk without waiting for the rest of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from lamina.engine.records.write import finish_all
from lamina.faces.reduct.errors import ClientGone, Refused

if TYPE_CHECKING:
    from lamina.engine.records.write import Write
    from lamina.faces.reduct.call import Call

Wanting = tuple["Write | None", int]
"""A content of a body: who takes it, None: nobody; its bytes."""

PART_BYTES = 1 << 20
"""Gathered before a thread writes them: one hand-over per chunk of 64 KiB would cost as much as the writing."""

TOO_LONG = "Content is bigger than in content-length"
TOO_SHORT = "Content is smaller than in content-length"
ENDED = "Content is shorter than expected: no more data to read"


class Body:
    """The body of a request, taken in pieces of wanted lengths. `ended` is the message of a body that is too short."""

    def __init__(self, call: Call, ended: str) -> None:
        self._call = call
        self._chunks: AsyncIterator[bytes] = call.chunks()
        self._chunk = b""
        self._at = 0  # bytes of the chunk that were taken
        self._ended = ended

    async def some(self, limit: int) -> memoryview:
        """The next 1..limit bytes. Raises Refused at the end."""
        if self._at == len(self._chunk):
            self._chunk, self._at = await self._next(), 0
            if not self._chunk:
                raise Refused(400, self._ended)
        start = self._at
        self._at = min(start + limit, len(self._chunk))
        return memoryview(self._chunk)[start : self._at]

    def at_hand(self, size: int) -> bytes | None:
        """What `take` gives, where that needs no waiting; else None, and nothing is taken."""
        start = self._at
        if start + size > len(self._chunk):
            return None
        self._at = start + size
        return self._chunk[start : self._at]

    async def take(self, size: int) -> bytes:
        """Exactly so many bytes, copied: the chunk, which may be much larger, need not outlive the request."""
        content = self.at_hand(size)
        if content is not None:
            return content
        parts = []
        while size:
            parts.append(await self.some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    async def skip(self, size: int) -> None:
        while size:
            size -= len(await self.some(size))

    async def pour(self, contents: Sequence[Wanting], last: bool) -> None:
        """The next contents, none of them inline, onto the disk; `last`: nothing follows them, so that they are made
        durable, too. Raises Refused, ClientGone, and what writing raises."""
        direct = self._call.direct
        missing = sum(size for _, size in contents) - (len(self._chunk) - self._at)
        if direct is None or not 0 < missing <= direct.available():
            await self._pour_chunks(contents)
            if last:
                await self._call.run(finish_all, [write for write, _ in contents if write is not None])
            return
        first = [memoryview(self._chunk)[self._at :]] if self._at < len(self._chunk) else []
        self._chunk, self._at = b"", 0
        if not await direct.receive(self._call.run, first, missing, Cut(contents, last)):
            raise ClientGone

    async def _pour_chunks(self, contents: Sequence[Wanting]) -> None:
        pouring = Pouring(self._call)
        try:
            for write, missing in contents:
                if write is None:
                    await self.skip(missing)
                    continue
                while missing:
                    chunk = await self.some(missing)
                    missing -= len(chunk)
                    await pouring.add(write, chunk)
            await pouring.drain()
        except BaseException:
            with contextlib.suppress(Exception):  # it comes after the error that is being told
                await pouring.wait()
            raise

    async def finish(self) -> None:
        """Nothing more may follow. Raises Refused."""
        if self._at < len(self._chunk) or await self._next():
            raise Refused(400, TOO_LONG)

    async def _next(self) -> bytes:
        """The next chunk; empty at the end."""
        async for chunk in self._chunks:
            return chunk
        return b""


class Cut:
    """Cuts what comes of a body into contents. Called on threads, with all of it in the end."""

    def __init__(self, contents: Sequence[Wanting], last: bool) -> None:
        self._contents = contents
        self._last = last
        self._at = 0
        self._missing = contents[0][1]

    def __call__(self, piece: memoryview) -> None:
        at = 0
        while at < len(piece):
            stop = min(at + self._missing, len(piece))
            write = self._contents[self._at][0]
            if write is not None:
                write.write(piece[at:stop])
            self._missing -= stop - at
            at = stop
            while not self._missing:
                self._at += 1
                if self._at == len(self._contents):
                    self._end()
                    return
                self._missing = self._contents[self._at][1]

    def _end(self) -> None:
        if self._last:
            finish_all([write for write, _ in self._contents if write is not None])


class Pouring:
    """Contents that go straight to the disk: written by a thread while the next bytes arrive."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._gathered: list[tuple[Write, memoryview]] = []
        self._bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def add(self, write: Write, chunk: memoryview) -> None:
        self._gathered.append((write, chunk))
        self._bytes += len(chunk)
        if self._bytes >= PART_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Wait for the part before, then begin to write what was gathered."""
        await self.wait()
        if self._gathered:
            self._running = self._call.run(_write_all, self._gathered)
            self._gathered = []
            self._bytes = 0

    async def wait(self) -> None:
        """Until nothing is being written. Raises what writing raised."""
        running = self._running
        if running is not None:
            try:
                await asyncio.shield(running)  # a request that is cancelled must not leave a thread at its write
            finally:
                if running.done():
                    self._running = None

    async def drain(self) -> None:
        """Everything gathered is written."""
        await self.flush()
        await self.wait()


def _write_all(parts: list[tuple[Write, memoryview]]) -> None:
    for write, chunk in parts:
        write.write(chunk)
