"""R4: every fault at each of the first call sites: the request fails or not, reads go on, nothing acknowledged goes.

python -m tests.reliability.faults --all [--sites 30]        every fault, one site after the other
python -m tests.reliability.faults --case catalog-lost       one of CASES (losses.py), R6
"""

from __future__ import annotations

import argparse
import errno
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from lamina import errors
from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.storage.files import Files
from lamina.storage.memory import MemoryFiles
from lamina.testing import FaultyFiles, ManualClock, RecordingFiles, materialise
from lamina.testing.crashstates import CrashStates, Mark, Mode, Sync, Write
from lamina.testing.faulty_catalog import FaultyCatalog
from tests.reliability import points as sets
from tests.reliability.crashstates import _Unclosed
from tests.reliability.oracle import (
    NOTHING,
    Effect,
    Fact,
    Model,
    Points,
    Step,
    Stored,
    loosely_held,
    observed,
    same,
    stream_uuid,
    verify,
)
from tests.reliability.record import RecordedCatalog, Recording, Wrap, reopen
from tests.reliability.report import Report
from tests.reliability.workload import DURABLE, WORKLOADS, Steps, perform

SITES = 30
WARM, STEPS = 12, 30
"""Steps before the fault is ordered, and after it at most."""

MODES: tuple[Mode, ...] = ("all", "min", "torn")


class LosingFiles:
    """Files whose nth sync fails as Linux makes it fail: what was to be synced is dropped, the next sync succeeds."""

    def __init__(self, inner: RecordingFiles) -> None:
        self.inner = inner
        self.left = 0
        self.hit = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def open(self, path: str, mode: Any) -> Any:
        return _LosingFile(self, self.inner.open(path, mode), path)


class _LosingFile:
    def __init__(self, files: LosingFiles, inner: Any, path: str) -> None:
        self._files = files
        self._inner = inner
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sync(self) -> None:
        self._files.left -= 1
        if self._files.left == 0:
            events = self._files.inner.trace.events
            inode = self._inner._inode
            first = max((e.began for e in events if isinstance(e, Sync) and e.inode == inode), default=0)
            for i in range(first, len(events)):
                event = events[i]
                if isinstance(event, Write) and event.inode == inode:
                    events[i] = Mark("lost by a failed sync")
            self._files.hit = self._path
            raise OSError(errno.EIO, "Input/output error (ordered by a test)", self._path)
        self._inner.sync()


class World(NamedTuple):
    """What one case has to break."""

    faulty: FaultyFiles
    losing: LosingFiles
    catalog: FaultyCatalog


Order = Callable[[World, int], None]


def _fail(call: Any, code: int, persistent: bool = False) -> Order:
    return lambda world, nth: world.faulty.fail(call, nth, code, persistent=persistent)


HONEST: dict[str, Order] = {
    **{
        f"{call}-EIO": _fail(call, errno.EIO)
        for call in ("open", "read", "write", "truncate", "sync", "rename", "unlink", "sync_folder")
    },
    **{f"{call}-ENOSPC": _fail(call, errno.ENOSPC) for call in ("open", "write", "sync", "rename", "sync_folder")},
    "write-ENOSPC-for-good": _fail("write", errno.ENOSPC, persistent=True),
    "write-EIO-for-good": _fail("write", errno.EIO, persistent=True),
    "sync-EIO-for-good": _fail("sync", errno.EIO, persistent=True),
    "short-write-ENOSPC": lambda world, nth: world.faulty.short_write(nth, keep=3 * nth),
    "short-write-EIO": lambda world, nth: world.faulty.short_write(nth, keep=40, error=errno.EIO),
    "sync-loses-pages": lambda world, nth: setattr(world.losing, "left", nth),
    "catalog-before": lambda world, nth: world.catalog.fail(nth, "before"),
    "catalog-after": lambda world, nth: world.catalog.fail(nth, "after"),
}
"""The caller is told: not one acknowledged change may be missing afterwards."""

LYING: dict[str, Order] = {
    "lying-write": lambda world, nth: world.faulty.lie(nth),
    "flipped-read": lambda world, nth: world.faulty.flip(nth, bit=977 * nth),
}
"""Nobody is told: what is missing must be reported, what is answered must be right."""

FAULTS = HONEST | LYING


class Case:
    """One run: warm up, order the fault, go on until something fails, then look, lose power and look again."""

    def __init__(self, fault: str, nth: int, workload: str, seed: int, wrap: Wrap = lambda files: files) -> None:
        self.fault = fault
        self.nth = nth
        self.settings = WORKLOADS[workload].settings
        self.rng = random.Random(f"{fault} {nth} {workload} {seed}")
        self.recording = RecordingFiles(MemoryFiles())
        self.losing = LosingFiles(self.recording)
        self.faulty = FaultyFiles(self.losing)  # type: ignore[arg-type]
        self.files: Files = wrap(self.faulty)  # type: ignore[arg-type]
        self.kept = RecordedCatalog(MemoryCatalog(), lambda _: None)
        self.catalog = FaultyCatalog(self.kept)  # type: ignore[arg-type]
        self.clock = ManualClock()
        self.model = Model()
        self.source = Steps(WORKLOADS[workload], seed, self.model)
        self.doubtful: list[Effect] = []
        self.failure: BaseException | None = None
        self.db: Database | None = None

    def run(self) -> list[str]:
        self.db = reopen(self.files, self.catalog, self.clock, self.settings, 1)
        for _ in range(WARM):
            self._step(self.source.next())
        FAULTS[self.fault](World(self.faulty, self.losing, self.catalog), self.nth)
        for _ in range(STEPS):
            if not self._attempt(self.source.next()):
                break
        wrong = self._go_on() if self.failure is not None else []
        self._idle()
        if not wrong and self.fault in HONEST:
            for mode in MODES:
                wrong = wrong or self._after_crash(mode)
        elif not wrong:
            wrong = self._after_lie()
        self.faulty.heal()
        try:
            if self.db is not None:
                self.db.close()
        except (errors.LaminaError, OSError):
            pass  # a poisoned database may say so once more
        return wrong

    def _step(self, step: Step) -> None:
        effect = self.model.effect(step)
        if step.kind == "reopen":
            assert self.db is not None
            db, self.db = self.db, None
            try:
                db.close()
            finally:
                self.db = reopen(self.files, self.catalog, self.clock, self.settings, 2)
        else:
            assert self.db is not None
            perform(self.db, step)
        self.model.apply(effect)

    def _attempt(self, step: Step) -> bool:
        effect = self.model.effect(step)
        try:
            self._step(step)
        except (errors.LaminaError, OSError) as error:
            self.failure = error
            self.doubtful.append(effect)
            return False
        return True

    def _go_on(self) -> list[str]:
        """After the failure: reads are right, and what is acknowledged still counts."""
        if self.db is None:
            return []
        poisoned = self.db.poisoned
        if self.fault in HONEST:
            try:
                wrong = verify(self.db, self.model.facts, self.doubtful, self.model.content, self.rng)
            except OSError as error:  # the fault may hit the reads themselves
                wrong = [] if self.fault.startswith(("open", "read")) else [f"reading after the fault: {error!r}"]
            if wrong:
                return [f"in the life of the fault: {text}" for text in wrong]
            self._settle()
        number = 900
        for _ in range(3):
            number += 1
            for step in (
                Step("create", (number, "late", f"n{number}")),
                Step("insert", (number, [1], [1.0], "never")),
                Step("bucket", (number, 0)),
                Step("record", (number, Stored("late", 1, 70_000 if number % 2 else 30, ()))),
                Step("points", (number, sets.Row("a", 1, "x", 1.0))),
            ):
                about = "stream" if step.kind in ("create", "insert") else "bucket"
                known = step.kind in ("create", "bucket", "points") or (about, number) in self.model.facts
                effect = self.model.effect(step) if known else NOTHING
                try:
                    perform(self.db, step)
                except (errors.LaminaError, OSError):
                    self.doubtful.append(effect)
                    break
                if poisoned is not None and self.db._log.poisoned is not None:
                    return [f"{step.kind} was accepted after {poisoned!r}"]
                self.model.apply(effect)
        return []

    def _settle(self) -> None:
        """What was not acknowledged but is visible: visible implies durable."""
        assert self.db is not None
        still: list[Effect] = []
        for effect in self.doubtful:
            seen = observed(self.db, effect.facts)
            if effect.facts and all(same(seen[key], value) for key, value in effect.facts.items()):
                self.model.apply(effect)
            else:
                still.append(effect)
        self.doubtful = still

    def _idle(self) -> None:
        """The mark that proves the last frame."""
        try:
            if self.db is not None and not self.db.closed:
                self.db._log._mark()  # type: ignore[attr-defined]
        except (errors.LaminaError, OSError):
            pass

    def _after_crash(self, mode: Mode) -> list[str]:
        events = len(self.recording.trace.events)
        state = CrashStates(self.recording.trace).state(events, mode, self.rng)
        catalog = self.kept.states[-1].catalog()
        try:
            db = reopen(materialise(state), catalog, ManualClock(), self.settings, 3)
        except (errors.LaminaError, OSError) as error:
            return [f"mode {mode}: cannot be opened afterwards: {error!r}"]
        try:
            content = self.model.content
            found = verify(db, self.model.facts, self.doubtful, content, self.rng)
            return [f"after the fault and a crash, mode {mode}: {text}" for text in found]
        finally:
            db.close()

    def _after_lie(self) -> list[str]:
        state = CrashStates(self.recording.trace).state(len(self.recording.trace.events), "all", self.rng)
        catalog = self.kept.states[-1].catalog()
        if self.db is not None:
            wrong = loosely(self.db, self.model, self.doubtful, allow_less=self.failure is not None)
            if wrong:
                return wrong
        try:
            db = reopen(materialise(state), catalog, ManualClock(), self.settings, 3)
        except errors.LaminaError:
            return []  # refused with a reason
        try:
            return loosely(db, self.model, self.doubtful, allow_less=False)
        finally:
            with suppress(errors.LaminaError, OSError):  # a block that is gone can stop the flush of a close
                db.close()


def in_recovery(call: Any, nth: int, seed: int) -> list[str]:
    """A fault while a crashed directory is opened: it is opened or refused; the next opening finds everything."""
    rng = random.Random(f"recovery {call} {nth} {seed}")
    name = rng.choice([*DURABLE])
    recording = Recording(WORKLOADS[name], seed)
    recording.run(WARM + STEPS, close=False)
    end = rng.randint(len(recording.trace.events) // 2, len(recording.trace.events))
    mode = rng.choice(MODES)
    inner = materialise(CrashStates(recording.trace).state(end, mode, rng))
    catalog = recording.catalog_state(end, mode, rng).catalog()
    facts, in_flight = recording.expected(end)
    files = FaultyFiles(inner)
    files.fail(call, nth)
    settings = recording.workload.settings
    with suppress(errors.LaminaError, OSError):  # refused, or it failed while closing
        reopen(files, _Unclosed(catalog), ManualClock(), settings, 1).close()
    files.heal()
    try:
        db = reopen(inner.copy(), catalog, ManualClock(), settings, 2)
    except (errors.LaminaError, OSError) as error:
        return [f"{name} event {end} mode {mode}: cannot be opened after a fault in recovery: {error!r}"]
    try:
        found = verify(db, facts, in_flight, recording.model.content, rng)
        return [f"{name} event {end} mode {mode}, after a fault in recovery: {text}" for text in found]
    finally:
        db.close()


CALLS = ("open", "read", "write", "truncate", "sync", "rename", "unlink", "sync_folder")


def run_recovery(report: Report, sites: int, seed: int) -> None:
    for call in CALLS:
        for nth in range(1, sites + 1):
            report.cases += 1
            wrong = in_recovery(call, nth, seed + nth)
            if wrong:
                command = f"python -m tests.reliability.faults --recovery --sites {sites} --seed {seed}"
                report.fail(f"{call} at site {nth} of a recovery", wrong, command)


def loosely(db: Database, model: Model, doubtful: Sequence[Effect], *, allow_less: bool) -> list[str]:
    """What is wrong or silently missing. Errors and reported losses are fine."""
    reported = bool(db.degraded or db.version_gaps or allow_less)
    for (kind, number), fact in model.facts.items():
        if kind == "bucket":
            versions = [fact, *(effect.facts[kind, number] for effect in doubtful if (kind, number) in effect.facts)]
            wrong = loosely_held(db, number, versions, bool(db.degraded) or allow_less)
            if wrong:
                return [wrong]
        if kind == "points":
            versions = [fact, *(effect.facts[kind, number] for effect in doubtful if (kind, number) in effect.facts)]
            wrong = sets.loosely(db, number, versions, bool(db.degraded) or allow_less)
            if wrong:
                return [wrong]
        if kind != "stream" or not isinstance(fact, Fact):
            continue
        allowed: dict[int, Points] = {}
        for effect in doubtful:
            if number in effect.points:
                allowed[effect.facts["stream", number].version] = effect.points[number]
        try:
            stream = db.streams.get(stream_uuid(number))
            version = stream.version
        except errors.StreamNotFound:
            if not reported:
                return [f"stream {number} is gone without a report"]
            continue
        except errors.LaminaError:
            continue
        if version < fact.version and not reported:
            return [f"stream {number}: version {version} of {fact.version}, nothing reported"]
        for v in range(max(stream.oldest_version, 10), version + 1):
            try:
                samples = stream.values(version=v)
            except (errors.LaminaError, OSError):
                continue
            found = list(zip(samples.time.tolist(), samples.value.tolist(), strict=True))
            choices = [model.content(number, v)] if v <= fact.version else []
            choices += [allowed[v]] if v in allowed else []
            if not any(found == [tuple(p) for p in points] for points in choices) and not db.degraded:
                return [f"stream {number} at {v}: {len(found)} points that were never inserted so, nothing reported"]
    return []


def run(
    report: Report,
    faults: Iterable[str],
    sites: int,
    seed: int,
    wrap: Wrap = lambda files: files,
    stop_at: int = 20,
) -> None:
    workloads = [*DURABLE]
    for fault in faults:
        for nth in range(1, sites + 1):
            if len(report.violations) >= stop_at:
                return
            workload = workloads[(nth + seed) % len(workloads)]
            report.cases += 1
            command = f"python -m tests.reliability.faults --fault {fault} --site {nth} --seed {seed}"
            case = Case(fault, nth, workload, seed, wrap)
            try:
                wrong = case.run()
                report.extra["failed"] = report.extra.get("failed", 0) + (case.failure is not None)
            except (AssertionError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
                wrong = [f"not an error of ours: {error!r}"]
            if wrong:
                trace = "\n".join(str(event)[:160] for event in case.recording.trace.events)
                report.fail(f"{fault} at site {nth} of {workload} (failure: {case.failure!r})", wrong, command, trace)


def main(arguments: list[str]) -> int:
    from tests.reliability import losses

    parser = argparse.ArgumentParser(prog="tests.reliability.faults")
    parser.add_argument("--all", action="store_true", help="every fault, and faults while recovering")
    parser.add_argument("--recovery", action="store_true", help="faults while recovering, only")
    parser.add_argument("--fault", choices=[*FAULTS], action="append")
    parser.add_argument("--case", help=f"one of {', '.join(losses.CASES)}, or a prefix with *")
    parser.add_argument("--sites", type=int, default=SITES)
    parser.add_argument("--site", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.case:
        return losses.run(Report("losses", options.seed), options.case, options.seed).finish()
    report = Report("faults", options.seed)
    faults = options.fault or [*FAULTS]
    if options.recovery or options.all:
        run_recovery(report, options.sites, options.seed)
    if options.recovery:
        return report.finish()
    if options.site:
        for fault in faults:
            wrong = Case(
                fault, options.site, [*DURABLE][(options.site + options.seed) % len(DURABLE)], options.seed
            ).run()
            report.cases += 1
            if wrong:
                report.fail(f"{fault} at {options.site}", wrong, "")
    else:
        run(report, faults, options.sites, options.seed)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
