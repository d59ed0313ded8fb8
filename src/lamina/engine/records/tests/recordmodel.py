"""What a database of records should hold, as plain dictionaries."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lamina.engine.records.cursor import Cursor
from lamina.engine.records.queries import Query
from lamina.records.condition.condition import compile_condition
from lamina.records.size import LONGEST_OFFSETS, base_length
from lamina.settings import Settings

TINY = Settings(
    seal_records=8,
    seal_bytes=150_000,
    log_file_bytes=4096,
    log_limit=32_768,
    background=False,
    min_free=0,
)
"""Sealing, trimming and files that are full come after a handful of records."""

CONTENT_TYPES = ("application/octet-stream", "text/plain")


class Held(NamedTuple):
    """One record."""

    content: bytes
    labels: tuple[tuple[str, str], ...]
    content_type: str


Records = dict[int, Held]
"""By time."""


class ModelEntry:
    """`records` are those that live; the name is that of now, or the last one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: Records = {}
        self.writes: Counter[int] = Counter()  # ever

    @property
    def meta(self) -> bool:
        return self.name.endswith("$meta")

    def visible(self) -> Records:
        """What queries give."""
        if not self.meta:
            return self.records
        return {time: held for time, held in self.records.items() if dict(held.labels).get("remove") != "true"}

    def write(self, time: int, held: Held) -> None:
        if self.meta:
            key = dict(held.labels)["key"]
            for other in [t for t, old in self.records.items() if dict(old.labels)["key"] == key]:
                del self.records[other]
        self.records[time] = held
        self.writes[time] += 1

    def update(self, time: int, changes: Mapping[str, str]) -> None:
        labels = dict(self.records[time].labels)
        for name, value in changes.items():
            if value:
                labels[name] = value
            else:
                labels.pop(name, None)
        self.records[time] = self.records[time]._replace(labels=tuple(sorted(labels.items())))

    def least_size(self) -> int:
        """Of what is reported: contents and metadata, without the offsets."""
        return sum(
            len(held.content) + base_length(time, held.labels, held.content_type) for time, held in self.records.items()
        )

    def most_size(self) -> int:
        return self.least_size() + LONGEST_OFFSETS * len(self.records)


class ModelBucket:
    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = {"quota_type": "NONE", "quota_size": 0, **settings}
        self.entries: dict[str, ModelEntry] = {}

    def ensure(self, name: str) -> ModelEntry:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            self.entries.setdefault(above, ModelEntry(above))
        return self.entries[name]

    def below(self, name: str) -> list[ModelEntry]:
        return [entry for other, entry in self.entries.items() if other == name or other.startswith(name + "/")]

    def remove(self, name: str) -> None:
        for entry in self.below(name):
            del self.entries[entry.name]

    def rename(self, old: str, new: str) -> None:
        moved = self.below(old)
        for entry in moved:
            del self.entries[entry.name]
        if "/" in new:
            self.ensure(new.rpartition("/")[0])
        for entry in moved:
            entry.name = new + entry.name[len(old) :]
            self.entries[entry.name] = entry

    def frozen(self) -> list[tuple[ModelEntry, Records]]:
        return [(entry, dict(entry.visible())) for entry in self.entries.values()]


def contents(salt: int) -> Iterator[bytes]:
    """Bytes that tell each record from every other, whatever part of them is looked at."""
    for number in itertools.count(salt << 20):
        yield number.to_bytes(6, "big")


def times_of(source: Any) -> list[int]:
    """Of the records of an entry, a query or a batch, in order."""
    records = source.query() if hasattr(source, "query") else source
    return [record.time_us for record in records]


def shown(record: Any) -> tuple[int, Held]:
    content = record.read()
    assert len(content) == record.size
    return record.time_us, Held(content, record.labels, record.content_type)


def begin(bucket: Any, entries: list[str] | None = None, *, when: Any = None, continuous: bool = False) -> Query:
    return Query(bucket, entries, None, None, compile_condition(when), False, continuous)


def drained(query: Query, records: int = 85) -> list[Any]:
    """All that a query has to give now."""
    found: list[Any] = []
    while True:
        batch = query.next_batch(records, 1 << 62, 1 << 62, None)
        found += batch.records
        if batch.last:
            return found


def rows_size(handle: Any) -> int:
    """Contents and metadata of the living rows of an entry, summed up one by one."""
    slot = handle.slot
    cursor = Cursor(handle.bucket.store, slot, None, None, compile_condition(None), False)
    total = 0
    hidden, slot.meta = slot.meta, False  # attachments that are marked as removed count, too
    try:
        for batch in cursor:
            total += int(batch.field("size").sum()) + int(batch.field("meta").sum())
    finally:
        slot.meta = hidden
        cursor.close()
    return total


def filled(mark: bytes, size: int) -> bytes:
    """A content of `size` bytes that begins with, and repeats, a mark."""
    return (mark * (size // len(mark) + 1))[:size]
