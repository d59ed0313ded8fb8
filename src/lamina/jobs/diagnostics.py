"""How a replication fared in the last hour (contract reductstore 14)."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from lamina.time import Clock

FRAME_NS, FRAMES = 60 * 1_000_000_000, 60
"""Counts are kept per minute, for an hour."""

MESSAGE_LIMIT = 1000
"""Characters of a message that another server sent."""


class _Minute:
    __slots__ = ("errored", "errors", "number", "ok")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ok = 0
        self.errored = 0
        self.errors: dict[int, tuple[int, str]] = {}  # code -> (count, last message)


class Diagnostics:
    """Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._minutes: deque[_Minute] = deque()
        self._began = 0
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        with self._lock:
            self._minutes.clear()
            self._began = self._clock.monotonic_ns() // FRAME_NS

    def ok(self, count: int) -> None:
        with self._lock:
            self._minute().ok += count

    def errored(self, code: int, message: str, count: int = 1) -> None:
        with self._lock:
            minute = self._minute()
            minute.errored += count
            before, _ = minute.errors.get(code, (0, ""))
            minute.errors[code] = (before + count, message[:MESSAGE_LIMIT])

    def _minute(self) -> _Minute:
        number = self._clock.monotonic_ns() // FRAME_NS
        while self._minutes and self._minutes[0].number <= number - FRAMES:
            self._minutes.popleft()
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]

    def hourly(self) -> dict[str, Any]:
        """`ok` and `errored` scaled up to an hour while it has not passed, `errors` by code as they were."""
        with self._lock:
            now = self._minute()
            frames = min(now.number - self._began + 1, FRAMES)
            errors: dict[int, tuple[int, str]] = {}
            for minute in self._minutes:
                for code, (count, message) in minute.errors.items():
                    errors[code] = (errors.get(code, (0, ""))[0] + count, message)
            return {
                "ok": sum(minute.ok for minute in self._minutes) * FRAMES // frames,
                "errored": sum(minute.errored for minute in self._minutes) * FRAMES // frames,
                "errors": {
                    str(code): {"count": count, "last_message": message} for code, (count, message) in errors.items()
                },
            }
