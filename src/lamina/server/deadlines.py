"""One sweep a second over the connections of a listener, instead of a timer or a clock reading per request.

A connection says what it waits for; the sweep remembers since when it has seen that. Deadlines are kept to a second.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Protocol

from lamina.server.limits import HttpLimits
from lamina.time import Clock

SECOND = 1_000_000_000  # ns


class Stage(enum.IntEnum):
    """What a connection waits for."""

    HEAD = 0  # the first byte, or the rest of a head
    IDLE = 1  # another request
    BODY = 2  # bytes of a body that somebody wants
    SERVER = 3  # us, or a client that reads its answer
    DISCARD = 4  # the end of a body that nobody wants, its answer held back
    LINGER = 5  # the client to close: all is said


class Watch:
    """What the sweep knows of one connection."""

    __slots__ = ("bytes", "number", "progress_ns", "seen_ns", "since_ns", "stage")

    def __init__(self) -> None:
        self.stage = Stage.SERVER
        self.number = -1
        self.since_ns = 0  # first seen in this stage; for a body without the time the server did not read
        self.seen_ns = 0  # the last sweep
        self.progress_ns = 0  # the last sweep that saw more bytes of the body
        self.bytes = 0


class Watched(Protocol):
    """A connection as the sweep sees it."""

    watch: Watch

    def stage(self) -> tuple[Stage, int, int]:
        """What it waits for, the number of the request on this connection, bytes of its body received."""
        ...

    def expire(self, stage: Stage) -> None:
        """It waited too long for that."""
        ...


class Sweep:
    def __init__(self, clock: Clock, limits: HttpLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._patience_ns = {
            Stage.HEAD: round(limits.head_s * SECOND),
            Stage.IDLE: round(limits.keep_alive_s * SECOND),
            Stage.DISCARD: round(limits.discard_s * SECOND),
            Stage.LINGER: round(limits.linger_s * SECOND),
        }

    def __call__(self, connections: Iterable[Watched]) -> None:
        """Call about once a second. 0.3 µs a connection."""
        now = self._clock.monotonic_ns()
        for connection in tuple(connections):
            stage, number, received = connection.stage()
            watch = connection.watch
            same = number == watch.number
            if stage is Stage.BODY and same and watch.stage in (Stage.BODY, Stage.SERVER):
                if self._starved(watch, received, now):
                    connection.expire(stage)
            elif stage is Stage.SERVER and same and watch.stage is not Stage.HEAD:
                self._wait_for_server(watch, received, now)
            elif stage is not watch.stage or not same:
                self._begin(watch, stage, number, received, now)
            elif now - watch.since_ns >= self._patience_ns.get(stage, now + 1):
                connection.expire(stage)

    @staticmethod
    def _begin(watch: Watch, stage: Stage, number: int, received: int, now: int) -> None:
        watch.stage, watch.number, watch.bytes = stage, number, received
        watch.since_ns = watch.seen_ns = watch.progress_ns = now

    @staticmethod
    def _wait_for_server(watch: Watch, received: int, now: int) -> None:
        """Time in which nobody reads the body does not count against its sender."""
        watch.since_ns += now - watch.seen_ns
        watch.progress_ns = watch.seen_ns = now
        watch.stage, watch.bytes = Stage.SERVER, received

    def _starved(self, watch: Watch, received: int, now: int) -> bool:
        """Whether the body came too slowly."""
        limits = self._limits
        watch.stage, watch.seen_ns = Stage.BODY, now
        if received != watch.bytes:
            watch.bytes, watch.progress_ns = received, now
        if now - watch.progress_ns >= limits.body_idle_s * SECOND:
            return True
        elapsed_s = (now - watch.since_ns) / SECOND
        return elapsed_s >= limits.body_rate_after_s and received < limits.body_rate * elapsed_s
