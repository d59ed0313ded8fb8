"""Parts of the date of a timestamp, in UTC or in a time zone (contract 10.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from lamina.errors import InvalidArgument
from lamina.records.condition.value import Value, short, to_int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PARTS: dict[str, Callable[[datetime], int]] = {
    "$second": lambda date: date.second,
    "$minute": lambda date: date.minute,
    "$hour": lambda date: date.hour,
    "$day": lambda date: date.day,
    "$month": lambda date: date.month,
    "$year": lambda date: date.year,
    "$weekday": lambda date: date.weekday(),  # 0 = Monday
}


def date_part(name: str) -> Callable[[Sequence[Value]], Value]:
    """The operator: (timestamp in µs) or (timestamp, zone) to an int. It raises InvalidArgument for a zone that is
    none, and outside the years 1 to 9999."""
    part = PARTS[name]

    def apply(values: Sequence[Value]) -> Value:
        time_us = to_int(values[0])
        zone: tzinfo | None = UTC
        if len(values) == 2:
            if not isinstance(values[1], str):
                raise InvalidArgument(f"{name} requires timezone to be a string")
            zone = _zone(values[1])
            if zone is None:
                raise InvalidArgument(f"Invalid timezone: '{short(values[1])}'")
        try:
            return part((_EPOCH + timedelta(microseconds=time_us)).astimezone(zone))
        except OverflowError:
            raise InvalidArgument(f"Timestamp '{time_us}' is out of range: {name} knows the years 1 to 9999") from None

    return apply


@lru_cache(maxsize=64)  # zones of conditions and, rarely, of labels; a miss reads a file
def _zone(name: str) -> tzinfo | None:
    """The IANA zone of this name; None if there is none."""
    from zoneinfo import ZoneInfo  # loaded for conditions with a zone only

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a folder, or longer than a file name may be
        return None
