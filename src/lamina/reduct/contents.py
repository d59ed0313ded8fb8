"""An answer's body, cut into the contents of its records.

A content of up to 1 MiB is there when its record is handed out: a part of a buffer, copied when it is asked for. A
longer one is read as far as its reader goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence

from lamina.reduct.batch.heads import Head
from lamina.reduct.record import Content, HeldRecord, Record, check_piece, shown
from lamina.reduct.transport import Lost, Response

WHOLE_BYTES = 1 << 20
"""A body up to here is received before its first record is handed out, and its connection is free from then on. Of a
longer one records are handed out while the next arrive."""

KEPT_BYTES = 1 << 20
"""A content up to here can be read later, too; of a longer one the rest is lost when the next record is asked for."""


async def record(answer: Response, head: Head, *, bodies: bool) -> HeldRecord | StreamedRecord:
    """The one record of an answer. Raises Lost."""
    size = head.size if bodies else 0
    if size > KEPT_BYTES:
        return StreamedRecord(head, True, _Flow(answer))
    flow = _Flow(answer, await answer.pieces() if bodies else ())
    return await flow.held(head, size, True)


async def records(answer: Response, heads: Sequence[Head], last: bool, *, bodies: bool) -> AsyncIterator[Record]:
    """The records of an answer, in the order of their contents. `last`: the final one is that of its query;
    `bodies`: there are contents. Closes the answer. Raises Lost."""
    try:
        if not bodies or sum(head.size for head in heads) <= WHOLE_BYTES:
            flow = _Flow(answer, await answer.pieces() if bodies else ())
            await answer.close()
        else:
            flow = _Flow(answer)
        final = len(heads) - 1
        for i, head in enumerate(heads):
            size = head.size if bodies else 0
            if size > KEPT_BYTES:
                streamed = StreamedRecord(head, last and i == final, flow)
                yield streamed
                await streamed.leave()
            else:
                yield flow.at_hand(head, size, last and i == final) or await flow.held(head, size, last and i == final)
    finally:
        await answer.close()


class _Flow:
    """A body as it comes, or what was received of it."""

    def __init__(self, answer: Response, pieces: Sequence[Content] | None = None) -> None:
        self._pieces = deque(pieces or ())
        self._chunks = answer.chunks() if pieces is None else None
        self._chunk: Content = b""
        self._at = 0

    def at_hand(self, head: Head, size: int, last: bool) -> HeldRecord | None:
        """As `held`, if the content lies in the piece at hand; else None."""
        start = self._at
        stop = start + size
        if stop > len(self._chunk):
            return None
        self._at = stop
        return HeldRecord(head[1], head[0], head[2], last, head[3], head[4], self._chunk, start, stop)

    async def held(self, head: Head, size: int, last: bool) -> HeldRecord:
        """A record with the next bytes as its content. Raises Lost."""
        missing = self._at + size - len(self._chunk)
        if missing > 0:
            parts: list[Content] = [memoryview(self._chunk)[self._at :]] if self._at < len(self._chunk) else []
            while missing > 0:
                parts.append(await self._next())
                missing -= len(parts[-1])
            self._chunk, self._at = parts[0] if len(parts) == 1 else b"".join(parts), 0
        found = self.at_hand(head, size, last)
        assert found is not None, "there are enough bytes"
        return found

    async def some(self, limit: int) -> Content:
        """The next 1..limit bytes. Raises Lost at the end."""
        if self._at == len(self._chunk):
            self._chunk, self._at = await self._next(), 0
        start, self._at = self._at, min(self._at + limit, len(self._chunk))
        if start == 0 and self._at == len(self._chunk):
            return self._chunk
        return memoryview(self._chunk)[start : self._at]

    async def _next(self) -> Content:
        if self._pieces:
            return self._pieces.popleft()
        if self._chunks is not None:
            async for chunk in self._chunks:
                return chunk
        raise Lost("the answer ended before its last record")


class StreamedRecord(Record):
    """With a content that is read as it comes."""

    def __init__(self, head: Head, last: bool, flow: _Flow) -> None:
        self.entry, self.timestamp, self.size, self.content_type, self.labels = head
        self.last = last
        self._flow: _Flow | None = flow  # None: no more of it can be had
        self._left = self.size
        self._content: bytes | None = None  # all of it, once that was asked for

    async def read_all(self) -> bytes:
        """What was not read before; asked for again it is the same. Raises Lost."""
        if self._content is None:
            parts = [piece async for piece in self._pieces()]
            self._content = parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
        return self._content

    async def read(self, n: int) -> AsyncIterator[bytes]:
        check_piece(n)
        gathered: list[Content] = []
        size = 0
        while self._left:
            piece = await self._some(n - size)
            gathered.append(piece)
            size += len(piece)
            if size == n:
                yield b"".join(gathered)
                gathered, size = [], 0
        if gathered:
            yield b"".join(gathered)

    async def _pieces(self) -> AsyncIterator[Content]:
        while self._left:
            yield await self._some(self._left)

    async def _some(self, limit: int) -> Content:
        if self._flow is None:
            raise Lost(f"the content of record {self.timestamp} was left unread, and is not kept")
        piece = await self._flow.some(min(limit, self._left))
        self._left -= len(piece)
        return piece

    async def leave(self) -> None:
        """The next record is asked for: what was not read is passed over."""
        flow, self._flow = self._flow, None
        passed = 0
        while flow is not None and passed < self._left:
            passed += len(await flow.some(self._left - passed))

    def drop(self) -> None:
        """Its answer is closed."""
        self._flow = None

    def __repr__(self) -> str:
        return shown(self)
