"""The same work through BTrDB's own clients and through ours, on one server and in a directory:
`python -m bench.clients_btrdb [--points 300000] [--repeats 3] [--btrdb4 PYTHON]`.

The server is a process of its own with a directory, durability "os". Points per second of the clock, the best of the
repeats, taken in turns, and beside it how much less CPU the client's process took than the original (in a directory
that is all the work). Inserts go into streams that are there, a new one each time. "objects": every point was looked
at. The original of version 4 runs in the environment that `compat` makes for it (.venv-btrdb4), if it is there.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from bench.measure import Line, headline, rate

MUST = 10.0
"""Times the original's rate, on the same server."""

LONG_S = 300.0


def serve(pipe: Connection, folder: str) -> None:
    """A server process: says its port, ends when the pipe closes."""
    import lamina
    from lamina.faces.btrdb.server import build_server
    from lamina.server.serve import SWITCH_INTERVAL_S

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with lamina.open(folder, durability="os", inline=False) as db:
        server = build_server(db)
        pipe.send(server.add_port("127.0.0.1", 0))
        server.start()
        try:
            pipe.recv()
        except EOFError:
            server.stop(0).wait(5)


def version_5(
    connect: Callable[[], Any], pairs: list[tuple[int, float]], repeats: int
) -> dict[str, Callable[[], object]]:
    """The work, of a connection of the original or of ours; `insert pairs` may be done `repeats` times."""
    conn = connect()
    times = [pairs[0][0], pairs[-1][0] + 1]
    width = (times[1] - times[0]) // len(pairs) * 2  # two points a window
    filled = conn.create(uuid4(), f"bench/{uuid4().hex}", {"name": "filled"})
    filled.insert(pairs)
    both = conn.streams(filled.uuid, filled.uuid).filter(start=times[0], end=times[1])

    empty = [conn.create(uuid4(), f"bench/{uuid4().hex}", {"name": "x"}) for _ in range(repeats)]

    def looked_at() -> float:
        return sum(point.value for point, _ in filled.values(*times))

    return {
        "insert pairs": lambda: empty.pop().insert(pairs),
        "values": lambda: filled.values(*times),
        "values, objects": looked_at,
        "windows": lambda: filled.windows(*times, width),
        "aligned windows": lambda: filled.aligned_windows(*times, width.bit_length() - 1),
        "arrow_values": lambda: filled.arrow_values(*times),
        "2 streams to_dataframe": lambda: both.to_dataframe(name_callable=lambda s: str(id(s))),
        "2 streams arrow_values": lambda: both.arrow_values(),
    }


def version_4(
    connect: Callable[[], Any], pairs: list[tuple[int, float]], repeats: int
) -> dict[str, Callable[[], object]]:
    db = connect()
    times = [pairs[0][0], pairs[-1][0] + 1]
    width = (times[1] - times[0]) // len(pairs) * 2
    filled = db.create(uuid4(), f"bench/{uuid4().hex}", {"name": b"filled"})
    filled.insert(pairs)

    empty = [db.create(uuid4(), f"bench/{uuid4().hex}", {"name": b"x"}) for _ in range(repeats)]
    return {
        "v4 insert": lambda: empty.pop().insert(pairs),
        "v4 rawValues, objects": lambda: sum(point.value for point, _ in filled.rawValues(*times)),
        "v4 windows, objects": lambda: sum(window.count for window, _ in filled.windows(*times, width)),
    }


ORIGINAL_4 = """
import json, sys, time, btrdb4
sys.path.insert(0, sys.argv[1])
from bench import clients_btrdb
address, n, repeats = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
pairs = [(1500000000000000000 + 8333333 * i, i * 0.5) for i in range(n)]
works = clients_btrdb.version_4(lambda: btrdb4.connect(address), pairs, repeats)
print(json.dumps({name: clients_btrdb.took(work, repeats) for name, work in works.items()}))
"""


class Took(NamedTuple):
    """Seconds by the clock, and of this process's CPU."""

    clock: float
    cpu: float

    def best(self, other: Took) -> Took:
        return Took(min(self.clock, other.clock), min(self.cpu, other.cpu))


NEVER = Took(float("inf"), float("inf"))


def took(work: Callable[[], object], repeats: int = 1) -> Took:
    """The least of so many."""
    least = NEVER
    for _ in range(repeats):
        gc.collect()
        clock, cpu = time.perf_counter(), time.process_time()
        work()
        least = least.best(Took(time.perf_counter() - clock, time.process_time() - cpu))
    return least


def line(what: str, n: int, ours: Took, original: Took, must: float = 0.0) -> Line:
    reference = f"{rate(n / original.clock)}, CPU / {original.cpu / ours.cpu:.3g}"
    return Line(what, n, rate(n / ours.clock), reference, original.clock / ours.clock, must)


def lines(ways: dict[str, dict[str, Callable[[], object]]], n: int, repeats: int) -> Iterator[Line]:
    """For each work: ours beside "original"."""
    for what in ways["original"]:
        best = dict.fromkeys(ways, NEVER)
        for _ in range(repeats):
            for way, works in ways.items():
                best[way] = best[way].best(took(works[what]))
        for way in ways:
            if way != "original":
                must = MUST if way == "server" and what in ("values", "insert pairs", "windows") else 0.0
                yield line(f"{what}, {way}", n, best[way], best["original"], must)


def columns(connect: Callable[[], Any], n: int, repeats: int) -> Took:
    """Inserting columns, which the original has no way for."""
    from bench import data
    from lamina.columns import Samples

    samples = Samples(*data.points(n))
    conn = connect()
    empty = [conn.create(uuid4(), f"bench/{uuid4().hex}", {"name": "x"}) for _ in range(repeats)]
    return took(lambda: empty.pop().insert(samples), repeats)


def original_4(python: Path, address: str, n: int, repeats: int) -> dict[str, Took] | None:
    if not python.exists():
        print(f"no {python}: the original of version 4 is left out")
        return None
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    command = [python, "-c", ORIGINAL_4, Path(__file__).parents[1], address, str(n), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {name: Took(*seconds) for name, seconds in json.loads(done.stdout).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=float, default=300_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--btrdb4", type=Path, default=Path(__file__).parents[1] / ".venv-btrdb4/bin/python")
    chosen = parser.parse_args()
    n, repeats = int(chosen.points), chosen.repeats
    import btrdb

    import lamina
    from bench import data  # not at the top: the environment of version 4 has no NumPy
    from lamina import btrdb as own
    from lamina import btrdb4 as own4

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as work:
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, f"{work}/server"))
        process.start()
        there.close()
        address = f"127.0.0.1:{here.recv()}"
        directory = lamina.open(f"{work}/directory", durability="os")
        try:
            headline("BTrDB's clients and ours; rates by the clock")
            times, values = data.points(n)
            pairs = list(zip(times.tolist(), values.tolist(), strict=True))
            connects = {
                "original": lambda: btrdb.connect(address),
                "server": lambda: own.connect(address),
                "directory": lambda: own.connect(directory),
            }
            for found in lines(
                {way: version_5(connect, pairs, repeats) for way, connect in connects.items()}, n, repeats
            ):
                found.show()
            reference = took(version_5(connects["original"], pairs, 1)["insert pairs"])
            for way in ("server", "directory"):
                line(f"insert columns, {way}", n, columns(connects[way], n, repeats), reference).show()
            few = n // 10
            theirs = original_4(chosen.btrdb4, address, few, 1)
            pairs = pairs[:few]
            for way, target in (("server", address), ("directory", directory)):
                works = version_4(lambda target=target: own4.connect(target), pairs, repeats)
                for what, do in works.items():
                    line(f"{what}, {way}", few, took(do, repeats), theirs[what] if theirs else NEVER).show()
        finally:
            here.close()
            process.join(10)
            directory.close()


if __name__ == "__main__":
    main()
