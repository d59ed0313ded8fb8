"""The Range header: one range of bytes, as RFC 9110 section 14 has it."""

from __future__ import annotations

from lamina.faces.reduct.headers import number


def parse_range(value: bytes | None, size: int) -> tuple[int, int] | None:
    """[start, stop) of a content of `size` bytes; start >= stop: it cannot be satisfied.

    None: the whole content is to be sent. That is right for units, several ranges and forms we do not know."""
    if value is None:
        return None
    unit, equals, ranges = value.partition(b"=")
    if not equals or unit.strip().lower() != b"bytes" or b"," in ranges:
        return None
    first, dash, last = (part.strip() for part in ranges.partition(b"-"))
    if not dash or (not first and not last):
        return None
    begin, end = number(first), number(last)
    if (first and begin is None) or (last and end is None):
        return None
    if begin is None:
        assert end is not None, "one of them is given"
        return max(size - end, 0) if end else size, size  # the last bytes
    if end is not None and end < begin:
        return None
    return min(begin, size), size if end is None else min(end + 1, size)
