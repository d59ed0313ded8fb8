"""Times: nanoseconds since the epoch, UTC, from and to what people write.

Conversions are exact, to the nanosecond where the form has it; the original goes through floats and is off by up to
128 ns.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from lamina.time import SystemClock, to_ns

DATETIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S.%f%z",  # RFC 3339
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d",
)
"""Texts that `to_nanoseconds` takes; UTC where they name no time zone."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_FACTORS = (86_400_000_000_000, 3_600_000_000_000, 60_000_000_000, 1_000_000_000, 1_000_000, 1_000)


def currently_as_ns() -> int:
    """Now, to the microsecond."""
    return SystemClock().wall_us() * 1000


def ns_to_datetime(ns: int) -> dt.datetime:
    """An aware datetime in UTC, rounded down to the microsecond. Raises OverflowError outside the years 1..9999."""
    return _EPOCH + dt.timedelta(microseconds=ns // 1000)


def datetime_to_ns(dt: dt.datetime) -> int:
    """Nanoseconds; a naive datetime is UTC."""
    return to_ns(dt)


def to_nanoseconds(val: Any) -> Any:
    """Nanoseconds of an int (as it is), whole float, datetime, numpy.datetime64, or text: digits, or one of
    DATETIME_FORMATS. None stays None. Raises ValueError (text, fraction), TypeError."""
    if val is None or isinstance(val, int):
        return val
    if isinstance(val, str):
        return int(val) if val.isdigit() else datetime_to_ns(_parsed(val))
    if isinstance(val, float):
        if not val.is_integer():
            raise ValueError(f"{val!r}: can only convert whole numbers to nanoseconds")
        return int(val)
    if isinstance(val, dt.datetime):
        return datetime_to_ns(val)
    if type(val).__module__ == "numpy":
        import numpy as np

        if isinstance(val, np.datetime64):
            return to_ns(val)
        if isinstance(val, np.integer):
            return int(val)
    raise TypeError(f"{val!r}: only int, float, str, datetime, and datetime64 are allowed")


def _parsed(text: str) -> dt.datetime:
    for form in DATETIME_FORMATS:
        try:
            return dt.datetime.strptime(text, form)
        except ValueError:
            continue
    raise ValueError(f"unsupported string format {text!r}, please use RFC3339")


def ns_delta(
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    milliseconds: float = 0,
    microseconds: float = 0,
    nanoseconds: int = 0,
) -> int:
    """All of them together in nanoseconds, cut to a whole number. Raises TypeError for a fraction of a nanosecond."""
    if not isinstance(nanoseconds, int):
        raise TypeError(f"nanoseconds argument must be an integer, is {nanoseconds!r}")
    parts = (days, hours, minutes, seconds, milliseconds, microseconds)
    exact = [Decimal(part) if isinstance(part, float) else part for part in parts]
    return int(sum((part * factor for part, factor in zip(exact, _FACTORS, strict=True)), start=nanoseconds))
