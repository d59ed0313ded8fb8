"""Who called what: calls of the API, those alike as one event (contract reductstore 16)."""

from __future__ import annotations

import threading
from typing import NamedTuple

from lamina.jobs.system import Event
from lamina.time import Clock

GATHER_NS = 5 * 1_000_000_000
"""Calls alike are gathered so long from the first on."""

KINDS = 10_000
"""Of calls in that time; beyond them paths and addresses are no longer told apart, so that nobody fills the memory."""

PATH_LIMIT = 1000
"""Characters."""

API = "/api/v1/"
UNTOLD = ("alive", "ready")
"""Asked for by supervisors every second."""


class _Kind(NamedTuple):
    token: str
    method: str
    path: str
    client_ip: str | None
    status: int
    message: str


_Plain = tuple[str, str, str, str | None, int, str]
"""A _Kind is one, and equal to any other, which is made in a third of the time."""


class Audit:
    """Thread-safe; a call costs about a microsecond."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._began_ns: int | None = None  # when the first of the calls came
        self._calls: dict[_Plain, list[int]] = {}  # -> [how many, µs together]

    def call(
        self, token: str, method: str, path: str, client_ip: str | None, status: int, message: str, duration_us: int
    ) -> None:
        """Note a call. What is not of the API, and questions whether the server lives, are left out."""
        with self._lock:
            found = self._calls.get((token, method, path, client_ip, status, message))
            if found is not None:
                found[0] += 1
                found[1] += duration_us
                return
        _, api, route = path.partition(API)
        if not api or route in UNTOLD:
            return
        kind = _Kind(token, method, path[:PATH_LIMIT], client_ip, status, message)
        with self._lock:
            found = self._calls.get(kind)
            if found is None:
                if len(self._calls) >= KINDS:
                    kind = _Kind(token, method, "*", None, status, "")
                found = self._calls.setdefault(kind, [0, 0])
                if self._began_ns is None:
                    self._began_ns = self._clock.monotonic_ns()
            found[0] += 1
            found[1] += duration_us

    def due(self, *, all: bool = False) -> list[Event]:
        """What is to be told now; `all`: whatever was not told yet."""
        with self._lock:
            if self._began_ns is None:
                return []
            if not all and self._clock.monotonic_ns() - self._began_ns < GATHER_NS:
                return []
            calls, self._calls, self._began_ns = self._calls, {}, None
        return [
            Event(
                "audit",
                kind.token,
                kind.status,
                kind.message,
                {
                    "token_name": kind.token,
                    "method": kind.method,
                    "path": kind.path,
                    "client_ip": kind.client_ip,
                    "call_count": count,
                    "duration": duration_us / 1_000_000,
                },
            )
            for kind, (count, duration_us) in ((_Kind._make(key), sums) for key, sums in calls.items())
        ]
