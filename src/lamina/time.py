"""Nanoseconds since the epoch: the storable range, conversions, and the clock everything else takes.

Streams count int64 nanoseconds, UTC. The tree covers [MIN_TIME, MAX_TIME) = 2**62 ns, about 146 years from 1933.
The last storable time is MAX_TIME - 2 (contract: MIN <= t < MAX - 1).
"""

from __future__ import annotations

import datetime as dt
import operator
import threading
import time as _time
from typing import TYPE_CHECKING, Protocol, SupportsIndex, Union, cast

from lamina.errors import InvalidArgument, InvalidTimeRange

if TYPE_CHECKING:
    import numpy as np

MIN_TIME = -(1 << 60)
MAX_TIME = 3 << 60
LAST_TIME = MAX_TIME - 2
"""The largest time a point may have."""

TimeLike = Union[int, str, dt.datetime, "np.datetime64", "np.integer"]
WidthLike = Union[int, str, dt.timedelta, "np.timedelta64", "np.integer"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def to_ns(value: TimeLike) -> int:
    """Nanoseconds since the epoch of an int (taken as ns), datetime, numpy.datetime64 or ISO 8601 string.

    A naive time means UTC. ISO fractions are exact to the nanosecond.
    Raises InvalidArgument for anything else; the storable range is not checked here.
    """
    return _to_ns(value, "nanoseconds")


def _to_ns(value: TimeLike, unit: str) -> int:
    """`unit`: what the caller takes integers for; it stands in the message."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        return (aware - _EPOCH) // _MICROSECOND * 1000 + getattr(value, "nanosecond", 0)
    if isinstance(value, str):
        return _parse_iso(value)
    import numpy as np

    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise InvalidArgument("NaT is not a time")
        scaled = value.astype("datetime64[ns]")
        if scaled.astype(value.dtype) != value:
            raise InvalidTimeRange(f"time {value!r} does not fit int64 nanoseconds")
        return int(scaled.astype(np.int64))
    if isinstance(value, np.integer):
        return int(value)
    raise InvalidArgument(f"time {value!r}: expected int {unit}, datetime, numpy.datetime64 or an ISO 8601 string")


def to_us(value: TimeLike) -> int:
    """Microseconds since the epoch of an int (taken as µs), datetime, numpy.datetime64 or ISO 8601 string: the unit of
    records, unsigned 64-bit. A naive time means UTC; what is finer than a microsecond is cut off.

    Raises InvalidArgument, also for times before 1970 and from 2**64 µs on.
    """
    integral = isinstance(value, int) and not isinstance(value, bool)
    if integral or (type(value).__module__ == "numpy" and hasattr(value, "__index__")):
        micros = operator.index(cast(SupportsIndex, value))
    else:
        micros = _to_ns(value, "microseconds") // 1000
    if not 0 <= micros < 1 << 64:
        raise InvalidTimeRange(f"time {value!r}: expected 0 .. 2**64 - 1 µs since 1970")
    return micros


def _parse_iso(text: str) -> int:
    """datetime.fromisoformat knows microseconds; further digits of the fraction are added back exactly."""
    head, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction, tail = rest[:digits], rest[digits:]
    try:
        if dot and (not fraction or len(fraction) > 9):
            raise ValueError("a fraction has 1 to 9 digits")
        seconds = dt.datetime.fromisoformat(head + tail)
    except ValueError as error:
        raise InvalidArgument(f"time {text!r} is not ISO 8601: {error}") from None
    aware = seconds if seconds.tzinfo is not None else seconds.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1000 + int(fraction.ljust(9, "0") or 0)


def to_interval_ns(value: WidthLike) -> int:
    """Nanoseconds of a width: int (ns), timedelta, numpy.timedelta64, or text such as "1s", "250ms", "2h"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, dt.timedelta):
        return value // _MICROSECOND * 1000
    if isinstance(value, str):
        for unit, factor in _UNITS:
            number = value.removesuffix(unit)
            if number != value:
                try:
                    return int(number) * factor
                except ValueError:
                    break
        raise InvalidArgument(f"width {value!r}: expected a number and one of ns, us, ms, s, m, h, d")
    import numpy as np

    if isinstance(value, np.timedelta64) and not np.isnat(value):
        return int(value.astype("timedelta64[ns]").astype(np.int64))
    if isinstance(value, np.integer):
        return int(value)
    raise InvalidArgument(f"width {value!r}: expected int nanoseconds, timedelta or text such as '1s'")


_UNITS = (  # longest suffix first
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
)


class Clock(Protocol):
    def wall_us(self) -> int:
        """Microseconds since the epoch; may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that only grow; no relation to the wall."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for the event at most so long; whether it is set."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_us(self) -> int:
        return _time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        return _time.monotonic_ns()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)
