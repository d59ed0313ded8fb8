"""The record lines of server-and-records.md section 7: `python -m bench.records [--records 1e7] [--lines http,stored]`.

Lines about stored records run in this process or in one of their own and count CPU time. Lines over HTTP run a server
as a process of its own, put load on it with `wrk`, with sockets and with the unmodified reduct-py client, and give
rates by the clock, which suffer from whatever else runs; beside them stands what the server's process spent. They need
`wrk` and `nginx` on the path, and Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import http, load, recordlog, stored
from bench.measure import Line, headline

Lines = Callable[[], Iterator[Line]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.records", description=__doc__)
    parser.add_argument("--records", type=float, default=1e7, help="records of the index lines; default 1e7")
    parser.add_argument("--scale", type=float, default=1.0, help="part of a full log to recover; default 1")
    parser.add_argument("--repeats", type=int, default=3, help="runs of a line over HTTP; the best counts")
    parser.add_argument("--lines", default="", help="comma-separated parts of names, such as http,filter; default all")
    parser.add_argument("--work", type=Path, default=Path("scratch/bench"))
    chosen = parser.parse_args()
    work: Path = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes would compile every module they import
    repeats = chosen.repeats
    groups: dict[str, Lines] = {
        "stored-index": lambda: stored.index_lines(work, int(chosen.records)),
        "stored-filter": lambda: stored.filter_lines(work, 1_000_000),
        "stored-read": lambda: stored.read_lines(work),
        "stored-append": lambda: stored.append_lines(work, repeats),
        "stored-eviction": lambda: stored.eviction_lines(work),
        "stored-fifo": lambda: stored.overshoot_lines(work),
        "log-recovery": lambda: recordlog.recovery_lines(work, chosen.scale),
        "log-entries": lambda: recordlog.entries_lines(work),
        "log-threshold": lambda: recordlog.threshold_lines(work),
        "http-single": lambda: http.single_lines(work, repeats),
        "http-batch": lambda: http.batch_lines(work, repeats),
        "http-large": lambda: http.large_lines(work, repeats),
        "http-client": lambda: http.client_lines(work, repeats),
    }
    headline("bench.records")
    print("ratio: ours / what must be reached, or / the reference where the bound is a ratio to it")
    wanted = [word for word in chosen.lines.split(",") if word]
    for name, lines in groups.items():
        if wanted and not any(word in name for word in wanted):
            continue
        if name.startswith("http") and not load.available():
            print(f"{name}: wrk and nginx are needed", file=sys.stderr)
            continue
        for line in lines():
            line.show()


if __name__ == "__main__":
    main()
