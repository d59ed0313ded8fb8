"""What upkeep does for records: seal what is due, give back the space of what went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Sealing and compaction are loaded by the first of them: a database of streams never needs them.
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.seal import RecordSealer
    from lamina.engine.records.store import RecordStore


class RecordUpkeep:
    """Called by the one pass of upkeep at a time."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._publisher = store.publisher
        self._sealer: RecordSealer | None = None
        self._punched: dict[int, int] = {}  # section -> time up to which its contents were given back

    @property
    def sealer(self) -> RecordSealer:
        if self._sealer is None:
            from lamina.engine.records.seal import RecordSealer

            self._sealer = RecordSealer(self._store)
        return self._sealer

    @property
    def due(self) -> bool:
        return bool(self._publisher.due)

    @property
    def dirty(self) -> list[EntrySlot]:
        """Entries with something in the log alone."""
        with self._store.publish_lock:
            return self.dirty_now()

    def dirty_now(self) -> list[EntrySlot]:
        """The same, where the publish lock is held."""
        return list(self._publisher.dirty.values())

    @property
    def tail_bytes(self) -> int:
        return self._publisher.tail_bytes

    @property
    def inline_bytes(self) -> int:
        """Contents that sealing everything would move, at most."""
        return sum(slot.state.tail.inline for slot in self.dirty)

    def seal(self, slots: Sequence[EntrySlot]) -> None:
        """Raises OSError, Unavailable, Conflict, Corrupt."""
        if slots:
            self.sealer.seal(slots)

    def seal_due(self) -> None:
        with self._store.publish_lock:
            due = list(self._publisher.due.values())
        self.seal(due)
        with self._store.publish_lock:
            for slot in due:
                if not slot.state.needed or not self._publisher.is_due(slot):
                    self._publisher.due.pop(slot.id, None)

    def seal_all(self) -> None:
        self.seal(self.dirty)

    def give_back(self) -> None:
        """Sections that were evicted whole, files that nothing refers to, contents of evicted records; and what
        removed entries held."""
        store = self._store
        with store.publish_lock:
            shrunk = list(self._publisher.shrunk.values())
            self._publisher.shrunk.clear()
        with store.lock:
            buried, store.buried = store.buried, []
        if not shrunk and not buried:
            return
        from lamina.engine.records import space

        space.give_up(store, shrunk, buried)
        for slot in shrunk:
            space.punch(store, slot, self._punched)

    def compact(self, buckets: Sequence[Bucket]) -> int:
        """Rewrite what is worn, and drop what nobody looks back at any more; how many sections."""
        from lamina.engine.records import space
        from lamina.engine.records.compact import compact

        space.drop_orphans(self._store)
        return sum(compact(self._store, self.sealer, bucket) for bucket in buckets)

    def delete_file(self, file: int) -> None:
        """A payload file that was retired and that nobody reads any more."""
        self._store.payloads.delete(file)
