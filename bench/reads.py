"""Lines about reading: windows at any zoom, raw points, nearest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import lamina
from bench import data, references
from bench.measure import Line, cpu, power, rate, size, span
from lamina.engine.stream import Stream

WINDOWS = 1000
RAW_POINTS = 2_000_000
ZOOM_BOTTOM = 100_000
"""Zooms halve the range from the whole stream down to about so many points."""

MUST_ALIGNED = {1_000_000: 0.0, 10_000_000: 100.0, 100_000_000: 1000.0}
MUST_EXACT = {1_000_000: 0.0, 10_000_000: 8.0, 100_000_000: 60.0}


def pointwidth(start: int, end: int) -> int:
    """The width of which about WINDOWS aligned windows, at most, make up the range."""
    return ((end - start) // WINDOWS).bit_length()


def window_lines(work: Path, n: int) -> Iterator[Line]:
    """WINDOWS windows over the whole range, against GROUP BY. Without reference where DuckDB has no such table."""
    start, end = data.bounds(n)
    width, pw = (end - start) // WINDOWS, pointwidth(start, end)
    path = work / f"duckdb-{n}.db"
    duck = references.Duck(path) if path.exists() else None
    with lamina.open(work / f"lamina-{n}") as db:
        stream = db.streams["bench", "voltage"]
        aligned = cpu(lambda: stream.aligned_windows(start, end, pw), 20)
        exact = cpu(lambda: stream.windows(start, end, width), 9)
    if duck is None:
        yield Line("aligned windows, 1000", n, span(aligned), "", 0.0, 0.0)
        yield Line("exact windows, 1000", n, span(exact), "", 0.0, 0.0)
        return
    repeats = 3 if n <= 10_000_000 else 2
    theirs = cpu(lambda: duck.aligned(start, end, pw), repeats)
    yield Line(
        "aligned windows, 1000", n, span(aligned), f"DuckDB {span(theirs)}", theirs / aligned, MUST_ALIGNED.get(n, 0.0)
    )
    theirs = cpu(lambda: duck.windows(start, end, width), repeats)
    yield Line("exact windows, 1000", n, span(exact), f"DuckDB {span(theirs)}", theirs / exact, MUST_EXACT.get(n, 0.0))
    duck.close()


def worst_zooms(work: Path, n: int) -> tuple[float, float]:
    """CPU seconds of the slowest zoom (aligned, exact): WINDOWS windows over the middle of the stream, ever closer."""
    first, last = data.bounds(n)
    aligned = exact = 0.0
    with lamina.open(work / f"lamina-{n}") as db:
        stream = db.streams["bench", "voltage"]
        length = last - first
        while length * 120 // 1_000_000_000 >= ZOOM_BOTTOM:
            start = (first + last - length) // 2
            end = start + length
            pw, width = pointwidth(start, end), length // WINDOWS
            aligned = max(aligned, cpu(_aligned(stream, start, end, pw), 9))
            exact = max(exact, cpu(_exact(stream, start, end, width), 9))
            length //= 2
    return aligned, exact


def _aligned(stream: Stream, start: int, end: int, pw: int) -> Callable[[], object]:
    return lambda: stream.aligned_windows(start, end, pw)


def _exact(stream: Stream, start: int, end: int, width: int) -> Callable[[], object]:
    return lambda: stream.windows(start, end, width)


def flatness_lines(work: Path, small: int, large: int) -> Iterator[Line]:
    """The worst zoom of a long stream against the worst of a short one."""
    before, after = worst_zooms(work, small), worst_zooms(work, large)
    for what, a, b, must in zip(("aligned", "exact"), before, after, (2.0, 3.0), strict=True):
        yield Line(f"worst zoom, {what}", large, span(b), f"at {power(small)} {span(a)}", b / a, must, True)


def raw_lines(work: Path, n: int) -> Iterator[Line]:
    """RAW_POINTS points from the middle as arrays."""
    times, _ = data.points(n)
    count = min(RAW_POINTS, n)
    a = (n - count) // 2
    start, end = int(times[a]), int(times[a + count - 1]) + 1
    with lamina.open(work / f"lamina-{n}") as db:
        stream = db.streams["bench", "voltage"]
        ours = cpu(lambda: stream.values(start, end), 9)
        streaming = cpu(lambda: [None for _ in stream.iter_values(start, end)], 9)
    duck = references.Duck(work / f"duckdb-{n}.db")
    theirs = cpu(lambda: duck.raw(start, end), 3)
    duck.close()
    yield Line("raw scan to arrays", count, rate(count / ours), f"DuckDB {rate(count / theirs)}", theirs / ours, 2.0)
    parquet = work / f"points-{n}.parquet"
    theirs = cpu(lambda: references.polars_raw(parquet, start, end), 5)
    yield Line("raw scan to arrays", count, rate(count / ours), f"Polars {rate(count / theirs)}", theirs / ours, 1.0)
    yield Line(
        "raw scan, chunk by chunk",
        count,
        rate(count / streaming),
        f"Polars {rate(count / theirs)}",
        theirs / streaming,
        0.0,
    )


def nearest_lines(work: Path, n: int) -> Iterator[Line]:
    """The next point at or after 1000 times all over the stream."""
    start, end = data.bounds(n)
    probes = range(start, end, (end - start) // 1000)
    with lamina.open(work / f"lamina-{n}") as db:
        stream = db.streams["bench", "voltage"]
        ours = cpu(lambda: [stream.nearest(time) for time in probes], 5) / len(probes)
    duck = references.Duck(work / f"duckdb-{n}.db")
    few = probes[::100]
    theirs = cpu(lambda: [duck.nearest(time) for time in few], 3) / len(few)
    duck.close()
    yield Line("nearest, warm", n, span(ours), f"DuckDB {span(theirs)}", theirs / ours, 20)


def cold_lines(work: Path, n: int) -> Iterator[Line]:
    """What a first query reads from the disk: segments are dropped from the page cache before. Linux only."""
    folder = work / f"lamina-{n}"
    start, end = data.bounds(n)
    whole = 0
    for path in folder.glob("segments/*/*/*"):
        whole += path.stat().st_size
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    with lamina.open(folder) as db:
        stream = db.streams["bench", "voltage"]
        before = _disk_reads()
        stream.aligned_windows(start, end, pointwidth(start, end))
        read = _disk_reads() - before
    must = 0.001 if n >= 1_000_000_000 else 0.0
    yield Line("cold disk bytes, aligned 1000", n, size(read), f"segments {size(whole)}", read / whole, must, True)


def _disk_reads() -> int:
    text = Path("/proc/self/io").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("read_bytes")))
