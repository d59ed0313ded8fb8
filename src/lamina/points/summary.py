"""Summary arithmetic of numeric fields: count, min, max, mean and M2, never a sum of squares.

M2 is the sum of squared deviations from the mean. Sums are taken relative to a value of the group, so that the error
depends on the spread of the data and not on its distance from zero. NaN is no number here and is left out; with an
infinity the mean is what NumPy's is, and M2 is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Summary(NamedTuple):
    """One summary per group. Of a group without numbers, everything is 0."""

    count: NDArray[np.int64]  # type: ignore[assignment]  # hides tuple.count, as the column is named
    min: F64
    max: F64
    mean: F64
    m2: F64

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Summary:
        return Summary._make(column[index] for column in self)


def of_values(values: F64, groups: NDArray[np.int64], n: int) -> Summary:
    """Summaries of n groups; `groups` ascends and says which group each value is in. Costs 10 ns a value."""
    numbers = ~np.isnan(values)
    if not numbers.all():
        values, groups = values[numbers], groups[numbers]
    zeros = np.zeros(len(values))
    return merged(Summary(np.ones(len(values), np.int64), values, values, values, zeros), groups, n)


def merged(parts: Summary, groups: NDArray[np.int64], n: int) -> Summary:
    """Summaries of n groups out of those of their parts (Chan et al. 1979); `groups` ascends. Empty parts count for
    nothing."""
    filled = parts.count > 0
    if not filled.all():
        parts, groups = parts.take(filled), groups[filled]
    out = Summary(np.zeros(n, np.int64), *(np.zeros(n) for _ in range(4)))
    if not len(groups):
        return out
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    sizes = np.diff(starts, append=len(groups))
    counts = np.add.reduceat(parts.count, starts)
    weights = parts.count.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        base = parts.mean[starts]
        centred = parts.mean - np.repeat(base, sizes)
        offset = np.add.reduceat(weights * centred, starts) / counts
        mean = base + offset
        centred -= np.repeat(offset, sizes)
        m2 = np.add.reduceat(parts.m2 + weights * (centred * centred), starts)
    low, high = np.minimum.reduceat(parts.min, starts), np.maximum.reduceat(parts.max, starts)
    for i in np.flatnonzero(~np.isfinite(mean)).tolist():
        # A difference overflowed, or there are infinities: scale before adding.
        part = slice(starts[i], starts[i] + sizes[i])
        with np.errstate(invalid="ignore"):
            mean[i] = np.sum(parts.mean[part] * (weights[part] / counts[i]))
        m2[i] = np.inf if np.isfinite(mean[i]) else np.nan
    finite = np.isfinite(mean)
    mean[finite] = np.clip(mean[finite], low[finite], high[finite])
    where = groups[starts]
    for column, found in zip(out, (counts, low, high, mean, m2), strict=True):
        column[where] = found
    return out


def joined(parts: Sequence[Summary]) -> Summary:
    """All parts, one behind the other."""
    return Summary._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
