"""The native API against a server, beside the same in this process: `python -m bench.remote [--points 1e6]`.

The server is a process of its own on loopback; both databases lie on the same disk, with the same data. Seconds by the
clock, because two processes take part: the least of several runs, the two taking turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lamina
from bench import data
from bench.measure import Line, span
from lamina import NewRecord

RATIO = 3.0
"""What a round trip over loopback may cost: encode, two copies through the kernel, decode."""

RUNS = 7
RECORDS, CONTENT = 10_000, bytes(1000)


@contextmanager
def server(place: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "lamina.cli.main", "serve", str(place), "--http-port", "0", "--grpc-port", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        ready = child.stdout.readline()
        yield "http://" + ready.split("http=")[1].split()[0]
    finally:
        child.terminate()
        child.wait()


def turns(here: Callable[[], Any], there: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of each, the least of RUNS."""
    best = [float("inf"), float("inf")]
    for _ in range(RUNS):
        for i, work in enumerate((here, there)):
            began = time.perf_counter()
            work()
            best[i] = min(best[i], time.perf_counter() - began)
    return best[0], best[1]


def measure(points: int, work: Path) -> Iterator[Line]:
    times, values = data.points(points)
    with lamina.open(work / "here") as here, server(work / "there") as url, lamina.connect(url) as there:
        both = [db.streams.create("bench", f"s{time.time_ns()}") for db in (here, there)]

        def line(what: str, call: Callable[[Any], Any], of: tuple[Any, Any], n: int, must: float = RATIO) -> Line:
            ours, theirs = turns(lambda: call(of[0]), lambda: call(of[1]))
            return Line(what, n, span(theirs), span(ours), theirs / ours, must, at_most=True)

        pair = both[0], both[1]
        yield line("insert, one call", lambda s: s.insert(times, values, policy="never"), pair, points)
        for stream in both:
            stream.obliterate()
        both = [db.streams.create("bench", f"t{time.time_ns()}") for db in (here, there)]
        pair = both[0], both[1]
        for stream in both:
            stream.insert(times, values)
        start, end = int(times[0]), int(times[-1]) + 1
        yield line("values", lambda s: s.values(), pair, points)
        width = (end - start) // points + 1
        yield line("windows, one a point", lambda s: s.windows(start, end, width), pair, points)
        yield line("windows, 1000", lambda s: s.windows(start, end, (end - start) // 1000), pair, points, 0)
        yield line("count, one small call", lambda s: s.count(), pair, 1, 0)
        entries = [db.buckets.create(f"b{time.time_ns()}").entry("e") for db in (here, there)]
        for entry in entries:
            entry.write_many(NewRecord(i, CONTENT, {"n": i % 10}) for i in range(RECORDS))
        of = entries[0], entries[1]
        yield line("query and read, 1 kB records", lambda e: [r.read() for r in e.query()], of, RECORDS, 0)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=float, default=1e6)
    parser.add_argument("--work", type=Path, default=Path("scratch/bench/remote"))
    chosen = parser.parse_args(arguments)
    chosen.work.mkdir(parents=True, exist_ok=True)
    date, load = time.strftime("%Y-%m-%d"), os.getloadavg()[0]
    print(f"bench.remote: {date}, load {load:.1f}; seconds by the clock, least of {RUNS} runs")
    for line in measure(int(chosen.points), chosen.work):
        line.show()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
