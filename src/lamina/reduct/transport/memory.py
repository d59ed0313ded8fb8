"""The HTTP application in this process: requests and answers as ASGI messages, bodies handed over as they are.

A request is a coroutine that is stepped by whoever wants its answer, not a task of its own. Where an answer is longer
than what may be held it stands still until somebody reads on: a slow reader costs no memory, and no queue is needed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, MutableMapping, Sequence
from types import coroutine
from typing import Any
from urllib.parse import unquote

from lamina.reduct.record import Content
from lamina.reduct.transport import Body, Header, Lost

HELD_BYTES = 4 << 20
"""Of an answer that nobody reads yet: some of the parts of about 1 MiB in which contents come."""

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Coroutine[Any, Any, None]
]

_PAUSE = object()
"""What a request yields that waits for its reader; everything else goes to the event loop."""


class Gone(Exception):
    """Nobody reads the answer any more."""


@coroutine
def _pause() -> Generator[object, None, None]:
    yield _PAUSE


@coroutine
def _until_paused(request: Coroutine[Any, Any, None]) -> Generator[Any, Any, bool]:
    """Step a request to its end (True) or its next pause (False); what it waits for, the caller waits for."""
    step: Callable[[Any], Any] = request.send
    value: Any = None
    while True:
        try:
            yielded = step(value)
        except StopIteration:
            return True
        if yielded is _PAUSE:
            return False
        step = request.send
        try:
            value = yield yielded
        except GeneratorExit:
            request.close()
            raise
        except BaseException as error:  # cancelled, for instance: the request's affair
            step, value = request.throw, error


class MemoryTransport:
    """Of one application on one event loop."""

    def __init__(self, app: App, timeout: float | None, close: Callable[[], None]) -> None:
        """`timeout`: seconds until the head of an answer is there. `close` ends the application; it may block."""
        self._app = app
        self._timeout = timeout
        self.close = close

    async def request(
        self, method: str, path: str, query: str, headers: Sequence[Header], body: Body | None, length: int
    ) -> MemoryResponse:
        fields = [(name.lower().encode(), value.strip(" \t").encode()) for name, value in headers]
        if body is not None:
            fields.append((b"content-length", b"%d" % length))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": fields, "client": ("127.0.0.1", 0), "server": ("localhost", 0),
        }  # fmt: skip
        response = MemoryResponse(self._app, scope, body)
        if self._timeout is None:
            await response.begin()
        else:
            async with asyncio.timeout(self._timeout):
                await response.begin()
        return response


class MemoryResponse:
    """A request under way, seen from both sides: what the application receives and sends, and what came of it."""

    def __init__(self, app: App, scope: Message, body: Body | None) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self._body = body
        self._parts: deque[Content] = deque()
        self._held = 0  # bytes of the parts
        self._ended = False
        self._gone = False
        self._failure: Exception | None = None  # of the request's body
        self._request = app(scope, self._receive, self._send)

    # -- the application's side

    async def _receive(self) -> Message:
        body = self._body
        if body is None or isinstance(body, bytes):
            self._body = None
            return {"type": "http.request", "body": body or b"", "more_body": False}
        if isinstance(body, list):
            body = self._body = _one_by_one(body)
        try:
            return {"type": "http.request", "body": await anext(body), "more_body": True}
        except StopAsyncIteration:
            self._body = None
            return {"type": "http.request", "body": b"", "more_body": False}
        except Exception as error:
            self._failure = error
            return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone:
            raise Gone
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode("latin-1"), value.decode()) for name, value in message["headers"]]
            return
        body = message.get("body", b"")
        if len(body):
            self._parts.append(body)
            self._held += len(body)
        if self._held >= HELD_BYTES and message.get("more_body", False):
            await _pause()
            if self._gone:
                raise Gone

    # -- the reader's side

    async def begin(self) -> None:
        """Until the head is there, and as much of the body as may be held."""
        await self._step()
        if self._failure is not None:
            await self.close()
            raise self._failure
        if not self.status:
            raise Lost("the request was not answered")

    async def pieces(self) -> Sequence[Content]:
        found = list(self._parts)
        self._parts.clear()
        while not self._ended:
            self._held = 0
            await self._step()
            found += self._parts
            self._parts.clear()
        return found

    async def chunks(self) -> AsyncIterator[Content]:
        while True:
            while self._parts:
                yield self._parts.popleft()
            self._held = 0
            if self._ended:
                return
            await self._step()

    async def close(self) -> None:
        self._parts.clear()
        self._held = 0
        if not self._ended:
            self._gone = True
            await self._step()

    async def _step(self) -> None:
        try:
            self._ended = await _until_paused(self._request)
        except Gone:
            self._ended = True
        except Exception as error:  # it was logged; over a network the connection would end here
            self._ended = True
            raise Lost(f"the answer broke off: {error}") from error
        except BaseException:
            self._ended = True
            raise


async def _one_by_one(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
