"""Who called what: calls of the API, those alike as one event (contract reductstore 16)."""

from __future__ import annotations

import threading

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


_Kind = tuple[str, str, str, str | None, int, str]
"""Token, method, path, address, status and message of calls that are alike."""


class Audit:
    """Thread-safe; a call costs about a microsecond."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._began_ns: int | None = None  # when the first of the calls came
        self._calls: dict[_Kind, list[int]] = {}  # -> [how many, µs together]

    def call(
        self, token: str, method: str, path: str, client_ip: str | None, status: int, message: str, duration_us: int
    ) -> None:
        """Note a call. What is not of the API, and questions whether the server lives, are left out."""
        kind: _Kind = (token, method, path, client_ip, status, message)
        with self._lock:
            found = self._calls.get(kind)
            if found is not None:
                found[0] += 1
                found[1] += duration_us
                return
        _, api, route = path.partition(API)
        if not api or route in UNTOLD:
            return
        kind = (token, method, path[:PATH_LIMIT], client_ip, status, message)
        with self._lock:
            found = self._calls.get(kind)
            if found is None:
                if len(self._calls) >= KINDS:
                    kind = (token, method, "*", None, status, "")
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
                token,
                status,
                message,
                {
                    "token_name": token,
                    "method": method,
                    "path": path,
                    "client_ip": client_ip,
                    "call_count": count,
                    "duration": duration_us / 1_000_000,
                },
            )
            for (token, method, path, client_ip, status, message), (count, duration_us) in calls.items()
        ]
