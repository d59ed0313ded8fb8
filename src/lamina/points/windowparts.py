"""What a section, or any rows, contribute to windows of time: per window one or more summaries.

What is known of chunks, quarters and pages settles all that lies inside one window. Only pages that an edge cuts, or in
which somebody has died, are decoded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.points import marks as m
from lamina.points.field import FLOAT, INT
from lamina.points.locate import locate
from lamina.points.pagedread import Descent, PagedColumn
from lamina.points.sectionread import FieldPart, OpenSection
from lamina.points.summary import Summary, joined, of_values

_I64 = NDArray[np.int64]


class Parts(NamedTuple):
    """Summaries, and the window that each belongs to: window k is [k * width, (k + 1) * width)."""

    window: _I64
    summary: Summary


def of_rows(times: _I64, values: NDArray[np.float64], width: int, of: _I64 | None = None) -> tuple[Parts, _I64]:
    """Of rows in any order, NaN is no value; `of`: the group of each row. With the group of each summary (0: none)."""
    window = times // width
    group = np.zeros(len(window), np.int64) if of is None else of
    if not (window[1:] >= window[:-1]).all():
        window, values, group = _sorted(np.argsort(window, kind="stable"), window, values, group)
    if of is not None:
        # Few groups are sorted by their digits, in linear time.
        small = group.astype(np.int16) if len(group) and int(group.max()) < 1 << 15 else group
        window, values, group = _sorted(np.argsort(small, kind="stable"), window, values, group)
    new = np.ones(len(window), np.bool_)
    new[1:] = (window[1:] != window[:-1]) | (group[1:] != group[:-1])
    starts = np.flatnonzero(new)
    return Parts(window[starts], of_values(values, np.cumsum(new) - 1, len(starts))), group[starts]


def _sorted(
    order: NDArray[np.intp], window: _I64, values: NDArray[np.float64], group: _I64
) -> tuple[_I64, NDArray[np.float64], _I64]:
    return window[order], values[order], group[order]


def of_section(section: OpenSection, seq: int, field: str, first: int, last: int, width: int) -> Parts | None:
    """Of the rows that live as of a seq, with first <= time <= last. None: there is no number."""
    row, reader = section.section.row, section.reader
    part = reader.fields.get(field)
    low, high = max(first, row.t_min), min(last, row.t_max)
    if part is None or part.numbers is None or low > high:
        return None
    living = section.living(seq)
    dead = np.empty(0, np.intp) if living is None else np.flatnonzero(~living)
    count = high // width - low // width
    if 2 * (count + len(np.unique(dead // part.numbers.sizes.page))) > part.numbers.pages:
        times = reader.times
        rows = slice(np.searchsorted(times, low, "left"), np.searchsorted(times, high, "right"))
        values = reader.numbers(field)
        values[dead] = np.nan
        return of_rows(times[rows], values[rows], width)[0]
    # Segment i holds what is before edge i and not before the one ahead of it.
    edges = [width * k for k in range(low // width + 1, high // width + 1)]
    windows = list(range(low // width, high // width + 1))
    outside = [False] * len(windows)
    if low > row.t_min:
        edges, windows, outside = [low, *edges], [0, *windows], [True, *outside]
    if high < row.t_max:
        edges, windows, outside = [*edges, high + 1], [*windows, 0], [*outside, True]
    cuts = locate(reader.time, np.array(edges, np.int64))
    rows_at, summary = _pieces(part, part.numbers, cuts, dead)
    segment = np.searchsorted(cuts, rows_at, "right")
    inside = ~np.array(outside)[segment]
    return Parts(np.array(windows, np.int64)[segment][inside], summary.take(inside))


def _pieces(part: FieldPart, column: PagedColumn, cuts: _I64, dead: NDArray[np.intp]) -> tuple[_I64, Summary]:
    """Summaries of pieces that no cut goes through, and the first row of each. `cuts` ascends."""
    n = column.n
    page, quarter, chunk = column.sizes

    def cut(size: int) -> _I64:
        """Units that are not whole, or that somebody has died in."""
        return np.unique(np.concatenate((cuts[(cuts % size != 0) & (cuts < n)] // size, dead // size)))

    chunks, quarters, pages = cut(chunk), cut(quarter), cut(page)
    descent = Descent(column)
    whole = np.ones(len(descent.top), np.bool_)
    whole[chunks] = False
    rows = [np.flatnonzero(whole) * chunk]
    found = [m.summary_of(descent.top[whole])]
    for size, parents, broken, read in (
        (quarter, chunks, quarters, descent.chunks),
        (page, quarters, pages, descent.quarters),
    ):
        if not len(parents):
            break
        children = (parents[:, None] * m.FAN + np.arange(m.FAN)).ravel()
        keep = ~np.isin(children, broken) & (children < m.units(n, size))
        rows.append(children[keep] * size)
        found.append(m.summary_of(read(parents)).take(keep))
    if len(pages):
        rows_of, values = _values(part, column, descent, pages)
        values[np.isin(rows_of, dead, kind="sort")] = np.nan
        segment = np.searchsorted(cuts, rows_of, "right")
        starts = np.flatnonzero(np.diff(segment, prepend=-1))
        groups = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(segment)))
        rows.append(rows_of[starts])
        found.append(of_values(values, groups, len(starts)))
    return np.concatenate(rows), joined(found)


def _values(part: FieldPart, column: PagedColumn, descent: Descent, pages: _I64) -> tuple[_I64, NDArray[np.float64]]:
    """Rows of some pages, and their numbers; NaN where there is none."""
    size = column.sizes.page
    rows = (pages[:, None] * size + np.arange(size)).ravel()
    real = rows < column.n
    rows, values = rows[real], descent.pages(pages).ravel()[real].astype(np.float64)
    if part.kinds is not None:
        kinds = part.kinds.take(rows)
        values[(kinds != FLOAT) & (kinds != INT)] = np.nan
    return rows, values
