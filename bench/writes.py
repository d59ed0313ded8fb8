"""Lines about writing: ingest, sizes, small inserts, late and shuffled points, memory."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import lamina
from bench import data, references
from bench.measure import Line, Stopwatch, rate, size, span
from lamina.codecs import leaf
from lamina.codecs import values as value_codecs
from lamina.engine.database import Database
from lamina.engine.stream import Stream
from lamina.streams.descend import descend
from lamina.streams.node import INNER, ROOT_PW, Rows


def ingest(folder: Path, n: int, batch: int = data.BLOCK) -> float:
    """A new database with one stream `bench/voltage` of n points in order; points per CPU second, closing included."""
    shutil.rmtree(folder, ignore_errors=True)
    watch = Stopwatch()
    with watch:
        db = lamina.open(folder, durability="os")
        stream = db.streams.create("bench", "voltage")
    for times, values in data.batches(n, batch):
        with watch:
            stream.insert(times, values)
    with watch:
        db.close()
    return n / watch.seconds


def ingest_duck(path: Path, n: int, batch: int = data.BLOCK) -> float:
    """As `ingest`, into DuckDB from Arrow tables and with a checkpoint at the end."""
    path.unlink(missing_ok=True)
    watch = Stopwatch()
    with watch:
        duck = references.Duck(path)
    for times, values in data.batches(n, batch):
        with watch:
            duck.insert(times, values)
    with watch:
        duck.checkpoint()
    duck.close()
    return n / watch.seconds


def _best(work: Path, n: int, batch: int, name: str = "") -> tuple[float, float]:
    """The better of several ingests, of ours and DuckDB's taken in turn; of one where it takes minutes."""
    runs = [
        (ingest(work / f"lamina-{n}{name}", n, batch), ingest_duck(work / f"duckdb-{n}{name}.db", n, batch))
        for _ in range(3 if n <= 10_000_000 else 1)
    ]
    return max(run[0] for run in runs), max(run[1] for run in runs)


def ingest_lines(work: Path, n: int) -> Iterator[Line]:
    """Bulk ingest against DuckDB and against nothing but the codec, and what it takes on disk."""
    required = n >= 10_000_000  # below, opening and learning weigh too much to compare bulk rates
    ours, theirs = _best(work, n, data.BLOCK)
    yield Line("ingest, batches of 1e6", n, rate(ours), f"DuckDB {rate(theirs)}", ours / theirs, 1.0 * required)
    if n <= 10_000_000:
        small, same = _best(work, n, 100_000, "-1e5")
        yield Line("ingest, batches of 1e5", n, rate(small), f"DuckDB {rate(same)}", small / same, 1.0 * required)
    with lamina.open(work / f"lamina-{n}") as db:
        stream = db.streams["bench", "voltage"]
        leaves, inner = _tree(db, stream)
        with_codec = _codec_rate(leaves, min(n, 10_000_000))
        alone = f"codec alone {rate(with_codec)}"
        yield Line("ingest, batches of 1e6", n, rate(ours), alone, ours / with_codec, 0.55 * required)
        bytes_ours = _segment_bytes(db)
        leaf_bytes = int(leaves["base"]["length"].sum()) + int(leaves["delta"]["length"].sum())
        yield Line("inner rows of leaves", n, size(inner), size(leaf_bytes), inner / leaf_bytes, 0.04, at_most=True)
    yield _size_line(n, bytes_ours, "DuckDB", (work / f"duckdb-{n}.db").stat().st_size, 0.60)
    if n <= 10_000_000:
        times, values = data.points(n)
        parquet = references.write_parquet(work / f"points-{n}.parquet", times, values)
        yield _size_line(n, bytes_ours, "Parquet", parquet, 0.97)
        points = references.save(work / "points.npz", times, values)
        arctic = references.arctic(work, "write", points=points, folder=work / "arctic")
        yield _size_line(n, bytes_ours, "ArcticDB", arctic["bytes"], 0.45)


def _size_line(n: int, ours: float, name: str, theirs: float, must: float) -> Line:
    return Line("size on disk", n, size(ours), f"{name} {size(theirs)}", ours / theirs, must, at_most=True)


def _segment_bytes(db: Database) -> int:
    return sum(blob.size for blob in db.blobs.list(""))


def _tree(db: Database, stream: Stream) -> tuple[Rows, int]:
    """All leaf rows of the latest root, and the bytes of the inner nodes above them."""
    with stream.at():
        view = stream.slot.state.view(stream.version)
        inner, rows = 0, view.root
        while len(rows := rows[rows["kind"] == INNER]):
            rows = db.read.nodes(rows["base"])
            inner += rows.nbytes
        return descend(view, db.read, 0, 1 << ROOT_PW), inner


def _codec_rate(leaves: Rows, n: int) -> float:
    """Points per CPU second of encoding the same leaves, with the codec already learnt."""
    times, values = data.points(n)
    cuts = [0, *np.cumsum(leaves["count"].astype(np.int64)).tolist()]
    cuts = [cut for cut in cuts if cut <= n]
    codec = value_codecs.learn(values[: data.BLOCK])
    watch = Stopwatch()
    with watch:
        for a, b in itertools.pairwise(cuts):
            leaf.encode(times[a:b], values[a:b], codec)
    return cuts[-1] / watch.seconds


def insert_lines(work: Path, inserts: int = 20_000, per_insert: int = 100) -> Iterator[Line]:
    """Small inserts, one after the other, with the flushes they cause; nothing synced per insert."""
    n = inserts * per_insert
    times, values = data.points(n)
    parts = [(times[i : i + per_insert], values[i : i + per_insert]) for i in range(0, n, per_insert)]
    watch = Stopwatch()
    with lamina.open(work / "lamina-inserts", durability="os") as db:
        stream = db.streams.create("bench", "voltage")
        with watch:
            for part in parts:
                stream.insert(*part)
            stream.flush()
    ours = watch.seconds / inserts
    points = references.save(work / "points.npz", times[: 1000 * per_insert], values[: 1000 * per_insert])
    theirs = references.arctic(work, "append", points=points, folder=work / "arctic", size=per_insert)["seconds"]
    yield Line("100-point inserts incl. flush", n, span(ours), f"ArcticDB append {span(theirs)}", theirs / ours, 50)


def late_lines(work: Path, n: int) -> Iterator[Line]:
    """1 % of the points come late, anywhere: bytes written. Points shuffled within 10 minutes: rate and bytes."""
    times, values = data.points(n)
    random = np.random.default_rng(7)
    late = np.zeros(n, np.bool_)
    late[random.choice(n, n // 100, replace=False)] = True
    with lamina.open(work / "lamina-late", durability="os") as db:
        stream = db.streams.create("bench", "voltage")
        stream.insert(times[~late], values[~late])
        stream.flush()
        whole = _segment_bytes(db)
        stream.insert(times[late], values[late])
        stream.flush()
        added = _segment_bytes(db) - whole
    yield Line(
        "1 % late, anywhere: bytes written", n, size(added), f"the stream {size(whole)}", added / whole, 0.10, True
    )

    noise = times + random.uniform(0, 600e9, n).astype(np.int64)
    order = np.argsort(noise, kind="stable")
    rates, sizes = [], []
    for name, index in (("ordered", slice(None)), ("shuffled", order)):
        t, v = times[index], values[index]
        watch = Stopwatch()
        with lamina.open(work / f"lamina-{name}", durability="os") as db:
            stream = db.streams.create("bench", "voltage")
            with watch:
                for i in range(0, n, 100_000):
                    stream.insert(t[i : i + 100_000], v[i : i + 100_000])
                stream.flush()
            rates.append(n / watch.seconds)
            sizes.append(_segment_bytes(db))
    yield Line(
        "shuffled within 10 min, 1e5 batches", n, rate(rates[1]), f"in order {rate(rates[0])}", rates[1] / rates[0], 0.3
    )
    yield Line(
        "shuffled: bytes written", n, size(sizes[1]), f"in order {size(sizes[0])}", sizes[1] / sizes[0], 1.4, True
    )


_PEAK = """
import sys
import numpy as np
import lamina
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
folder, batch = sys.argv[1], int(sys.argv[2])
with np.load(sys.argv[3]) as columns:
    t, v = columns["t"], columns["v"]
with lamina.open(folder, durability="os") as db:
    stream = db.streams.create("bench", "voltage")
    stream.insert(t[:200000], v[:200000])
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    for i in range(200000, len(t), batch):
        stream.insert(t[i : i + batch], v[i : i + batch])
    stream.flush()
    print(peak() - before)
"""


def memory_lines(work: Path, n: int) -> Iterator[Line]:
    """Peak memory beyond the input, in a process of its own. Linux only."""
    if not Path("/proc/self/clear_refs").exists():
        return
    n = min(n, 10_000_000)
    points = references.save(work / "points.npz", *data.points(n))
    for what, batch in (("one batch", n), ("batches of 1e5", 100_000)):
        folder = work / f"lamina-peak-{batch}"
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, str(folder), str(batch), str(points)],
            check=True, stdout=subprocess.PIPE, timeout=600,
        )  # fmt: skip
        extra = int(done.stdout)
        yield Line(f"peak extra memory, {what}", n, size(extra), f"input {size(16 * n)}", extra / (16 * n), 2.0, True)
