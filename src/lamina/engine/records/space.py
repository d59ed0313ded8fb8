"""Space that evicted, removed and rewritten records held goes back to the disk.

Catalog first, files last: a file goes only once no catalog row, no tail and no open reader refers to it, and a crash in
between leaves it retired, which the next opening finishes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from lamina.catalog.catalog import CatalogDelta, CatalogSnapshot
from lamina.catalog.rows import RecordSectionRow, SegmentRow
from lamina.engine.records.sections import visible_dead
from lamina.engine.records.store import KIND, deaths_segment, payload_name
from lamina.errors import Corrupt, NotFound
from lamina.records.column import U64
from lamina.records.manifest import decode_files
from lamina.records.place import footprints
from lamina.records.row import FOREVER
from lamina.records.section import Section
from lamina.storage.payloadfile import ALIGNMENT
from lamina.storage.segment import SegmentReader

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore

PAGE = 4096
"""Space goes back in pages."""


def _looked_at(row: RecordSectionRow, died: int, pins: Sequence[int]) -> bool:
    """Whether somebody still sees records of a section that died at a seq."""
    return any(row.min_seq <= pin < died for pin in pins)


def give_up(store: RecordStore, shrunk: Sequence[EntrySlot], buried: Sequence[EntrySlot]) -> None:
    """Sections of entries that were evicted whole leave the catalog, those of removed entries do, and the files that
    nothing refers to any more are retired: one transaction, however many entries there are. Where somebody looks back
    sections stay until their entry is sealed, which tells the catalog everything that died in them."""
    with ExitStack() as locks:
        for slot in sorted(shrunk, key=lambda slot: slot.id):  # the order in which a seal takes them
            locks.enter_context(slot.sealing)
        gone = _evicted(store, [slot for slot in shrunk if not slot.dead])
        dropped = [section.row for sections in gone.values() for section in sections]
        delta = CatalogDelta(store.epoch)
        with store.catalog.snapshot() as snapshot:
            ids = [slot.id for slot in buried if snapshot.entry(slot.id) is None]  # else it keeps the entry as dead
            dropped += [row for found in snapshot.record_sections(ids).values() for row in found] if ids else []
            without = {row.id for row in dropped}
            rows = _unneeded(store, snapshot, {row.segment for row in dropped}, without)
            buckets = {slot.bucket: None for slot in (*shrunk, *buried)}
            unused = {bucket: _unused(store, bucket, without) for bucket in buckets}
            rows += _payload_rows(store, snapshot, {file for files in unused.values() for file in files})
        delta.deletes += [("record_section", row.id) for row in dropped]
        delta.deletes += [("record_state", id) for id in ids]
        delta.puts += [row._replace(state="retired", live_bytes=0) for row in rows]
        if delta.deletes or delta.puts:
            store.log.sync()  # "os" mode: an eviction that power loss undoes must not have cost the content
            store.catalog.commit(delta)
        for slot, sections in gone.items():
            _leave_out(store, slot, {section.row.id for section in sections})
    if rows:
        store.readers.leases.retire([row.id for row in rows])  # not before the swap: who reads what was holds a lease
    _forget_files(store, unused)


def _evicted(store: RecordStore, slots: Sequence[EntrySlot]) -> dict[EntrySlot, list[Section]]:
    """Sections that were evicted whole and that nobody looks at, of those entries that have any."""
    pins = store.pins()
    gone = {}
    for slot in slots:
        evicted = [section for section in slot.state.sections if section.floor(FOREVER) >= section.t_max]
        unseen = [section for section in evicted if not _looked_at(section.row, _evicted_at(section), pins)]
        if unseen:
            gone[slot] = unseen
    return gone


def _leave_out(store: RecordStore, slot: EntrySlot, ids: set[int]) -> None:
    """Publish an entry without these sections."""
    with slot.lock, store.publish_lock:
        before = slot.state
        left = tuple(section for section in before.sections if section.row.id not in ids)
        # The log keeps the eviction until a seal tells it in a directory: a rebuild must not bring them back.
        store.publisher.replace(slot, before, before._replace(sections=left))


def _evicted_at(section: Section) -> int:
    """Seq of the eviction that took the last of a section."""
    return min(cut.seq for cut in section.cuts if cut.through >= section.t_max)


def drop_orphans(store: RecordStore) -> int:
    """Sections whose entry is gone or died before anybody who still looks back: left by a crash, or by snapshots that
    were dropped since. How many."""
    pins = store.pins()
    with store.catalog.snapshot() as snapshot:
        dead_rows = [row for row in snapshot.rows("record_section") if _is_orphan(snapshot, row, pins)]
        entries = [row for row in snapshot.rows("entry") if row.dead and not any(pin < row.dead for pin in pins)]
        buckets = [row for row in snapshot.rows("bucket") if row.dead and not any(pin < row.dead for pin in pins)]
        states = [row.entry for row in snapshot.rows("record_state") if snapshot.entry(row.entry) is None]
    delta = CatalogDelta(store.epoch)
    delta.deletes += [("record_section", row.id) for row in dead_rows]
    delta.deletes += [("record_state", entry) for entry in states]
    if delta.deletes:
        store.catalog.commit(delta)
        retire_segments(store, {row.segment for row in dead_rows})
    for table, rows in (("entry", entries), ("bucket", buckets)):
        for row in rows:
            store.metadata.delete(table, row.id)
    _drop_unreferenced(store)
    return len(dead_rows)


def _drop_unreferenced(store: RecordStore) -> None:
    """Files that nothing refers to though the catalog has them: a crash came between dropping what they held and
    retiring them; or an index segment was only there to describe what newer ones do since."""
    held = set(store.payloads.sizes())  # in this order: what is sealed meanwhile is in the tails or in the catalog
    held |= store.files_in_tails()
    filled: set[int] = set()
    with store.catalog.snapshot() as snapshot:
        for row in snapshot.rows("record_section"):
            filled.add(row.segment)
            held.update(decode_files(row.files))
        live = [row for row in snapshot.segments() if row.state == "live"]
    retire(store, [row for row in live if row.kind == "payload" and row.id not in held])
    retire_segments(store, [row.id for row in live if row.kind == KIND and row.id not in filled])


def _is_orphan(snapshot: CatalogSnapshot, row: RecordSectionRow, pins: Sequence[int]) -> bool:
    entry = snapshot.entry(row.entry)
    if entry is None:
        return True
    died = row.dead or entry.dead
    return bool(died) and not _looked_at(row, died, pins)


def retire_segments(store: RecordStore, segments: Iterable[int]) -> None:
    """Index segments that nothing needs go: without sections, without deaths of sections in others, and not the newest
    to describe an entry to a rebuild of the catalog."""
    with store.catalog.snapshot() as snapshot:
        rows = _unneeded(store, snapshot, segments)
    retire(store, rows)


def _unneeded(
    store: RecordStore, snapshot: CatalogSnapshot, segments: Iterable[int], without: Collection[int] = ()
) -> list[SegmentRow]:
    """Of these index segments, once the catalog is without some sections."""
    return [
        row
        for id in sorted(segments)
        if (row := snapshot.segment(id)) is not None
        and row.state == "live"
        and all(section.id in without for section in snapshot.sections_of_segment(id))
        and not _is_needed(store, snapshot, row, without)
    ]


def _is_needed(store: RecordStore, snapshot: CatalogSnapshot, row: SegmentRow, without: Collection[int]) -> bool:
    """Of a segment without sections. Reads its envelope."""
    try:
        described = [section.object_id for section in SegmentReader(store.blobs, row.name).sections]
    except (Corrupt, NotFound):
        return True  # nobody can tell; doctor does
    for entry in described:
        if snapshot.entry(entry) is None:
            continue
        slot = store.slots.get(entry)
        if slot is None or slot.described <= row.id:
            return True
    sections = snapshot.record_sections(described)
    return any(
        deaths_segment(section) == row.id for rows in sections.values() for section in rows if section.id not in without
    )


def retire(store: RecordStore, rows: Sequence[SegmentRow]) -> None:
    """Files that nothing refers to: deleted once nobody reads them any more."""
    if not rows:
        return
    delta = CatalogDelta(store.epoch)
    delta.puts += [row._replace(state="retired", live_bytes=0) for row in rows]
    store.log.sync()  # "os" mode: a removal that power loss undoes must not have cost the content
    store.catalog.commit(delta)
    store.readers.leases.retire([row.id for row in rows])


def release(store: RecordStore, buckets: Iterable[Bucket]) -> None:
    """Payload files of buckets that hold nothing alive are retired, in one transaction."""
    unused = {bucket: _unused(store, bucket) for bucket in buckets}
    with store.catalog.snapshot() as snapshot:
        rows = _payload_rows(store, snapshot, {file for files in unused.values() for file in files})
    retire(store, rows)
    _forget_files(store, unused)


def _forget_files(store: RecordStore, unused: Mapping[Bucket, set[int]]) -> None:
    with store.publish_lock:
        for bucket, files in unused.items():
            bucket.files.difference_update(files)


def _payload_rows(store: RecordStore, snapshot: CatalogSnapshot, files: Iterable[int]) -> list[SegmentRow]:
    """As the catalog has them, and as it would if it does not."""
    return [
        snapshot.segment(file) or SegmentRow(file, "payload", payload_name(file), 0, 0, 0, 0, store.epoch, "live")
        for file in sorted(files)
    ]


def _unused(store: RecordStore, bucket: Bucket, without: Collection[int] = ()) -> set[int]:
    """Payload files of a bucket that hold nothing alive, once some sections are gone."""
    with store.publish_lock:
        unused = bucket.files - {0}
    if unused:
        unused -= _referenced(store, bucket, without)
        for file in unused:  # nothing more is appended to a file that holds nothing alive
            store.payloads.close_file(file)
        unused -= set(store.payloads.open_files(bucket.id))
    if unused:  # again: what was on its way into one that is no longer open has been published by now
        unused -= _referenced(store, bucket, without)
    return unused


def _referenced(store: RecordStore, bucket: Bucket, without: Collection[int]) -> set[int]:
    """Payload files with something alive of what is published."""
    referenced: set[int] = set()
    states = [slot.state for slot in list(bucket.slots.values())]
    pins = store.pins()  # after the states: whoever begins to look back later sees nothing that died in them
    if pins:
        with store.catalog.snapshot() as snapshot:  # of what was sealed before, it has the sections
            ids = [row.id for row in snapshot.entries(bucket.id)]
            for rows in snapshot.record_sections(ids).values():
                for row in rows:
                    if row.id not in without:
                        referenced.update(decode_files(row.files))
    for state in states:
        for section in state.sections:
            if section.row.id not in without:
                referenced.update(decode_files(section.row.files))
        if state.n:
            tail, died = state.tail.rows[: state.n], state.tail.died[: state.n]
            died = np.where(died > np.uint64(state.seq), np.uint64(FOREVER), died)
            referenced.update(np.unique(tail["file"][~visible_dead(tail["seq"], died, pins)]).tolist())
    return referenced


def punch(store: RecordStore, slot: EntrySlot, punched: dict[int, int]) -> None:
    """Contents of records that were evicted from a section that stays go back to the disk."""
    if slot.dead:
        return
    for section in slot.state.sections:
        floor = section.floor(FOREVER)
        if floor < section.t_min or punched.get(section.row.id, -1) >= floor:
            continue
        if any(pin < max(cut.seq for cut in section.cuts) for pin in store.pins()):
            continue  # looked at again with the next eviction
        store.log.sync()  # as `retire`
        _punch_section(store, section, punched.get(section.row.id, -1), floor)
        punched[section.row.id] = floor


def _punch_section(store: RecordStore, section: Section, above: int, through: int) -> None:
    loaded = store.loaded(section)
    assert loaded is not None, "it was waited for"
    times = loaded.columns.times
    first = int(times.searchsorted(np.uint64(max(above, 0)), side="right")) if above >= 0 else 0
    last = int(times.searchsorted(np.uint64(through), side="right"))
    if first >= last:
        return
    part = slice(first, last)
    size, stored = loaded.columns.field("size", part), loaded.columns.field("stored", part)
    for run in _runs(loaded.columns.field("file", part), loaded.columns.field("where", part), footprints(size, stored)):
        _punch_run(store, run)


def _runs(files: U64, begins: U64, sizes: U64) -> Iterator[tuple[int, int, int]]:
    """Stretches of payload files that contents take and nothing else, as long as they can be: file, begin, end."""
    if not files.all():  # empty contents are in none
        files, begins, sizes = files[files > 0], begins[files > 0], sizes[files > 0]
    if not len(files):
        return
    ends = begins + sizes
    if not ((files[1:] == files[:-1]) & (begins[1:] >= ends[:-1])).all():
        order = np.lexsort((begins, files))  # extents are equal, where labels were updated, or apart
        files, begins, ends = files[order], begins[order], ends[order]
    # Farther apart another content, which somebody may need, may lie between them.
    starts = np.append(True, (files[1:] != files[:-1]) | (begins[1:] >= ends[:-1] + np.uint64(ALIGNMENT)))
    firsts = np.flatnonzero(starts)
    lasts = np.append(firsts[1:], len(files)) - 1
    yield from zip(files[firsts].tolist(), begins[firsts].tolist(), ends[lasts].tolist(), strict=True)


def _punch_run(store: RecordStore, run: tuple[int, int, int]) -> None:
    if run[2] - run[1] < PAGE:
        return
    try:
        store.payloads.punch(run[0], run[1], run[2] - run[1])
    except NotFound:
        return  # the whole file went meanwhile
