"""Labels of a section, row by row as they come, into columns by name (FORMAT.md, Labels).

Names that many rows have get a column; the others share groups, so that a section in which every record has labels
of its own costs what it holds and not names times rows. Everything but the first pass over the texts is NumPy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.records.column import write_column
from lamina.records.labels import LabelSet, LabelStats
from lamina.records.numbers import Floats, numbers_of
from lamina.records.stats import describe, write_stats
from lamina.records.stored import store, write_number, write_text
from lamina.records.texts import write_texts

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

Ints = NDArray[np.int64]

SHARE = 16
"""A name that at least one row in so many has gets a column: what its absence costs elsewhere is next to nothing."""
MOST_COLUMNS = 1024
"""Names with a column: the description of one takes about 80 bytes and 20 µs of every reader."""
GROUP_PAIRS = 1 << 16
"""Rows and values that names without a column share a group up to: it is read as a whole, in about 1 ms."""
STATS_NAMES = 256
"""Labels described in the statistics: more would not fit."""
FRESH_SHARE = 4
"""A column in which one row in so many has a value for the first time is written as such (FRESH)."""

EVERYWHERE, FRESH = 1, 2
NO_NUMBERS, FLOATS, DECIMALS = 0, 1, 2

MOST_DIGITS = 9
"""Decimals of a number that are tried; powers up to 10**22 are exact in float64."""
_EXACT = float(1 << 53)


class _Pairs(NamedTuple):
    """All labels of all distinct sets, by name, then by set."""

    names: list[str]  # distinct, ascending
    bounds: Ints  # pairs of names[i] are bounds[i] .. bounds[i + 1]
    sets: Ints  # [pair] number of the set
    labels: Ints  # [pair] index into `distinct`
    distinct: list[tuple[str, str]]
    places: Ints  # [distinct] of the value among those of its name, in order of appearance, from 1
    by_name: Ints  # indexes into `distinct`, by name, then by place
    starts: Ints  # those of names[i] are starts[i] .. starts[i + 1]

    def values(self, i: int) -> list[str]:
        """The distinct values of names[i], in order of appearance."""
        return [self.distinct[j][1] for j in self.by_name[self.starts[i] : self.starts[i + 1]].tolist()]


def write_labels(out: SegmentWriter, sets: Sequence[LabelSet], chosen: Ints | None, n: int) -> tuple[bytes, bytes]:
    """Write the labels of n rows; (table, statistics). `sets`: in the order in which the rows first use them;
    `chosen`: the set of each row, None: row i has set i."""
    pairs = _collect(sets)
    rows = np.ones(len(sets), np.int64) if chosen is None else np.bincount(chosen, minlength=len(sets))
    filled = np.add.reduceat(rows[pairs.sets], pairs.bounds[:-1]) if pairs.names else np.empty(0, np.int64)
    dense = filled * SHARE >= n
    if np.count_nonzero(dense) > MOST_COLUMNS:
        dense[:] = False
        dense[np.argsort(-filled, kind="stable")[:MOST_COLUMNS]] = True
    described = set(range(len(pairs.names)))
    if len(described) > STATS_NAMES:  # not complete anyway: the rare ones would only take space
        described = {i for i in np.argsort(-filled, kind="stable")[:STATS_NAMES].tolist() if dense[i]}
    stats: list[tuple[str, LabelStats]] = []
    columns: list[bytes] = []
    for i in np.flatnonzero(dense).tolist():
        name, whole = pairs.names[i], int(filled[i]) == n
        codes, values = _codes(pairs, i, len(sets)), pairs.values(i)
        if chosen is not None:
            codes = codes[chosen]
        numbers = numbers_of(values)
        columns.append(_column(out, name, whole, codes, values, numbers))
        if i in described:
            stats.append((name, describe(whole, values, numbers)))
    groups = _groups(out, pairs, dense, chosen, rows)
    for i in sorted(described.intersection(np.flatnonzero(~dense).tolist())):
        values = pairs.values(i)
        stats.append((pairs.names[i], describe(int(filled[i]) == n, values, numbers_of(values))))
    table = write_number(len(columns)) + write_number(len(groups)) + b"".join(columns) + b"".join(groups)
    return table, write_stats(sorted(stats, key=lambda stat: stat[0]), len(described) == len(pairs.names))


def _collect(sets: Sequence[LabelSet]) -> _Pairs:
    # One pass over pairs, not one over names and one over values: half of what all this costs.
    numbers: defaultdict[tuple[str, str], int] = defaultdict(count().__next__)
    lengths = np.fromiter(map(len, sets), np.int64, len(sets))
    labels = np.fromiter(map(numbers.__getitem__, chain.from_iterable(sets)), np.int64, int(lengths.sum()))
    distinct = list(numbers)
    names = sorted({name for name, _ in distinct})
    rank = {name: i for i, name in enumerate(names)}
    owner = np.fromiter((rank[name] for name, _ in distinct), np.int64, len(distinct))
    by_name, starts = _grouped(owner, len(names))
    places = np.empty(len(distinct), np.int64)
    places[by_name] = np.arange(1, len(distinct) + 1) - starts[owner[by_name]]
    order, bounds = _grouped(owner[labels], len(names))
    sets_of = np.repeat(np.arange(len(sets)), lengths)
    return _Pairs(names, bounds, sets_of[order], labels[order], distinct, places, by_name, starts)


def _grouped(owners: Ints, groups: int) -> tuple[Ints, Ints]:
    """What sorts by owner, stable, and where each owner's begin, with the end of all."""
    starts = np.zeros(groups + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=groups), out=starts[1:])
    small = owners.astype(np.uint16) if groups <= 1 << 16 else owners  # sorted by counting
    return np.argsort(small, kind="stable"), starts


def _codes(pairs: _Pairs, i: int, sets: int) -> Ints:
    """For each set the place of its value of names[i]; 0: it has none."""
    part = slice(int(pairs.bounds[i]), int(pairs.bounds[i + 1]))
    codes = pairs.places[pairs.labels[part]]
    if len(codes) == sets:
        return codes
    spread = np.zeros(sets, np.int64)
    spread[pairs.sets[part]] = codes
    return spread


def _column(out: SegmentWriter, name: str, whole: bool, codes: Ints, values: list[str], numbers: Floats) -> bytes:
    flags = EVERYWHERE if whole else 0
    if FRESH_SHARE * len(values) > len(codes):
        flags |= FRESH
        so_far = np.maximum.accumulate(codes)
        fresh = codes > np.concatenate(([0], so_far[:-1]))
        codes = np.where(fresh, 1, np.where(codes > 0, codes + 1, 0))
    head = write_text(name) + bytes((flags,)) + write_texts(out, values)
    return head + write_column(out, codes.view(np.uint64)) + _numbers(out, numbers)


def _numbers(out: SegmentWriter, numbers: Floats) -> bytes:
    if np.isnan(numbers).all():
        return bytes((NO_NUMBERS,))
    for digits in range(MOST_DIGITS + 1):
        power = 10.0**digits
        whole = _decimals(numbers[:16], power)
        if whole is not None and (whole := _decimals(numbers, power)) is not None:
            return bytes((DECIMALS, digits)) + write_column(out, whole.view(np.uint64), signed=True, steps=True)
    return bytes((FLOATS,)) + store(out, numbers.astype("<f8").tobytes())


def _decimals(numbers: Floats, power: float) -> Ints | None:
    """The integers that are exactly these numbers once divided by the power of ten, bit for bit; None: there are
    none."""
    with np.errstate(over="ignore"):
        scaled = np.rint(numbers * power)
    if not (np.abs(scaled) < _EXACT).all():
        return None
    whole = scaled.astype(np.int64)
    same = (whole / power).view(np.uint64) == numbers.view(np.uint64)  # tells 0.0 from -0.0
    return whole if same.all() else None


def _groups(
    out: SegmentWriter, pairs: _Pairs, dense: NDArray[np.bool_], chosen: Ints | None, rows: Ints
) -> list[bytes]:
    names = np.flatnonzero(~dense)
    if not len(names):
        return []
    counts = np.diff(pairs.bounds)
    owners = np.repeat(np.arange(len(dense)), counts)
    kept = np.flatnonzero(~dense[owners])
    owners, sets, labels = owners[kept], pairs.sets[kept], pairs.labels[kept]
    if chosen is not None:
        owners, sets, labels = _spread(owners, sets, labels, chosen, rows)
    counts = np.bincount(owners, minlength=len(dense))[names]
    ends = np.cumsum(counts)
    found = []
    cut = np.flatnonzero(np.diff((ends - 1) // GROUP_PAIRS)) + 1
    first = 0
    for part in np.split(np.arange(len(names)), cut):
        last = int(ends[part[-1]])
        mine = [pairs.names[i] for i in names[part].tolist()]
        found.append(_group(out, mine, counts[part], sets[first:last], labels[first:last], pairs.distinct))
        first = last
    return found


def _spread(owners: Ints, sets: Ints, labels: Ints, chosen: Ints, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Pairs of sets as pairs of rows, by name, then by row."""
    by_set = np.argsort(chosen, kind="stable")
    starts = np.cumsum(rows) - rows
    times = rows[sets]
    total = int(times.sum())
    within = np.arange(total) - np.repeat(np.cumsum(times) - times, times)
    own = by_set[np.repeat(starts[sets], times) + within]
    owners, labels = np.repeat(owners, times), np.repeat(labels, times)
    order = np.lexsort((own, owners))
    return owners[order], own[order], labels[order]


def _group(
    out: SegmentWriter, names: list[str], counts: Ints, rows: Ints, labels: Ints, distinct: list[tuple[str, str]]
) -> bytes:
    used, places = np.unique(labels, return_inverse=True)
    numbers: defaultdict[str, int] = defaultdict(count().__next__)  # names share values
    codes = np.array([numbers[distinct[i][1]] for i in used.tolist()], np.uint64)
    parts = [
        write_text(names[0]),
        write_number(len(rows)),
        write_texts(out, names),
        write_texts(out, list(numbers)),
        write_column(out, counts.astype(np.uint64)),
        write_column(out, rows.astype(np.uint64), steps=True),
        write_column(out, codes[places], steps=True),
    ]
    return b"".join(parts)
