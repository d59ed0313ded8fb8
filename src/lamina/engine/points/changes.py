"""Updates and removals by query: resolved under the object locks, committed as one submission.

What a query selects and what an update makes of it is settled here, so ops carry effects only. All measurements that
are asked change at one moment, or none does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.engine.points.publish import ClearNote, InsertNote, RemoveNote, UpdateNote, Victims
from lamina.engine.points.slot import MeasurementSlot
from lamina.engine.points.write import LOG_BYTES, commit_sections
from lamina.errors import NotFound
from lamina.points import ops
from lamina.points.batch import Batch, batch_of_points
from lamina.points.point import Point
from lamina.points.search import Selection, select
from lamina.points.state import MeasurementState
from lamina.storage.log import Op

if TYPE_CHECKING:
    from lamina.catalog.rows import PointSectionRow
    from lamina.engine.points.store import PointStore
    from lamina.points.queries import Query

U64 = NDArray[np.uint64]
Change = Callable[[Point], Point | None]
"""A point as it is to be, or None: it stays as it is. The old one must not be changed."""


class Asked(NamedTuple):
    """Which points of each measurement."""

    query: Query | None
    start_us: int | None
    end_us: int | None  # exclusive


EVERYTHING = Asked(None, None, None)


def remove(store: PointStore, slots: Sequence[MeasurementSlot], asked: Asked = EVERYTHING) -> int:
    """Remove points; how many. Returns when they are gone durably. Raises what a query raises, Corrupt, Unavailable;
    nothing is changed then."""
    store.check_writable(essential=True)
    with store.locked(slots):
        states, seq = store.states(slots)
        submitted = []
        count = 0
        for slot, state in zip(slots, states, strict=True):
            if asked == EVERYTHING:
                if state.living:
                    submitted.append(_clear(slot))
                    count += state.living
                continue
            found = _selected(store, slot, state, seq, asked)
            if found.n == state.living and found.n:
                submitted.append(_clear(slot))
            elif found.n:
                submitted.append(_remove(slot, found.ordinals(), Victims(found.tail, found.sealed)))
            count += found.n
        if submitted:
            store.submit(submitted, essential=True).wait()
    return count


def _selected(store: PointStore, slot: MeasurementSlot, state: MeasurementState, seq: int, asked: Asked) -> Selection:
    return select(state, seq, store.open_section, slot.name, asked.query, asked.start_us, asked.end_us)


def _clear(slot: MeasurementSlot) -> Op:
    return Op(ops.KIND, ops.CLEAR, slot.id, [], ClearNote(slot))


def _remove(slot: MeasurementSlot, ordinals: U64, victims: Victims) -> Op:
    return Op(ops.KIND, ops.REMOVE, slot.id, [ops.remove_body(ordinals)], RemoveNote(slot, victims))


class _Edited(NamedTuple):
    """What becomes of points of one measurement: those that stay in it, and those that go to another."""

    slot: MeasurementSlot
    ordinals: U64
    points: list[Point]
    victims: Victims


def update(store: PointStore, slots: Sequence[MeasurementSlot], change: Change, asked: Asked = EVERYTHING) -> int:
    """Put `change(point)` in the place of points; how many are another than before. They keep their places in
    insertion order, also where they move to another measurement.

    Raises what a query or `change` raises, InvalidArgument (a value, time or name that cannot be stored), Corrupt,
    Unavailable; nothing is changed then. Costs some microseconds a point.
    """
    store.check_writable()
    while True:
        try:
            with store.locked(slots):
                return _update(store, slots, change, asked)
        except NotFound:  # a measurement that points move to was forgotten, empty; it is made again
            with store.metadata.lane:
                pass


def _update(store: PointStore, slots: Sequence[MeasurementSlot], change: Change, asked: Asked) -> int:
    states, seq = store.states(slots)
    edits = []
    for slot, state in zip(slots, states, strict=True):
        edited = _edited(store, slot, state, seq, change, asked)
        if edited is not None:
            edits.append(edited)
    if not edits:
        return 0
    targets = {slot.name: slot for slot in slots}
    strange = sorted({point._measurement for edited in edits for point in edited.points} - targets.keys())
    targets.update(zip(strange, store.ensure(strange), strict=True))
    _commit(store, edits, targets)
    return sum(len(edited.points) for edited in edits)


def _edited(
    store: PointStore, slot: MeasurementSlot, state: MeasurementState, seq: int, change: Change, asked: Asked
) -> _Edited | None:
    found = _selected(store, slot, state, seq, asked)
    if not found.n:
        return None
    points: list[Point] = []
    kept: list[int] = []
    listed: list[Point] = found.batch().points(slot.name)
    for i, old in enumerate(listed):
        new = change(old)
        if new is not None:
            points.append(new)
            kept.append(i)
    if not kept:
        return None
    index = np.array(kept)
    return _Edited(slot, found.ordinals()[index], points, _some(found, index))


def _some(found: Selection, index: NDArray[np.intp]) -> Victims:
    """The victims among what was found: rows of `batch()`, which has those of the sections first, then the tail's."""
    sealed = {}
    at = 0
    for id, rows in found.sealed.items():
        mine = index[(index >= at) & (index < at + len(rows))] - at
        if len(mine):
            sealed[id] = rows[mine]
        at += len(rows)
    return Victims(found.tail[index[index >= at] - at], sealed)


def _commit(store: PointStore, edits: Sequence[_Edited], targets: dict[str, MeasurementSlot]) -> None:
    now_us = store.clock.wall_us()
    submitted: list[Op] = []
    moved: dict[str, tuple[list[Point], list[U64]]] = {}
    size = 0
    for slot, ordinals, points, victims in edits:
        stays = np.array([point._measurement == slot.name for point in points])
        if stays.all():
            batch = batch_of_points(points, now_us)
            parts = ops.update_parts(batch, ordinals)
            submitted.append(Op(ops.KIND, ops.UPDATE, slot.id, parts, UpdateNote(slot, batch, ordinals, victims)))
            size += sum(memoryview(part).nbytes for part in parts)
            continue
        submitted.append(_remove(slot, ordinals, victims))
        for name in dict.fromkeys(point._measurement for point in points):
            mine = [i for i, point in enumerate(points) if point._measurement == name]
            into = moved.setdefault(name, ([], []))
            into[0].extend(points[i] for i in mine)
            into[1].append(ordinals[np.array(mine)])
    born: list[tuple[MeasurementSlot, Batch, U64]] = []
    for name, (points, parts_) in moved.items():
        born.append((targets[name], batch_of_points(points, now_us), np.concatenate(parts_)))
    for slot, batch, ordinals in born:
        parts = ops.insert_parts(batch, 0, ordinals.astype(np.int64))
        submitted.append(Op(ops.KIND, ops.INSERT, slot.id, parts, InsertNote(slot, batch, ordinals, None, True)))
        size += sum(memoryview(part).nbytes for part in parts)
    changed = sum(len(edited.points) for edited in edits)
    if size > LOG_BYTES or changed >= store.settings.bulk_points:
        _commit_bulk(store, submitted)
    else:
        store.submit(submitted).wait()


def _commit_bulk(store: PointStore, submitted: Sequence[Op]) -> None:
    """What an update makes of very many points goes past the log, as an insert of so many does."""
    sealer = store.sealer
    writer = sealer.writer()
    rows: list[tuple[MeasurementSlot, PointSectionRow]] = []
    others: list[Op] = []
    try:
        for op in submitted:
            note = op.note
            if isinstance(note, UpdateNote):
                others.append(_remove(note.slot, note.ordinals, note.victims))
                batch, ordinals = note.batch, note.ordinals
            elif isinstance(note, InsertNote):
                batch, ordinals = note.batch, note.at
            else:
                others.append(op)
                continue
            made = sealer.write_bulk(writer, note.slot.id, batch, ordinals, len(rows))
            rows += [(note.slot, row) for row in made]
        segment = sealer.finish_bulk(writer, sorted({slot.id for slot, _ in rows}))
    except BaseException:
        writer.abort()
        raise
    commit_sections(store, segment, rows, others)
