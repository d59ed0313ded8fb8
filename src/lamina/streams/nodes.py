"""Inner nodes on the way up: the rows of the nodes that were opened, cut anew into nodes of at most K rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.streams import summary
from lamina.streams.node import INNER, ROOT_PW, ROW, TOMBSTONE, Rows
from lamina.streams.partition import Windows, partition

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

_ONE = np.int64(1)


_OPAQUE = np.dtype((np.void, ROW.itemsize))


def concatenate(parts: Sequence[Rows]) -> Rows:
    """One array of all rows. As opaque bytes: NumPy compares field lists for 25 µs otherwise."""
    return np.concatenate([part.view(_OPAQUE) for part in parts]).view(ROW)


def ascending(rows: Rows) -> Rows:
    """The rows in time order."""
    t0 = np.ascontiguousarray(rows["t0"])
    return rows if (t0[1:] > t0[:-1]).all() else rows[np.argsort(t0)]


def whole_window() -> Rows:
    """One row over all of time, as for a stream that holds nothing: a tombstone of version 0."""
    rows = np.zeros(1, ROW)
    rows["pw"], rows["kind"] = ROOT_PW, TOMBSTONE
    return rows


def rebuild(parents: Rows, rows: Rows, out: SegmentWriter, capacity: int, *, top: bool) -> Rows:
    """Write the nodes that hold `rows` (ascending, each inside one of `parents`); the new parent rows.

    A node of nothing but tombstones becomes one tombstone, its children are forgotten; except the only node at the
    `top`, or deleting a stream's points one range at a time would end in a change of all time.
    """
    if (rows["kind"] == TOMBSTONE).any():
        rows = _join_tombstones(rows)
    t0 = np.ascontiguousarray(rows["t0"])
    first = t0.searchsorted(np.ascontiguousarray(parents["t0"]))
    last = np.append(first[1:], len(rows))
    given = Windows(parents["t0"], parents["pw"].astype(np.int64), first, last)
    windows = partition(t0, given, capacity, capacity)
    found = np.zeros(len(windows.t0), ROW)
    found["t0"], found["pw"], found["kind"] = windows.t0, windows.pw, INNER
    found["below"] = windows.last - windows.first
    found["version"] = np.maximum.reduceat(rows["version"], windows.first)
    summary.of_rows(rows, windows.first).store(found)
    barren = found["count"] == 0
    if top and len(found) == 1:
        barren[:] = False
    data = memoryview(rows.tobytes())
    out.align(8)
    for i, (a, b) in enumerate(zip(windows.first.tolist(), windows.last.tolist(), strict=True)):
        if not barren[i]:
            offset, length, crc = out.append(data[a * ROW.itemsize : b * ROW.itemsize])
            found["base"][i] = (out.id, length, offset, crc)
    for i in np.flatnonzero(barren).tolist():
        found[i : i + 1] = _bury(rows[windows.first[i] : windows.last[i]])
    return found


def entomb(rows: Rows, versions: NDArray[np.uint64]) -> Rows:
    """The rows as tombstones: the windows, no points, nothing below; at least the given versions."""
    found = np.zeros(len(rows), ROW)
    found["t0"], found["pw"], found["kind"] = rows["t0"], rows["pw"], TOMBSTONE
    found["version"] = np.maximum(rows["version"], versions)
    return found


def _bury(rows: Rows) -> Rows:
    """One tombstone in place of several: the smallest window that holds them, and their largest version."""
    found = rows[:1].copy()
    if len(rows) > 1:
        start, end = int(rows["t0"][0]), int(rows["t0"][-1])
        pw = (start ^ end).bit_length()
        found["t0"], found["pw"] = start >> pw << pw, pw
        found["version"] = rows["version"].max()
    return found


def _join_tombstones(rows: Rows) -> Rows:
    """Neighbouring halves of one window that a removal of the same version emptied become that window.

    Halves in different nodes fill those; the window then stands in place of both nodes.
    """
    while len(rows) > 1:
        a, b = rows[:-1], rows[1:]
        same = (a["kind"] == TOMBSTONE) & (b["kind"] == TOMBSTONE)
        same &= (a["pw"] == b["pw"]) & (a["version"] == b["version"])
        same &= (a["t0"] ^ b["t0"]) == _ONE << a["pw"].astype(np.int64)
        if not same.any():
            break
        keep = np.append(True, ~same)
        rows = rows.copy()
        rows["pw"][:-1][same] += 1
        rows = rows[keep]
    return rows
