"""Opening a database whose log was never flushed: `python -m bench.recovery [--scale 0.1]`.

Two logs as a killed process leaves them: 64 MiB of inserts of 50 points, to be open again in well under a second, and
a part of a full log (2,500,000 ops, 2 GiB), to be open in 10 s times that part. `--scale 1` makes the whole of it: that
takes 5 GiB of disk, 10 GiB of memory and some minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.measure import Line, headline, power, size, span

FULL_OPS = 2_500_000
FULL_S = 10.0
SMALL_BYTES = 64 << 20
SMALL_S = 1.0
OP_POINTS = 50
OP_BYTES = 32 + 16 * OP_POINTS  # headers and two columns
STREAMS = 1000

_SETTINGS = """
import os, sys, time
import lamina
from lamina.settings import GIB, Settings
settings = Settings(durability="os", background=False, tails_limit=16 * GIB, log_limit=64 * GIB, min_free=0)
"""

_WRITE = (
    _SETTINGS
    + """
from bench import data
from lamina.engine.publish import ChangeNote
from lamina.storage.log import Op
from lamina.streams import ops
folder, count, points, streams = sys.argv[1], *map(int, sys.argv[2:])
db = lamina.open(folder, settings=settings)
handles = [db.streams.create("bench", str(i)) for i in range(streams)]
t, v = data.block(0)
done = 0
while done < count:
    group = []
    for handle in handles[: count - done]:
        at = (done // streams * points) % (len(t) - points)
        change = ops.Insert(0, t[at : at + points], v[at : at + points])
        parts = ops.insert_parts(*change)
        group.append(Op(ops.KIND, ops.INSERT, handle.id, parts, ChangeNote([handle.slot], [change])))
    db.submit(group).wait()
    done += len(group)
os._exit(0)
"""
)

_OPEN = (
    _SETTINGS
    + """
before, began = time.process_time(), time.perf_counter()
db = lamina.open(sys.argv[1], settings=settings)
print(time.perf_counter() - began, time.process_time() - before, db.publisher.tail_bytes, flush=True)
os._exit(0)
"""
)


def _run(program: str, *arguments: object) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=True, stdout=subprocess.PIPE, timeout=3600
    )
    return [float(word) for word in done.stdout.split()]


def measure(folder: Path, count: int, must_s: float) -> Line:
    """Write `count` ops, leave without closing, open again three times."""
    shutil.rmtree(folder, ignore_errors=True)
    _run(_WRITE, folder, count, OP_POINTS, STREAMS)
    log = sum(path.stat().st_size for path in (folder / "log").iterdir())
    runs = [_run(_OPEN, folder) for _ in range(3)]
    clock, spent = min(run[0] for run in runs), min(run[1] for run in runs)
    if int(runs[0][2]) < 16 * OP_POINTS * count:
        raise RuntimeError(f"{folder}: {runs[0][2]:.0f} bytes recovered of {16 * OP_POINTS * count}")
    what = f"open after a kill, {power(count)} ops"
    return Line(
        what, OP_POINTS * count, f"{span(clock)}", f"log {size(log)}; CPU {span(spent)}", clock / must_s, 1.0, True
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1, help="part of a full log; default 0.1")
    parser.add_argument("--work", type=Path, default=Path("scratch/bench"))
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    headline("bench.recovery")
    print("ratio: seconds by the clock / what it may take")
    measure(chosen.work / "lamina-recovery", SMALL_BYTES // OP_BYTES, SMALL_S).show()
    measure(chosen.work / "lamina-recovery", int(FULL_OPS * chosen.scale), FULL_S * chosen.scale).show()
    shutil.rmtree(chosen.work / "lamina-recovery")


if __name__ == "__main__":
    main()
