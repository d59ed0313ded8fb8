"""Point widths: windows of 2**n nanoseconds, and what they are in other units."""

from __future__ import annotations

import datetime as dt
from functools import total_ordering
from typing import Any

from lamina.btrdb.utils.timez import to_nanoseconds

_NAMED = (
    (55, "years"), (52, "months"), (50, "weeks"), (47, "days"), (42, "hours"), (36, "minutes"), (30, "seconds"),
    (20, "milliseconds"), (10, "microseconds"),
)  # fmt: skip
"""From which exponent on a width is told in which unit."""


def unpack_stream_descriptor(desc: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Tags and annotations of a StreamDescriptor message."""
    return {tag.key: tag.val.value for tag in desc.tags}, {note.key: note.val.value for note in desc.annotations}


@total_ordering
class pointwidth:  # noqa: N801  # the original's name
    """The exponent of a window's width; it compares, adds and subtracts as an integer."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, p: Any) -> None:
        self._pointwidth = int(p)

    @classmethod
    def from_timedelta(cls, delta: dt.timedelta) -> pointwidth:
        """The widest that is not longer."""
        return cls.from_nanoseconds(delta // dt.timedelta(microseconds=1) * 1000)

    @classmethod
    def from_nanoseconds(cls, nsec: int) -> pointwidth:
        """The widest that is not longer; between 0 and 61."""
        return cls(min(max(int(nsec).bit_length() - 1, 0), 61))

    def for_aligned_windows(self, start: Any, end: Any) -> tuple[int, int, int]:
        """(start, end, windows) of what `aligned_windows` covers of a range: start rounded down, the start of the last
        window, and how many there are."""
        first, last = to_nanoseconds(start), to_nanoseconds(end)
        first -= first % self.nanoseconds
        windows = (last - first) // self.nanoseconds
        return first, first + self.nanoseconds * (windows - 1), windows

    @property
    def nanoseconds(self) -> int:
        """Of the window: 2**n."""
        return int(2**self._pointwidth)

    @property
    def microseconds(self) -> float:
        """Of the window."""
        return self.nanoseconds / 1e3

    @property
    def milliseconds(self) -> float:
        """Of the window."""
        return self.nanoseconds / 1e6

    @property
    def seconds(self) -> float:
        """Of the window."""
        return self.nanoseconds / 1e9

    @property
    def minutes(self) -> float:
        """Of the window."""
        return self.nanoseconds / 6e10

    @property
    def hours(self) -> float:
        """Of the window."""
        return self.nanoseconds / 3.6e12

    @property
    def days(self) -> float:
        """Of 24 hours."""
        return self.nanoseconds / 8.64e13

    @property
    def weeks(self) -> float:
        """Of 7 days."""
        return self.nanoseconds / 6.048e14

    @property
    def months(self) -> float:
        """Of 730 hours."""
        return self.nanoseconds / 2.628e15

    @property
    def years(self) -> float:
        """Of 31,540,000 s."""
        return self.nanoseconds / 3.154e16

    def decr(self) -> pointwidth:
        """Half as wide."""
        return self - 1

    def incr(self) -> pointwidth:
        """Twice as wide."""
        return self + 1

    def to_timedelta(self) -> dt.timedelta:
        """To the microsecond."""
        return dt.timedelta(microseconds=self.microseconds)

    def __int__(self) -> int:
        return self._pointwidth

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return hasattr(other, "__int__") and int(self) == int(other)

    def __lt__(self, other: Any) -> bool:
        return int(self) < int(other)

    def __add__(self, other: Any) -> pointwidth:
        return pointwidth(int(self) + int(other))

    def __sub__(self, other: Any) -> pointwidth:
        return pointwidth(int(self) - int(other))

    def __str__(self) -> str:
        for least, unit in _NAMED:
            if self >= least:
                return f"{getattr(self, unit):0.2f} {unit}"
        return f"{self.nanoseconds} nanoseconds"

    def __repr__(self) -> str:
        return f"<pointwidth {int(self)}>"
