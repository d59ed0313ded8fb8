"""Requests and bytes per client and window (contract reductstore 1.8).

A window begins with a client's first request and is fixed; the next one begins with the first request after its end.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from lamina.errors import InvalidArgument
from lamina.server.quantities import parse_size
from lamina.time import Clock

SECOND = 1_000_000_000  # ns

CLIENTS = 10_000
"""Windows kept; beyond, the oldest is forgotten. 2 MB; more clients than that are no ordinary use."""

_PERIODS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_PERIODS |= {"d": 86_400, "day": 86_400}
_REQUESTS = re.compile(r"([0-9]{1,18})\s*(?:req|reqs|request|requests)?")

API = "api requests"
INGRESS = "ingress bytes"
EGRESS = "egress bytes"


class Rate(NamedTuple):
    amount: int
    period_s: int


def parse_request_rate(name: str, text: str) -> Rate:
    """Of `<amount>[/<period>]`: `100req/s`, `1000` (an hour). Raises InvalidArgument naming the setting."""
    amount, period_s = _split(name, text)
    found = _REQUESTS.fullmatch(amount.lower())
    if found is None:
        raise InvalidArgument(f"{name}={text!r}: expected a rate such as 100req/s or 5000/h")
    return _positive(name, text, Rate(int(found[1]), period_s))


def parse_byte_rate(name: str, text: str) -> Rate:
    """Of `<amount>[/<period>]`: `10MB/s`, `1GiB` (an hour). Raises InvalidArgument naming the setting."""
    amount, period_s = _split(name, text)
    return _positive(name, text, Rate(parse_size(name, amount), period_s))


def _split(name: str, text: str) -> tuple[str, int]:
    amount, slash, period = text.strip().partition("/")
    period_s = _PERIODS.get(period.strip().lower()) if slash else 3600
    if period_s is None:
        raise InvalidArgument(f"{name}={text!r}: expected a period of s, m, h or d behind the slash")
    return amount.strip(), period_s


def _positive(name: str, text: str, rate: Rate) -> Rate:
    if not rate.amount:
        raise InvalidArgument(f"{name}={text!r}: expected more than 0")
    return rate


@dataclass(frozen=True, slots=True)
class RateLimits:
    """None: no limit, the default; who needs one knows which."""

    api: Rate | None = None
    ingress: Rate | None = None
    egress: Rate | None = None

    def __bool__(self) -> bool:
        return self.api is not None or self.ingress is not None or self.egress is not None


class _Window:
    __slots__ = ("ends_ns", "used")

    def __init__(self, ends_ns: int) -> None:
        self.ends_ns = ends_ns
        self.used = 0


class RateLimiter:
    """Counts for one server. On the loop's thread only."""

    def __init__(self, limits: RateLimits, clock: Clock, *, clients: int = CLIENTS) -> None:
        self._rates = {API: limits.api, INGRESS: limits.ingress, EGRESS: limits.egress}
        self._windows: dict[str, dict[str, _Window]] = {what: {} for what in self._rates}
        self._clock = clock
        self._clients = clients

    def admit(self, client: str, announced: int) -> str:
        """Count a request with a body of so many bytes; the message of the limit that refuses it, "" for none.

        A refused request counts as a request, its bytes do not. Bytes of answers are counted by `sent`; a client
        that has used up its window gets no further answer in it.
        """
        now = self._clock.monotonic_ns()
        for what, n in ((API, 1), (EGRESS, 0), (INGRESS, announced)):
            rate = self._rates[what]
            if rate is None:
                continue
            window = self._window(what, client, rate, now)
            used = window.used + n
            if used > rate.amount or (what is EGRESS and used == rate.amount):
                if what is API:
                    window.used = used
                wait_s = max(1, math.ceil((window.ends_ns - now) / SECOND))
                return (
                    f"rate limit for {what} (client {client}) exceeded: "
                    f"used={_amount(what, used)} limit={_amount(what, rate.amount)} retry_after={wait_s}s"
                )
            window.used = used
        return ""

    def received(self, client: str, n: int) -> None:
        """Bytes of a body whose length was not announced."""
        self._count(INGRESS, client, n)

    def sent(self, client: str, n: int) -> None:
        """Bytes of an answer's body."""
        self._count(EGRESS, client, n)

    def _count(self, what: str, client: str, n: int) -> None:
        rate = self._rates[what]
        if rate is not None:
            self._window(what, client, rate, self._clock.monotonic_ns()).used += n

    def _window(self, what: str, client: str, rate: Rate, now: int) -> _Window:
        windows = self._windows[what]
        window = windows.get(client)
        if window is None or window.ends_ns <= now:
            windows.pop(client, None)  # to the end of the order: windows of one kind end as they began
            if len(windows) >= self._clients:
                del windows[next(iter(windows))]
            window = windows[client] = _Window(now + rate.period_s * SECOND)
        return window


def _amount(what: str, n: int) -> str:
    """`3`, or bytes as `1.0 KB (1000)`."""
    if what is API:
        return str(n)
    if n < 1000:
        return f"{n} B ({n})"
    power = min((len(str(n)) - 1) // 3, 5)
    return f"{n / 1000**power:.1f} {'KMGTP'[power - 1]}B ({n})"
