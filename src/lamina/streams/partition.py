"""Cutting the time line into aligned windows: the one primitive behind leaves and inner nodes alike.

Everything is vectorised over windows; items are touched only by binary search. Times are biased, 0 <= t < 2**62.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Times
from lamina.streams.node import ROOT_PW

Ints = NDArray[np.int64]

_ONE = np.int64(1)
_END = 1 << ROOT_PW


class Windows(NamedTuple):
    """Disjoint windows [t0, t0 + 2**pw), ascending, each with its items first <= i < last."""

    t0: Ints
    pw: Ints
    first: Ints
    last: Ints


def bit_length(x: Ints) -> Ints:
    """int.bit_length of each 0 <= x < 2**62."""
    rounded_down = x & ~(x >> 1)  # no float64 rounding can carry into the next power of two
    return np.frexp(rounded_down.astype(np.float64))[1].astype(np.int64)


def partition(positions: Times, windows: Windows, limit: int | Ints, capacity: int) -> Windows:
    """Split windows until each holds at most `capacity` items, or is 1 ns wide; empty windows are dropped.

    `positions`: sorted times of all items. `limit`: how many items a given window may hold before it is split at all
    (hysteresis). An overfull window first shrinks to the smallest aligned one that holds its items, then halves.
    At most 62 rounds.
    """
    t0, pw, first, last = (np.asarray(column, np.int64) for column in windows)
    done: list[Windows] = []
    bound: int | Ints = limit
    while len(t0):
        size = last - first
        fits = (size <= bound) | (pw == 0)
        bound = capacity
        if fits.any():
            keep = fits & (size > 0)
            done.append(Windows(t0[keep], pw[keep], first[keep], last[keep]))
            rest = ~fits
            t0, pw, first, last = t0[rest], pw[rest], first[rest], last[rest]
            if not len(t0):
                break
        spread = bit_length(positions[first] ^ positions[last - 1])
        pw = np.minimum(pw, np.maximum(spread, 1))
        t0 = positions[first] >> pw << pw
        middle = t0 + (_ONE << (pw - 1))
        cut = np.clip(positions.searchsorted(middle), first, last)
        t0 = np.concatenate((t0, middle))
        pw = np.concatenate((pw - 1, pw - 1))
        first, last = np.concatenate((first, cut)), np.concatenate((cut, last))
    if len(done) == 1:
        return _ascending(done[0])
    return _ascending(Windows(*(np.concatenate(parts) for parts in zip(*done, strict=True))))


def _ascending(windows: Windows) -> Windows:
    if (windows.t0[1:] > windows.t0[:-1]).all():
        return windows
    order = np.argsort(windows.t0)
    return Windows(*(column[order] for column in windows))


def free_windows(
    times: Times, first: Ints, last: Ints, before: Ints, after: Ints, parent_t0: Times, parent_pw: Ints
) -> tuple[Ints, Ints]:
    """Windows (t0, pw), ascending, for points that no row covers: each the largest that touches nothing.

    times[first[i]:last[i]] (never empty) lie between the end of the row before, `before` (0: none), and the start of
    the row behind, `after` (2**62: none), and may fall into several parents (ascending `parent_t0`).
    """
    found_t0: list[Ints] = []
    found_pw: list[Ints] = []
    while len(first):
        t = times[first]
        pw = parent_pw[parent_t0.searchsorted(t, "right") - 1]
        pw = np.where(before > 0, np.minimum(pw, bit_length(t ^ np.maximum(before - 1, 0)) - 1), pw)
        pw = np.where(after < _END, np.minimum(pw, bit_length(t ^ after) - 1), pw)
        t0 = t >> pw << pw
        found_t0.append(t0)
        found_pw.append(pw)
        first = times.searchsorted(t0 + (_ONE << pw))
        more = first < last
        first, last, before, after = first[more], last[more], before[more], after[more]
    all_t0, all_pw = np.concatenate(found_t0), np.concatenate(found_pw)
    order = np.argsort(all_t0)
    return all_t0[order], all_pw[order]


def cover(start: int, end: int) -> list[tuple[int, int]]:
    """The fewest aligned windows (t0, pw) that make up [start, end), ascending."""
    found = []
    while start < end:
        room = (end - start).bit_length() - 1
        pw = min(room, (start & -start).bit_length() - 1) if start else room
        found.append((start, pw))
        start += 1 << pw
    return found
