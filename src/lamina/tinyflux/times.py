"""The time column of a CSV file, parsed all at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

# YYYY-MM-DDTHH:MM:SS, then .ffffff if microseconds are not 0: what TinyFlux writes.
_SHORT, _LONG = 19, 26
_MARKS = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":", 19: "."}


def microseconds_of(texts: Sequence[str]) -> NDArray[np.int64]:
    """Microseconds since 1970 of ISO times; an offset, if any, is discarded. ValueError: a text that is no time."""
    out = np.empty(len(texts), np.int64)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    for length in np.unique(lengths).tolist():
        members = np.flatnonzero(lengths == length)
        chosen = texts if len(members) == len(texts) else [texts[at] for at in members.tolist()]
        parsed = _usual(chosen, length) if length in (_SHORT, _LONG) else None
        out[members] = _any(chosen) if parsed is None else parsed
    return out


def _any(texts: Sequence[str]) -> NDArray[np.int64]:
    times = [time.replace(tzinfo=None) for time in map(datetime.fromisoformat, texts)]
    return np.array(times, "M8[us]").view(np.int64)


def _usual(texts: Sequence[str], length: int) -> NDArray[np.int64] | None:
    """The times if all of them are of the usual form and exist in the calendar."""
    joined = "".join(texts)
    if not joined.isascii():
        return None
    letters = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), length)
    marks = {at: mark for at, mark in _MARKS.items() if at < length}
    if not all((letters[:, at] == ord(mark)).all() for at, mark in marks.items()):
        return None
    digits = letters[:, [at for at in range(length) if at not in marks]] - ord("0")
    if (digits > 9).any():
        return None

    def number(start: int, stop: int) -> NDArray[np.int64]:
        value = digits[:, start].astype(np.int64)
        for at in range(start + 1, stop):
            value = value * 10 + digits[:, at]
        return value

    year, month, day = number(0, 4), number(4, 6), number(6, 8)
    hour, minute, second = number(8, 10), number(10, 12), number(12, 14)
    months = (year - 1970) * 12 + month - 1
    first_day = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    month_days = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64) - first_day
    exists = (year > 0) & (month > 0) & (month < 13) & (day > 0) & (day <= month_days)
    exists &= (hour < 24) & (minute < 60) & (second < 60)
    if not exists.all():
        return None
    seconds = (first_day + day - 1) * 86400 + hour * 3600 + minute * 60 + second
    return seconds * 1_000_000 + (number(14, 20) if length == _LONG else 0)
