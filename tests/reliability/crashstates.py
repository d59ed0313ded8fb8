"""R2: states that power loss may leave, synthesised from a recorded run; each is opened, verified, written, reopened.

python -m tests.reliability.crashstates --states 10000 [--seed S] [--workload NAME]
python -m tests.reliability.crashstates --strace --states 1000      a real process, SQLite's files included
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lamina
from lamina import errors
from lamina.engine.database import Database
from lamina.storage.files import Files
from lamina.storage.local import LocalFiles
from lamina.testing import MODES, CrashStates, ManualClock, RecordingFiles, materialise, write_state
from lamina.testing.crashstates import Mode
from tests.reliability import points as sets
from tests.reliability import syscalls
from tests.reliability.oracle import LARGEST, Effect, Fact, Holdings, Key, Model, Step, Stored, observed, same, verify
from tests.reliability.record import CatalogState, RecordedCatalog, Recording, Wrap, progress, reopen
from tests.reliability.report import Report, fast_folder
from tests.reliability.workload import DURABLE, WORKLOADS, Steps, perform

STEPS = 60
"""Of one recording: some 400 to 1,500 events."""

POINTS_PER_RECORDING = 150
"""Crash points looked at before the next seed is recorded."""

WRITTEN_SHARE = 0.4
"""Share of the states that are written to and opened again: it costs as much as the rest."""

NESTED_SHARE = 0.05
"""Share of the states whose recovery is recorded and crashed again."""


def _without_lost(moment: dict[Key, Any], seen: dict[Key, Any], synced: dict[Key, Any]) -> dict[Key, Any]:
    """`moment` less the large contents that only the page cache had: lying in files of their own, they are lost one by
    one, whatever the log kept. What was synced stays."""
    left = dict(moment)
    for key, value in moment.items():
        if isinstance(value, Holdings) and isinstance(there := seen.get(key), Holdings):
            before = synced.get(key)
            kept = {(r.entry, r.time_us) for holdings in (there, before) if holdings for r in holdings.records}
            records = tuple(r for r in value.records if r.size < LARGEST or (r.entry, r.time_us) in kept)
            left[key] = value._replace(records=records)
    return left


def check_state(
    recording: Recording,
    state: dict[str, bytes],
    catalog: CatalogState,
    facts: dict[Key, Any],
    in_flight: list[Effect],
    rng: random.Random,
    wrap: Wrap = lambda files: files,
    moments: Sequence[dict[Key, Any]] = (),
) -> list[str]:
    """Open, verify, write, reopen, verify again; what is wrong. With `moments`, one of them must hold, not `facts`."""
    clock = ManualClock()
    files: Files = wrap(materialise(state))
    held = catalog.catalog()
    settings = recording.workload.settings
    try:
        db = reopen(files, _Unclosed(held), clock, settings, rng.randrange(1 << 30))
    except (errors.LaminaError, OSError, AssertionError, ValueError, IndexError, KeyError) as error:
        return [f"cannot be opened: {error!r}"]
    try:
        if moments:
            seen = observed(db, {key for moment in moments for key in moment})
            possible = [_without_lost(moment, seen, moments[-1]) for moment in moments]
            found = [moment for moment in possible if all(same(fact, moment.get(key)) for key, fact in seen.items())]
            if not found:
                return [f"what is there was at no moment since the last sync: {seen}"]
            facts, in_flight = found[0], []
        wrong = verify(db, facts, in_flight, recording.model.content, rng)
        if wrong:
            return wrong
        if rng.random() > WRITTEN_SHARE:
            return []
        model = settled(db, facts, in_flight, recording.model)
        write_more(db, model, rng)
        db.close()
        db = reopen(files, held, clock, settings, rng.randrange(1 << 30))
        wrong = verify(db, model.facts, [], model.content, rng, versions=1)
        return [f"after writing and reopening: {text}" for text in wrong]
    except (errors.LaminaError, OSError, AssertionError, ValueError, IndexError, KeyError) as error:
        return [f"use after recovery: {error!r}"]
    finally:
        with suppress(errors.LaminaError, OSError):  # reported above; this only gives threads back
            db.close()


class _Unclosed:
    """A catalog that survives the close of its database."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def close(self) -> None:
        pass


def settled(db: Database, facts: dict[Key, Any], in_flight: list[Effect], model: Model) -> Model:
    """The model that says what is there now: a step in flight that turned out to be done counts from here on."""
    now = Model()
    now.facts = dict(facts)
    now.points = {stream: list(points) for stream, points in model.points.items()}
    for effect in in_flight:
        seen = observed(db, effect.facts)
        done = all(same(seen[key], value) for key, value in effect.facts.items())
        if done and effect.facts:
            now.facts.update(effect.facts)
            for stream, points in effect.points.items():
                known = now.points.setdefault(stream, [])
                if len(known) <= effect.facts["stream", stream].version - 10:
                    known.append(points)
            for key in [key for key, value in effect.facts.items() if value is None]:
                now.facts.pop(key, None)
    for (kind, stream), fact in now.facts.items():
        if kind == "stream" and isinstance(fact, Fact):
            del now.points[stream][fact.version - 9 :]
    return now


def write_more(db: Database, model: Model, rng: random.Random) -> None:
    """A few steps of every sort on what was recovered."""
    number = 1000 + rng.randrange(1000)
    steps = [Step("create", (number, "late", f"n{number}"))]
    for stream in [*model.living()[:3], number]:
        steps.append(Step("insert", (stream, [5, 6, 7], [1.0, 2.0, 3.0], rng.choice(("never", "replace")))))
    steps += [Step("flush_all")] if rng.random() < 0.5 else [Step("upkeep")]
    if model.living():
        steps.append(Step("delete", (model.living()[0], 6, 7)))
    steps.append(Step("bucket", (number, 0)))
    for bucket, fact in [*model.buckets().items(), (number, Holdings(0, ()))]:
        late = max((record.time_us for record in fact.records), default=0) + 1
        size = rng.choice((40, 70_000))
        steps += [Step("record", (bucket, Stored("late", late + i, size, ()))) for i in range(3)]
        steps.append(Step("label", (bucket, "late", late + 2, {"x": "y"})))
        if not fact.quota:
            steps.append(Step("unrecord", (bucket, "late", late)))
    for one in [*model.sets(), number]:
        steps += [Step(kind, sets.choose(kind, rng, one)) for kind in ("points", "repoint", "unpoint", "points")]
    if rng.random() < 0.2:
        steps.append(Step("compact"))
    for step in steps:
        effect = model.effect(step)
        perform(db, step)
        model.apply(effect)


def check_nested(
    recording: Recording,
    state: dict[str, bytes],
    catalog: CatalogState,
    facts: dict[Key, Any],
    in_flight: list[Effect],
    rng: random.Random,
    report: Report,
    wrap: Wrap = lambda files: files,
) -> list[str]:
    """Lose power again while recovering: nothing acknowledged, and nothing that was visible once, may go."""
    files = RecordingFiles(materialise(state))
    held = RecordedCatalog(catalog.catalog(), files.mark)
    db = reopen(wrap(files), held, ManualClock(), recording.workload.settings, rng.randrange(1 << 30))
    files.mark("ack 0")
    shown = settled(db, facts, in_flight, recording.model).facts
    end = len(files.trace.events)
    db.close()
    crashes = CrashStates(files.trace)
    marks = progress(files.trace)
    for k in sorted(rng.choices(range(files.trace.start, end + 1), k=6)):
        opened, _, durable = marks[k]
        last, begun = divmod(durable, 2)
        mode = rng.choice(MODES)
        second = held.states[rng.randint(last, min(last + begun, len(held.states) - 1))]
        again = crashes.state(k, mode, rng)
        report.cases += 1
        expected, maybe = (shown, []) if opened else (facts, in_flight)
        wrong = check_state(recording, again, second, expected, maybe, rng, wrap)
        if wrong:
            return [f"crash inside recovery, event {k} of {end}, mode {mode}: {wrong[0]}", *wrong[1:]]
    return []


def run(
    report: Report,
    states: int,
    seed: int,
    names: list[str],
    *,
    steps: int = STEPS,
    wrap: Wrap = lambda files: files,
    durable_catalog: bool = True,
    nested: float = NESTED_SHARE,
    stop_at: int = 10,
    only: tuple[int, Mode] | None = None,
) -> None:
    """Check so many states, the workloads in turn. Stops after `stop_at` violations."""
    round_ = 0
    while report.cases < states and len(report.violations) < stop_at:
        name = names[round_ % len(names)]
        number = seed + round_ // len(names)
        recording = Recording(WORKLOADS[name], number, durable_catalog)
        recording.run(steps, wrap)
        rng = random.Random(f"{name} {number} crashes")
        crashes = CrashStates(recording.trace)
        points = range(recording.trace.start, len(recording.trace.events) + 1)
        for k in sorted(rng.choices(points, k=POINTS_PER_RECORDING)):
            mode = rng.choice(MODES)
            case_seed = rng.randrange(1 << 30)
            if only is not None and only != (k, mode):
                continue
            wrong = _one(recording, crashes, k, mode, case_seed, report, wrap, nested)
            if wrong:
                command = (
                    f"python -m tests.reliability.crashstates --seed {number} --workload {name} --steps {steps}"
                    f" --only {k}:{mode}"
                )
                events = [f"{i} {str(event)[:160]}" for i, event in enumerate(recording.trace.events[: k + 5])]
                state = crashes.state(k, mode, random.Random(case_seed))
                report.fail(f"{name} seed {number} event {k} mode {mode}", wrong, command, "\n".join(events), state)
                if len(report.violations) >= stop_at:
                    return
            if report.cases >= states:
                return
        round_ += 1
        if only is not None:
            return


def _one(
    recording: Recording,
    crashes: CrashStates,
    k: int,
    mode: Mode,
    case_seed: int,
    report: Report,
    wrap: Wrap,
    nested: float,
) -> list[str]:
    rng = random.Random(case_seed)
    state = crashes.state(k, mode, rng)
    catalog = recording.catalog_state(k, mode, rng)
    facts, in_flight = recording.expected(k)
    report.cases += 1
    relaxed = recording.workload.settings.durability == "os"
    moments = recording.moments(k) if relaxed else ()
    wrong = check_state(recording, state, catalog, facts, in_flight, rng, wrap, moments)
    if not wrong and not relaxed and rng.random() < nested:
        wrong = check_nested(recording, state, catalog, facts, in_flight, rng, report, wrap)
    return wrong


def run_strace(report: Report, states: int, seed: int, names: list[str], steps: int = 40, stop_at: int = 10) -> None:
    """States of a real process on a real directory, SQLite's files included."""
    per_run = max(states // len(names), 1)
    for number, name in enumerate(names):
        with tempfile.TemporaryDirectory(prefix="lamina-strace-", dir=fast_folder()) as folder:
            place = Path(folder)
            command = [
                sys.executable,
                "-m",
                "tests.reliability.kill9",
                "--life",
                folder,
                name,
                str(seed + number),
                str(steps),
            ]
            syscalls.record(command, place / "calls")
            trace = syscalls.parse(place / "calls", place / "db", place / "diary")
            (place / "calls").unlink()
            model = Model()
            source = Steps(WORKLOADS[name], seed + number, model)
            effects, facts = [], []
            for _ in range(steps):
                facts.append(dict(model.facts))
                effects.append(model.effect(source.next()))
                model.apply(effects[-1])
            facts.append(dict(model.facts))
            marks = progress(trace)
            crashes = CrashStates(trace)
            rng = random.Random(f"strace {name} {seed}")
            for k in sorted(rng.choices(range(len(trace.events) + 1), k=per_run)):
                mode = rng.choice(MODES)
                acknowledged, begun, _ = marks[k]
                state = crashes.state(k, mode, rng)
                report.cases += 1
                wrong = check_directory(
                    place / f"state-{k}", name, state, facts[acknowledged], effects[acknowledged:begun], model, rng
                )
                if wrong:
                    command_line = f"python -m tests.reliability.crashstates --strace --seed {seed} --workload {name}"
                    events = [f"{i} {str(event)[:160]}" for i, event in enumerate(trace.events[: k + 5])]
                    report.fail(f"strace {name} event {k} mode {mode}", wrong, command_line, "\n".join(events), state)
                    if len(report.violations) >= stop_at:
                        return


def check_directory(
    place: Path,
    workload: str,
    state: dict[str, bytes],
    facts: dict[Key, Any],
    in_flight: list[Effect],
    model: Model,
    rng: random.Random,
) -> list[str]:
    """As check_state, on a real directory."""
    settings = WORKLOADS[workload].settings
    place.mkdir(exist_ok=True)
    write_state(state, LocalFiles(str(place)))
    try:
        with lamina.open(place, settings=settings) as db:
            wrong = verify(db, facts, in_flight, model.content, rng)
            if wrong or rng.random() > WRITTEN_SHARE:
                return wrong
            now = settled(db, facts, in_flight, model)
            write_more(db, now, rng)
        with lamina.open(place, settings=settings) as db:
            return [f"after writing and reopening: {text}" for text in verify(db, now.facts, [], now.content, rng, 1)]
    except (errors.LaminaError, OSError, AssertionError, ValueError, IndexError, KeyError) as error:
        return [f"cannot be used: {error!r}"]
    finally:
        shutil.rmtree(place)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.reliability.crashstates")
    parser.add_argument("--states", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--workload", choices=[*WORKLOADS], action="append")
    parser.add_argument("--only", help="event:mode of one recording, as a failing case prints it")
    parser.add_argument("--strace", action="store_true", help="record a real process instead of the seam")
    options = parser.parse_args(arguments)
    report = Report("crashstates strace" if options.strace else "crashstates", options.seed)
    if options.strace:
        run_strace(report, options.states, options.seed, options.workload or [*DURABLE], options.steps)
        return report.finish()
    only = None
    if options.only:
        event, mode = options.only.split(":")
        only = (int(event), mode)
    run(report, options.states, options.seed, options.workload or [*WORKLOADS], steps=options.steps, only=only)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
