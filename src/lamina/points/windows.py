"""Count, min, mean, max and stddev of a numeric field per window of time, as of a seq.

Sections overlap, points come late, and several measurements may be asked at once: each part gives summaries per window,
one merge at the end makes rows of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.errors import InvalidArgument
from lamina.points import windowparts
from lamina.points.batch import MAX_TIME_US, MIN_TIME_US, Batch, Interned, Numbers, TagSet
from lamina.points.field import FieldColumn
from lamina.points.search import Open, select
from lamina.points.state import MeasurementState
from lamina.points.summary import Summary, joined, merged
from lamina.points.windowparts import Parts
from lamina.points.windowtable import WindowTable

Group = tuple[str | None, ...]


def windows(
    states: Sequence[MeasurementState],
    seq: int,
    opened: Open,
    field: str,
    start_us: int | None,
    end_us: int | None,
    width_us: int,
    keys: Sequence[str] = (),
) -> WindowTable:
    """Statistics of the numbers of one field per window [k * width, (k + 1) * width), of the points of all states that
    live as of a seq, start <= time < end (None: open).

    Floats but NaN and ints are numbers, booleans are none; an int beyond 2**53 counts as the nearest float. `keys`: one
    row per window and combination of these tags' values; reads times, tags and the field whole. Without them, what is
    kept of pages settles most: an edge costs about 2 KB. Raises InvalidArgument, Corrupt, NotFound.
    """
    if width_us <= 0:
        raise InvalidArgument(f"width {width_us} µs: expected more than 0")
    if len(set(keys)) < len(keys):
        raise InvalidArgument(f"by={list(keys)!r}: expected each tag key once")
    first, last = MIN_TIME_US if start_us is None else start_us, MAX_TIME_US if end_us is None else end_us - 1
    groups: Interned[Group] = Interned()
    found: list[tuple[NDArray[np.int64], Parts]] = []
    for state in states:
        if keys:
            found += _grouped(state, seq, opened, field, first, last, width_us, keys, groups)
        else:
            found += _ungrouped(state, seq, opened, field, first, last, width_us)
    return _table(found, width_us, keys, groups.values)


def _ungrouped(
    state: MeasurementState, seq: int, opened: Open, field: str, first: int, last: int, width: int
) -> list[tuple[NDArray[np.int64], Parts]]:
    parts = []
    for section in state.sections:
        row = section.row
        if row.t_max < first or row.t_min > last or row.min_seq > seq or 0 < section.dead <= seq:
            continue
        part = windowparts.of_section(opened(section), seq, field, first, last, width)
        if part is not None:
            parts.append(part)
    if state.n:
        batch = state.tail.batch(state.n)
        column = batch.fields.get(field)
        alive = state.alive(seq)
        if column is not None and len(alive):
            times, values = batch.time_us[alive], _numbers(column.take(alive))
            inside = (times >= first) & (times <= last)
            parts.append(windowparts.of_rows(times[inside], values[inside], width)[0])
    return [(np.zeros(len(part.window), np.int64), part) for part in parts]


def _grouped(
    state: MeasurementState,
    seq: int,
    opened: Open,
    field: str,
    first: int,
    last: int,
    width: int,
    keys: Sequence[str],
    groups: Interned[Group],
) -> list[tuple[NDArray[np.int64], Parts]]:
    selection = select(state, seq, opened, "", None, first, last + 1)
    tail: Batch | None = None
    out = []
    for part in selection.parts:
        if part.section is not None:
            reader = part.section.reader
            rows = None if len(part.rows) == reader.n else part.rows
            values = reader.numbers(field, rows)
            times, tagset, tagsets, _, _ = reader.frame(rows)
        else:
            tail = tail or state.tail.batch(state.n)
            column = tail.fields.get(field)
            if column is None:
                continue
            values = _numbers(column.take(part.rows))
            times, tagset, tagsets = tail.time_us[part.rows], tail.tagset[part.rows], tail.tagsets
        has = ~np.isnan(values)
        numbers = _group_of(tagset[has], tagsets, keys, groups)
        one, group = windowparts.of_rows(times[has], values[has], width, numbers)
        out.append((group, one))
    return out


def _group_of(
    tagset: Numbers, tagsets: Sequence[TagSet], keys: Sequence[str], groups: Interned[Group]
) -> NDArray[np.int64]:
    """The number of each row's group."""
    of_set = np.full(len(tagsets), -1)
    for number in np.flatnonzero(np.bincount(tagset, minlength=len(tagsets))).tolist():
        tags = dict(tagsets[number])
        of_set[number] = groups.number(tuple(tags.get(key) for key in keys))
    return of_set[tagset]


def _numbers(column: FieldColumn) -> NDArray[np.float64]:
    return column.numbers()[0]


def _table(
    found: Sequence[tuple[NDArray[np.int64], Parts]], width: int, keys: Sequence[str], groups: Sequence[Group]
) -> WindowTable:
    none = np.empty(0, np.int64)
    empty = Summary(none, *(np.empty(0) for _ in range(4)))
    summary = joined([empty, *(part.summary for _, part in found)])
    filled = summary.count > 0
    window = np.concatenate([none, *(part.window for _, part in found)])[filled]
    group = np.concatenate([none, *(numbers for numbers, _ in found)])[filled]
    # Groups by their values, None first, whatever order they were met in.
    ranked = sorted(range(len(groups)), key=lambda i: [(value is not None, value or "") for value in groups[i]])
    rank = np.empty(max(len(groups), 1), np.int64)
    rank[ranked or [0]] = np.arange(len(rank))
    order = np.lexsort((window, rank[group]))
    window, group = window[order], group[order]
    new = np.ones(len(window), np.bool_)
    new[1:] = (window[1:] != window[:-1]) | (group[1:] != group[:-1])
    starts = np.flatnonzero(new)
    total = merged(summary.take(filled).take(order), np.cumsum(new) - 1, len(starts))
    with np.errstate(invalid="ignore"):
        stddev = np.sqrt(total.m2 / np.maximum(total.count, 1))
    values = [groups[number] for number in group[starts].tolist()] if keys else []
    by = {key: [value[j] for value in values] for j, key in enumerate(keys)}
    return WindowTable(window[starts] * width, total.count, total.min, total.mean, total.max, stddev, by)
