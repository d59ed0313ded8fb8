"""CPU time, and how a result is printed."""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


def cpu(work: Callable[[], object], repeats: int = 5) -> float:
    """CPU seconds of this process (all its threads, user and system) for one call: the least of so many."""
    best = float("inf")
    for _ in range(repeats):
        gc.collect()
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best


class Stopwatch:
    """CPU seconds of this process inside `with` blocks, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._before = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._before


class Line(NamedTuple):
    """One result. `must`: what `ratio` has to reach, from above if `at_most`; 0: measured for information."""

    what: str
    points: int
    ours: str
    reference: str
    ratio: float
    must: float
    at_most: bool = False

    def show(self) -> None:
        verdict = ""
        if self.must:
            reached = self.ratio <= self.must if self.at_most else self.ratio >= self.must
            verdict = f"must {'<=' if self.at_most else '>='} {self.must:g}  {'reached' if reached else 'MISSED'}"
        ratio = (
            f"{self.ratio:.4f}"
            if self.ratio < 0.1
            else f"{self.ratio:.3g}"
            if self.ratio < 100
            else f"{self.ratio:.0f}"
        )
        print(f"{self.what:<34} {power(self.points):>5}  {self.ours:>14}  {self.reference:<30} {ratio:>8}  {verdict}")
        sys.stdout.flush()


def power(n: int) -> str:
    """1e7 for 10000000."""
    return f"{n:.0e}".replace("e+0", "e") if n else ""


def rate(per_second: float) -> str:
    for unit, size in (("M/s", 1e6), ("k/s", 1e3)):
        if per_second >= size:
            return f"{per_second / size:.3g} {unit}"
    return f"{per_second:.3g} /s"


def span(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def size(n: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= scale:
            return f"{n / scale:.3g} {unit}"
    return f"{n:.0f} B"


def headline(program: str) -> None:
    """What ran where: figures without it mean nothing."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    print(f"{program}: Python {platform.python_version()}, {cpus} CPUs, load {load:.1f}, {time.strftime('%Y-%m-%d')}")
    print("CPU time, least of several runs; the reference is limited to one thread")
