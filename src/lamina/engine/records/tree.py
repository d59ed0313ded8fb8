"""Entries come, go and move: the directory-like tree of a bucket (contract reductstore sections 2 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import EntryRow
from lamina.engine.metadata import Change
from lamina.errors import AlreadyExists, InvalidArgument, NotFound
from lamina.records.names import check_entry_name, is_meta, parents

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot


def ensure(bucket: Bucket, names: Sequence[str]) -> None:
    """See Bucket.ensure_entries."""
    present = bucket.slots
    if all(name in present for name in names):
        return
    wanted: dict[str, None] = {}
    for name in names:
        check_entry_name(name)
        if name not in present:
            wanted.update(dict.fromkeys(parents(name)))
            wanted[name] = None
    store = bucket.store
    store.check_writable(0)
    made: list[EntryRow] = []

    def decide(catalog: CatalogSnapshot) -> Change:
        row = next((row for row in catalog.buckets() if row.id == bucket.id), None)
        if row is None or row.dead:
            raise NotFound(f"Bucket '{bucket.name}' is not found")
        now = store.clock.wall_us()
        made[:] = [EntryRow(store.next_id(), bucket.id, name, now, 0) for name in wanted if name not in bucket.slots]
        return Change(made)

    store.metadata.change(decide, applied=lambda: _added(bucket, made))


def _added(bucket: Bucket, rows: Sequence[EntryRow]) -> None:
    store = bucket.store
    with store.lock:
        slots = dict(bucket.slots)
        for row in rows:
            slots[row.name] = store.make_slot(bucket, row, (), 0)
        bucket.replace_slots(slots)


def below(bucket: Bucket, name: str) -> list[str]:
    """An entry and everything below it."""
    return [other for other in bucket.slots if other == name or other.startswith(name + "/")]


def remove(bucket: Bucket, name: str) -> None:
    """See Bucket.remove_entry."""
    store = bucket.store
    store.check_writable(0, essential=True)
    if is_meta(name) and name in bucket.slots:
        raise InvalidArgument(f"Can't delete system entry '{name}'; remove the parent entry instead")
    going: dict[str, EntrySlot] = {}

    def decide(catalog: CatalogSnapshot) -> Change:
        bucket.slot(name)
        going.update({other: bucket.slots[other] for other in below(bucket, name)})
        return store.burying(list(going.values()), catalog)[1]

    def applied() -> None:
        with store.lock:
            bucket.replace_slots({other: slot for other, slot in bucket.slots.items() if other not in going})
        store.bury(list(going.values()))

    try:
        store.metadata.change(decide, essential=True, applied=applied)
    except BaseException:
        store.stay(list(going.values()))
        raise


def rename(bucket: Bucket, old: str, new: str) -> None:
    """See Bucket.rename_entry."""
    check_entry_name(new)
    exists = AlreadyExists(f"Entry '{new}' already exists in bucket '{bucket.name}'")
    if new == old or new.startswith(old + "/"):
        raise exists
    store = bucket.store
    store.check_writable(0)
    moved: dict[str, str] = {}
    made: list[EntryRow] = []

    def decide(catalog: CatalogSnapshot) -> Change:
        slots = bucket.slots
        bucket.slot(old)
        if new in slots:
            raise exists
        moved.update({name: new + name[len(old) :] for name in below(bucket, old)})
        rows = [row for name in moved if (row := catalog.entry(slots[name].id)) is not None]
        made[:] = [
            EntryRow(store.next_id(), bucket.id, name, store.clock.wall_us(), 0)
            for name in parents(new)
            if name not in slots
        ]
        return Change([*made, *(row._replace(name=moved[row.name]) for row in rows)])

    def applied() -> None:
        with store.lock:
            slots = dict(bucket.slots)
            for row in made:
                slots[row.name] = store.make_slot(bucket, row, (), 0)
            for name, target in moved.items():
                slot = slots.pop(name)
                slot.name, slot.meta = target, is_meta(target)
                slots[target] = slot
            bucket.replace_slots(slots)

    store.metadata.change(decide, applied=applied)
