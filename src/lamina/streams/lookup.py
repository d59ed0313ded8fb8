"""Stored points at given times: what merge policies need to know."""

from __future__ import annotations

import numpy as np

from lamina.columns import Times, Values
from lamina.storage.blocks import BlockReader
from lamina.streams.descend import Mask, descend
from lamina.streams.leaves import chunks
from lamina.streams.node import Rows
from lamina.streams.view import View


def at_times(view: View, read: BlockReader, times: Times) -> tuple[Times, Values]:
    """Every point of the view whose time is one of these (biased, sorted, distinct, at least one), ascending.

    Decodes the leaves that span one of the times, no others.
    """

    def spared(rows: Rows, starts: Times, ends: Times, trusted: Mask | None) -> Mask:
        missed: Mask = times.searchsorted(starts) == times.searchsorted(ends)
        return missed

    leaves = descend(view, read, int(times[0]), int(times[-1]) + 1, spared)
    parts = [_at(times, *part) for part in chunks(view, read, leaves)]
    parts.append(_at(times, view.times, view.values))
    found_times = np.concatenate([part[0] for part in parts])
    found_values = np.concatenate([part[1] for part in parts])
    order = np.argsort(found_times, kind="stable")
    return found_times[order], found_values[order]


def _at(wanted: Times, times: Times, values: Values) -> tuple[Times, Values]:
    """New arrays: the chunks they come from are overwritten."""
    at = np.minimum(wanted.searchsorted(times), len(wanted) - 1)
    keep = wanted[at] == times
    return times[keep], values[keep]
