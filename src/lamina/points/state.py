"""The published state of one measurement, and what ops make of it.

A state is immutable and replaced as a whole under the publish lock; readers take the reference once. What grows in
place (the columns of a tail, deaths with later seqs) is beyond what an older state sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.points.batch import Batch
from lamina.points.section import Section, SectionRows
from lamina.points.tail import FOREVER, Tail

U64 = NDArray[np.uint64]
Ordinals = NDArray[np.uint64]

_FEW = 4
"""Ordinals that are looked for one by one: faster than sorting up to here."""


class MeasurementState(NamedTuple):
    sections: tuple[Section, ...]  # by (t_min, id)
    tail: Tail
    n: int  # rows of the tail that this state sees
    seq: int  # of the last op inside
    needed: int  # oldest op whose effect is in the log alone; 0: none
    living: int  # points

    @property
    def tail_bytes(self) -> int:
        return self.n * self.tail.row_bytes() + self.tail.bytes if self.n else 0

    @property
    def dirty(self) -> bool:
        return self.needed > 0

    def insert(self, batch: Batch, ordinals: Ordinals, seq: int) -> MeasurementState:
        """With new points. Repeatable."""
        self.tail.write(self.n, batch, ordinals, seq)
        return self._replace(n=self.n + batch.n, seq=seq, needed=self.needed or seq, living=self.living + batch.n)

    def kill(self, tail_rows: NDArray[np.intp], sealed: Mapping[int, SectionRows], seq: int) -> MeasurementState:
        """Without these living rows: of the tail, and of sections by their ids. Repeatable."""
        self.tail.died[tail_rows] = seq
        killed = len(tail_rows) + sum(map(len, sealed.values()))
        sections = self.sections
        if sealed:
            sections = tuple(s.kill(sealed[s.row.id], seq) if s.row.id in sealed else s for s in sections)
        return self._replace(sections=sections, seq=seq, needed=self.needed or seq, living=self.living - killed)

    def update(
        self,
        batch: Batch,
        ordinals: Ordinals,
        tail_rows: NDArray[np.intp],
        sealed: Mapping[int, SectionRows],
        seq: int,
    ) -> MeasurementState:
        """With living rows replaced by points under the same ordinals. Repeatable.

        `find` says which rows the ordinals are; a batch may hold points of ordinals that have no row (they came from
        another measurement, or their rows are in a section that was lost).
        """
        return self.kill(tail_rows, sealed, seq).insert(batch, ordinals, seq)

    def clear(self, seq: int) -> MeasurementState:
        """Without any point. Repeatable."""
        died = self.tail.died[: self.n]
        died[died >= np.uint64(seq)] = seq
        sections = tuple(section.clear(seq) for section in self.sections)
        return self._replace(sections=sections, seq=seq, needed=self.needed or seq, living=0)

    def add_section(self, section: Section, seq: int) -> MeasurementState:
        """With points that are sealed already."""
        sections = sorted((*self.sections, section), key=lambda s: (s.row.t_min, s.row.id))
        return self._replace(
            sections=tuple(sections), seq=seq, needed=self.needed or seq, living=self.living + section.living
        )

    def alive(self, seq: int | None = None) -> NDArray[np.intp]:
        """Rows of the tail that live as of a seq (None: of this state), in the order of ops."""
        seq = self.seq if seq is None else seq
        n = self.n
        if seq < self.seq:
            n = int(np.searchsorted(self.tail.seq[:n], np.uint64(seq), "right"))
        return np.flatnonzero(self.tail.died[:n] > np.uint64(seq))


def empty_state(sections: tuple[Section, ...] = (), seq: int = 0) -> MeasurementState:
    """As the catalog has it."""
    ordered = tuple(sorted(sections, key=lambda s: (s.row.t_min, s.row.id)))
    return MeasurementState(ordered, Tail(), 0, seq, 0, sum(section.living for section in ordered))


class Ordered(Protocol):
    """An open section, as far as finding points by ordinal needs it."""

    @property
    def ordinals(self) -> Ordinals:
        """Of each row."""
        ...

    @property
    def died(self) -> U64 | None:
        """The seq at which each row died, FOREVER if it lives; None: all live."""
        ...


def find(
    state: MeasurementState, opened: Callable[[Section], Ordered], ordinals: Ordinals
) -> tuple[NDArray[np.intp], dict[int, SectionRows]]:
    """The living rows of these (distinct) ordinals: of the tail, and of sections by id. Ordinals that no living point
    has are left out. Reads ordinals only of sections whose range holds one.
    """
    wanted = np.sort(ordinals)
    alive = state.alive()
    tail_rows = alive[_among(state.tail.ordinal[alive], wanted)] if len(alive) else alive
    sealed: dict[int, SectionRows] = {}
    left = len(wanted) - len(tail_rows)
    for section in state.sections:
        if not left:
            break
        row = section.row
        low, high = np.searchsorted(wanted, np.array((row.ordinal_min, row.ordinal_max + 1), np.uint64)).tolist()
        if section.dead or low == high:
            continue
        reader = opened(section)
        rows = _among(reader.ordinals, wanted[low:high])
        died = reader.died
        if died is not None:
            rows = rows[died[rows] == np.uint64(FOREVER)]
        if len(rows):
            sealed[row.id] = rows.astype(np.uint32)
            left -= len(rows)
    return tail_rows, sealed


def _among(ordinals: Ordinals, wanted: Ordinals) -> NDArray[np.intp]:
    """Places of the ordinals that are wanted (ascending), in ascending order."""
    if len(wanted) <= _FEW:
        found = [np.flatnonzero(ordinals == ordinal) for ordinal in wanted]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.intp)
    at = np.searchsorted(wanted, ordinals)
    at[at == len(wanted)] = 0
    return np.flatnonzero(wanted[at] == ordinals)
