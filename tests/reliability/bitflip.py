"""R5: one bit of one file is wrong. It is reported or harmless, never a wrong answer, and the rest stays readable.

python -m tests.reliability.bitflip --class segment|log|catalog|index|payload --n 1000 [--seed S]
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lamina import errors
from lamina.catalog.sqlite import SqliteCatalog
from lamina.engine.database import Database
from lamina.storage.logfile import FRAME_MAGIC, HEADER_BYTES, MARK, Framing, decode_header
from lamina.testing import CrashStates, ManualClock, materialise
from tests.reliability import points as sets
from tests.reliability.oracle import Fact, holdings, loosely_held, stream_uuid
from tests.reliability.record import CatalogState, Recording
from tests.reliability.report import Report, fast_folder
from tests.reliability.workload import WORKLOADS

CLASSES = ("segment", "log", "catalog", "index", "payload", "points")
STEPS = 40
FLIPS_PER_RECORDING = 50


class World:
    """A database that was killed after a workload, and what it held."""

    def __init__(self, workload: str, seed: int, folder: str) -> None:
        self.recording = Recording(WORKLOADS[workload], seed)
        self.recording.run(STEPS, close=False)
        end = len(self.recording.trace.events)
        self.state = CrashStates(self.recording.trace).state(end, "all", random.Random(seed))
        self.catalog: CatalogState = self.recording.catalog.states[-1]
        self.facts = {
            n: fact
            for (kind, n), fact in self.recording.model.facts.items()
            if kind == "stream" and isinstance(fact, Fact)
        }
        self.buckets = self.recording.model.buckets()
        self.sets = self.recording.model.sets()
        self.folder = folder
        self._sqlite = f"{folder}/catalog.{workload}.{seed}"
        self.catalog.catalog().backup(self._sqlite)

    def files(self, kind: str) -> list[str]:
        if kind == "catalog":
            return [self._sqlite]
        prefix = {
            "segment": "segments/",
            "log": "log/",
            "index": "segments/records/",
            "payload": "segments/payload/",
            "points": "segments/points/",
        }[kind]
        return sorted(path for path, data in self.state.items() if path.startswith(prefix) and data)

    def is_proven(self) -> bool:
        """Whether the log ends in the mark that proves its last frame. Where its file had no room for one, the loss of
        that frame looks like a torn write, which nobody was promised."""
        path = self.files("log")[-1]
        data = self.state[path]
        header = decode_header(data[:HEADER_BYTES], path)
        *_, last = Framing(header.salt, header.base).walk(data)
        return last.type == MARK

    def open(self, path: str, bit: int) -> Database:
        """A life with one bit changed."""
        state = dict(self.state)
        catalog: Any = self.catalog.catalog
        if path == self._sqlite:
            copy = f"{self.folder}/catalog.sqlite"
            for old in Path(self.folder).glob("catalog.sqlite*"):
                old.unlink()
            Path(copy).write_bytes(flipped(Path(path).read_bytes(), bit))
            catalog = lambda: SqliteCatalog.open(copy, create=True)  # noqa: E731
        else:
            state[path] = flipped(state[path], bit)
        return reopen_late(materialise(state), catalog, self.recording)

    def choose(self, path: str, rng: random.Random) -> int:
        """Any bit; of a log every other time one of the first 16 bytes of a frame, on which everything behind depends,
        half of these among the last frames, which only the log has."""
        data = Path(path).read_bytes() if path == self._sqlite else self.state[path]
        frames = [match.start() for match in re.finditer(FRAME_MAGIC, data)] if path.startswith("log/") else []
        if frames and rng.random() < 0.5:
            return 8 * rng.choice(frames[-6:] if rng.random() < 0.5 else frames) + rng.randrange(128)
        return rng.randrange(8 * len(data))


def reopen_late(files: Any, catalog: Callable[[], Any], recording: Recording) -> Database:
    from lamina.engine.open import Seams, assemble
    from lamina.storage.fileblobs import FileBlobs
    from lamina.testing import SeededRandom

    seams = Seams("flipped", files, FileBlobs(files), catalog, ManualClock(), SeededRandom(9))
    return assemble(seams, recording.workload.settings)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def judge(world: World, path: str, bit: int) -> tuple[str, str]:
    """(outcome, what is wrong): refused, reported, harmless, or the violations silent and rest."""
    try:
        db = world.open(path, bit)
    except errors.LaminaError as error:
        return "refused", str(error)
    try:
        return _look(world, db, path)
    finally:
        with suppress(errors.LaminaError):  # a damaged block can stop the flush of a close
            db.close()


def _look(world: World, db: Database, path: str) -> tuple[str, str]:
    reported = "; ".join(map(str, db.degraded)) or ("version gaps" if db.version_gaps else "")
    silent = ""
    for number, fact in world.facts.items():
        try:
            stream = db.streams.get(stream_uuid(number))
            row = stream.row()
            if (row.collection, tuple(sorted(row.tags.items()))) != (fact.collection, fact.tags):
                silent = silent or f"stream {number}: {row}"
            if stream.version != fact.version:
                silent = silent or f"stream {number} at version {stream.version}, not {fact.version}"
        except errors.StreamNotFound:
            silent = silent or f"stream {number} is gone"
            continue
        except errors.LaminaError as error:
            reported = reported or str(error)
            continue
        for version in range(max(fact.oldest, 10), min(stream.version, fact.version) + 1):
            try:
                samples = stream.values(version=version)
            except errors.LaminaError as error:
                reported = str(error)
                if path.startswith("segments/") and path.removeprefix("segments/") not in str(error):
                    return "rest", f"stream {number} at {version}: {error}"
                continue
            points = world.recording.model.content(number, version)
            if samples.time.tolist() != [p.time for p in points] or samples.value.tolist() != [p.value for p in points]:
                if db.degraded:
                    continue  # what is missing was reported
                return "silent", f"stream {number} at {version}: {len(samples)} points, not {len(points)}"
    for number, held in world.buckets.items():
        wrong = loosely_held(db, number, [held], bool(db.degraded))
        if wrong:
            return "silent", wrong
        seen = holdings(db, number)
        damaged = [record.wrong for record in seen.records if record.wrong] if seen is not None else []
        elsewhere = [text for text in damaged if path.startswith("segments/") and path[9:] not in text]
        if elsewhere:
            return "rest", elsewhere[0]
        if damaged:
            reported = damaged[0]
    for number, rows in world.sets.items():
        try:
            found = sets.held(db, number)
        except errors.LaminaError as error:
            reported = reported or str(error)
            if path.startswith("segments/") and path[9:] not in str(error):
                return "rest", f"points of set {number}: {error}"
            continue
        if found != rows and not db.degraded:
            return "silent", f"points of set {number}: {len(found or ())}, not {len(rows)}"
    if silent and not reported:
        return "silent", silent
    return ("reported", reported) if reported else ("harmless", "")


def run(report: Report, kind: str, n: int, seed: int, stop_at: int = 10) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    workloads = ["edits", "many", "metadata", "compaction"] if kind == "segment" else ["records", "rings"]
    if kind == "points":
        workloads = ["points"]
    if kind in ("log", "catalog"):
        workloads = ["edits", "records", "many", "metadata", "rings", "compaction", "points"]
    with tempfile.TemporaryDirectory(prefix="lamina-flips-", dir=fast_folder()) as folder:
        for begin in range(0, n, FLIPS_PER_RECORDING):
            number = seed + begin // FLIPS_PER_RECORDING
            name = workloads[number % len(workloads)]
            world = World(name, number, folder)
            if kind == "log" and not world.is_proven():
                continue
            rng = random.Random(f"{kind} {number}")
            for _ in range(min(FLIPS_PER_RECORDING, n - begin)):
                files = world.files(kind)
                if not files:
                    break  # nothing was sealed
                path = rng.choice(files)
                bit = world.choose(path, rng)
                report.cases += 1
                try:
                    outcome, wrong = judge(world, path, bit)
                except Exception as error:
                    outcome, wrong = "crash", repr(error)
                outcomes[outcome] += 1
                if outcome in ("silent", "rest", "crash"):
                    command = (
                        f"python -m tests.reliability.bitflip --class {kind} --seed {number} --n {FLIPS_PER_RECORDING}"
                    )
                    report.fail(f"{kind} {Path(path).name} bit {bit} of {name} {number}: {outcome}", [wrong], command)
                    if len(report.violations) >= stop_at:
                        return outcomes
    return outcomes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.reliability.bitflip")
    parser.add_argument("--class", dest="kind", choices=CLASSES, action="append")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    code = 0
    for kind in options.kind or CLASSES:
        report = Report(f"bitflip {kind}", options.seed)
        report.extra["outcomes"] = dict(run(report, kind, options.n, options.seed))
        code |= report.finish()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
