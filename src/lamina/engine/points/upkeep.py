"""What upkeep does for points: seal what is due, rewrite what is worn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Sealing and compaction are loaded by the first of them: a database of streams never needs them.
    from lamina.engine.points.seal import PointSealer
    from lamina.engine.points.slot import MeasurementSlot
    from lamina.engine.points.store import PointStore


class PointUpkeep:
    """Called by the one pass of upkeep at a time."""

    def __init__(self, store: PointStore) -> None:
        self._store = store
        self._publisher = store.publisher

    @property
    def sealer(self) -> PointSealer:
        return self._store.sealer

    @property
    def due(self) -> bool:
        return bool(self._publisher.due)

    @property
    def dirty(self) -> list[MeasurementSlot]:
        """Measurements with something in the log alone."""
        with self._store.publish_lock:
            return self.dirty_now()

    def dirty_now(self) -> list[MeasurementSlot]:
        """The same, where the publish lock is held."""
        return list(self._publisher.dirty.values())

    @property
    def tail_bytes(self) -> int:
        return self._publisher.tail_bytes

    def seal(self, slots: Sequence[MeasurementSlot]) -> None:
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

    def forget_segment(self, id: int) -> None:
        """Its file is deleted."""
        self._store.read.drop(id)

    def compact(self, *, loaded: bool = False) -> int:
        """Rewrite what is worn, and drop what nobody looks back at any more; how many sections. `loaded`: only of
        measurements that somebody has used."""
        slots = list(self._store.slots.values()) if loaded else self._store.all()
        if not slots:
            return 0
        from lamina.engine.points import space
        from lamina.engine.points.compact import compact

        done = sum(compact(self._store, self.sealer, slot) for slot in slots)
        space.drop_orphans(self._store)
        return done
