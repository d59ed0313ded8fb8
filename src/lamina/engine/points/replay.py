"""Recovery of points: ops that the sections lack become tails again.

Vectorised over ops: all rows that a stretch of the log gave birth to are decoded at once, and what updates and removals
meant is found by one sort: of an ordinal, a row lives from its birth to the next change. What they met in a section is
looked up there by its ordinal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import PointSectionRow, from_json
from lamina.engine.points.slot import MeasurementSlot
from lamina.errors import Corrupt, NotFound
from lamina.points import ops
from lamina.points.batch import Batch, concat
from lamina.points.section import Section, section_of
from lamina.points.state import MeasurementState, Ordered, find
from lamina.points.tail import FOREVER, Tail

if TYPE_CHECKING:
    from lamina.engine.points.store import PointStore

U64 = NDArray[np.uint64]


class _Stretch:
    """Ops of one measurement between two CLEARs: what they gave birth to, and what they killed."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.ordinals: list[U64] = []
        self.seqs: list[U64] = []  # of each point
        self.killed: list[U64] = []
        self.kill_seqs: list[int] = []
        self._inserts: list[memoryview] = []  # a run of them, not yet decoded
        self._insert_seqs: list[int] = []

    def insert(self, body: memoryview, seq: int) -> None:
        self._inserts.append(body)
        self._insert_seqs.append(seq)

    def update(self, body: memoryview, seq: int) -> None:
        self.finish()
        batch, ordinals = ops.decode_update(body)
        self.batches.append(batch)
        self.ordinals.append(ordinals)
        self.seqs.append(np.full(batch.n, seq, np.uint64))
        self.kill(ordinals, seq)

    def kill(self, ordinals: U64, seq: int) -> None:
        self.killed.append(ordinals)
        self.kill_seqs.append(seq)

    def finish(self) -> None:
        """Decode what was not yet."""
        if self._inserts:
            batch, ordinals, counts = ops.decode_inserts(self._inserts)
            self.batches.append(batch)
            self.ordinals.append(ordinals)
            self.seqs.append(np.repeat(np.array(self._insert_seqs, np.uint64), counts))
            self._inserts, self._insert_seqs = [], []


class PointReplay:
    """One pass over the log at open."""

    def __init__(self, store: PointStore) -> None:
        self._store = store
        self._slots: dict[int, MeasurementSlot | None] = {}
        self.bulk_segments: set[int] = set()  # named by SECTION ops

    def forget_missing(self) -> None:
        """Metadata changed: what was not there may be there now."""
        self._slots = {id: slot for id, slot in self._slots.items() if slot is not None}

    def apply(
        self,
        measurements: U64,
        types: NDArray[np.uint8],
        seqs: U64,
        begins: NDArray[np.int64],
        lengths: NDArray[np.int64],
        raw: NDArray[np.uint8],
    ) -> None:
        """Ops in seq order: measurement, type, seq, where the body begins and how long it is in `raw`. Raises Corrupt
        for ops that no Lamina of this version writes."""
        order = np.argsort(measurements, kind="stable")
        grouped = measurements[order]
        bounds = [*np.flatnonzero(np.append(True, grouped[1:] != grouped[:-1])).tolist(), len(order)]
        for first, stop in itertools.pairwise(bounds):
            slot = self._slot(int(grouped[first]))
            if slot is None:  # forgotten since: nothing was in it any more
                continue
            mine = order[first:stop]
            mine = mine[seqs[mine] > np.uint64(slot.state.seq)]
            if len(mine):
                columns = [column[mine].tolist() for column in (types, seqs, begins, lengths)]
                state = self._apply(slot, columns, memoryview(raw))  # type: ignore[arg-type]
                with self._store.publish_lock:
                    self._store.publisher.replace(slot, state)

    def _slot(self, id: int) -> MeasurementSlot | None:
        if id not in self._slots:
            self._slots[id] = self._store.slot_of(id)
        return self._slots[id]

    def _apply(self, slot: MeasurementSlot, columns: Sequence[Sequence[int]], data: memoryview) -> MeasurementState:
        state = slot.state
        stretch = _Stretch()
        seq = state.seq
        first = columns[1][0]
        for type, seq, begin, length in zip(*columns, strict=True):
            body = data[begin : begin + length]
            if type == ops.INSERT:
                stretch.insert(body, seq)
            elif type == ops.UPDATE:
                stretch.update(body, seq)
            elif type == ops.REMOVE:
                stretch.kill(ops.decode_remove(body), seq)
            elif type == ops.SECTION:
                if stretch.killed:  # before: its points may be those that an update put in the place of the killed
                    state, stretch = self._carry_out(state, stretch), _Stretch()
                state = self._section(state, bytes(body), seq)
            elif type == ops.CLEAR:
                state = self._carry_out(state, stretch).clear(seq)
                stretch = _Stretch()
            else:
                raise Corrupt(f"points op {seq} of unknown type {type}")
        return self._carry_out(state, stretch)._replace(seq=seq, needed=slot.state.needed or first)

    def _section(self, state: MeasurementState, body: bytes, seq: int) -> MeasurementState:
        row = decode_section(body, seq)
        self.bulk_segments.add(row.segment)
        if any(section.row.id == row.id for section in state.sections):
            return state
        return state.add_section(section_of(row)._replace(known=False), seq)

    def _carry_out(self, state: MeasurementState, stretch: _Stretch) -> MeasurementState:
        stretch.finish()
        if stretch.batches:
            before, seqs = state.n, np.concatenate(stretch.seqs)
            state = state.insert(concat(stretch.batches), np.concatenate(stretch.ordinals), int(seqs[-1]))
            state.tail.seq[before : state.n] = seqs
        if not stretch.killed:
            return state
        killed = np.concatenate(stretch.killed)
        seqs = np.repeat(np.array(stretch.kill_seqs, np.uint64), [len(ordinals) for ordinals in stretch.killed])
        rows, by_seqs, left = _victims_in_tail(state, killed, seqs)
        state.tail.died[rows] = by_seqs
        state = state._replace(living=state.living - len(rows))
        return self._kill_sealed(state, killed[left], seqs[left]) if len(left) else state

    def _kill_sealed(self, state: MeasurementState, ordinals: U64, seqs: U64) -> MeasurementState:
        _, found = find(state._replace(tail=Tail(), n=0), self._opened, ordinals)
        order = np.argsort(ordinals)
        sections = list(state.sections)
        living = state.living
        for i, section in enumerate(sections):
            if section.row.id in found:
                rows = found[section.row.id]
                which = order[np.searchsorted(ordinals, self._opened(section).ordinals[rows], sorter=order)]
                by_seq = np.argsort(seqs[which], kind="stable")
                sections[i] = section._replace(
                    fresh=np.concatenate((section.fresh, rows[by_seq])),
                    fresh_seqs=np.concatenate((section.fresh_seqs, seqs[which][by_seq])),
                )
                living -= len(rows)
        return state._replace(sections=tuple(sections), living=living)

    def _unsettled(self, section: Section, error: Exception) -> Ordered:
        """Which of its points a change met is not known: nobody may read it as if none had died. The rest stays
        readable."""
        self._store.unsettled[section.row.place] = f"{error}; what changed in it since cannot be told"
        return _Unreadable()

    def _opened(self, section: Section) -> Ordered:
        try:
            found = self._store.open_section(section)
            found.ordinals, found.died  # noqa: B018 -- read here, where damage can be told of
            return found
        except (Corrupt, NotFound) as error:
            return self._unsettled(section, error)


class _Unreadable:
    """A section of which nothing is found: see PointStore.unsettled."""

    ordinals: U64 = np.empty(0, np.uint64)
    died: U64 | None = None


def _victims_in_tail(state: MeasurementState, killed: U64, seqs: U64) -> tuple[NDArray[np.intp], U64, NDArray[np.intp]]:
    """Rows of the tail that die, the seqs at which they do, and which of the killed were not born in it.

    Births and deaths of an ordinal alternate, so by (ordinal, seq) a row stands right before its death; an update is
    the death of one row before it is the birth of another."""
    living = np.flatnonzero(state.tail.died[: state.n] == np.uint64(FOREVER))  # one that died lives on in a section
    n = len(living)
    ordinal = np.concatenate((state.tail.ordinal[living], killed))
    seq = np.concatenate((state.tail.seq[living], seqs))
    birth = np.arange(len(ordinal)) < n
    order = np.lexsort((birth, seq, ordinal))
    deaths = np.flatnonzero(~birth[order])
    before = np.maximum(deaths - 1, 0)
    here = (deaths > 0) & birth[order[before]] & (ordinal[order[before]] == ordinal[order[deaths]])
    rows = order[before[here]]
    return living[rows], seq[order[deaths[here]]], order[deaths[~here]] - n


def encode_section(row: PointSectionRow) -> bytes:
    """Body of a SECTION op: the catalog row of a section on disk. Its seqs are those of the op."""
    from lamina.catalog.rows import to_json

    return to_json(row._replace(min_seq=0, max_seq=0)).encode()


def decode_section(body: bytes, seq: int) -> PointSectionRow:
    """Raises Corrupt."""
    try:
        row: PointSectionRow = from_json("point_section", body.rstrip(b"\0").decode())
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"SECTION op {seq}: {error}") from None
    return row._replace(min_seq=seq, max_seq=seq)
