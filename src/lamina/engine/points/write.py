"""Inserting: points become INSERT ops of one submission, or, where they are many, sections on disk and SECTION ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lamina.catalog.rows import PointSectionRow, SegmentRow
from lamina.engine.points.publish import ClearNote, InsertNote, Numbering, SectionNote
from lamina.engine.points.replay import encode_section
from lamina.engine.points.slot import MeasurementSlot
from lamina.engine.reserve import told_as_no_space
from lamina.errors import LaminaError, NotFound
from lamina.points import ops
from lamina.points.batch import Grouped
from lamina.points.section import section_of
from lamina.storage.log import Op

if TYPE_CHECKING:
    from lamina.engine.points.store import PointStore

LOG_BYTES = 8 << 20
"""Ops of one call above that go past the log, however few points they are: a commit group ends there."""

MOST_LOG_BYTES = 32 << 20
"""Likewise, where they are of very many measurements."""

SPREAD = 16
"""Points go past the log if each measurement has a sixteenth of `bulk_points` on average."""


def insert(store: PointStore, groups: Sequence[Grouped]) -> int:
    """Insert points of several measurements, all or none; how many. Returns when they are durable and visible.

    Their order among all points of the database is that of their places. Raises InvalidArgument (a name), Unavailable,
    NoSpace, Closed.
    """
    groups = [group for group in groups if group.batch.n]
    total = sum(group.batch.n for group in groups)
    while groups:
        slots = store.ensure(group.measurement for group in groups)
        try:
            _insert(store, slots, groups, total)
            break
        except NotFound:  # one was forgotten, empty, while this was on its way; it is made again
            with store.metadata.lane:
                pass
    return total


def replace_all(store: PointStore, groups: Sequence[Grouped]) -> int:
    """Remove all points there are and insert these, at one moment; how many. As `insert`."""
    groups = [group for group in groups if group.batch.n]
    total = sum(group.batch.n for group in groups)
    while True:
        slots = store.ensure(group.measurement for group in groups)
        everywhere = store.all()
        try:
            with store.locked(everywhere):
                cleared = [Op(ops.KIND, ops.CLEAR, slot.id, [], ClearNote(slot)) for slot in everywhere]
                _insert(store, slots, groups, total, cleared)
            return total
        except NotFound:  # as in `insert`
            with store.metadata.lane:
                pass


def _insert(
    store: PointStore,
    slots: Sequence[MeasurementSlot],
    groups: Sequence[Grouped],
    total: int,
    before: Sequence[Op] = (),
) -> None:
    """`before`: ops that go ahead of these, in one submission with them."""
    worth = SPREAD * total >= store.settings.bulk_points * len(groups)  # else they would be many small sections
    if total < store.settings.bulk_points or not worth:
        submitted, size = _ops(slots, groups, total)
        if size <= (LOG_BYTES if worth else MOST_LOG_BYTES):
            submitted = [*before, *submitted]
            if submitted:
                store.submit(submitted).wait()
            return
    with told_as_no_space(f"an insert of {total} points"):
        _insert_bulk(store, slots, groups, total, before)


def _ops(slots: Sequence[MeasurementSlot], groups: Sequence[Grouped], total: int) -> tuple[list[Op], int]:
    """INSERT ops, and their bytes."""
    numbering = Numbering(total)
    scattered = len(groups) > 1
    submitted = []
    size = 0
    for slot, group in zip(slots, groups, strict=True):
        parts = ops.insert_parts(group.batch, 0, group.places if scattered else None)
        size += sum(memoryview(part).nbytes for part in parts)
        at = group.places if scattered else np.arange(group.batch.n)
        note = InsertNote(slot, group.batch, at.astype(np.uint64), numbering, scattered)
        submitted.append(Op(ops.KIND, ops.INSERT, slot.id, parts, note))
    return submitted, size


def _insert_bulk(
    store: PointStore,
    slots: Sequence[MeasurementSlot],
    groups: Sequence[Grouped],
    total: int,
    before: Sequence[Op],
) -> None:
    """Write points straight into a segment; SECTION ops of some hundred bytes commit them. Their ordinals are taken
    when writing begins: points that others insert meanwhile come behind them in insertion order."""
    store.check_writable()
    store.ordinals.prepare()
    first = np.uint64(store.ordinals.take(total))
    sealer = store.sealer
    writer = sealer.writer()
    rows: list[tuple[MeasurementSlot, PointSectionRow]] = []
    try:
        for slot, group in zip(slots, groups, strict=True):
            made = sealer.write_bulk(writer, slot.id, group.batch, group.places.astype(np.uint64) + first, len(rows))
            rows += [(slot, row) for row in made]
        segment = sealer.finish_bulk(writer, [slot.id for slot in slots])
    except BaseException:
        writer.abort()
        raise
    commit_sections(store, segment, rows, before)


def commit_sections(
    store: PointStore,
    segment: SegmentRow,
    rows: Sequence[tuple[MeasurementSlot, PointSectionRow]],
    others: Sequence[Op],
) -> None:
    """Submit SECTION ops for sections on disk, behind other ops, and wait. The file goes if they are refused."""
    sealer = store.sealer
    sealer.depart(segment)
    submitted = list(others)
    for slot, row in rows:
        note = SectionNote(slot, section_of(row)._replace(known=False))
        submitted.append(Op(ops.KIND, ops.SECTION, slot.id, [encode_section(row)], note))
    try:
        ticket = store.submit(submitted)
    except (LaminaError, OSError):  # it was not queued
        _discard(store, segment)
        raise
    try:
        ticket.wait()
    except NotFound:  # refused before it was written: nothing of it is anywhere
        _discard(store, segment)
        raise
    sealer.arrive(segment.id, committed=True)


def _discard(store: PointStore, segment: SegmentRow) -> None:
    """Delete a segment that no op is going to name, unless the catalog has it: then compaction does."""
    if store.sealer.arrive(segment.id, committed=False):
        store.blobs.delete(segment.name)
