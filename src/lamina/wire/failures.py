"""Errors on the wire: the name of their class in `lamina.errors`, and their text."""

from __future__ import annotations

import json
from typing import Any

from lamina import errors
from lamina.errors import LaminaError

KINDS: dict[str, type[LaminaError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, LaminaError)
}


def name_of(error: LaminaError) -> str:
    """The nearest class that a client knows: kinds of one floor go as what they are a kind of."""
    return next(kind.__name__ for kind in type(error).__mro__ if KINDS.get(kind.__name__) is kind)


def plain(error: LaminaError) -> dict[str, str]:
    return {"error": name_of(error), "message": str(error)}


def encode(error: LaminaError) -> bytes:
    return json.dumps(plain(error)).encode()


def revived(value: Any) -> LaminaError:
    """The error that `plain` described. One of a newer server is a LaminaError."""
    if not isinstance(value, dict):
        return LaminaError(f"the server answered with an error that says {value!r:.200}")
    kind = KINDS.get(str(value.get("error")), LaminaError)
    return kind(str(value.get("message")))


def decode(body: bytes | bytearray) -> LaminaError | None:
    """None where the bytes are no error."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return revived(value) if isinstance(value, dict) and "error" in value else None
