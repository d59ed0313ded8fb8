"""How an object of the native API becomes one for asyncio: one way for all methods of all classes.

Which members there are, and what kind each is of, is read off the classes of `lamina.remote`: they have the public ones
and nothing else, and what is a property there costs a look-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, ClassVar

from lamina.errors import Closed
from lamina.remote import (
    bucket,
    buckets,
    database,
    entry,
    measurements,
    record,
    selection,
    snapshot,
    stream,
    streams,
    subscription,
)

AT_ONCE = {"check_open", "closed", "entry"}
"""Members that neither look anything up nor wait."""

RENAMED = {"__len__": "length", "__contains__": "has"}
"""What Python cannot await under its own name."""

LARGE = ("Samples", "Summaries", "RecordBatch", "memoryview")
"""What an iteration may give of which one alone is a portion; of others many come from a thread together."""

MOST = 512

PATIENCE_S = 1.0
"""A thread that waits for inserts looks so often whether anybody still wants them."""

_END: Any = object()


class Threads:
    """Where the calls of one database are made."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.closed = False

    def start(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        """A call, on its way. Raises Closed after `close`."""
        if self.closed:
            raise Closed("the database is closed")
        return self._pool.submit(functools.partial(function, *arguments, **named))

    async def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What a call gives; what it opened is closed again if who waited for it is cancelled. Raises Closed."""
        call = self.start(function, *arguments, **named)
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            call.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, call: Future[Any]) -> None:
        if call.cancelled() or call.exception() is not None:
            return
        close = getattr(call.result(), "close", None)
        if close is None:
            return
        try:
            self._pool.submit(close)
        except RuntimeError:  # no new calls: so this is a thread of ours, at the end of its last one
            close()

    def close(self) -> None:
        """No new calls; those under way go to their end."""
        self.closed = True
        self._pool.shutdown(wait=False)


class Twin:
    """Base of the twins. Equal where the native objects are equal."""

    __slots__ = ("_native", "_threads")
    of: ClassVar[type[Any]]

    def __init__(self, native: Any, threads: Threads) -> None:
        self._native = native
        self._threads = threads

    def __init_subclass__(cls, of: type[Any]) -> None:
        cls.of = of
        cls.__doc__ = cls.__doc__ or f"The native `{of.__name__}`, awaited: the same members."
        for name, member in members(of).items():
            made = _member(name, member)
            name = RENAMED.get(name, name)
            if made is not None and name not in vars(cls):
                setattr(cls, name, made)
        TWINS[of.__name__] = cls

    def __getattr__(self, name: str) -> Any:
        """What is no method: the attributes that the native object has from the beginning, such as `uuid`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return twin(getattr(self._native, name), self._threads)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Twin) and bool(other._native == self._native)

    def __hash__(self) -> int:
        return hash(self._native)

    def __repr__(self) -> str:
        return f"<async {self._native!r}>"

    async def __aenter__(self) -> Any:
        self._native.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()  # every native object with an __enter__ has one


TWINS: dict[str, type[Twin]] = {}
"""By name of the native class, of which there are two: one on a directory, one on a server."""


def members(kind: type[Any]) -> dict[str, Any]:
    """Of a native class, with those that it shares with others."""
    return {
        name: member
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("lamina.")
        for name, member in vars(base).items()
    }


def _member(name: str, member: Any) -> Any:
    """What stands for a member of a native class; None for what needs nothing."""
    if name in RENAMED or name == "__getitem__":
        return _method(member)
    if name.startswith("_"):
        return None
    if isinstance(member, property):
        return property(_at_once(name) if name in AT_ONCE else _awaited(name), doc=member.__doc__)
    if not inspect.isfunction(member):
        return None
    if name in AT_ONCE:
        return _now(member)
    if gives(member) == "Selection":
        return _selecting(member)
    return _iteration(member) if gives(member).startswith("Iterator[") else _method(member)


def gives(function: Any) -> str:
    """The annotation of what it returns, as it is written."""
    return str(inspect.signature(function).return_annotation)


def _method(function: Any) -> Any:
    name = function.__name__

    @functools.wraps(function)
    async def call(self: Twin, *arguments: Any, **named: Any) -> Any:
        method = getattr(self._native, name)
        found = await self._threads.run(method, *map(native, arguments), **{k: native(v) for k, v in named.items()})
        return twin(found, self._threads)

    return call


def _now(function: Any) -> Any:
    name = function.__name__

    @functools.wraps(function)
    def call(self: Twin, *arguments: Any, **named: Any) -> Any:
        return twin(getattr(self._native, name)(*map(native, arguments), **named), self._threads)

    return call


def _selecting(function: Any) -> Any:
    name = function.__name__

    @functools.wraps(function)
    def select(self: Twin, *arguments: Any, **named: Any) -> Selection:
        method = functools.partial(getattr(self._native, name), *map(native, arguments))
        return Selection(_Later(functools.partial(method, **{k: native(v) for k, v in named.items()})), self._threads)

    return select


def _at_once(name: str) -> Callable[[Twin], Any]:
    return lambda self: twin(getattr(self._native, name), self._threads)


def _awaited(name: str) -> Callable[[Twin], Awaitable[Any]]:
    async def look(self: Twin) -> Any:
        return twin(await self._threads.run(getattr, self._native, name), self._threads)

    return look


def _iteration(function: Any) -> Any:
    name, most = function.__name__, 1 if any(kind in gives(function) for kind in LARGE) else MOST

    @functools.wraps(function)
    async def iterate(self: Twin, *arguments: Any, **named: Any) -> AsyncIterator[Any]:
        threads, method = self._threads, getattr(self._native, name)
        found: Iterator[Any] = await threads.run(method, *map(native, arguments), **named)
        async with contextlib.aclosing(_drawn(threads, found, most)) as values:
            async for value in values:
                yield value

    return iterate


async def _drawn(threads: Threads, found: Iterator[Any], most: int) -> AsyncGenerator[Any, None]:
    """What a native iteration gives, ever more of it at a time; closed in the end.

    Where it is cancelled while a thread reads on, it is closed as soon as that is through, and nobody waits for it."""
    reading = threading.Lock()
    some, count = [_END], 1
    try:
        while some:
            some = await threads.run(_take, reading, found, count)
            for value in some:
                yield twin(value, threads)
            count = min(2 * count, most)
    finally:
        close = getattr(found, "close", None)
        if close is not None and not threads.closed:
            busy, closing = reading.locked(), threads.start(_close, reading, close)
            if not busy:
                await asyncio.wrap_future(closing)


def _take(reading: threading.Lock, found: Iterator[Any], count: int) -> list[Any]:
    with reading:
        return list(islice(found, count))


def _close(reading: threading.Lock, close: Callable[[], None]) -> None:
    with reading:
        close()


def twin(value: Any, threads: Threads) -> Any:
    """What a native call gave, for asyncio."""
    kind = type(value)
    if kind is list:
        return [twin(one, threads) for one in value]
    if kind is dict:
        return {twin(key, threads): one for key, one in value.items()}
    made = TWINS.get(kind.__name__) if kind.__module__.startswith("lamina.") else None
    return value if made is None else made(value, threads)


def native(value: Any) -> Any:
    """An argument as the native call takes it: twins, mappings by twins, and what is iterated asynchronously."""
    if isinstance(value, Twin):
        return value._native
    if isinstance(value, Mapping) and any(isinstance(key, Twin) for key in value):
        return {native(key): one for key, one in value.items()}
    if isinstance(value, AsyncIterator):
        return _pulled(value, asyncio.get_running_loop())
    return value


def _pulled(source: AsyncIterator[Any], loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
    """Of the loop, iterated on a thread."""

    async def step() -> Any:
        return await anext(source, _END)

    while (one := asyncio.run_coroutine_threadsafe(step(), loop).result()) is not _END:
        yield one


class Database(Twin, of=database.Database):
    """Of `lamina.aio.open` and `lamina.aio.connect`; `async with` closes it."""

    __slots__ = ()

    async def close(self) -> None:
        """Idempotent."""
        if self._native.closed:
            return
        try:
            await self._threads.run(self._native.close)
        finally:
            self._threads.close()


class Streams(Twin, of=streams.Streams):
    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[Any]:
        found: AsyncIterator[Any] = self.find()
        return found


class Stream(Twin, of=stream.Stream):
    __slots__ = ()


class StreamView(Twin, of=stream.StreamView):
    __slots__ = ()


class Snapshot(Twin, of=snapshot.Snapshot):
    __slots__ = ()


class Buckets(Twin, of=buckets.Buckets):
    __slots__ = ()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for one in await self.list():
            yield one


class Bucket(Twin, of=bucket.Bucket):
    __slots__ = ()


class Entry(Twin, of=entry.Entry):
    __slots__ = ()


class Record(Twin, of=record.Record):
    __slots__ = ()


class _Later:
    """A native query that is asked, on the thread that uses it, when something of it is wanted."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._found: Any = None

    def _selection(self) -> Any:
        if self._found is None:
            self._found = self._ask()
        return self._found

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: getattr(self._selection(), name)(*arguments, **named)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._selection())

    def close(self) -> None:
        if self._found is not None:
            self._found.close()


class Selection(Twin, of=selection.Selection):
    """`async for record in entry.query(...)`, or all of it as columns: `await entry.query(...).to_arrow()`. The query
    is asked when the first of it is awaited."""

    __slots__ = ()

    async def __aiter__(self) -> AsyncIterator[Any]:
        async with contextlib.aclosing(_drawn(self._threads, self._native, MOST)) as records:
            async for record in records:
                yield record


class Measurements(Twin, of=measurements.Measurements):
    __slots__ = ()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for name in await self.list():
            yield name


class Measurement(Twin, of=measurements.Measurement):
    __slots__ = ()


class MeasurementView(Twin, of=measurements.MeasurementView):
    __slots__ = ()


class BucketView(Twin, of=snapshot.BucketView):
    __slots__ = ()


class EntryView(Twin, of=snapshot.EntryView):
    __slots__ = ()


class Subscription(Twin, of=subscription.Subscription):
    """`async for uuid, points in subscription` goes on until it is closed or has overflowed."""

    __slots__ = ("_closed", "_fetching", "_mail")

    def __init__(self, native: Any, threads: Threads) -> None:
        super().__init__(native, threads)
        self._mail: deque[Any] = deque()
        self._fetching: asyncio.Future[bool] | None = None
        self._closed = False

    async def get(self, timeout_s: float | None = None) -> Any:
        """As the native one. One that is cancelled loses nothing: what came meanwhile is for the next."""
        while not self._mail and not self._closed:
            if self._fetching is None:
                self._fetching = asyncio.wrap_future(self._threads.start(self._fetch))
            done, _ = await asyncio.wait({self._fetching}, timeout=timeout_s)
            if not done:
                break
            self._fetching = None
            if not done.pop().result():
                break
        return self._mail.popleft() if self._mail else None

    def _fetch(self) -> bool:
        """On a thread: wait for the next insert, for as long as one can come."""
        while not self._closed:
            mail = self._native.get(PATIENCE_S)
            if mail is not None:
                self._mail.append(mail)
                return True
            if self._native.overflowed:
                return False
        return False

    async def close(self) -> None:
        self._closed = True
        await self._threads.run(self._native.close)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while not self._closed:
            mail = await self.get()
            if mail is None:
                return
            yield mail

    async def __aenter__(self) -> Subscription:
        return self
