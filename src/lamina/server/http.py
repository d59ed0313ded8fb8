"""The HTTP side of a server, as a raw ASGI 3 application: /alive, /ready, /metrics, and what stands before the face.

In this order: Host and Origin are checked, OPTIONS is answered, the client's address is found, rates are limited,
a compressed body is undone, then the face is called. What is not configured costs nothing.
Errors have the shape of contract reductstore section 1.3: JSON with `detail`, the message in x-reduct-error.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from lamina.errors import InvalidArgument, PermissionDenied
from lamina.observe import Counter, Registry, Timer
from lamina.ops.health import Watched, health
from lamina.ops.metrics import CONTENT_TYPE, Metrics
from lamina.server.clientip import FORWARDED, client_ip
from lamina.server.cors import PREFLIGHT, Cors
from lamina.server.encoding import Inflated, coding_of, plain_headers
from lamina.server.exchange import Reply, Take
from lamina.server.heads import error_body, error_value
from lamina.server.limits import HttpLimits
from lamina.server.ratelimit import RateLimiter, RateLimits
from lamina.time import Clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Authenticate = Callable[[str, str | None], object]
"""Takes an Authorization header and the client's address; raises PermissionDenied if it names no valid token. May
block."""


Face = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application for everything but the paths of this one. It may have a `take` (see exchange.Take), too."""

Header = tuple[bytes, bytes]

STARTING = "The server is starting up, please try again later"
NO_CORS, NO_RATES, LIMITS = Cors(), RateLimits(), HttpLimits()
OWN_PATHS = ("/alive", "/ready", "/metrics")
LONG_WAY = frozenset((b"origin", b"content-encoding", b"transfer-encoding", *FORWARDED))
"""Headers of requests that `take` leaves to ASGI."""


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str = ""
    error: str = ""
    headers: tuple[Header, ...] = ()


class App:
    """Answers while the database is being opened, too; `open_with` tells it when that is done.

    `guarded`: requests whose Host is not loopback or whose Origin is foreign get 403. Without authentication
    any web page could otherwise talk to a local server through the browser, or rebind a name to it.
    Before the database is open there is nothing to guard.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        *,
        api_base: str = "/",
        cors: Cors = NO_CORS,
        rates: RateLimits = NO_RATES,
        limits: HttpLimits = LIMITS,
    ) -> None:
        self._guarded = False
        self._db: Watched | None = None
        self._face: Face | None = None
        self._take: Take | None = None
        self._authenticate: Authenticate | None = None  # None: no authentication
        self._registry = registry
        self._clock = clock
        self._metrics = Metrics(registry)
        self._alive = api_base + "api/v1/alive"
        self._cors = cors
        self._limiter = RateLimiter(rates, clock) if rates else None
        self._limits = limits
        self._counters: dict[tuple[str, int], Counter] = {}
        self._timers: dict[str, Timer] = {}

    def open_with(
        self, db: Watched, authenticate: Authenticate | None, *, guarded: bool, face: Face | None = None
    ) -> None:
        """From now on answer for this database; paths that are not this application's go to the face."""
        self._guarded = guarded
        self._authenticate = authenticate
        self._metrics.db = db
        self._face = face
        if self._limiter is None:
            self._take = getattr(face, "take", None)
        self._db = db

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "uvicorn is configured without lifespan and websockets"
        began = self._clock.monotonic_ns()
        fields = dict(scope["headers"])
        name = scope["path"] if scope["path"] in OWN_PATHS else "other"
        answer = self._check(scope, fields)
        if answer is None and (name != "other" or self._face is None):
            answer = await self._answer(scope)
        if answer is None:
            status = await self._call_face(scope, fields, receive, send)
        else:
            status = answer.status
            await _send(answer, scope["method"], send, self._cors_headers(fields))
        self._count(name, status, self._clock.monotonic_ns() - began)

    def take(self, scope: Scope, memo: dict[str, Any], body: bytes, reply: Reply) -> bool:
        """See exchange.Take: passed on to the face where nothing that stands before it has a say."""
        take = self._take
        if take is None or scope["path"] in OWN_PATHS or not (memo.get("plain") or self._is_plain(scope, memo)):
            return False
        clock = self._clock
        began = clock.monotonic_ns()

        def counted(status: int, headers: Sequence[Header], body: bytes) -> None:
            reply(status, headers, body)
            self._count("other", status, clock.monotonic_ns() - began)

        return take(scope, memo, body, counted)

    def _is_plain(self, scope: Scope, memo: dict[str, Any]) -> bool:
        """Whether these headers pass unchanged; remembered with them if so."""
        lasting = memo.get("rest", memo)  # a series of records, which does not last, is no part of the question
        if lasting.get("plain"):
            return True
        fields = memo["fields"]
        plain = not any(name in fields for name in LONG_WAY) and self._check(scope, fields) is None
        if plain:
            lasting["plain"] = True
        return plain

    def _count(self, path: str, status: int, took_ns: int) -> None:
        counter = self._counters.get((path, status))
        if counter is None:
            counter = self._counters[path, status] = self._registry.counter(
                "lamina_http_requests_total", "HTTP requests", path=path, status=str(status)
            )
        counter.add()
        timer = self._timers.get(path)
        if timer is None:
            timer = self._timers[path] = self._registry.timer(
                "lamina_http_request_seconds", "Time to answer a request", path=path
            )
        timer.add(took_ns)

    def _cors_headers(self, fields: dict[bytes, bytes]) -> list[Header]:
        return self._cors.headers(fields.get(b"origin")) if self._cors else []

    def _check(self, scope: Scope, fields: dict[bytes, bytes]) -> Answer | None:
        """What is answered whatever the path is."""
        refused = _check_host(scope["headers"], fields, scope["http_version"], self._guarded, self._cors)
        if refused is not None:
            return refused
        if scope["method"] == "OPTIONS":
            return Answer(200, headers=tuple(PREFLIGHT))
        return None

    async def _answer(self, scope: Scope) -> Answer:
        path, method = scope["path"], scope["method"]
        if path not in OWN_PATHS:
            if self._db is None:
                return Answer(200) if path == self._alive and method in ("GET", "HEAD") else _error(503, STARTING)
            return _error(404, "Not found") if method in ("GET", "HEAD") else _error(405, "Method not allowed")
        if method not in ("GET", "HEAD"):
            return _error(405, "Method not allowed")
        if path == "/alive":
            return Answer(200)
        state = health(self._db)
        if path == "/ready":
            return Answer(200) if state.serving else _error(503, state.reason)
        if self._db is None:
            return _error(503, state.reason)
        peer = scope.get("client")
        address = client_ip(peer[0], dict(scope["headers"])) if peer is not None else None
        return await self._render_metrics(scope["headers"], address)

    async def _call_face(self, scope: Scope, fields: dict[bytes, bytes], receive: Receive, send: Send) -> int:
        """The status of the answer; 0 if there was none, because the connection was lost."""
        assert self._face is not None, "asked for by the caller"
        peer = scope.get("client")
        if peer is not None:
            address = client_ip(peer[0], fields)
            if address != peer[0]:
                peer = scope["client"] = (address, peer[1])
        answering = _Answering(send, self._cors_headers(fields))
        if self._limiter is not None or b"content-encoding" in fields:
            scope["extensions"] = {}  # what is counted or inflated must come by here
        if self._limiter is not None:
            client = peer[0] if peer is not None else ""
            refused = self._limiter.admit(client, int(fields.get(b"content-length", 0)))
            if refused:
                await _send(_error(429, refused), scope["method"], answering.send)
                return 429
            answering.limiter, answering.client = self._limiter, client
            if b"transfer-encoding" in fields:
                receive = _counted(receive, self._limiter, client)
        inflated = None
        if b"content-encoding" in fields:
            found = self._inflated(scope, fields, receive)
            if isinstance(found, Answer):
                await _send(found, scope["method"], answering.send)
                return found.status
            inflated = found
        if inflated is not None:
            answering.inflated = inflated
            receive = inflated.receive
        await self._face(scope, receive, answering.send)
        if inflated is not None and inflated.error and not answering.status:
            answering.inflated = None
            await _send(_error(400, inflated.error), scope["method"], answering.send)
        return answering.status

    def _inflated(self, scope: Scope, fields: dict[bytes, bytes], receive: Receive) -> Inflated | Answer | None:
        """The body of this request as it was before it was compressed, its headers likewise; None: it was not."""
        try:
            coding = coding_of(fields)
        except InvalidArgument as error:
            return _error(415, str(error))
        if coding is None:
            return None
        try:
            scope["headers"], announced = plain_headers(scope["headers"], fields)
        except InvalidArgument as error:
            return _error(400, str(error))
        length = fields.get(b"content-length")
        return Inflated(receive, coding, announced, int(length) if length else None, self._limits)

    async def _render_metrics(self, headers: list[tuple[bytes, bytes]], address: str | None) -> Answer:
        if self._authenticate is not None:
            values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
            if len(values) != 1 or not values[0].lower().startswith("bearer "):
                return _error(401, "No bearer token in request header")
            try:
                await asyncio.to_thread(self._authenticate, values[0], address)  # scrypt takes 50 ms: not on the loop
            except PermissionDenied:
                return _error(401, "Invalid token")
        return Answer(200, await asyncio.to_thread(self._metrics.render), CONTENT_TYPE)


class _Answering:
    """The face's way to the client: notes the status, adds headers, counts bytes, as far as that is asked for."""

    __slots__ = ("_extra", "_send", "client", "inflated", "limiter", "status")

    def __init__(self, send: Send, extra: list[Header]) -> None:
        self._send = send
        self._extra = extra
        self.limiter: RateLimiter | None = None
        self.client = ""
        self.inflated: Inflated | None = None
        self.status = 0

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        if self.inflated is not None and self.inflated.error and not self.status:
            return _nothing()  # the face has seen a broken connection; the reason is said when it has returned
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._extra:
                message = {**message, "headers": [*message.get("headers", ()), *self._extra]}
        elif self.limiter is not None:
            self.limiter.sent(self.client, len(message.get("body", b"")))
        return self._send(message)


async def _nothing() -> None:
    return


def _counted(receive: Receive, limiter: RateLimiter, client: str) -> Receive:
    async def counted() -> MutableMapping[str, Any]:
        message = await receive()
        limiter.received(client, len(message.get("body", b"")))
        return message

    return counted


def _check_host(
    headers: Sequence[Header], fields: dict[bytes, bytes], http_version: str, guarded: bool, cors: Cors
) -> Answer | None:
    """A configured origin is not foreign: who allows a page to read answers means to let it ask."""
    if b"host" not in fields:
        if http_version == "1.1":
            return _error(400, "Exactly one Host header is required")
    elif len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        return _error(400, "Exactly one Host header is required")
    if not guarded:
        return None
    if not is_loopback_authority(fields.get(b"host", b"").decode("latin-1")):
        return _error(403, "Without authentication only requests to localhost are answered")
    if b"origin" in fields:
        origins = [value for name, value in headers if name == b"origin"]
        if not all(cors.allows(origin) or _is_loopback_origin(origin.decode("latin-1")) for origin in origins):
            return _error(403, "Without authentication requests from other origins are refused")
    return None


@lru_cache(maxsize=256)  # 2 µs otherwise, and clients name few hosts
def is_loopback_authority(authority: str) -> bool:
    """Whether HOST[:PORT] names this machine: `localhost` or a loopback address, never any other name,
    whatever it may resolve to."""
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, ""
    elif not (port.isascii() and port.isdigit()):
        return False
    if host.lower() == "localhost":
        return True
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_loopback_origin(origin: str) -> bool:
    scheme, _, authority = origin.partition("://")  # an origin has no path; anything behind fails as an authority
    return scheme in ("http", "https") and is_loopback_authority(authority)


def _error(status: int, message: str) -> Answer:
    return Answer(status, error_body(message), "application/json", message)


async def _send(answer: Answer, method: str, send: Send, extra: Iterable[Header] = ()) -> None:
    """HEAD gets the headers of GET, content-length included, and no body."""
    headers = [(b"content-length", str(len(answer.body)).encode()), *answer.headers, *extra]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode()))
    if answer.error:
        headers.append((b"x-reduct-error", error_value(answer.error)))
    if answer.status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    if answer.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
