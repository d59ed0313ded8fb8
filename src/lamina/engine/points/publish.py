"""What the log calls for ops of points: ordinals before they are written, visibility after they are durable.

Runs under the commit role, in seq order, without I/O. Publishing is repeatable: an op whose seq a measurement has
already is passed over, rows are written at a recorded length and states are swapped last.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.engine.points.ordinals import Ordinals
from lamina.engine.points.slot import MeasurementSlot
from lamina.errors import NotFound
from lamina.points import ops
from lamina.points.batch import Batch
from lamina.points.section import Section
from lamina.points.state import MeasurementState
from lamina.storage.log import Op

Rows = NDArray[np.uint32]
U64 = NDArray[np.uint64]


class Numbering:
    """The ordinals of one submission: so many in a row, shared by its INSERT ops."""

    __slots__ = ("count", "first")

    def __init__(self, count: int) -> None:
        self.count = count
        self.first = 0  # until they are given


class Victims:
    """Rows of a measurement that an op is about to kill. The object lock is held from when they were found until the
    op is published, so they stand still."""

    __slots__ = ("sealed", "tail")

    def __init__(self, tail: NDArray[np.intp], sealed: Mapping[int, Rows]) -> None:
        self.tail = tail
        self.sealed = sealed  # section id -> rows

    def __len__(self) -> int:
        return len(self.tail) + sum(len(rows) for rows in self.sealed.values())


class InsertNote:
    """Rides on an INSERT op of new points, whose ordinals are `at` on the first of the submission's, or of points that
    moved here from another measurement and bring theirs along: `numbering` is None and `at` holds them."""

    __slots__ = ("at", "batch", "numbering", "scattered", "slot")

    def __init__(
        self, slot: MeasurementSlot, batch: Batch, at: U64, numbering: Numbering | None, scattered: bool
    ) -> None:
        self.slot = slot
        self.batch = batch
        self.at = at
        self.numbering = numbering
        self.scattered = scattered  # `at` is in the op

    def ordinals(self) -> U64:
        return self.at if self.numbering is None else self.at + np.uint64(self.numbering.first)


class UpdateNote:
    """Rides on an UPDATE op: complete new rows in the place of others."""

    __slots__ = ("batch", "ordinals", "slot", "victims")

    def __init__(self, slot: MeasurementSlot, batch: Batch, ordinals: U64, victims: Victims) -> None:
        self.slot = slot
        self.batch = batch
        self.ordinals = ordinals
        self.victims = victims


class RemoveNote:
    """Rides on a REMOVE op."""

    __slots__ = ("slot", "victims")

    def __init__(self, slot: MeasurementSlot, victims: Victims) -> None:
        self.slot = slot
        self.victims = victims


class ClearNote:
    """Rides on a CLEAR op."""

    __slots__ = ("slot",)

    def __init__(self, slot: MeasurementSlot) -> None:
        self.slot = slot


class SectionNote:
    """Rides on a SECTION op: points that were written into a segment before."""

    __slots__ = ("section", "slot")

    def __init__(self, slot: MeasurementSlot, section: Section) -> None:
        self.slot = slot
        self.section = section


Note = InsertNote | UpdateNote | RemoveNote | ClearNote | SectionNote


class PointPublisher:
    """Number and publish ops of points."""

    def __init__(
        self, publish_lock: threading.Lock, wake: threading.Event, ordinals: Ordinals, seal_points: int
    ) -> None:
        """`seal_points`: a tail of so many rows is due."""
        self._lock = publish_lock  # guards MeasurementSlot.state, .dead and what is below
        self._wake = wake
        self._ordinals = ordinals
        self._seal_points = seal_points
        self.dirty: dict[int, MeasurementSlot] = {}
        self.due: dict[int, MeasurementSlot] = {}
        self.tail_bytes = 0
        self.inserted = 0  # since open, for /metrics

    def number(self, submitted: Sequence[Op]) -> None:
        """Raises NotFound if a measurement was forgotten after the op was made: it is to be made again."""
        for op in submitted:
            note: Note = op.note  # type: ignore[assignment]
            if note.slot.dead or note.slot.leaving:
                raise NotFound(f"measurement {note.slot.name!r} is not there any more")
        for op in submitted:
            numbered = op.note
            if isinstance(numbered, InsertNote) and numbered.numbering is not None:
                numbering = numbered.numbering
                if not numbering.first:
                    numbering.first = self._ordinals.take(numbering.count)
                op.parts[0] = ops.insert_head(numbering.first, scattered=numbered.scattered)

    def publish(self, first_seq: int, group: Sequence[Op]) -> None:
        with self._lock:
            for seq, op in enumerate(group, first_seq):
                if op.kind != ops.KIND:
                    continue
                note: Note = op.note  # type: ignore[assignment]
                slot = note.slot
                if seq > slot.state.seq and not slot.dead:
                    self.replace(slot, self._after(slot.state, note, seq))

    def _after(self, state: MeasurementState, note: Note, seq: int) -> MeasurementState:
        if isinstance(note, InsertNote):
            if note.numbering is not None:
                self.inserted += note.batch.n
            return state.insert(note.batch, note.ordinals(), seq)
        if isinstance(note, UpdateNote):
            victims = note.victims
            return state.update(note.batch, note.ordinals, victims.tail, victims.sealed, seq)
        if isinstance(note, RemoveNote):
            return state.kill(note.victims.tail, note.victims.sealed, seq)
        if isinstance(note, ClearNote):
            return state.clear(seq)
        self.inserted += note.section.row.points
        section = note.section._replace(row=note.section.row._replace(min_seq=seq, max_seq=seq))
        return state.add_section(section, seq)

    def replace(self, slot: MeasurementSlot, after: MeasurementState) -> None:
        """Swap states; the publish lock is held."""
        before = slot.state
        slot.state = after
        self.tail_bytes += after.tail_bytes - before.tail_bytes
        if after.needed:
            self.dirty[slot.id] = slot
            if slot.id not in self.due and self.is_due(slot):
                self.due[slot.id] = slot
                self._wake.set()
        else:
            self.dirty.pop(slot.id, None)
            self.due.pop(slot.id, None)

    def is_due(self, slot: MeasurementSlot) -> bool:
        return slot.state.n >= self._seal_points

    def wake(self) -> None:
        """Upkeep has something to do."""
        self._wake.set()

    def drop(self, slot: MeasurementSlot) -> None:
        """Nothing can be written to the measurement from here on. The publish lock is held."""
        slot.dead = True
        self.tail_bytes -= slot.state.tail_bytes
        self.dirty.pop(slot.id, None)
        self.due.pop(slot.id, None)
