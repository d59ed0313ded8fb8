"""Times of records, in µs since the epoch, from the four forms that a program may give, and back.

Texts and datetimes without an offset are local time, as everywhere in Python.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

TimestampLike: TypeAlias = int | datetime | float | str
"""µs since the epoch, a datetime, seconds since the epoch, or a text in ISO 8601."""

TIME_PRECISION = 1_000_000
"""Units in a second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def unix_timestamp_from_any(timestamp: TimestampLike) -> int:
    """µs since the epoch. Raises ValueError (text), OverflowError (infinity), TypeError."""
    if isinstance(timestamp, str):
        timestamp = datetime.fromisoformat(timestamp)
    if isinstance(timestamp, datetime):
        return (timestamp.astimezone(UTC) - _EPOCH) // _MICROSECOND
    if isinstance(timestamp, float):
        return int(timestamp * TIME_PRECISION)
    return int(timestamp)


def unix_timestamp_to_datetime(timestamp: int) -> datetime:
    """Local time, without an offset."""
    seconds, microseconds = divmod(timestamp, TIME_PRECISION)
    return datetime.fromtimestamp(seconds).replace(microsecond=microseconds)


def unix_timestamp_to_iso(timestamp: int) -> str:
    """Local time as text in ISO 8601, without an offset."""
    return unix_timestamp_to_datetime(timestamp).isoformat()


def unix_timestamp_to_py_timestamp(timestamp: int) -> float:
    """Seconds since the epoch, as `time.time` gives them."""
    return timestamp / TIME_PRECISION
