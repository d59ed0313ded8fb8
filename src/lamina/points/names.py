"""What measurements may be called."""

from __future__ import annotations

from lamina.errors import InvalidArgument

MAX_NAME_BYTES = 1024


def check_measurement_name(name: str) -> str:
    """The name itself: any text of up to 1,024 bytes in UTF-8, the empty one too. Raises InvalidArgument."""
    if not isinstance(name, str):
        raise InvalidArgument(f"measurement name {name!r}: expected a str")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"measurement name {name[:32]!r} holds a single surrogate: it has no UTF-8") from None
    if size > MAX_NAME_BYTES:
        raise InvalidArgument(f"measurement name {name[:32]!r}... has {size} bytes: up to {MAX_NAME_BYTES} are allowed")
    return name
