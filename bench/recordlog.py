"""Lines about the log of records: recovery, many entries with open tails, and from which length contents go past it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lamina
from bench.load import touch
from bench.measure import Line, size, span
from bench.stored import FIRST_US, made
from lamina.engine.records import write as writing
from lamina.engine.records.arguments import NewRecord
from lamina.settings import GIB, Settings

MIB = 1 << 20
SMALL_BYTES, SMALL_S = 64 * MIB, 0.3
FULL_OPS, FULL_S = 2_500_000, 10.0
ENTRIES = 10_000
THRESHOLD_KIB = (32, 64, 128, 256)

_SETTINGS = """
import os, sys, time
import lamina
from lamina.settings import GIB, Settings
settings = Settings(durability="os", background=False, tails_limit=16 * GIB, log_limit=64 * GIB, min_free=0,
                    log_ops_limit=1 << 40)
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
"""

_WRITE = (
    _SETTINGS
    + """
folder, count, length, entries = sys.argv[1], *map(int, sys.argv[2:])
db = lamina.open(folder, settings=settings)
bucket = db.buckets.create("bench")
handles = bucket.ensure_entries([f"entry-{i}" for i in range(entries)])
content = os.urandom(length)
labels = [(("mode", f"m{i % 3}"), ("robot", f"r{i % 8}")) for i in range(24)]
done, waiting = 0, []
while done < count:
    handle = handles[done % entries]
    write = bucket.open_write(handle, 1_790_000_000_000_000 + done, length, labels[done % 24], "text/plain")
    write.set_content(content)
    waiting.append(bucket.commit_writes([write]))
    done += 1
    if len(waiting) == 1000:
        waiting[-1].wait()
        waiting.clear()
db.barrier()
print(status("VmRSS"), len(os.listdir("/proc/self/fd")), flush=True)
os._exit(0)
"""
)

_OPEN = (
    _SETTINGS
    + """
began, spent, before = time.perf_counter(), time.process_time(), status("VmRSS")
db = lamina.open(sys.argv[1], settings=settings)
took = time.perf_counter() - began, time.process_time() - spent
held = status("VmRSS") - before
count = sum(info.record_count for info in db.buckets.get("bench").entry_infos())
print(*took, held, len(os.listdir("/proc/self/fd")), count, flush=True)
os._exit(0)
"""
)


def _run(program: str, *arguments: object) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=True, stdout=subprocess.PIPE, timeout=3600
    )
    return [float(word) for word in done.stdout.split()]


def _reopened(folder: Path, count: int, length: int, entries: int) -> list[list[float]]:
    """Write, leave without closing, open again three times."""
    shutil.rmtree(folder, ignore_errors=True)
    _run(_WRITE, folder, count, length, entries)
    runs = [_run(_OPEN, folder) for _ in range(3)]
    if int(runs[0][4]) != count:
        raise RuntimeError(f"{folder}: {runs[0][4]:.0f} records recovered of {count}")
    return runs


def recovery_lines(work: Path, scale: float) -> Iterator[Line]:
    """64 MiB of 1 KB records, one an op; and a part of as many ops as a log may hold, contents of 8 bytes."""
    folder = work / "records-recovery"
    for count, length, must in (
        (SMALL_BYTES // 1024, 1024, SMALL_S),
        (int(FULL_OPS * scale), 8, FULL_S * scale),
    ):
        runs = _reopened(folder, count, length, 100)
        log = sum(path.stat().st_size for path in (folder / "log").iterdir())
        clock, spent = min(run[0] for run in runs), min(run[1] for run in runs)
        yield Line(f"open after a kill, {count:,} records", count, span(clock),
                   f"log {size(log)}; CPU {span(spent)}", clock / must, 1.0, True)  # fmt: skip
    shutil.rmtree(folder)


def entries_lines(work: Path) -> Iterator[Line]:
    """10,000 entries with ten records of 1 KB each, none of them sealed."""
    folder = work / "records-entries"
    shutil.rmtree(folder, ignore_errors=True)
    (_, descriptors) = _run(_WRITE, folder, 1, 1024, 1)
    runs = _reopened(folder, 10 * ENTRIES, 1024, ENTRIES)
    best = [min(run[i] for run in runs) for i in range(4)]
    yield Line("10,000 open tails: opening", 10 * ENTRIES, span(best[0]), f"CPU {span(best[1])}", 0, 0)
    yield Line("10,000 open tails: memory", 10 * ENTRIES, size(best[2]), f"{size(best[2] / ENTRIES)} an entry", 0, 0)
    yield Line("10,000 open tails: descriptors", 10 * ENTRIES, f"{best[3]:.0f}", f"with 1 entry {descriptors:.0f}",
               0, 0)  # fmt: skip
    shutil.rmtree(folder)


def threshold_lines(work: Path, total: int = 192 * MIB) -> Iterator[Line]:
    """Contents through the log and then into payload files, against straight into these: which is cheaper from which
    length on. Durable, 16 a commit, sealing included."""
    folder = work / "records-threshold"
    kept = writing.INLINE
    for kib in THRESHOLD_KIB:
        length = kib << 10
        spent: dict[bool, tuple[float, float]] = {}
        for inline in (True, False) if length <= kept else (False,):
            best = (float("inf"), float("inf"))
            for _ in range(3):
                touch(work, 2 * total)
                writing.INLINE = kept if inline else 0
                try:
                    best = min(best, _write_all(folder, length, total // length))
                finally:
                    writing.INLINE = kept
            spent[inline] = best
        straight = spent[False]
        through = spent.get(True)
        reference = "" if through is None else f"through the log {span(through[0])}, CPU {span(through[1])}"
        yield Line(f"192 MiB of {kib} KiB straight: clock", total // length, f"{span(straight[0])}", reference,
                   0 if through is None else straight[0] / through[0], 0)  # fmt: skip
        yield Line(f"192 MiB of {kib} KiB straight: CPU", total // length, f"{span(straight[1])}", reference,
                   0 if through is None else straight[1] / through[1], 0)  # fmt: skip


def _write_all(folder: Path, length: int, count: int) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    shutil.rmtree(folder, ignore_errors=True)
    content = os.urandom(length)
    settings = Settings(background=False, min_free=0, log_limit=4 * GIB)
    with lamina.open(folder, settings=settings) as db:
        entry = made(db, "bench", "entry")
        began, spent = time.perf_counter(), time.process_time()
        for i in range(0, count, 16):
            entry.write_many([NewRecord(FIRST_US + i + j, content) for j in range(16)])
        db.flush()
        took = time.perf_counter() - began, time.process_time() - spent
    shutil.rmtree(folder)
    return took
