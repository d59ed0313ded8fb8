"""Checks of what a query asks. Every read starts here, so every caller gets the same errors."""

from __future__ import annotations

import numpy as np

from lamina.errors import InvalidTimeRange, InvalidWidth, TooBig
from lamina.streams.node import BIAS
from lamina.time import MAX_TIME, MIN_TIME

MAX_WINDOWS = 20_000_000
"""Windows of one answer in memory, about 1 GB; lazily there is no limit. A width in the wrong unit asks for more."""


def check_range(start: int, end: int) -> tuple[int, int]:
    """The biased range. end = MAX_TIME counts as MAX_TIME - 1, because older clients send it (contract
    section 3).

    Raises InvalidTimeRange.
    """
    if start < MIN_TIME or end > MAX_TIME:
        raise InvalidTimeRange(f"time range out of bounds: [{start}, {end}) is not within [{MIN_TIME}, {MAX_TIME})")
    end = min(end, MAX_TIME - 1)
    if start >= end:
        raise InvalidTimeRange(f"start time >= end time: {start} >= {end}")
    return start + BIAS, end + BIAS


def check_time(time: int) -> int:
    """The biased time; MAX_TIME counts as MAX_TIME - 1. Raises InvalidTimeRange."""
    if not MIN_TIME <= time <= MAX_TIME:
        raise InvalidTimeRange(f"time range out of bounds: {time} is not within [{MIN_TIME}, {MAX_TIME})")
    return min(time, MAX_TIME - 1) + BIAS


def check_exponent(value: int, name: str) -> int:
    """A point width, depth or resolution: 0..63. Raises InvalidWidth."""
    if not isinstance(value, int | np.integer):
        raise InvalidWidth(f"{name} {value!r}: expected an int, the exponent of a power of two, 0..63")
    if not 0 <= value <= 63:
        raise InvalidWidth(f"{name} {value} is not within 0..63")
    return int(value)


def check_width(width: int) -> int:
    """A window width: 1..2**63 ns. Raises InvalidWidth."""
    if not 1 <= width <= 1 << 63:
        raise InvalidWidth(f"window width is absurd: {width} is not within 1..2**63 ns")
    return width


def check_answer(start: int, end: int, width: int) -> None:
    """That the windows of a range fit into one answer. Raises TooBig."""
    if width > 0 and (end - start) // width > MAX_WINDOWS:
        raise TooBig(
            f"{(end - start) // width} windows of {width} ns: one answer has up to {MAX_WINDOWS}, "
            "use a larger width (an int is ns) or iter_windows"
        )
