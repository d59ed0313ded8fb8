"""TinyFlux and its drop-in over the same points, in one run: `python -m bench.points [--points 1000 100000]`.

Wall time, least of a few runs (of single inserts the median), because most of what the drop-in saves is waiting for
syncs. Peak memory is that of a process of its own which opens the file and searches once. Ratios above 1: the drop-in
is faster or smaller.
The original syncs once per surviving row in an update or a remove; at 1e5 points that takes minutes, so it is timed
over --rewrite-points rows and multiplied up, which the line says.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.measure import Line, size, span

START = datetime(2024, 1, 1, tzinfo=UTC)
OURS, REFERENCE = "lamina.tinyflux", "tinyflux"


def points(package: Any, n: int) -> list[Any]:
    """A reading a minute from 20 rooms; 5 % of the points are in each."""
    return [
        package.Point(
            time=START + timedelta(minutes=i),
            measurement="indoor" if i % 4 else "outdoor",
            tags={"room": f"room-{i * 7 % 20}", "sensor": f"s{i % 3}"},
            fields={"temp": 20.0 + i * 37 % 1000 / 100, "humidity": 40.0 + i * 13 % 300 / 10, "id": float(i)},
        )
        for i in range(n)
    ]


def clock(work: Callable[[], object], repeats: int) -> float:
    """Least wall seconds of so many calls."""
    best = float("inf")
    for _ in range(repeats):
        gc.collect()
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best


def clock_read(work: Callable[[], object], repeats: int) -> float:
    """As `clock`, of reads: quick ones many times over, so that it is them that is timed."""
    once = clock(work, 1)
    if once > 0.002:
        return min(once, clock(work, repeats))
    turns = int(0.01 / once) + 1
    return clock(lambda: [work() for _ in range(turns)], repeats) / turns


def reads(package: Any, n: int) -> dict[str, tuple[Callable[[Any], object], float]]:
    """What is asked, and the ratio to reach at 1e5 points (0: for information)."""
    tag, field, when = package.TagQuery(), package.FieldQuery(), package.TimeQuery()
    hour = START + timedelta(minutes=n // 2)
    narrow = (when >= hour) & (when < hour + timedelta(hours=1))
    one_room, warm = tag.room == "room-3", field.temp > 24.0
    exact = field.id == float(n // 2)
    return {
        "count: field": (lambda db: db.count(warm), 100),
        "count: tag and field": (lambda db: db.count(one_room & warm), 100),
        "count: wide time range": (lambda db: db.count(when >= hour), 100),
        "count: tag": (lambda db: db.count(one_room), 0),
        "search: one hour": (lambda db: db.search(narrow), 100),
        "search: one value": (lambda db: db.search(exact), 100),
        "search: 5 % by tag": (lambda db: db.search(one_room), 15),
        "search: 60 % by field": (lambda db: db.search(warm), 3),
        "search: 60 %, every value read": (
            lambda db: [(p.time, p.tags, p.fields) for p in db.search(warm)],
            0,
        ),
        "all()": (lambda db: db.all(), 3),
        "all(), every value read": (lambda db: [(p.time, p.tags, p.fields) for p in db.all()], 0),
        "get: in the middle": (lambda db: db.get(exact), 0),
        "contains: nothing": (lambda db: db.contains(field.id == -1.0), 0),
        "select: 5 % by tag, two keys": (lambda db: db.select(("time", "fields.temp"), one_room), 0),
        "get_field_values": (lambda db: db.get_field_values("temp"), 0),
        "get_tag_values": (lambda db: db.get_tag_values(), 0),
        "get_timestamps": (lambda db: db.get_timestamps(), 0),
        "get_measurements": (lambda db: db.get_measurements(), 0),
    }


def compare(n: int, folder: str, rewrite_points: int, lines: list[Line]) -> None:
    """All lines for one number of points."""
    packages = {name: importlib.import_module(name) for name in (OURS, REFERENCE)}

    def line(what: str, ours: float, reference: float, must: float = 0.0, note: str = "") -> None:
        lines.append(Line(what, n, span(ours), span(reference) + note, reference / ours, must if n == 100_000 else 0))
        lines[-1].show()

    seconds: dict[str, dict[str, float]] = {name: {} for name in packages}
    for name, package in packages.items():
        took = seconds[name]
        path = os.path.join(folder, f"{name}-{n}.csv")
        made = points(package, n)
        with package.TinyFlux(path) as db:
            took["insert_multiple"] = clock(lambda db=db, made=made: db.insert_multiple(made), 1)
            # The drop-in reads what was inserted when it is first asked; the original indexed it on insert.
            first = clock(lambda db=db, package=package: db.count(package.FieldQuery().id == 1.0), 1)
            took["insert_multiple, then count"] = took["insert_multiple"] + first
        took["reopen"] = clock(lambda package=package, path=path: package.TinyFlux(path).close(), 2)
        with package.TinyFlux(path) as db:
            for what, (ask, _) in reads(package, n).items():
                took[what] = clock_read(lambda ask=ask, db=db: ask(db), 3 if n <= 100_000 else 1)
        rows = n if name == OURS else min(n, rewrite_points)
        short = os.path.join(folder, f"{name}-short.csv")
        with package.TinyFlux(short) as db:
            db.insert_multiple(points(package, rows))
            one = package.FieldQuery().id == float(rows // 2)
            other = package.FieldQuery().id == float(rows // 3)
            db.count(one)
            took["update: one point"] = clock(lambda one=one: db.update(one, fields={"temp": 1.0}), 1) * n / rows
            took["remove: one point"] = clock(lambda other=other: db.remove(other), 1) * n / rows
        os.remove(short)
    with packages[OURS].TinyFlux(os.path.join(folder, f"{OURS}-{n}.csv"), checkpoint=True):
        pass
    for sync, what in ((True, "insert, synced"), (False, "insert, not synced")):
        for name, took in singles(packages, folder, sync).items():
            seconds[name][what] = took
    ours, reference = seconds[OURS], seconds[REFERENCE]
    line("insert, synced", ours["insert, synced"], reference["insert, synced"], 1)
    line("insert, not synced", ours["insert, not synced"], reference["insert, not synced"])
    line("insert_multiple", ours["insert_multiple"], reference["insert_multiple"], 2)
    both = "insert_multiple, then count"
    line(both, ours[both], reference[both])
    line("reopen", ours["reopen"], reference["reopen"])
    path = os.path.join(folder, f"{OURS}-{n}.csv")
    checkpointed = clock(lambda: packages[OURS].TinyFlux(path, checkpoint=True).close(), 9)  # a few ms: cheap to repeat
    line("reopen with checkpoint", checkpointed, reference["reopen"], 100)
    for what, (_, must) in reads(packages[OURS], n).items():
        line(what, ours[what], reference[what], must)
    note = "" if n <= rewrite_points else f" (from {rewrite_points:,} rows; a sync per row)"
    line("update: one point", ours["update: one point"], reference["update: one point"], 500, note)
    line("remove: one point", ours["remove: one point"], reference["remove: one point"], 500, note)
    memory = {name: peak(name, os.path.join(folder, f"{name}-{n}.csv")) for name in packages}
    # NumPy itself is part of the drop-in's process; what grows with the points is what is compared.
    base = {name: peak(name, "") for name in packages}
    grown = {name: max(memory[name] - base[name], 1) for name in packages}
    ratio = grown[REFERENCE] / grown[OURS]
    must = 3 if n == 100_000 else 0
    lines.append(Line("memory, open and one search", n, size(grown[OURS]), size(grown[REFERENCE]), ratio, must))
    lines[-1].show()
    for name in packages:
        os.remove(os.path.join(folder, f"{name}-{n}.csv"))


def singles(packages: dict[str, Any], folder: str, sync: bool) -> dict[str, float]:
    """Seconds of one insert: the median of short blocks in turns, because what a sync costs changes all the time."""
    took: dict[str, list[float]] = {name: [] for name in packages}
    opened = {
        name: package.TinyFlux(os.path.join(folder, f"{name}-single.csv"), flush_on_insert=sync)
        for name, package in packages.items()
    }
    made = {name: points(package, 4000) for name, package in packages.items()}
    gc.collect()
    for start in range(0, 4000, 10):
        # Who comes second finds the disk in the state that the first left: by turns, too.
        for name in sorted(opened, reverse=start % 20 > 0):
            db, some = opened[name], made[name][start : start + 10]
            before = time.perf_counter()
            for point in some:
                db.insert(point)
            took[name].append((time.perf_counter() - before) / len(some))
    for db in opened.values():
        db.close()
        os.remove(db.storage._path)
    return {name: statistics.median(blocks) for name, blocks in took.items()}


def peak(package: str, path: str) -> int:
    """Peak bytes of a process that opens the file and searches; without a file, of one that imports."""
    command = [sys.executable, "-m", "bench.points", "--peak", package, path]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)


def measure_peak(name: str, path: str) -> None:
    package = importlib.import_module(name)
    if path:
        with package.TinyFlux(path) as db:
            db.search(package.TagQuery().room == "room-3")
    elif name == OURS:
        importlib.import_module("lamina.tinyflux.columnar")
    # Of this program alone; ru_maxrss would be the parent's at the time of the fork.
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))


SCRIPT = """
import tempfile, os
from {package} import FieldQuery, Point, TinyFlux
path = os.path.join(tempfile.mkdtemp(), "a.csv")
with TinyFlux(path) as db:
    for value in (1.0, 2.0, 3.0):
        db.insert(Point(tags={{"a": "b"}}, fields={{"x": value}}))
    assert db.count(FieldQuery().x > 1.5) == 2
"""


def small(lines: list[Line]) -> None:
    """Import, and a script of three points, as whole processes."""
    # Both from compiled modules, as an installed package is.
    environment = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": os.path.join(tempfile.gettempdir(), "lamina-bench-pyc"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for what, code in (("import", "import {package}"), ("a script of three points", SCRIPT)):
        took = {name: [0.0] * 15 for name in (OURS, REFERENCE)}
        for turn in range(15):
            for name in took:
                command = [sys.executable, "-c", code.format(package=name)]
                run = lambda command=command: subprocess.run(command, check=True, env=environment)  # noqa: E731
                took[name][turn] = clock(run, 1)
        ours, reference = min(took[OURS]), min(took[REFERENCE])
        lines.append(Line(what, 3 if "script" in what else 0, span(ours), span(reference), reference / ours, 1))
        lines[-1].show()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--rewrite-points", type=int, default=1_000, help="rows of the original's update and remove")
    parser.add_argument("--folder", default=None, help="where the files go: a disk, not memory, or syncs cost nothing")
    parser.add_argument("--peak", nargs=2, metavar=("PACKAGE", "PATH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        measure_peak(*args.peak)
        return
    print(
        f"bench.points: Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    )
    print("wall time, least of a few runs")
    lines: list[Line] = []
    small(lines)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for n in args.points:
            compare(n, folder, args.rewrite_points, lines)


if __name__ == "__main__":
    main()
