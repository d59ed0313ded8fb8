"""Points in a Lamina directory, DuckDB and the TinyFlux drop-in: `python -m bench.points_engine [--points 1e6 1e7]`.

CPU time of the process, all its threads, the least of a few runs; DuckDB has one thread and a file of its own. The
drop-in asks the same of a CSV file of at most --csv-points points, times scaled up, which the line says. Bytes read are
counted where blocks are read from segments, of a database just opened.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

import lamina
from bench.measure import Line, cpu, rate, size, span
from lamina import tinyflux
from lamina.engine.database import Database
from lamina.points.queries import FieldQuery, TagQuery

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP_US = 1000
ROOMS = 20
AT_ONCE = 1_000_000


def table(n: int, at: int = 0) -> pa.Table:
    """A point each millisecond, jittered, of 20 rooms; a noisy, a decimal, an integer and a walking field."""
    random = np.random.default_rng(at)
    us = int(START.timestamp()) * 1_000_000 + np.arange(at, at + n) * STEP_US + random.integers(0, 300, n)
    rooms = pa.array([f"room-{i}" for i in range(ROOMS)])
    return pa.table(
        {
            "time": pa.array(us).view(pa.timestamp("us", "UTC")),
            "room": rooms.take(pa.array(random.integers(0, ROOMS, n))),
            "noisy": random.normal(20, 3, n),
            "temp": np.round(random.normal(21, 0.5, n), 2),
            "people": random.integers(0, 100, n),
            "walk": np.cumsum(random.normal(0, 1, n)),
        }
    )


def stored(database: Database, name: str) -> int:
    """Bytes of times and of the field `noisy`, as they lie in segments."""
    slot = database.points.find(name)
    assert slot is not None
    total = 0
    for section in slot.state.sections:
        reader = database.points.open_section(section).reader
        numbers = reader.fields["noisy"].numbers
        total += reader.time.stored_bytes + (numbers.stored_bytes if numbers else 0)
    return total


def warm(part: pa.Table) -> None:
    with lamina.open(":memory:") as database:
        database.measurements["warm"].insert(part)
    with duckdb.connect(config={"threads": 1}) as duck:
        duck.execute("CREATE TABLE warm AS SELECT * FROM part")


def compare(n: int, csv_points: int, folder: str, show: Callable[..., None]) -> None:
    parts = [table(min(AT_ONCE, n - at), at) for at in range(0, n, AT_ONCE)]
    duck = duckdb.connect(os.path.join(folder, "duck.db"), config={"threads": 1})
    duck.execute(
        "CREATE TABLE points (time TIMESTAMPTZ, room VARCHAR, noisy DOUBLE, temp DOUBLE, people BIGINT, walk DOUBLE)"
    )
    directory = os.path.join(folder, "lamina")
    with lamina.open(directory, durability="os") as database:
        rooms = database.measurements["rooms"]

        def insert() -> None:
            for part in parts:
                rooms.insert(part)

        def insert_duck() -> None:
            for part in parts:
                duck.register("part", part)
                duck.execute("INSERT INTO points SELECT * FROM part")
            duck.execute("CHECKPOINT")

        # What a process allocates for the first time costs both of them half as much again.
        warm(parts[0])
        ours, theirs = cpu(insert, 1), cpu(insert_duck, 1)
        show("bulk insert, 4 fields", rate(n / ours), f"DuckDB {rate(n / theirs)}", theirs / ours)
        show("  ... against 2 M points/s", rate(n / ours), "2 M/s", n / ours / 2e6, 1)
        database.flush()
        on_disk = sum(
            os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(directory) for name in names
            if name.endswith(".seg")
        )  # fmt: skip
        duck_size = os.path.getsize(os.path.join(folder, "duck.db"))
        show("size on disk", size(on_disk), f"DuckDB {size(duck_size)}", duck_size / on_disk)

    room = TagQuery().room == "room-3"
    with lamina.open(directory) as database:
        whole = stored(database, "rooms")
        before = database.points.read.bytes_read
        counted = database.measurements["rooms"].windows("noisy", width=f"{n * STEP_US // 1000}us")
        read = database.points.read.bytes_read - before
        assert len(counted) in (1000, 1001)
        show(
            "bytes read by 1000 windows",
            size(read),
            f"columns {size(whole)}",
            read / whole,
            0.05 * (n >= 10_000_000),
            True,
        )
        cold = cpu(lambda: database.measurements["rooms"].count(room), 1)
        show("count by tag, first", span(cold), "50 ms" if n <= 1e6 else "", 0.05 / cold, n <= 1e6)
    asks = asked(n, duck)
    with lamina.open(directory) as database:
        rooms = database.measurements["rooms"]
        for what, (ask, sql, must) in asks.items():
            ours, theirs = cpu(lambda ask=ask: ask(rooms), 3), cpu(lambda sql=sql: sql(), 3)
            show(what, span(ours), f"DuckDB {span(theirs)}", theirs / ours, must)
    dropin(n, min(n, csv_points), folder, directory, show)
    duck.close()


def asked(n: int, duck: Any) -> dict[str, tuple[Callable[[Any], object], Callable[[], object], float]]:
    """What is asked of a measurement, the same of DuckDB, and the ratio to reach (0: for information)."""
    tag, field = TagQuery().room, FieldQuery()
    middle = START + timedelta(microseconds=n * STEP_US // 2)
    width = n * STEP_US // 1000
    bucket = f"epoch_us(time) // {width}"
    statistics = "count(noisy), min(noisy), avg(noisy), max(noisy), stddev_pop(noisy)"

    def sql(text: str) -> Callable[[], object]:
        return lambda: duck.sql(text).to_arrow_table()

    return {
        "count all": (lambda m: m.count(), sql("SELECT count(*) FROM points"), 0),
        "count by tag, 5 %": (
            lambda m: m.count(tag == "room-3"),
            sql("SELECT count(*) FROM points WHERE room = 'room-3'"),
            0,
        ),
        "count by tag and field": (
            lambda m: m.count((tag == "room-3") & (field.noisy > 25)),
            sql("SELECT count(*) FROM points WHERE room = 'room-3' AND noisy > 25"),
            0,
        ),
        "search by tag, 5 %, to Arrow": (
            lambda m: m.search(tag == "room-3").to_arrow(),
            sql("SELECT * FROM points WHERE room = 'room-3' ORDER BY time"),
            0,
        ),
        "search one second, to Arrow": (
            lambda m: m.search(start=middle, end=middle + timedelta(seconds=1)).to_arrow(),
            sql(
                f"SELECT * FROM points WHERE time >= '{middle}' AND time < '{middle + timedelta(seconds=1)}' "
                "ORDER BY time"
            ),
            0,
        ),
        "1000 windows": (
            lambda m: m.windows("noisy", width=f"{width}us"),
            sql(f"SELECT {bucket} AS k, {statistics} FROM points GROUP BY k ORDER BY k"),
            0,
        ),
        "1000 windows by room": (
            lambda m: m.windows("noisy", width=f"{width}us", by="room"),
            sql(f"SELECT room, {bucket} AS k, {statistics} FROM points GROUP BY room, k ORDER BY room, k"),
            0,
        ),
    }


def dropin(n: int, few: int, folder: str, directory: str, show: Callable[..., None]) -> None:
    """The same asked of a CSV file."""
    note = "" if few == n else f" (from {few:,})"
    made = [
        tinyflux.Point(time=row.pop("time"), tags={"room": row.pop("room")}, fields=row)
        for row in table(few).to_pylist()
    ]
    room = tinyflux.TagQuery().room == "room-3"
    warm = tinyflux.FieldQuery().noisy > 25
    with tinyflux.TinyFlux(os.path.join(folder, "points.csv")) as db, lamina.open(directory) as database:
        inserted = cpu(lambda: db.insert_multiple(made), 1) * n / few
        db.count(room)
        copy = database.measurements["copy"]
        ours = cpu(lambda: copy.insert(made), 1) * n / few
        show("insert of Point objects", rate(n / ours), f"CSV {rate(n / inserted)}{note}", inserted / ours)
        rooms = database.measurements["rooms"]
        for what, ask, theirs in (
            ("count by tag, 5 %", lambda: rooms.count(room), lambda: db.count(room)),
            ("count by field", lambda: rooms.count(warm), lambda: db.count(warm)),
            ("search by tag, points read", lambda: list(rooms.search(room)), lambda: [p.tags for p in db.search(room)]),
        ):
            took, reference = cpu(ask, 3), cpu(theirs, 3) * n / few
            show(what, span(took), f"CSV {span(reference)}{note}", reference / took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=lambda text: int(float(text)), nargs="+", default=[1_000_000])
    parser.add_argument("--csv-points", type=lambda text: int(float(text)), default=100_000)
    parser.add_argument("--folder", default=None, help="where the files go")
    args = parser.parse_args()
    print(
        f"bench.points_engine: Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}, {time.strftime('%F')}"
    )
    print("CPU time, least of a few runs")
    for n in args.points:

        def show(
            what: str, ours: str, reference: str, ratio: float, must: float = 0, at_most: bool = False, n=n
        ) -> None:
            Line(what, n, ours, reference, ratio, must, at_most).show()

        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            compare(n, args.csv_points, folder, show)


if __name__ == "__main__":
    main()
