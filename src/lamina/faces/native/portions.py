"""Iterations of the engine as portions of an answer: each becomes one frame, of about PORTION_BYTES."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from lamina.columns import Columns
from lamina.engine.records.record import Record, mark_of
from lamina.wire import arrow, batches, frames
from lamina.wire.results import Result

PORTION_BYTES = 1 << 20
"""What is read and sent at a time, about."""

ITEMS, RECORDS = 1000, 1024
"""Values and records of a portion."""

Portion = bytes | memoryview


def portions(result: Result, found: Iterator[Any]) -> Iterator[Portion]:
    """The portions of what a method gives. Blocks."""
    if result.form == "chunks":
        return _chunks(found)
    if result.form == "items":
        return _items(result, found)
    if result.form == "records":
        return _records(found)
    if result.form == "batches":
        return (batches.encode(batch) for batch in found)
    assert result.form in ("contents", "points", "windows", "mail"), "the others are no iterations"
    return found


def _chunks(found: Iterator[Columns]) -> Iterator[Portion]:
    for chunk in found:
        yield memoryview(arrow.encode_bundle(chunk))


def _items(result: Result, found: Iterable[Any]) -> Iterator[Portion]:
    values = iter(found)
    while some := list(islice(values, ITEMS)):
        yield json.dumps([result.write(value) for value in some]).encode()


def _records(found: Iterable[Record]) -> Iterator[Portion]:
    records = iter(found)
    while some := list(islice(records, RECORDS)):
        yield _portion(some)


def _portion(records: list[Record]) -> bytes:
    """Times, sizes and marks as columns; entries, label sets and types once each."""
    entries: dict[tuple[int, str], int] = {}
    labels: dict[tuple[tuple[str, str], ...], int] = {}
    types: dict[str, int] = {}
    rows = np.empty((len(records), 7), np.uint64)
    for i, record in enumerate(records):
        id, time_us, seq, crc = mark_of(record)
        rows[i] = (
            time_us,
            record.size,
            seq,
            crc,
            entries.setdefault((id, record.entry), len(entries)),
            labels.setdefault(record.labels, len(labels)),
            types.setdefault(record.content_type, len(types)),
        )
    told = {"entries": list(entries), "labels": list(labels), "types": list(types)}
    return frames.joined(json.dumps(told).encode(), memoryview(arrow.encode(arrow.FOUND, list(rows.T))))
