"""Texts of headers: what a label's value looks like in a batch, which characters cannot be sent, encoded names."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, unquote

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAME_BREAKS = re.compile(r'[,="\x00-\x1f\x7f]')

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
"""What the name of a header may be."""

NAME_SAFE = "!#$&'*+-.^_`|~"
"""Characters of a name that are sent as they are, beside letters and digits (RFC 7230); `%` is not one of them."""


def check_value(text: str) -> str:
    """A text that a header can carry. Raises ValueError."""
    if _CONTROL.search(text):
        raise ValueError(f"{text!r} holds a control character, which no header can carry")
    return text


def quoted(value: str) -> str:
    """A label's value in a batch. Raises ValueError."""
    check_value(value)
    if "," in value or value.startswith('"'):
        if '"' in value:
            raise ValueError(f"label value {value!r}: a batch has no way to say a comma and a quote in one value")
        return f'"{value}"'
    return value


def check_label_name(name: str) -> str:
    """A label's name in a v1 batch. Raises ValueError."""
    if not name or _NAME_BREAKS.search(name):
        raise ValueError(
            f"label name {name!r}: a batch takes no empty name, comma, equals sign, quote or control character"
        )
    return name


def check_type(content_type: str) -> str:
    """A content type in a batch. Raises ValueError."""
    if "," in content_type:
        raise ValueError(f"content type {content_type!r}: a batch takes no comma in it")
    return check_value(content_type)


@lru_cache(4096)
def encode_name(name: str) -> str:
    return quote(name, safe=NAME_SAFE)


@lru_cache(256)
def decode_names(text: str) -> tuple[str, ...]:
    return tuple(unquote(name.strip()) for name in text.split(","))


def pairs(text: str, name: Callable[[str], str]) -> list[tuple[str, str]]:
    """`key=value` pairs, comma-separated; a value that starts with a quote runs to the next one. Raises ValueError."""
    found = []
    while text:
        key, equals, rest = text.partition("=")
        if not equals:
            raise ValueError(f"labels {text!r}: expected name=value")
        if rest.startswith('"'):
            value, _, rest = rest[1:].partition('"')
            rest = rest.lstrip(" ,")
        else:
            value, _, rest = rest.partition(",")
            rest = rest.lstrip()
        found.append((name(key.strip()), value.strip()))
        text = rest
    return found
