"""Quotas: HARD refuses, FIFO lets the oldest blocks go (contract reductstore section 4).

`Bucket.load` is the size as it will be once everything under way is published: claims of writers are added when they
begin, evictions are taken off when they are decided. So a write leaves the reported size within the quota, but for the
metadata of a record that nothing is left to go for, and nothing is evicted twice for one need.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from lamina.engine.records.publish import EvictNote
from lamina.errors import QuotaExceeded
from lamina.records import ops
from lamina.records.source import LAST_TIME
from lamina.storage.log import Op

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.store import RecordStore


class QuotaLost(QuotaExceeded):
    """A FIFO bucket cannot make room: the record is larger than the quota."""


class StorageLimit(QuotaExceeded):
    """All buckets together have reached the configured limit."""


def refuse_beyond_limit(store: RecordStore, size: int) -> None:
    """Raises StorageLimit where a record of so many bytes must not begin, whatever its bucket."""
    if store.max_bytes is not None and store.total_bytes() + size > store.max_bytes:
        raise StorageLimit("storage limit exceeded")


def refuse(bucket: Bucket, size: int) -> None:
    """Raises QuotaExceeded where a record of so many bytes must not begin."""
    refuse_beyond_limit(bucket.store, size)
    settings = bucket.settings
    if settings.quota_type == "HARD" and bucket.load + size > settings.quota_size:
        raise QuotaExceeded(f"Quota of '{bucket.name}' exceeded")


def claim(bucket: Bucket, need: int, size: int, wait: bool) -> bool:
    """Claim `need` bytes for a record with a content of `size`, evicting what must go; False: something must, and
    `wait` is false. Raises QuotaLost."""
    while True:
        settings = bucket.settings
        with bucket.lock:
            if settings.quota_type != "FIFO" or bucket.load + need <= settings.quota_size:
                bucket.load += need
                return True
        if size > settings.quota_size:  # nothing makes room for it, so nothing goes for it
            raise QuotaLost(f"Failed to keep quota of '{bucket.name}'")
        if not wait:
            return False
        if not _evict_oldest(bucket, need):
            with bucket.lock:  # alone in the bucket, a content of exactly the quota is let in as the contract says
                if bucket.load + size <= settings.quota_size:
                    bucket.load += need
                    return True
            raise QuotaLost(f"Failed to keep quota of '{bucket.name}'")


def _evict_oldest(bucket: Bucket, need: int) -> bool:
    """Let the oldest blocks of the bucket go that lie in one entry, as many as make room for `need` bytes; False if
    there are none. The op is queued before this returns, so it takes effect before what its caller submits."""
    with bucket.store.publish_lock, bucket.lock:
        begins = [
            (begin, slot.id, slot)
            for slot in bucket.slots.values()
            if not slot.meta
            and not slot.dead
            and (begin := slot.blocks.next_begin(slot.evicted_through + 1)) is not None
        ]
        if not begins:
            return False
        (_, _, slot), *others = heapq.nsmallest(2, begins)
        before = others[0][0] if others else LAST_TIME + 1  # from there on another entry's block is older
        wanted = bucket.load + need - bucket.settings.quota_size
        through, size = slot.blocks.evictable(slot.evicted_through + 1, wanted, before)
        slot.evicted_through = through
        slot.evicting += size
        bucket.load -= size
    note = EvictNote(slot, through, size)
    try:
        ticket = bucket.store.submit(
            [Op(ops.KIND, ops.EVICT, slot.id, [ops.evict_body(through)], note)], essential=True
        )
    except BaseException:
        _take_back(note)
        raise
    ticket.add_done_callback(lambda ticket: _take_back(note) if ticket.error is not None else None)
    return True


def _take_back(note: EvictNote) -> None:
    """An eviction that came to nothing: what it was to free is still there."""
    slot = note.entry
    with slot.bucket.lock:
        if not slot.dead:
            slot.bucket.load += note.claimed
            slot.evicting -= note.claimed
            slot.evicted_through = -1
        note.claimed = 0


def shrink(bucket: Bucket) -> None:
    """Keep a quota that was lowered, durably."""
    evicted = False
    while (
        bucket.settings.quota_type == "FIFO" and bucket.load > bucket.settings.quota_size and _evict_oldest(bucket, 0)
    ):
        evicted = True
    if evicted:
        bucket.store.log.barrier()
