"""Space that removed and rewritten points held goes back to the disk.

Catalog first, files last: a segment goes only once no catalog row, no state and no open reader refers to it, and a
crash in between leaves it retired, which the next opening finishes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lamina.catalog.catalog import CatalogDelta, CatalogSnapshot
from lamina.catalog.rows import PointSectionRow, SegmentRow
from lamina.engine.metadata import Change
from lamina.engine.points.sections import newest_segment
from lamina.engine.points.slot import MeasurementSlot
from lamina.errors import Corrupt, NotFound
from lamina.storage.segment import SegmentReader

if TYPE_CHECKING:
    from lamina.engine.points.store import PointStore


def drop_orphans(store: PointStore) -> int:
    """Sections that died before anybody who still looks back, left by snapshots that were dropped since; measurements
    without any points; segments that nothing refers to. How many sections."""
    from lamina.engine.points.store import KIND

    pins = store.readers.pins()
    with store.catalog.snapshot() as snapshot:
        known = {row.id for row in snapshot.measurements()}
        rows = [
            row
            for row in snapshot.rows("point_section")
            if row.measurement not in known or (row.dead and not looked_at(row, pins))
        ]
    _delete(store, "point_section", [row.id for row in rows])
    for slot in store.all():
        if not slot.state.living and not slot.state.needed and not slot.state.sections:
            _forget(store, slot)
    with store.catalog.snapshot() as snapshot:
        known = {row.id for row in snapshot.measurements()}
        states = [row.measurement for row in snapshot.rows("point_state") if row.measurement not in known]
        live = [row.id for row in snapshot.segments() if row.kind == KIND and row.state == "live"]
    _delete(store, "point_state", states)
    retire_segments(store, live)
    return len(rows)


def _delete(store: PointStore, table: str, keys: Sequence[int]) -> None:
    if keys:
        delta = CatalogDelta(store.epoch)
        delta.deletes += [(table, key) for key in keys]
        store.catalog.commit(delta)


def looked_at(row: PointSectionRow, pins: Sequence[int]) -> bool:
    """Whether somebody still sees points of a section of which none lives any more."""
    return any(row.min_seq <= pin < row.dead for pin in pins)


def _forget(store: PointStore, slot: MeasurementSlot) -> None:
    """A measurement in which nothing is, and in which nobody who looks back sees anything, leaves the catalog."""

    def decide(catalog: CatalogSnapshot) -> Change:
        with store.publish_lock:
            slot.leaving = True  # from here on an insert that names it is refused, and made again under a new id
        store.log.barrier()  # what was numbered before is published
        state = slot.state
        if slot.dead or state.needed or state.sections or next(catalog.point_sections(slot.id), None) is not None:
            return Change()
        return Change(deletes=[("measurement", slot.id)])

    def applied() -> None:
        with store.publish_lock:
            store.forget(slot)

    with slot.sealing:
        try:
            store.metadata.change(decide, essential=True, applied=applied)
        finally:
            slot.leaving = False


def retire_segments(store: PointStore, segments: Iterable[int]) -> None:
    """Segments that nothing needs go: without sections, without deaths of sections in others, and not the newest to
    describe a measurement to a rebuild of the catalog."""
    held = store.sealer.in_flight()
    with store.publish_lock:
        rows = [section.row for slot in store.slots.values() for section in slot.state.sections]
    with store.catalog.snapshot() as snapshot:
        rows += snapshot.rows("point_section")
        held |= {row.segment for row in rows} | {newest_segment(row) for row in rows}
        unneeded = [
            row
            for id in sorted(set(segments) - held)
            if (row := snapshot.segment(id)) is not None
            and row.state == "live"
            and not _describes(store, snapshot, row)
        ]
    retire(store, unneeded)


def _describes(store: PointStore, snapshot: CatalogSnapshot, row: SegmentRow) -> bool:
    """Whether a segment is the newest to describe some measurement. Reads its envelope."""
    try:
        described = [section.object_id for section in SegmentReader(store.blobs, row.name).sections]
    except (Corrupt, NotFound):
        return True  # nobody can tell; doctor does
    for id in described:
        slot = store.slots.get(id)
        if slot is not None and (slot.described <= row.id):
            return True
    return False


def retire(store: PointStore, rows: Sequence[SegmentRow]) -> None:
    """The files go when nobody reads them any more."""
    if not rows:
        return
    delta = CatalogDelta(store.epoch)
    delta.puts += [row._replace(state="retired", live_bytes=0) for row in rows]
    store.log.sync()  # "os" mode: a removal that power loss undoes must not have cost the points
    store.catalog.commit(delta)
    store.readers.leases.retire([row.id for row in rows])
