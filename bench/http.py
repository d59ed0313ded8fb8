"""Lines about records over HTTP. The rates suffer from whatever else runs; the server's CPU does much less."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench import load
from bench.measure import Line, rate, span
from bench.stored import sync_seconds

LARGE = 4 << 20
GB = 1e9
GIB = 1 << 30

T = TypeVar("T")

SINGLE_CPU_S, SINGLE_RATE = 33e-6, 30e3
DURABLE_RATE, DURABLE_P50_S, DURABLE_P99_S = 17e3, 4e-3, 20e-3
BATCH_RATES = {"os": 200e3, "group": 140e3}
CLIENT_RATES = {1_000: (45e3, 70e3), 10_000: (30e3, 42e3), 100_000: (5.5e3, 11.5e3), 1_000_000: (900.0, 1400.0)}
CLIENT_COUNTS = {1_000: 40_000, 10_000: 20_000, 100_000: 4_000, 1_000_000: 600}
UPLOAD_S = 1.0  # CPU per GB
DOWNLOAD_RATIO = 0.3 / 0.13
"""The limit of a download's CPU, as a multiple of sendfile's where it was set: here sendfile alone takes 0.3 s/GB."""


def _best(runs: list[T], key: Callable[[T], float]) -> T:
    return min(runs, key=key)


def single_lines(work: Path, repeats: int) -> Iterator[Line]:
    """One record of 1 KB a request."""
    with load.nginx(work / "nginx") as other:
        theirs = min(load.wrk(other, 64, 1024).cpu for _ in range(repeats))
    with load.lamina(work / "http-os", "os") as server:
        runs = [load.wrk(server, 64, 1024) for _ in range(repeats + 1)]
    cpu, fastest = min(run.cpu for run in runs), max(run.rate for run in runs)
    yield Line("1 KB write, os, 64 conn.: CPU", 0, span(cpu), f"nginx discards it in {span(theirs)}",
               cpu / SINGLE_CPU_S, 1.0, True)  # fmt: skip
    yield Line("1 KB write, os, 64 conn.: rate", 0, rate(fastest), f"limit {rate(SINGLE_RATE)}",
               fastest / SINGLE_RATE, 1.0)  # fmt: skip
    one = sync_seconds(work)
    sync = f"one fdatasync {span(one)}"
    with load.lamina(work / "http-group", "group") as server:
        runs = [load.wrk(server, 64, 1024) for _ in range(repeats + 1)]
        wide = [load.wrk(server, 256, 1024) for _ in range(repeats)]
    fastest = max(run.rate for run in runs)
    quickest = _best(runs, lambda run: run.p99)
    yield Line("1 KB write, durable, 64 conn.", 0, rate(fastest), f"ungrouped {rate(1 / one)}",
               fastest / DURABLE_RATE, 1.0)  # fmt: skip
    yield Line("1 KB write, durable, 256 conn.", 0, rate(max(run.rate for run in wide)), f"ungrouped {rate(1 / one)}",
               max(run.rate for run in wide) / DURABLE_RATE, 0)  # fmt: skip
    yield Line("durable, 64 conn.: CPU", 0, span(min(run.cpu for run in runs)), "", 0, 0)
    yield Line("durable, 64 conn.: p50", 0, span(quickest.p50), sync, quickest.p50 / DURABLE_P50_S, 1.0, True)
    yield Line("durable, 64 conn.: p99", 0, span(quickest.p99), sync, quickest.p99 / DURABLE_P99_S, 1.0, True)


def batch_lines(work: Path, repeats: int) -> Iterator[Line]:
    """80 records of 1 KB a request, from as many connections as single ones, and from 8, which wait for answers."""
    for durability, must in BATCH_RATES.items():
        with load.lamina(work / f"http-{durability}", durability) as server:
            for connections, bound in ((64, 1.0), (8, 0.0)):
                # In three seconds twice 0.7 GB are written, to the log and behind it.
                runs = [load.wrk(server, connections, 1024, 80) for _ in range(repeats) if load.touch(work, 2 * GIB)]
                found = 80 * max(run.rate for run in runs)
                cpu = min(run.cpu for run in runs) / 80
                yield Line(f"80 x 1 KB, {durability}, {connections} conn.", 0, f"{rate(found)}",
                           f"server CPU {span(cpu)} a record", found / must, bound)  # fmt: skip


def client_lines(work: Path, repeats: int) -> Iterator[Line]:
    """The unmodified Python client on the other core."""
    with load.lamina(work / "http-client", "os") as server:
        url = f"http://127.0.0.1:{server.port}"
        for size, musts in CLIENT_RATES.items():
            count = CLIENT_COUNTS[size]
            for what, must in zip(("write", "read"), musts, strict=True):
                best, spent = 0.0, float("inf")
                for run in range(repeats):
                    load.touch(work, 2 * size * count)
                    before = server.cpu()
                    best = max(best, _client(what, url, f"size-{size}-{run}", size, count))
                    spent = min(spent, (server.cpu() - before) / count)
                yield Line(f"reduct-py batch {what}, {size // 1000} KB", count, rate(best),
                           f"server CPU {span(spent)} a record", best / must, 1.0)  # fmt: skip


def _client(what: str, url: str, entry: str, size: int, count: int) -> float:
    command = [sys.executable, "-m", "bench.reductclient", what, url, entry, str(size), str(count)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout)


def large_lines(work: Path, repeats: int) -> Iterator[Line]:
    """Records of 4 MiB, one a request: CPU of the server per GB in and out."""
    count = 128
    total = count * LARGE / GB
    with load.nginx(work / "nginx") as other:
        (other.folder / "files" / "large").write_bytes(os.urandom(LARGE))
        paths = ["/files/large"] * count
        sent = min(other.spent(lambda: load.download(other, paths, LARGE)).cpu for _ in range(repeats)) / total
        taken = min(other.spent(lambda: load.upload(other, 0, LARGE, count)).cpu for _ in range(repeats)) / total
    copied = _copy_seconds()
    with load.lamina(work / "http-large", "os") as server:
        ups, downs = [], []
        for _ in range(repeats):
            first = time.time_ns() // 1000
            load.touch(work, count * LARGE)
            ups.append(server.spent(partial(load.upload, server, first, LARGE, count)).cpu / total)
            paths = [f"/api/v1/b/bench/large?ts={first + i}" for i in range(count)]
            downs.append(server.spent(partial(load.download, server, paths, LARGE)).cpu / total)
    yield Line("upload, 4 MiB records: CPU per GB", 0, span(min(ups)),
               f"nginx discards it {span(taken)}, memcpy {span(copied)}", min(ups) / UPLOAD_S, 1.0, True)  # fmt: skip
    yield Line("download, 4 MiB records: CPU per GB", 0, span(min(downs)), f"nginx sendfile {span(sent)}",
               min(downs) / sent, DOWNLOAD_RATIO, True)  # fmt: skip


def _copy_seconds() -> float:
    """CPU of copying a GB in memory."""
    source = bytearray(64 << 20)
    target = bytearray(64 << 20)
    best = float("inf")
    for _ in range(5):
        before = time.process_time()
        target[:] = source
        best = min(best, time.process_time() - before)
    return best / (len(source) / GB)
