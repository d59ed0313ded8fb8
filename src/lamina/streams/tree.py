"""Merging points and removals into a tree: down level by level, leaves, and up again.

A tree is persistent: a merge writes new leaves, new deltas and the paths above them; all else is shared with the roots
before. Kept by every merge:

1. Rows of a node are ascending, disjoint and inside the node's window; windows are aligned; the root's is [0, 2**62).
2. All leaves lie equally deep. A tombstone may stand anywhere in place of what was below it.
3. A row's count and summary are those of the points below; its version is the largest of the rows below.
4. Where points were removed at version v, a row of version >= v covers the place in every later root, leaf or
   tombstone: `changes` finds every removal. A version may be seen wider than what it changed, never narrower.
5. A node has a row that is no tombstone, except the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.codecs.values import ValueCodec
from lamina.columns import Times, Values
from lamina.streams.leafwrite import LeafWriter, Points, Versions
from lamina.streams.node import INNER, LEAF, NO_ROWS, ROOT_PW, ROW, TOMBSTONE, Rows
from lamina.streams.nodes import ascending, concatenate, entomb, rebuild, whole_window
from lamina.streams.partition import free_windows
from lamina.streams.removals import Mask, Ranges
from lamina.streams.shape import Shape
from lamina.streams.view import Removal

if TYPE_CHECKING:
    from lamina.storage.blocks import BlockReader
    from lamina.storage.segment import SegmentWriter

__all__ = ["Shape", "merge"]

_ONE = np.int64(1)


def merge(
    root: Rows,
    times: Times,
    values: Values,
    versions: Versions | int,
    removals: Sequence[Removal],
    *,
    out: SegmentWriter,
    read: BlockReader,
    shape: Shape,
    codec: ValueCodec,
) -> Rows:
    """The root after taking out what `removals` name and then adding the points.

    `root`: length 0 (nothing was ever stored) or 1; so is the result, and it is `root` itself if nothing changed.
    `times`: biased, sorted; equal times stay in the order given, behind stored ones. `versions`: of each point (then
    rewritten blocks record the version of each point added here, 0 for older ones), or one for all (nothing is
    recorded). Blocks go to `out` as they are encoded, leaves first, then each level in time order; nothing that is
    written here is read here. Cost: the touched leaves and their paths; memory 16 B for each point of one leaf's
    window at most, plus 2 MiB.
    """
    points, ranges = Points(times, values, versions), Ranges(removals)
    if not len(root):
        if not len(times):
            return root
        root = whole_window()
    levels, rows = _descend(root, times, ranges, read)
    rows, changed = LeafWriter(out, read, shape, codec).merge(rows, points, ranges)
    for level in reversed(levels):
        rows, changed = _ascend(level, rows, changed, out, shape, top=level is levels[0])
    if not changed.any():
        return root
    while len(rows) > 1 or rows["pw"][0] != ROOT_PW:
        rows = rebuild(whole_window(), rows, out, shape.node_rows, top=True)
    assert rows["pw"][0] == ROOT_PW, "the root covers all of time"
    return rows


class _Level(NamedTuple):
    """Nodes that were opened on the way down."""

    opened: Rows  # inner rows, or tombstones in whose window points arrive
    below: Rows  # rows below them that are opened or rewritten in turn
    kept: Rows  # rows below them that stay, some of them as tombstones
    changed: Mask  # which of `opened` change for what is in `kept`


def _descend(root: Rows, times: Times, ranges: Ranges, read: BlockReader) -> tuple[list[_Level], Rows]:
    """The opened nodes, top down, and the rows at leaf level that points or removals touch.

    A tombstone in whose window points arrive is pushed down to the leaf level, so that its version stays in the whole
    window. A window that never held anything is a tombstone of version 0 here and leaves no trace.
    """
    levels: list[_Level] = []
    rows = root
    if len(ranges) and root["kind"][0] == LEAF:
        _, covered, versions = ranges.hits(root)
        rows = entomb(root, versions) if covered[0] else root
    while len(rows) and _above_leaves(rows, len(levels), root, read):
        below, kept, changed = _open(rows, times, ranges, read)
        levels.append(_Level(rows, below, kept, changed))
        rows = below
    return levels, rows


def _above_leaves(rows: Rows, depth: int, root: Rows, read: BlockReader) -> bool:
    """Whether rows found `depth` levels below the root are above the leaf level."""
    if (rows["kind"] == INNER).any():
        return True
    if (rows["kind"] == LEAF).any():
        return False
    probe, leaf_depth = root, 0
    while len(inner := probe[probe["kind"] == INNER][:1]):
        probe = read.nodes(inner["base"])
        leaf_depth += 1
    return depth < leaf_depth


def _open(opened: Rows, times: Times, ranges: Ranges, read: BlockReader) -> tuple[Rows, Rows, Mask]:
    """(rows to open next, rows that stay, which of `opened` have changed rows among those that stay)."""
    inner = opened["kind"] == INNER
    rows = read.nodes(opened["base"][inner]) if inner.any() else NO_ROWS
    if not inner.all():
        buried = opened[~inner & (opened["version"] > 0)]
        rows = ascending(concatenate([rows, buried])) if len(buried) else rows
    parents_t0 = np.ascontiguousarray(opened["t0"])
    t0 = np.ascontiguousarray(rows["t0"])
    ends = t0 + (_ONE << rows["pw"].astype(np.int64))
    first, last = times.searchsorted(t0), times.searchsorted(ends)
    follow = last > first
    changed = np.ones(len(opened), np.bool_)
    if len(ranges):
        hit, covered, versions = ranges.hits(rows)
        standing = rows["kind"] != TOMBSTONE
        covered &= standing
        if covered.any():
            rows = rows.copy()
            rows[covered] = entomb(rows[covered], versions[covered])
        changed = np.zeros(len(opened), np.bool_)
        changed[parents_t0.searchsorted(t0[covered], "right") - 1] = True
        follow |= hit & standing & ~covered
    below = rows[follow]
    if int((last - first).sum()) < len(times):
        a, b = np.append(0, last), np.append(first, len(times))
        some = b > a
        before, after = np.append(0, ends)[some], np.append(t0, 1 << ROOT_PW)[some]
        parents_pw = opened["pw"].astype(np.int64)
        new_t0, new_pw = free_windows(times, a[some], b[some], before, after, parents_t0, parents_pw)
        new = np.zeros(len(new_t0), ROW)
        new["t0"], new["pw"], new["kind"] = new_t0, new_pw, TOMBSTONE
        below = ascending(concatenate([below, new]))
    return below, rows[~follow], changed


def _ascend(
    level: _Level, rows: Rows, changed: Mask, out: SegmentWriter, shape: Shape, *, top: bool
) -> tuple[Rows, Mask]:
    """The rows in place of `level.opened`, and which of those changed; `rows`, `changed`: the same one level below."""
    edges = np.ascontiguousarray(level.opened["t0"])
    altered = level.changed.copy()
    altered[edges.searchsorted(level.below["t0"][changed], "right") - 1] = True
    rows = ascending(concatenate([level.kept, rows]))
    if altered.all():
        return rebuild(level.opened, rows, out, shape.node_rows, top=top), altered
    if not altered.any():
        return level.opened, altered
    rows = rows[altered[edges.searchsorted(rows["t0"], "right") - 1]]
    found = rebuild(level.opened[altered], rows, out, shape.node_rows, top=top)
    return ascending(concatenate([found, level.opened[~altered]])), altered
