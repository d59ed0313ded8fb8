"""Sealing: tails of entries become sections of an index segment, their contents move into payload files.

Order of publishing (reliability laws 2 and 5): payload files synced -> index segment written and synced -> catalog
transaction (sections, what died in older ones, how far the log is applied; compare-and-set) -> states swapped -> log
trimmed later. A crash before the transaction leaves files that nobody knows, which the next opening deletes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.rows import RecordSectionRow, RecordStateRow, SegmentRow
from lamina.engine.records.attachments import places
from lamina.engine.records.contents import read_inline
from lamina.engine.records.publish import SealedVictim
from lamina.engine.records.sections import Amended, amend, make_row, segment_directory, visible_dead
from lamina.engine.records.store import KIND, payload_name
from lamina.records.indexwrite import MOST_ROWS, Sealed, write_section
from lamina.records.labels import LabelSet
from lamina.records.row import FOREVER, Rows
from lamina.records.section import Section, section_of
from lamina.records.state import EntryState
from lamina.records.tail import Tail
from lamina.storage.address import ADDRESS
from lamina.storage.segment import SegmentWriter, segment_name

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore

SEGMENT_ENTRIES = 4096
"""Entries sealed into one segment and catalog transaction: bounds memory and how long the catalog is locked."""

SEGMENT_BYTES = 256 << 20
"""Contents moved by one of them."""


class _Work(NamedTuple):
    """One entry's part of a seal."""

    slot: EntrySlot
    state: EntryState  # as sealed
    kept: NDArray[np.intp]  # rows of the tail that go into sections, in the order of the sections
    rows: Rows  # of them, places final
    made: list[RecordSectionRow]
    starts: list[int]  # first row of each section among `kept`
    amended: dict[int, Amended]  # by section id


class _Picked(NamedTuple):
    """Rows of a tail that go into sections, by (time, seq)."""

    kept: NDArray[np.intp]  # which of the tail
    rows: Rows  # copies
    died: NDArray[np.uint64]


def _pick(state: EntryState, pins: Sequence[int]) -> _Picked:
    """What somebody sees: now, or as of a pin."""
    tail, n = state.tail, state.n
    rows = tail.rows[:n]
    died = np.where(tail.died[:n] > np.uint64(state.seq), np.uint64(FOREVER), tail.died[:n])
    kept = np.flatnonzero(~visible_dead(rows["seq"], died, pins))
    kept = kept[np.lexsort((rows["seq"][kept], rows["time"][kept]))]
    return _Picked(kept, rows[kept], died[kept])


def place_bytes(segment: int, placed: tuple[int, int, int]) -> bytes:
    """The address of a block just appended to a segment."""
    offset, length, crc = placed
    return np.array([(segment, length, offset, crc)], ADDRESS).tobytes()


class RecordSealer:
    """Thread-safe; a failed seal leaves everything as it was."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._numbers: dict[int, int] = {}  # segment being written -> sections in it
        self.seals = 0

    def seal(self, slots: Iterable[EntrySlot]) -> int:
        """Seal what these entries have in the log alone; how many entries. Raises OSError, Unavailable, Conflict,
        Corrupt: what was not sealed then stays in the log."""
        by_bucket: dict[int, list[EntrySlot]] = {}
        for slot in {slot.id: slot for slot in slots}.values():
            by_bucket.setdefault(slot.bucket.id, []).append(slot)
        done = 0
        for mine in by_bucket.values():
            for part in _portions(sorted(mine, key=lambda slot: slot.id)):
                done += self._seal(part[0].bucket, part)
        return done

    def _seal(self, bucket: Bucket, slots: Sequence[EntrySlot]) -> int:
        store = self._store
        with ExitStack() as locks:
            for slot in slots:
                locks.enter_context(slot.sealing)
            due = [slot for slot in slots if not slot.dead and slot.state.needed]
            if not due:
                return 0
            locks.callback(store.end_read, store.begin_read())  # what dies from here on keeps its file meanwhile
            states = [slot.state for slot in due]
            pins = store.pins()  # after the states: whoever begins to look back later sees nothing that died in them
            writer = self.writer()
            files: set[int] = set()
            try:
                picked = [_pick(state, pins) for state in states]
                self._move_in(bucket, [each.rows for each in picked], files)
                works = [self._write(*each, pins, writer) for each in zip(due, states, picked, strict=True)]
                store.payloads.sync(files)
                row = self._finish(writer, works)
                self._commit(works, row, files)
                for work in works:
                    self._swap(work)
            except BaseException:
                writer.abort()
                raise
            finally:
                self._numbers.pop(writer.id, None)
                store.payloads.release(files)  # not before the swap: until then nothing in memory refers to them
            self.seals += 1
        return len(due)

    def writer(self) -> SegmentWriter:
        """A new index segment under an id of its own."""
        store = self._store
        id = store.segment_id()
        return SegmentWriter(
            store.blobs, segment_name(KIND, id), id=id, kind=KIND, database_id=store.database_id, epoch=store.epoch
        )

    def _write(
        self, slot: EntrySlot, state: EntryState, picked: _Picked, pins: Sequence[int], writer: SegmentWriter
    ) -> _Work:
        store = self._store
        tail, (kept, rows, died) = state.tail, picked
        made: list[RecordSectionRow] = []
        starts = list(range(0, len(kept), MOST_ROWS))
        sets, types = list(tail.sets), list(tail.types)
        with store.publish_lock:
            begins = np.array(slot.blocks.begins(), np.uint64)
        for start in starts:
            part = slice(start, start + MOST_ROWS)
            made.append(self.section(slot, rows[part], died[part], sets, types, begins, pins, writer))
        amended = {}
        for section in state.sections:
            if section.changed:
                amended[section.row.id] = amend(store, section, pins, begins, writer)
        return _Work(slot, state, kept, rows, made, starts, amended)

    def _move_in(self, bucket: Bucket, parts: Sequence[Rows], files: set[int]) -> None:
        """Move contents out of the log, those of all entries behind one another; `where` and `file` of the rows become
        final."""
        store = self._store
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        inline = np.flatnonzero((rows["file"] == 0) & (rows["size"] > 0))
        empty = np.flatnonzero((rows["file"] == 0) & (rows["size"] == 0))
        if len(inline):
            contents = read_inline(store.log, rows["where"][inline], rows["size"][inline])
            placed, where = store.payloads.append_many(bucket.id, contents, bucket.file_bytes, files)
            rows["file"][inline] = placed
            rows["where"][inline] = where
        if len(empty):
            rows["where"][empty] = 0
        at = 0
        for part in parts if len(parts) > 1 else ():
            for field in ("file", "where"):
                part[field] = rows[field][at : at + len(part)]
            at += len(part)

    def section(
        self,
        slot: EntrySlot,
        rows: Rows,
        died: NDArray[np.uint64],
        sets: Sequence[LabelSet],
        types: Sequence[str],
        begins: NDArray[np.uint64],
        pins: Sequence[int],
        writer: SegmentWriter,
    ) -> RecordSectionRow:
        """Write rows, sorted by (time, seq), as a section; its catalog row."""
        low, high = int(rows["seq"].min()), int(rows["seq"].max())
        dying = bool((died != np.uint64(FOREVER)).any())
        keep_seqs = dying or any(low <= pin < high for pin in pins)
        directory = write_section(writer, Sealed(rows, sets, types, died if dying else None, keep_seqs))
        place = place_bytes(writer.id, writer.append(directory))
        id = writer.id << 24 | self._number(writer)
        return make_row(id, slot.id, writer.id, place, rows, died, begins, self._store.epoch)

    def _number(self, writer: SegmentWriter) -> int:
        """Of the next section in a segment."""
        number = self._numbers.get(writer.id, 0)
        self._numbers[writer.id] = number + 1
        return number

    def _finish(self, writer: SegmentWriter, works: Sequence[_Work]) -> SegmentRow:
        """Make the segment durable; its row. It is written even where no row of records lives on: from the directories
        a rebuild learns that older sections are gone, and the log forgets it."""
        rows = [row for work in works for row in work.made]
        rows += [after.row for work in works for after in work.amended.values() if after.row is not None]
        kept = dead_rows(self._store, [work.slot for work in works])
        for work in works:
            looked_at = kept.get(work.slot.id, ())
            describe(writer, work.slot.id, work.state.seq, work.made, work.amended, work.state.sections, looked_at)
        size = writer.finish()
        high = max(work.state.seq for work in works)
        low = min((row.min_seq for row in rows), default=high)
        return SegmentRow(
            writer.id, KIND, segment_name(KIND, writer.id), size, size, low, high, self._store.epoch, "live"
        )

    def _commit(self, works: Sequence[_Work], row: SegmentRow, files: set[int]) -> None:
        store = self._store
        delta = CatalogDelta(store.epoch)
        delta.puts.append(row)
        referenced: set[int] = set()
        for work in works:
            delta.puts += work.made
            for id, after in work.amended.items():
                if after.row is None:
                    delta.deletes.append(("record_section", id))
                else:
                    delta.puts.append(after.row)
            delta.puts.append(RecordStateRow(work.slot.id, work.state.seq, store.epoch))
            delta.expect_record_states[work.slot.id] = work.slot.applied
            referenced.update(work.rows["file"].tolist())
        referenced.discard(0)
        delta.puts += payload_rows(store, referenced, max((work.state.seq for work in works), default=0))
        delta.last_wall_us = store.clock.wall_us()
        store.log.sync()  # "os" mode: the catalog must not know more than the log will after a power loss
        store.commit_sections(delta, row.id)
        for work in works:
            work.slot.applied = work.state.seq
            work.slot.described = row.id

    def _swap(self, work: _Work) -> None:
        """Publish what is sealed; what came meanwhile stays in a tail."""
        slot, store = work.slot, self._store
        fresh = _Remainder(work)
        attached = self._attached(work) if slot.meta and slot.keys is not None else {}
        with slot.lock, store.publish_lock:
            if slot.dead:
                return
            before = slot.state
            after = fresh.state(before)
            slot.places.update(attached)
            before.tail.next = (after.tail, before.n, after.n)
            slot.bucket.files.update(work.rows["file"].tolist())
            store.publisher.replace(slot, before, after)
            if any(section.fresh_cuts for section in after.sections):
                store.publisher.shrunk[slot.id] = slot

    def _attached(self, work: _Work) -> dict[int, SealedVictim]:
        found: dict[int, SealedVictim] = {}
        for row in work.made:
            found.update(places(self._store.open_section(section_of(row), work.state.seq), row.id))
        return found


class _Remainder:
    """What is left of an entry's state once a seal is in the catalog."""

    def __init__(self, work: _Work) -> None:
        self._work = work

    def state(self, now: EntryState) -> EntryState:
        work = self._work
        sections = [*self._older(now), *self._made(now)]
        sections.sort(key=lambda section: (section.t_min, section.row.id))
        tail = self._tail(now)
        rest = now.n - work.state.n
        waiting = rest > 0 or any(section.changed for section in sections)
        needed = (work.state.seq + 1) if waiting else 0
        ordered = True
        if rest:
            times = tail.rows["time"][:rest]
            ordered = bool((times[1:] > times[:-1]).all())
        return EntryState(tuple(sections), tail, rest, ordered, now.seq, needed)

    def _older(self, now: EntryState) -> Iterator[Section]:
        seen = {section.row.id: section for section in self._work.state.sections}
        for section in now.sections:
            after = self._work.amended.get(section.row.id)
            if after is None:
                yield section
            elif after.row is not None and not after.row.dead:
                before = seen[section.row.id]
                yield section._replace(
                    row=after.row,
                    fresh=section.fresh[len(before.fresh) :],
                    fresh_seqs=section.fresh_seqs[len(before.fresh_seqs) :],
                    fresh_cuts=section.fresh_cuts - before.fresh_cuts,
                )

    def _made(self, now: EntryState) -> Iterator[Section]:
        """New sections, with what died in them since they were written."""
        work = self._work
        died = now.tail.died[work.kept]
        late = np.flatnonzero((died > np.uint64(work.state.seq)) & (died != np.uint64(FOREVER)))
        for row, start in zip(work.made, work.starts, strict=True):
            if row.dead:  # for those who look back, who find it in the catalog
                continue
            section = section_of(row)
            mine = late[(late >= start) & (late < start + MOST_ROWS)]
            if len(mine):
                section = section._replace(fresh=(mine - start).astype(np.uint32), fresh_seqs=died[mine])
            yield section

    def _tail(self, now: EntryState) -> Tail:
        """A tail with the rows that came since."""
        sealed, old = self._work.state.n, now.tail
        tail = Tail()
        count = now.n - sealed
        if count:
            tail.reserve(count)
            rows = old.rows[sealed : now.n].copy()
            sets, types = rows["set"].copy(), rows["type"].copy()
            rows["set"] = [tail.intern(old.sets[number]) for number in sets.tolist()]
            rows["type"] = [tail.intern_type(old.types[number]) for number in types.tolist()]
            self._follow(rows, old.updated[sealed : now.n])
            tail.rows[:count] = rows
            tail.died[:count] = old.died[sealed : now.n]
            tail.updated[:count] = old.updated[sealed : now.n]
            tail.inline = int(rows["size"].sum())
        return tail

    def _follow(self, rows: Rows, updated: NDArray[np.bool_]) -> None:
        """Rows born by a label update share the place of one that was just moved out of the log."""
        work = self._work
        moved = np.flatnonzero(updated & (rows["file"] == 0) & (rows["size"] > 0))
        if not len(moved):
            return
        before = work.state.tail.rows[work.kept]
        inline = np.flatnonzero((before["file"] == 0) & (before["size"] > 0))  # an empty one lies where the next does
        places = dict(zip(before["where"][inline].tolist(), inline.tolist(), strict=True))
        for i in moved.tolist():
            at = places.get(int(rows["where"][i]))
            if at is not None:  # else it was written since, and stays in the log
                rows["file"][i] = work.rows["file"][at]
                rows["where"][i] = work.rows["where"][at]


def describe(
    writer: SegmentWriter,
    entry: int,
    seq: int,
    made: Sequence[RecordSectionRow],
    amended: dict[int, Amended],
    sections: Sequence[Section],
    looked_at: Sequence[RecordSectionRow],
) -> None:
    """What a rebuild of the catalog needs: the rows written here, and which sections the entry has from now on, those
    of `dead_rows` included. A row that tells of an eviction is told again: unlike one with deaths in a block, nothing
    keeps the segment that told it first."""
    rows = [*made, *(after.row for after in amended.values() if after.row is not None)]
    living = [section.row.id for section in sections if amended.get(section.row.id, _STAYS).row is not None]
    living += [row.id for row in made]
    living += [row.id for row in looked_at]
    told = {row.id for row in rows}
    others = (*(section.row for section in sections if section.row.id not in amended), *looked_at)
    rows += [row for row in others if (row.cuts or row.dead) and not row.deaths and row.id not in told]
    writer.section(
        object_id=entry,
        uuid=b"",
        first_time=min((row.t_min for row in rows), default=0),
        last_time=max((row.t_max for row in rows), default=0),
        min_seq=min((row.min_seq for row in rows), default=seq),
        max_seq=seq,
        version=0,
        live=sum(row.records for row in made),
        directory=segment_directory(seq, rows, living),
    )


def dead_rows(store: RecordStore, slots: Sequence[EntrySlot]) -> dict[int, list[RecordSectionRow]]:
    """By entry: sections of which nothing lives, kept in the catalog because a named snapshot looks at them."""
    with store.catalog.snapshot() as snapshot:
        if next(iter(snapshot.pins()), None) is None:
            return {}
        found = snapshot.record_sections([slot.id for slot in slots])
    present = {slot.id: {section.row.id for section in slot.state.sections} for slot in slots}
    return {id: [row for row in rows if row.dead and row.id not in present[id]] for id, rows in found.items()}


_STAYS = Amended(RecordSectionRow(0, 0, 0, b"", 0, 0, 0, 0, 0, b"", b"", b"", b"", 0, 0), ())


def payload_rows(store: RecordStore, files: Iterable[int], seq: int) -> list[SegmentRow]:
    """Catalog rows of payload files that sections refer to."""
    rows = []
    for file in sorted(set(files)):
        size = store.payloads.size(file)
        rows.append(SegmentRow(file, "payload", payload_name(file), size, size, 0, seq, store.epoch, "live"))
    return rows


def _portions(slots: Sequence[EntrySlot]) -> Iterator[list[EntrySlot]]:
    part: list[EntrySlot] = []
    size = 0
    for slot in slots:
        part.append(slot)
        size += slot.state.tail.inline
        if len(part) >= SEGMENT_ENTRIES or size >= SEGMENT_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
