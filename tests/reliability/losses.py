"""R6 and others of their kind: a part is lost, old, or not where it was; two writers; readers and compaction; clocks.

Run by `python -m tests.reliability.faults --case NAME` ("catalog-*": all that begin so).
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import lamina
from lamina import errors
from lamina.catalog.memory import MemoryCatalog
from lamina.engine import retention
from lamina.engine.database import Database
from lamina.ops import directory as ops
from lamina.ops import doctor
from lamina.records.manifest import decode_files
from lamina.storage.memory import MemoryFiles
from lamina.testing import ManualClock
from tests.reliability.crashstates import _Unclosed
from tests.reliability.faults import loosely
from tests.reliability.oracle import DIFFERS, Model, Step, Stored, holdings, stream_uuid, verify
from tests.reliability.record import reopen
from tests.reliability.report import Report, fast_folder
from tests.reliability.workload import SMALL, WORKLOADS, Steps, perform

STEPS = 60


class Directory:
    """A real directory after a workload whose process was killed, and a copy of its catalog from half way."""

    def __init__(self, root: Path, workload: str, seed: int) -> None:
        self.settings = WORKLOADS[workload].settings
        self.model = Model()
        self.path = root / "db"
        self.early = root / "early"
        self.early.mkdir()
        alive = root / "alive"
        source = Steps(WORKLOADS[workload], seed, self.model)
        db = lamina.open(alive, settings=self.settings)
        for number in range(STEPS):
            step = source.next()
            effect = self.model.effect(step)
            if step.kind == "reopen":
                db.close()
                db = lamina.open(alive, settings=self.settings)
            else:
                perform(db, step)
            self.model.apply(effect)
            if number == STEPS // 2:
                copy_catalog(alive, self.early)
        shutil.copytree(alive, self.path)
        db.close()

    def open(self) -> Database:
        return lamina.open(self.path, settings=self.settings)

    def verify(self, seed: int) -> list[str]:
        with self.open() as db:
            return verify(db, self.model.facts, [], self.model.content, random.Random(seed), versions=100)

    def segments(self) -> list[Path]:
        """Payload files too."""
        return sorted(path for path in (self.path / "segments").rglob("*.*") if path.suffix in (".seg", ".dat"))


def copy_catalog(source: Path, target: Path) -> None:
    for place in source.glob("catalog.sqlite*"):
        if not place.name.endswith("-shm"):
            shutil.copy(place, target)


def _refused(directory: Directory, what: str) -> list[str]:
    try:
        directory.open().close()
    except errors.Corrupt as error:
        return [] if "rebuild-catalog" in str(error) else [f"{what}: refused without advice: {error}"]
    return [f"{what}: opened as if nothing had happened"]


def _rebuilt(directory: Directory, seed: int) -> list[str]:
    before = {path.name: path.read_bytes() for path in directory.segments()}
    list(doctor.rebuild_catalog(directory.path))
    wrong = directory.verify(seed)
    if wrong:
        return [f"after the rebuild: {text}" for text in wrong]
    findings = list(doctor.verify(directory.path))
    if findings:
        return [f"doctor finds something after the rebuild: {findings[0]}"]
    return [] if before else ["the workload left no segment: nothing was tested"]


def catalog_lost(directory: Directory, seed: int) -> list[str]:
    for place in directory.path.glob("catalog.sqlite*"):
        place.unlink()
    return _refused(directory, "catalog lost") or _rebuilt(directory, seed)


def catalog_zeroed(directory: Directory, seed: int) -> list[str]:
    for place in directory.path.glob("catalog.sqlite*"):
        place.write_bytes(bytes(place.stat().st_size))
    return _refused(directory, "catalog zeroed") or _rebuilt(directory, seed)


def catalog_older(directory: Directory, seed: int) -> list[str]:
    """A restored catalog is refused, or what it lacks comes out of the log, or is reported; segments stay."""
    for place in directory.path.glob("catalog.sqlite*"):
        place.unlink()
    copy_catalog(directory.early, directory.path)
    shutil.copytree(directory.path, directory.path.parent / "copy")
    try:
        db = directory.open()
    except errors.Corrupt as error:
        if "rebuild-catalog" not in str(error) and "older than the log" not in str(error):
            return [f"refused without advice: {error}"]
    else:
        with db:
            wrong = loosely(db, directory.model, [], allow_less=False)
        if wrong:
            return [f"with an older catalog: {text}" for text in wrong]
    shutil.rmtree(directory.path)
    shutil.move(directory.path.parent / "copy", directory.path)
    return _rebuilt(directory, seed)


def segment_missing(directory: Directory, seed: int) -> list[str]:
    chosen = random.Random(seed).choice(directory.segments())
    chosen.unlink()
    return _readable_but(directory, chosen)


def segment_stale(directory: Directory, seed: int) -> list[str]:
    """Another segment's content under its name, as a confused restore leaves it."""
    chosen, other = random.Random(seed).sample(directory.segments(), 2)
    chosen.write_bytes(other.read_bytes())
    return _readable_but(directory, chosen)


def segment_extra(directory: Directory, seed: int) -> list[str]:
    """A copy of a segment under a name of its own changes nothing."""
    chosen = random.Random(seed).choice(directory.segments())
    extra = chosen.with_name("000003e8" + chosen.suffix)
    shutil.copy(chosen, extra)
    return directory.verify(seed)


def _readable_but(directory: Directory, damaged: Path) -> list[str]:
    findings = [finding.place for finding in doctor.verify(directory.path)]
    name = str(damaged.relative_to(directory.path))
    kept = not _is_needed(directory, damaged) or any(
        name == place or place.startswith(("stream ", "b")) for place in findings
    )
    try:
        db = directory.open()
    except errors.LaminaError:
        return []
    try:
        wrong = loosely(db, directory.model, [], allow_less=False)
    finally:
        with suppress(errors.LaminaError):  # what is gone can stop the flush of a close
            db.close()
    return wrong or ([] if kept else [f"{name}: doctor says nothing; it found {findings}"])


def _is_needed(directory: Directory, damaged: Path) -> bool:
    """Of a payload file: whether anything that is alive lies in it. All others are."""
    if damaged.suffix != ".dat":
        return True
    with closing(ops.Directory(directory.path).catalog()) as catalog, catalog.snapshot() as snapshot:
        return any(int(damaged.stem, 16) in decode_files(row.files) for row in snapshot.rows("record_section"))


def second_writer(seed: int) -> list[str]:
    """Two processes on one directory, as after a lock that a network file system lost: the first is fenced off."""
    files, catalog = MemoryFiles(), _Unclosed(MemoryCatalog())
    first = reopen(files, catalog, ManualClock(), SMALL, seed)
    stream = first.streams.create("c", "a", uuid=stream_uuid(1))
    stream.insert([1, 2], [1.0, 2.0])
    files._held.clear()
    second = reopen(files, catalog, ManualClock(), SMALL, seed + 1)
    second.streams.get(stream.uuid).insert([3], [3.0])
    second.flush()
    wrong: list[str] = []
    for what, call in (("a flush", first.flush), ("metadata", lambda: stream.set_annotations({"a": "b"}))):
        try:
            call()
            wrong.append(f"{what} of the writer that lost the directory was accepted")
        except errors.LaminaError:
            pass  # as it should be
    if second.streams.get(stream.uuid).values().time.tolist() != [1, 2, 3]:
        wrong.append("the second writer's data changed")
    return wrong


def reader_across_compaction(seed: int) -> list[str]:
    """An open view answers the same after everything below it was rewritten and given up."""
    db = reopen(MemoryFiles(), MemoryCatalog(), ManualClock(), SMALL, seed)
    stream = db.streams.create("c", "a")
    for i in range(12):
        stream.insert(range(100 * i, 100 * i + 60), [float(i)] * 60)
        db.flush()
        stream.delete(100 * i, 100 * i + 50)
    db.flush()
    view = stream.at(15)
    expected = view.values()
    db.read.drop(1)
    stream.set_oldest_version(stream.version)
    db.compact()
    for segment in range(1, 40):
        db.read.drop(segment)
    wrong: list[str] = []
    try:
        if view.values() != expected:
            wrong.append("a view changed when its segments were compacted")
    except errors.LaminaError as error:
        wrong.append(f"a view lost its segments: {error}")
    view.close()
    db.upkeep.run_once()
    db.close()
    return wrong


def clock_jump(seed: int) -> list[str]:
    """Retention by age does not believe a wall clock that is ten years ahead."""
    files, catalog, clock = MemoryFiles(), _Unclosed(MemoryCatalog()), ManualClock()
    db = reopen(files, catalog, clock, SMALL, seed)
    stream = db.streams.create("c", "a", uuid=stream_uuid(1))
    for i in range(5):
        stream.insert([i], [float(i)])
        db.flush()
        clock.advance(10)
    stream.set_retention({"seconds": 3600})
    db.close()
    clock.jump_wall(10 * 365 * 86400)
    db = reopen(files, catalog, clock, SMALL, seed + 1)
    retention.apply_rules(db, db.clock_guard.trusted())
    stream = db.streams.get(stream_uuid(1))
    wrong = [] if stream.oldest_version == 0 else [f"a clock in the future pruned up to {stream.oldest_version}"]
    db.close()
    return wrong


def rebuilt_without_log(folder: str) -> list[str]:
    """Catalog and log are gone after a clean close: segments alone give every version back."""
    path = Path(folder) / "db"
    with lamina.open(path, settings=SMALL) as db:
        stream = db.streams.create("c", "a", uuid=stream_uuid(1), annotations={"k": "v"})
        for i in range(6):
            stream.insert(range(100 * i, 100 * i + 40), [float(i)] * 40)
        before = {version: stream.values(version=version) for version in range(10, 17)}
    for place in [*path.glob("catalog.sqlite*"), *(path / "log").iterdir()]:
        place.unlink()
    list(doctor.rebuild_catalog(path))
    with lamina.open(path, settings=SMALL) as db:
        stream = db.streams.get(stream_uuid(1))
        wrong = [f"version {v} differs" for v, samples in before.items() if stream.values(version=v) != samples]
        if stream.annotations != {"k": "v"} or stream.version != 16:
            wrong.append(f"found {stream.row()} at version {stream.version}")
    return wrong


def payload_exchanged(seed: int) -> list[str]:
    """Files of contents took each other's place: each content is sound in itself, and not the one that is asked for."""
    with tempfile.TemporaryDirectory(prefix="lamina-losses-", dir=fast_folder()) as folder:
        path = Path(folder) / "db"
        with lamina.open(path, settings=SMALL) as db:
            for number in (1, 2):
                perform(db, Step("bucket", (number, 0)))
                perform(db, Step("record", (number, Stored("x", seed, 200_000, ()))))
        first, second = sorted((path / "segments/payload").rglob("*.dat"))
        contents = [place.read_bytes() for place in (first, second)]
        for place, own, other in ((first, *contents), (second, *reversed(contents))):
            place.write_bytes(own[:4096] + other[4096:])
        findings = list(doctor.verify(path))
        if len(findings) != 2:
            return [f"doctor says {findings} of two exchanged contents"]
        with lamina.open(path, settings=SMALL) as db:
            seen = [holdings(db, number) for number in (1, 2)]
        return [
            f"answered {record}"
            for held in seen
            for record in (held.records if held is not None else ())
            if not record.wrong or record.wrong.startswith(DIFFERS)
        ]


def evicted_then_rebuilt(seed: int) -> list[str]:
    """What was evicted or removed whole stays gone when catalog and log are lost, though nobody wrote there since."""
    with tempfile.TemporaryDirectory(prefix="lamina-losses-", dir=fast_folder()) as folder:
        path = Path(folder) / "db"
        with lamina.open(path, settings=SMALL) as db:
            perform(db, Step("bucket", (1, 400_000)))
            for entry, begin, n in (("x", seed, 4), ("z", 1000 + seed, 8)):
                for i in range(n):
                    perform(db, Step("record", (1, Stored(entry, begin + i, 60_000, ()))))
                    db.upkeep.run_once()  # gives back what was evicted
                    if i % 4 == 3:
                        db.flush()
            perform(db, Step("bucket", (2, 0)))
            perform(db, Step("record", (2, Stored("x", seed, 30, ()))))
            db.flush()
            perform(db, Step("unrecord", (2, "x", seed)))
            db.flush()
            db.compact()
            before = [holdings(db, number) for number in (1, 2)]
        for place in [*path.glob("catalog.sqlite*"), *(path / "log").iterdir()]:
            place.unlink()
        list(doctor.rebuild_catalog(path))
        with lamina.open(path, settings=SMALL) as db:
            after = [holdings(db, number) for number in (1, 2)]
        return [] if before == after else [f"before {before}, after {after}"]


DIRECTORY_CASES: dict[str, Callable[[Directory, int], list[str]]] = {
    "catalog-lost": catalog_lost,
    "catalog-zeroed": catalog_zeroed,
    "catalog-older": catalog_older,
    "segment-missing": segment_missing,
    "segment-stale": segment_stale,
    "segment-extra": segment_extra,
}
PLAIN_CASES: dict[str, Callable[[int], list[str]]] = {
    "second-writer": second_writer,
    "reader-across-compaction": reader_across_compaction,
    "clock-jump": clock_jump,
    "payload-exchanged": payload_exchanged,
    "evicted-then-rebuilt": evicted_then_rebuilt,
}
CASES = (*DIRECTORY_CASES, *PLAIN_CASES)


def run(report: Report, name: str, seed: int, rounds: int = 1) -> Report:
    """The case, or with a trailing * all that begin so, over several workloads."""
    for case in CASES:
        if case != name and not (name.endswith("*") and case.startswith(name[:-1])):
            continue
        command = f"python -m tests.reliability.faults --case {case} --seed {seed}"
        if case in PLAIN_CASES:
            report.cases += 1
            wrong = PLAIN_CASES[case](seed)
            if wrong:
                report.fail(case, wrong, command)
            continue
        for workload in ("edits", "many", "metadata", "rotation", "compaction", "records", "rings"):
            for round_ in range(rounds):
                report.cases += 1
                with tempfile.TemporaryDirectory(prefix="lamina-losses-", dir=fast_folder()) as folder:
                    directory = Directory(Path(folder), workload, seed + round_)
                    if case.startswith("segment") and len(directory.segments()) < 2:
                        continue
                    wrong = DIRECTORY_CASES[case](directory, seed + round_)
                if wrong:
                    report.fail(f"{case} of {workload} seed {seed + round_}", wrong, command)
    return report
