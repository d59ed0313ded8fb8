"""A recorded life of a database of points: every change of a file, every catalog transaction, what was there after
every step; and what power loss at any point of it may leave."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.points.tests.pointmodel import NAMES, Fact, edits, facts, made, queries
from lamina.engine.records.tests.recordedlife import Unclosed, reopened
from lamina.settings import Settings
from lamina.storage.files import Files
from lamina.storage.memory import MemoryFiles
from lamina.testing import CrashStates, RecordingFiles, materialise
from lamina.testing.crashstates import Create, Mark, Mode, Sync

KINDS = (
    *("one",) * 4, *("several",) * 4, *("bulk",) * 2, *("update",) * 4, *("remove",) * 3, "clear", "pin", "unpin",
    *("upkeep",) * 3, *("flush",) * 3, "compact",
)  # fmt: skip


def observed(db: Database) -> list[Fact]:
    """Every point there is, in the order of insertion; what is said of them in other ways agrees."""
    found = facts(db.measurements.search(order="insertion"))
    assert db.measurements.count() == len(found)
    assert db.measurements.list() == sorted({one.measurement for one in found})
    for name in NAMES:
        mine = facts(db.measurements[name].search(order="insertion"))
        assert mine == [one for one in found if one.measurement == name]
    return found


def steps(rng: random.Random, db: Database) -> Iterator[None]:
    """One call after the other, each done when the generator is asked for the next."""
    while True:
        kind = rng.choice(KINDS)
        place = rng.choice((db.measurements, db.measurements[rng.choice(NAMES)]))
        if kind == "one":
            db.measurements.insert(made(rng))
        elif kind == "several":
            db.measurements.insert([made(rng) for _ in range(7)])
        elif kind == "bulk":
            db.measurements.insert([made(rng) for _ in range(20)])
        elif kind == "update":
            place.update(rng.choice((None, queries(rng))), **edits(rng).arguments)
        elif kind == "remove":
            place.remove(queries(rng))
        elif kind == "clear":
            db.measurements.drop(rng.choice(NAMES))
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


class Recording:
    """`moments[n]` is what was there after n steps."""

    def __init__(self, settings: Settings, seed: int, count: int) -> None:
        self.settings = settings
        self.files = RecordingFiles(MemoryFiles())
        self.catalog = Unclosed(MemoryCatalog(), self.files.mark)
        self.moments: list[list[Fact]] = [[]]
        db = reopened(self.files, self.catalog, settings)
        work = steps(random.Random(seed), db)
        for number in range(count):
            self.files.mark(f"begin {number}")
            next(work)
            db.barrier()
            self.moments.append(observed(db))
            self.files.mark(f"ack {number}")
        end = len(self.files.trace.events)
        db.close()
        del self.files.trace.events[end:]
        self.crashes = CrashStates(self.files.trace)

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
        from lamina.engine.tests.machine import copied

        _, _, states, doing = self.progress(k)
        if doing and rng.random() < 0.5:
            states += 1
        return materialise(self.crashes.state(k, mode, rng)), copied(self.catalog.states[states])
