"""python -m tests.fuzz --seconds S [--target T ...] [--seed N] [--atheris] [--input FILE]

A line of JSON per target. Inputs that fail are kept under results/fuzz/TARGET/; --input runs one of them again.
With --atheris the changes are guided by coverage (where atheris is installed), and what it finds new is added to the
corpus; without, by the shape of what was answered.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

from lamina.version import __version__
from tests.fuzz.runs import Campaign, Failure, corpus, keep, replay
from tests.fuzz.targets import TARGETS

RESULTS = Path("results/fuzz")
ENOUGH = 20
"""Failures of one target: more would be the same once more."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="per target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("--input", type=Path)
    asked = parser.parse_args()
    names = asked.target or sorted(TARGETS)
    if asked.input is not None:
        tracemalloc.start()
        found = [failure for name in names for failure in replay(name, [asked.input.read_bytes()])]
        for failure in found:
            print(f"{failure.target}: {failure.what}")
        return len(found)
    return sum(
        _guided(name, asked.seconds) if asked.atheris else _run(name, asked.seconds, asked.seed) for name in names
    )


def _run(name: str, seconds: float, seed: int) -> int:
    """1 if something failed."""
    tracemalloc.start()
    failures = list(replay(name, corpus(name)))
    campaign = Campaign(name, seed)
    began = time.monotonic()
    while time.monotonic() - began < seconds and len(failures) < ENOUGH:
        failure = campaign.step()
        if failure is not None:
            failures.append(failure)
    tracemalloc.stop()
    took = time.monotonic() - began
    for failure in failures:
        _keep(failure)
    print(json.dumps({
        "tool": "fuzz", "target": name, "seed": seed, "cases": campaign.cases, "answers": campaign.shapes,
        "violations": len(failures), "seconds": round(took, 1), "per_s": round(campaign.cases / max(took, 1e-9)),
        "version": __version__, "first": failures[0].what if failures else None,
    }), flush=True)  # fmt: skip
    return int(bool(failures))


def _keep(failure: Failure) -> None:
    folder = RESULTS / failure.target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / failure.name).write_bytes(failure.data)


def _guided(name: str, seconds: float) -> int:
    """libFuzzer ends its process, so it has one of its own."""
    found = RESULTS / name
    for folder in ("grown", "seeds"):
        (found / folder).mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(corpus(name)):
        (found / "seeds" / str(i)).write_bytes(data)
    if subprocess.call([sys.executable, "-m", "tests.fuzz.guided", name, str(int(seconds)), str(found)]):
        return 1
    keep(name, [path.read_bytes() for path in sorted((found / "grown").iterdir())])
    return 0


if __name__ == "__main__":
    sys.exit(main())
