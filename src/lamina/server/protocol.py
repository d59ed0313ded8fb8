"""A connection: what uvicorn's HTTP protocol lacks or does not need.

Limits (architecture section 15), strict heads, deadlines (deadlines.py), bodies in both directions (exchange.py).
Every refusal is a whole error of the contract (reductstore 1.2, 1.3), comes after the answers to earlier requests of
the connection, and ends it without a reset that would take the refusal away from a client that still sends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lamina.server.bounds import Refused, check_sizes, too_large, too_long
from lamina.server.deadlines import Stage, Watch
from lamina.server.direct import EXTENSION, Direct
from lamina.server.exchange import UNKNOWN, Exchange, Take
from lamina.server.heads import refusal
from lamina.server.known import Head, Known, Request
from lamina.server.limits import HttpLimits

log = logging.getLogger("lamina.server")

WRITE_BUFFER_BYTES = 256 << 10
"""An answer waits while so much of it is not sent; one read of a socket in the other direction."""

READ_BYTES = 256 << 10
"""The most that one read of the loop gives."""

RAW_BYTES = 64 << 10
"""A body of known length of which so much is to come does not go through the parser, which would copy it: a new parser
takes the next request, for less than that."""

LONG_BYTES = 256 << 10
"""A body of which so much is to come is not read before it is asked for."""

HALF_GRACE_S = 0.25
"""When the server ends, a request whose body does not go on for so long is not waited for."""

TIMEOUT = "Timeout while receiving data"
ENDING = "The server is ending"

ASGI = {"version": "3.0", "spec_version": "2.3"}

BETWEEN, IN_HEAD, IN_BODY = range(3)

_METHODS: dict[bytes, str] = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")}


def protocol_class(limits: HttpLimits) -> type[Protocol]:
    """The class to give to uvicorn, which makes an instance per connection."""
    return type("Protocol", (Protocol,), {"limits": limits, "known": Known(limits)})


class Protocol(HttpToolsProtocol):
    """One connection. All on the loop's thread."""

    limits: ClassVar[HttpLimits] = HttpLimits()
    known: ClassVar[Known] = Known(HttpLimits())

    parser: Any  # None when the connection is lost
    headers: list[tuple[bytes, bytes]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.take: Take | None = getattr(self.app, "take", None)
        self.watch = Watch()
        self._reading = BETWEEN
        self._refused: Refused | None = None  # by a callback of the parser
        self._begun = 0  # requests
        self._read = 0  # bytes of this read of the socket
        self._head_read = 0  # bytes of earlier reads that belong to the head being read
        self._barren = 0  # bytes of a chunked body's framing since there was content
        self.raw_left = 0  # bytes of body to come that the parser does not see
        self._deaf = False  # what comes is thrown away
        self._thrown = 0
        self._lingering = False
        self._ending = False
        self._active: Exchange | None = None  # being answered
        self._start: Exchange | None = None  # to be begun behind this read
        self._last_words = b""  # behind the answers under way
        self._surplus = len(self.connections) > self.limits.connections
        encrypted = transport.get_extra_info("sslcontext") is not None
        self._extensions = {} if encrypted else {EXTENSION: Direct(self)}
        self.transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        if len(self.connections) > 2 * self.limits.connections:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        if self._active is not None:
            self._active.disconnect()
        self.pipeline.clear()
        self.flow.resume_writing()
        self.parser = None  # which holds this object, as these do
        self._extensions = {}

    # -- reading

    def data_received(self, data: bytes) -> None:
        size = len(data)
        if self._deaf:
            self._throw(size)
            return
        if self.raw_left:
            data = self._take_raw(data)
            if not data:
                return
            size = len(data)
        block: bytes | None = None
        if self._active is None and self._reading == BETWEEN and not self._surplus:
            found = self.known.find(data)
            if isinstance(found, Request):
                self._take_whole(found)
                return
            block = found
        self._read = size
        body = self.cycle
        before = body.received if body is not None else 0
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._begin()
            if self._refused is not None:  # its context cannot be asked: it may be whatever else is being handled
                self.refuse(self._refused.status, self._refused.message)
            else:
                self.refuse(400, f"Invalid HTTP request: {error}")
            return
        if self._start is not None:
            if block is not None:
                self._keep(block, self._start)
            self._begin()
        if self._reading != BETWEEN:
            self._check_unfinished(size, body, before)

    def _take_raw(self, data: bytes) -> bytes:
        """Take what belongs to the body; the rest."""
        left = self.raw_left
        self.cycle.feed(data if len(data) <= left else data[:left])
        self._pass_raw(min(len(data), left))
        return data[left:]

    def passed_raw(self, size: int) -> None:
        """So much of the body was received by somebody else."""
        if size:
            self.cycle.received += size
            self._pass_raw(size)

    def _pass_raw(self, size: int) -> None:
        self.raw_left -= size
        if not self.raw_left:
            if self.parser is not None:  # the connection is not lost
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            self.on_message_complete()

    @property
    def active(self) -> Exchange | None:
        """The request that is being answered; None, too, for an application whose connection was taken away."""
        return self._active

    def _feed(self, data: bytes) -> None:
        """Other protocols are not offered: a connection goes on in HTTP/1.1 behind a request for an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = memoryview(data)[upgrade.args[0] :]
            while rest:
                try:
                    self.parser.feed_data(rest)
                except httptools.HttpParserUpgrade as another:
                    rest = rest[another.args[0] :]
                else:
                    return

    def _take_whole(self, request: Request) -> None:
        """As the parser's callbacks do, for a request that is all there and whose header lines are known."""
        self._begun += 1
        method, raw_path, query, head, body = request
        exchange = Exchange(
            self, self._scope(method, raw_path, query, head, "1.1"), head, keep_alive=True, expecting=False
        )
        if body:
            exchange.feed(body)
        exchange.more = False
        self.cycle = self._active = self._start = exchange
        self._begin()

    def _keep(self, block: bytes, exchange: Exchange) -> None:
        """Know header lines again where they say nothing but what a plain request says."""
        if (
            exchange.announced != UNKNOWN
            and exchange.keep_alive
            and not exchange.expecting
            and b"upgrade" not in exchange.head.fields
            and exchange.scope["http_version"] == "1.1"
        ):
            self.known.keep(block, exchange.head)

    def _begin(self) -> None:
        """Answer a request whose head was complete: behind the read, so that a short body is there already.

        What is there as a whole is offered as a whole first: no task, no messages. The exchange takes its task out of
        the set by itself, which is cheaper than a callback. One that is cancelled before it began stays there; only
        the end of the server cancels.
        """
        exchange, self._start = self._start, None
        if exchange is not None:
            if self.take is not None and not exchange.more and exchange.offer(self.take):
                return
            task = self.loop.create_task(exchange.run(self.app))
            exchange.task = task
            self.tasks.add(task)

    def _check_unfinished(self, size: int, body: Exchange | None, before: int) -> None:
        """Bound what the parser keeps of a line that does not end."""
        limits = self.limits
        if self._reading == IN_HEAD:
            self._head_read += size
            if len(self.url) > limits.target_bytes:
                self.refuse(414, too_long(limits))
            elif self._head_read > limits.head_bytes + READ_BYTES:  # at most one read of it may be another request's
                self.refuse(431, too_large(limits))
        elif self.cycle.announced != UNKNOWN:
            left = self.cycle.announced - self.cycle.received
            if left >= RAW_BYTES and self.cycle.keep_alive:
                self.raw_left = left
                if left >= LONG_BYTES and self.cycle is self._active:
                    self.flow.pause_reading()  # until somebody asks for it, who may have a better way to receive it
        elif body is self.cycle and body is not None and body.received == before:
            self._barren += size
            if self._barren > limits.line_bytes:
                self.refuse(400, "Invalid HTTP request: a chunk without content")
        else:
            self._barren = 0

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._reading = IN_HEAD
        self._head_read = 0
        self._begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading == IN_BODY:
            self._refused = Refused(400, "Trailers are not taken")
            raise self._refused
        self.headers.append((name.lower(), value.rstrip(b" \t")))  # the parser leaves what follows the value

    def on_headers_complete(self) -> None:
        try:
            self._take_head()
        except Refused as refused:
            self._refused = refused
            raise

    def _take_head(self) -> None:
        parser, headers, limits = self.parser, self.headers, self.limits
        fields = dict(headers)
        if len(self.url) > limits.target_bytes:
            raise Refused(414, too_long(limits))
        if self._head_read + self._read > limits.line_bytes:
            check_sizes(headers, limits)
        if len(headers) > limits.header_lines:
            raise Refused(431, f"{len(headers)} header lines: at most {limits.header_lines} are taken")
        version = parser.get_http_version()
        if b"host" not in fields:
            if version != "1.0":
                raise Refused(400, "Exactly one Host header is required")
        elif len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
            raise Refused(400, "Exactly one Host header is required")
        if version not in ("1.1", "1.0"):
            raise Refused(400, f"HTTP/{version} is not spoken here")
        announced = self._announced(fields, version)
        head = Head(headers, fields, announced)
        if parser.should_upgrade() and (announced or b"upgrade" not in fields):
            raise Refused(400, "CONNECT, and an upgrade of a request with a body, are not taken")
        if self._surplus:
            raise Refused(503, f"Too many connections: at most {limits.connections} are served")
        method = parser.get_method()
        exchange = Exchange(
            self,
            self._scope(_METHODS.get(method) or method.decode("ascii"), *self._target(), head, version),
            head,
            keep_alive=version == "1.1" and parser.should_keep_alive(),
            expecting=b"expect" in fields and announced != 0 and fields[b"expect"].lower() == b"100-continue",
        )
        self.cycle = exchange
        self._reading = IN_BODY
        self._barren = 0
        if self._active is None:
            self._active = self._start = exchange
        else:
            self.flow.pause_reading()
            self.pipeline.append(exchange)

    def _announced(self, fields: dict[bytes, bytes], version: str) -> int:
        coding = fields.get(b"transfer-encoding")
        if coding is None:
            return int(fields.get(b"content-length", 0))
        if version != "1.1" or coding.lower() != b"chunked":
            raise Refused(400, "Transfer-Encoding: only chunked is taken, of HTTP/1.1")
        return UNKNOWN

    def _target(self) -> tuple[bytes, bytes]:
        """Path and query of the request being read."""
        raw_path, _, query = self.url.partition(b"?")
        if not raw_path.startswith(b"/") or b"#" in self.url:
            parsed = httptools.parse_url(self.url)
            raw_path, query = parsed.path or b"", parsed.query or b""
        return raw_path, query

    def _scope(self, method: str, raw_path: bytes, query: bytes, head: Head, version: str) -> dict[str, Any]:
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": head.headers,
            "extensions": self._extensions,
        }

    def on_body(self, body: bytes) -> None:
        self.cycle.feed(body)

    def on_message_complete(self) -> None:
        self._reading = BETWEEN
        self.cycle.end()

    # -- ending

    def answered(self, exchange: Exchange) -> None:
        """An answer is complete: go on with the next request, or end."""
        self._active = None
        if not exchange.keep_alive or self._ending:
            self.pipeline.clear()
            if exchange.more:
                self._linger()
            else:
                self.transport.close()
        elif self.pipeline:
            self._active = self._start = self.pipeline.popleft()
            self._begin()
        elif self._last_words:
            self.last_words(self._last_words)
        else:
            self.flow.resume_reading()

    def refuse(self, status: int, message: str) -> None:
        """Take nothing more from this connection, and say why when it is the turn of the request being read."""
        if self._deaf or self.transport.is_closing():
            return
        broken = self.cycle if self._reading == IN_BODY else None
        own = self.server_state.default_headers
        bodiless = broken is not None and broken.head_only
        words = refusal(status, message, own, bodiless=bodiless)
        self._deaf = True
        self.flow.resume_reading()
        if broken is not None and broken is not self._active:
            self.pipeline.remove(broken)
        if self._active is None:
            self.last_words(words)
        elif broken is not self._active:
            self._last_words = words
        elif broken.started:
            self.transport.close()  # it cannot be told any more
        else:
            broken.disconnect()
            self.last_words(words)

    def last_words(self, words: bytes) -> None:
        """Write them and end."""
        self._active = None
        self.pipeline.clear()
        if not self.transport.is_closing():
            self.transport.write(words)
            self._linger()

    def _linger(self) -> None:
        """End after the client: closing before it has sent everything would reset the connection, and it might lose
        what it was told. With TLS there is no end of one direction: the client closes, or the sweep does."""
        self._deaf = self._lingering = True
        self.flow.resume_reading()
        if self._ending:
            self.transport.close()
        elif self.transport.can_write_eof():
            self.transport.write_eof()

    def _throw(self, size: int) -> None:
        self._thrown += size
        if self._thrown > self.limits.discard_bytes:
            self.transport.abort()

    def shutdown(self) -> None:
        """The server ends: finish the answer under way, unless its request does not come on."""
        self._ending = True
        exchange = self._active
        if exchange is None or self._lingering:
            self.transport.close()
            return
        exchange.keep_alive = False
        self.pipeline.clear()
        if exchange.more:
            self.loop.call_later(HALF_GRACE_S, self._end_half, exchange, exchange.received)

    def _end_half(self, exchange: Exchange, received: int) -> None:
        if exchange is not self._active or not exchange.more or self.transport.is_closing():
            return
        if exchange.received != received or not exchange.waiting:
            self.loop.call_later(HALF_GRACE_S, self._end_half, exchange, exchange.received)
        elif exchange.wanted:
            self.refuse(503, ENDING)
        else:
            exchange.give_up()

    # -- for the sweep

    def stage(self) -> tuple[Stage, int, int]:
        exchange = self._active
        if self._lingering:
            said = self.transport.get_write_buffer_size() == 0
            return Stage.LINGER if said else Stage.SERVER, self._begun, 0
        if exchange is None:
            if self._reading == IN_HEAD or self._begun == 0:
                return Stage.HEAD, self._begun or 1, 0
            return Stage.IDLE, self._begun, 0
        if exchange.discarding:
            return Stage.DISCARD, self._begun, exchange.received
        stage = Stage.BODY if exchange.waiting and not self.flow.read_paused else Stage.SERVER
        return stage, self._begun, exchange.received

    def expire(self, stage: Stage) -> None:
        exchange = self._active
        if stage is Stage.LINGER:
            self.transport.abort()
        elif stage is Stage.HEAD or stage is Stage.IDLE:
            self.transport.close()
        elif exchange is not None:
            if exchange.wanted:
                self.refuse(400, TIMEOUT)
            else:
                exchange.give_up()
