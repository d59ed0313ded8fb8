"""Rewriting sealed sections: small ones are merged, dead rows dropped, contents moved together or compressed.

What a rewrite reads stands still (`EntrySlot.sealing`); what dies meanwhile is carried over to the new sections. Only
deaths that the catalog knows are dropped: the row that a label update put in place of one may be in the log alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.rows import RecordSectionRow, SegmentRow
from lamina.codecs import zstd
from lamina.engine.records import space
from lamina.engine.records.attachments import places
from lamina.engine.records.publish import SealedVictim
from lamina.engine.records.seal import RecordSealer, dead_rows, describe, payload_rows
from lamina.engine.records.sections import Amended, footprint, visible_dead
from lamina.engine.records.store import KIND
from lamina.records.labels import LabelSet
from lamina.records.manifest import decode_files
from lamina.records.row import FOREVER, RAW, ZSTD, Rows
from lamina.records.section import Section, section_of
from lamina.storage.checksums import array_bytes
from lamina.storage.segment import SegmentWriter, segment_name

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore

SECTION_ROWS = 65_536
"""Rows of a section that is written: what a tail is sealed at."""

SMALL_SECTIONS, SMALL_BYTES = 16, 16 << 20
"""More sections of an entry than that, which together have less than so many bytes, are merged."""

DEAD_SHARE = 0.25
"""A section with more dead rows than that is rewritten."""

LIVE_SHARE = 0.5
"""A payload file with less alive is emptied."""

MOVED_BYTES = 4 << 20
"""Contents read at a time while they are moved."""

LARGEST = 32 << 20
"""Longer contents are neither moved nor compressed: they have a file of their own, and are read in one piece here."""

GAIN = 0.9
"""A content that compresses to more than that of its size stays as it is."""


class Rewritten(NamedTuple):
    records: int  # moved or compressed
    before: int  # stored bytes of their contents
    after: int


class _Old(NamedTuple):
    section: Section
    kept: NDArray[np.intp]  # rows that go on, in the order of the old section


def compact(store: RecordStore, sealer: RecordSealer, bucket: Bucket) -> int:
    """Give back space of dead records of a bucket, and merge small sections; how many sections were rewritten."""
    emptied = _half_dead(store, bucket)
    done = 0
    for slot in list(bucket.slots.values()):
        chosen = _worn(slot) or []
        ids = {section.row.id for section in chosen}
        chosen += [
            section
            for section in slot.state.sections
            if section.row.id not in ids and emptied & set(decode_files(section.row.files))
        ]
        if chosen:
            rewrite(store, sealer, slot, chosen, move=emptied)
            done += len(chosen)
    space.release(store, [bucket])
    return done


def _worn(slot: EntrySlot) -> list[Section]:
    sections = slot.state.sections
    small = [section for section in sections if sum(decode_files(section.row.files).values()) < SMALL_BYTES]
    merging = small if len(small) > SMALL_SECTIONS else []
    if merging and sum(sum(decode_files(section.row.files).values()) for section in merging) >= SMALL_BYTES:
        merging = merging[: len(merging) // 2]
    ids = {section.row.id for section in merging}
    dying = [
        section
        for section in sections
        if section.row.id not in ids
        and (section.row.deaths or section.cuts)
        and _dead_share(slot, section) > DEAD_SHARE
    ]
    return [*merging, *dying]


def _dead_share(slot: EntrySlot, section: Section) -> float:
    store = slot.bucket.store
    source = store.open_section(section, slot.state.seq)
    return 1 - len(source.select(0, FOREVER + 1)) / section.row.records


def _half_dead(store: RecordStore, bucket: Bucket) -> set[int]:
    """Payload files of a bucket of which less than half is alive."""
    living: dict[int, int] = {}
    for slot in bucket.slots.values():
        state = slot.state
        for section in state.sections:
            for file, size in decode_files(section.row.files).items():
                living[file] = living.get(file, 0) + size
        if state.n:  # files with contents that no section refers to yet are left alone
            for file in np.unique(state.tail.rows["file"][: state.n]).tolist():
                living[file] = 1 << 62
    worn = {file for file, size in living.items() if file and size < LIVE_SHARE * store.payloads.size(file)}
    for file in worn:
        store.payloads.close_file(file)
    return worn - set(store.payloads.open_files(bucket.id))


def compress(store: RecordStore, slot: EntrySlot, start: int, stop: int) -> Rewritten:
    """Compress contents of an entry with start <= time < stop (µs), transparently for readers. What is in a tail is
    sealed first. Contents above 32 MiB and those that do not shrink stay as they are."""
    sealer = RecordSealer(store)
    sealer.seal([slot])
    total = Rewritten(0, 0, 0)
    for section in slot.state.sections:
        if section.t_min < stop and section.t_max >= start:
            done = rewrite(store, sealer, slot, [section], stretch=(start, stop))
            total = Rewritten(*(a + b for a, b in zip(total, done, strict=True)))
    space.release(store, [slot.bucket])
    return total


def rewrite(
    store: RecordStore,
    sealer: RecordSealer,
    slot: EntrySlot,
    sections: Sequence[Section],
    *,
    move: set[int] | None = None,
    stretch: tuple[int, int] | None = None,
) -> Rewritten:
    """Write sections anew as one or several: without rows that are dead for everybody, contents in the files `move`
    moved to others, contents in a stretch of time compressed. Raises OSError, Corrupt: nothing is changed then."""
    with slot.sealing:
        if slot.dead:
            return Rewritten(0, 0, 0)
        ids = {section.row.id for section in sections}
        current = [section for section in slot.state.sections if section.row.id in ids]
        if not current:
            return Rewritten(0, 0, 0)
        pins = store.pins()
        olds, rows, died, sets, types = _gather(store, current, pins)
        chosen = _chosen(rows, move or set(), stretch)
        if stretch is not None and not len(chosen):
            return Rewritten(0, 0, 0)
        files: set[int] = set()
        before = int(footprint(rows[chosen]).sum()) if len(chosen) else 0
        writer = sealer.writer()
        try:
            if len(chosen):
                _move(store, slot.bucket, rows, chosen, stretch is not None, files)
            with store.publish_lock:
                begins = np.array(slot.blocks.begins(), np.uint64)
            made = []
            for first in range(0, len(rows), SECTION_ROWS):
                part = slice(first, first + SECTION_ROWS)
                numbered = _numbered(rows[part], sets[part])
                made.append(sealer.section(slot, rows[part], died[part], numbered, types, begins, pins, writer))
            store.payloads.sync(files)
            segment = _finish(store, writer, slot, current, made)
            _commit(store, slot, current, made, segment, files)
            _swap(store, slot, current, olds, made)
        except BaseException:
            writer.abort()
            raise
        finally:
            store.payloads.release(files)  # not before the swap: until then nothing in memory refers to them
        space.retire_segments(store, {section.row.segment for section in current})
        after = int(footprint(rows[chosen]).sum()) if len(chosen) else 0
        return Rewritten(len(chosen), before, after)


def _gather(
    store: RecordStore, sections: Sequence[Section], pins: Sequence[int]
) -> tuple[list[NDArray[np.intp]], Rows, NDArray[np.uint64], list[LabelSet], list[str]]:
    """For each section where its rows are among the gathered ones (-1: dropped); the rows by (time, seq), when they
    died, their label sets, and the content types they number."""
    parts: list[Rows] = []
    deaths: list[NDArray[np.uint64]] = []
    labels: list[LabelSet] = []
    type_ids: dict[str, int] = {}
    kept: list[tuple[NDArray[np.intp], int]] = []
    for section in sections:
        loaded = store.loaded(section)
        assert loaded is not None, "it was waited for"
        index = loaded.columns
        died = np.full(index.n, FOREVER, np.uint64) if index.died is None else index.died.copy()
        if loaded.deaths is not None:
            dead, seqs = loaded.deaths
            died[dead] = np.minimum(died[dead], seqs)
        for cut in section.cuts[: len(section.cuts) - section.fresh_cuts]:
            under = index.times <= np.uint64(cut.through)
            died[under] = np.minimum(died[under], np.uint64(cut.seq))
        born = index.born if index.born is not None else np.full(index.n, section.row.max_seq, np.uint64)
        keep = np.flatnonzero(~visible_dead(born, died, pins))
        rows = index.take(keep)
        numbers = np.array([type_ids.setdefault(type, len(type_ids)) for type in index.types], np.uint32)
        rows["type"] = numbers[rows["type"]]
        parts.append(rows)
        deaths.append(died[keep])
        labels += index.label_sets(keep)
        kept.append((keep, index.n))
    rows = np.concatenate(parts)
    order = np.lexsort((rows["seq"], rows["time"]))
    where = np.empty(len(order), np.intp)
    where[order] = np.arange(len(order))
    olds: list[NDArray[np.intp]] = []
    at = 0
    for keep, n in kept:
        mapped = np.full(n, -1, np.intp)
        mapped[keep] = where[at : at + len(keep)]
        olds.append(mapped)
        at += len(keep)
    sets = [labels[i] for i in order.tolist()]
    return olds, rows[order], np.concatenate(deaths)[order], sets, list(type_ids)


def _numbered(rows: Rows, sets: Sequence[LabelSet]) -> list[LabelSet]:
    """Number the label sets of a section's rows."""
    ids: dict[LabelSet, int] = {}
    rows["set"] = [ids.setdefault(labels, len(ids)) for labels in sets]
    return list(ids)


def _chosen(rows: Rows, move: set[int], stretch: tuple[int, int] | None) -> NDArray[np.intp]:
    """Rows whose contents are stored anew."""
    wanted = (rows["size"] > 0) & (rows["size"] <= LARGEST)
    if stretch is not None:
        start, stop = stretch
        wanted &= (rows["time"] >= np.uint64(start)) & (rows["codec"] == RAW)
        wanted &= rows["time"] < np.uint64(stop) if stop <= FOREVER else np.True_
    else:
        wanted &= np.isin(rows["file"], list(move))
    return np.flatnonzero(wanted)


def _move(
    store: RecordStore, bucket: Bucket, rows: Rows, chosen: NDArray[np.intp], compressing: bool, files: set[int]
) -> None:
    """Store contents anew; place, stored length and codec of the rows are changed."""

    def contents() -> Iterator[list[bytes | memoryview]]:
        for part in _portions(rows, chosen):
            places = [
                (
                    int(rows["file"][i]),
                    int(rows["where"][i]),
                    int(rows["stored"][i]) + array_bytes(int(rows["size"][i])),
                )
                for i in part
            ]
            for i, found in zip(part, store.payloads.read_many(places), strict=True):
                stored = int(rows["stored"][i])
                data, array = found[:stored], found[stored:]
                if compressing:
                    smaller = zstd.encode(bytes(data))
                    if len(smaller) < GAIN * stored:
                        rows["stored"][i] = len(smaller)
                        rows["codec"][i] = ZSTD
                        data = memoryview(smaller)
                yield [data, array] if len(array) else [data]

    placed, where = store.payloads.append_many(bucket.id, contents(), bucket.file_bytes, files)
    rows["file"][chosen] = placed
    rows["where"][chosen] = where


def _portions(rows: Rows, chosen: NDArray[np.intp]) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for i in chosen.tolist():
        part.append(i)
        size += int(rows["stored"][i])
        if size >= MOVED_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _finish(
    store: RecordStore, writer: SegmentWriter, slot: EntrySlot, old: Sequence[Section], made: Sequence[RecordSectionRow]
) -> SegmentRow:
    """As that of a seal: written even where nothing lives on."""
    gone = {section.row.id: Amended(None, ()) for section in old}
    looked_at = dead_rows(store, [slot]).get(slot.id, ())
    describe(writer, slot.id, slot.applied, made, gone, slot.state.sections, looked_at)
    size = writer.finish()
    low = min((row.min_seq for row in made), default=slot.applied)
    name = segment_name(KIND, writer.id)
    return SegmentRow(writer.id, KIND, name, size, size, low, slot.applied, store.epoch, "live")


def _commit(
    store: RecordStore,
    slot: EntrySlot,
    old: Sequence[Section],
    made: Sequence[RecordSectionRow],
    segment: SegmentRow,
    files: set[int],
) -> None:
    delta = CatalogDelta(store.epoch)
    delta.puts.append(segment)
    delta.puts += made
    delta.puts += payload_rows(store, files, slot.applied)
    delta.deletes += [("record_section", section.row.id) for section in old]
    delta.expect_record_states[slot.id] = slot.applied
    store.log.sync()
    store.commit_sections(delta, segment.id)
    slot.described = segment.id
    with store.publish_lock:
        slot.bucket.files.update(files)


def _swap(
    store: RecordStore,
    slot: EntrySlot,
    old: Sequence[Section],
    olds: Sequence[NDArray[np.intp]],
    made: Sequence[RecordSectionRow],
) -> None:
    """Publish the new sections, with what died in the old ones that the catalog did not know."""
    fresh_sections = [section_of(row) for row in made]
    attached: dict[int, SealedVictim] = {}
    if slot.meta:
        for section in fresh_sections:
            attached.update(places(store.open_section(section, slot.applied), section.row.id))
    with slot.lock, store.publish_lock:
        before = slot.state
        now = {section.row.id: section for section in before.sections}
        for seen, mapped in zip(old, olds, strict=True):
            section = now[seen.row.id]
            moved = mapped[section.fresh]
            alive = moved >= 0
            for number in np.unique(moved[alive] // SECTION_ROWS).tolist():
                mine = alive & (moved // SECTION_ROWS == number)
                target = fresh_sections[number]
                fresh_sections[number] = target._replace(
                    fresh=np.concatenate((target.fresh, (moved[mine] % SECTION_ROWS).astype(np.uint32))),
                    fresh_seqs=np.concatenate((target.fresh_seqs, section.fresh_seqs[mine])),
                )
            for cut in section.cuts[len(seen.cuts) - seen.fresh_cuts :]:
                fresh_sections = [target.cut(cut.through, cut.seq) for target in fresh_sections]
        gone = {section.row.id for section in old}
        sections = [section for section in before.sections if section.row.id not in gone] + fresh_sections
        sections.sort(key=lambda section: (section.t_min, section.row.id))
        store.publisher.replace(slot, before, before._replace(sections=tuple(sections)))
        slot.places.update(attached)
