"""Messages of the server's log as events (contract reductstore 16)."""

from __future__ import annotations

import logging
from collections import deque

from lamina.jobs.system import Event
from lamina.jobs.system import log as own

HELD = 1000
"""Messages that wait to be kept; of more the oldest go. The log itself has them all."""


class LogEvents(logging.Handler):
    """Give it to a logger. Thread-safe; it only notes."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._held: deque[Event] = deque(maxlen=HELD)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == own.name:
            return
        try:
            message = record.getMessage()
        except Exception:  # the format does not fit its values
            self.handleError(record)
            return
        level = "WARN" if record.levelname == "WARNING" else record.levelname
        payload = {"level": level, "target": record.name, "file": record.filename, "line": record.lineno}
        self._held.append(Event("logs", "messages", 200, message, payload, {"level": level}))

    def due(self) -> list[Event]:
        """What was not told yet, in order."""
        events = []
        while self._held:
            events.append(self._held.popleft())
        return events
