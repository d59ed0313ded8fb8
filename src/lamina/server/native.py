"""The native face of a server, and which paths of the HTTP listener are its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lamina.server.http import Face, Receive, Scope, Send

if TYPE_CHECKING:
    from lamina.access import Tokens
    from lamina.engine.database import Database
    from lamina.faces.native import Face as Native
    from lamina.jobs import Jobs
    from lamina.server.config import Config

SWEEP_S = 60.0
"""What clients left open is looked at so often."""


@asynccontextmanager
async def open_native(
    db: Database, tokens: Tokens | None, config: Config, jobs: Jobs, other: Face
) -> AsyncIterator[Face]:
    """The native face of an open database, in front of another one that has all other paths."""
    from lamina.faces.native import Face as Native
    from lamina.faces.native import FaceConfig

    native = Native(db, tokens, FaceConfig(config.api_base), observer=jobs.observer)
    prefix = native.prefix

    async def face(scope: Scope, receive: Receive, send: Send) -> None:
        await (native if scope["path"].startswith(prefix) else other)(scope, receive, send)

    sweeping = asyncio.create_task(_sweep(native))
    try:
        yield face
    finally:
        sweeping.cancel()
        await asyncio.to_thread(native.close)


async def _sweep(native: Native) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await asyncio.to_thread(native.handles.sweep)
