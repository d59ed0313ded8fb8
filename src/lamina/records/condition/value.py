"""Values of conditions: five types, what the text of a label reads as, casts, text forms, equality (contract 10.2)."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

import numpy as np

from lamina.errors import InvalidArgument

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
EXACT_FLOAT = 1 << 53  # above it float64 skips integers
MAX_SHOWN = 256  # characters of a value in a message: a label may hold 64 KiB, a header line must not


class Duration(NamedTuple):
    us: int


Value: TypeAlias = bool | int | float | str | Duration

_NUMBER = re.compile(r"[+-]?(?:inf|infinity|nan|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.I | re.A)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.A)

_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1))
US = dict(_UNITS)
"""Microseconds of each unit, the longest first."""


def from_label(text: str) -> Value:
    """What the text of a label stands for: bool, else int, else float, else the text itself."""
    if text == "true":
        return True
    if text == "false":
        return False
    if _NUMBER.fullmatch(text) is None:
        return text
    whole = _integer(text)
    return float(text) if whole is None else whole


def _integer(text: str) -> int | None:
    """A decimal int64; None if it is none."""
    if _INTEGER.fullmatch(text) is None:
        return None
    digits = text.lstrip("+-").lstrip("0")
    if len(digits) > 19:  # more than int64 holds: int() takes quadratic time, and refuses beyond 4,300 digits
        return None
    whole = int(digits or "0")
    if text[0] == "-":
        whole = -whole
    return whole if INT_MIN <= whole <= INT_MAX else None


def number(value: bool | int | float | Duration) -> int | float:
    """What stands for the value in arithmetic and comparisons; exact."""
    if isinstance(value, Duration):
        return value.us
    return int(value) if isinstance(value, bool) else value


def key(value: Value) -> int | float | str:
    """Equal for values that are equal, except NaN, which equals nothing (contract 10.2)."""
    return value if isinstance(value, str) else number(value)


def equal(left: Value, right: Value) -> bool:
    """Numbers of all types compare exactly with each other; a text only with a text."""
    return key(left) == key(right)


def to_bool(value: Value) -> bool:
    return value.us != 0 if isinstance(value, Duration) else bool(value)


def to_int(value: Value) -> int:
    """Floats towards zero, saturating, NaN to 0. Raises InvalidArgument for a text that is no int64."""
    if isinstance(value, str):
        whole = _integer(value)
        if whole is None:
            raise InvalidArgument(f"Value '{short(value)}' could not be parsed as integer")
        return whole
    plain = number(value)
    if isinstance(plain, int):
        return plain
    if plain != plain:
        return 0
    return INT_MIN if plain <= INT_MIN else INT_MAX if plain >= INT_MAX else int(plain)


def to_float(value: Value) -> float:
    """Raises InvalidArgument for a text that is no number."""
    if not isinstance(value, str):
        return float(number(value))
    if _NUMBER.fullmatch(value) is None:
        raise InvalidArgument(f"Value '{short(value)}' could not be parsed as float")
    return float(value)


def to_text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Duration):
        return _duration_text(value.us)
    return str(value) if isinstance(value, int) else _float_text(value)


def _float_text(value: float) -> str:
    """Shortest digits that read as the same float, without exponent and without a trailing `.0`."""
    if value != value:
        return "NaN"
    text = repr(value)
    if "e" in text:
        text = np.format_float_positional(value, trim="-")
    return text.removesuffix(".0")


def _duration_text(us: int) -> str:
    sign, rest = "-" if us < 0 else "", abs(us)
    parts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{sign}{count}{unit}")
    return " ".join(parts) or "0us"


def type_word(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Duration):
        return "duration"
    return "string" if isinstance(value, str) else "integer" if isinstance(value, int) else "float"


def short(text: str) -> str:
    """The text, or its beginning: messages stay within a header line."""
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
