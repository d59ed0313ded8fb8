"""The boundary of HTTP: bytes on a socket of a server with everything behind it."""

from __future__ import annotations

import asyncio
import atexit
import re
from contextlib import AsyncExitStack
from functools import cache

from lamina.server.tests.wired import Wired, wired
from tests.security.grounds import Grounds

ANSWER_S = 5.0

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

WORDS = (
    b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ", b"OPTIONS ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"host: localhost\r\n", b"content-length: 5\r\n", b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"expect: 100-continue\r\n",
    b"connection: close\r\n", b"upgrade: h2c\r\n", b"content-encoding: gzip\r\n", b"content-encoding: zstd\r\n",
    b"x-reduct-time-1: 5,\r\n", b"x-reduct-entries: e\r\n", b"x-reduct-start-ts: 1\r\n", b"x-reduct-0-0: 5,,a=b\r\n",
    b"x-reduct-content-length: 5\r\n", b"x-reduct-label-a: b\r\n", b"x-reduct-query-id: 1\r\n", b"range: bytes=0-\r\n",
    b"/api/v1/", b"b/b/e", b"/batch", b"/q", b"?ts=1", b"io/b/write", b"io/b/read", b"links/f?ct=", b"tokens/t",
    b"info", b"list", b"%00", b"%2F", b"..", b'{"query_type":"QUERY"}', b"\x00", b"\xff",
)  # fmt: skip

_HEAD = b" HTTP/1.1\r\nhost: localhost\r\n"
REQUESTS = (
    b"GET /api/v1/info" + _HEAD + b"\r\n",
    b"POST /api/v1/b/b/e?ts=1" + _HEAD + b"content-length: 5\r\nx-reduct-label-a: b\r\n\r\nhello",
    b"POST /api/v1/b/b/e/batch" + _HEAD + b"transfer-encoding: chunked\r\nx-reduct-time-2: 5,,a=b\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    b"POST /api/v1/io/b/write" + _HEAD + b"content-length: 5\r\nx-reduct-entries: e\r\nx-reduct-start-ts: 3\r\n"
    b"x-reduct-0-0: 5,\r\n\r\nhello",
    b"POST /api/v1/b/b/e/q" + _HEAD + b'content-length: 22\r\n\r\n{"query_type":"QUERY"}'
    b"GET /api/v1/list" + _HEAD + b"\r\n",
    b"POST /api/v1/b/b/e/q" + _HEAD + b"expect: 100-continue\r\ncontent-length: 22\r\n\r\n" + b'{"query_type":"QUERY"}',
)  # fmt: skip


@cache
def _served() -> tuple[asyncio.Runner, Wired]:
    """One server for all inputs; ended with the process."""
    runner, stack = asyncio.Runner(), AsyncExitStack()
    grounds = Grounds(tokens=False)
    grounds.db.buckets.create("b", {"quota_type": "FIFO", "quota_size": 10_000_000})
    server = runner.run(stack.enter_async_context(wired(grounds.app)))

    def end() -> None:
        runner.run(stack.aclose())
        runner.close()
        grounds.close()

    atexit.register(end)
    return runner, server


def answer(data: bytes) -> str:
    """Every answer is one of HTTP and none tells of a defect; the server goes on."""
    runner, server = _served()
    said = runner.run(asyncio.wait_for(_exchange(server, data), ANSWER_S))
    assert not said or said.startswith(b"HTTP/1.1 "), said[:100]
    found = _STATUS.findall(said)
    for status in found:
        assert status < b"500" or status == b"503", said
    return "".join(chr(ord("a") + int(status) % 61) for status in found[:3])


async def _exchange(server: Wired, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server._port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""  # refused while it was sent
    finally:
        writer.transport.abort()
