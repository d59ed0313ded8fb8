"""One request: what it says, how its body is read and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec

from lamina.errors import InvalidArgument
from lamina.faces.reduct.errors import ClientGone, message_value, verdict
from lamina.faces.reduct.headers import Header, number

if TYPE_CHECKING:
    from lamina.access import Principal
    from lamina.engine.records.bucket import Bucket
    from lamina.faces.reduct.app import Face
    from lamina.faces.reduct.config import Scope

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

T = TypeVar("T")

Parts = Sequence[bytes | memoryview]

DIRECT = "lamina.direct"
"""The extension of ASGI by which Lamina's server lends the socket of a connection."""

BODY_LIMIT = 1 << 20
"""Bytes of a JSON body (architecture section 15)."""

JSON_TYPE = (b"content-type", b"application/json")

_LAST_PART: dict[str, Any] = {"type": "http.response.body", "body": b""}


class Direct(Protocol):
    """A connection whose bodies threads move by themselves (server/direct.py)."""

    async def send(self, run: Callable[..., asyncio.Future[None]], parts: Iterator[Parts]) -> None: ...

    def begun(self) -> bool: ...

    def available(self) -> int: ...

    async def receive(
        self,
        run: Callable[..., asyncio.Future[None]],
        first: Parts,
        size: int,
        take: Callable[[memoryview], None],
    ) -> bool: ...


class Call:
    """Belongs to the event loop. `values`: those of the route's pattern, such as bucket and entry."""

    __slots__ = ("_query", "face", "headers", "message", "method", "principal", "receive", "scope", "send",
                 "started", "status", "values")  # fmt: skip

    def __init__(self, face: Face, scope: Scope, receive: Receive, send: Send) -> None:
        self.face = face
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.headers: Sequence[Header] = scope["headers"]
        self.values: tuple[str, ...] = ()
        self.principal: Principal = face.stranger
        self.started = False
        self.status = 0
        self.message = ""
        self._query: dict[str, str] | None = None

    # -- what was asked ------------------------------------------------------------------------------------------

    @property
    def query(self) -> dict[str, str]:
        """Parameters of the URL; the first of a name counts."""
        if self._query is None:
            text = self.scope["query_string"].decode("latin-1")
            pairs = parse_qsl(text, keep_blank_values=True)
            self._query = dict(reversed(pairs))
        return self._query

    def header(self, name: bytes) -> bytes | None:
        """The value of a header (lower-case name), None if it is absent; the first counts."""
        for found, value in self.headers:
            if found == name:
                return value
        return None

    def required_time(self) -> int:
        """`ts` of the URL. Raises InvalidArgument."""
        time_us = self.time()
        if time_us is None:
            raise InvalidArgument("'ts' parameter is required")
        return time_us

    def time(self) -> int | None:
        """`ts` of the URL, None if it is not given. Raises InvalidArgument."""
        raw: bytes = self.scope["query_string"]
        if raw.startswith(b"ts="):
            time_us = number(raw[3:])
            if time_us is not None:
                return time_us
        text = self.query.get("ts")
        if text is None:
            return None
        time_us = number(text.encode())
        if time_us is None:
            raise InvalidArgument("'ts' must be an unix timestamp in microseconds")
        return time_us

    def content_length(self) -> int | None:
        """Announced bytes of the body as it is after decompression; None: not announced. Raises InvalidArgument.

        Browsers cannot set Content-Length for streams, and of a compressed body it says something else: both give
        x-reduct-content-length (contract 1.1, 6)."""
        plain = announced = coding = None
        for name, value in self.headers:
            if name == b"content-length":
                plain = value
            elif name == b"x-reduct-content-length":
                announced = value
            elif name == b"content-encoding" and value.strip().lower() != b"identity":
                coding = value
        raw = announced if coding is not None or plain is None else plain
        if raw is None:
            return None
        length = number(raw.strip())
        if length is None:
            raise InvalidArgument("content-length header must be a number")
        return length

    @property
    def direct(self) -> Direct | None:
        """How long bodies go past the loop; None where the server does not offer that for this request."""
        found: Direct | None = self.scope.get("extensions", {}).get(DIRECT)
        return found

    def bucket(self) -> Bucket:
        """The bucket of the path. Raises NotFound."""
        return self.face.db.buckets.get(self.values[0])

    # -- the body ------------------------------------------------------------------------------------------------

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, without empty chunks. Raises ClientGone."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body = message.get("body", b"")
            if body:
                yield body
            if not message.get("more_body", False):
                return

    async def body(self) -> bytes:
        """All of a small body. Raises InvalidArgument above BODY_LIMIT, ClientGone."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > BODY_LIMIT:
                raise InvalidArgument(f"Invalid JSON: the body has more than {BODY_LIMIT} bytes")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def json(self, kind: type[T], empty: bytes | None = None) -> T:
        """The body, decoded; unknown members are ignored. `empty`: what stands for an empty body, None: nothing does.

        Raises InvalidArgument("Invalid JSON: ...")."""
        body = await self.body()
        return decode(body if body.strip() or empty is None else empty, kind)

    # -- the work ------------------------------------------------------------------------------------------------

    def run(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Call on one of the face's threads."""
        return self.face.threads.run(call, *arguments)

    # -- the answer ----------------------------------------------------------------------------------------------

    async def done(self) -> None:
        """200 without a body."""
        self.started = True
        self.status = 200
        await self.send(self.face.done)
        await self.send(_LAST_PART)

    async def answer(self, status: int, headers: Iterable[Header] = (), body: bytes = b"") -> None:
        """A whole answer; HEAD gets its headers without the body."""
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
        await self.start(status, [*headers, *length])
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def answer_json(self, value: object, headers: Iterable[Header] = ()) -> None:
        await self.answer(200, [*headers, JSON_TYPE], msgspec.json.encode(value))

    async def start(self, status: int, headers: Iterable[Header]) -> None:
        """Send status and headers; parts of the body follow by `part`, then `end`."""
        self.started = True
        self.status = status
        await self.send(
            {"type": "http.response.start", "status": status, "headers": [*self.face.base_headers, *headers]}
        )

    async def part(self, body: bytes | memoryview) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes | memoryview = b"") -> None:
        """The last part."""
        await self.send({"type": "http.response.body", "body": body})

    async def no_content(self) -> None:
        """204 as reads say it: there is nothing (more)."""
        self.message = "No content"
        await self.start(204, [(b"x-reduct-error", b"No content")])
        await self.end()

    async def fail(self, error: Exception) -> None:
        """Answer with what went wrong. Once the answer has begun it can only be broken off: raises the error."""
        if self.started:
            raise error
        status, headers, body = self.failure(error)
        await self.answer(status, headers, body)

    def failure(self, error: BaseException) -> tuple[int, list[Header], bytes]:
        """Status, headers and body that tell what went wrong."""
        status, message = verdict(error, self.face.random)
        headers: list[Header] = [(b"x-reduct-error", message_value(message)), JSON_TYPE]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        self.message = message
        return status, headers, msgspec.json.encode({"detail": message.replace('"', "'")})


def decode(body: bytes, kind: type[T]) -> T:
    """JSON text as a value of a kind. Raises InvalidArgument("Invalid JSON: ...")."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"Invalid JSON: {error}") from None
