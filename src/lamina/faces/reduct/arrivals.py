"""Reads of continuous queries that wait for records, without a thread each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from lamina.engine.records.queries import Query


class _Waiter:
    """Of one query: asked for at most once at a time, however many reads come and go without anything new."""

    __slots__ = ("asked", "futures")

    def __init__(self) -> None:
        self.asked = False
        self.futures: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        self.asked = False
        for future in self.futures:
            if not future.done():
                future.set_result(None)
        self.futures.clear()


class Arrivals:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._waiters: WeakKeyDictionary[Query, _Waiter] = WeakKeyDictionary()

    async def wait(self, query: Query, timeout_s: float) -> None:
        """Return once records may have come since the query's last batch, or after the timeout."""
        loop = asyncio.get_running_loop()
        waiter = self._waiters.setdefault(query, _Waiter())
        future: asyncio.Future[None] = loop.create_future()
        waiter.futures.add(future)
        if not waiter.asked:
            waiter.asked = True
            query.on_change(lambda: _wake(loop, waiter))
        try:
            await asyncio.wait([future], timeout=timeout_s)
        finally:
            waiter.futures.discard(future)


def _wake(loop: asyncio.AbstractEventLoop, waiter: _Waiter) -> None:
    """On the committing thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(waiter.wake)
