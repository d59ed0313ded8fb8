"""Which ranges of time changed since a version."""

from __future__ import annotations

import numpy as np

from lamina.columns import Ranges, Times
from lamina.storage.blocks import BlockReader
from lamina.streams.bounds import check_exponent
from lamina.streams.descend import children, spans
from lamina.streams.node import BIAS, INNER, Rows
from lamina.time import MAX_TIME, MIN_TIME


def changed_ranges(
    root: Rows,
    read: BlockReader,
    from_version: int,
    resolution: int,
    extra: tuple[Times, Times] | None = None,
) -> Ranges:
    """Ranges that contain every time changed after `from_version`, sorted, disjoint and not touching.

    Edges are multiples of 2**resolution cut to [MIN_TIME, MAX_TIME). `extra`: biased starts and ends of changes that
    are not in the tree yet, in any order. Ranges may be wider than the changes (a leaf's window at least), never
    narrower; nothing changed gives none. Reads the changed inner nodes wider than 2**resolution ns, no leaf.
    Raises InvalidWidth.
    """
    check_exponent(resolution, "resolution")
    none = np.empty(0, np.int64)
    starts, ends = ([none], [none]) if extra is None else ([extra[0]], [extra[1]])
    rows = root
    while len(rows):
        rows = rows[rows["version"] > from_version]
        settled = (rows["kind"] != INNER) | (rows["pw"] <= resolution)
        low, high = spans(rows[settled])
        starts.append(low)
        ends.append(high)
        rows = children(read, rows[~settled])
    return _coalesce(np.concatenate(starts) - BIAS, np.concatenate(ends) - BIAS, resolution)


def _coalesce(starts: Times, ends: Times, resolution: int) -> Ranges:
    """Round outwards, cut and join unbiased ranges. The mask keeps 2**63 out of int64."""
    mask = (1 << resolution) - 1
    starts = np.maximum(starts & ~mask, MIN_TIME)
    ends = np.minimum((ends - 1) | mask, MAX_TIME - 1) + 1
    order = starts.argsort(kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    first = np.ones(len(starts), bool)
    first[1:] = starts[1:] > reach[:-1]
    last = np.append(first[1:], True)[: len(starts)]
    return Ranges(starts[first], reach[last])
