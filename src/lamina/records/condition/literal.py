"""Literals of conditions: durations, sizes, and JSON values as messages show them (contract 10.2, 10.7)."""

from __future__ import annotations

import re

from lamina.errors import InvalidArgument
from lamina.records.condition.value import INT_MAX, INT_MIN, MAX_SHOWN, US, Duration, short

_PART = r"-?[0-9]+(?:us|ms|s|m|h|d)"
_DURATION = re.compile(f"{_PART}(?: {_PART})*", re.A)
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?) *(?:([kmgt])(i?))?b?", re.I | re.A)
_PREFIXES = "kmgt"


def parse_duration(text: str) -> Duration | None:
    """The duration a text of a condition stands for; None if it is a plain text. InvalidArgument beyond int64."""
    if _DURATION.fullmatch(text) is None:
        return None
    total = 0
    for part in text.split(" "):
        digits = part.rstrip("usmhd")
        count = int(digits) if len(digits) <= 20 else INT_MAX + 1
        total += count * US[part[len(digits) :]]
    if not INT_MIN <= total <= INT_MAX:
        raise InvalidArgument(f"Duration '{short(text)}' is out of range: expected less than 2^63 microseconds")
    return Duration(total)


def parse_size(text: str) -> int | None:
    """Bytes of a text like `2MB` (powers of 1000), `1KiB` (powers of 1024) or `512`; None if it is none such."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    amount, prefix, binary = match.groups()
    unit = (1024 if binary else 1000) ** (_PREFIXES.index(prefix.lower()) + 1) if prefix else 1
    whole, _, part = amount.partition(".")
    size = int(whole) * unit + int(part or "0") * unit // 10 ** len(part)
    return size if size <= INT_MAX else None


def check_text(text: object) -> str:
    """The text itself. Raises InvalidArgument for what is no text, or cannot be written in UTF-8."""
    if not isinstance(text, str):
        raise InvalidArgument(f"Value type is not supported: {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("Text with a lone surrogate is not supported") from None
    return text


def check_int(value: int) -> int:
    """The integer itself. Raises InvalidArgument beyond int64 (contract 21.6)."""
    if not INT_MIN <= value <= INT_MAX:
        raise InvalidArgument(f"Integer {shown(value)} is out of range: expected -2^63 to 2^63-1")
    return value


def shown(value: object) -> str:
    """The beginning of a value in JSON, whatever it is; deep and long ones are cut. Never raises."""
    return short(_json(value, 4))


def _json(value: object, depth: int) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        import json

        return json.dumps(value[: MAX_SHOWN + 1].encode("utf-8", "replace").decode(), ensure_ascii=False)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 512 else f"of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, dict | list):
        return type(value).__name__
    if not depth:
        return "..."
    items: list[str] = []
    room = MAX_SHOWN
    for item in value:
        text = _json(item, depth - 1)
        if isinstance(value, dict):
            text += ":" + _json(value[item], depth - 1)
        items.append(text)
        room -= len(text)
        if room < 0:
            break
    return ("{%s}" if isinstance(value, dict) else "[%s]") % ",".join(items)
