"""A recorded life of a database of records."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lamina.engine.database import Database
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import Held, contents, filled, shown
from lamina.engine.tests.recorded import Recorded
from lamina.settings import Settings

Key = tuple[str, str, int]
"""bucket, entry, time"""
Facts = dict[Key, Held]

LARGE = 66_000


def observed(db: Database) -> Facts:
    """Every record there is, contents verified against what is said of them."""
    found: Facts = {}
    for bucket in db.buckets:
        size = 0
        for name in bucket.names():
            entry = bucket.entry(name)
            times = []
            for record in entry.query():
                time, held = shown(record)
                found[bucket.name, name, time] = held
                times.append(time)
            info = entry.info()
            size += info.size
            if not name.endswith("$meta"):
                assert (info.record_count, info.oldest_record, info.latest_record) == (
                    len(times),
                    min(times, default=0),
                    max(times, default=0),
                )
        assert bucket.info().size == size
    return found


def steps(rng: random.Random, db: Database) -> Iterator[None]:
    """One call after the other, each done when the generator is asked for the next; sends in the database."""
    marks = contents(rng.randrange(1, 100))
    free = itertools_from(100)

    def held(size: int) -> bytes:
        return filled(next(marks), size)

    plain = db.buckets.create("p", {"max_block_records": 4})
    fifo = db.buckets.create("f", {"quota_type": "FIFO", "quota_size": 150_000, "max_block_records": 3})
    yield
    while True:
        kind = rng.choice(KINDS)
        entry = plain.entry(rng.choice(("a", "a/b", "c")))
        times = [record.time_us for record in entry.query()] if plain.find_entry(entry.name) else []
        if kind == "write":
            entry.write(held(rng.choice((0, 3, 50, 700))), next(free), labels={"n": str(rng.randrange(9))})
        elif kind == "late":
            late = rng.randrange(90)
            if late not in times:
                entry.write(held(20), late)
        elif kind == "large":
            entry.write(held(LARGE), next(free))
        elif kind == "many":
            entry.write_many([NewRecord(next(free), held(rng.randrange(40))) for _ in range(7)])
        elif kind == "update" and times:
            entry.update(rng.choice(times), {"n": "", "m": str(rng.randrange(9))})
        elif kind == "remove" and times:
            entry.remove(rng.choice(times))
        elif kind == "range" and times:
            entry.remove_range(min(times), rng.choice(times))
        elif kind == "fifo":
            size = rng.choice((100, 10_000, LARGE))
            fifo.entry(rng.choice("xy")).write(held(size), next(free))
        elif kind == "attach":
            key = {"key": rng.choice("kl")}
            plain.entry("a/$meta").write(held(5), next(free), labels=key)
        elif kind == "rename" and plain.find_entry("c") and not plain.find_entry("d/e"):
            plain.rename_entry("c", "d/e")
        elif kind == "drop" and plain.find_entry("d"):
            plain.remove_entry("d")
        elif kind == "pin":
            db.snapshot("pin").close()
        elif kind == "unpin" and db.snapshots():
            db.drop_snapshot("pin")
        elif kind == "upkeep":
            db.upkeep.run_once()
        elif kind == "flush":
            db.flush()
        elif kind == "compact":
            db.compact()
        yield


KINDS = (
    *("write",) * 6, *("late",) * 2, *("large",) * 2, *("many",) * 2, *("update",) * 4, *("remove",) * 3, "range",
    *("fifo",) * 6, "attach", "attach", "rename", "drop", "pin", "unpin", *("upkeep",) * 3, *("flush",) * 3, "compact",
)  # fmt: skip


def itertools_from(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


class Recording(Recorded[Facts]):
    """Of records."""

    def __init__(self, settings: Settings, seed: int, count: int) -> None:
        super().__init__(settings, seed, count, steps, observed)


def explains(found: Facts, before: Facts, after: Facts) -> bool:
    """Whether each record is as it was before a step or after it."""
    keys = found.keys() | before.keys() | after.keys()
    return all(found.get(key) in (before.get(key), after.get(key)) for key in keys)
