"""Process start to first zoom: `python -m bench.start [--points 1e7] [--runs 15]`.

Ours opens the database and asks for 1000 windows over 1e4 points in the middle of a stream. The reference is a NumPy
program that maps the two columns from files and computes the same windows. Both start as processes with a warm page
cache and compiled modules; CPU time of the child is user and system time as the kernel counts it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import data
from bench.measure import Line, headline, size, span
from bench.writes import ingest

ZOOM_POINTS = 10_000
WINDOWS = 1000
RATIO = 1.5
PEAK_BYTES = 80 << 20

_OURS = """
import sys
import lamina
with lamina.open(sys.argv[1]) as db:
    start, width = int(sys.argv[2]), int(sys.argv[3])
    found = db.streams["bench", "voltage"].windows(start, start + 1000 * width, width)
print(int(found.count.sum()), f"{found.mean.sum():.3f}", f"{found.stddev.sum():.6f}")
"""

_REFERENCE = """
import sys
import numpy as np
times = np.memmap(sys.argv[1] + ".t", np.int64, "r")
values = np.memmap(sys.argv[1] + ".v", np.float64, "r")
start, width = int(sys.argv[2]), int(sys.argv[3])
edges = start + width * np.arange(1001)
cuts = times.searchsorted(edges)
a, b = cuts[0], cuts[-1]
v, starts = np.asarray(values[a:b]), cuts[:-1] - a
count = np.diff(cuts)
low, high = np.minimum.reduceat(v, starts), np.maximum.reduceat(v, starts)
mean = np.add.reduceat(v, starts) / count
stddev = np.sqrt(np.add.reduceat((v - np.repeat(mean, count)) ** 2, starts) / count)
print(int(count.sum()), f"{mean.sum():.3f}", f"{stddev.sum():.6f}")
"""

_PEAK = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"


class Run(NamedTuple):
    cpu: float
    answer: str


def run(program: str, *arguments: object) -> Run:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout)


def prepare(work: Path, n: int) -> None:
    folder = work / f"lamina-{n}"
    if not (folder / "LAMINA").exists():
        shutil.rmtree(folder, ignore_errors=True)
        ingest(folder, n)
    if not (work / "columns.t").exists() or (work / "columns.t").stat().st_size != 8 * n:
        with open(work / "columns.t", "wb") as times, open(work / "columns.v", "wb") as values:
            for t, v in data.batches(n):
                times.write(t.tobytes())
                values.write(v.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--points", type=float, default=1e7)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--work", type=Path, default=Path("scratch/bench"))
    chosen = parser.parse_args()
    work, n = chosen.work.resolve(), int(chosen.points)
    work.mkdir(parents=True, exist_ok=True)
    prepare(work, n)
    times = np.memmap(work / "columns.t", np.int64, "r")
    a = (n - ZOOM_POINTS) // 2
    start = int(times[a])
    width = (int(times[a + ZOOM_POINTS]) - start) // WINDOWS
    ours = (_OURS, work / f"lamina-{n}", start, width)
    reference = (_REFERENCE, work / "columns", start, width)
    first, second = run(*ours), run(*reference)  # writes .pyc files, warms the page cache
    if first.answer != second.answer:
        print(f"different answers: {first.answer!r} and {second.answer!r}", file=sys.stderr)
    headline("bench.start")
    pairs = [(run(*ours).cpu, run(*reference).cpu) for _ in range(chosen.runs)]
    least = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    middle = statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)
    for what, (mine, theirs) in (("start to first zoom, least", least), ("start to first zoom, median", middle)):
        Line(what, n, span(mine), f"NumPy on mapped files {span(theirs)}", mine / theirs, RATIO, at_most=True).show()
    if Path("/proc/self/status").exists():
        peak = int(run(_OURS + _PEAK, *ours[1:]).answer.splitlines()[-1]) * 1024
        Line(
            "peak resident size", n, size(peak), f"limit {size(PEAK_BYTES)}", peak / PEAK_BYTES, 1.0, at_most=True
        ).show()


if __name__ == "__main__":
    main()
