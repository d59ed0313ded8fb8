"""The threads on which the face calls what may block: the event loop must not wait for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lamina.errors import Closed

T = TypeVar("T")


class Threads:
    """A bounded pool; calls beyond it wait in order."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lamina-http")
        self._closed = False

    def run(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Call on a thread; the future of what it returns or raises belongs to the running loop. Raises Closed."""
        try:
            return asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)
        except RuntimeError:
            if self._closed:  # a request that came while the server was ending
                raise Closed("the server is stopping") from None
            raise

    def close(self) -> None:
        """Finish what was begun."""
        self._closed = True
        self._pool.shutdown(wait=True)
