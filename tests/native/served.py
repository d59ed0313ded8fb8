"""A database behind the server's own HTTP stack, on a loopback port, for as long as a test takes.

One listener and one loop serve all tests of a process; each test puts its own database behind them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

import lamina
from lamina.access import Tokens
from lamina.engine.database import Database
from lamina.faces.native import Face, FaceConfig
from lamina.observe import Registry
from lamina.server.http import App
from lamina.server.limits import HttpLimits
from lamina.server.protocol import protocol_class
from lamina.time import SystemClock

LONG_S = 20.0


class Listener:
    """Serves whatever `app` is."""

    def __init__(self) -> None:
        self.app: Any = None
        self.loop = uvloop.new_event_loop()
        self.state = ServerState()
        self._ready = threading.Event()
        threading.Thread(target=self._run, name="served", daemon=True).start()
        assert self._ready.wait(LONG_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._listen())
        self.loop.run_forever()

    async def _listen(self, port: int = 0) -> None:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

        settings = uvicorn.Config(
            serve, http=protocol_class(HttpLimits()), ws="none", lifespan="off", interface="asgi3", log_config=None,
            proxy_headers=False,
        )  # fmt: skip
        settings.load()
        self._settings = settings
        self.server = await self.loop.create_server(
            lambda: settings.http_protocol_class(
                config=settings, server_state=self.state, app_state={}, _loop=self.loop
            ),
            "127.0.0.1",
            port,
        )
        self.port = self.server.sockets[0].getsockname()[1]
        self._ready.set()

    def call(self, work: Callable[[], Any]) -> Any:
        """On the loop's thread."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(LONG_S)

    def hang_up(self) -> None:
        """Every connection is gone, as if the server had been killed."""
        self.call(lambda: [connection.transport.abort() for connection in tuple(self.state.connections)])


class Served:
    """A database and its server. `url` leads to it."""

    def __init__(self, listener: Listener, db: Database, tokens: Tokens | None = None) -> None:
        self.listener = listener
        self.db = db
        self.tokens = tokens
        self.url = f"http://127.0.0.1:{listener.port}"
        self.begin()

    def begin(self) -> None:
        """A server that knows nothing of what was open before."""
        self.face = Face(self.db, self.tokens, FaceConfig(threads=3, uploads=2, slow=1))
        app = App(Registry(), SystemClock())
        authenticate = self.tokens.authenticate if self.tokens is not None else None
        app.open_with(self.db, authenticate, guarded=self.tokens is None, face=self.face)
        self.listener.app = app

    def restart(self) -> None:
        self.listener.hang_up()
        self.face.close()
        self.begin()

    def close(self) -> None:
        self.listener.hang_up()
        self.face.close()
        self.db.close()


_listener: Listener | None = None


@contextmanager
def served(*arguments: Any, tokens: bool = False, **options: Any) -> Iterator[Served]:
    """What `lamina.open` opens with these arguments, served."""
    global _listener
    if _listener is None:
        _listener = Listener()
    db = lamina.open(*arguments, **options)
    running = Served(_listener, db, Tokens(db) if tokens else None)
    try:
        yield running
    finally:
        running.close()
