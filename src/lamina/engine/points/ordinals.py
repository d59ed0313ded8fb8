"""Ordinals: numbers of points over all measurements, in the order in which they were inserted. Never given twice.

They are given under the commit role, where nothing may wait for a disk. So they come out of a reservation in the
catalog that is made before, and is far larger than all that may be on its way.
"""

from __future__ import annotations

import threading

from lamina.catalog.catalog import Catalog

RESERVED = 1 << 36
"""Taken from the catalog at once: one durable transaction per opening that inserts, and 2**27 openings."""

LOW = 1 << 35
"""With fewer left more are taken: a queue of 64 MiB holds no such number of points."""


class Ordinals:
    """Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._reserving = threading.Lock()
        self._lock = threading.Lock()  # guards the two below; never held while anything waits
        self._next = 0
        self._stop = 0

    def prepare(self) -> None:
        """Have enough for whatever is submitted next. Raises Unavailable, Closed."""
        if self._stop - self._next >= LOW:
            return
        with self._reserving:
            if self._stop - self._next >= LOW:
                return
            taken = self._catalog.reserve("ordinal", RESERVED)
            with self._lock:
                if self._stop == self._next:
                    self._next = taken.start
                self._stop = taken.stop  # this process alone reserves: it continues what was taken before

    def take(self, n: int) -> int:
        """The first of n ordinals in a row. `prepare` was called since the last submission was made."""
        with self._lock:
            first = self._next
            assert first + n <= self._stop, "prepare() reserves more than a queue can hold"
            self._next = first + n
            return first
