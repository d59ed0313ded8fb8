"""The HTTP protocol on a loopback socket, with a raw client and a clock that the test turns."""

import asyncio
from contextlib import asynccontextmanager
from typing import NamedTuple

import uvicorn
import uvloop
from uvicorn.server import ServerState

from lamina.server.deadlines import Sweep
from lamina.server.heads import OWN_HEADERS
from lamina.server.limits import HttpLimits
from lamina.server.protocol import protocol_class
from lamina.testing.clock import ManualClock

LONG_S = 20.0


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes


def run(main):
    """On the loop that the server uses, within LONG_S."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, LONG_S))


class Wire:
    """One connection of a client."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, data):
        self.writer.write(data)

    async def head(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [line.split(": ", 1) for line in lines[1:-2]]
        assert all(name == name.lower() for name, _ in headers)
        assert len({name for name, _ in headers}) == len(headers)
        return int(lines[0].split(" ")[1]), dict(headers)

    async def answer(self, method="GET"):
        status, headers = await self.head()
        body = b""
        if method != "HEAD" and status not in (100, 204):
            if headers.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readline(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
        return Answer(status, headers, body)

    async def ended(self):
        """Whether the server says nothing more and closes."""
        return await self.reader.read() == b""

    def close(self):
        self.writer.close()


class Wired:
    """The server's side."""

    def __init__(self, state, sweep, clock, port, trust, known):
        self.state = state
        self.known = known
        self.clock = clock
        self._sweep = sweep
        self._port = port
        self._trust = trust
        self._wires = []

    async def connect(self):
        before = len(self.state.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust)
        wire = Wire(reader, writer)
        self._wires.append(wire)
        await until(lambda: len(self.state.connections) > before)
        return wire

    def pass_time(self, seconds):
        """As if so much time passed with a sweep each second."""
        self._sweep(self.state.connections)
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self._sweep(self.state.connections)

    @property
    def connection(self):
        (only,) = self.state.connections
        return only

    def close(self):
        for wire in self._wires:
            wire.writer.transport.abort()


async def until(condition):
    """Let the loop turn until the condition holds; `run` bounds it."""
    while not condition():
        await asyncio.sleep(0)


async def settled():
    """Let what is on its way through loopback arrive, as far as nothing observable tells that it did."""
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def wired(app, *, tls=None, trust=None, **limits):
    """A listener; `tls` and `trust` are the contexts of server and client."""
    clock, limits = ManualClock(), HttpLimits(**limits)
    settings = uvicorn.Config(
        app,
        http=protocol_class(limits),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
    )
    settings.load()
    state = ServerState()
    state.default_headers = [(name.encode(), value.encode()) for name, value in OWN_HEADERS]
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: settings.http_protocol_class(config=settings, server_state=state, app_state={}, _loop=loop),
        "127.0.0.1",
        0,
        ssl=tls,
    )
    server = Wired(
        state,
        Sweep(clock, limits),
        clock,
        listener.sockets[0].getsockname()[1],
        trust,
        settings.http_protocol_class.known,
    )
    try:
        yield server
    finally:
        listener.close()
        server.close()
        tasks = tuple(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in tuple(state.connections):  # one that is not read does not notice that its client has gone
            connection.transport.abort()
        await until(lambda: not state.connections)


async def read_body(receive):
    """(body, whether it came to its end)"""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(pieces), False
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces), True


async def reply(send, status=200, body=b"", headers=()):
    head = [(b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def echo(scope, receive, send):
    """Answers with the body."""
    body, ended = await read_body(receive)
    if ended:
        await reply(send, 200, body)


async def refuse(scope, receive, send):
    """Answers without a look at the body."""
    await reply(send, 409, b'{"detail":"exists"}', [(b"x-reduct-error", b"exists")])
