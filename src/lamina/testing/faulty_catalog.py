"""A catalog whose nth transaction fails, before or after it took effect, as a disk makes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from lamina.catalog.catalog import Catalog, CatalogDelta, CatalogSnapshot, Sequence_
from lamina.errors import Unavailable

T = TypeVar("T")
When = Literal["before", "after"]


class FaultyCatalog:
    """Wraps a catalog. After a failure it refuses transactions, as the outcome is unknown to its user; reads
    go on.

    `transactions` counts commit, reserve and acquire_epoch alike, the failed one included.
    """

    def __init__(self, inner: Catalog) -> None:
        self.inner = inner
        self.transactions = 0
        self.stopped: Unavailable | None = None
        self._lock = threading.Lock()  # guards everything above and _fault
        self._fault: tuple[int, When] | None = None

    def fail(self, nth: int = 1, when: When = "before") -> None:
        """Let the nth transaction from now fail: 1 = the next."""
        with self._lock:
            self._fault = (self.transactions + nth, when)

    def _transact(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self.stopped is not None:
                raise Unavailable(f"the catalog takes no more commits since: {self.stopped}")
            self.transactions += 1
            when = self._fault[1] if self._fault and self._fault[0] == self.transactions else None
            if when != "before":
                result = work()
            if when is not None:
                self.stopped = Unavailable(f"injected: transaction {self.transactions} failed, outcome unknown")
                raise self.stopped
            return result

    def commit(self, delta: CatalogDelta) -> None:
        self._transact(lambda: self.inner.commit(delta))

    def reserve(self, sequence: Sequence_, n: int) -> range:
        return self._transact(lambda: self.inner.reserve(sequence, n))

    def acquire_epoch(self, instance: str) -> int:
        return self._transact(lambda: self.inner.acquire_epoch(instance))

    def snapshot(self) -> CatalogSnapshot:
        return self.inner.snapshot()

    def check(self) -> Iterator[str]:
        return self.inner.check()

    def backup(self, target_path: str) -> None:
        self.inner.backup(target_path)

    def close(self) -> None:
        self.inner.close()
