"""What the log calls: versions for ops before they are written, visibility after they are durable.

Both run under the commit role, in seq order, without I/O. Publishing is repeatable (architecture section 7 row 8): an
op whose version a state has already is passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from lamina.engine.slots import Slot, Slots
from lamina.errors import StreamNotFound
from lamina.storage.log import Op
from lamina.streams import ops
from lamina.streams.ops import Delete, Insert, Root
from lamina.streams.state import Flushed, StreamState

META = 0


class ChangeNote:
    """Rides on INSERT, REPLACE and DELETE (one stream) and INSERT_MANY: a change for each slot, version 0 until it is
    numbered."""

    __slots__ = ("changes", "slots")

    def __init__(self, slots: list[Slot], changes: list[Insert | Delete]) -> None:
        self.slots = slots
        self.changes = changes


class RootNote:
    """Rides on a ROOT op. The object lock is held until it is published, so its version is known beforehand."""

    __slots__ = ("change", "flushed", "root", "slots")

    def __init__(self, slot: Slot, change: Insert, root: Root, flushed: Flushed) -> None:
        self.slots = [slot]
        self.change = change
        self.root = root
        self.flushed = flushed


_NUMBERED = (ChangeNote, RootNote)
"""Notes of ops that get a version."""


class TailNote:
    """Rides on a TAIL op: the changes up to `version` are in the log again."""

    __slots__ = ("slot", "version")

    def __init__(self, slot: Slot, version: int) -> None:
        self.slot = slot
        self.version = version


class Publisher:
    """The engine's `Sink`."""

    def __init__(self, slots: Slots, flush_points: int) -> None:
        self._slots = slots
        self._flush_points = flush_points
        self.due: dict[int, Slot] = {}  # streams to flush; guarded by slots.publish_lock
        self.wake = threading.Event()  # set when upkeep has something to do
        self.tail_bytes = 0  # of all tails; guarded by slots.publish_lock
        self.points_inserted = 0  # since open, for /metrics

    def number(self, first_seq: int, submitted: Sequence[Op]) -> object:
        """The version given: an int, a list for INSERT_MANY, None for ops without one. Raises StreamNotFound if a
        stream was obliterated after the op was made; nothing has a version then.

        Repeatable: after an interrupt it is called again, and what has a version keeps it.
        """
        notes = [(op, op.note) for op in submitted if isinstance(op.note, _NUMBERED)]
        for _, note in notes:
            for slot in note.slots:
                if slot.dead:
                    raise StreamNotFound("stream does not exist")
        result: object = None
        for op, note in notes:
            if isinstance(note, ChangeNote):
                result = self._number(op, note)
            else:
                (slot,) = note.slots
                result = version = note.root.version
                assert version - slot.numbered in (0, 1), "a bulk insert holds the object lock"
                slot.numbered = version
        return result

    def _number(self, op: Op, note: ChangeNote) -> int | list[int]:
        for i, slot in enumerate(note.slots):
            change = note.changes[i]
            if not change.version:
                version = slot.numbered + 1
                if isinstance(change, Insert):  # spelt out: _replace takes 2 µs
                    change = Insert(version, change.times, change.values, change.removed)
                else:
                    change = Delete(version, change.start, change.end)
                note.changes[i] = change
            slot.numbered = max(slot.numbered, change.version)
        if op.type == ops.INSERT_MANY:
            versions = [change.version for change in note.changes]
            op.parts[2] = np.array(versions, np.uint64).tobytes()
            return versions
        (change,) = note.changes
        if isinstance(change, Delete):
            op.parts[0] = ops.delete_body(*change)
        else:
            op.parts[0] = ops.insert_head(change.version, len(change.times))
        return change.version

    def publish(self, first_seq: int, group: Sequence[Op]) -> None:
        with self._slots.publish_lock:
            for seq, op in enumerate(group, first_seq):
                note = op.note
                if isinstance(note, ChangeNote):
                    for slot, change in zip(note.slots, note.changes, strict=True):
                        self._change(slot, seq, change)
                elif isinstance(note, RootNote):
                    self._root(note, seq)
                elif isinstance(note, TailNote):
                    slot = note.slot
                    if slot.state.version == note.version and slot.state.stages:
                        slot.state = slot.state._replace(needed_seq=seq)

    def _change(self, slot: Slot, seq: int, change: Insert | Delete) -> None:
        state = slot.state
        if change.version <= state.version:
            return
        if isinstance(change, Delete):
            self._swap(slot, state.delete(seq, change))
        else:
            self._swap(slot, state.insert(seq, change))
            self._tell(slot, change)

    def _root(self, note: RootNote, seq: int) -> None:
        (slot,) = note.slots
        state = slot.state
        if note.root.version <= state.version:
            return
        self._swap(slot, state.flushed_to(note.flushed._replace(seq=seq), seq))
        self._tell(slot, note.change)

    def _swap(self, slot: Slot, state: StreamState) -> None:
        """Publish a state. The publish lock is held."""
        before = slot.state
        slot.state = state
        self.tail_bytes += state.tail_bytes - before.tail_bytes
        if state.stages or slot.root_unpublished:
            self._slots.dirty[slot.id] = slot
        else:
            self._slots.dirty.pop(slot.id, None)
        if state.stages and self._is_due(state) and slot.id not in self.due:
            self.due[slot.id] = slot
            self.wake.set()

    def _tell(self, slot: Slot, change: Insert) -> None:
        self.points_inserted += len(change.times)
        for subscriber in slot.subscribers:
            subscriber(change)

    def _is_due(self, state: StreamState) -> bool:
        return (
            len(state.stages) > STAGES_DUE
            or state.stages[-1].points >= self._flush_points
            or (len(state.stages) > 1 and state.points >= self._flush_points)
        )

    def settle(self, slot: Slot) -> None:
        """After a flush: due again only if enough came meanwhile. The publish lock is held."""
        if not slot.state.stages or not self._is_due(slot.state):
            self.due.pop(slot.id, None)

    def sealed(self, slot: Slot, flushed: Flushed) -> None:
        """Publish the result of a flush whose catalog row is committed."""
        with self._slots.publish_lock:
            slot.cataloged = flushed.version
            self._swap(slot, slot.state.flushed_to(flushed))

    def moved(self, slot: Slot, flushed: Flushed) -> None:
        """Publish a root whose blocks compaction put elsewhere; nothing changes for readers."""
        with self._slots.publish_lock:
            slot.state = slot.state._replace(flushed=flushed)

    def restore(self, slot: Slot, state: StreamState) -> None:
        """Publish a state that recovery built."""
        with self._slots.publish_lock:
            slot.numbered = state.version
            self._swap(slot, state)

    def obliterated(self, slot: Slot) -> None:
        """Nothing of the stream is readable or writable from here on."""
        with self._slots.publish_lock:
            slot.dead = True
            self.tail_bytes -= slot.state.tail_bytes
            self.due.pop(slot.id, None)
            self._slots.drop(slot.id)


STAGES_DUE = 16
"""Unflushed removals after which a stream is flushed: each is looked at by every read until then."""
