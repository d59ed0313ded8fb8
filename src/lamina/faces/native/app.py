"""The ASGI application: takes a call in, asks who is calling, has it answered on a thread, and sends what it gives.

Engine calls may block, so they are made on threads, of which there are few: a call holds one while the engine works,
never while its caller sends or reads. What may take minutes has threads of its own, and so have contents that are
longer than memory, whose threads wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lamina.access import ANONYMOUS_FULL, Permissions, Principal, Tokens
from lamina.errors import InvalidArgument, NotFound
from lamina.faces.native import answers
from lamina.faces.native.body import Body, Receive
from lamina.faces.native.caller import Caller
from lamina.faces.native.contents import Content
from lamina.faces.native.errors import ClientGone, verdict
from lamina.faces.native.handles import Handles
from lamina.faces.native.mail import Asking
from lamina.faces.native.portions import PORTION_BYTES, Portion, portions
from lamina.storage.files import Buffer
from lamina.version import __version__
from lamina.wire import (
    COLUMNS_TYPE,
    CONTENT_TYPE,
    FRAMES_TYPE,
    JSON_TYPE,
    PREFIX,
    VERSION,
    arrow,
    failures,
    frames,
    kinds,
)
from lamina.wire.calls import CALLS, Call
from lamina.wire.results import Result

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.faces.native.observer import Observer

log = logging.getLogger("lamina.native")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

NOBODY = Principal("unauthorized", Permissions())
"""Whoever has not shown a token, where tokens are asked for."""

SMALL_CONTENT = 1 << 20
"""Contents up to here are held in memory; a longer one has a thread that waits for its bytes."""

SMALL_PAYLOAD = 1 << 20
"""Columns and contents of many records up to here are held for every call; of longer ones, which may be 272 MiB, for so
many as FaceConfig.large says."""

_END: Any = object()


@dataclasses.dataclass(frozen=True, slots=True)
class FaceConfig:
    base_path: str = "/"
    threads: int = 8  # at work on calls; more would only wait for the same disk and the same interpreter
    uploads: int = 32  # contents above SMALL_CONTENT at a time; others wait
    large: int = 8  # payloads above SMALL_PAYLOAD in memory at a time; others wait
    slow: int = 2  # calls at a time that may take minutes


class Face:
    """One HTTP face of one open database. Used on one event loop; `close` when no request is under way any more.

    `tokens` None: no authentication, everybody may do everything. `observer` hears of every call.
    """

    def __init__(
        self,
        db: Database,
        tokens: Tokens | None,
        config: FaceConfig | None = None,
        *,
        observer: Observer | None = None,
    ) -> None:
        config = config or FaceConfig()
        self.db = db
        self.tokens = tokens
        self.prefix = config.base_path + PREFIX
        self.handles = Handles(db.clock, db.random)
        self.observer = observer
        self.stranger = ANONYMOUS_FULL if tokens is None else NOBODY
        self.large = asyncio.Semaphore(config.large)
        self._threads = ThreadPoolExecutor(config.threads, "lamina-native")
        self._uploads = ThreadPoolExecutor(config.uploads, "lamina-upload")
        self._slow = ThreadPoolExecutor(config.slow, "lamina-slow")

    def close(self) -> None:
        """Finish what was begun on other threads, and close what clients have open."""
        for pool in (self._threads, self._uploads, self._slow):
            pool.shutdown(wait=True)
        self.handles.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self, scope, receive, send)
        began = self.db.clock.monotonic_ns()
        try:
            await exchange.serve()
        finally:
            if self.observer is not None:
                took_us = (self.db.clock.monotonic_ns() - began) // 1000
                exchange.report(self.observer, took_us)


class _Exchange:
    """One request and its answer."""

    def __init__(self, face: Face, scope: Scope, receive: Receive, send: Send) -> None:
        self.face = face
        self.scope = scope
        self._receive = receive
        self._send = send
        self._body = Body(receive)
        self._started = False
        self._status = 0
        self._message = ""
        self._caller = Caller(face.db, face.stranger, face.handles)
        client = scope.get("client")
        self._ip: str | None = client[0] if client else None

    def report(self, observer: Observer, took_us: int) -> None:
        caller, scope = self._caller, self.scope
        observer.call(caller.who.name, scope["method"], scope["path"], self._ip, self._status, self._message, took_us)
        for which, bucket, entry, records, size in caller.moved:
            (observer.wrote if which == "wrote" else observer.read)(bucket, entry, records, size)

    async def serve(self) -> None:
        try:
            name = self.scope["path"].removeprefix(self.face.prefix)
            call = CALLS.get(name)
            method = self.scope["method"]
            if call is None and name:
                raise NotFound(
                    f"there is no call {name!r:.100} in version {VERSION}: is the client newer than the server?"
                )
            if method != ("GET" if call is None else "POST"):
                await self._answer(405, JSON_TYPE, b'{"error": "InvalidArgument", "message": "calls are POST"}')
                return
            await self._identify()
            if call is None:
                await self._hello()
            else:
                await self._serve(call)
        except ClientGone:
            log.debug("the client of %r went away", self.scope["path"])
        except Exception as error:  # the boundary: whatever it is, the client gets an answer
            await self._fail(error)

    async def _identify(self) -> None:
        """Raises Unauthenticated."""
        tokens = self.face.tokens
        if tokens is None:
            return
        value = next((v.decode("latin-1") for name, v in self.scope["headers"] if name == b"authorization"), None)
        who = tokens.try_identify(value, self._ip)
        if who is None:  # scrypt takes 50 ms: not on the loop
            who = await self._run(self.face._threads, tokens.identify, value, self._ip)
        self._caller.who = who

    async def _hello(self) -> None:
        told = {"lamina": __version__, "wire": VERSION, "id": self.face.db.id.hex()}
        await self._answer(200, JSON_TYPE, json.dumps(told).encode())

    # -- a call --------------------------------------------------------------------------------------------------

    async def _serve(self, call: Call) -> None:
        face = self.face
        pool = face._slow if call.slow else face._threads
        if call.right == "full":
            self._caller.who.require_full_access()  # before a body is read
        if call.body == "none":
            arguments = _arguments(call, await self._body.whole())
        else:
            arguments = _arguments(call, await self._body.head())
            if call.body == "content":
                content = await self._body.small(SMALL_CONTENT)
                if content is None:
                    pool = face._uploads
                arguments["payload"] = content if content is not None else self._body.pieces(asyncio.get_running_loop())
            else:
                arguments["payload"] = await self._body.small(SMALL_PAYLOAD)
        if arguments.get("payload", True) is None:
            await self._run(pool, answers.allow, call, self._caller, arguments)  # before much is read
            async with face.large:
                arguments["payload"] = await self._body.payload()
                found = await self._run(pool, self._made, call, arguments)
        else:
            found = await self._run(pool, self._made, call, arguments)
        if isinstance(found, Asking):
            await self._answer_mail(found)
        elif isinstance(found, _Portions):
            await self._stream(found)
        elif isinstance(found, Content):
            await self._send_content(found)
        else:
            await self._answer(200, COLUMNS_TYPE if call.result.form == "columns" else JSON_TYPE, found)

    def _made(self, call: Call, arguments: dict[str, Any]) -> Any:
        """On a thread: the call is made, and what it gives is encoded as far as one step goes."""
        found = answers.prepare(call, self._caller, arguments)()
        result = call.result
        if result.form == "json":
            return json.dumps(result.write(found)).encode()
        if result.form == "columns":
            return memoryview(arrow.encode_bundle(found))
        return found if isinstance(found, (Content, Asking)) else _Portions(result, found)

    def _run(self, pool: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """On a thread; it goes to its end there, also where the request is cancelled."""
        return asyncio.get_running_loop().run_in_executor(pool, call, *arguments)

    # -- answers in parts ----------------------------------------------------------------------------------------

    async def _stream(self, found: _Portions) -> None:
        """Frames, the next of which are made while these are sent. It ends early where the client goes away."""
        gone = asyncio.ensure_future(self._gone())
        try:
            some, ended = found.first, found.ended
            if ended:
                await self._answer(200, FRAMES_TYPE, b"".join([*some, frames.head(frames.END, 0)]))
                return
            await self._start(200, FRAMES_TYPE)
            while True:
                reading = None if ended else asyncio.ensure_future(self._run(self.face._threads, found.next))
                try:
                    for part in some:
                        await self._part(part)
                except BaseException:
                    if reading is not None:
                        with contextlib.suppress(Exception):
                            await reading  # the connection's failure is told
                    raise
                if reading is None:
                    await self._part(frames.head(frames.END, 0), last=True)
                    return
                try:
                    some, ended = await reading
                except Exception as error:
                    _, shown = verdict(error, self.face.db.random)
                    self._message = str(shown)
                    text = failures.encode(shown)
                    await self._part(frames.head(frames.FAILED, len(text)) + text, last=True)
                    return
                if gone.done():
                    raise ClientGone
        finally:
            gone.cancel()
            await self._run(self.face._threads, found.close)

    async def _gone(self) -> None:
        """Returns when the client has gone; its request is read to the end."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _send_content(self, content: Content) -> None:
        """Bytes of known number, the next of which are read while these are sent."""
        parts = content.parts
        read = self.face._threads
        part = await self._run(read, next, parts, b"")
        await self._start(200, CONTENT_TYPE, content.size)
        left = content.size - len(part)
        while left:
            reading = asyncio.ensure_future(self._run(read, next, parts, b""))
            try:
                await self._part(part)
            except BaseException:
                with contextlib.suppress(Exception):
                    await reading
                raise
            part = await reading
            assert part, "a content is as long as its record says"
            left -= len(part)
        await self._part(part, last=True)

    async def _answer_mail(self, asking: Asking) -> None:
        if asking.timeout_s and not asking.ready:
            tasks = [asyncio.ensure_future(work) for work in (self._gone(), asking.mailbox.wait(asking.timeout_s))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if tasks[0].done():
                    raise ClientGone  # before anything is taken that it would not get
            finally:
                for task in tasks:
                    task.cancel()
        portion = await self._run(self.face._threads, asking.answer)
        await self._answer(
            200, FRAMES_TYPE, frames.head(frames.DATA, len(portion)) + portion + frames.head(frames.END, 0)
        )

    # -- the answer ----------------------------------------------------------------------------------------------

    async def _answer(self, status: int, kind: str, body: Buffer) -> None:
        await self._start(status, kind, len(body))
        await self._part(body, last=True)

    async def _start(self, status: int, kind: str, length: int | None = None) -> None:
        headers: list[Header] = [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        self._started = True
        self._status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _part(self, body: Buffer, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def _fail(self, error: Exception) -> None:
        """Answer with what went wrong. Once the answer has begun it can only be broken off: raises the error."""
        if self._started:
            raise error
        status, shown = verdict(error, self.face.db.random)
        if self.face.db.closed:
            status, shown = 503, failures.KINDS["Unavailable"]("the server is stopping")
        self._message = str(shown)
        await self._answer(status, JSON_TYPE, failures.encode(shown))


class _Portions:
    """An iteration on its way out: what one step of a thread gives is `first`, then what `next` gives."""

    def __init__(self, result: Result, found: Iterator[Any]) -> None:
        self._found = found
        self._portions = portions(result, found)
        self._lock = threading.Lock()  # a request that is cancelled may leave a thread in `next`
        try:
            self.first, self.ended = self.next()
        except BaseException:
            self.close()
            raise

    def next(self) -> tuple[list[Portion], bool]:
        """Frames of about PORTION_BYTES, and whether they were the last."""
        some: list[Portion] = []
        size = 0
        with self._lock:
            while size < PORTION_BYTES:
                portion = next(self._portions, _END)
                if portion is _END:
                    return some, True
                some += (frames.head(frames.DATA, len(portion)), portion)
                size += len(portion)
        return some, False

    def close(self) -> None:
        with self._lock:
            for one in (self._portions, self._found):
                if hasattr(one, "close"):
                    one.close()


def _arguments(call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Checked. Raises InvalidArgument."""
    known = {parameter.name for parameter in call.parameters}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise InvalidArgument(f"{call.name}: unknown argument {unknown[0]!r:.100}, expected {', '.join(sorted(known))}")
    missing = sorted(known - given.keys())
    if missing:
        raise InvalidArgument(f"{call.name}: argument {missing[0]!r} is missing")
    return {
        parameter.name: kinds.read(call.name, parameter.name, parameter.kind, given[parameter.name])
        for parameter in call.parameters
    }
