"""Times of records: microseconds, unsigned, from everything a caller may have."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from lamina.errors import InvalidArgument, InvalidTimeRange
from lamina.time import to_us


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        (0, 0),
        ((1 << 64) - 1, (1 << 64) - 1),
        (np.int64(7), 7),
        (np.uint64((1 << 64) - 1), (1 << 64) - 1),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 1_767_225_600_000_000),
        (dt.datetime(2026, 1, 1), 1_767_225_600_000_000),
        (np.datetime64("2026-01-01T00:00:00.000001999"), 1_767_225_600_000_001),
        ("2026-01-01T01:00:00.5+01:00", 1_767_225_600_500_000),
    ],
)
def test_times(value, micros):
    assert to_us(value) == micros


@pytest.mark.parametrize("value", [-1, 1 << 64, "1969-12-31T23:59:59Z"])
def test_times_before_1970_and_beyond_64_bits_are_refused(value):
    with pytest.raises(InvalidTimeRange, match="2\\*\\*64"):
        to_us(value)


@pytest.mark.parametrize("value", [True, 1.5, np.float64(2), None, "yesterday"])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(InvalidArgument):
        to_us(value)
