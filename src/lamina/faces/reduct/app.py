"""The ASGI application: finds the route, asks who is calling, and answers what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lamina.access import ANONYMOUS_FULL, Tokens
from lamina.errors import LaminaError
from lamina.faces.reduct.ahead import Ahead
from lamina.faces.reduct.arrivals import Arrivals
from lamina.faces.reduct.call import Call, Receive, Send
from lamina.faces.reduct.commits import Commits
from lamina.faces.reduct.config import API_VERSION, SERVER, FaceConfig, Scope
from lamina.faces.reduct.errors import ClientGone, Refused
from lamina.faces.reduct.guard import NOBODY, Guard, check, client_ip
from lamina.faces.reduct.headers import Header
from lamina.faces.reduct.jobs import Jobs
from lamina.faces.reduct.links import Links
from lamina.faces.reduct.observer import Observer
from lamina.faces.reduct.routes import NO_MATCH, Router
from lamina.faces.reduct.threads import Threads

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.faces.reduct.reading import Taken

log = logging.getLogger("lamina.reduct")

PAGE = """<!doctype html>
<title>Lamina</title>
<h1>Lamina</h1>
<p>This server speaks ReductStore's HTTP API. There is no console yet; ReductStore's clients and these pages work:</p>
<ul>
<li><a href="{base}api/v1/info">{base}api/v1/info</a>: what it holds
<li><a href="{base}api/v1/openapi.json">{base}api/v1/openapi.json</a>: every route
<li><a href="/ready">/ready</a>, <a href="/metrics">/metrics</a>: health
</ul>
"""
"""Where a browser ends up that was given the server's address."""

PAGE_HEADERS: list[Header] = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
]


Reply = Callable[[int, Sequence[Header], bytes], None]
"""Status, headers with the body's content-length, body."""


class Face:
    """One HTTP face of one open database. Used on one event loop; `close` when no request is under way any more.

    `tokens` None: no authentication, everybody may do everything. `replications` and `lifecycles` manage the jobs.
    `observer` hears of every call.
    """

    def __init__(
        self,
        db: Database,
        tokens: Tokens | None,
        config: FaceConfig,
        *,
        replications: Jobs,
        lifecycles: Jobs,
        observer: Observer | None = None,
    ) -> None:
        self.db = db
        self.tokens = tokens
        self.config = config
        self.replications = replications
        self.lifecycles = lifecycles
        self.observer = observer
        self.clock = db.clock
        self.random = db.random
        self.threads = Threads(config.threads)
        self.commits = Commits()
        self.links = Links(self)
        self.router = Router(config.base_path)
        self.stranger = ANONYMOUS_FULL if tokens is None else NOBODY
        self.guard = Guard(tokens, self.threads) if tokens is not None else None
        self.arrivals = Arrivals()
        self.ahead: Ahead[Taken] = Ahead(self.threads)
        self.began_ns = db.clock.monotonic_ns()
        self.base_headers: list[Header] = [(b"x-reduct-api", API_VERSION.encode()), (b"server", SERVER.encode())]
        self.done_headers = (*self.base_headers, (b"content-length", b"0"))
        self.done: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": self.done_headers}

    def close(self) -> None:
        """Finish what was begun on other threads."""
        self.threads.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(self, scope, receive, send)
        began = self.clock.monotonic_ns()
        try:
            await self._serve(call)
        finally:
            self._observe(call, began)

    def take(self, scope: Scope, memo: dict[str, Any], body: bytes, reply: Reply) -> bool:
        """Answer a request that is there as a whole by `reply(status, headers, body)`, on the loop, at once or later;
        False: nothing was done, call this object instead. `memo`: a place for what follows from the headers alone.

        What is refused is refused by the other way, which finds the same again."""
        method = scope["method"]
        match = self.router.match(scope["raw_path"], method)
        route = match.routes.get(method)
        if route is None or route.taker is None:
            return False
        call = Call(self, scope, _no_receive, _no_send)
        call.values = match.values
        began = self.clock.monotonic_ns()

        def done(error: BaseException | None) -> None:
            if error is None:
                call.status = 200
                reply(200, self.done_headers, b"")
            else:
                call.status, headers, text = call.failure(error)
                length = (b"content-length", b"%d" % len(text))
                reply(call.status, [*self.base_headers, *headers, length], text)
            self._observe(call, began)

        try:
            if self.guard is not None and route.right != "none":
                principal = self.guard.try_identify(scope, call.headers)
                if principal is None:
                    return False
                call.principal = principal
                check(principal, route.right, match.values)
            return route.taker(call, memo, body, done)
        except LaminaError:
            return False

    def _observe(self, call: Call, began: int) -> None:
        """Tell the observer of a call that was answered."""
        if self.observer is not None:
            scope = call.scope
            took_us = (self.clock.monotonic_ns() - began) // 1000
            ip = client_ip(scope)
            self.observer.call(call.principal.name, call.method, scope["path"], ip, call.status, call.message, took_us)

    async def _serve(self, call: Call) -> None:
        try:
            match = self.router.match(call.scope["raw_path"], call.method)
            if match is NO_MATCH:
                await self._elsewhere(call)
                return
            route = match.routes.get(call.method)
            if route is None and call.method == "HEAD":
                route = match.routes.get("GET")  # answered like GET, without the body
            if route is None:
                await call.answer(405, [(b"allow", ", ".join(sorted(match.routes)).encode())])
                return
            call.values = match.values
            if self.guard is not None and route.right != "none":
                call.principal = await self.guard.identify(call.scope, call.headers)
                check(call.principal, route.right, match.values)
            await route.handler(call)
        except ClientGone:
            log.debug("the client of %s %r went away", call.method, call.scope["path"])
        except Exception as error:  # the boundary: whatever it is, the client gets an answer
            await call.fail(error)

    async def _elsewhere(self, call: Call) -> None:
        """Paths outside the API: the console's place, and nothing (contract 1.3, 3)."""
        base = self.config.base_path
        readable = call.method in ("GET", "HEAD")
        if readable and call.scope["path"] in (base, f"{base}ui"):
            await call.answer(302, [(b"location", f"{base}ui/".encode())])
        elif readable and call.scope["path"] == f"{base}ui/":
            await call.answer(200, PAGE_HEADERS, PAGE.format(base=base).encode())
        elif readable:
            raise Refused(404, "Not found")
        else:
            await call.answer(405)


async def _no_receive() -> Scope:
    raise AssertionError("the whole body is there already")


async def _no_send(message: Scope) -> None:
    raise AssertionError("the answer goes by `reply`")
