"""What Lamina is compared with, each limited to one thread and otherwise with its default settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data import Times, Values

_WINDOW = "count(*) AS count, min(v) AS min, max(v) AS max, avg(v) AS mean, stddev_pop(v) AS stddev"


class Duck:
    """A DuckDB file with one table of times (int64) and values."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = duckdb.connect(str(path), config={"threads": 1})
        self._db.execute("CREATE TABLE IF NOT EXISTS s (t BIGINT, v DOUBLE)")

    def insert(self, times: Times, values: Values) -> None:
        self._db.register("batch", pa.table({"t": times, "v": values}))
        self._db.execute("INSERT INTO s SELECT t, v FROM batch")
        self._db.unregister("batch")

    def checkpoint(self) -> None:
        self._db.execute("CHECKPOINT")

    def windows(self, start: int, end: int, width: int) -> dict[str, Any]:
        return self._grouped(f"(t - {start}) // {width}", start, end)

    def aligned(self, start: int, end: int, pointwidth: int) -> dict[str, Any]:
        return self._grouped(f"t >> {pointwidth}", start, end)

    def _grouped(self, window: str, start: int, end: int) -> dict[str, Any]:
        return self._db.execute(
            f"SELECT {window} AS w, {_WINDOW} FROM s WHERE t >= {start} AND t < {end} GROUP BY w ORDER BY w"
        ).fetchnumpy()

    def raw(self, start: int, end: int) -> dict[str, Any]:
        return self._db.execute(f"SELECT t, v FROM s WHERE t >= {start} AND t < {end} ORDER BY t").fetchnumpy()

    def nearest(self, time: int) -> Any:
        return self._db.execute(f"SELECT t, v FROM s WHERE t >= {time} ORDER BY t LIMIT 1").fetchone()

    def close(self) -> None:
        self._db.close()


def write_parquet(path: Path, times: Times, values: Values) -> int:
    """Delta-packed times, byte-stream-split values, zstd: the smallest that Parquet offers. Bytes of the file."""
    pq.write_table(
        pa.table({"t": times, "v": values}),
        path,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"t": "DELTA_BINARY_PACKED", "v": "BYTE_STREAM_SPLIT"},
    )
    return path.stat().st_size


def polars_raw(path: Path, start: int, end: int) -> tuple[Times, Values]:
    """Needs POLARS_MAX_THREADS=1 in the environment before polars is imported."""
    import polars

    frame = polars.scan_parquet(path).filter(polars.col("t").is_between(start, end, closed="left")).collect()
    return frame["t"].to_numpy(), frame["v"].to_numpy()


def arctic(work: Path, task: str, **arguments: object) -> dict[str, float]:
    """Run a task of `bench/arctic.py` in ArcticDB's own environment, which is made on first use: ArcticDB needs
    older pandas and protobuf than Lamina. What the task printed."""
    home = work / "arcticdb"
    python = home / "bin" / "python"
    if not python.exists():
        print("making an environment for ArcticDB ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "arcticdb"], check=True)
    program = Path(__file__).with_name("arctic.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), str(program), task, json.dumps(arguments, default=str)],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
        timeout=1800,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def save(path: Path, times: Times, values: Values) -> Path:
    """Points for another process."""
    np.savez(path, t=times, v=values)
    return path
