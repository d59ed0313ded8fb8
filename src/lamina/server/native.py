"""The native face of a server, and which paths of the HTTP listener are its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lamina.server.exchange import Take
from lamina.server.http import Face, Receive, Scope, Send

if TYPE_CHECKING:
    from lamina.access import Tokens
    from lamina.engine.database import Database
    from lamina.faces.native import Face as Native
    from lamina.jobs import Jobs
    from lamina.server.config import Config

SWEEP_S = 60.0
"""What clients left open is looked at so often."""


class Front:
    """The native face on its paths, and another face on all others, which may take whole requests as before."""

    def __init__(self, native: Native, other: Face) -> None:
        self._native = native
        self._other = other
        self.take: Take | None = getattr(other, "take", None)  # it takes no path that it does not know

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        face = self._native if scope["path"].startswith(self._native.prefix) else self._other
        await face(scope, receive, send)


@asynccontextmanager
async def open_native(
    db: Database, tokens: Tokens | None, config: Config, jobs: Jobs, other: Face
) -> AsyncIterator[Face]:
    """The native face of an open database, in front of another one that has all other paths."""
    from lamina.faces.native import Face as Native
    from lamina.faces.native import FaceConfig

    native = Native(db, tokens, FaceConfig(config.api_base), observer=jobs.observer)
    sweeping = asyncio.create_task(_sweep(native))
    try:
        yield Front(native, other)
    finally:
        sweeping.cancel()
        await asyncio.to_thread(native.close)


async def _sweep(native: Native) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await asyncio.to_thread(native.handles.sweep)
