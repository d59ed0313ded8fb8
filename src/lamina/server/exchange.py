"""One request and its answer: the ASGI side of a connection.

A body is taken in the chunks in which it came, at most `buffer_bytes` of them wait. An answer that begins before the
request's body has ended means that nobody wants the rest (design server-and-records, rule 4). Clients that are still
sending would take a closed connection for a failure and never read the status, so:

    100 Continue was asked for and not sent   answer; the connection ends, whatever still comes is thrown away
    rest is announced, up to `drain_bytes`    read the rest, then answer; the connection stays
    longer                                    the head at once, the rest is read and thrown away up to
                                              `discard_bytes`, then the last byte of the answer; the connection ends
    length unknown                            the second as far as it goes, then the third
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.random import SystemRandom
from lamina.server.heads import Header, encode, encode_constant, refusal

if TYPE_CHECKING:
    from lamina.server.known import Head
    from lamina.server.protocol import Protocol

log = logging.getLogger("lamina.server")

Message = MutableMapping[str, Any]

Reply = Callable[[int, Sequence[Header], bytes], None]
"""Answers a request as a whole, once, on the loop: status, headers with the body's content-length, body."""

Take = Callable[[Message, dict[str, Any], bytes, Reply], bool]
"""What an application offers beside ASGI, as its attribute `take`, for requests that are there as a whole: scope, memo
(see Head), body, and the way to answer, now or later. False: nothing was done, ask by ASGI instead."""

JOIN_BYTES = 64 << 10
"""Smaller pieces are joined, of a body or with the head: copying costs less than another round."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
UNKNOWN = -1
"""Length of a chunked body."""

BODILESS = (204, 304)


class Exchange:
    """A request from the end of its head to the end of its answer. All on the loop's thread."""

    __slots__ = (
        "_chunked",
        "_chunks",
        "_delivered",
        "_discard_to",
        "_held",
        "_left",
        "_protocol",
        "_start",
        "_waiter",
        "announced",
        "buffered",
        "disconnected",
        "expecting",
        "given_up",
        "head",
        "head_only",
        "keep_alive",
        "more",
        "received",
        "response_complete",
        "scope",
        "started",
        "task",
        "wanted",
    )

    def __init__(self, protocol: Protocol, scope: Message, head: Head, *, keep_alive: bool, expecting: bool) -> None:
        self._protocol = protocol
        self.scope = scope
        self.head = head
        self.announced = head.length  # bytes of body, or UNKNOWN
        self.keep_alive = keep_alive
        self.expecting = expecting  # the client waits for 100 Continue
        self.head_only = scope["method"] == "HEAD"
        self.task: asyncio.Task[None] | None = None
        # the body
        self.more = True  # the request has not been read to its end
        self.received = 0
        self.wanted = True  # nobody answered yet
        self.given_up = False  # the rest comes too slowly, or is too long to be thrown away
        self._chunks: deque[bytes] = deque()
        self.buffered = 0  # their bytes
        self._delivered = False  # the application knows that the body ended
        self._discard_to = 0  # `received` beyond which waiting for the end is given up
        self._waiter: asyncio.Future[None] | None = None
        # the answer
        self.started = False  # bytes of it were sent
        self.response_complete = False
        self.disconnected = False
        self._start: Message | None = None  # until the first piece of body comes
        self._left = 0  # bytes of body to come
        self._chunked = False
        self._held = False  # the last byte waits for the end of the request

    @property
    def waiting(self) -> bool:
        """Somebody waits for bytes of the body."""
        return self._waiter is not None and self.more

    @property
    def discarding(self) -> bool:
        return self._held

    @property
    def plain_left(self) -> int:
        """Bytes of its answer's body to come, if they go to the client just as they are; else 0."""
        return 0 if self._held or self.head_only else max(self._left, 0)

    # -- from the parser

    def feed(self, piece: bytes) -> None:
        self.received += len(piece)
        if self.wanted:
            self._chunks.append(piece)
            self.buffered += len(piece)
            if self.buffered >= self._protocol.limits.buffer_bytes:
                self._protocol.flow.pause_reading()
        elif self.received > self._discard_to:
            self.given_up = True
        else:
            return
        if self._waiter is not None:
            self._wake()

    def end(self) -> None:
        self.more = False
        if self._waiter is not None:
            self._wake()

    def give_up(self) -> None:
        """Wait no longer for the end of the body."""
        self.given_up = True
        self._wake()

    def disconnect(self) -> None:
        """The connection is gone or was taken away: the application reads that, and what it sends goes nowhere."""
        self.disconnected = True
        self._chunks.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        assert self._waiter is None, "one task reads a request"
        self._waiter = self._protocol.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # -- an application that takes a request as a whole

    def offer(self, take: Take) -> bool:
        """The request has been read to its end: whether the application answers it by `reply`."""
        chunks = self._chunks
        if self._protocol.flow.write_paused:  # earlier answers are not read: ASGI waits for that
            return False
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            return take(self.scope, self.head.memo, body, self.reply)
        except Exception as error:
            self._fail("failed", error)
            return True

    def reply(self, status: int, headers: Sequence[Header], body: bytes = b"") -> None:
        """See Reply. What it is told about a connection that is gone goes nowhere."""
        if self.disconnected:
            return
        protocol = self._protocol
        try:
            if self.keep_alive and not body and type(headers) is tuple:
                head = encode_constant(status, headers, protocol.server_state.default_headers)
            else:
                head = self._head({"status": status, "headers": headers})
        except ValueError as error:
            self._fail("failed", error)
            return
        self.started = True
        protocol.transport.write(head if self.head_only else head + body)
        self._finish()

    # -- the application

    async def run(self, app: Any) -> None:
        protocol = self._protocol
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:  # the server ends, and who reads this answer takes too long
            protocol.transport.abort()
            raise
        except Exception as error:
            self._fail("failed", error)
        else:
            if not (self.response_complete or self.disconnected):
                self._fail("did not finish its answer", None)
        finally:
            protocol.tasks.discard(self.task)

    def _fail(self, how: str, error: Exception | None) -> None:
        """A defect of the application: 500 with an id that leads to the log, or the end of a begun answer."""
        mark = SystemRandom().token_bytes(6).hex()
        method, path = self.scope["method"], self.scope["path"]
        log.error("%s %r %s (%s)", method, path, how, mark, exc_info=error)
        if self.disconnected or self.response_complete:
            return
        if self.started:
            self._protocol.transport.close()
            return
        self.disconnected = True
        self._protocol.last_words(self.refusal(500, f"Internal error {mark}"))

    def refusal(self, status: int, message: str) -> bytes:
        return refusal(status, message, self._protocol.server_state.default_headers, bodiless=self.head_only)

    async def receive(self) -> Message:
        while True:
            if self.disconnected or self.response_complete or not self.wanted:
                return {"type": "http.disconnect"}
            if self._chunks:
                return self._take()
            if not self.more and not self._delivered:
                self._delivered = True
                return {"type": "http.request", "body": b"", "more_body": False}
            self.invite()
            if self.more:
                self._protocol.flow.resume_reading()
            await self._wait()

    def invite(self) -> None:
        """Say that the body is wanted, to a client that waits for that."""
        if self.expecting:
            self.expecting = False
            if self.more and not self.received:
                self._protocol.transport.write(CONTINUE)

    def queued(self, limit: int) -> list[bytes]:
        """What is there of the body, so many bytes of it at most."""
        pieces: list[bytes] = []
        chunks = self._chunks
        while chunks and limit:
            piece = chunks.popleft()
            if len(piece) > limit:
                chunks.appendleft(piece[limit:])
                piece = piece[:limit]
            limit -= len(piece)
            self.buffered -= len(piece)
            pieces.append(piece)
        return pieces

    async def gather(self, size: int) -> None:
        """Return when so many bytes of the body are there, or as many as may wait, or no more come."""
        flow = self._protocol.flow
        flow.resume_reading()
        while self.more and self.buffered < size and not (self.disconnected or flow.read_paused):
            await self._wait()

    async def prepare(self) -> bytes:
        """The head of the answer whose start was sent, once it may go out; nothing if nobody listens. Who sends it
        says so by `prepared`."""
        flow = self._protocol.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.more and not self.disconnected:
            await self._settle()
        assert self._start is not None, "an answer starts with its start"
        return b"" if self.disconnected else self._head(self._start)

    def prepared(self, begun: bool) -> None:
        """The head that was prepared is on its way; or it is not, and the answer may start anew."""
        self._start = None
        self.started |= begun

    def passed(self, size: int) -> None:
        """So many bytes of the answer's body were sent by somebody else."""
        self._left -= size

    def _take(self) -> Message:
        chunks = self._chunks
        if len(chunks) > 1 and self.buffered <= JOIN_BYTES:
            piece = b"".join(chunks)
            chunks.clear()
        else:
            piece = chunks.popleft()
        self.buffered -= len(piece)
        if self.more:
            more = True
            self._protocol.flow.resume_reading()
        else:
            more = bool(chunks)
            self._delivered = not more
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Message) -> None:
        """Waits while the client takes less than is sent. Raises ValueError for headers that would break the answer."""
        kind = message["type"]
        if kind == "http.response.start":
            assert self._start is None, "an answer starts once"
            assert not self.started, "an answer starts once"
            self._start = message
            return
        assert kind == "http.response.body", f"unexpected {kind}"
        assert not self.response_complete, "the answer is complete"
        flow = self._protocol.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if self._start is not None:
            if self.more:
                await self._settle()
                if self.disconnected:
                    return
            head = self._head(self._start)
            self._start = None
            self.started = True
        else:
            head = b""
        self._write(head, body, more)
        if not more:
            if self._held:
                await self._release(body)
                if self.disconnected:
                    return
            self._finish()

    def _head(self, start: Message) -> bytes:
        status, headers = start["status"], start.get("headers", ())
        length = b""
        for name, value in headers:
            if len(name) == 14 and name.lower() == b"content-length":
                length = value
            elif len(name) == 10 and name.lower() == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        last = b""
        if length:
            self._left = int(length)
        elif not self.head_only and status not in BODILESS:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                last = b"transfer-encoding: chunked\r\n"
            else:
                self.keep_alive = False  # the end of the connection is the end of the body
                self._left = UNKNOWN
        if not self.keep_alive:
            headers = [(name, value) for name, value in headers if name.lower() != b"connection"]
            last += b"connection: close\r\n"
        return encode(status, headers, self._protocol.server_state.default_headers, last)

    def _write(self, head: bytes, body: Any, more: bool) -> None:
        transport = self._protocol.transport
        size = len(body)
        if self.head_only:
            body = b""
        elif self._chunked:
            if size:
                pieces = [head, b"%x\r\n" % size, body, b"\r\n"]
            else:
                pieces = [head]
            if not more and not self._held:
                pieces.append(LAST_CHUNK)
            if size <= JOIN_BYTES:
                transport.write(b"".join(pieces))
            else:
                transport.writelines(pieces)
            return
        elif self._left >= 0:
            self._left -= size
            assert self._left >= 0, "the answer is longer than its content-length"
            assert more or self._left == 0, "the answer is shorter than its content-length"
        if self._held and not more:
            body = body[:-1]
        if not head:
            transport.write(body)
        elif len(body) <= JOIN_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    def _finish(self) -> None:
        self.response_complete = True
        if self._waiter is not None:
            self._wake()
        self._protocol.answered(self)

    # -- a body that nobody wants

    async def _settle(self) -> None:
        """See to the rest of the request before its answer's head goes out: read it, or decide to hold back."""
        limits, flow = self._protocol.limits, self._protocol.flow
        self.wanted = False
        self._chunks.clear()
        self.buffered = 0
        if self.expecting and not self.received:
            self.keep_alive = False
            return
        flow.resume_reading()
        if self.announced == UNKNOWN or self.announced - self.received <= limits.drain_bytes:
            self._discard_to = self.received + limits.drain_bytes
            while self.more and not (self.given_up or self.disconnected):
                await self._wait()
            if not self.more:
                return
            if self.received <= self._discard_to:  # it came too slowly
                self.keep_alive = False
                return
        self.given_up = self.keep_alive = False
        self._held = True
        self._discard_to = self.received + limits.discard_bytes

    async def _release(self, body: Any) -> None:
        """Wait until the rest of the request was thrown away, then send what was held back."""
        while self.more and not (self.given_up or self.disconnected):
            await self._wait()
        self._held = False
        if self.disconnected or self.head_only:
            return
        self._protocol.transport.write(LAST_CHUNK if self._chunked else bytes(body[-1:]))
