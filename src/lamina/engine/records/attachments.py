"""Attachments: records of `$meta` entries, of which a later one with the same key replaces the earlier.

That is part of what an APPEND to such an entry means, so publishing and replay do it alike; which records hold which
keys is kept in memory from the first use of the entry on (attachments are few).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.engine.records.publish import SealedVictim
from lamina.records.labels import LabelSet
from lamina.records.source import LAST_TIME, Source, TailSource

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore


def key_of(labels: LabelSet) -> str | None:
    return next((value for name, value in labels if name == "key"), None)


class Attachments:
    """Loads what a `$meta` entry holds."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def load(self, slot: EntrySlot) -> None:
        """Know the entry's keys. Reads its index sections the first time."""
        if slot.keys is not None:
            return
        with slot.lock:
            if slot.keys is not None:
                return
            state = slot.state
            keys: dict[str, int] = {}
            for section in state.sections:
                source = self._store.open_section(section, state.seq)
                slot.places.update(places(source, section.row.id))
                _take_in(keys, source)
            if state.n:
                _take_in(keys, TailSource(state, state.seq))
            with self._store.publish_lock:
                slot.keys = keys


def _take_in(keys: dict[str, int], source: Source) -> None:
    index = source.select(0, LAST_TIME + 1)
    for labels, time_us in zip(source.label_sets(index), source.times(index).tolist(), strict=True):
        key = key_of(labels)
        if key is not None:
            keys[key] = time_us


def places(source: Source, section: int) -> dict[int, SealedVictim]:
    """Living rows of a section by time."""
    index = source.select(0, LAST_TIME + 1)
    rows, types = source.take(index), source.types()
    return {
        int(rows["time"][i]): SealedVictim(section, place, rows[i : i + 1], types[int(rows["type"][i])])
        for i, place in enumerate(index.tolist())
    }
