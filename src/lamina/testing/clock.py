"""A clock that a test turns."""

from __future__ import annotations

import threading

_START_US = 1_700_000_000_000_000  # November 2023: any plausible wall time, the same in every run


class ManualClock:
    """Time stands still until `advance`; then wall and monotonic time move together. Thread-safe.

    `wait` blocks until the event is set or another thread has advanced the clock past the timeout. With
    `autojump` it never blocks: it moves the clock to its own deadline at once, unless the event is set. A
    loop that waits for nothing but time then spins, so autojump is for tests that call such loops by hand.
    """

    def __init__(self, wall_us: int = _START_US, *, autojump: bool = False) -> None:
        self._lock = threading.Lock()  # guards everything below
        self._wall_us = wall_us
        self._now_ns = 0
        self._autojump = autojump
        self._waiting: list[threading.Condition] = []

    def wall_us(self) -> int:
        with self._lock:
            return self._wall_us + self._now_ns // 1000

    def monotonic_ns(self) -> int:
        with self._lock:
            return self._now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake who has waited long enough."""
        assert seconds >= 0, "monotonic time never goes back"
        self._move(round(seconds * 1e9))

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back; monotonic time does not notice."""
        with self._lock:
            self._wall_us += round(seconds * 1e6)

    def _move(self, ns: int) -> None:
        with self._lock:
            self._now_ns += ns
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()

    @property
    def waiters(self) -> int:
        """How many threads are blocked in wait."""
        with self._lock:
            return len(self._waiting)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if event.is_set() or timeout_s <= 0:
            return event.is_set()
        ns = round(timeout_s * 1e9)
        if self._autojump:
            self._move(ns)
            return event.is_set()
        # The event's own condition, because Event.set must wake this thread as well as advance.
        condition: threading.Condition = event._cond  # type: ignore[attr-defined]
        with self._lock:
            deadline = self._now_ns + ns
            self._waiting.append(condition)
        try:
            with condition:
                # Not event.is_set() under another lock: advance moves the time first and notifies then, and
                # notifying needs this condition, so no wake-up falls between the check and the wait.
                while not event.is_set() and self.monotonic_ns() < deadline:
                    condition.wait()
        finally:
            with self._lock:
                self._waiting.remove(condition)
        return event.is_set()
