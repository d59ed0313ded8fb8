"""A server that answers what it is told, connection by connection, and notes what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

HANG_UP = None
"""Instead of an answer."""

CUT = b"x-cut: 1\r\n"
"""A header after whose answer the connection ends."""


def answer(
    status: int = 200, body: bytes = b"", *, length: int | None = None, cut: bool = False, **headers: object
) -> bytes:
    lines = [f"HTTP/1.1 {status} Reason".encode()]
    lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items()]
    if status != 204:
        lines.append(b"content-length: %d" % (len(body) if length is None else length))
    if cut:
        lines.append(CUT.strip())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class RawServer:
    """`answers` are given in order; `asked` are the requests' first lines and bodies."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.asked: list[tuple[str, bytes]] = []
        self.heads: list[bytes] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RawServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                self.heads.append(head)
                self.asked.append((head.split(b" HTTP/", 1)[0].decode(), body))
                said = self.answers.pop(0)
                if said is HANG_UP:
                    break
                writer.write(said)
                await writer.drain()
                if CUT in said:
                    break
        writer.close()
