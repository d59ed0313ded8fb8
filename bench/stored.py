"""Lines about stored records without a server: indexes, opening, conditions, reading, appending, eviction."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import lamina
from bench.load import together, touch
from bench.measure import Line, Stopwatch, cpu, size, span
from lamina.engine.database import Database
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.entry import Entry
from lamina.engine.records.publish import AppendNote
from lamina.engine.records.record import read_contents
from lamina.records import ops
from lamina.records.labels import LabelSet
from lamina.records.row import ROW, Rows
from lamina.records.size import base_length
from lamina.settings import Settings
from lamina.storage.crc import crc32c
from lamina.storage.log import Op

FIRST_US = 1_790_000_000_000_000
STEP_US = 10_000
TYPE = "application/octet-stream"
OP_RECORDS = 16_384
MIB = 1 << 20

INDEX_BYTES, RESIDENT_BYTES, OPEN_S = 24, 0.1, 0.010
COLD_S, RESIDENT_S = 0.015, 0.003
READ_SHARE, APPEND_SHARE, EVICTION_RATIO, OVERSHOOT = 0.40, 0.65, 1.5, 1.02

UNATTENDED = Settings(durability="os", background=False, min_free=0)


def robot_sets(count: int) -> list[LabelSet]:
    """Four labels, as a robot might write them: 480 different sets."""
    return [
        (
            ("mode", f"m{i % 3}"),
            ("ok", "true" if i % 2 else "false"),
            ("robot", f"r{i // 6 % 8}"),
            ("zone", str(i % 10)),
        )
        for i in range(count)
    ]


def put(db: Database, entry: Entry, first: int, count: int, content: bytes, sets: list[LabelSet]) -> None:
    """`count` records behind one another, faster than one by one: ops of many rows, label sets taken in turn."""
    for begin in range(first, first + count, OP_RECORDS):
        n = min(OP_RECORDS, first + count - begin)
        mine = sets[:n] if len(sets) <= OP_RECORDS else sets[begin - first : begin - first + n]
        distinct = {labels: number for number, labels in enumerate(dict.fromkeys(mine))}
        rows = _rows(begin, n)
        rows["size"] = len(content)
        rows["crc"] = crc32c(content)
        rows["set"] = np.resize(np.array([distinct[labels] for labels in mine], np.uint32), n)
        _submit(db, entry, rows, list(distinct), content * n)


def put_uneven(
    db: Database, entry: Entry, first: int, n: int, sets: list[LabelSet], random: np.random.Generator
) -> None:
    """As `put`, n <= OP_RECORDS records that differ in length, content, labels and distance."""
    rows = _rows(first, n)
    rows["time"] += random.integers(0, STEP_US // 2, n).astype(np.uint64)
    rows["size"] = random.integers(8, 41, n)
    rows["set"] = random.integers(0, len(sets), n)
    contents = random.bytes(int(rows["size"].sum()))
    ends = np.cumsum(rows["size"]).tolist()
    rows["crc"] = [crc32c(contents[a:b]) for a, b in itertools.pairwise([0, *ends])]
    _submit(db, entry, rows, sets, contents)


def _rows(first: int, n: int) -> Rows:
    rows = np.zeros(n, ROW)
    rows["time"] = FIRST_US + STEP_US * np.arange(first, first + n, dtype=np.uint64)
    rows["meta"] = base_length(FIRST_US, (), TYPE)
    return rows


def _submit(db: Database, entry: Entry, rows: Rows, sets: list[LabelSet], contents: bytes) -> None:
    slot, limits, n = entry.slot, entry.bucket.limits, len(rows)
    rows["stored"] = rows["size"]
    rows["where"] = np.cumsum(rows["size"]) - rows["size"]
    tables = ops.encode_tables(sets, [TYPE])
    raw = rows.tobytes()
    times = rows["time"].tolist()
    parts = ops.append_parts(raw, n, len(sets), 1, tables, limits, [contents])
    offset = ops.contents_offset(n, len(tables))
    note = AppendNote(slot, raw, times, sets, [TYPE], limits, offset, 0)
    db.submit([Op(ops.KIND, ops.APPEND, slot.id, parts, note)]).wait()
    slot.high = times[-1]


def made(db: Database, bucket: str, entry: str, settings: dict[str, object] | None = None) -> Entry:
    return db.buckets.create(bucket, settings).ensure_entries([entry])[0]


def fill(folder: Path, records: int) -> int:
    """A database with so many sealed records of 8 to 40 bytes with four labels, at uneven times; bytes of its index
    segments."""
    if not (folder / "LAMINA").exists():
        shutil.rmtree(folder, ignore_errors=True)
        random = np.random.default_rng(11)
        with lamina.open(folder, settings=UNATTENDED) as db:
            entry = made(db, "bench", "entry")
            sets = robot_sets(480)
            for begin in range(0, records, OP_RECORDS):
                put_uneven(db, entry, begin, min(OP_RECORDS, records - begin), sets, random)
                db.upkeep.run_once()
            db.flush()
    with lamina.open(folder, settings=UNATTENDED) as db:
        return sum(blob.size for blob in db.blobs.list("records/"))


_OPEN = """
import os, sys, time
import lamina
from lamina.settings import Settings
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) * 1024
settings = Settings(durability="os", background=False, min_free=0)
import lamina.engine.records.queries
lamina.open(sys.argv[1], settings=settings).close()
before, began, spent = resident(), time.perf_counter(), time.process_time()
db = lamina.open(sys.argv[2], settings=settings)
count = db.buckets.get("bench").entry("entry").info().record_count
print(time.perf_counter() - began, time.process_time() - spent, resident() - before, count, flush=True)
os._exit(0)
"""


def index_lines(work: Path, records: int) -> Iterator[Line]:
    """Size of the index, and what opening it costs in time and memory beyond an empty database."""
    folder, small, empty = work / f"records-{records}", work / "records-1", work / "records-empty"
    index = fill(folder, records)
    fill(small, 1)
    shutil.rmtree(empty, ignore_errors=True)
    with lamina.open(empty, settings=UNATTENDED) as db:
        made(db, "bench", "entry").write(b"", 1)
    yield Line("index, four labels: bytes/record", records, f"{index / records:.1f} B", f"limit {INDEX_BYTES} B",
               index / records / INDEX_BYTES, 1.0, True)  # fmt: skip
    runs = [_opened(empty, folder, records) for _ in range(5)]
    base = [_opened(empty, small, 1) for _ in range(5)]
    clock, spent, least = min(run[0] for run in runs), min(run[1] for run in runs), min(run[0] for run in base)
    yield Line("open, and count them", records, span(clock), f"with 1 record {span(least)}; CPU {span(spent)}",
               clock / OPEN_S, 1.0, True)  # fmt: skip
    held = (min(run[2] for run in runs) - min(run[2] for run in base)) / records
    yield Line("resident after that: bytes/record", records, f"{held:.3f} B", f"limit {RESIDENT_BYTES} B",
               held / RESIDENT_BYTES, 1.0, True)  # fmt: skip


def _opened(first: Path, folder: Path, records: int) -> list[float]:
    command = [sys.executable, "-c", _OPEN, str(first), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600)
    found = [float(word) for word in done.stdout.split()]
    if found[3] != records:
        raise RuntimeError(f"{folder}: {found[3]} records found of {records}")
    return found


def filter_lines(work: Path, records: int) -> Iterator[Line]:
    """A condition on two labels, equality and a numeric comparison, that selects one record in 8,000."""
    folder = work / f"records-filter-{records}"
    random = np.random.default_rng(5)
    robots, speeds = random.integers(0, 8, records).tolist(), random.integers(0, 1000, records).tolist()
    sets: list[LabelSet] = [
        (("mode", "auto"), ("ok", "true"), ("robot", f"r{robot}"), ("speed", str(speed)))
        for robot, speed in zip(robots, speeds, strict=True)
    ]
    if not (folder / "LAMINA").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with lamina.open(folder, settings=UNATTENDED) as db:
            entry = made(db, "bench", "entry")
            for begin in range(0, records, 1 << 16):
                mine = sets[begin : begin + (1 << 16)]
                for at in range(0, len(mine), OP_RECORDS):
                    part = mine[at : at + OP_RECORDS]
                    put(db, entry, begin + at, len(part), b"8 bytes.", part)
                db.upkeep.run_once()
            db.flush()
    when = {"$and": [{"&robot": {"$eq": "r3"}}, {"&speed": {"$gte": 999}}]}
    expected = sum(robot == 3 and speed >= 999 for robot, speed in zip(robots, speeds, strict=True))
    cold = resident = float("inf")
    for _ in range(5):
        with lamina.open(folder, settings=UNATTENDED) as db:
            entry = db.buckets.get("bench").entry("entry")
            list(entry.query(FIRST_US, FIRST_US + 1))  # imports, the first section
            for run in range(4):
                watch = Stopwatch()
                with watch:
                    found = sum(1 for _ in entry.query(when=when))
                if found != expected:
                    raise RuntimeError(f"{found} records selected, expected {expected}")
                cold = min(cold, watch.seconds) if run == 0 else cold
                resident = min(resident, watch.seconds) if run else resident
    theirs = _sqlite_filter(work / "records.sqlite", sets, expected)
    other = f"SQLite JSON {span(theirs)}"
    yield Line("condition on 2 labels, cold: CPU", records, span(cold), other, cold / COLD_S, 1.0, True)
    yield Line("condition on 2 labels, resident", records, span(resident), other, resident / RESIDENT_S, 1.0, True)


def _sqlite_filter(path: Path, sets: list[LabelSet], expected: int) -> float:
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE r (time INTEGER PRIMARY KEY, labels TEXT)")
    db.executemany("INSERT INTO r VALUES (?, ?)", ((i, json.dumps(dict(labels))) for i, labels in enumerate(sets)))
    db.commit()
    query = (
        "SELECT time FROM r WHERE json_extract(labels, '$.robot') = 'r3'"
        " AND CAST(json_extract(labels, '$.speed') AS INTEGER) >= 999"
    )
    best = cpu(lambda: len(db.execute(query).fetchall()), 3)
    if len(db.execute(query).fetchall()) != expected:
        raise RuntimeError("SQLite selects something else")
    db.close()
    path.unlink()
    return best


def read_lines(work: Path, records: int = 200_000) -> Iterator[Line]:
    """All of an entry, 1 KB each, verified contents, from the page cache: as columns with all labels, and as an object
    for each, without looking at its labels."""
    folder = work / "records-read"
    shutil.rmtree(folder, ignore_errors=True)
    content = os.urandom(1024)
    with lamina.open(folder, settings=UNATTENDED) as db:
        entry = made(db, "bench", "entry")
        for begin in range(0, records, 1 << 14):
            put(db, entry, begin, min(1 << 14, records - begin), content, robot_sets(480))
        db.flush()
        files = sorted((folder / "segments").rglob("*.dat"))

        def columns() -> None:
            got = count = 0
            for batch in entry.query().batches():
                assert batch.contents is not None, "asked for"
                got, count = got + len(batch.contents), count + len(batch)
                if len(batch.labels) != 4:
                    raise RuntimeError(f"labels {list(batch.labels)}")
            if (got, count) != (1024 * records, records):
                raise RuntimeError(f"{got} bytes of {count} records read")

        def objects() -> None:
            got, part = 0, []
            for record in entry.query():
                part.append(record)
                if len(part) == 1024:
                    got += sum(map(len, read_contents(part)))
                    part = []
            got += sum(map(len, read_contents(part)))
            if got != 1024 * records:
                raise RuntimeError(f"{got} bytes read")

        def raw() -> None:
            for path in files:
                with open(path, "rb", buffering=0) as file:
                    while file.read(MIB):
                        pass

        for work in (columns, objects, raw):
            work()
        mine, theirs, single = 0.0, 0.0, 0.0
        for _ in range(5):  # in turn: what else the machine does hits all three
            mine = max(mine, 1024 * records / cpu(columns, 3))
            theirs = max(theirs, sum(path.stat().st_size for path in files) / cpu(raw, 3))
            single = max(single, 1024 * records / cpu(objects, 1))
    yield Line("range read of 1 KB, columns", records, f"{size(mine)}/s", f"read alone {size(theirs)}/s",
               mine / theirs, READ_SHARE)  # fmt: skip
    yield Line("range read of 1 KB, one by one", records, f"{size(single)}/s", f"read alone {size(theirs)}/s",
               single / theirs, 0)  # fmt: skip


def sync_seconds(work: Path, repeats: int = 200) -> float:
    """One write of a page and its fdatasync, by the clock."""
    path = work / "sync"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(descriptor, 0, 4096 * repeats)
    os.fsync(descriptor)
    took = []
    for i in range(repeats):
        began = time.perf_counter()
        os.pwrite(descriptor, b"x" * 4096, 4096 * i)
        os.fdatasync(descriptor)
        took.append(time.perf_counter() - began)
    os.close(descriptor)
    path.unlink()
    return sorted(took)[repeats // 2]


def append_lines(work: Path, repeats: int) -> Iterator[Line]:
    """1 MB records from two threads, durable, eight a commit, against the same bytes into two files with one fdatasync
    per eight."""
    content = os.urandom(1_000_000)
    count, group = 256, 8  # of each thread
    total = 2 * count * len(content)
    mine = theirs = 0.0
    folder = work / "records-append"
    for _ in range(repeats):
        touch(work, 2 * total)
        theirs = max(theirs, total / _clock(lambda number: _raw_append(work / f"raw-{number}", content, count, group)))
        shutil.rmtree(folder, ignore_errors=True)
        with lamina.open(folder) as db:
            entries = db.buckets.create("bench").ensure_entries(["0", "1"])

            def some(number: int, entries: list[Entry] = entries) -> None:
                for i in range(0, count, group):
                    entries[number].write_many([NewRecord(FIRST_US + i + j, content) for j in range(group)])

            mine = max(mine, total / _clock(some))
        shutil.rmtree(folder)
    yield Line("durable append of 1 MB records", 2 * count, f"{size(mine)}/s", f"disk alone {size(theirs)}/s",
               mine / theirs, APPEND_SHARE)  # fmt: skip


def _clock(work: Callable[[int], None]) -> float:
    """Seconds of two threads."""
    began = time.perf_counter()
    together(work, 2)
    return time.perf_counter() - began


def _raw_append(path: Path, content: bytes, count: int, group: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    for i in range(count):
        os.write(descriptor, content)
        if i % group == group - 1:
            os.fdatasync(descriptor)
    os.close(descriptor)
    path.unlink()


def eviction_lines(work: Path, records: int = 73_728) -> Iterator[Line]:
    """72 MiB of sealed 1 KB records, all but 4 MiB of which go because a quota is lowered: CPU until the space is
    back, most of it as a whole file; and how much of that whoever lowers the quota waits for, the rest is upkeep's."""
    ours, theirs, waited = [], [], []
    content = os.urandom(1024)
    for _ in range(5):
        folder = work / "records-evict"
        shutil.rmtree(folder, ignore_errors=True)
        with lamina.open(folder, settings=UNATTENDED) as db:
            entry = made(db, "bench", "entry")
            for begin in range(0, records, OP_RECORDS // 2):
                put(db, entry, begin, OP_RECORDS // 2, content, robot_sets(480))
                db.upkeep.run_once()
            db.flush()
            caller, upkeep = Stopwatch(), Stopwatch()
            with caller:
                entry.bucket.update({"quota_type": "FIFO", "quota_size": 4 * MIB})
            with upkeep:
                db.upkeep.run_once()
            waited.append(caller.seconds)
            ours.append(caller.seconds + upkeep.seconds)
            left = _on_disk(folder)
            if left > 8 * MIB:
                raise RuntimeError(f"the space is not back: {left} bytes")
        shutil.rmtree(folder)
        path = work / "unlink"
        path.write_bytes(os.urandom(68 * MIB))
        os.sync()
        watch = Stopwatch()
        with watch:
            path.unlink()
        theirs.append(watch.seconds)
    unlinked = f"unlink {span(min(theirs))}"
    yield Line("eviction, 68 MiB: its caller's part", records, span(min(waited)), unlinked,
               min(waited) / min(theirs), EVICTION_RATIO, True)  # fmt: skip
    yield Line("eviction, 68 MiB: all of it", records, span(min(ours)), unlinked,
               min(ours) / min(theirs), 0)  # fmt: skip


def _on_disk(folder: Path) -> int:
    """Bytes of blocks that segments and payload files take."""
    return 512 * sum(path.stat().st_blocks for path in (folder / "segments").rglob("*") if path.is_file())


def overshoot_lines(work: Path, quota: int = 256 * MIB) -> Iterator[Line]:
    """Bytes on disk in a FIFO bucket while four times its quota goes through it; the log is not counted."""
    folder = work / "records-fifo"
    shutil.rmtree(folder, ignore_errors=True)
    content = os.urandom(8192)
    most = 0
    settings = Settings(durability="os", background=False)
    with lamina.open(folder, settings=settings) as db:
        entry = made(db, "bench", "entry", {"quota_type": "FIFO", "quota_size": quota})
        for i in range(0, 4 * quota // len(content), 64):
            entry.write_many([NewRecord(FIRST_US + i + j, content) for j in range(64)])
            if i % 256 == 0:
                db.upkeep.run_once()
                most = max(most, _on_disk(folder))
    yield Line("FIFO quota of 256 MiB: on disk", 4 * quota // len(content), size(most), f"quota {size(quota)}",
               most / quota, OVERSHOOT, True)  # fmt: skip
    shutil.rmtree(folder)
