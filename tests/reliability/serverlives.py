"""R1 over the wire: `lamina serve` is killed under load of the unmodified btrdb client, started again and asked.

Three writers with streams of their own insert, delete, annotate and flush; another writes records over HTTP, changes
their labels and removes some (recordlives.py); a FIFO bucket is filled and read at once (ringlives.py), in some lives
with nobody else. Each acknowledgement is appended to a file by this process, the client's, when it arrives; the server
is a process of its own.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from lamina.time import LAST_TIME, MIN_TIME
from tests.reliability.oracle import Effect, Fact, Model, Step
from tests.reliability.recordlives import RecordWriter
from tests.reliability.report import ROOT, Report, fast_folder
from tests.reliability.ringlives import Ring

READY = re.compile(r"ready http=(\S+) grpc=(\S+)")
START_S = 30.0
LOAD_S = (0.1, 1.2)
SAID = 10_000
"""Characters of the server's log that are shown with a violation."""

ALONE, ALONE_S = 0.25, (1.0, 3.0)
"""Share of the lives in which the FIFO bucket is all there is, under more load than beside the others."""

WRITERS = 3
STREAMS = 3
KILLED_EARLY = 0.1
"""Share of the lives killed while they start."""

T0 = 1_500_000_000_000_000_000


class Writer:
    """One client's streams, what they must hold, and the call in flight."""

    def __init__(self, number: int, seed: int, diary: Path) -> None:
        self.number = number
        self.model = Model()
        self.doubtful: Effect | None = None
        self.failed = ""
        self._rng = random.Random(f"server {seed} {number}")
        self._diary = diary.open("a", buffering=1)
        self._created = 0

    def uuid(self, stream: int) -> UUID:
        return UUID(int=(self.number + 1) << 64 | stream)

    def load(self, address: str, stop: threading.Event) -> None:
        """Call after call until the server is gone."""
        connection = connect(address)
        streams: dict[int, Any] = {}
        while not stop.is_set():
            step = self._next()
            self.doubtful = self.model.effect(step)
            self._diary.write(f"B {step.kind} {step.args[0]}\n")
            try:
                self._perform(connection, streams, step)
            except Exception as error:
                if not stop.wait(2.0):
                    self.failed = f"{step.kind} failed while the server lived: {error!r}"
                return
            self._diary.write(f"A {step.kind} {step.args[0]}\n")
            self.model.apply(self.doubtful)
            self.doubtful = None

    def _next(self) -> Step:
        rng = self._rng
        living = self.model.living()
        if len(living) < STREAMS:
            self._created += 1
            return Step("create", (self._created, f"w{self.number}", f"s{self._created}"))
        stream = rng.choice(living)
        kind = rng.choices(("insert", "big", "delete", "annotate", "flush"), (20, 1, 3, 3, 2))[0]
        if kind in ("insert", "big"):
            n = rng.randint(1, 40) if kind == "insert" else 3000
            times = sorted(T0 + rng.randrange(10_000) * 1_000_000 for _ in range(n))
            policy = "never" if kind == "big" else rng.choice(("never", "never", "replace", "retain"))
            return Step("insert", (stream, times, [float(rng.randrange(100)) for _ in range(n)], policy))
        if kind == "delete":
            start = T0 + rng.randrange(10_000) * 1_000_000
            return Step("delete", (stream, start, start + 200_000_000))
        return (
            Step(kind, (stream, {"note": "x" * rng.randrange(60)})) if kind == "annotate" else Step("flush", (stream,))
        )

    def _perform(self, connection: Any, streams: dict[int, Any], step: Step) -> None:
        number = step.args[0]
        if step.kind == "create":
            tags = {"name": step.args[2]}
            streams[number] = connection.create(self.uuid(number), step.args[1], tags=tags, annotations={})
            return
        stream = streams.get(number) or streams.setdefault(number, connection.stream_from_uuid(self.uuid(number)))
        if step.kind == "insert":
            stream.insert(list(zip(step.args[1], step.args[2], strict=True)), merge=step.args[3])
        elif step.kind == "delete":
            stream.delete(step.args[1], step.args[2])
        elif step.kind == "annotate":
            stream.refresh_metadata()
            stream.update(annotations=step.args[1], encoder=None)
        else:
            stream.flush()

    def verify(self, connection: Any) -> list[str]:
        """What is wrong after a restart; the call in flight is settled by what is there."""
        effect, self.doubtful = self.doubtful, None
        wrong: list[str] = []
        for key in dict.fromkeys([*self.model.facts, *(effect.facts if effect else ())]):
            stream = key[1]
            allowed = [self.model.facts.get(key)]
            if effect is not None and key in effect.facts:
                allowed.append(effect.facts[key])
            seen = self._fact(connection, stream)
            if seen not in [None if fact is None else _visible(fact) for fact in allowed]:
                wrong.append(f"writer {self.number} stream {stream}: found {seen}, allowed {allowed}")
                continue
            if effect is not None and key in effect.facts and seen == _visible(effect.facts[key]):
                self.model.apply(effect)
                effect = None
            if seen is not None:
                wrong += self._contents(connection, stream, seen[0])
        return wrong

    def _fact(self, connection: Any, number: int) -> tuple[Any, ...] | None:
        stream = connection.stream_from_uuid(self.uuid(number))
        if not stream.exists():
            return None
        annotations, property_version = stream.annotations(refresh=True)
        kept = tuple(sorted((key, str(value)) for key, value in annotations.items()))
        return stream.version(), stream.collection, stream.name, kept, property_version

    def _contents(self, connection: Any, number: int, latest: int) -> list[str]:
        stream = connection.stream_from_uuid(self.uuid(number))
        for version in {latest, self._rng.randint(10, latest)} - {10}:
            found = [(p.time, p.value) for p, _ in stream.values(MIN_TIME, LAST_TIME, version=version)]
            points = self.model.content(number, version)
            if found != [tuple(point) for point in points]:
                return [f"writer {self.number} stream {number} at {version}: {len(found)} points, not {len(points)}"]
        return []


def _visible(fact: Fact) -> tuple[Any, ...]:
    return fact.version, fact.collection, dict(fact.tags)["name"], fact.annotations, fact.property_version


def connect(address: str) -> Any:
    import btrdb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return btrdb.connect(address)


class Server:
    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "lamina.cli.main", "serve", str(root), "--http-port", "0", "--grpc-port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self._watch = threading.Timer(START_S, self.process.kill)
        self._watch.start()

    def addresses(self) -> tuple[str, str]:
        """Of HTTP and gRPC."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self._watch.cancel()
        match = READY.match(line)
        if match is None:
            raise RuntimeError(f"not ready: {line!r} {self.kill()[-2000:]}")
        return match[1], match[2]

    def kill(self) -> str:
        self._watch.cancel()
        self.process.kill()
        return self.process.communicate()[1] or ""


def run(report: Report, lives: int, seed: int, stop_at: int = 5) -> None:
    """So many lives of one directory."""
    rng = random.Random(f"server lives {seed}")
    ready: list[float] = []
    with tempfile.TemporaryDirectory(prefix="lamina-server-", dir=fast_folder()) as folder:
        writers = [Writer(n, seed, Path(folder) / f"acks-{n}") for n in range(WRITERS)]
        acks = [Path(folder) / f"acks-{n}" for n in (WRITERS, WRITERS + 1)]
        ring = Ring(seed, acks[1])
        recorders = RecordWriter(WRITERS, seed, acks[0]), ring
        while report.cases < lives and len(report.violations) < stop_at:
            report.cases += 1
            began = time.monotonic()
            server = Server(Path(folder) / "db")
            try:
                if rng.random() < KILLED_EARLY:
                    time.sleep(rng.uniform(0, 1.5))
                    continue
                web, address = server.addresses()
                ready.append(time.monotonic() - began)
                connection = connect(address)
                wrong = [text for writer in writers for text in writer.verify(connection)]
                wrong += [text for recorder in recorders for text in recorder.verify(web)]
                if rng.random() < ALONE:
                    _load([(ring.load, web)], server, rng.uniform(*ALONE_S))
                else:
                    loads = [(writer.load, address) for writer in writers] + [(one.load, web) for one in recorders]
                    _load(loads, server, rng.uniform(*LOAD_S))
                wrong += [writer.failed for writer in (*writers, *recorders) if writer.failed]
            except Exception as error:
                wrong = [f"life {report.cases}: {error!r}"]
            finally:
                said = server.kill()
            if wrong:
                print(said[-SAID:], file=sys.stderr)
                command = f"python -m tests.reliability.kill9 --server --lives {lives} --seed {seed}"
                report.fail(f"life {report.cases}", wrong, command)
                return
        report.extra["acknowledged"] = sum(
            line.startswith("A") for n in range(WRITERS + 2) for line in (Path(folder) / f"acks-{n}").open()
        )
    ready.sort()
    if ready:
        report.extra["ready_p99_s"] = round(ready[int(0.99 * (len(ready) - 1))], 2)


def _load(loads: Sequence[tuple[Callable[..., None], str]], server: Server, seconds: float) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=load, args=(address, stop), daemon=True) for load, address in loads]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        server.process.kill()
    stop.set()
    for thread in threads:
        thread.join(30)
        if thread.is_alive():
            raise RuntimeError("a client call does not end although its server is dead")
