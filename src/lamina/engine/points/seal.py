"""Sealing: tails of measurements become sections of a segment.

Order of publishing (reliability laws 2 and 5): segment written and synced -> catalog transaction (sections, what died
in older ones, how far the log is applied; compare-and-set) -> states swapped -> log trimmed later. A crash before the
transaction leaves a segment that nobody knows, which the next opening deletes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.rows import SECTION_NUMBERS, PointSectionRow, PointStateRow, SegmentRow
from lamina.engine.points.sections import Sorted, amend, describe, describe_bulk, visible_dead, write
from lamina.engine.points.slot import MeasurementSlot
from lamina.points.batch import Batch
from lamina.points.section import Section, section_of
from lamina.points.state import MeasurementState
from lamina.points.tail import FOREVER, Tail
from lamina.storage.segment import SegmentWriter, segment_name

if TYPE_CHECKING:
    from lamina.engine.points.store import PointStore

SECTION_POINTS = 65_536
"""Rows of a section of a sealed tail."""

BULK_POINTS = 262_144
"""Rows of a section that a bulk insert writes."""

SEGMENT_MEASUREMENTS = 4096
"""Measurements sealed into one segment and catalog transaction: bounds memory and how long the catalog is locked."""


class _Work(NamedTuple):
    """One measurement's part of a seal."""

    slot: MeasurementSlot
    state: MeasurementState  # as sealed
    kept: NDArray[np.intp]  # rows of the tail that go into sections, in the order of the sections
    made: list[PointSectionRow]
    amended: dict[int, PointSectionRow | None]  # by section id; None: it goes


class Part(NamedTuple):
    """What a segment is going to say of one measurement."""

    measurement: int
    seq: int  # up to which it is applied
    made: Sequence[PointSectionRow]
    amended: Mapping[int, PointSectionRow | None]
    sections: Sequence[Section]  # those the catalog knows, before


class PointSealer:
    """Thread-safe; a failed seal leaves everything as it was."""

    def __init__(self, store: PointStore) -> None:
        self._store = store
        self.seals = 0
        self.bytes_written = 0
        self._bulk_lock = threading.Lock()  # guards the two below
        self.bulk_segments: dict[int, SegmentRow] = {}  # written for SECTION ops, not in the catalog yet
        self._in_flight: set[int] = set()  # segments whose SECTION ops are on their way

    def seal(self, slots: Iterable[MeasurementSlot]) -> int:
        """Seal what these measurements have in the log alone; how many of them. Raises OSError, Unavailable, Conflict,
        Corrupt: what was not sealed then stays in the log."""
        todo = sorted({slot.id: slot for slot in slots}.values(), key=lambda slot: slot.id)
        parts = range(0, len(todo), SEGMENT_MEASUREMENTS)
        return sum(self._seal(todo[first : first + SEGMENT_MEASUREMENTS]) for first in parts)

    def _seal(self, slots: Sequence[MeasurementSlot]) -> int:
        store = self._store
        with ExitStack() as locks:
            for slot in slots:
                locks.enter_context(slot.sealing)
            due = [slot for slot in slots if not slot.dead and slot.state.needed]
            if not due:
                return 0
            states = store.states(due)[0]
            pins = (
                store.readers.pins()
            )  # after the states: who begins to look back later sees nothing that died in them
            writer = self.writer()
            try:
                works: list[_Work] = []
                for slot, state in zip(due, states, strict=True):
                    works.append(self._write(slot, state, pins, writer, sum(len(work.made) for work in works)))
                parts = [
                    Part(work.slot.id, work.state.seq, work.made, work.amended, work.state.sections) for work in works
                ]
                row = self.finish(writer, parts, pins)
                self._commit(works, row)
            except BaseException:
                writer.abort()
                raise
            for work in works:
                self._swap(work)
            self.seals += 1
        return len(due)

    def writer(self) -> SegmentWriter:
        """A new segment under an id of its own."""
        from lamina.engine.points.store import KIND

        store = self._store
        id = store.segment_id()
        return SegmentWriter(
            store.blobs, segment_name(KIND, id), id=id, kind=KIND, database_id=store.database_id, epoch=store.epoch
        )

    def _write(
        self, slot: MeasurementSlot, state: MeasurementState, pins: Sequence[int], writer: SegmentWriter, number: int
    ) -> _Work:
        store, tail, n = self._store, state.tail, state.n
        died = np.where(tail.died[:n] > np.uint64(state.seq), np.uint64(FOREVER), tail.died[:n])
        kept = np.flatnonzero(~visible_dead(tail.seq[:n], died, pins))
        batch = tail.batch(n)
        kept = kept[np.lexsort((tail.ordinal[kept], batch.time_us[kept]))]
        made: list[PointSectionRow] = []
        for first in range(0, len(kept), SECTION_POINTS):
            index = kept[first : first + SECTION_POINTS]
            rows = Sorted(batch.take(index), tail.ordinal[index], tail.seq[index], died[index])
            id = writer.id * SECTION_NUMBERS + number + len(made)
            made.append(write(writer, id, slot.id, rows, pins, store.epoch))
        changed = [section for section in state.sections if section.changed]
        amended = {section.row.id: amend(store, section, pins, writer) for section in changed}
        return _Work(slot, state, kept, made, amended)

    def finish(
        self,
        writer: SegmentWriter,
        parts: Sequence[Part],
        pins: Sequence[int],
    ) -> SegmentRow:
        """Make the segment durable; its row."""
        low = high = 0
        for part in parts:
            # Where somebody looks back, the catalog has sections of which nothing lives any more besides.
            dead = [row.id for row in self._store.dead_sections(part.measurement, 0)] if pins else []
            living = [section.row.id for section in part.sections]
            describe(writer, part.measurement, part.seq, part.made, part.amended, dict.fromkeys([*dead, *living]))
            high = max(high, part.seq)
            low = min([low or part.seq, *(row.min_seq for row in part.made)])
        return self._finished(writer, low, high)

    def _finished(self, writer: SegmentWriter, low: int, high: int) -> SegmentRow:
        from lamina.engine.points.store import KIND

        size = writer.finish()
        self.bytes_written += size
        name = segment_name(KIND, writer.id)
        return SegmentRow(writer.id, KIND, name, size, size, low, high, self._store.epoch, "live")

    def _commit(self, works: Sequence[_Work], row: SegmentRow) -> None:
        store = self._store
        delta = CatalogDelta(store.epoch)
        delta.puts.append(row)
        bulk = self.unpublished()
        delta.puts += bulk
        for work in works:
            delta.puts += work.made
            for id, after in work.amended.items():
                if after is None:
                    delta.deletes.append(("point_section", id))
                else:
                    delta.puts.append(after)
            delta.puts.append(PointStateRow(work.slot.id, work.state.seq, store.epoch))
            delta.expect_point_states[work.slot.id] = work.slot.applied
        delta.last_wall_us = store.clock.wall_us()
        store.log.sync()  # "os" mode: the catalog must not know more than the log will after a power loss
        store.commit_sections(delta, row.id)
        self.published(bulk)
        for work in works:
            work.slot.applied = work.state.seq
            work.slot.described = row.id

    def write_bulk(
        self, writer: SegmentWriter, measurement: int, batch: Batch, ordinals: NDArray[np.uint64], number: int
    ) -> list[PointSectionRow]:
        """Write points that a SECTION op is going to commit, as sections of which the first has this number in the
        segment; their rows."""
        order = np.lexsort((ordinals, batch.time_us))
        made: list[PointSectionRow] = []
        for first in range(0, len(order), BULK_POINTS):
            index = order[first : first + BULK_POINTS]
            born = np.zeros(len(index), np.uint64)
            rows = Sorted(batch.take(index), ordinals[index], born, np.full(len(index), FOREVER, np.uint64))
            id = writer.id * SECTION_NUMBERS + number + len(made)
            made.append(write(writer, id, measurement, rows, (), self._store.epoch))
        return made

    def finish_bulk(self, writer: SegmentWriter, measurements: Iterable[int]) -> SegmentRow:
        """Make a segment of such sections durable; its row."""
        for measurement in measurements:
            describe_bulk(writer, measurement)
        return self._finished(writer, 0, 0)

    def unpublished(self) -> list[SegmentRow]:
        """Rows of bulk segments for the next catalog commit: they must be in the catalog before any SECTION op leaves
        the log."""
        with self._bulk_lock:
            return list(self.bulk_segments.values())

    def published(self, rows: Sequence[SegmentRow]) -> None:
        """These are in the catalog now."""
        with self._bulk_lock:
            for row in rows:
                self.bulk_segments.pop(row.id, None)

    def depart(self, row: SegmentRow) -> None:
        """A bulk segment is on disk, its SECTION ops are about to be submitted."""
        with self._bulk_lock:
            self.bulk_segments[row.id] = row
            self._in_flight.add(row.id)

    def arrive(self, segment: int, committed: bool) -> bool:
        """The SECTION ops are published, or failed: then whether the file is for the caller to delete."""
        with self._bulk_lock:
            self._in_flight.discard(segment)
            return not committed and self.bulk_segments.pop(segment, None) is not None

    def in_flight(self) -> set[int]:
        with self._bulk_lock:
            return set(self._in_flight)

    def _swap(self, work: _Work) -> None:
        """Publish what is sealed; what came meanwhile stays in a tail."""
        slot, store = work.slot, self._store
        with slot.lock, store.publish_lock:
            if not slot.dead:
                store.publisher.replace(slot, _remainder(work, slot.state))


def _remainder(work: _Work, now: MeasurementState) -> MeasurementState:
    """What is left of a measurement's state once a seal is in the catalog."""
    sealed = work.state
    sections = [*_older(work, now), *_made(work, now)]
    sections.sort(key=lambda section: (section.row.t_min, section.row.id))
    rest = now.n - sealed.n
    tail = _rest(now.tail, sealed.n, now.n)
    waiting = rest > 0 or any(section.changed for section in sections)
    needed = sealed.seq + 1 if waiting else 0
    return MeasurementState(tuple(sections), tail, rest, now.seq, needed, now.living)


def _rest(tail: Tail, first: int, stop: int) -> Tail:
    """A tail with some rows of another."""
    fresh = Tail()
    if first < stop:
        rows = tail.take(np.arange(first, stop), stop)
        fresh.write(0, rows.batch, rows.ordinals, rows.born)
        fresh.died[: stop - first] = rows.died
    return fresh


def _older(work: _Work, now: MeasurementState) -> list[Section]:
    seen = {section.row.id: section for section in work.state.sections}
    found = []
    for section in now.sections:
        if section.row.id not in work.amended:
            found.append(section)
            continue
        after, before = work.amended[section.row.id], seen[section.row.id]
        if after is not None and not after.dead:
            found.append(
                section._replace(
                    row=after,
                    known=True,
                    fresh=section.fresh[len(before.fresh) :],
                    fresh_seqs=section.fresh_seqs[len(before.fresh_seqs) :],
                    cleared=0 if before.cleared else section.cleared,
                )
            )
    return found


def _made(work: _Work, now: MeasurementState) -> list[Section]:
    """New sections, with what died in them since they were written."""
    died = now.tail.died[work.kept]
    late = (died > np.uint64(work.state.seq)) & (died != np.uint64(FOREVER))
    found = []
    for number, row in enumerate(work.made):
        if row.dead:  # for those who look back, who find it in the catalog
            continue
        first = number * SECTION_POINTS
        mine = np.flatnonzero(late[first : first + row.points])
        section = section_of(row)
        if len(mine):
            section = section._replace(fresh=mine.astype(np.uint32), fresh_seqs=died[first : first + row.points][mine])
        found.append(section)
    return found
