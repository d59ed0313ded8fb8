"""uvicorn's HTTP protocol and the deadline it lacks: silent connections and half heads stay for ever."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_DEADLINE_S = 10.0
"""From the connection, or the first byte of a later request, to the end of the head."""


class Protocol(HttpToolsProtocol):
    """Closes the connection without an answer when a request's head is late."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_arrived()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_DEADLINE_S, self.transport.close)

    def _head_arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
