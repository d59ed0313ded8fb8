"""Sizes, times and switches as people write them into variables."""

from __future__ import annotations

import re
from decimal import Decimal

from lamina.errors import InvalidArgument

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_UNITS |= {prefix + "I": 1024**power for power, prefix in enumerate("KMGTP", start=1)}

_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)\s*([KMGTP]?I?)B?")

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*s?")

MAX_SIZE = (1 << 64) - 1


def parse_size(name: str, text: str) -> int:
    """Bytes of `10GB` (10**10), `1KiB` (1024), `1.5 MB`, `4096`. Raises InvalidArgument naming the setting."""
    found = _SIZE.fullmatch(text.strip().upper())
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None or (size := int(Decimal(found[1]) * unit)) > MAX_SIZE:
        raise InvalidArgument(f"{name}={text!r}: expected bytes, or a size such as 10GB or 1KiB")
    return size


def parse_switch(name: str, text: str) -> bool:
    found = _SWITCHES.get(text.strip().lower())
    if found is None:
        raise InvalidArgument(f"{name}={text!r}: expected true or false")
    return found


def parse_seconds(name: str, text: str) -> float:
    """More than 0. Raises InvalidArgument naming the setting."""
    found = _SECONDS.fullmatch(text.strip().lower())
    if found is None or not (seconds := float(found[1])):
        raise InvalidArgument(f"{name}={text!r}: expected seconds, more than 0")
    return seconds


def parse_count(name: str, text: str) -> int:
    """A whole number above 0. Raises InvalidArgument naming the setting."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text)):
        raise InvalidArgument(f"{name}={text!r}: expected a whole number, more than 0")
    return int(text)


def parse_choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    """One of these words, whatever its case. Raises InvalidArgument naming the setting."""
    for word in allowed:
        if text.strip().lower() == word.lower():
            return word
    raise InvalidArgument(f"{name}={text!r}: expected one of {', '.join(allowed)}")


def parse_list(text: str) -> tuple[str, ...]:
    """Of a comma-separated list; spaces around an item do not count, empty items are left out."""
    return tuple(item.strip() for item in text.split(",") if item.strip())
