"""The bytes of an answer's head, and whole answers that the server gives by itself.

Names go out in lower case: some clients compare them so (contract reductstore 1.2). What could split an answer in two
is found when the head is built, wherever it came from: every name is checked once and remembered, and a head holds
exactly the control characters that were put there.
"""

from __future__ import annotations

import http
import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from lamina.version import __version__

API_LEVEL = "1.21"
SERVER = f"ReductStore 1.21.0 (Lamina/{__version__})"
"""Clients look for `ReductStore 1.x.y` at its start."""

OWN_HEADERS = [("server", SERVER), ("x-reduct-api", API_LEVEL)]
"""On every answer; an application that sends them, too, does not double them."""

Header = tuple[bytes, bytes]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_CONTROLS = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"  # a tab may be in a value

_REMEMBERED = 4096
"""Names of labels are the users': the rest is checked each time."""

_prefixes: dict[bytes, bytes] = dict.fromkeys((b"server", b"x-reduct-api", b"date", b"transfer-encoding"), b"")
"""What comes before the value of a header; nothing for those that the server writes by itself."""


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = [_status_line(status) for status in range(600)]


class Own(NamedTuple):
    """The headers that a server adds to every answer, as lines."""

    source: list[Header]
    lines: bytes


_own = Own([], b"")


def _own_lines(headers: list[Header]) -> bytes:
    """Encoded once per list: the server makes a new one every second, for the date."""
    global _own
    if _own.source is not headers:
        _own = Own(headers, b"".join([name.lower() + b": " + value + b"\r\n" for name, value in headers]))
    return _own.lines


def _prefix(name: bytes) -> bytes:
    lowered = name.lower()
    if _TOKEN.fullmatch(lowered) is None:
        raise ValueError(f"header name {name!r}: expected a token")
    prefix = _prefixes.get(lowered)
    if prefix is None:
        prefix = lowered + b": "
    if len(_prefixes) < _REMEMBERED:
        _prefixes[name] = prefix
    return prefix


def encode(status: int, headers: Iterable[Header], own: list[Header], last: bytes = b"") -> bytes:
    """A head with its empty line; `last` are lines that the connection itself adds, each with its end.

    Raises ValueError for a name that is no token and for a control character in a value.
    """
    parts = [_STATUS_LINES[status], _own_lines(own)]
    written = 0
    for name, value in headers:
        prefix = _prefixes.get(name)
        if prefix is None:
            prefix = _prefix(name)
        if prefix:
            parts += (prefix, value, b"\r\n")
            written += 1
    parts += (last, b"\r\n")
    head = b"".join(parts)
    ends = 1 + len(own) + written + last.count(b"\n") + 1
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * ends:
        bad = next((item for item in headers if item[1].translate(None, _CONTROLS) != item[1]), None)
        raise ValueError(f"header {bad!r}: control characters are not allowed in a value")
    return head


class _Constant(NamedTuple):
    """A head that was encoded, and what it was made of."""

    status: int
    headers: tuple[Header, ...]
    own: list[Header]
    head: bytes


_constant = _Constant(0, (), [], b"")


def encode_constant(status: int, headers: tuple[Header, ...], own: list[Header]) -> bytes:
    """`encode` of headers that are the same tuple again and again: encoded once, until `own` changes."""
    global _constant
    found = _constant
    if found.headers is not headers or found.own is not own or found.status != status:
        found = _constant = _Constant(status, headers, own, encode(status, headers, own))
    return found.head


def error_body(message: str) -> bytes:
    """The JSON body of an error (contract reductstore 1.3)."""
    return json.dumps({"detail": message.replace('"', "'")}, ensure_ascii=False).encode()


def error_value(message: str) -> bytes:
    """The message as the value of x-reduct-error."""
    if message.isascii() and message.isprintable():
        return message.encode()
    return b"Unparsable message"


def refusal(status: int, message: str, own: list[Header], *, bodiless: bool = False) -> bytes:
    """A whole error after which the connection ends; without its body for HEAD."""
    body = error_body(message)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-reduct-error", error_value(message)),
    ]
    head = encode(status, headers, own, b"connection: close\r\n")
    return head if bodiless else head + body
