"""Seeded workloads over the native API. What comes next depends on the seed and the model, never on the database."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lamina import errors
from lamina.engine.database import Database
from lamina.engine.records.arguments import NewRecord
from lamina.settings import Settings
from lamina.testing import ManualClock
from lamina.time import LAST_TIME, MIN_TIME
from tests.reliability import points as sets
from tests.reliability.oracle import LARGEST, RING_BLOCK, Model, Step, Stored, bucket_name, content_of, stream_uuid

SECOND = 1_000_000_000
T0 = 1_600_000_000 * SECOND

SMALL = Settings(leaf_points=16, node_rows=4, flush_points=32, bulk_points=100, background=False, min_free=0)
"""Trees of many levels, flushes and bulk inserts after a few points."""


class Workload(NamedTuple):
    """`weights`: step kind -> how often. `streams`, `buckets`: how many live at a time. `quota`: of the buckets.
    `sets`: of points."""

    name: str
    settings: Settings
    streams: int
    weights: dict[str, int]
    buckets: int = 0
    quota: int = 0
    sets: int = 0


def _settings(**changes: Any) -> Settings:
    fields = {name: getattr(SMALL, name) for name in Settings.__slots__}
    return Settings(**(fields | changes))


_INSERTS = {"insert": 12, "idle": 1}
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("singles", _settings(durability="strict"), 2, {**_INSERTS, "flush": 1, "reopen": 1}),
        Workload(
            "relaxed",
            _settings(durability="os", log_file_bytes=4096, log_limit=16384),
            3,
            {
                "insert": 10,
                "insert_many": 3,
                "delete": 2,
                "bulk": 1,
                "tags": 1,
                "tiny": 4,
                "label": 2,
                "points": 3,
                "repoint": 1,
                "flush": 1,
                "flush_all": 1,
                "upkeep": 2,
                "reopen": 1,
            },
            buckets=1,
            sets=1,
        ),
        Workload(
            "many", SMALL, 12, {"insert_many": 10, "insert": 3, "flush_all": 2, "upkeep": 3, "idle": 1, "reopen": 1}
        ),
        Workload(
            "edits",
            SMALL,
            4,
            {
                "insert": 6,
                "policy": 6,
                "delete": 4,
                "bulk": 3,
                "flush": 3,
                "upkeep": 2,
                "prune": 1,
                "pin": 1,
                "reopen": 1,
            },
        ),
        Workload(
            "metadata",
            SMALL,
            6,
            {
                "insert": 4,
                "tags": 5,
                "annotate": 5,
                "obliterate": 2,
                "pin": 2,
                "unpin": 2,
                "dump": 1,
                "bulk": 1,
                "reopen": 1,
            },
        ),
        Workload(
            "rotation",
            _settings(log_file_bytes=2048, log_limit=8192, flush_points=100_000, bulk_points=200, tails_limit=1 << 20),
            6,
            {
                "insert": 12,
                "insert_many": 3,
                "delete": 1,
                "upkeep": 4,
                "bulk": 1,
                "tags": 1,
                "flush": 1,
                "idle": 1,
                "reopen": 1,
            },
        ),
        Workload(
            "compaction",
            _settings(log_file_bytes=4096, log_limit=16384),
            4,
            {
                "insert": 10,
                "delete": 3,
                "bulk": 2,
                "flush_all": 3,
                "prune": 4,
                "obliterate": 1,
                "compact": 3,
                "pin": 1,
                "unpin": 1,
            },
        ),
        Workload(
            "records",
            SMALL,
            1,
            {
                "record": 10,
                "records": 4,
                "label": 6,
                "unrecord": 3,
                "insert": 1,
                "flush_all": 4,
                "upkeep": 2,
                "compact": 2,
                "drop_entry": 1,
                "drop_bucket": 1,
                "dump": 1,
                "reopen": 1,
            },
            buckets=2,
        ),
        Workload(
            "rings",
            _settings(log_file_bytes=8192, log_limit=32768),
            1,
            {
                "record": 16,
                "label": 4,
                "insert": 1,
                "flush_all": 3,
                "upkeep": 4,
                "compact": 1,
                "idle": 1,
                "reopen": 1,
            },
            buckets=1,
            quota=400_000,
        ),
        Workload(
            "mixed",
            _settings(log_file_bytes=2048, log_limit=1 << 20, flush_points=8),
            1,
            {"record": 6, "label": 2, "insert": 10, "upkeep": 8, "tags": 1, "flush_all": 1, "reopen": 1},
            buckets=1,
        ),
        Workload(
            "mixed-points",
            _settings(log_file_bytes=2048, log_limit=1 << 20, flush_points=8),
            1,
            {"points": 6, "repoint": 2, "insert": 10, "upkeep": 8, "tags": 1, "flush_all": 1, "reopen": 1},
            sets=1,
        ),
        Workload(
            "points",
            _settings(log_file_bytes=4096, log_limit=16384, seal_points=40),
            1,
            {
                "points": 14,
                "repoint": 6,
                "unpoint": 3,
                "clear": 1,
                "insert": 1,
                "flush_all": 3,
                "upkeep": 4,
                "compact": 2,
                "pin": 1,
                "unpin": 1,
                "dump": 1,
                "reopen": 1,
            },
            sets=2,
        ),
        Workload(
            "rings-of-small",
            SMALL,
            1,
            {"small": 20, "label": 1, "flush_all": 2, "upkeep": 2, "compact": 1, "reopen": 1},
            buckets=1,
            quota=400_000,
        ),
    )
}

DURABLE = {name: workload for name, workload in WORKLOADS.items() if workload.settings.durability != "os"}
"""Those of which power loss takes nothing."""

CROWD = Workload(
    "crowd",
    _settings(log_file_bytes=16384, log_limit=65536, tails_limit=1 << 16, background=True),
    3,
    {
        "insert": 14,
        "insert_many": 3,
        "policy": 4,
        "delete": 3,
        "bulk": 1,
        "flush": 1,
        "prune": 2,
        "tags": 1,
        "obliterate": 1,
        "record": 8,
        "records": 2,
        "label": 4,
        "unrecord": 1,
        "points": 6,
        "repoint": 3,
        "unpoint": 1,
    },
    buckets=1,
    sets=1,
)
"""What each of several threads does at a time, with upkeep in the background."""


class Steps:
    """The endless sequence of steps of one workload. `model` must have applied all steps before the next is asked."""

    def __init__(self, workload: Workload, seed: int, model: Model, first: int = 0) -> None:
        """Streams are numbered from `first` + 1, so that several writers can share a database."""
        self._workload = workload
        self._rng = random.Random(f"{workload.name} {seed} {first}")
        self._model = model
        self._created = first
        self._buckets = first
        self._first = first
        self._time = 0
        self._pins = 0
        self._kinds = [kind for kind, weight in workload.weights.items() for _ in range(weight)]

    def insert(self) -> Step:
        """A plain insert, or a record where the workload is about them."""
        if self._workload.name == "points":
            return self._of_a_set("points")
        return self._record([]) if self._workload.buckets else self._insert(self._model.living())

    def _of_a_set(self, kind: str) -> Step:
        number = self._first + self._rng.randint(1, self._workload.sets)
        return Step(kind, sets.choose(kind, self._rng, number))

    def next(self) -> Step:
        living = self._model.living()
        if len(living) < self._workload.streams and (not living or self._rng.random() < 0.5):
            self._created += 1
            return Step("create", (self._created, self._rng.choice(("plant/a", "plant/b")), f"s{self._created}"))
        if len(self._model.buckets()) < self._workload.buckets:
            self._buckets += 1
            return Step("bucket", (self._buckets, self._workload.quota))
        make: Callable[[list[int]], Step] | None = getattr(self, "_" + self._rng.choice(self._kinds), None)
        while make is None:
            make = getattr(self, "_" + self._rng.choice(self._kinds), None)
        return make(living)

    def _columns(self, n: int) -> tuple[list[int], list[float]]:
        """Mostly ascending in time, with repetitions, late points and now and then the ends of time."""
        rng = self._rng
        base = rng.randrange(400)
        times = [T0 + (base + rng.randrange(n + 3)) * SECOND for _ in range(n)]
        if rng.random() < 0.7:
            times.sort()
        if rng.random() < 0.03:
            times[0], times[-1] = MIN_TIME, LAST_TIME
        return times, [float(rng.randrange(50)) for _ in range(n)]

    def _insert(self, living: list[int]) -> Step:
        return Step("insert", (self._rng.choice(living), *self._columns(self._rng.choice((1, 1, 3, 10))), "never"))

    def _policy(self, living: list[int]) -> Step:
        policy = self._rng.choice(("equal", "retain", "replace", "replace"))
        return Step("insert", (self._rng.choice(living), *self._columns(self._rng.choice((1, 5, 20, 120))), policy))

    def _bulk(self, living: list[int]) -> Step:
        return Step("insert", (self._rng.choice(living), *self._columns(self._rng.randrange(200, 300)), "never"))

    def _insert_many(self, living: list[int]) -> Step:
        chosen = self._rng.sample(living, self._rng.randint(1, len(living)))
        return Step("insert_many", ([(n, *self._columns(self._rng.choice((1, 2, 8)))) for n in chosen],))

    def _delete(self, living: list[int]) -> Step:
        start = T0 + self._rng.randrange(400) * SECOND
        return Step("delete", (self._rng.choice(living), start, start + self._rng.randrange(1, 60) * SECOND))

    def _prune(self, living: list[int]) -> Step:
        stream = self._rng.choice(living)
        return Step("prune", (stream, self._rng.randint(10, self._model.fact(stream).version)))

    def _tags(self, living: list[int]) -> Step:
        stream = self._rng.choice(living)
        return Step("tags", (stream, {"unit": self._rng.choice("VAW")}, self._rng.choice(("plant/a", "plant/c"))))

    def _annotate(self, living: list[int]) -> Step:
        return Step("annotate", (self._rng.choice(living), {self._rng.choice("xyz"): "v" * self._rng.randrange(500)}))

    def _obliterate(self, living: list[int]) -> Step:
        return Step("obliterate", (self._rng.choice(living),))

    def _pin(self, living: list[int]) -> Step:
        self._pins += 1
        return Step("pin", (f"p{self._pins}",))

    def _unpin(self, living: list[int]) -> Step:
        pins = sorted(self._model.pins())
        return Step("unpin", (self._rng.choice(pins),)) if pins else self._insert(living)

    def _bucket(self) -> int:
        return self._rng.choice(sorted(self._model.buckets()))

    def _new(self, bucket: int, sizes: Sequence[int]) -> Stored:
        """Mostly the newest of its bucket; some that come late, where nothing is evicted by time."""
        rng = self._rng
        self._time += rng.randrange(1, 4)
        taken = {record.time_us for record in self._model.buckets()[bucket].records}
        late = rng.random() < 0.15 and not self._workload.quota
        time_us = 1_000 + (rng.randrange(self._time) if late else self._time) * 1_000
        while time_us in taken:
            time_us += 1
        labels = tuple(sorted((name, rng.choice("0123456789")) for name in rng.sample("abcd", rng.randrange(3))))
        return Stored(rng.choice(("x", "x/y", "z")), time_us, rng.choice(sizes), labels)

    def _record(self, living: list[int]) -> Step:
        bucket = self._bucket() if self._model.buckets() else 0
        if not bucket:
            return self._insert(living or self._model.living())
        return Step("record", (bucket, self._new(bucket, (0, 30, 30, 3000, 3000, LARGEST))))

    def _tiny(self, living: list[int]) -> Step:
        """Through the log: of longer contents power loss may take more than the log does, in mode "os"."""
        bucket = self._bucket()
        return Step("record", (bucket, self._new(bucket, (0, 30, 3000))))

    def _small(self, living: list[int]) -> Step:
        """Through the log: many of them lie in one section, which is evicted bit by bit."""
        bucket = self._bucket()
        return Step("record", (bucket, self._new(bucket, (17_000, 33_333, 60_001))))

    def _records(self, living: list[int]) -> Step:
        bucket = self._bucket()
        new = {record.time_us: record for record in (self._new(bucket, (10, 500)) for _ in range(8))}
        return Step("records", (bucket, *(record._replace(entry="x") for record in new.values())))

    def _some(self) -> tuple[int, Stored] | None:
        bucket = self._bucket()
        records = self._model.buckets()[bucket].records
        return (bucket, self._rng.choice(records[-20:])) if records else None

    def _label(self, living: list[int]) -> Step:
        found = self._some()
        if found is None:
            return self._record(living)
        bucket, record = found
        labels = {self._rng.choice("abcde"): self._rng.choice(("", "new", "7"))}
        return Step("label", (bucket, record.entry, record.time_us, labels))

    def _unrecord(self, living: list[int]) -> Step:
        found = self._some()
        return Step("unrecord", (found[0], *found[1][:2])) if found is not None else self._record(living)

    def _drop_entry(self, living: list[int]) -> Step:
        found = self._some()
        if found is None or any(record.entry == "x/y" for record in self._model.buckets()[found[0]].records):
            return self._record(living)  # what is below an entry goes with it
        return Step("drop_entry", (found[0], found[1].entry))

    def _drop_bucket(self, living: list[int]) -> Step:
        return Step("drop_bucket", (self._bucket(),))

    def _flush(self, living: list[int]) -> Step:
        return Step("flush", (self._rng.choice(living),))

    def __getattr__(self, name: str) -> Callable[[list[int]], Step]:
        if name[1:] in ("flush_all", "upkeep", "compact", "dump", "idle", "reopen"):
            return lambda living: Step(name[1:])
        if name[1:] in sets.EFFECTS:
            return lambda living: self._of_a_set(name[1:])
        raise AttributeError(name)


def perform(db: Database, step: Step) -> object:
    """Do a step ("reopen" is up to the caller). Returns the version of an insert or delete."""
    kind, args = step
    if kind == "create":
        number, collection, name = args
        return db.streams.create(collection, name, uuid=stream_uuid(number))
    if kind == "insert_many":
        return db.streams.insert_many({db.streams.get(stream_uuid(n)): (times, values) for n, times, values in args[0]})
    if kind in sets.EFFECTS:
        return sets.perform(db, kind, *args)
    if kind in _DATABASE:
        return _DATABASE[kind](db, *args)
    if kind in _RECORDS:
        return _RECORDS[kind](db, *args)
    stream = db.streams.get(stream_uuid(args[0]))
    if kind == "insert":
        return stream.insert(args[1], args[2], policy=args[3])
    if kind == "delete":
        return stream.delete(args[1], args[2])
    if kind == "prune":
        return stream.set_oldest_version(args[1])
    if kind == "tags":
        return stream.set_tags(args[1], collection=args[2])
    if kind == "annotate":
        return stream.set_annotations(args[1])
    return {"flush": stream.flush, "obliterate": stream.obliterate}[kind]()


def _idle(db: Database) -> None:
    """Let the log write the mark that proves its last frame, as it does after 100 ms without work."""
    if isinstance(db.clock, ManualClock):
        db._log._mark()  # type: ignore[attr-defined]  # the keeper's step, without its thread


_DATABASE: dict[str, Callable[..., object]] = {
    "flush_all": lambda db: db.flush(),
    "upkeep": lambda db: db.upkeep.run_once(),
    "compact": lambda db: db.compact(),
    "dump": lambda db: db.upkeep.dump_metadata(),
    "pin": lambda db, name: db.snapshot(name).close(),
    "unpin": lambda db, name: db.drop_snapshot(name),
    "idle": _idle,
}


def _make_bucket(db: Database, number: int, quota: int) -> object:
    limits = {"quota_type": "FIFO", "quota_size": quota, "max_block_size": RING_BLOCK, "max_block_records": 4}
    return db.buckets.create(bucket_name(number), limits if quota else None)


def _write(db: Database, number: int, *new: Stored) -> None:
    made = [
        NewRecord(record.time_us, content_of(number, record.entry, record.time_us, record.size), dict(record.labels))
        for record in new
    ]
    bucket = db.buckets[bucket_name(number)]
    if len(new) > 1:
        for error in bucket.entry(new[0].entry).write_many(made):
            if error is not None:
                raise error
    else:
        time_us, data, labels, _ = made[0]
        bucket.entry(new[0].entry).write(data, time_us, labels=labels)


def _relabel(db: Database, number: int, entry: str, time_us: int, labels: dict[str, str]) -> None:
    bucket = db.buckets[bucket_name(number)]
    try:
        bucket.entry(entry).update(time_us, labels)
    except errors.NotFound:
        if bucket.settings.quota_type != "FIFO":  # there it may have been evicted
            raise


_RECORDS: dict[str, Callable[..., object]] = {
    "bucket": _make_bucket,
    "record": _write,
    "records": _write,
    "label": _relabel,
    "unrecord": lambda db, n, entry, time_us: db.buckets[bucket_name(n)].entry(entry).remove(time_us),
    "drop_entry": lambda db, n, entry: db.buckets[bucket_name(n)].remove_entry(entry),
    "drop_bucket": lambda db, n: db.buckets.remove(bucket_name(n)),
}
