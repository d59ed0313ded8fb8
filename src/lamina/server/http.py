"""The HTTP side of a server without an HTTP face: /alive, /ready, /metrics, as a raw ASGI 3 application.

Errors have the shape of contract reductstore section 1.3: JSON with `detail`, the message in x-reduct-error.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from lamina.errors import PermissionDenied
from lamina.observe import Registry
from lamina.ops.health import Watched, health
from lamina.ops.metrics import CONTENT_TYPE, Metrics
from lamina.time import Clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Authenticate = Callable[[str], object]
"""Takes an Authorization header; raises PermissionDenied if it names no valid token. May block."""


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str = ""
    error: str = ""


class App:
    """Answers while the database is being opened, too; `open_with` tells it when that is done.

    `guarded`: requests whose Host is not loopback or whose Origin is foreign get 403. Without authentication
    any web page could otherwise talk to a local server through the browser, or rebind a name to it.
    Before the database is open there is nothing to guard.
    """

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._guarded = False
        self._db: Watched | None = None
        self._authenticate: Authenticate | None = None  # None: no authentication
        self._registry = registry
        self._clock = clock
        self._metrics = Metrics(registry)

    def open_with(self, db: Watched, authenticate: Authenticate | None, *, guarded: bool) -> None:
        """From now on answer for this database."""
        self._guarded = guarded
        self._authenticate = authenticate
        self._metrics.db = db
        self._db = db

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "uvicorn is configured without lifespan and websockets"
        began = self._clock.monotonic_ns()
        answer = await self._answer(scope)
        await _send(answer, scope["method"], send)
        path = scope["path"] if scope["path"] in ("/alive", "/ready", "/metrics") else "other"
        self._registry.counter(
            "lamina_http_requests_total", "HTTP requests", path=path, status=str(answer.status)
        ).add()
        self._registry.timer("lamina_http_request_seconds", "Time to answer a request", path=path).add(
            self._clock.monotonic_ns() - began
        )

    async def _answer(self, scope: Scope) -> Answer:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        refused = _check_host(headers, scope["http_version"], self._guarded)
        if refused is not None:
            return refused
        path, method = scope["path"], scope["method"]
        if path not in ("/alive", "/ready", "/metrics"):
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
        return await self._render_metrics(headers)

    async def _render_metrics(self, headers: list[tuple[bytes, bytes]]) -> Answer:
        if self._authenticate is not None:
            values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
            if len(values) != 1 or not values[0].lower().startswith("bearer "):
                return _error(401, "No bearer token in request header")
            try:
                await asyncio.to_thread(self._authenticate, values[0])  # scrypt takes 50 ms: not on the loop
            except PermissionDenied:
                return _error(401, "Invalid token")
        return Answer(200, await asyncio.to_thread(self._metrics.render), CONTENT_TYPE)


def _check_host(headers: list[tuple[bytes, bytes]], http_version: str, guarded: bool) -> Answer | None:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and http_version == "1.1"):
        return _error(400, "Exactly one Host header is required")
    if not guarded:
        return None
    if not hosts or not is_loopback_authority(hosts[0].decode("latin-1")):
        return _error(403, "Without authentication only requests to localhost are answered")
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if not all(_is_loopback_origin(origin) for origin in origins):
        return _error(403, "Without authentication requests from other origins are refused")
    return None


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
    body = json.dumps({"detail": message.replace('"', "'")}).encode()
    return Answer(status, body, "application/json", message)


async def _send(answer: Answer, method: str, send: Send) -> None:
    """HEAD gets the headers of GET, content-length included, and no body."""
    headers = [(b"content-length", str(len(answer.body)).encode())]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode()))
    if answer.error:
        headers.append((b"x-reduct-error", answer.error.encode()))
    if answer.status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    if answer.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
