"""One run of a lifecycle policy: old records are removed, compressed, or only counted (contract reductstore 15)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from lamina.engine.records.compact import compress
from lamina.engine.records.cursor import Cursor
from lamina.errors import LaminaError
from lamina.jobs.lifecycle_settings import LifecycleSettings
from lamina.records.condition import Condition, compile_condition

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot


class Run(NamedTuple):
    """What a run came to."""

    records: int  # removed, compressed or counted
    blocks: int  # that went
    caught_up: bool  # nothing that is old enough is left to be looked at
    through: int | None  # µs: everything older was looked at; None: there was nothing
    cursor: int | None  # µs: where the next run goes on; None: with the oldest record


def run(db: Database, settings: LifecycleSettings, cursor: int | None, now_us: int) -> Run:
    """Work on at most `processing_interval` of data time, from the oldest record or from `cursor` on. What a condition
    leaves stays behind the cursor until everything was looked at; then the next run begins anew.

    Raises NotFound (bucket), Unavailable, NoSpace, Corrupt, OSError."""
    bucket = db.buckets.get(settings.bucket)
    horizon = now_us - settings.older_than_us
    slots = [slot for slot in _selected(bucket, settings) if not slot.meta]
    firsts = [first for slot in slots if (first := _first(slot, cursor, horizon)) is not None]
    if not firsts:
        return Run(0, 0, True, None, cursor if settings.type == "compress" else None)
    begin = min(firsts)
    end = min(begin + settings.processing_us, horizon)
    before = sum(len(slot.blocks) for slot in slots)
    records = 0
    if settings.mode == "dry_run":
        records = sum(_count(slot, begin, end, settings.condition) for slot in slots)
    elif settings.type == "compress":
        for slot in slots:
            if _first(slot, begin, end) is not None:
                records += compress(db.records, slot, begin, end).records
    else:
        records = bucket.remove_query(settings.entries, begin, end, settings.condition, False)
    blocks = max(before - sum(len(slot.blocks) for slot in slots), 0)
    caught_up = all(_first(slot, end, horizon) is None for slot in slots)
    following: int | None = end
    if caught_up and settings.type == "delete":
        following = None  # late records, and those that match by now
    return Run(records, blocks, caught_up, end, following)


def _selected(bucket: Bucket, settings: LifecycleSettings) -> list[EntrySlot]:
    patterns = settings.patterns
    return [slot for name in patterns.select(bucket.names()) if (slot := bucket.slots.get(name)) is not None]


_EVERYTHING = compile_condition(None)


def _first(slot: EntrySlot, start: int | None, stop: int) -> int | None:
    """Time of the first record with start <= time < stop."""
    if stop <= 0 or (start is not None and start >= stop):
        return None
    cursor = Cursor(slot.bucket.store, slot, start, stop, _EVERYTHING, False)
    with contextlib.closing(cursor):
        for batch in cursor:
            if len(batch):
                return int(batch.times[0])
    return None


def _count(slot: EntrySlot, start: int, stop: int, condition: Condition) -> int:
    cursor = Cursor(slot.bucket.store, slot, start, stop, condition, False)
    with contextlib.closing(cursor):
        return sum(len(batch) for batch in cursor)


def status_of(error: LaminaError | OSError) -> int:
    """As an HTTP status: what events of runs are labelled with."""
    from lamina.errors import InvalidArgument, NoSpace, NotFound, Unavailable

    for kind, status in ((NotFound, 404), (InvalidArgument, 422), (NoSpace, 507), (Unavailable, 503)):
        if isinstance(error, kind):
            return status
    return 500
