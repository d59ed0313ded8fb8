"""Batches of queries that are made while the client works on the one before.

A client that reads a query asks for one batch after the other, and does nothing while it waits. So the next is taken
from the query, encoded and read as soon as an answer is out; the request for it finds it done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

from lamina.faces.reduct.threads import Threads

if TYPE_CHECKING:
    from lamina.engine.records.queries import Query

KEPT = 32
"""Batches that wait with their contents: 256 KiB each, longer ones are read when they are sent; or 1 MiB where the loop
sends. Of earlier ones contents are read again."""

T = TypeVar("T")


class Prepared(Generic[T]):
    """A batch under way to whoever asks for it, or what went wrong with it. `key` says what was asked for."""

    __slots__ = ("drop", "future", "key")

    def __init__(self, key: object, future: asyncio.Future[T | Exception], drop: Callable[[T], None]) -> None:
        self.key = key
        self.future = future
        self.drop = drop

    async def result(self) -> T | Exception:
        return await asyncio.shield(self.future)


class Ahead(Generic[T]):
    """The next batch of each query. Belongs to the event loop."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._prepared: WeakKeyDictionary[Query, Prepared[T]] = WeakKeyDictionary()
        self._full: deque[Prepared[T]] = deque()  # oldest first; some were taken

    def prepare(self, query: Query, key: object, make: Callable[[], T], drop: Callable[[T], None]) -> None:
        """Call `make` on a thread. `drop` makes what it gave smaller, when too many wait."""
        prepared = Prepared(key, self._threads.run(_caught, make), drop)
        self._prepared[query] = prepared
        self._full.append(prepared)
        while len(self._full) > KEPT:
            oldest = self._full.popleft()
            oldest.future.add_done_callback(partial(_drop, oldest.drop))

    def pop(self, query: Query) -> Prepared[T] | None:
        """What was prepared, for whoever asks first; None: nothing."""
        found = self._prepared.pop(query, None)
        if found is not None:
            with suppress(ValueError):  # it was dropped
                self._full.remove(found)
        return found


def _caught(make: Callable[[], T]) -> T | Exception:
    """Nobody may ever ask for it."""
    try:
        return make()
    except Exception as error:
        return error


def _drop(drop: Callable[[T], None], future: asyncio.Future[T | Exception]) -> None:
    if not future.cancelled():
        made = future.result()
        if not isinstance(made, Exception):
            drop(made)
