"""R1 and R2 for TinyFlux's CSV files: processes killed while they change one, and power lost at any call.

python -m tests.reliability.csvlives --lives 300        children killed by SIGKILL at random moments
python -m tests.reliability.csvlives --states 3000      states a power loss may leave, from recorded calls

Whatever happened, the file holds the points of everything that returned, and of the change under way all, nothing, or,
of an insert, some of its first rows.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lamina.tinyflux import FieldQuery, Point, TagQuery, TinyFlux, csvfile
from lamina.tinyflux.rows import TornRowWarning
from tests.reliability.report import Report, fast_folder

NAME = "a.csv"
STEPS = 14
LIFE_S = 0.05
SECTOR = 512

Rows = list[str]
Step = tuple[str, Callable[[TinyFlux], object]]


def steps(seed: int) -> list[Step]:
    """Changes, the same for the same seed."""
    rng = random.Random(seed)
    found: list[Step] = []
    for number in range(STEPS):
        kind = rng.choice(["insert", "insert", "insert", "update", "remove", "clear"] if number > 2 else ["insert"])
        if kind == "insert":
            count = rng.choice([1, 1, 7, 90])
            found.append((kind, _insert(number, count)))
        elif kind == "update":
            found.append((kind, _update(rng.randrange(5), number)))
        elif kind == "remove":
            found.append((kind, _remove(rng.randrange(40))))
        else:
            found.append((kind, lambda db: db.remove_all()))
    return found


def _insert(number: int, count: int) -> Callable[[TinyFlux], object]:
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    points = [
        Point(time=start + timedelta(seconds=i), tags={"k": f"k{i % 5}"}, fields={"i": float(i), "step": float(number)})
        for i in range(count)
    ]
    return lambda db: db.insert_multiple(points)


def _update(key: int, number: int) -> Callable[[TinyFlux], object]:
    return lambda db: db.update(TagQuery().k == f"k{key}", fields={"changed": float(number)})


def _remove(value: int) -> Callable[[TinyFlux], object]:
    return lambda db: db.remove(FieldQuery().i == float(value))


def rows_of(folder: Path) -> Rows:
    """What the file holds for whoever opens it; none where there is no file."""
    if not (folder / NAME).exists():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRowWarning)
        with TinyFlux(folder / NAME) as db:
            return [repr(point) for point in db]


def expected(changes: list[Step]) -> list[Rows]:
    """The rows after each number of steps."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
        states = [[]]
        with TinyFlux(Path(name) / NAME) as db:
            for _, change in changes:
                change(db)
                states.append([repr(point) for point in db])
        return states


def wrong(found: Rows, acknowledged: int, changes: list[Step], states: list[Rows]) -> list[str]:
    """What is wrong with a file after so many steps returned."""
    before = states[acknowledged]
    if found == before or acknowledged == len(changes):
        return [] if found == before else [f"{len(found)} rows, expected the {len(before)} of step {acknowledged}"]
    after = states[acknowledged + 1]
    if found == after:
        return []
    # Some first rows of an insert; the last of them may be cut inside its last value, which reading it warns of.
    if changes[acknowledged][0] == "insert" and len(found) > len(before) and found[:-1] == after[: len(found) - 1]:
        return []
    return [
        f"{len(found)} rows are neither those of step {acknowledged} ({len(before)}) nor of the next ({len(after)})"
    ]


# -- kills ---------------------------------------------------------------------------------------------------------


def run_lives(report: Report, lives: int, seed: int) -> None:
    for life in range(lives):
        changes = steps(seed * 100_000 + life)
        states = expected(changes)
        with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
            folder = Path(name)
            acknowledged = _live(folder, changes, random.Random(life).uniform(0, LIFE_S))
            bad = wrong(rows_of(folder), acknowledged, changes, states)
        report.cases += 1
        if bad:
            report.fail(f"life {life}", bad, f"csvlives --lives {lives} --seed {seed}")


def _live(folder: Path, changes: list[Step], seconds: float) -> int:
    """A child that carries out the steps until it is killed; how many returned."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with TinyFlux(folder / NAME) as db:
                for _, change in changes:
                    change(db)
                    os.write(told, b".")
        finally:
            os._exit(0)
    os.close(told)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    count = len(os.read(ready, 4096))
    os.close(ready)
    return count


# -- power loss ----------------------------------------------------------------------------------------------------


Change = tuple[str, int, bytes]
"""("write", where, data), or ("cut", size, nothing)."""


class Inode:
    """A file: what is durable of it, and what was done to it since, in order."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending: list[Change] = []


class Recorder:
    """The calls of the drop-in, carried out and noted, with what a power loss after each might leave."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.possible: list[dict[str, Inode]] = [{}]  # the folder when it was last synced, and after each change since
        self.open_files: dict[int, Inode] = {}
        self.returned = 0
        self.moments: list[tuple[int, Callable[[random.Random], dict[str, bytes]]]] = []

    def __getattr__(self, name: str) -> Any:
        call = getattr(csvfile.Calls, name)
        note = getattr(type(self), f"after_{name}", None)
        if note is None:
            return call

        def made(*args: Any) -> Any:
            result = call(*args)
            note(self, result, *args)
            self._moment()
            return result

        return made

    def _folder(self, names: dict[str, Inode]) -> None:
        self.names = names
        self.possible.append(names)

    def after_open(self, fd: int, path: str, flags: int, mode: int = 0) -> None:
        if os.path.isdir(path):
            self.open_files[fd] = FOLDER
            return
        name = os.path.basename(path)
        if name not in self.names:
            self._folder({**self.names, name: Inode()})
        self.open_files[fd] = self.names[name]

    def after_write(self, count: int, fd: int, data: Any) -> None:
        end = csvfile.Calls.lseek(fd, 0, os.SEEK_CUR)
        self.open_files[fd].pending.append(("write", end - count, bytes(data[:count])))

    def after_ftruncate(self, _: None, fd: int, size: int) -> None:
        self.open_files[fd].pending.append(("cut", size, b""))

    def after_fsync(self, _: None, fd: int) -> None:
        inode = self.open_files[fd]
        if inode is FOLDER:
            self.possible = [self.names]
        inode.durable, inode.pending = applied(inode.durable, inode.pending), []

    def after_replace(self, _: None, source: str, target: str) -> None:
        names = dict(self.names)
        names[os.path.basename(target)] = names.pop(os.path.basename(source))
        self._folder(names)

    def after_unlink(self, _: None, path: str) -> None:
        self._folder({name: inode for name, inode in self.names.items() if name != os.path.basename(path)})

    def _moment(self) -> None:
        possible = list(self.possible)
        held = {id(inode): (inode.durable, list(inode.pending)) for names in possible for inode in names.values()}

        def left(rng: random.Random) -> dict[str, bytes]:
            names = rng.choice(possible)
            return {name: _left(*held[id(inode)], rng) for name, inode in names.items()}

        self.moments.append((self.returned, left))


FOLDER = Inode()


def applied(content: bytes, changes: list[Change]) -> bytes:
    out = bytearray(content)
    for kind, at, data in changes:
        if kind == "cut":
            del out[at:]
        out.extend(bytes(max(0, at - len(out))))
        out[at : at + len(data)] = data
    return bytes(out)


def _left(durable: bytes, pending: list[Change], rng: random.Random) -> bytes:
    """What may be there: the first changes, the last of them whole, torn at a sector, or as zeros."""
    kept = pending[: rng.randrange(len(pending) + 1)]
    if kept and kept[-1][0] == "write":
        kind, at, data = kept[-1]
        choice = rng.randrange(3)
        if choice == 1:
            kept[-1] = (kind, at, data[: rng.randrange(0, len(data) + 1, SECTOR)])
        elif choice == 2:
            kept[-1] = (kind, at, bytes(len(data)))
    return applied(durable, kept)


@contextmanager
def recorded() -> Iterator[Recorder]:
    recorder = Recorder()
    csvfile.CALLS = recorder
    try:
        yield recorder
    finally:
        csvfile.CALLS = csvfile.Calls


def run_states(report: Report, states: int, seed: int) -> None:
    rng = random.Random(seed)
    while report.cases < states:
        changes = steps(rng.randrange(1 << 40))
        rows = expected(changes)
        with tempfile.TemporaryDirectory(dir=fast_folder()) as name, recorded() as recorder:
            with TinyFlux(Path(name) / NAME) as db:
                for _, change in changes:
                    change(db)
                    recorder.returned += 1
            moments = recorder.moments
        for acknowledged, left in rng.sample(moments, min(len(moments), 40)):
            content = left(rng)
            with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
                folder = Path(name)
                for file, data in content.items():
                    (folder / file).write_bytes(data)
                bad = _checked(folder, acknowledged, changes, rows)
            report.cases += 1
            if bad:
                report.fail(f"state {report.cases}", bad, f"csvlives --states {states} --seed {seed}", state=content)


def _checked(folder: Path, acknowledged: int, changes: list[Step], states: list[Rows]) -> list[str]:
    """Read, then changed and read again: what is there must be usable."""
    try:
        found = rows_of(folder)
        bad = wrong(found, acknowledged, changes, states)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TornRowWarning)
            with TinyFlux(folder / NAME) as db:
                db.insert(Point(time=datetime(2025, 1, 1, tzinfo=UTC), tags={"after": "loss"}))
        if rows_of(folder)[:-1] != found:
            bad.append("an insert afterwards changed what was there")
    except (ValueError, IndexError) as error:
        return [f"not readable: {error}"]
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.csvlives", description=__doc__)
    parser.add_argument("--lives", type=int, default=0)
    parser.add_argument("--states", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    report = Report("csvlives", chosen.seed)
    run_lives(report, chosen.lives, chosen.seed)
    if chosen.states:
        run_states(report, report.cases + chosen.states, chosen.seed)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
