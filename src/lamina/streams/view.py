"""What one version of a stream consists of: a tree, removals not yet in it, and points not yet in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lamina.columns import Times, Values
from lamina.streams.node import Rows


class Removal(NamedTuple):
    """A pending removal of stored points: a range, or every point at given times. Times are biased.

    `times`, if not None, is sorted and distinct, and [start, end) spans it.
    """

    version: int
    start: int
    end: int
    times: Times | None = None


class View(NamedTuple):
    """One version of a stream, complete: tree, minus removals, plus points.

    The tree may hold points newer than `version` (the version lies inside a coalesced flush): a row with
    row["version"] > version is never decided by its summary; its leaves are decoded and their points filtered by the
    versions recorded in the block (`codecs.leaf.versions`; points without one are older).
    A row that a removal touches is never decided by its summary either.
    Buffered points come behind stored ones of equal time.
    """

    root: Rows  # length 0 or 1
    version: int
    removals: Sequence[Removal]  # apply to the tree only; the points below are filtered already
    times: Times  # biased, sorted, visible at this version
    values: Values


EMPTY_TIMES: Times = np.empty(0, np.int64)
EMPTY_VALUES: Values = np.empty(0, np.float64)
