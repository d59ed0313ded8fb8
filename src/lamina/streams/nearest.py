"""The point next to a time."""

from __future__ import annotations

from lamina.storage.blocks import BlockReader
from lamina.streams.bounds import check_time
from lamina.streams.descend import Sieve, children
from lamina.streams.leaves import points
from lamina.streams.node import BIAS, LEAF, ROOT_PW, Rows
from lamina.streams.view import View


def nearest(view: View, read: BlockReader, time: int, backward: bool) -> tuple[int, float] | None:
    """The point with the smallest time >= `time`, or backward the largest strictly before; None: there is
    none.

    Of several points at that time forward gives the first stored, backward the last. Reads two nodes per
    level and two leaves at most; more only where pending removals or newer points empty what lies nearest.
    Raises InvalidTimeRange.
    """
    at = check_time(time)
    low, high = (0, at) if backward else (at, 1 << ROOT_PW)
    best = _stored(view, Sieve(view), read, view.root, low, high, backward) if low < high else None
    i = int(view.times.searchsorted(at)) - backward
    if 0 <= i < len(view.times):
        # At equal times buffered points are behind stored ones: backward they win, forward they lose.
        candidate = (int(view.times[i]), float(view.values[i]))
        closer = best is None or (candidate[0] >= best[0] if backward else candidate[0] < best[0])
        best = candidate if closer else best
    return (best[0] - BIAS, best[1]) if best is not None else None


def _stored(
    view: View, sieve: Sieve, read: BlockReader, rows: Rows, low: int, high: int, backward: bool
) -> tuple[int, float] | None:
    """The last stored point of the view in [low, high) below these rows, or the first."""
    if sieve.removed is not None:
        rows = sieve.rows(rows, low, high)[0]
    counts, kinds = rows["count"], rows["kind"]
    for i in _outward(rows, low, high, backward):
        if not counts.item(i):
            continue
        row = rows[i : i + 1]
        if kinds.item(i) == LEAF:
            times, values = points(view, read, row)
            j = int(times.searchsorted(high if backward else low)) - backward
            found = (int(times[j]), float(values[j])) if 0 <= j < len(times) else None
        else:
            found = _stored(view, sieve, read, children(read, row), low, high, backward)
        if found is not None:
            return found
    return None


def _outward(rows: Rows, low: int, high: int, backward: bool) -> range:
    """Rows that overlap [low, high), the one next to where the search begins first. One search of the starts: rows
    are disjoint, so only the first found can end before `low`."""
    starts = rows["t0"]
    if backward:
        return range(int(starts.searchsorted(high)) - 1, -1, -1)
    i = max(int(starts.searchsorted(low, "right")) - 1, 0)
    ended = i < len(rows) and starts.item(i) + (1 << rows["pw"].item(i)) <= low
    return range(i + ended, len(rows))
