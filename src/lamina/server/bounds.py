"""How large a head may be, and how a connection is told that it was too large."""

from __future__ import annotations

from lamina.server.limits import HttpLimits


class Refused(Exception):
    """Ends a connection from within a callback of the parser."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def check_sizes(headers: list[tuple[bytes, bytes]], limits: HttpLimits) -> None:
    """A name, a value, and four bytes between and behind them."""
    total = 0
    for name, value in headers:
        line = len(name) + len(value) + 4
        if line > limits.line_bytes:
            raise Refused(431, f"header line of {line} bytes: at most {limits.line_bytes} are taken")
        total += line
    if total > limits.head_bytes:
        raise Refused(431, too_large(limits))


def too_long(limits: HttpLimits) -> str:
    return f"a request target of more than {limits.target_bytes} bytes is not taken"


def too_large(limits: HttpLimits) -> str:
    return f"headers of more than {limits.head_bytes} bytes are not taken"
