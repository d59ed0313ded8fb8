"""The same work through reduct-py and through `lamina.reduct`, of one server and of a directory:
`python -m bench.clients [--repeats 3] [--sizes 1000,100000]`.

Durability "os" everywhere. Rates by the clock (client, server and kernel share the machine), the best of the repeats,
taken in turns; CPU per record, the least, of the client's process and beside it of the server's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import load
from bench.measure import headline, rate, size, span

COUNTS = {"batch": {1_000: 40_000, 100_000: 3_000}, "single": {1_000: 4_000, 100_000: 1_500}}


class Run(NamedTuple):
    rate: float  # records per second
    client: float  # CPU seconds per record
    server: float

    def best(self, other: Run) -> Run:
        return Run(max(self.rate, other.rate), min(self.client, other.client), min(self.server, other.server))


NONE = Run(0.0, float("inf"), float("inf"))


def run(name: str, where: str, what: str, entry: str, content: int, count: int, server: load.Server | None) -> Run:
    before = server.cpu() if server is not None else 0.0
    command = [sys.executable, "-m", "bench.clientwork", name, where, what, entry, str(content), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found, client = map(float, done.stdout.split())
    spent = (server.cpu() - before) / count if server is not None else 0.0
    return Run(found, client, spent)


def lines(work: Path, repeats: int, content: int) -> Iterator[str]:
    best: dict[tuple[str, str], Run] = {}
    with load.lamina(work / "clients-server", "os") as server:
        url = f"http://127.0.0.1:{server.port}"
        folder = work / "clients-directory"
        shutil.rmtree(folder, ignore_errors=True)
        ways = {"reduct-py": ("reduct", url), "server": ("lamina", url), "directory": ("lamina", str(folder))}
        for repeat in range(repeats):
            for way, (name, where) in ways.items():
                served = server if where == url else None
                for what in ("batch", "single", "read"):
                    entry = f"{way}-{'batch' if what == 'read' else what}-{content}-{repeat}"
                    count = COUNTS["batch" if what == "read" else what][content]
                    found = run(name, where, what, entry, content, count, served)
                    best[what, way] = best.get((what, way), NONE).best(found)
    for what in ("batch", "single", "read"):
        theirs = best[what, "reduct-py"]
        yield f"{what:<7} {size(content):>6}  {'reduct-py':<10} {_figures(theirs)}"
        for way in ("server", "directory"):
            ours = best[what, way]
            yield (
                f"{'':<14}  {way:<10} {_figures(ours)}"
                f"   x{ours.rate / theirs.rate:.2f} by the clock, x{_cpu(theirs) / _cpu(ours):.2f} less CPU"
            )


def _cpu(found: Run) -> float:
    return found.client + found.server


def _figures(found: Run) -> str:
    return f"{rate(found.rate):>9}  CPU: client {span(found.client):>8}, server {span(found.server):>8}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", default="1000,100000")
    parser.add_argument("--work", type=Path, default=Path("scratch/bench"))
    chosen = parser.parse_args()
    work: Path = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    headline("bench.clients")
    for content in map(int, chosen.sizes.split(",")):
        for line in lines(work, chosen.repeats, content):
            print(line, flush=True)


if __name__ == "__main__":
    main()
