"""Where the rows of an entry are read from: a sealed section or the tail, as of one seq; and several of them merged.

A source speaks of its rows by their numbers; `select` gives the numbers of visible rows in a stretch of time,
ascending. What a condition needs of them it reads as columns, what is returned as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.records.index import IndexSection
from lamina.records.labels import LabelColumn, LabelSet
from lamina.records.row import FOREVER, Rows
from lamina.records.section import Section
from lamina.records.state import EntryState

Index = NDArray[np.intp]

LAST_TIME = (1 << 64) - 1
"""Largest time of a record."""


class Source(Protocol):
    t_min: int
    t_max: int  # inclusive; of all rows, visible or not

    def select(self, start: int, stop: int) -> Index:
        """Visible rows with start <= time < stop (stop may be 2**64), ascending by time."""
        ...

    def times(self, index: Index) -> NDArray[np.uint64]: ...

    def label(self, name: str, index: Index) -> LabelColumn | None: ...

    @property
    def label_names(self) -> Sequence[str]:
        """Names that some of its rows have, visible or not; ascending."""
        ...

    def field(self, name: str, index: Index) -> NDArray[np.uint64]:
        """One field of `take`, any but `seq` and `set`."""
        ...

    def take(self, index: Index) -> Rows: ...

    def label_sets(self, index: Index) -> list[LabelSet]: ...

    def later_label_sets(self, index: Index) -> Callable[[], list[LabelSet]]:
        """`label_sets` once somebody asks; what it takes is read now."""
        ...

    def types(self) -> Sequence[str]:
        """What the field `type` of a row numbers."""
        ...


def bounds(times: NDArray[np.uint64], start: int, stop: int) -> tuple[int, int]:
    """[first, last) of sorted times in start <= t < stop; both may be 2**64."""
    first = int(times.searchsorted(np.uint64(start))) if start <= LAST_TIME else len(times)
    last = int(times.searchsorted(np.uint64(stop))) if stop <= LAST_TIME else len(times)
    return first, max(first, last)


def _stretch(first: int, last: int) -> Index:
    """The numbers first <= i < last, not to be changed."""
    return _NUMBERS[first:last] if last <= len(_NUMBERS) else np.arange(first, last)


_NUMBERS: Index = np.arange(1 << 17)
"""1 MiB: what most sections need. To make it anew for each costs as much as comparing a column."""
_NUMBERS.flags.writeable = False


def _together(index: Index) -> Index | slice:
    """A stretch cut by `_stretch` as a slice, which picks from a column without a copy; any other index as it is."""
    if index.base is _NUMBERS and len(index) > 1 and index.strides == _NUMBERS.strides:
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


class SectionSource:
    """A sealed section as of a seq."""

    __slots__ = ("_deaths", "_seq", "index", "section", "t_max", "t_min")

    def __init__(
        self,
        section: Section,
        index: IndexSection,
        deaths: tuple[NDArray[np.uint32], NDArray[np.uint64]] | None,
        seq: int,
    ) -> None:
        """`deaths`: rows that died after the section was written, as the catalog has them, with their seqs."""
        self.section = section
        self.index = index
        self.t_min, self.t_max = section.t_min, section.t_max
        self._deaths = deaths
        self._seq = seq

    def select(self, start: int, stop: int) -> Index:
        section, seq = self.section, self._seq
        start = max(start, section.floor(seq) + 1)
        times = self.index.times
        first, last = bounds(times, start, stop)
        found = _stretch(first, last)
        if not len(found):
            return found
        dead: list[NDArray[np.uint32]] = []
        for index, seqs in (self._deaths or _NO_DEATHS, (section.fresh, section.fresh_seqs)):
            if len(index):
                dead.append(index if int(seqs.max()) <= seq else index[seqs <= np.uint64(seq)])
        if dead or self.index.died is not None or section.row.max_seq > seq:
            alive = np.ones(self.index.n, np.bool_)
            for index in dead:
                alive[index] = False
            if self.index.died is not None:
                alive &= self.index.died > np.uint64(seq)
            if section.row.max_seq > seq:
                born = self.index.born
                if born is not None:
                    alive &= born <= np.uint64(seq)
                else:  # no snapshot needed to tell them apart: all or none
                    alive &= section.row.min_seq <= seq
            found = found[alive[first:last]]
        return found

    def times(self, index: Index) -> NDArray[np.uint64]:
        return self.index.times[_together(index)]

    def label(self, name: str, index: Index) -> LabelColumn | None:
        column = self.index.label(name)
        return None if column is None else LabelColumn(column.codes[_together(index)], column.values, column.numbers)

    @property
    def label_names(self) -> Sequence[str]:
        return self.index.label_names

    def field(self, name: str, index: Index) -> NDArray[np.uint64]:
        return self.index.field(name, _together(index))

    def take(self, index: Index) -> Rows:
        return self.index.take(index)

    def label_sets(self, index: Index) -> list[LabelSet]:
        return self.index.label_sets(index)

    def later_label_sets(self, index: Index) -> Callable[[], list[LabelSet]]:
        return self.index.pick_labels(index).sets

    def types(self) -> Sequence[str]:
        return self.index.types


_NO_DEATHS: tuple[NDArray[np.uint32], NDArray[np.uint64]] = (np.empty(0, np.uint32), np.empty(0, np.uint64))


class TailSource:
    """The tail of a state, as of a seq not above the state's."""

    __slots__ = ("_columns", "_order", "_rows", "_sorted", "_tail", "t_max", "t_min")

    def __init__(self, state: EntryState, seq: int) -> None:
        tail, n = state.tail, state.n
        rows = tail.rows[:n]
        alive = tail.died[:n] > np.uint64(seq)
        if seq < state.seq:
            alive &= rows["seq"] <= np.uint64(seq)
        order: Index = np.flatnonzero(alive)
        times = rows["time"][order]
        if not state.ordered:
            by_time = np.argsort(times, kind="stable")
            order, times = order[by_time], times[by_time]
        self._take_in(tail, rows, order, times)

    def _take_in(self, tail: object, rows: Rows, order: Index, times: NDArray[np.uint64]) -> None:
        self._tail = tail
        self._rows = rows
        self._order = order
        self._sorted = times
        self._columns: dict[str, tuple[NDArray[np.int32], list[str]]] = {}
        self.t_min = int(times[0]) if len(times) else 0
        self.t_max = int(times[-1]) if len(times) else -1

    @classmethod
    def of_rows(cls, state: EntryState, order: Index) -> TailSource:
        """Certain rows of the state's tail, whatever became of them since."""
        source = cls.__new__(cls)
        rows = state.tail.rows[: state.n]
        times = rows["time"][order]
        by_time = np.argsort(times, kind="stable")
        source._take_in(state.tail, rows, order[by_time], times[by_time])
        return source

    def select(self, start: int, stop: int) -> Index:
        first, last = bounds(self._sorted, start, stop)
        return self._order[first:last]

    def times(self, index: Index) -> NDArray[np.uint64]:
        return self._rows["time"][index]

    def label(self, name: str, index: Index) -> LabelColumn | None:
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = _column(self._tail.sets, name)  # type: ignore[attr-defined]
        codes, values = found
        return LabelColumn(codes[self._rows["set"][index]], values) if values else None

    @property
    def label_names(self) -> Sequence[str]:
        return sorted({name for labels in list(self._tail.sets) for name, _ in labels})  # type: ignore[attr-defined]

    def field(self, name: str, index: Index) -> NDArray[np.uint64]:
        return self._rows[name][index].astype(np.uint64)

    def take(self, index: Index) -> Rows:
        return self._rows[index]

    def label_sets(self, index: Index) -> list[LabelSet]:
        sets = self._tail.sets  # type: ignore[attr-defined]
        return [sets[number] for number in self._rows["set"][index].tolist()]

    def later_label_sets(self, index: Index) -> Callable[[], list[LabelSet]]:
        found = self.label_sets(index)  # they are there already
        return lambda: found

    def types(self) -> Sequence[str]:
        types: Sequence[str] = self._tail.types  # type: ignore[attr-defined]
        return types


def _column(sets: Sequence[LabelSet], name: str) -> tuple[NDArray[np.int32], list[str]]:
    """A label's code per label set."""
    numbers: dict[str, int] = {}
    codes = [
        next((numbers.setdefault(value, len(numbers)) for key, value in labels if key == name), -1)
        for labels in list(sets)
    ]
    return np.array(codes, np.int32), list(numbers)


def stack(parts: Sequence[LabelColumn | None], lengths: Sequence[int]) -> LabelColumn:
    """Columns one behind the other, of so many rows each; None: no row of a part has the label."""
    seen: dict[str, int] = {}
    codes = []
    for column, length in zip(parts, lengths, strict=True):
        if column is None:
            codes.append(np.full(length, -1, np.int32))
        else:
            table = np.array([seen.setdefault(value, len(seen)) for value in column.values] + [-1], np.int32)
            codes.append(table[column.codes])
    return LabelColumn(np.concatenate(codes) if codes else np.empty(0, np.int32), list(seen))


class Batch(NamedTuple):
    """Visible rows of one or several sources that overlap in time, ascending in time."""

    times: NDArray[np.uint64]
    sources: Sequence[Source]
    which: NDArray[np.intp] | None  # source of each row; None: there is one source
    at: Index  # row within its source

    def __len__(self) -> int:
        return len(self.times)

    def label(self, name: str) -> LabelColumn | None:
        """See LabelColumn; values of several sources stand one behind the other."""
        if self.which is None:
            return self.sources[0].label(name, self.at)
        codes = np.full(len(self.times), -1, np.int32)
        values: list[str] = []
        seen: dict[str, int] = {}
        any_ = False
        for number, source in enumerate(self.sources):
            mine = np.flatnonzero(self.which == number)
            column = source.label(name, self.at[mine])
            if column is None:
                continue
            any_ = True
            table = np.array([seen.setdefault(value, len(seen)) for value in column.values] + [-1], np.int32)
            codes[mine] = table[column.codes]
        values = list(seen)
        return LabelColumn(codes, values) if any_ else None

    @property
    def label_names(self) -> Sequence[str]:
        """Names that some rows of its sources have, ascending."""
        if self.which is None:
            return self.sources[0].label_names
        return sorted({name for source in self.sources for name in source.label_names})

    def field(self, name: str) -> NDArray[np.uint64]:
        """One field of every row, but `seq`, `set` and `type`."""
        if self.which is None:
            return self.sources[0].field(name, self.at)
        found = np.empty(len(self.times), np.uint64)
        for number, source in enumerate(self.sources):
            mine = np.flatnonzero(self.which == number)
            found[mine] = source.field(name, self.at[mine])
        return found

    def types(self) -> LabelColumn:
        """The content types."""
        parts = []
        for number, source in enumerate(self.sources):
            at = self.at if self.which is None else self.at[self.which == number]
            parts.append(LabelColumn(source.field("type", at).astype(np.int32), source.types()))
        if self.which is None:
            return parts[0]
        stacked, codes = stack(parts, [len(part.codes) for part in parts]), np.empty(len(self.times), np.int32)
        codes[np.argsort(self.which, kind="stable")] = stacked.codes
        return LabelColumn(codes, stacked.values)

    def part(self, rows: Index | slice) -> Batch:
        which = None if self.which is None else self.which[rows]
        return Batch(self.times[rows], self.sources, which, self.at[rows])

    def later_label_sets(self) -> Callable[[], list[LabelSet]]:
        """See Source: of every row."""
        if self.which is None:
            return self.sources[0].later_label_sets(self.at)
        parts = [np.flatnonzero(self.which == number) for number in range(len(self.sources))]
        later = [source.later_label_sets(self.at[mine]) for source, mine in zip(self.sources, parts, strict=True)]

        def sets() -> list[LabelSet]:
            found: list[LabelSet] = [()] * len(self.times)
            for mine, part in zip(parts, later, strict=True):
                for place, labels in zip(mine.tolist(), part(), strict=True):
                    found[place] = labels
            return found

        return sets


def merged(sources: Sequence[Source], start: int, stop: int) -> Batch:
    """All visible rows of these sources in start <= time < stop."""
    if len(sources) == 1:
        index = sources[0].select(start, stop)
        return Batch(sources[0].times(index), sources, None, index)
    selected = [source.select(start, stop) for source in sources]
    times = np.concatenate([source.times(index) for source, index in zip(sources, selected, strict=True)])
    which = np.repeat(np.arange(len(sources)), [len(index) for index in selected])
    order = np.argsort(times, kind="stable")
    return Batch(times[order], sources, which[order], np.concatenate(selected)[order])


class Cluster(NamedTuple):
    """Sections (and the tail: None) that overlap in time, and the stretch they cover; clusters do not overlap."""

    members: tuple[Section | None, ...]
    t_min: int
    t_max: int


def clusters(sections: Sequence[Section], tail: tuple[int, int] | None, start: int, stop: int) -> list[Cluster]:
    """What lies in start <= time < stop, in order. `tail`: first and last time of the tail, None if it is empty."""
    spans: list[tuple[int, int, Section | None]] = [
        (section.t_min, section.t_max, section)
        for section in sections
        if section.t_min < stop and section.t_max >= start
    ]
    if tail is not None and tail[0] < stop and tail[1] >= start:
        spans.append((*tail, None))
    spans.sort(key=lambda span: (span[0], span[1]))
    found: list[Cluster] = []
    for t_min, t_max, member in spans:
        if found and t_min <= found[-1].t_max:
            last = found[-1]
            found[-1] = Cluster((*last.members, member), last.t_min, max(last.t_max, t_max))
        else:
            found.append(Cluster((member,), t_min, t_max))
    return found


OpenSection = Callable[[Section, int], SectionSource]
"""(section, seq) -> its source; reads the index. Raises Corrupt, NotFound."""

__all__ = [
    "FOREVER",
    "Batch",
    "Cluster",
    "Index",
    "LAST_TIME",
    "OpenSection",
    "SectionSource",
    "Source",
    "TailSource",
    "bounds",
    "clusters",
    "merged",
    "stack",
]
