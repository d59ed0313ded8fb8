"""Contents of records: taken in, and given out by the marks of records that a client has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.bucket import Bucket
from lamina.engine.records.entry import Entry
from lamina.engine.records.record import SMALL, Mark, Record, marked, read_contents
from lamina.engine.records.recordbatch import RecordBatch
from lamina.engine.records.selection import Selection, check_batch_bytes
from lamina.errors import Corrupt, InvalidArgument, LaminaError, NotFound
from lamina.faces.native.caller import Caller
from lamina.faces.native.portions import PORTION_BYTES
from lamina.storage.files import Buffer
from lamina.wire import arrow, failures, frames

RECORDS_LIMIT = 65_536
"""Of one write_many."""

MOST_BATCH = 64 << 20
"""Contents of one batch of columns, which the server holds; a client that wants larger ones gets these."""

LONGEST_IN_BATCH = 256 << 20
"""Of one content in it."""

Find = Callable[[Mark], Record]


class Content:
    """What answers with bytes: their number, and the parts."""

    def __init__(self, size: int, parts: Iterator[Buffer]) -> None:
        self.size = size
        self.parts = parts


# -- in


def write(
    caller: Caller, entry: Entry, time: int | None, labels: dict[str, str], content_type: str, size: int, payload: Any
) -> None:
    entry.write(payload, time, labels=labels, content_type=content_type, size=size)
    caller.moved.append(("wrote", entry.bucket.name, entry.name, 1, size))


def write_many(
    caller: Caller, entry: Entry, labels: list[dict[str, str]], content_types: list[str], columns: int,
    payload: memoryview,
) -> list[LaminaError | None]:  # fmt: skip
    if not 0 <= columns <= len(payload):
        raise InvalidArgument(f"entry/write_many: {columns} bytes of columns in {len(payload)} of the body")
    found = arrow.received(arrow.NEW, payload[:columns], "the body", RECORDS_LIMIT)
    times, sizes, sets, types = (column.tolist() for column in found)
    contents = payload[columns:]
    if sum(sizes) != len(contents):
        raise InvalidArgument(f"entry/write_many: {len(contents)} bytes of contents for {sum(sizes)} announced")
    if max(sets, default=-1) >= len(labels) or max(types, default=-1) >= len(content_types):
        raise InvalidArgument("entry/write_many: a record has labels or a type that are not listed")
    records, at = [], 0
    for time, size, labels_of, type_of in zip(times, sizes, sets, types, strict=True):
        records.append(NewRecord(time, contents[at : at + size], labels[labels_of], content_types[type_of]))
        at += size
    outcomes = entry.write_many(records)
    stored = [size for size, outcome in zip(sizes, outcomes, strict=True) if outcome is None]
    caller.moved.append(("wrote", entry.bucket.name, entry.name, len(stored), sum(stored)))
    return outcomes


# -- out, as columns


def batches(
    caller: Caller, bucket: str, found: Selection, contents: bool, labels: list[str] | None, batch_bytes: int
) -> Iterator[RecordBatch]:
    """One batch at least, so that the columns of nothing are known, too."""
    check_batch_bytes(batch_bytes)

    def told() -> Iterator[RecordBatch]:
        some = False
        try:
            for batch in found._batches(contents, labels, min(batch_bytes, MOST_BATCH), LONGEST_IN_BATCH):
                some = True
                if contents:
                    _note(caller, bucket, batch)
                yield batch
            if not some:
                yield found._empty(contents, labels)
        finally:
            found.close()

    return told()


def _note(caller: Caller, bucket: str, batch: RecordBatch) -> None:
    names, codes = batch.entry.values, batch.entry.codes
    counts, sizes = np.bincount(codes, minlength=len(names)), np.bincount(codes, batch.size, len(names))
    for i in np.flatnonzero(counts).tolist():
        caller.moved.append(("read", bucket, names[i], int(counts[i]), int(sizes[i])))


# -- out


def of_record(caller: Caller, bucket: Bucket, mark: Mark, start: int, stop: int | None) -> Content:
    return _content(caller, bucket.name, _living(bucket)(mark), start, stop)


def many_of_record(caller: Caller, bucket: Bucket, marks: list[Mark]) -> Iterator[bytes]:
    return _contents(caller, bucket.name, _living(bucket), marks)


def of_view(caller: Caller, part: Any, entryview: str, mark: Mark, start: int, stop: int | None) -> Content:
    return _content(caller, part.bucket, part.view.marked(mark), start, stop)


def many_of_view(caller: Caller, part: Any, entryview: str, marks: list[Mark]) -> Iterator[bytes]:
    return _contents(caller, part.bucket, part.view.marked, marks)


def _living(bucket: Bucket) -> Find:
    """Records of entries that the bucket has now, whatever they are called."""
    bucket.slots  # noqa: B018  # loads them
    slots = bucket.store.slots

    def find(mark: Mark) -> Record:
        slot = slots.get(mark[0])
        if slot is None or slot.dead or slot.bucket is not bucket:
            raise NotFound(f"Record {mark[1]} not found in bucket '{bucket.name}': its entry was removed")
        return marked(bucket.store, slot, mark)

    return find


def _content(caller: Caller, bucket: str, record: Record, start: int, stop: int | None) -> Content:
    end = record.size if stop is None else max(min(stop, record.size), 0)
    start = max(start, 0)
    size = max(end - start, 0)
    caller.moved.append(("read", bucket, record.entry, 1, size))
    return Content(size, iter(record.chunks(start, end)) if size else iter(()))


def _contents(caller: Caller, bucket: str, find: Find, marks: Sequence[Mark]) -> Iterator[bytes]:
    """Portions of some of them each: sizes or errors, and the bytes."""
    gathered: list[Record | LaminaError] = []
    size = 0
    for mark in marks:
        found: Record | LaminaError
        try:
            found = find(mark)
            if found.size > SMALL:
                raise InvalidArgument(f"a content of {found.size} bytes: those above {SMALL} are asked for alone")
        except LaminaError as error:
            found = error
        gathered.append(found)
        size += found.size if isinstance(found, Record) else 0
        if size >= PORTION_BYTES:
            yield _portion(caller, bucket, gathered)
            gathered, size = [], 0
    if gathered:
        yield _portion(caller, bucket, gathered)


def _portion(caller: Caller, bucket: str, found: Sequence[Record | LaminaError]) -> bytes:
    records = [one for one in found if isinstance(one, Record)]
    contents: Iterator[Buffer | LaminaError]
    try:
        contents = iter(read_contents(records))
    except LaminaError:  # of one of them: each for itself
        contents = iter([_one(record) for record in records])
    told: list[Any] = []
    parts: list[Buffer] = []
    for one in found:
        content = next(contents) if isinstance(one, Record) else one
        if isinstance(content, LaminaError):
            told.append(failures.plain(_shown(content)))
        else:
            told.append(len(content))
            parts.append(content)
    if records:
        caller.moved.append(("read", bucket, records[0].entry, len(parts), sum(map(len, parts))))
    return frames.joined(json.dumps(told).encode(), b"".join(parts))


def _one(record: Record) -> Buffer | LaminaError:
    try:
        return record.read()
    except LaminaError as error:
        return error


def _shown(error: LaminaError) -> LaminaError:
    """Damage without the place, which stays on this machine; who asks for the content alone is told a number."""
    return Corrupt("stored data is damaged") if isinstance(error, Corrupt) else error
