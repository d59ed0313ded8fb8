"""A request's body: JSON, and behind it, where the call has one, a payload, which may be longer than memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from lamina.errors import InvalidArgument, TooBig
from lamina.faces.native.errors import ClientGone
from lamina.wire import frames

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

JSON_LIMIT = 1 << 20
"""Bytes of the JSON of a call without payload (architecture section 15)."""

HEAD_LIMIT = 16 << 20
"""Bytes of the JSON in front of a payload: label sets of thousands of records are in it."""

PAYLOAD_LIMIT = 272 << 20
"""Bytes of a payload that is taken as a whole: columns, or contents of many records."""

PIECE_BYTES = 1 << 20
"""A long content is handed on in pieces of about so many bytes."""


class Body:
    """Belongs to the event loop."""

    def __init__(self, receive: Receive) -> None:
        self._chunks = _chunks(receive)
        self._held = bytearray()  # read, and not taken
        self._ended = False

    async def whole(self) -> dict[str, Any]:
        """The JSON of a call without payload. Raises InvalidArgument, TooBig, ClientGone."""
        while await self._more():
            if len(self._held) > JSON_LIMIT:
                raise TooBig(f"the body has more than {JSON_LIMIT} bytes")
        return _object(bytes(self._held))

    async def head(self) -> dict[str, Any]:
        """The JSON in front of a payload. Raises as `whole`."""
        await self._have(frames.LENGTH.size)
        (length,) = frames.LENGTH.unpack_from(self._held)
        if length > HEAD_LIMIT:
            raise TooBig(f"the JSON in front of the payload has {length} bytes, at most {HEAD_LIMIT} are taken")
        end = frames.LENGTH.size + length
        await self._have(end)
        text = bytes(self._held[frames.LENGTH.size : end])
        del self._held[:end]
        return _object(text)

    async def payload(self) -> memoryview:
        """All that is left. Raises TooBig, ClientGone."""
        while await self._more():
            if len(self._held) > PAYLOAD_LIMIT:
                raise TooBig(f"one call carries at most {PAYLOAD_LIMIT} bytes: make several of it")
        return memoryview(self._held)

    async def small(self, limit: int) -> memoryview | None:
        """All that is left, if that is no more than `limit`; else None, and `pieces` has it. Raises ClientGone."""
        while len(self._held) <= limit and await self._more():
            pass
        return memoryview(self._held) if self._ended else None

    def pieces(self, loop: asyncio.AbstractEventLoop) -> Iterator[bytearray]:
        """All that is left, for a thread that may wait. Raises ClientGone."""
        while True:
            piece = asyncio.run_coroutine_threadsafe(self._piece(), loop).result()
            if not piece:
                return
            yield piece

    async def _piece(self) -> bytearray:
        while len(self._held) < PIECE_BYTES and await self._more():
            pass
        piece, self._held = self._held, bytearray()
        return piece

    async def _have(self, size: int) -> None:
        while len(self._held) < size:
            if not await self._more():
                raise InvalidArgument(f"the body ends after {len(self._held)} of {size} bytes")

    async def _more(self) -> bool:
        """Read on; False at the end."""
        if not self._ended:
            chunk = await anext(self._chunks, None)
            if chunk is not None:
                self._held += chunk
                return True
            self._ended = True
        return False


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is no JSON: {error}") from None
    if type(found) is not dict:
        raise InvalidArgument(f"the body is JSON, but no object: {found!r:.100}")
    return found


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Without empty ones. Raises ClientGone."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        if body:
            yield body
        if not message.get("more_body", False):
            return
