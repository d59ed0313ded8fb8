"""The published state of one entry, and what ops make of it.

A state is immutable and replaced as a whole under the publish lock; readers take the reference once. What grows in
place (the columns of a tail, deaths with later seqs) is beyond what an older state sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.records.labels import LabelSet
from lamina.records.row import Rows
from lamina.records.section import Section
from lamina.records.tail import ROW_BYTES, Tail


class EntryState(NamedTuple):
    sections: tuple[Section, ...]  # by t_min
    tail: Tail
    n: int  # rows of the tail that this state sees
    ordered: bool  # their times ascend
    seq: int  # of the last op inside
    needed: int  # oldest op whose effect is in the log alone; 0: none

    @property
    def tail_bytes(self) -> int:
        return self.n * ROW_BYTES + self.tail.bytes if self.n else 0

    @property
    def dirty(self) -> bool:
        return self.needed > 0

    def append(self, rows: Rows, sets: Sequence[LabelSet], types: Sequence[str], seq: int) -> EntryState:
        """With new rows, whose `seq`, `where` and `meta` are final and whose `set` and `type` index the tables."""
        tail, n = self.tail, self.n
        count = len(rows)
        tail.reserve(n + count)
        part = tail.rows[n : n + count]
        # As bytes: field by field it takes three times as long.
        part.view(np.uint8)[:] = np.ascontiguousarray(rows).view(np.uint8)
        if len(sets) == 1:
            part["set"] = tail.intern(sets[0])
        else:
            part["set"] = np.array([tail.intern(labels) for labels in sets], np.uint32)[rows["set"]]
        if len(types) == 1:
            part["type"] = tail.intern_type(types[0])
        else:
            part["type"] = np.array([tail.intern_type(type) for type in types], np.uint32)[rows["type"]]
        return self._added(count, seq)

    def append_one(self, row: Sequence[int], labels: LabelSet, type: str, seq: int) -> EntryState:
        """`append` of a single row, given as the fields up to `meta`: a third of the time."""
        tail, n = self.tail, self.n
        if n >= len(tail.rows):
            tail.reserve(n + 1)
        tail.rows[n] = (*row, tail.intern(labels), tail.intern_type(type), 0)
        return self._added(1, seq)

    def _added(self, count: int, seq: int) -> EntryState:
        tail, n = self.tail, self.n
        times = tail.rows["time"]
        ordered = self.ordered
        if ordered:
            first = max(n - 1, 0)
            new = times[first : n + count]
            ordered = bool(len(new) < 2 or (new[1] > new[0] if len(new) == 2 else (new[1:] > new[:-1]).all()))
        if tail.by_time is not None:
            for i in range(n, n + count):
                tail.by_time[int(times[i])] = i
        return EntryState(self.sections, tail, n + count, ordered, seq, self.needed or seq)

    def find_in_tail(self, time_us: int) -> int:
        """The living row at a time, -1 if the tail has none, or has none any more. Where rows came late this needs the
        index of times, which is made under the publish lock."""
        tail, n = self.tail, self.n
        if not n:
            return -1
        if self.ordered:
            i = int(tail.rows["time"][:n].searchsorted(np.uint64(time_us)))
            if i == n or int(tail.rows["time"][i]) != time_us or int(tail.died[i]) <= self.seq:
                return -1
            return i
        found = tail.index_times(n).get(time_us, -1)
        return found if found < n else -1

    def kill_in_tail(self, index: int, seq: int) -> None:
        """Repeatable. The state sees it as dead once its seq is at least that."""
        tail = self.tail
        tail.died[index] = seq
        if tail.by_time is not None:
            time_us = int(tail.rows["time"][index])
            if tail.by_time.get(time_us) == index:
                del tail.by_time[time_us]

    def changed(self, sections: tuple[Section, ...], seq: int) -> EntryState:
        return self._replace(sections=sections, seq=seq, needed=self.needed or seq)

    def living(self) -> NDArray[np.intp]:
        """Rows of the tail that live as of this state, in the order of ops."""
        return np.flatnonzero(self.tail.died[: self.n] > np.uint64(self.seq))


def empty_state(sections: tuple[Section, ...] = (), seq: int = 0) -> EntryState:
    return EntryState(sections, Tail(), 0, True, seq, 0)
