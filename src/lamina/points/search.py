"""The points of a measurement that a query selects, as of a seq.

Sections that cannot hold one are left out by time, birth and death; of the others, columns are read as the query needs
them. A point is selected exactly if it lives as of the seq, start <= time < end, and `query(point)` is truthy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.points.batch import MAX_TIME_US, MIN_TIME_US, Batch, Numbers, TagSet, concat, empty_batch
from lamina.points.compare import time_window
from lamina.points.field import ABSENT, FieldColumn, constant, joined
from lamina.points.masks import choose
from lamina.points.queries import Query
from lamina.points.section import Section
from lamina.points.sectionread import OpenSection, SectionReader
from lamina.points.state import MeasurementState

Open: TypeAlias = Callable[[Section], OpenSection]
Index: TypeAlias = NDArray[np.intp]
Ordinals: TypeAlias = NDArray[np.uint64]
_T = TypeVar("_T", bound=np.generic)


class TailColumns(NamedTuple):
    """Rows of a tail (None: all) that a query is asked of."""

    whole: Batch
    rows: Index | None
    measurement: str

    @property
    def n(self) -> int:
        return self.whole.n if self.rows is None else len(self.rows)

    def times(self) -> NDArray[np.int64]:
        return self.whole.time_us if self.rows is None else self.whole.time_us[self.rows]

    def tagset(self) -> tuple[Numbers, list[TagSet]]:
        numbers = self.whole.tagset if self.rows is None else self.whole.tagset[self.rows]
        return numbers, list(self.whole.tagsets)

    def field(self, key: str) -> FieldColumn | None:
        column = self.whole.fields.get(key)
        return column if column is None or self.rows is None else column.take(self.rows)

    def batch(self) -> Batch:
        return self.whole if self.rows is None else self.whole.take(self.rows)

    def narrowed(self, rows: Index) -> TailColumns:
        return self._replace(rows=rows if self.rows is None else self.rows[rows])


class SectionColumns(NamedTuple):
    """Rows of a section (None: all) that a query is asked of."""

    reader: SectionReader
    rows: Index | None
    measurement: str

    @property
    def n(self) -> int:
        return self.reader.n if self.rows is None else len(self.rows)

    def times(self) -> NDArray[np.int64]:
        return self.reader.times if self.rows is None else self.reader.times[self.rows]

    def tagset(self) -> tuple[Numbers, list[TagSet]]:
        numbers = self.reader.tagset
        return numbers if self.rows is None else numbers[self.rows], list(self.reader.tagsets)

    def field(self, key: str) -> FieldColumn | None:
        if key not in self.reader.fields:
            return None
        column = self.reader.field(key, self.rows)
        return None if column.kinds is None and column.kind == ABSENT else column

    def batch(self) -> Batch:
        return self.reader.batch(self.rows)

    def narrowed(self, rows: Index) -> SectionColumns:
        return self._replace(rows=rows if self.rows is None else self.rows[rows])


class Part(NamedTuple):
    """Selected rows of one section, or of the tail."""

    section: OpenSection | None  # None: the tail
    rows: Index  # ascending


class Selection:
    """Points that were selected, section after section by (t_min, id), then the tail; in each by row."""

    __slots__ = ("_state", "parts")

    def __init__(self, state: MeasurementState, parts: list[Part]) -> None:
        self._state = state
        self.parts = parts

    @property
    def n(self) -> int:
        return sum(len(part.rows) for part in self.parts)

    @property
    def tail(self) -> Index:
        """Rows of the tail."""
        return next((part.rows for part in self.parts if part.section is None), np.empty(0, np.intp))

    @property
    def sealed(self) -> dict[int, NDArray[np.uint32]]:
        """Rows of sections, by id."""
        return {part.section.section.row.id: part.rows.astype(np.uint32) for part in self.parts if part.section}

    def batch(self) -> Batch:
        """All points, in the order of the parts. Reads what the query has not."""
        if not self.parts:
            return empty_batch()
        tail = self._tail()
        return concat([p.section.reader.batch(_or_all(p)) if p.section else tail.take(p.rows) for p in self.parts])

    def keep(self, chosen: NDArray[np.bool_]) -> Selection:
        """Only some of the points, which are chosen in the order of `batch`."""
        parts = []
        at = 0
        for part in self.parts:
            rows = part.rows[chosen[at : at + len(part.rows)]]
            at += len(part.rows)
            if len(rows):
                parts.append(Part(part.section, rows))
        return Selection(self._state, parts)

    def frames(self) -> Batch:
        """All points without their fields, in the order of `batch`."""
        if not self.parts:
            return empty_batch()
        tail = self._tail()._replace(fields={})
        return concat(
            [Batch(*p.section.reader.frame(_or_all(p)), {}) if p.section else tail.take(p.rows) for p in self.parts]
        )

    def field(self, key: str) -> FieldColumn:
        """One field of all points, in the order of `batch`."""
        column = self._tail().fields.get(key)
        return joined(
            [
                p.section.reader.field(key, _or_all(p))
                if p.section
                else (constant(ABSENT, len(p.rows)) if column is None else column.take(p.rows))
                for p in self.parts
            ]
            or [constant(ABSENT, 0)]
        )

    def ordinals(self) -> Ordinals:
        """In the order of `batch`."""
        state = self._state
        return _joined(
            [p.section.reader.ordinals_of(p.rows) if p.section else state.tail.ordinal[p.rows] for p in self.parts],
            np.uint64,
        )

    def times(self) -> NDArray[np.int64]:
        """In the order of `batch`."""
        tail = self._tail()
        return _joined(
            [p.section.reader.times[p.rows] if p.section else tail.time_us[p.rows] for p in self.parts], np.int64
        )

    def _tail(self) -> Batch:
        return self._state.tail.batch(self._state.n)


def select(
    state: MeasurementState,
    seq: int,
    opened: Open,
    measurement: str,
    query: Query | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
) -> Selection:
    """The points that live as of a seq, with start <= time < end (None: open), for which the query is truthy.

    What a user's function raises comes out; it is asked of every such point within the times. Raises Corrupt, NotFound.
    """
    parts = []
    for section, columns in _candidates(state, seq, opened, measurement, query, start_us, end_us):
        part = _selected(section, columns, query)
        if len(part.rows):
            parts.append(part)
    return Selection(state, parts)


def count(
    state: MeasurementState,
    seq: int,
    opened: Open,
    measurement: str,
    query: Query | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
) -> int:
    """How many points `select` selects. Of all that live now, without reading anything."""
    if query is None and start_us is None and end_us is None and seq >= state.seq:
        return state.living
    total = 0
    for _, columns in _candidates(state, seq, opened, measurement, query, start_us, end_us):
        choice = True if query is None else choose(_rest(query), columns)
        total += (columns.n if choice else 0) if isinstance(choice, bool) else int(np.count_nonzero(choice))
    return total


def latest_time(state: MeasurementState, seq: int, opened: Open) -> int | None:
    """The greatest time of the points that live as of a seq, µs; None without points. Raises Corrupt, NotFound."""
    alive = state.alive(seq)
    latest = int(state.tail.batch(state.n).time_us[alive].max()) if len(alive) else None
    for section in sorted(state.sections, key=lambda section: section.row.t_max, reverse=True):
        if latest is not None and section.row.t_max <= latest:
            break
        if section.row.min_seq > seq or 0 < section.dead <= seq:
            continue
        open_section = opened(section)
        living = open_section.living(seq)
        times = open_section.reader.times if living is None else open_section.reader.times[living]
        if len(times):
            latest = max(int(times[-1]), MIN_TIME_US if latest is None else latest)
    return latest


def _selected(section: OpenSection | None, columns: TailColumns | SectionColumns, query: Query | None) -> Part:
    choice = True if query is None else choose(_rest(query), columns)
    if choice is False:
        return Part(section, np.empty(0, np.intp))
    rows = np.arange(columns.n) if columns.rows is None else columns.rows
    return Part(section, rows if choice is True else rows[choice])


def _rest(query: Query) -> Query:
    """What is still to be asked within the query's own window of time."""
    rest = time_window(query)[2]
    return query if rest is None else rest


def _candidates(
    state: MeasurementState,
    seq: int,
    opened: Open,
    measurement: str,
    query: Query | None,
    start_us: int | None,
    end_us: int | None,
) -> Iterator[tuple[OpenSection | None, TailColumns | SectionColumns]]:
    """Where selected points may be: rows that live and are within the times."""
    first, last = MIN_TIME_US if start_us is None else start_us, MAX_TIME_US if end_us is None else end_us - 1
    if query is not None:
        low, high, _ = time_window(query)
        first, last = first if low is None else max(first, low), last if high is None else min(last, high)
    for section in state.sections:
        row = section.row
        if row.t_max < first or row.t_min > last or row.min_seq > seq or 0 < section.dead <= seq:
            continue
        open_section = opened(section)
        rows = _rows_of(open_section, seq, first, last)
        if rows is None or len(rows):
            yield open_section, SectionColumns(open_section.reader, rows, measurement)
    if state.n:
        batch = state.tail.batch(state.n)
        living = state.tail.died[: state.n] > np.uint64(seq)
        if seq < state.seq:
            living &= state.tail.seq[: state.n] <= np.uint64(seq)
        if first > MIN_TIME_US or last < MAX_TIME_US:
            living &= (batch.time_us >= first) & (batch.time_us <= last)
        if living.all():
            yield None, TailColumns(batch, None, measurement)
        elif living.any():
            yield None, TailColumns(batch, np.flatnonzero(living), measurement)


def _rows_of(section: OpenSection, seq: int, first: int, last: int) -> Index | None:
    """Rows that live and are within the times, both inclusive; None: all."""
    row, reader = section.section.row, section.reader
    low, high = 0, reader.n
    if row.t_min < first or row.t_max > last:
        times = reader.times
        low, high = int(np.searchsorted(times, first, "left")), int(np.searchsorted(times, last, "right"))
    living = section.living(seq)
    if living is not None:
        return np.flatnonzero(living[low:high]) + low
    return None if high - low == reader.n else np.arange(low, high)


def _or_all(part: Part) -> Index | None:
    assert part.section is not None, "of a section"
    return None if len(part.rows) == part.section.reader.n else part.rows


def _joined(parts: list[NDArray[_T]], dtype: type[_T]) -> NDArray[_T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
