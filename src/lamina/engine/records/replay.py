"""Recovery of records: ops that the sections lack become tails again.

Ops are collected per entry and applied run by run, so that a log of single writes costs a few microseconds an op.
What a label update or a removal met in a section is looked up again: it is the living row of that time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamina.engine.records import singles
from lamina.engine.records.entry_slot import EntrySlot
from lamina.engine.records.publish import AppendNote, EvictNote, LabelsNote, RemoveNote, SealedRows, SealedVictim
from lamina.engine.records.store import Replayed
from lamina.errors import Corrupt, NotFound
from lamina.records import checksum, ops
from lamina.records.blocks import BlockLimits
from lamina.records.labels import LabelSet
from lamina.records.row import ROW, Rows
from lamina.records.size import described_length

if TYPE_CHECKING:
    from lamina.engine.records.found import Found
    from lamina.engine.records.store import RecordStore
    from lamina.records.source import Source

RUN_ROWS = 65_536
"""Rows gathered before they are applied: bounds what a run takes in memory."""


FEW_REMOVED = 64
"""Records up to which a REMOVE op looks for each; for more it goes through the sections they may be in."""


class _Run:
    """Consecutive APPENDs of one entry, as one."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.rows: list[bytes] = []
        self.counts: list[int] = []
        self.sets: list[NDArray[np.uint32] | int] = []  # per op: number of its sets in the run's table
        self.types: list[NDArray[np.uint32] | int] = []
        self.seqs: list[int] = []
        self.bases: list[int] = []
        self.limits = BlockLimits(0, 0)
        self.total = 0
        self.set_ids: dict[LabelSet, int] = {}
        self.type_ids: dict[str, int] = {}
        self.numbers: dict[tuple[bytes, int, int], tuple[NDArray[np.uint32] | int, NDArray[np.uint32] | int]] = {}
        """Of the tables of an op, as they stand in it."""


class RecordReplay:
    """One pass over the log at open."""

    def __init__(self, store: RecordStore, proven_seq: int | None) -> None:
        """`proven_seq`: in "os" mode, up to where the log is known to have been durable. A power loss may leave later
        ops whose contents in payload files are gone: those records are, too. None: every op was synced after them."""
        self._store = store
        self._proven_seq = proven_seq
        self._slots: dict[int, EntrySlot | None] = {}
        self._tables: dict[tuple[bytes, int, int], tuple[list[LabelSet], list[str]]] = {}
        self._lossy: dict[int, EntrySlot] = {}  # entries with records that are gone
        self.unread: list[str] = []  # what could not be applied because a section is damaged
        self._keep_after = self._queued_seq()

    def forget_missing(self) -> None:
        """Metadata changed: what was not there may be there now."""
        self._slots = {id: slot for id, slot in self._slots.items() if slot is not None}
        self._keep_after = self._queued_seq()

    def _queued_seq(self) -> int | None:
        """Seq above which replications want to see ops again; None: there are none."""
        with self._store.catalog.snapshot() as snapshot:
            return min((row.queue_seq for row in snapshot.replications()), default=None)

    def apply(
        self,
        entries: NDArray[np.uint64],
        types: NDArray[np.uint8],
        seqs: NDArray[np.uint64],
        begins: NDArray[np.int64],
        lengths: NDArray[np.int64],
        positions: NDArray[np.int64],
        raw: NDArray[np.uint8],
    ) -> None:
        """Ops in seq order: entry, type, seq, where the body begins and how long it is in `raw`, its log position.
        Raises Corrupt for ops that no Lamina of this version writes."""
        if self._keep_after is not None:
            kept = np.flatnonzero((types <= ops.LABELS) & (seqs > np.uint64(self._keep_after)))
            found = Replayed(entries[kept], types[kept], seqs[kept], positions[kept], lengths[kept])
            self._store.replayed.append(found)
        order = np.argsort(entries, kind="stable")
        firsts = np.flatnonzero(np.append(True, entries[order][1:] != entries[order][:-1])) if len(order) else order
        bounds = [*firsts.tolist(), len(order)]
        columns = [column[order] for column in (types, seqs, begins, lengths, positions)]
        ids = entries[order].tolist()
        for first, stop in itertools.pairwise(bounds):
            slot = self._slot(ids[first])
            if slot is not None:
                self._apply_ops(slot, [column[first:stop] for column in columns], raw)

    def _slot(self, entry: int) -> EntrySlot | None:
        """None: removed since, or never made: the op that made it would have been applied before."""
        if entry not in self._slots:
            self._slots[entry] = self._store.slot_of(entry)
        return self._slots[entry]

    def _apply_ops(self, slot: EntrySlot, columns: Sequence[NDArray[Any]], raw: NDArray[np.uint8]) -> None:
        """Ops of one entry: long runs of APPENDs of one record, of which a log of single writes consists, as columns at
        1 µs an op; the others one by one at 4."""
        types, seqs, begins, lengths, positions = columns
        done = int(seqs.searchsorted(np.uint64(slot.state.seq), side="right"))
        data = memoryview(raw)  # type: ignore[arg-type]
        found = [] if slot.meta else singles.stretches(types, begins, lengths, raw, done)
        for first, stop in found:
            self._apply_entry(slot, [column[done:first].tolist() for column in columns], data)
            for at in range(first, stop, RUN_ROWS):
                part = slice(at, min(at + RUN_ROWS, stop))
                for run in singles.read(seqs[part], begins[part], positions[part], raw, self._decoded):
                    self._put(slot, *run)
            done = stop
        self._apply_entry(slot, [column[done:].tolist() for column in columns], data)

    def _apply_entry(self, slot: EntrySlot, columns: Sequence[Sequence[int]], data: memoryview) -> None:
        run = _Run()
        known = slot.state.seq
        for type, seq, begin, length, position in zip(*columns, strict=True):
            if seq <= known:
                continue
            if type == ops.APPEND and not slot.meta:
                self._collect(run, slot, seq, begin, length, position, data)
                if run.total >= RUN_ROWS:
                    self._flush(run, slot)
                    run.clear()
                continue
            if run.total:
                self._flush(run, slot)
                run.clear()
            body = bytes(data[begin : begin + length])
            if type == ops.APPEND:
                self._attach(slot, seq, position, body)
            elif type == ops.LABELS:
                self._labels(slot, seq, body)
            elif type == ops.REMOVE:
                self._remove(slot, seq, body)
            elif type == ops.EVICT:
                self._publisher._evict(EvictNote(slot, ops.decode_evict(body), 0), seq)
            else:
                raise Corrupt(f"records op {seq} of unknown type {type}")
        if run.total:
            self._flush(run, slot)

    @property
    def _publisher(self):  # type: ignore[no-untyped-def]
        return self._store.publisher

    def _collect(
        self, run: _Run, slot: EntrySlot, seq: int, begin: int, length: int, position: int, data: memoryview
    ) -> None:
        if length < ops.HEAD.size:
            raise Corrupt(f"APPEND op {seq} of {length} bytes: at least {ops.HEAD.size}")
        count, sets, types, size, block_size, block_records, _ = ops.HEAD.unpack_from(data, begin)
        rows_end = begin + ops.HEAD.size + count * ROW.itemsize
        if rows_end + size > begin + length:
            raise Corrupt(f"APPEND op {seq} of {length} bytes announces {count} rows and {size} bytes of tables")
        if block_size != run.limits.size or block_records != run.limits.records:
            if run.total:
                self._flush(run, slot)
                run.clear()
            run.limits = BlockLimits(block_size, block_records)
        key = (bytes(data[rows_end : rows_end + size]), sets, types)
        numbers = run.numbers.get(key)
        if numbers is None:
            found = self._decoded(key)
            numbers = run.numbers[key] = _numbers(run.set_ids, found[0]), _numbers(run.type_ids, found[1])
        run.rows.append(bytes(data[begin + ops.HEAD.size : rows_end]))
        run.counts.append(count)
        run.sets.append(numbers[0])
        run.types.append(numbers[1])
        run.seqs.append(seq)
        run.bases.append(position + ops.HEAD.size + count * ROW.itemsize + size)
        run.total += count

    def _decoded(self, key: tuple[bytes, int, int]) -> tuple[list[LabelSet], list[str]]:
        found = self._tables.get(key)
        if found is None:
            found = ops.decode_tables(*key)
            if len(self._tables) >= 10_000:
                self._tables.clear()
            self._tables[key] = found
        return found

    def _flush(self, run: _Run, slot: EntrySlot) -> None:
        rows = np.frombuffer(b"".join(run.rows), ROW).copy()
        counts = np.array(run.counts)
        rows["seq"] = np.repeat(np.array(run.seqs, np.uint64), counts)
        bases = np.repeat(np.array(run.bases, np.uint64), counts)
        rows["set"] = _renumbered(rows["set"], run.sets, run.counts)
        rows["type"] = _renumbered(rows["type"], run.types, run.counts)
        tables = list(run.set_ids), list(run.type_ids)
        self._put(slot, rows, bases, tables, run.limits, (run.seqs[0], run.seqs[-1]))

    def _put(
        self,
        slot: EntrySlot,
        rows: Rows,
        bases: NDArray[np.uint64],
        tables: tuple[list[LabelSet], list[str]],
        limits: BlockLimits,
        seqs: tuple[int, int],
    ) -> None:
        """Publish rows of APPENDs. `bases`: log position of the contents of each row's op; `seqs`: of the first and the
        last op."""
        rows["where"] += np.where(rows["file"] == 0, bases, np.uint64(0))
        if self._proven_seq is not None:
            rows = rows[self._whole(slot, rows, rows["seq"] <= np.uint64(self._proven_seq))]
        times, sizes = rows["time"].tolist(), rows["size"].tolist()
        plan = slot.blocks.plan_add(times, sizes, rows["meta"].tolist(), limits)
        rows["meta"] = plan.metas
        first = slot.state.needed or seqs[0]
        after = slot.state.append(rows, *tables, seqs[1])._replace(needed=first)
        after.tail.inline += sum(sizes)
        slot.bucket.files.update(rows["file"].tolist())
        slot.high = max(slot.high, plan.last)
        self._publisher._swap(slot, after, plan, 0)

    def settle(self) -> None:
        """Have the catalog know which records are gone, before the log says of their ops that they are durable."""
        if not self._lossy:
            return
        from lamina.engine.records.seal import RecordSealer

        RecordSealer(self._store).seal([slot for slot in self._lossy.values() if not slot.dead])

    def _whole(self, slot: EntrySlot, rows: Rows, proven: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the rows have their contents. Reads those that may not."""
        whole = np.ones(len(rows), np.bool_)
        for i in np.flatnonzero((rows["file"] != 0) & ~proven).tolist():
            _, size, where, stored, _, crc, file, _, _, _, codec = rows[i].item()
            try:
                for _part in checksum.chunks(self._store.read_stored, file, where, size, stored, crc, codec):
                    pass
            except (Corrupt, NotFound):
                whole[i] = False
                self._lossy[slot.id] = slot
        return whole

    def _attach(self, slot: EntrySlot, seq: int, position: int, body: bytes) -> None:
        self._store.attachments.load(slot)
        found = ops.decode_append(body)
        rows = found.rows
        if self._proven_seq is not None and seq > self._proven_seq:
            rows = rows[self._whole(slot, rows, np.zeros(len(rows), np.bool_))]
            if not len(rows):
                self._publisher.replace(slot, slot.state, slot.state.changed(slot.state.sections, seq))
                return
        note = AppendNote(
            slot,
            rows.tobytes(),
            rows["time"].tolist(),
            list(found.sets),
            list(found.types),
            found.limits,
            found.contents,
            0,
        )
        self._publisher._append(note, position, seq)
        slot.high = max(slot.high, *note.times)

    def _labels(self, slot: EntrySlot, seq: int, body: bytes) -> None:
        times, sets, _ = ops.decode_labels(body)
        victims: dict[int, SealedVictim] = {}
        growth: dict[int, int] = {}
        for time_us, labels in zip(times.tolist(), sets, strict=True):
            before = self._labels_of(slot, time_us, victims)
            if before is not None:
                growth[time_us] = described_length(labels, "") - described_length(before, "")
        chosen = [i for i, time_us in enumerate(times.tolist()) if time_us in growth]
        mine = [int(times[i]) for i in chosen]
        note = LabelsNote(slot, mine, [sets[i] for i in chosen], [growth[t] for t in mine], victims)
        self._publisher._labels(note, seq)

    def _labels_of(self, slot: EntrySlot, time_us: int, victims: dict[int, SealedVictim]) -> LabelSet | None:
        """The labels of the living record of a time; it is noted among the victims if it is sealed."""
        from lamina.engine.records.changes import victim_of

        found = self._find(slot, time_us)
        if found is None:
            return None
        try:
            victim = victim_of(found)
            labels: LabelSet = found.source.label_sets(np.array([found.at]))[0]
        except (Corrupt, NotFound) as error:
            self.unread.append(str(error))
            return None
        if victim is not None:
            victims[time_us] = victim
        return labels

    def _remove(self, slot: EntrySlot, seq: int, body: bytes) -> None:
        from lamina.engine.records.changes import removal_of

        times = ops.decode_remove(body)
        if len(times) > FEW_REMOVED:
            note = self._removal(slot, np.sort(times))
        else:
            found = (self._find(slot, time_us) for time_us in times.tolist())
            note = removal_of(slot, [row for row in found if row is not None and self._is_readable(row)])
        self._publisher._remove(note, seq)

    def _removal(self, slot: EntrySlot, times: NDArray[np.uint64]) -> RemoveNote:
        """What lives at ascending times, section by section."""
        from lamina.engine.records.changes import sealed_rows
        from lamina.records.source import TailSource

        state = slot.state
        first, stop = int(times[0]), int(times[-1]) + 1
        tail = TailSource(state, state.seq)
        sealed: list[SealedRows] = []
        for section in state.sections:
            if section.t_min >= stop or section.t_max < first:
                continue
            try:
                source = self._store.open_section(section, state.seq)
                mine = _among(source, times)
                if len(mine):
                    sealed.append(sealed_rows(section.row.id, source, mine))
            except (Corrupt, NotFound) as error:
                self.unread.append(str(error))
        return RemoveNote(slot, _among(tail, times), sealed)

    def _is_readable(self, found: Found) -> bool:
        try:
            found.source.field("size", np.array([found.at]))
        except (Corrupt, NotFound) as error:
            self.unread.append(str(error))
            return False
        return True

    def _find(self, slot: EntrySlot, time_us: int) -> Found | None:
        """The living record of a time."""
        state = slot.state
        try:
            return self._store.find(slot, state, time_us, state.seq)
        except (Corrupt, NotFound) as error:  # the rest stays readable; what is damaged is told of when it is read
            self.unread.append(str(error))
            return None


def _among(source: Source, times: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Rows of a source that live at ascending times."""
    rows = source.select(int(times[0]), int(times[-1]) + 1)
    own = source.times(rows)
    found: NDArray[np.intp] = rows[times[np.minimum(times.searchsorted(own), len(times) - 1)] == own]
    return found


def _numbers(ids: dict, table: Sequence) -> NDArray[np.uint32] | int:  # type: ignore[type-arg]
    if len(table) == 1:
        number: int = ids.setdefault(table[0], len(ids))
        return number
    return np.array([ids.setdefault(entry, len(ids)) for entry in table], np.uint32)


def _renumbered(
    numbers: NDArray[np.uint32], tables: Sequence[NDArray[np.uint32] | int], counts: Sequence[int]
) -> NDArray[np.uint32]:
    """Numbers of each op's own table as those of the run's."""
    if all(isinstance(table, int) for table in tables):
        if numbers.any():
            raise singles.not_in_it()
        return np.repeat(np.array(tables, np.uint32), counts)
    found = np.empty(len(numbers), np.uint32)
    at = 0
    for table, count in zip(tables, counts, strict=True):
        part = numbers[at : at + count]
        if isinstance(table, int):
            if part.any():
                raise singles.not_in_it()
            found[at : at + count] = table
        else:
            if count and int(part.max()) >= len(table):
                raise singles.not_in_it()
            found[at : at + count] = table[part]
        at += count
    return found
