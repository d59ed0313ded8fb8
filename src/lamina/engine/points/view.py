"""Points as they were at one moment: what a snapshot shows.

Sections of which nothing lives any more are in the catalog as long as somebody looks back, but no longer in the
published state of their measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.engine.points.reading import Reading, Source
from lamina.points.search import count
from lamina.points.section import section_of
from lamina.points.state import MeasurementState

if TYPE_CHECKING:
    from lamina.engine.points.slot import MeasurementSlot
    from lamina.engine.points.store import PointStore


class MeasurementView(Reading):
    """Made by `Snapshot.measurement`; answers what a `Measurement` does, as of then. Thread-safe."""

    def __init__(self, store: PointStore, name: str, seq: int, check: Callable[[], None]) -> None:
        """`check` raises Closed once nobody holds that moment."""
        self._store = store
        self._seq = seq
        self._check = check
        self.name = name

    def _sources(self) -> tuple[list[Source], int]:
        self._check()
        slot = self._store.find(self.name)
        states = [] if slot is None else [Source(slot.name, state_at(self._store, slot, self._seq))]
        return states, self._seq

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<lamina.MeasurementView {self.name!r} seq={self._seq}>"


def state_at(store: PointStore, slot: MeasurementSlot, seq: int) -> MeasurementState:
    """The state of a measurement with the sections that died after a seq."""
    with slot.sealing:  # catalog and state say the same meanwhile
        state = slot.state
        dead = [section_of(row) for row in store.dead_sections(slot.id, seq)]
    known = {section.row.id for section in state.sections}
    sections = [*state.sections, *(section for section in dead if section.row.id not in known)]
    sections.sort(key=lambda section: (section.row.t_min, section.row.id))
    return state._replace(sections=tuple(sections))


def names_at(store: PointStore, seq: int) -> list[str]:
    """The measurements that held points at a seq."""
    found = []
    for slot in store.all():
        lease = store.readers.leases.take()
        try:
            state = state_at(store, slot, seq)
            if count(state, seq, store.open_section, slot.name):
                found.append(slot.name)
        finally:
            store.readers.leases.give_back(lease)
    return found
