"""Whether the wall clock may be believed for deletion by age (reliability law 11).

A clock that was set ten years ahead must not empty a database. Age is not acted upon while wall and monotonic clock
have diverged by over a minute, nor after an opening more than a day past the last wall time persisted, until that has
been stable for ten minutes. Quotas and rules that count versions are never delayed.
"""

from __future__ import annotations

from lamina.time import Clock

DIVERGENCE_US = 60 * 1_000_000
AWAY_US = 24 * 3600 * 1_000_000
STABLE_NS = 600 * 1_000_000_000


class ClockGuard:
    """Watches one process's clocks. Used by the upkeep thread."""

    def __init__(self, clock: Clock, last_wall_us: int) -> None:
        self._clock = clock
        self._wall_us = clock.wall_us()
        self._monotonic_ns = clock.monotonic_ns()
        away = last_wall_us and self._wall_us - last_wall_us > AWAY_US
        self._suspicious_ns: int | None = self._monotonic_ns if away else None

    def trusted(self) -> bool:
        """To be asked now and then: each call compares with the one before."""
        wall_us, monotonic_ns = self._clock.wall_us(), self._clock.monotonic_ns()
        drift_us = (wall_us - self._wall_us) - (monotonic_ns - self._monotonic_ns) // 1000
        self._wall_us, self._monotonic_ns = wall_us, monotonic_ns
        if abs(drift_us) > DIVERGENCE_US:
            self._suspicious_ns = monotonic_ns
        if self._suspicious_ns is not None and monotonic_ns - self._suspicious_ns >= STABLE_NS:
            self._suspicious_ns = None
        return self._suspicious_ns is None
