"""What the log calls for ops of records: refusal before they are written, visibility after they are durable.

Runs under the commit role, in seq order, without I/O. Publishing is repeatable: an op whose seq an entry has already
is passed over, numbers are absolute (blocks.py), rows are written at a recorded length and states are swapped last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.engine.records.entry_slot import EntrySlot
from lamina.errors import NotFound
from lamina.records import ops
from lamina.records.blocks import BlockLimits, Plan
from lamina.records.labels import LabelSet
from lamina.records.row import FOREVER, NO_ROWS, ROW, Rows
from lamina.records.state import EntryState
from lamina.storage.log import Op

Place = int | tuple[int, int]
"""A row of the tail, or (section id, row)."""


class AppendNote:
    """Rides on an APPEND op."""

    __slots__ = (
        "claimed",
        "contents",
        "entry",
        "keys",
        "limits",
        "plan",
        "removal",
        "replaced",
        "rows",
        "sets",
        "times",
        "types",
    )

    def __init__(
        self,
        entry: EntrySlot,
        rows: bytes,
        times: list[int],
        sets: list[LabelSet],
        types: list[str],
        limits: BlockLimits,
        contents: int,
        claimed: int,
    ) -> None:
        self.entry = entry
        self.rows = rows  # as in the op
        self.times = times
        self.sets = sets
        self.types = types
        self.limits = limits
        self.contents = contents  # where contents begin in the body
        self.claimed = claimed  # bytes of quota
        self.plan: Plan | None = None
        self.replaced: dict[int, str] | None = None  # attachments: times of those that go
        self.keys: dict[str, int] = {}
        self.removal: Plan | None = None


class SealedVictim(NamedTuple):
    """A row in a section that an op is about to kill."""

    section: int  # id
    at: int  # row in it
    row: Rows  # length 1, as it is sealed
    type: str


class LabelsNote:
    """Rides on LABELS. The object lock is held until it is published, so sections stand still."""

    __slots__ = ("entry", "found", "gone", "growth", "plan", "sets", "times", "victims")

    def __init__(
        self,
        entry: EntrySlot,
        times: list[int],
        sets: list[LabelSet],
        growth: list[int],
        victims: dict[int, SealedVictim],
        gone: Sequence[tuple[str, ...]] = (),
    ) -> None:
        self.entry = entry
        self.gone = gone  # names of labels that were taken off, per time; empty where nobody knows
        self.times = times
        self.sets = sets
        self.growth = growth  # of the metadata, bytes
        self.victims = victims  # by time: those that are not in the tail
        self.found: list[Place | None] | None = None  # where each was when this was first published
        self.plan: Plan | None = None


class SealedRows(NamedTuple):
    """Rows of a section that an op is about to kill."""

    section: int  # id
    at: NDArray[np.uint32]
    times: NDArray[np.uint64]
    sizes: NDArray[np.int64]  # content and metadata


class RemoveNote:
    """Rides on REMOVE. The object lock is held until it is published, so rows and sections stand still."""

    __slots__ = ("entry", "plan", "sealed", "tail")

    def __init__(self, entry: EntrySlot, tail: NDArray[np.intp], sealed: list[SealedRows]) -> None:
        self.entry = entry
        self.tail = tail  # rows of the tail; once published, those that lived until then
        self.sealed = sealed  # likewise
        self.plan: Plan | None = None


class EvictNote:
    """Rides on EVICT."""

    __slots__ = ("claimed", "entry", "plan", "through")

    def __init__(self, entry: EntrySlot, through: int, claimed: int) -> None:
        self.entry = entry
        self.through = through
        self.claimed = claimed  # bytes the quota counts as gone already
        self.plan: Plan | None = None


Note = AppendNote | LabelsNote | RemoveNote | EvictNote


class RecordPublisher:
    """Number and publish ops of records."""

    def __init__(self, publish_lock: threading.Lock, wake: threading.Event, seal_records: int) -> None:
        """`seal_records`: a tail of so many rows is due."""
        self._seal_records = seal_records
        self._lock = publish_lock  # guards EntrySlot.state, .blocks, .dead and what is below
        self._wake = wake
        self.dirty: dict[int, EntrySlot] = {}
        self.due: dict[int, EntrySlot] = {}
        self.shrunk: dict[int, EntrySlot] = {}  # rows with space on the disk died: it may be given back
        self.tail_bytes = 0
        self.feeds: tuple[Callable[[int, Sequence[Op]], None], ...] = ()  # told of every group that was published,
        # under the commit role, maybe twice (an interrupt); must not block
        self.records_written = 0  # since open, for /metrics
        self.bytes_written = 0

    def number(self, submitted: Sequence[Op]) -> None:
        """Raises NotFound if an entry was removed after the op was made."""
        for op in submitted:
            if op.kind != ops.KIND:
                continue
            entry: EntrySlot = op.note.entry  # type: ignore[attr-defined]
            if entry.dead or entry.leaving:
                raise NotFound(f"Entry '{entry.name}' not found in bucket '{entry.bucket.name}'")

    def publish(self, first_seq: int, group: Sequence[Op]) -> None:
        told: set[Callable[[], None]] = set()
        with self._lock:
            for seq, op in enumerate(group, first_seq):
                if op.kind != ops.KIND:
                    continue
                note = op.note
                if note.entry.dead:  # type: ignore[attr-defined]
                    self._pass_over(note)
                elif isinstance(note, AppendNote):
                    if seq > note.entry.state.seq:
                        self._append(note, op.position, seq)
                        told.update(note.entry.listeners)
                elif isinstance(note, LabelsNote):
                    if seq > note.entry.state.seq:
                        self._labels(note, seq)
                elif isinstance(note, RemoveNote):
                    if seq > note.entry.state.seq:
                        self._remove(note, seq)
                elif isinstance(note, EvictNote) and seq > note.entry.state.seq:
                    self._evict(note, seq)
        for call in told:
            call()
        for feed in self.feeds:
            feed(first_seq, group)

    def _pass_over(self, note: object) -> None:
        """The entry was removed after the op was numbered: it is as if the op had come first."""
        if isinstance(note, AppendNote):
            bucket = note.entry.bucket
            with bucket.lock:
                bucket.load -= note.claimed
                note.claimed = 0
            note.entry.release(note.times)

    def _append(self, note: AppendNote, position: int, seq: int) -> None:
        entry = note.entry
        state = entry.state
        plan = note.plan
        blocks = entry.blocks
        base = position + note.contents
        if len(note.times) == 1:
            time_us, size, where, stored, _, crc, file, described, *_ = ops.ONE.unpack(note.rows)
            if plan is None:
                plan = note.plan = blocks.plan_add((time_us,), (size,), (described,), note.limits)
            if file:
                entry.bucket.files.add(file)
            else:
                where += base
            row = (time_us, size, where, stored, seq, crc, file, plan.metas[0])
            after = state.append_one(row, note.sets[0], note.types[0], seq)
        else:
            rows = np.frombuffer(bytearray(note.rows), ROW)  # to be written to; copying fields takes longer
            if plan is None:
                plan = note.plan = blocks.plan_many(rows["time"], rows["size"], rows["meta"], note.limits)
            size = int(rows["size"].sum())
            rows["seq"] = seq
            rows["meta"] = plan.metas
            files = rows["file"]
            if files.any():
                entry.bucket.files.update(files.tolist())
                rows["where"] += np.where(files == 0, np.uint64(base), np.uint64(0))
            else:
                rows["where"] += np.uint64(base)
            after = state.append(rows, note.sets, note.types, seq)
        after.tail.inline += size  # a bound, whether inline or not: it only says when to seal
        if entry.meta:
            after, plan = self._replace_attachments(note, plan, after, seq)
        self._swap(entry, after, plan, note.claimed)
        note.claimed = 0
        self.records_written += len(note.times)
        self.bytes_written += size
        entry.release(note.times)

    def _replace_attachments(
        self, note: AppendNote, plan: Plan, after: EntryState, seq: int
    ) -> tuple[EntryState, Plan]:
        """A record of a $meta entry takes the place of the living one with its key (attachments.py)."""
        entry = note.entry
        assert entry.keys is not None, "loaded when the write began"
        if note.replaced is None:
            note.replaced = {}
            latest: dict[str, int] = {}
            for i, row in enumerate(np.frombuffer(note.rows, ROW)["set"].tolist()):
                key = dict(note.sets[row]).get("key", "")
                old = latest.get(key, entry.keys.get(key))
                if old is not None and old != note.times[i]:
                    note.replaced[old] = key
                latest[key] = note.times[i]
            note.keys = latest
        found = [_living(after, time_us, entry.places) for time_us in note.replaced]
        rows, _, killed = _kill(after, found, list(note.replaced), entry.places, seq)
        if note.removal is None:
            entry.blocks.carry_out(plan)
            sizes = (-(rows["size"] + rows["meta"]).astype(np.int64)).tolist()
            removal = entry.blocks.plan_change(rows["time"].tolist(), [-1] * len(rows), sizes)
            note.removal = removal._replace(
                blocks={**plan.blocks, **removal.blocks}, size=removal.size + plan.size - entry.blocks.size
            )
        entry.keys.update(note.keys)
        return killed, note.removal

    def _labels(self, note: LabelsNote, seq: int) -> None:
        entry = note.entry
        state = entry.state
        found = note.found
        if found is None:
            found = note.found = [_living(state, time_us, note.victims) for time_us in note.times]
        chosen = [i for i, place in enumerate(found) if place is not None]
        if note.plan is None:
            times = [note.times[i] for i in chosen]
            note.plan = entry.blocks.plan_change(times, [0] * len(times), [note.growth[i] for i in chosen])
        rows, types, after = _kill(state, found, note.times, note.victims, seq)
        if len(rows):
            rows["seq"] = seq
            rows["meta"] = (rows["meta"].astype(np.int64) + [note.growth[i] for i in chosen]).astype(np.uint32)
            rows["set"] = rows["type"] = np.arange(len(rows), dtype=np.uint32)
            n = after.n
            after = after.append(rows, [note.sets[i] for i in chosen], types, seq)
            after.tail.updated[n : after.n] = True
        self._swap(entry, after, note.plan, 0)

    def _remove(self, note: RemoveNote, seq: int) -> None:
        entry = note.entry
        state = entry.state
        rows = state.tail.rows
        if note.plan is None:  # what was evicted while the op was on its way is not removed again
            note.tail = note.tail[state.tail.died[note.tail] == np.uint64(FOREVER)]
            floors = {section.row.id: section.floor(FOREVER) for section in state.sections}
            note.sealed = [_above(part, floors[part.section]) for part in note.sealed if part.section in floors]
            mine = rows[note.tail]
            times = np.concatenate([mine["time"], *(part.times for part in note.sealed)])
            own = (mine["size"] + mine["meta"]).astype(np.int64)
            sizes = np.concatenate([own, *(part.sizes for part in note.sealed)])
            note.plan = entry.blocks.plan_remove(times, sizes)
            if len(times) and int(times.max()) == entry.blocks.last:
                note.plan = note.plan._replace(last=min(entry.blocks.last, _newest(state, note.tail)))
        state.tail.died[note.tail] = seq
        if state.tail.by_time is not None:
            for index in note.tail.tolist():
                state.kill_in_tail(index, seq)
        killed = {part.section: part.at for part in note.sealed if len(part.at)}
        sections = state.sections
        if killed:
            sections = tuple(
                section.kill(killed[section.row.id], seq) if section.row.id in killed else section
                for section in sections
            )
        if killed or rows["file"][note.tail].any():
            self.shrunk[entry.id] = entry
        self._swap(entry, state.changed(sections, seq), note.plan, 0)

    def _evict(self, note: EvictNote, seq: int) -> None:
        entry = note.entry
        state = entry.state
        if note.plan is None:
            note.plan = entry.blocks.plan_evict(note.through, _rest(entry, note.through))
        after = evicted(state, note.through, seq)
        self._swap(entry, after, note.plan, -note.claimed)
        claimed, note.claimed = note.claimed, 0
        with entry.bucket.lock:
            entry.evicting -= claimed
            if entry.evicted_through == note.through:
                entry.evicted_through = -1
        if after.sections is not state.sections:
            self.shrunk[entry.id] = entry
            self._wake.set()

    def _swap(self, entry: EntrySlot, after: EntryState, plan: Plan, claimed: int) -> None:
        """Publish a state. The publish lock is held."""
        before = entry.state
        blocks = entry.blocks
        blocks.carry_out(plan)
        bucket = entry.bucket
        with bucket.lock:  # no call in here: an interrupt cannot come between the three
            grown = plan.size - blocks.size
            bucket.size += grown
            bucket.load += grown - claimed
            blocks.size = plan.size
        self.replace(entry, before, after)

    def replace(self, entry: EntrySlot, before: EntryState, after: EntryState) -> None:
        """Swap states; the publish lock is held."""
        entry.state = after
        self.tail_bytes += after.tail_bytes - before.tail_bytes
        if after.needed:
            self.dirty[entry.id] = entry
            if entry.id not in self.due and self.is_due(entry):
                self.due[entry.id] = entry
                self._wake.set()
        else:
            self.dirty.pop(entry.id, None)
            self.due.pop(entry.id, None)

    def is_due(self, entry: EntrySlot) -> bool:
        state = entry.state
        return state.n >= self._seal_records or state.tail.inline >= entry.bucket.seal_bytes

    def wake(self) -> None:
        """Upkeep has something to do."""
        self._wake.set()

    def drop(self, entry: EntrySlot) -> None:
        """Nothing of the entry is readable or writable from here on. The publish lock is held."""
        entry.dead = True
        self.tail_bytes -= entry.state.tail_bytes
        for held in (self.dirty, self.due, self.shrunk):
            held.pop(entry.id, None)


def _above(part: SealedRows, floor: int) -> SealedRows:
    """Of rows of a section those that no eviction took."""
    if floor < 0:
        return part
    kept = part.times > np.uint64(floor)
    return SealedRows(part.section, part.at[kept], part.times[kept], part.sizes[kept])


def _newest(state: EntryState, dying: NDArray[np.integer]) -> int:
    """The largest time there is once some rows of the tail are gone. Of a section that of its records that died may be
    it until it is written again."""
    times = [section.t_max for section in state.sections]
    alive = np.setdiff1d(state.living(), dying)
    if len(alive):
        times.append(int(state.tail.rows["time"][alive].max()))
    return max(times, default=-1)


def _living(state: EntryState, time_us: int, victims: dict[int, SealedVictim]) -> Place | None:
    """Where the living record of a time is; None: it was evicted while the op was on its way. (Nothing else can
    come between: the object lock is held.)"""
    index = state.find_in_tail(time_us)
    if index >= 0:
        return index
    victim = victims.get(time_us)
    if victim is None:
        return None
    for section in state.sections:
        if section.row.id == victim.section:
            return None if time_us <= section.floor(FOREVER) else (victim.section, victim.at)
    return None


def _kill(
    state: EntryState, found: Sequence[Place | None], times: Sequence[int], victims: dict[int, SealedVictim], seq: int
) -> tuple[Rows, list[str], EntryState]:
    """Let rows die: copies of them, their content types, and the state without them. Repeatable."""
    rows: list[Rows] = []
    types: list[str] = []
    sealed: dict[int, list[int]] = {}
    for place, time_us in zip(found, times, strict=True):
        if place is None:
            continue
        if isinstance(place, int):
            tail = state.tail
            row = tail.rows[place : place + 1]
            types.append(tail.types[int(row["type"][0])])
            rows.append(row)
            state.kill_in_tail(place, seq)
        else:
            victim = victims[time_us]
            rows.append(victim.row)
            types.append(victim.type)
            sealed.setdefault(place[0], []).append(place[1])
    sections = state.sections
    if sealed:
        sections = tuple(
            section.kill(np.array(sealed[section.row.id], np.uint32), seq) if section.row.id in sealed else section
            for section in sections
        )
    return (np.concatenate(rows) if rows else NO_ROWS.copy()), types, state.changed(sections, seq)


def _rest(entry: EntrySlot, through: int) -> tuple[int, int]:
    """Records and size of what an eviction leaves of the block it cuts: records that came while it was under way, so
    they are in the tail."""
    cut = entry.blocks.cut_by(through)
    if cut is None:
        return 0, 0
    state = entry.state
    rows = state.tail.rows[: state.n][state.living()]
    times = rows["time"]
    mine = rows[(times > np.uint64(through)) & (times <= np.uint64(cut[1]))]
    return len(mine), int(mine["size"].sum()) + int(mine["meta"].sum())


def evicted(state: EntryState, through: int, seq: int) -> EntryState:
    """The state without everything up to a time."""
    tail, n = state.tail, state.n
    if n:
        times: NDArray[np.uint64] = tail.rows["time"][:n]
        hit = np.flatnonzero((times <= np.uint64(through)) & (tail.died[:n] == np.uint64(FOREVER)))
        tail.died[hit] = seq
        if tail.by_time is not None:
            for time_us in times[hit].tolist():
                tail.by_time.pop(time_us, None)
    sections = tuple(section.cut(through, seq) for section in state.sections)
    if all(new is old for new, old in zip(sections, state.sections, strict=True)):
        return state.changed(state.sections, seq)
    return state.changed(sections, seq)
