"""An answer's body, cut into the contents of its records.

What fits into memory is read before the first record is handed out; the contents are slices then, copied when they are
asked for. A longer body is read as far as its reader goes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

from lamina.reduct.batch.heads import Head
from lamina.reduct.record import Content, HeldRecord, Record, check_piece, shown
from lamina.reduct.transport import Lost, Response

HELD_BYTES = 16 << 20
"""A body up to here is taken as a whole: a batch has 8 MB, and the record that goes beyond them."""

KEPT_BYTES = 1 << 20
"""A content up to here is kept if the next record is asked for before it was read; of a longer one the rest is lost."""


async def record(answer: Response, head: Head, *, bodies: bool) -> HeldRecord | StreamedRecord:
    """The one record of an answer; a short content is read here. Raises Lost."""
    if not bodies:
        return HeldRecord(head.time_us, head.entry, head.size, True, head.content_type, head.labels, b"", 0, 0)
    if head.size > KEPT_BYTES:
        return StreamedRecord(head, True, _Flow(answer))
    (found,) = _held([head], await answer.pieces(), True, True)
    return found


async def records(answer: Response, heads: Sequence[Head], last: bool, *, bodies: bool) -> AsyncIterator[Record]:
    """The records of an answer, in the order of their contents. `last`: the final one is that of its query;
    `bodies`: there are contents. Closes the answer. Raises Lost."""
    try:
        total = sum(head.size for head in heads) if bodies else 0
        if total <= HELD_BYTES:
            pieces = await answer.pieces() if bodies else ()
            await answer.close()
            for held in _held(heads, pieces, last, bodies):
                yield held
            return
        flow = _Flow(answer)
        for i, head in enumerate(heads):
            streamed = StreamedRecord(head, last and i == len(heads) - 1, flow)
            yield streamed
            await streamed.leave()
    finally:
        await answer.close()


def _held(heads: Sequence[Head], pieces: Sequence[Content], last: bool, bodies: bool) -> Iterator[HeldRecord]:
    rest = iter(pieces)
    piece: Content = b""
    at = 0
    final = len(heads) - 1
    for i, (entry, time_us, size, content_type, labels) in enumerate(heads):
        wanted = size if bodies else 0
        stop = at + wanted
        if stop > len(piece):
            if at == len(piece):
                piece, at = next(rest, b""), 0
            if wanted > len(piece) - at:
                piece, at = _gathered(piece, at, wanted, rest), 0
            stop = at + wanted
        yield HeldRecord(time_us, entry, size, last and i == final, content_type, labels, piece, at, stop)
        at = stop


def _gathered(piece: Content, at: int, wanted: int, rest: Iterator[Content]) -> Content:
    """A buffer that begins with what is left of a piece and holds as many bytes as are wanted. Raises Lost."""
    parts: list[Content] = [memoryview(piece)[at:]]
    size = len(piece) - at
    while size < wanted:
        more = next(rest, None)
        if more is None:
            raise Lost("the answer ended before its last record")
        parts.append(more)
        size += len(more)
    return b"".join(parts)


class _Flow:
    """A body as it comes."""

    def __init__(self, answer: Response) -> None:
        self._chunks = answer.chunks()
        self._chunk: Content = b""
        self._at = 0

    async def some(self, limit: int) -> Content:
        """The next 1..limit bytes. Raises Lost at the end."""
        if self._at == len(self._chunk):
            try:
                self._chunk, self._at = await anext(self._chunks), 0
            except StopAsyncIteration:
                raise Lost("the answer ended before its last record") from None
        start, self._at = self._at, min(self._at + limit, len(self._chunk))
        if start == 0 and self._at == len(self._chunk):
            return self._chunk
        return memoryview(self._chunk)[start : self._at]


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
        """The next record is asked for: a short content that was not read is kept, of a long one the rest is lost."""
        if self._left == self.size <= KEPT_BYTES:
            await self.read_all()
            return
        flow, self._flow = self._flow, None
        passed = 0
        while flow is not None and passed < self._left:
            passed += len(await flow.some(self._left - passed))

    def drop(self) -> None:
        """Its answer is closed."""
        self._flow = None

    def __repr__(self) -> str:
        return shown(self)
