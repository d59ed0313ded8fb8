"""The lines of streams.md section 6: `python -m bench.streams [--points 1e7] [--lines ingest,windows]`.

`--points 1e8` measures the sizes 1e6, 1e7 and 1e8; `1e9` windows and cold reads at 1e9 besides, which takes about
5 GB of disk and ten minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported

from bench import reads, writes
from bench.measure import Line, headline

SIZES = (1_000_000, 10_000_000, 100_000_000)
MAIN = 10_000_000
"""The size of lines that the table gives for one size only."""
LINES = ("ingest", "windows", "flatness", "raw", "nearest", "cold", "inserts", "late", "memory")


def run(work: Path, points: int, lines: set[str], reuse: bool) -> Iterator[Line]:
    sizes = [n for n in SIZES if n <= points] or [points]
    main = MAIN if MAIN in sizes else sizes[-1]
    if not reuse:
        for n in sizes:
            yield from writes.ingest_lines(work, n) if "ingest" in lines or lines & _READS else ()
    if "windows" in lines:
        for n in sizes:
            yield from reads.window_lines(work, n)
    if "flatness" in lines and len(sizes) > 1:
        yield from reads.flatness_lines(work, sizes[0], sizes[-1])
    if "raw" in lines:
        yield from reads.raw_lines(work, main)
    if "nearest" in lines:
        yield from reads.nearest_lines(work, main)
    if "inserts" in lines:
        yield from writes.insert_lines(work)
    if "late" in lines:
        yield from writes.late_lines(work, main)
    if "memory" in lines:
        yield from writes.memory_lines(work, main)
    if points >= 1_000_000_000 and lines & {"windows", "cold"}:
        if not reuse:
            writes.ingest(work / f"lamina-{points}", points)
        yield from reads.window_lines(work, points)
        sizes.append(points)
    if "cold" in lines:
        yield from reads.cold_lines(work, sizes[-1])


_READS = {"windows", "flatness", "raw", "nearest", "cold"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--points", type=float, default=1e7, help="largest stream; default 1e7")
    parser.add_argument("--lines", default=",".join(LINES), help=f"some of {', '.join(LINES)}")
    parser.add_argument(
        "--work", type=Path, default=Path("scratch/bench"), help="folder for data; default scratch/bench"
    )
    parser.add_argument("--reuse", action="store_true", help="read what an earlier run wrote instead of writing anew")
    chosen = parser.parse_args()
    lines = set(chosen.lines.split(","))
    if lines - set(LINES):
        parser.error(f"unknown lines {sorted(lines - set(LINES))}: known are {', '.join(LINES)}")
    chosen.work.mkdir(parents=True, exist_ok=True)
    for path in chosen.work.iterdir():
        if path.name.startswith("lamina-") and path.name.rpartition("-")[2].isdigit() and chosen.reuse:
            continue
        if path.is_dir() and path.name != "arcticdb":
            shutil.rmtree(path)
        elif path.is_file() and not chosen.reuse:
            path.unlink()
    headline("bench.streams")
    for line in run(chosen.work, int(chosen.points), lines, chosen.reuse):
        line.show()


if __name__ == "__main__":
    main()
