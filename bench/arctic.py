"""ArcticDB's side of a comparison, a program of its own: `arctic.py TASK JSON`; the last line printed is JSON.

Runs in an environment with ArcticDB (bench/references.py makes it), which has neither Lamina nor its dependencies.
CPU time is that of the process, so it counts all threads of ArcticDB.
"""

import json
import os
import shutil
import sys
import time

import arcticdb
import numpy as np
import pandas


def _frames(points, size):
    with np.load(points) as columns:
        t, v = columns["t"], columns["v"]
    index = pandas.DatetimeIndex(t.view("datetime64[ns]"))
    return [pandas.DataFrame({"v": v[i : i + size]}, index=index[i : i + size]) for i in range(0, len(t), size)]


def _library(folder):
    shutil.rmtree(folder, ignore_errors=True)
    return arcticdb.Arctic(f"lmdb://{folder}").get_library("bench", create_if_missing=True)


def write(points, folder):
    """One bulk write: CPU seconds, and bytes that the library then takes."""
    (frame,) = _frames(points, 1 << 62)
    library = _library(folder)
    before = time.process_time()
    library.write("s", frame)
    seconds = time.process_time() - before
    blocks = sum(os.stat(os.path.join(at, name)).st_blocks for at, _, names in os.walk(folder) for name in names)
    return {"seconds": seconds, "bytes": 512 * blocks}


def append(points, folder, size):
    """Appends of `size` points each, one after the other: CPU seconds of one."""
    frames = _frames(points, size)
    library = _library(folder)
    library.write("s", frames[0])
    before = time.process_time()
    for frame in frames[1:]:
        library.append("s", frame)
    return {"seconds": (time.process_time() - before) / (len(frames) - 1)}


if __name__ == "__main__":
    task = {"write": write, "append": append}[sys.argv[1]]
    print(json.dumps(task(**json.loads(sys.argv[2]))))
