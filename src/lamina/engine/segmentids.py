"""Ids of segments and payload files: never given twice, whatever happens."""

from __future__ import annotations

import threading

from lamina.catalog.catalog import Catalog

SEGMENT_IDS = 1000
"""Reserved so many at a time: one durable catalog transaction per thousand files."""


class SegmentIds:
    """Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()  # guards _ids
        self._ids = iter(range(0))

    def next(self) -> int:
        """An id no segment ever had."""
        with self._lock:
            id = next(self._ids, None)
            if id is None:
                self._ids = iter(self._catalog.reserve("segment", SEGMENT_IDS))
                id = next(self._ids)
            return id
