"""A recorded life of a database of records: every change of a file, every catalog transaction, what was there after
every step; and what power loss at any point of it may leave."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, TypeVar

from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.open import Seams, assemble
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.tests.recordmodel import Held, contents, filled, shown
from lamina.engine.tests.machine import copied
from lamina.settings import Settings
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.files import Files
from lamina.storage.memory import MemoryFiles
from lamina.testing import CrashStates, ManualClock, RecordingFiles, SeededRandom
from lamina.testing.crashstates import Create, Mark, Mode, Sync

T = TypeVar("T")

Key = tuple[str, str, int]
"""bucket, entry, time"""
Facts = dict[Key, Held]

LARGE = 66_000


def reopened(
    files: Files, catalog: Any, settings: Settings, seed: int = 1, clock: ManualClock | None = None
) -> Database:
    seams = Seams("life", files, FileBlobs(files), lambda: catalog, clock or ManualClock(), SeededRandom(seed))
    return assemble(seams, settings)


class Unclosed:
    """A catalog that outlives its database, and notes each state it has been in."""

    def __init__(self, inner: MemoryCatalog, mark: Any = lambda text: None) -> None:
        self._inner = inner
        self._mark = mark
        self.states = [copied(inner)]

    def __getattr__(self, name: str) -> Any:
        if name in ("commit", "reserve", "acquire_epoch"):
            return lambda *arguments: self._transact(name, *arguments)
        return getattr(self._inner, name)

    def _transact(self, name: str, *arguments: Any) -> Any:
        self._mark("catalog begin")
        result = getattr(self._inner, name)(*arguments)
        self.states.append(copied(self._inner))
        self._mark("catalog end")
        return result

    def close(self) -> None:
        pass


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


class Recording:
    """`moments[n]` is what was there after n steps."""

    def __init__(self, settings: Settings, seed: int, count: int) -> None:
        self.settings = settings
        self.files = RecordingFiles(MemoryFiles())
        self.catalog = Unclosed(MemoryCatalog(), self.files.mark)
        self.moments: list[Facts] = [{}]
        db = reopened(self.files, self.catalog, settings)
        work = steps(random.Random(seed), db)
        for number in range(count):
            self.files.mark(f"begin {number}")
            next(work)
            db.barrier()
            self.moments.append(observed(db))
            self.files.mark(f"ack {number}")
        self._end = len(self.files.trace.events)
        db.close()
        del self.files.trace.events[self._end :]
        self.crashes = CrashStates(self.files.trace)

    @property
    def points(self) -> range:
        return self.crashes.points

    def progress(self, k: int) -> tuple[int, int, int, bool]:
        """(acknowledged, begun, catalog state, another one begun) after k events."""
        acknowledged = begun = states = 0
        doing = False
        for event in self.files.trace.events[:k]:
            if isinstance(event, Mark):
                word, *rest = event.text.split()
                if word == "ack":
                    acknowledged = int(rest[0]) + 1
                elif word == "begin":
                    begun = int(rest[0]) + 1
                else:
                    doing = rest == ["begin"]
                    states += rest == ["end"]
        return acknowledged, begun, states, doing

    def synced(self, k: int) -> int:
        """Steps acknowledged before the last sync of the log among k events began."""
        events = self.files.trace.events
        logs = {event.inode for event in events if isinstance(event, Create) and event.path.startswith("log/")}
        began = [event.began for event in events[:k] if isinstance(event, Sync) and event.inode in logs]
        return self.progress(began[-1])[0] if began else 0

    def survivors(self, k: int, mode: Mode, rng: random.Random) -> tuple[Files, MemoryCatalog]:
        from lamina.testing import materialise

        _, _, states, doing = self.progress(k)
        if doing and rng.random() < 0.5:
            states += 1
        return materialise(self.crashes.state(k, mode, rng)), copied(self.catalog.states[states])


def explains(found: Facts, before: Facts, after: Facts) -> bool:
    """Whether each record is as it was before a step or after it."""
    keys = found.keys() | before.keys() | after.keys()
    return all(found.get(key) in (before.get(key), after.get(key)) for key in keys)
