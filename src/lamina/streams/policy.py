"""Merge policies: what a batch keeps of itself and what of the stored points it replaces (contract section 5).

| policy | same time, same value | same time, different value |
|---|---|---|
| never | both kept | both kept |
| equal | one kept | both kept |
| retain | old kept | first kept (stored before new; batch order inside a batch) |
| replace | new kept | last kept |

They act inside the batch and against what is stored. Times that the batch does not contain are never touched. The
result is logged, so that replay decides nothing (architecture section 7 row 7).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from lamina.columns import Times, Values
from lamina.errors import InvalidArgument
from lamina.storage.blocks import BlockReader
from lamina.streams.lookup import at_times
from lamina.streams.node import BIAS
from lamina.streams.view import View

Policy = Literal["never", "equal", "retain", "replace"]
POLICIES: tuple[str, ...] = get_args(Policy)


def check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise InvalidArgument(f"merge policy {policy!r}: expected one of {', '.join(POLICIES)}")


def resolve(
    policy: Policy, times: Times, values: Values, view: View, read: BlockReader
) -> tuple[Times, Values, Times | None]:
    """What is to be added of a sorted batch (unbiased, ties in arrival order), and the times to remove before.

    The removed times are sorted, distinct and hold at least one stored point each; None if there are none.
    Cost: the leaves that hold times of the batch are decoded.
    """
    if policy == "never" or not len(times):
        return times, values, None
    times, values = _within(policy, times, values)
    stored_times, stored_values = at_times(view, read, np.unique(times) + BIAS)
    if not len(stored_times):
        return times, values, None
    stored_times = stored_times - BIAS
    if policy == "replace":
        return times, values, np.unique(stored_times)
    if policy == "retain":
        keep = ~np.isin(times, stored_times)
    else:
        keep = ~_stored_equal(times, values, stored_times, stored_values)
    return times[keep], values[keep], None


def _within(policy: Policy, times: Times, values: Values) -> tuple[Times, Values]:
    same = times[1:] == times[:-1]
    if not same.any():
        return times, values
    if policy == "retain":
        keep = np.concatenate([[True], ~same])
    elif policy == "replace":
        keep = np.concatenate([~same, [True]])
    else:
        keep = _first_of_equal(times, values)
    return times[keep], values[keep]


def _first_of_equal(times: Times, values: Values) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """True for the first of each (time, value), in arrival order; 0.0 equals -0.0 as in IEEE."""
    order = np.lexsort((np.arange(len(times)), values + 0.0, times))
    first = np.ones(len(times), bool)
    first[1:] = (times[order][1:] != times[order][:-1]) | (values[order][1:] != values[order][:-1])
    keep = np.empty(len(times), bool)
    keep[order] = first
    return keep


def _stored_equal(
    times: Times, values: Values, stored_times: Times, stored_values: Values
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which points of the batch equal a stored one in time and value."""
    pair = np.dtype([("t", "<i8"), ("v", "<f8")])
    batch, stored = np.empty(len(times), pair), np.empty(len(stored_times), pair)
    batch["t"], batch["v"] = times, values + 0.0  # -0.0 becomes 0.0: equal as IEEE, equal as bytes
    stored["t"], stored["v"] = stored_times, stored_values + 0.0
    return np.isin(batch.view("V16"), stored.view("V16"))
