"""Members of settings as JSON gives them: of the right type, or the error that an unreadable body gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from lamina.errors import InvalidArgument

T = TypeVar("T")

JOBS = 10_000
"""Of each kind (architecture section 15)."""

NAME_BYTES = 255
"""A name is part of a path and of the name of an entry."""


def check_name(name: str) -> None:
    """Raises InvalidArgument."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES:
        raise InvalidArgument(f"Name '{name[:32]}' is not allowed: 1 to {NAME_BYTES} bytes")


def text(settings: Mapping[str, Any], member: str, default: str | None = None) -> str:
    """A text; null and absent are the default, or an error without one. Raises InvalidArgument."""
    value = settings.get(member)
    if value is None:
        if default is None:
            raise InvalidArgument(f"Invalid JSON: missing field `{member}`")
        return default
    if not isinstance(value, str):
        raise InvalidArgument(f"Invalid JSON: `{member}` must be a string")
    return value


def texts(settings: Mapping[str, Any], member: str) -> list[str]:
    """A list of texts; null and absent are an empty one. Raises InvalidArgument."""
    value = settings.get(member)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"Invalid JSON: `{member}` must be a list of strings")
    return list(value)


def word(settings: Mapping[str, Any], member: str, allowed: tuple[T, ...]) -> T:
    """One of these; null and absent are the first. Raises InvalidArgument."""
    value = settings.get(member)
    return allowed[0] if value is None else chosen(member, value, allowed)


def chosen(member: str, value: object, allowed: tuple[T, ...]) -> T:
    """The value, one of these. Raises InvalidArgument."""
    for choice in allowed:
        if choice == value:
            return choice
    raise InvalidArgument(f"Invalid JSON: `{member}` {value!r:.64}: expected one of {', '.join(map(str, allowed))}")
