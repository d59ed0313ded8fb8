"""The one loop behind every query: all rows of a level at once, never one node at a time.

The frontier is an array of rows, ascending and disjoint in time. Each step drops what is of no interest, lets
the query settle rows by their summaries, sets leaves aside and fetches the children of the rest in one batch.
A query therefore costs depth x a constant plus the rows it looks at.

A summary is **trusted** unless the view says something else than the tree about its row: the row holds points
newer than the view's version, or a pending removal touches it. Untrusted rows are descended to their leaves,
whose points are filtered (`leaves`). Rows without points, and rows that a range removal covers, contribute
nothing to any view and are dropped on sight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Times
from lamina.storage.blocks import BlockReader
from lamina.streams.node import INNER, LEAF, NO_ROWS, Rows
from lamina.streams.removals import Ranges
from lamina.streams.view import View

Mask: TypeAlias = NDArray[np.bool_]
Settle: TypeAlias = Callable[[Rows, Times, Times, "Mask | None"], Mask]
"""(rows, their starts, their ends, which are trusted or None for all) -> which are settled and need no
descent."""

_ONE = np.int64(1)


def spans(rows: Rows) -> tuple[Times, Times]:
    """Start and end of the window of each row, biased, contiguous."""
    starts = np.ascontiguousarray(rows["t0"])
    return starts, starts + (_ONE << rows["pw"].astype(np.int64))


class Sieve:
    """What a view says about rows of its tree."""

    __slots__ = ("_newer", "_version", "removed")

    def __init__(self, view: View) -> None:
        self.removed = Ranges(view.removals) if view.removals else None
        self._version = view.version
        self._newer = len(view.root) > 0 and int(view.root["version"][0]) > view.version

    def rows(self, rows: Rows, low: int, high: int) -> tuple[Rows, Times, Times, Mask | None]:
        """Rows that overlap [low, high) and may hold points of the view, their spans, and which are trusted.

        None: all of them.
        """
        starts, ends = spans(rows)
        i, j = int(ends.searchsorted(low, "right")), int(starts.searchsorted(high, "left"))
        if j - i < len(rows):
            rows, starts, ends = rows[i:j], starts[i:j], ends[i:j]
        keep = rows["count"] != 0
        trusted: Mask | None = None
        if self.removed is not None:
            touched, covered, _ = self.removed.hits(rows)
            keep &= ~covered
            trusted = ~touched
        if self._newer:
            old: Mask = rows["version"] <= self._version
            trusted = old if trusted is None else trusted & old
        if not keep.all():
            rows, starts, ends = rows[keep], starts[keep], ends[keep]
            trusted = None if trusted is None else trusted[keep]
        return rows, starts, ends, trusted


def children(read: BlockReader, rows: Rows) -> Rows:
    """The rows below all of these inner rows, in order."""
    return read.nodes(rows["base"]) if len(rows) else NO_ROWS


def descend(view: View, read: BlockReader, low: int, high: int, settle: Settle | None = None) -> Rows:
    """The leaf rows overlapping [low, high) that `settle` left over, ascending in time.

    Without `settle` that is all leaves with points of the view.
    """
    sieve, rows, leaves = Sieve(view), view.root, []
    while len(rows):
        rows, starts, ends, trusted = sieve.rows(rows, low, high)
        if settle is not None and len(rows):
            rest = np.flatnonzero(~settle(rows, starts, ends, trusted))
            kinds = rows["kind"][rest]
        else:
            rest, kinds = None, rows["kind"]
        at_leaf = kinds == LEAF
        if at_leaf.any():
            all_leaves = bool(at_leaf.all())
            if rest is None:
                leaves.append(rows if all_leaves else rows[at_leaf])
            else:
                leaves.append(rows[rest] if all_leaves else rows[rest[at_leaf]])
            if all_leaves:
                break
            at_leaf = ~at_leaf
            rows = rows[at_leaf] if rest is None else rows[rest[at_leaf]]
        elif rest is not None:
            rows = rows[rest]
        rows = children(read, rows)
    if not leaves:
        return NO_ROWS
    if len(leaves) == 1:
        return leaves[0]
    found = np.concatenate(leaves)  # leaves of several depths: only deletions leave such trees behind
    return found[np.argsort(found["t0"], kind="stable")]


def stretch(view: View, read: BlockReader, low: int, high: int, limit: int) -> tuple[int, int] | None:
    """The next part of [low, high) that is worth looking at: (first, last) with low <= first < last <= high.

    No point of the view lies in [low, first); about `limit` points at most of the tree and of the buffer each
    lie in [first, last), except where a single leaf or a single time holds more. None: no point in [low,
    high). Costs a node per level.
    """
    i, j = view.times.searchsorted((low, high)).tolist()
    first, last = (int(view.times[i]) if i < j else high), high
    if j - i > limit:
        last = max(int(view.times[i + limit]), first + 1)
    stored = _stored_stretch(view, read, low, high, limit)
    if stored is not None:
        first, last = min(first, stored[0]), min(last, stored[1])
    return (first, last) if first < high else None


def _stored_stretch(view: View, read: BlockReader, low: int, high: int, limit: int) -> tuple[int, int] | None:
    sieve = Sieve(view)
    while low < high:
        rows, bound = view.root, high
        while True:
            rows, starts, ends, _ = sieve.rows(rows, low, bound)
            if not len(rows):
                break
            fitting = int(np.cumsum(rows["count"]).searchsorted(limit, "right"))
            if fitting or rows["kind"][0] != INNER:
                last = bound if fitting == len(rows) else min(bound, int(ends[max(fitting, 1) - 1]))
                return max(low, int(starts[0])), last
            bound = min(bound, int(ends[0]))
            rows = children(read, rows[:1])
        low = bound  # nothing of the view below the first row; its neighbours come next
    return None
