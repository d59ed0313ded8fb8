"""Changes of stored records, resolved into ops: label updates, removals, attachments that replace each other.

Resolving reads what is stored and waits for what it submitted, all under the entry's object lock: sections stand
still meanwhile, and what was found is what the op meets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.engine.records.cursor import Cursor
from lamina.engine.records.found import Found, Pending
from lamina.engine.records.publish import LabelsNote, RemoveNote, SealedRows, SealedVictim
from lamina.errors import AlreadyExists, Corrupt, InvalidArgument, LaminaError, NotFound
from lamina.records import ops
from lamina.records.labels import LabelSet
from lamina.records.manifest import decode_blocks
from lamina.records.patterns import EntryPatterns
from lamina.records.section import Section
from lamina.records.size import described_length
from lamina.records.source import LAST_TIME, Batch, Index, SectionSource, Source
from lamina.storage.log import Op

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore
    from lamina.records.condition import Condition
    from lamina.records.state import EntryState

REMOVE_RECORDS = 6_000_000
"""Records per REMOVE op, which ends at 48 MiB. Publishing one takes 0.1 µs a record, during which others wait."""


def claim(slot: EntrySlot, time_us: int, wait: bool) -> bool:
    """Claim a time for a new record; False: that needs a read, and `wait` is false. Raises AlreadyExists."""
    with slot.claims:
        if time_us > slot.high:
            slot.high = time_us
            slot.pending.add(time_us)
            return True
        if time_us in slot.pending:
            raise AlreadyExists(f"A record with timestamp {time_us} already exists")
        slot.pending.add(time_us)
    found = None
    state = slot.state
    try:
        if not wait and not state.ordered and state.tail.by_time is None:
            raise Pending
        found = slot.bucket.store.find(slot, state, time_us, state.seq, wait)
    except Pending:
        slot.release([time_us])
        return False
    except LaminaError:
        slot.release([time_us])
        raise
    if found is not None:
        slot.release([time_us])
        raise AlreadyExists(f"A record with timestamp {time_us} already exists")
    return True


def claim_behind(slot: EntrySlot, times: list[int]) -> bool:
    """Claim ascending times that are behind everything the entry has; False, and nothing is claimed: they are not."""
    with slot.claims:
        if times[0] <= slot.high:
            return False
        slot.high = times[-1]
        slot.pending.update(times)
    return True


def check_attachment(slot: EntrySlot, labels: LabelSet) -> None:
    """Rules for records of a $meta entry. Raises InvalidArgument."""
    members = dict(labels)
    if not members.get("key"):
        raise InvalidArgument(f"System entry '{slot.name}' records must contain label 'key'")
    if members.get("remove") == "true":
        raise InvalidArgument(
            f"System entry '{slot.name}' does not support writing records with label 'remove=true'; use record update"
        )
    slot.bucket.store.attachments.load(slot)


def victim_of(found: Found) -> SealedVictim | None:
    """What an op needs to know of a row that is not in the tail."""
    if found.section is None:
        return None
    row = found.source.take(np.array([found.at]))
    return SealedVictim(found.section.row.id, found.at, row, found.source.types()[int(row["type"][0])])


@contextmanager
def _locked(slots: Sequence[EntrySlot]) -> Iterator[None]:
    """Object locks, always in the order of ids."""
    with ExitStack() as locks:
        for slot in sorted({slot.id: slot for slot in slots}.values(), key=lambda slot: slot.id):
            locks.enter_context(slot.lock)
        yield


def update_labels(bucket: Bucket, updates: Sequence[tuple[str, int, Mapping[str, str]]]) -> list[LaminaError | None]:
    """See Bucket.update_labels."""
    bucket.store.check_writable(0)
    results: list[LaminaError | None] = [None] * len(updates)
    by_slot = _by_entry(bucket, [update[0] for update in updates], results)
    with _locked([slot for slot, _ in by_slot]):
        submitted: list[Op] = []
        for slot, mine in by_slot:
            op = _labels_op(bucket, slot, [(i, updates[i][1], updates[i][2]) for i in mine], results)
            if op is not None:
                submitted.append(op)
        if submitted:
            bucket.store.submit(submitted).wait()
    return results


def _by_entry(
    bucket: Bucket, names: Sequence[str], results: list[LaminaError | None]
) -> list[tuple[EntrySlot, list[int]]]:
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        found.setdefault(name, []).append(i)
    slots: list[tuple[EntrySlot, list[int]]] = []
    for name, mine in found.items():
        try:
            slots.append((bucket.slot(name), mine))
        except NotFound as error:
            for i in mine:
                results[i] = error
    return slots


def _labels_op(
    bucket: Bucket,
    slot: EntrySlot,
    updates: Sequence[tuple[int, int, Mapping[str, str]]],
    results: list[LaminaError | None],
) -> Op | None:
    from lamina.engine.records.bucket import check_labels

    store, state = bucket.store, slot.state
    before: dict[int, LabelSet] = {}
    after: dict[int, LabelSet] = {}
    victims: dict[int, SealedVictim] = {}
    for i, time_us, changes in updates:
        try:
            if time_us not in before:
                found = store.find(slot, state, time_us, state.seq)
                if found is None:
                    raise NotFound(f"Record {time_us} not found in entry {bucket.name}/{slot.name}")
                before[time_us] = after[time_us] = found.source.label_sets(np.array([found.at]))[0]
                victim = victim_of(found)
                if victim is not None:
                    victims[time_us] = victim
            changed = _merged(after[time_us], changes)
            check_labels(changed, "")
            after[time_us] = changed
        except LaminaError as error:
            results[i] = error
    times = [time_us for time_us, labels in after.items() if labels != before[time_us]]
    if not times:
        return None
    sets = [after[time_us] for time_us in times]
    growth = [described_length(after[t], "") - described_length(before[t], "") for t in times]
    gone = [tuple(dict(before[t]).keys() - dict(after[t]).keys()) for t in times]
    note = LabelsNote(slot, times, sets, growth, {t: victims[t] for t in times if t in victims}, gone)
    body = ops.labels_body(np.array(times, np.uint64), sets, gone)
    return Op(ops.KIND, ops.LABELS, slot.id, [body], note)


def _merged(labels: LabelSet, changes: Mapping[str, str]) -> LabelSet:
    members = dict(labels)
    for name, value in changes.items():
        if value == "":
            members.pop(name, None)
        else:
            members[name] = value
    return tuple(sorted(members.items()))


def remove_records(bucket: Bucket, records: Sequence[tuple[str, int]]) -> list[LaminaError | None]:
    """See Bucket.remove_records."""
    bucket.store.check_writable(0, essential=True)
    results: list[LaminaError | None] = [None] * len(records)
    by_slot = _by_entry(bucket, [record[0] for record in records], results)
    with _locked([slot for slot, _ in by_slot]):
        submitted: list[Op] = []
        for slot, mine in by_slot:
            if slot.meta:
                for i in mine:
                    results[i] = InvalidArgument(
                        f"Can't delete records from system entry '{slot.name}'; use label update with remove=true"
                    )
                continue
            state = slot.state
            found: dict[int, Found] = {}
            for i in mine:
                time_us = records[i][1]
                try:
                    row = None if time_us in found else bucket.store.find(slot, state, time_us, state.seq)
                except LaminaError as error:
                    results[i] = error
                    continue
                if row is None:
                    results[i] = NotFound(f"Record {time_us} not found in entry {bucket.name}/{slot.name}")
                    continue
                found[time_us] = row
            if found:
                submitted.append(_remove_op(np.array(list(found), np.uint64), removal_of(slot, list(found.values()))))
        if submitted:
            bucket.store.submit(submitted, essential=True).wait()
    return results


def _remove_op(times: NDArray[np.uint64], note: RemoveNote) -> Op:
    return Op(ops.KIND, ops.REMOVE, note.entry.id, [ops.remove_body(times)], note)


def removal_of(slot: EntrySlot, found: Sequence[Found]) -> RemoveNote:
    """What a REMOVE op of living records needs to know."""
    tail = np.array([row.at for row in found if row.section is None], np.intp)
    sections: dict[int, list[Found]] = {}
    for row in found:
        if row.section is not None:
            sections.setdefault(row.section.row.id, []).append(row)
    sealed = [sealed_rows(id, mine[0].source, np.array([row.at for row in mine])) for id, mine in sections.items()]
    return RemoveNote(slot, tail, sealed)


def sealed_rows(section: int, source: Source, at: Index) -> SealedRows:
    """Of a section by its id. Raises Corrupt, NotFound."""
    sizes = (source.field("size", at) + source.field("meta", at)).astype(np.int64)
    return SealedRows(section, at.astype(np.uint32), source.times(at), sizes)


def remove_query(
    bucket: Bucket,
    entries: Sequence[str] | None,
    start: int | None,
    stop: int | None,
    condition: Condition,
    strict: bool,
) -> int:
    """See Bucket.remove_query."""
    bucket.store.check_writable(0, essential=True)
    if start is not None and stop is not None and start > stop:
        raise InvalidArgument("Start time must be before stop time")
    patterns = EntryPatterns.of(entries)
    removed = 0
    for name in patterns.select(bucket.names()):
        slot = bucket.slots.get(name)
        if slot is not None and not slot.meta:
            removed += _remove_from(bucket, slot, start, stop, condition, strict)
    return removed


def _remove_from(
    bucket: Bucket, slot: EntrySlot, start: int | None, stop: int | None, condition: Condition, strict: bool
) -> int:
    """Selected first, removed then: a condition that fails in strict mode leaves the entry as it was."""
    store = bucket.store
    with slot.lock:
        cursor = Cursor(store, slot, start, stop, condition, strict)
        try:
            batches: list[Batch] = list(cursor)
        finally:
            cursor.close()
        removed = sum(map(len, batches))
        for part in _portions(batches):
            times = np.concatenate([batch.times for batch in part])
            store.submit([_remove_op(times, _removal(slot, part))], essential=True).wait()
    return removed


def _portions(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """What goes into one op."""
    part: list[Batch] = []
    for batch in batches:
        if part and sum(map(len, part)) + len(batch) > REMOVE_RECORDS:
            yield part
            part = []
        part.append(batch)
    if part:
        yield part


def _removal(slot: EntrySlot, batches: Sequence[Batch]) -> RemoveNote:
    tail: list[Index] = []
    sealed: dict[int, list[SealedRows]] = {}
    for batch in batches:
        for number, source in enumerate(batch.sources):
            at = batch.at if batch.which is None else batch.at[batch.which == number]
            if isinstance(source, SectionSource):
                id = source.section.row.id
                sealed.setdefault(id, []).append(sealed_rows(id, source, at))
            else:
                tail.append(at)
    joined = [
        SealedRows(id, *(np.concatenate([part[i] for part in parts]) for i in range(1, 4)))
        for id, parts in sealed.items()
    ]
    return RemoveNote(slot, np.concatenate(tail) if tail else np.empty(0, np.intp), joined)


def span(slot: EntrySlot) -> tuple[int, int]:
    """Times of the oldest and the latest living record; 0, 0 without any. Reads an index only where a record of the
    first or the last section died."""
    if not slot.blocks.records:
        return 0, 0
    store, state = slot.bucket.store, slot.state
    oldest, latest = LAST_TIME, 0
    alive = state.living()
    if len(alive):
        times = state.tail.rows["time"][alive]
        oldest, latest = int(times.min()), int(times.max())
    for section in state.sections:  # by t_min
        if section.t_min >= oldest:
            break
        oldest = min(oldest, _ends(store, state, section)[0])
    for section in sorted(state.sections, key=lambda section: section.t_max, reverse=True):
        if section.t_max <= latest:
            break
        latest = max(latest, _ends(store, state, section)[1])
    return oldest, latest


def latest_time(slot: EntrySlot) -> int | None:
    """Time of the latest living record, None without any. In the ordinary case it is the last row of the tail: 2 µs."""
    state = slot.state
    if state.n and state.ordered and int(state.tail.died[state.n - 1]) > state.seq:
        last = int(state.tail.rows["time"][state.n - 1])
        if all(section.t_max < last for section in state.sections):
            return last
    return span(slot)[1] if slot.blocks.records else None


def _ends(store: RecordStore, state: EntryState, section: Section) -> tuple[int, int]:
    """Times of the first and the last living record of a section; of one without any, what no time exceeds. Of a
    damaged one those of its rows, dead ones too: what else a bucket has must stay listed."""
    row = section.row
    whole = not (row.deaths or section.cuts or len(section.fresh))
    if whole and int(decode_blocks(row.blocks)[1].sum()) == row.records:
        return section.t_min, section.t_max
    try:
        source = store.open_section(section, state.seq)
        index = source.select(0, LAST_TIME + 1)
    except (Corrupt, NotFound):
        return section.t_min, section.t_max
    if not len(index):
        return LAST_TIME, 0
    first, last = source.times(index[[0, -1]]).tolist()
    return first, last
