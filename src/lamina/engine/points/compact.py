"""Compaction: sections with many dead points, small ones, and those that overlap in time are written anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.rows import SECTION_NUMBERS, PointSectionRow, SegmentRow
from lamina.engine.points import space
from lamina.engine.points.seal import Part, PointSealer
from lamina.engine.points.sections import Sorted, lives, visible_dead, write
from lamina.errors import Corrupt, NotFound
from lamina.points.batch import concat
from lamina.points.section import Section, section_of
from lamina.points.state import MeasurementState

if TYPE_CHECKING:
    from lamina.engine.points.slot import MeasurementSlot
    from lamina.engine.points.store import PointStore

SECTION_POINTS = 262_144
"""Rows of a section that is written here."""

REWRITE_POINTS = 2_000_000
"""Rows taken into memory at once."""

DEAD_SHARE = 0.25
"""A section with more dead rows than that is rewritten."""

OVERLAPPING = 8
"""More sections than that over one time are merged."""

SMALL_SECTIONS, SMALL_POINTS = 16, 16_384
"""More sections than that with fewer rows than so many are merged."""


class _Old(NamedTuple):
    section: Section  # as it was read
    place: NDArray[np.intp]  # of each of its rows among those that go on, -1: dropped


def compact(store: PointStore, sealer: PointSealer, slot: MeasurementSlot) -> int:
    """Rewrite what is worn of a measurement; how many sections."""
    done = 0
    for chosen in worn(slot.state):
        try:
            done += rewrite(store, sealer, slot, chosen)
        except (Corrupt, NotFound):
            continue  # what is damaged stays as it is, for doctor to tell of; the rest is served
    return done


def worn(state: MeasurementState) -> list[list[Section]]:
    """What is to be rewritten, in portions that fit into memory."""
    chosen: dict[int, Section] = {}
    for section in state.sections:
        if section.row.points - section.living > DEAD_SHARE * section.row.points:
            chosen[section.row.id] = section
    small = [section for section in state.sections if section.row.points < SMALL_POINTS]
    if len(small) > SMALL_SECTIONS:
        chosen.update((section.row.id, section) for section in small)
    for crowd in _crowds(state.sections):
        chosen.update((section.row.id, section) for section in crowd)
    portions: list[list[Section]] = []
    size = REWRITE_POINTS
    for section in sorted(chosen.values(), key=lambda section: section.row.t_min):
        if size + section.row.points > REWRITE_POINTS:
            portions.append([])
            size = 0
        portions[-1].append(section)
        size += section.row.points
    return portions


def _crowds(sections: Sequence[Section]) -> list[list[Section]]:
    """Runs of sections of which more than OVERLAPPING cover one time."""
    found: list[list[Section]] = []
    crowd: list[Section] = []
    deepest, until = 0, None
    for section in sorted(sections, key=lambda section: section.row.t_min):
        if until is not None and section.row.t_min > until:
            if deepest > OVERLAPPING:
                found.append(crowd)
            crowd, deepest, until = [], 0, None
        crowd.append(section)
        depth = sum(other.row.t_max >= section.row.t_min for other in crowd)
        deepest = max(deepest, depth)
        until = section.row.t_max if until is None else max(until, section.row.t_max)
    if deepest > OVERLAPPING:
        found.append(crowd)
    return found


def rewrite(store: PointStore, sealer: PointSealer, slot: MeasurementSlot, sections: Sequence[Section]) -> int:
    """Write sections anew as one or several, without rows that are dead for everybody; how many. Raises OSError,
    Corrupt: nothing is changed then."""
    sealer.seal([slot])  # sections that only the log knows, and deaths, are in the catalog from here on
    with slot.sealing:
        ids = {section.row.id for section in sections}
        current = [section for section in slot.state.sections if section.row.id in ids and section.known]
        if slot.dead or not current:
            return 0
        pins = store.readers.pins()
        olds, rows = _gather(store, current, pins)
        writer = sealer.writer()
        try:
            made: list[PointSectionRow] = []
            for first in range(0, len(rows.ordinals), SECTION_POINTS):
                part = rows.part(slice(first, first + SECTION_POINTS))
                id = writer.id * SECTION_NUMBERS + len(made)
                made.append(write(writer, id, slot.id, part, pins, store.epoch))
            gone: dict[int, PointSectionRow | None] = {section.row.id: None for section in current}
            known = [section for section in slot.state.sections if section.known]
            segment = sealer.finish(writer, [Part(slot.id, slot.applied, made, gone, known)], pins)
            _commit(store, slot, current, made, segment)
        except BaseException:
            writer.abort()
            raise
        _swap(store, slot, current, olds, made)
    space.retire_segments(store, {section.row.segment for section in current})
    return len(current)


def _gather(store: PointStore, sections: Sequence[Section], pins: Sequence[int]) -> tuple[list[_Old], Sorted]:
    """What goes on of some sections, as the catalog has them, by (time, ordinal)."""
    parts = []
    kept = []
    for section in sections:
        known = section_of(section.row)
        reader = store.open_section(known)
        born, died = lives(store, known)
        keep = np.flatnonzero(~visible_dead(born, died, pins))
        kept.append((section, keep))
        parts.append(Sorted(reader.reader.batch(keep), reader.ordinals[keep], born[keep], died[keep]))
    rows = Sorted(
        concat([part.batch for part in parts]),
        *(np.concatenate([part[i] for part in parts]) for i in (1, 2, 3)),
    )
    order = np.lexsort((rows.ordinals, rows.batch.time_us))
    where = np.empty(len(order), np.intp)
    where[order] = np.arange(len(order))
    olds = []
    at = 0
    for section, keep in kept:
        place = np.full(section.row.points, -1, np.intp)
        place[keep] = where[at : at + len(keep)]
        olds.append(_Old(section, place))
        at += len(keep)
    return olds, Sorted(rows.batch.take(order), rows.ordinals[order], rows.born[order], rows.died[order])


def _commit(
    store: PointStore,
    slot: MeasurementSlot,
    old: Sequence[Section],
    made: Sequence[PointSectionRow],
    segment: SegmentRow,
) -> None:
    delta = CatalogDelta(store.epoch)
    delta.puts.append(segment)
    delta.puts += made
    delta.deletes += [("point_section", section.row.id) for section in old]
    delta.expect_point_states[slot.id] = slot.applied
    # no sync of the log: what is committed here says what the catalog says already, which was synced for that
    store.commit_sections(delta, segment.id)
    slot.described = segment.id


def _swap(
    store: PointStore,
    slot: MeasurementSlot,
    old: Sequence[Section],
    olds: Sequence[_Old],
    made: Sequence[PointSectionRow],
) -> None:
    """Publish the new sections, with what died in the old ones since the catalog was told."""
    new = [section_of(row) for row in made]
    with slot.lock, store.publish_lock:
        before = slot.state
        now = {section.row.id: section for section in before.sections}
        for seen in olds:
            section = now[seen.section.row.id]
            places = seen.place[section.fresh]
            alive = places >= 0
            for number in np.unique(places[alive] // SECTION_POINTS).tolist():
                mine = alive & (places // SECTION_POINTS == number)
                target = new[number]
                new[number] = target._replace(
                    fresh=np.concatenate((target.fresh, (places[mine] % SECTION_POINTS).astype(np.uint32))),
                    fresh_seqs=np.concatenate((target.fresh_seqs, section.fresh_seqs[mine])),
                )
            if section.cleared:
                new = [target._replace(cleared=section.cleared) for target in new]
        gone = {section.row.id for section in old}
        sections = [section for section in before.sections if section.row.id not in gone]
        sections += [section for section in new if not section.row.dead]
        sections.sort(key=lambda section: (section.row.t_min, section.row.id))
        store.publisher.replace(slot, before._replace(sections=tuple(sections)))
