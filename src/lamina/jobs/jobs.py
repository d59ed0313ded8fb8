"""The door: what a server does by itself over one open database, and the threads for it.

jobs = Jobs(db, JobsConfig(...), connect)     # right after the database was opened
jobs.start()
...
jobs.close()                                  # before the database is closed
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamina.errors import LaminaError
from lamina.jobs.audit import Audit
from lamina.jobs.lifecycles import Lifecycles, Report
from lamina.jobs.logs import LogEvents
from lamina.jobs.replications import Replications
from lamina.jobs.sender import SenderFactory
from lamina.jobs.system import Event, SystemEvents
from lamina.jobs.usage import Usage

if TYPE_CHECKING:
    from lamina.engine.database import Database

log = logging.getLogger("lamina.jobs")

Wanted = tuple[str, Mapping[str, Any]]
"""Name and settings of a job."""

EVENTS_S = 0.5
"""Events are looked for so often: a call shows within 6 s (contract 16)."""

LIFECYCLES_S = 5.0
"""Intervals of policies are ten minutes at least."""

REPLICATIONS_NS = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """Of one server."""

    instance: str = "localhost"  # part of the names of entries
    port: int = 8383  # where it listens: a replication onto itself is refused by it
    replication_timeout_s: float = 5.0
    replication_log_size: int = 1_000_000
    system_events: bool = True
    system_log_level: int = logging.WARNING
    system_quota_size: int = 10_000_000_000


class Observer:
    """What a face tells of its calls. Nothing here blocks or raises."""

    def __init__(self, audit: Audit, usage: Usage) -> None:
        self.call = audit.call
        self.wrote = usage.wrote
        self.read = usage.read


class Jobs:
    """`replications`, `lifecycles`: for management; `observer`: for the face, None if there are no system events."""

    def __init__(self, db: Database, config: JobsConfig, connect: SenderFactory) -> None:
        """Raises OSError, Corrupt: the queues of replications cannot be read."""
        self._db = db
        self._config = config
        self.replications = Replications(
            db,
            connect,
            own_port=config.port,
            timeout_s=config.replication_timeout_s,
            log_size=config.replication_log_size,
        )
        self.lifecycles = Lifecycles(db, self._ran)
        self._events = SystemEvents(db, config.instance, config.system_quota_size)
        self._audit = Audit(db.clock)
        self._usage = Usage(db)
        self._logs = LogEvents(config.system_log_level)
        self._told_ns = db.clock.monotonic_ns()
        self.observer = Observer(self._audit, self._usage) if config.system_events else None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def provision(self, replications: Sequence[Wanted], lifecycles: Sequence[Wanted]) -> None:
        """Have exactly these provisioned (contract 19). Raises InvalidArgument, NotFound, Unavailable, OSError."""
        self.replications.provision(replications)
        self.lifecycles.provision(lifecycles)

    def start(self) -> None:
        """Do it all on threads."""
        self.replications.start()
        if self._config.system_events:
            logging.getLogger().addHandler(self._logs)
            self._begin("lamina-events", self.run_events, EVENTS_S)
        self._begin("lamina-lifecycles", self._run_lifecycles, LIFECYCLES_S)

    def _begin(self, name: str, work: Callable[[], None], pause_s: float) -> None:
        def loop() -> None:
            while not self._db.clock.wait(self._stop, pause_s):
                try:
                    work()
                except (LaminaError, OSError) as error:
                    log.warning("%s: %s", name, error)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run_lifecycles(self) -> None:
        self.lifecycles.run_due()

    def _ran(self, report: Report) -> None:
        """A lifecycle policy ran."""
        if not self._config.system_events:
            return
        ran = report.run
        payload = {
            "policy_name": report.policy,
            "action_type": report.settings.type,
            "bucket": report.settings.bucket,
            "duration": report.duration_s,
            "processed_records": ran.records if ran is not None else 0,
            "processed_blocks": ran.blocks if ran is not None else 0,
            "caught_up": ran is not None and ran.caught_up,
        }
        if ran is not None and ran.through is not None:
            payload["last_processed_ts"] = ran.through
        self._events.keep([Event("lifecycle", report.policy, report.status, report.message, payload)])

    def run_events(self, *, all: bool = False) -> None:
        """Keep the events that are due. Never raises for what keeping them can meet."""
        events = [*self._audit.due(all=all), *self._logs.due(), *self._replicated(all), *self._usage.due()]
        self._events.keep(events)

    def _replicated(self, all: bool) -> list[Event]:
        """Once a minute, of replications that did something or have something to do."""
        now_ns = self._db.clock.monotonic_ns()
        if not all and now_ns - self._told_ns < REPLICATIONS_NS:
            return []
        self._told_ns = now_ns
        events = []
        for task in self.replications.tasks():
            counts = task.take_counts()
            pending = task.pending
            if not (counts.written or counts.failed or pending):
                continue
            payload = {
                "pending_records": pending,
                "written_records": counts.written,
                "failed_records": counts.failed,
                "replicated_data_size": counts.size,
                "duration": counts.duration_s,
            }
            message = "" if task.active else "destination is not reachable"
            events.append(Event("replications", task.name, 200 if task.active else 503, message, payload))
        return events

    def close(self) -> None:
        """End all threads; what was published is in the queues then, and the last events are kept. Idempotent."""
        self.lifecycles.stop()
        if not self._stop.is_set():
            self._stop.set()
            for thread in self._threads:
                thread.join()
            if self._config.system_events:
                logging.getLogger().removeHandler(self._logs)
                self.run_events(all=True)
        self.replications.close()
