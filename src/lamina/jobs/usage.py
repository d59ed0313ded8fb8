"""How much was written and read, and what is there: an event a minute for each bucket and for all (contract 16)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamina.engine.records.settings import EntryInfo
from lamina.jobs.system import Event

if TYPE_CHECKING:
    from lamina.engine.database import Database

INTERVAL_NS = 60 * 1_000_000_000


class _Traffic:
    """Of one bucket."""

    __slots__ = ("read_bytes", "read_entries", "records_read", "records_written", "write_bytes", "written_entries")

    def __init__(self) -> None:
        self.write_bytes = self.read_bytes = self.records_written = self.records_read = 0
        self.written_entries: set[str] = set()
        self.read_entries: set[str] = set()


class Usage:
    """Thread-safe; a note costs about a microsecond."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()  # guards everything below
        self._began_ns = db.clock.monotonic_ns()
        self._traffic: dict[str, _Traffic] = {}

    def wrote(self, bucket: str, entry: str, records: int, size: int) -> None:
        with self._lock:
            found = self._traffic.get(bucket) or self._traffic.setdefault(bucket, _Traffic())
            found.records_written += records
            found.write_bytes += size
            found.written_entries.add(entry)

    def read(self, bucket: str, entry: str, records: int, size: int) -> None:
        with self._lock:
            found = self._traffic.get(bucket) or self._traffic.setdefault(bucket, _Traffic())
            found.records_read += records
            found.read_bytes += size
            found.read_entries.add(entry)

    def due(self) -> list[Event]:
        """Once a minute: `total` and every bucket."""
        now_ns = self._db.clock.monotonic_ns()
        with self._lock:
            duration_s = (now_ns - self._began_ns) / 1e9
            if now_ns - self._began_ns < INTERVAL_NS:
                return []
            traffic, self._traffic, self._began_ns = self._traffic, {}, now_ns
        payloads = {
            bucket.name: _payload(traffic.get(bucket.name, _Traffic()), bucket.size, bucket.entry_infos(), duration_s)
            for bucket in self._db.buckets.list()
        }
        total: dict[str, Any] = dict.fromkeys(_payload(_Traffic(), 0, (), 0.0), 0)
        for payload in payloads.values():
            for member, value in payload.items():
                total[member] += value
        total["duration"] = duration_s
        return [Event("usage", name, 200, "", payload) for name, payload in (("total", total), *payloads.items())]


def _payload(traffic: _Traffic, size: int, entries: Sequence[EntryInfo], duration_s: float) -> dict[str, Any]:
    return {
        "duration": duration_s,
        "write_bytes": traffic.write_bytes,
        "read_bytes": traffic.read_bytes,
        "records_written": traffic.records_written,
        "records_read": traffic.records_read,
        "written_entries": len(traffic.written_entries),
        "read_entries": len(traffic.read_entries),
        "storage_bytes": size,
        "bucket_count": 1,
        "entry_count": len(entries),
        "block_count": sum(entry.block_count for entry in entries),
        "record_count": sum(entry.record_count for entry in entries),
    }
