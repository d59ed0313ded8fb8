"""The threads on which the face calls what may block: the event loop must not wait for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """A bounded pool; calls beyond it wait in order."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lamina-http")

    def run(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Call on a thread; the future of what it returns or raises belongs to the running loop."""
        return asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown(wait=True)
