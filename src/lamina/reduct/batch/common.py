"""Batches as a program fills them: to be written, or to say what is to be updated or removed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from lamina.reduct.record import HeldRecord, Record
from lamina.reduct.time import TimestampLike, unix_timestamp_from_any

DEFAULT_TYPE = "application/octet-stream"

Entry = TypeVar("Entry", str, None)


def _order(key: tuple[str | None, int]) -> tuple[str, int]:
    return key[0] or "", key[1]


class BaseBatch(Generic[Entry]):
    """Records by entry and time. One that is added again replaces the earlier one."""

    def __init__(self) -> None:
        self._records: dict[tuple[Entry, int], HeldRecord] = {}
        self._size = 0
        self._last_access = 0.0

    def items(self) -> list[tuple[tuple[Entry, int], Record]]:
        """((entry, time in µs), record), by entry, then by time."""
        return [((cast("Entry", record.entry), record.timestamp), record) for record in self.held()]

    def held(self) -> list[HeldRecord]:
        """The records, by entry, then by time: the order in which a batch is sent."""
        records = self._records
        return [records[key] for key in sorted(records, key=_order)]

    @property
    def size(self) -> int:
        """Bytes of all contents."""
        return self._size

    @property
    def last_access(self) -> float:
        """When a record was last added, as `time.time()` says it; 0 for an empty batch."""
        return self._last_access

    def clear(self) -> None:
        """Make it empty."""
        self._records.clear()
        self._size = 0
        self._last_access = 0.0

    def __len__(self) -> int:
        return len(self._records)

    def _add(
        self,
        entry: Entry,
        timestamp: TimestampLike,
        data: bytes,
        content_type: str | None,
        labels: Mapping[str, Any] | None,
    ) -> None:
        content = data.encode() if isinstance(data, str) else data
        size = len(content)
        time_us = unix_timestamp_from_any(timestamp)
        key = entry, time_us
        replaced = self._records.get(key)
        if replaced is not None:
            self._size -= replaced.size
        record = HeldRecord(
            time_us, entry, size, False, content_type or DEFAULT_TYPE, dict(labels or {}), content, 0, size
        )
        self._records[key] = record
        self._size += size
        self._last_access = time.time()


class Batch(BaseBatch[None]):
    """Records of one entry, which the call names that the batch is given to."""

    def add(
        self,
        timestamp: TimestampLike,
        data: bytes = b"",
        content_type: str | None = None,
        labels: Mapping[str, Any] | None = None,
    ) -> None:
        """A record; values of labels are written as `str` shows them. In updates only its labels count (an empty value
        removes one), in removals only its time.

        Raises ValueError, TypeError (time)."""
        self._add(None, timestamp, data, content_type, labels)


class RecordBatch(BaseBatch[str]):
    """Records of several entries."""

    def add(self, entry: str, timestamp: TimestampLike, data: bytes = b"", **kwargs: object) -> None:
        """As `Batch.add`, with `content_type` and `labels` as keywords. Raises TypeError for other ones."""
        content_type = kwargs.pop("content_type", None)
        labels = kwargs.pop("labels", None)
        if kwargs:
            raise TypeError(f"add() got {', '.join(map(repr, kwargs))}: expected content_type, labels")
        self._add(entry, timestamp, data, cast("str | None", content_type), cast("Mapping[str, Any] | None", labels))
