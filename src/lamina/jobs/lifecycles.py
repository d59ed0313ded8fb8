"""All lifecycle policies of a database: management, and running what is due."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.catalog.rows import LifecycleRow
from lamina.engine.metadata import Change
from lamina.errors import AlreadyExists, Conflict, InvalidArgument, LaminaError, NotFound
from lamina.jobs import lifecycle
from lamina.jobs.lifecycle_settings import MODES, LifecycleSettings
from lamina.jobs.members import JOBS, check_name, chosen

if TYPE_CHECKING:
    from lamina.catalog.catalog import CatalogSnapshot
    from lamina.engine.database import Database

log = logging.getLogger("lamina.jobs")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Report(NamedTuple):
    """What became of a run, for whoever keeps events."""

    policy: str
    settings: LifecycleSettings
    run: lifecycle.Run | None  # None: it failed
    status: int
    message: str
    duration_s: float


class _Policy:
    __slots__ = ("cursor", "due_ns", "last_run_us", "name", "provisioned", "settings")

    def __init__(self, name: str, settings: LifecycleSettings, provisioned: bool, last_run_us: int) -> None:
        self.name = name
        self.settings = settings
        self.provisioned = provisioned
        self.last_run_us = last_run_us  # 0: never
        self.due_ns = 0  # of the monotonic clock
        self.cursor: int | None = None


class Lifecycles:
    """Implements the face's protocol of managed jobs. Thread-safe; `run_due` is for one thread."""

    def __init__(self, db: Database, report: Callable[[Report], None] | None = None) -> None:
        """`report` hears of every run; it must not raise."""
        self._db = db
        self._report = report
        self._lock = threading.Lock()  # guards the policies; not held while one runs
        self._policies: dict[str, _Policy] = {}
        self._stop = False
        with db.catalog.snapshot() as snapshot:
            rows = list(snapshot.lifecycles())
        for row in rows:
            policy = _Policy(row.name, LifecycleSettings.of(row.settings), row.provisioned, row.last_run_us)
            self._put_off(policy)
            self._policies[row.name] = policy

    def _put_off(self, policy: _Policy) -> None:
        """To an interval from now."""
        policy.due_ns = self._db.clock.monotonic_ns() + policy.settings.interval_us * 1000

    # -- management ----------------------------------------------------------------------------------------------

    def list(self) -> Sequence[Mapping[str, Any]]:
        """By name."""
        with self._lock:
            return [_info(policy) for _, policy in sorted(self._policies.items())]

    def get(self, name: str) -> Mapping[str, Any]:
        """`info` and `settings`. Raises NotFound."""
        with self._lock:
            policy = self._policy(name)
            return {"info": _info(policy), "settings": policy.settings._asdict()}

    def _policy(self, name: str) -> _Policy:
        policy = self._policies.get(name)
        if policy is None:
            raise NotFound(f"Lifecycle '{name}' does not exist")
        return policy

    def create(self, name: str, settings: Mapping[str, Any], *, provisioned: bool = False) -> None:
        """The first run is an interval from now. Durable when it returns. Raises InvalidArgument, AlreadyExists,
        NotFound (bucket), Unavailable, NoSpace."""
        check_name(name)
        checked = LifecycleSettings.of(settings)
        with self._lock:
            self._create(name, checked, provisioned)

    def _create(self, name: str, settings: LifecycleSettings, provisioned: bool) -> None:
        if name in self._policies:
            raise AlreadyExists(f"Lifecycle '{name}' already exists")
        if len(self._policies) >= JOBS:
            raise InvalidArgument(f"{len(self._policies)} lifecycles: at most {JOBS} are allowed")
        self._check(name, settings)
        policy = _Policy(name, settings, provisioned, 0)
        self._put_off(policy)
        self._db.metadata.put([LifecycleRow(name, settings._asdict(), provisioned, 0)])
        self._policies[name] = policy

    def _check(self, name: str, settings: LifecycleSettings) -> None:
        settings.check(name, lambda bucket: bucket in self._db.buckets)

    def update(self, name: str, settings: Mapping[str, Any]) -> None:
        """Replace all settings; the next run is an interval from now. Raises NotFound, Conflict (provisioned), and as
        `create`."""
        with self._lock:
            policy = self._policy(name)
            if policy.provisioned:
                raise Conflict(f"Can't update provisioned lifecycle '{name}'")
            checked = LifecycleSettings.of(settings)
            self._check(name, checked)
            self._replace(policy, checked, policy.provisioned)

    def set_mode(self, name: str, mode: str) -> None:
        """Also of a provisioned one; its runs stay when they are. Raises NotFound, InvalidArgument."""
        with self._lock:
            policy = self._policy(name)
            due_ns = policy.due_ns
            self._replace(policy, policy.settings._replace(mode=chosen("mode", mode, MODES)), policy.provisioned)
            policy.due_ns = due_ns

    def _replace(self, policy: _Policy, settings: LifecycleSettings, provisioned: bool) -> None:
        if settings == policy.settings and provisioned == policy.provisioned:
            return

        def decide(snapshot: CatalogSnapshot) -> Change:
            row = _row(snapshot, policy.name)
            assert row is not None, "rows go with their policies"
            return Change([row._replace(settings=settings._asdict(), provisioned=provisioned)])

        self._db.metadata.change(decide)
        policy.settings, policy.provisioned, policy.cursor = settings, provisioned, None
        self._put_off(policy)

    def remove(self, name: str) -> None:
        """Raises NotFound, Conflict (provisioned)."""
        with self._lock:
            policy = self._policy(name)
            if policy.provisioned:
                raise Conflict(f"Can't remove provisioned lifecycle '{name}'")
            self._db.metadata.delete("lifecycle", name)
            del self._policies[name]

    def provision(self, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Have exactly these provisioned: missing ones are made, others become ordinary ones. A mode that was set
        stays unless another is given. Raises as `create`."""
        with self._lock:
            for name, settings in wanted:
                policy = self._policies.get(name)
                if policy is None:
                    check_name(name)
                    self._create(name, LifecycleSettings.of(settings), True)
                    continue
                checked = LifecycleSettings.of({"mode": policy.settings.mode} | dict(settings))
                self._check(name, checked)
                self._replace(policy, checked, True)
            names = {name for name, _ in wanted}
            for name, policy in self._policies.items():
                if policy.provisioned and name not in names:
                    self._replace(policy, policy.settings, False)

    # -- running -------------------------------------------------------------------------------------------------

    def run_due(self) -> int:
        """Run what is due; how many runs. Removal by age waits while the wall clock cannot be trusted (law 11). Never
        raises for what a run can meet: it is reported, and the next run tries again."""
        trusted = self._db.clock_guard.trusted()
        now_ns = self._db.clock.monotonic_ns()
        with self._lock:
            due = [policy for policy in self._policies.values() if policy.due_ns <= now_ns]
        done = 0
        for policy in due:
            settings = policy.settings
            if self._stop:
                return done
            if settings.mode == "disabled":
                self._put_off(policy)
            elif trusted or settings.type != "delete":
                self._run(policy, settings)
                done += 1
        return done

    def _run(self, policy: _Policy, settings: LifecycleSettings) -> None:
        clock = self._db.clock
        began_ns, now_us = clock.monotonic_ns(), clock.wall_us()
        ran: lifecycle.Run | None = None
        status, message = 200, ""
        try:
            ran = lifecycle.run(self._db, settings, policy.cursor, now_us)
        except (LaminaError, OSError) as error:
            status, message = lifecycle.status_of(error), str(error)
            log.warning("lifecycle %s: %s", policy.name, error)
        with self._lock:
            if policy.settings is settings:
                policy.cursor = ran.cursor if ran is not None else policy.cursor
                self._put_off(policy)
            policy.last_run_us = now_us
        self._keep(policy.name, now_us)
        if self._report is not None:
            took_s = (clock.monotonic_ns() - began_ns) / 1e9
            self._report(Report(policy.name, settings, ran, status, message, took_s))

    def _keep(self, name: str, now_us: int) -> None:
        """The last run, durably."""

        def decide(snapshot: CatalogSnapshot) -> Change:
            row = _row(snapshot, name)
            return Change([row._replace(last_run_us=now_us)] if row is not None else [])

        try:
            self._db.metadata.change(decide)
        except LaminaError as error:
            log.warning("lifecycle %s: its last run is not kept: %s", name, error)

    def stop(self) -> None:
        """Begin no further run."""
        self._stop = True


def _info(policy: _Policy) -> dict[str, Any]:
    last = policy.last_run_us
    return {
        "name": policy.name,
        "is_provisioned": policy.provisioned,
        "is_running": True,
        "type": policy.settings.type,
        "mode": policy.settings.mode,
        "last_run": (_EPOCH + timedelta(microseconds=last)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if last else None,
    }


def _row(snapshot: CatalogSnapshot, name: str) -> LifecycleRow | None:
    return next((row for row in snapshot.lifecycles() if row.name == name), None)
