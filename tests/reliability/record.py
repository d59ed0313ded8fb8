"""A recorded run: every change of a file through the seam, every catalog transaction, every step and acknowledgement.

SQLite does not go through the seam. Its part is played by a catalog in memory whose every transaction is kept; after a
crash it is in one of the states between the last one that had been completed and the last one begun.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from lamina.catalog.catalog import CatalogDelta, CatalogSnapshot, Sequence_
from lamina.catalog.memory import MemoryCatalog, MemorySnapshot
from lamina.engine.database import Database
from lamina.engine.open import Seams, assemble
from lamina.settings import Settings
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.files import Files
from lamina.storage.memory import MemoryFiles
from lamina.testing import CrashStates, ManualClock, RecordingFiles, SeededRandom, Trace
from lamina.testing.crashstates import Create, Mark, Mode, Sync
from tests.reliability.oracle import Effect, Key, Model, Step
from tests.reliability.workload import Steps, Workload, perform

T = TypeVar("T")
Wrap = Callable[[Files], Files]


LATE = 8
"""Changes that only the log has when a process is killed."""


class CatalogState(NamedTuple):
    """All tables and sequences after a transaction; shares what later ones did not change."""

    snapshot: MemorySnapshot
    numbers: dict[str, int]

    def catalog(self) -> MemoryCatalog:
        copy = MemoryCatalog()
        assert self.snapshot._state is not None
        copy._state = {name: dict(rows) for name, rows in self.snapshot._state.items()}
        copy._next = dict(self.numbers)
        return copy


class RecordedCatalog:
    """Passes everything on and keeps every state. `mark` notes when a transaction begins and when it is durable."""

    def __init__(self, inner: MemoryCatalog, mark: Callable[[str], None]) -> None:
        self.inner = inner
        self.mark = mark
        self.states: list[CatalogState] = []
        self._keep()

    def _keep(self) -> None:
        self.states.append(CatalogState(self.inner.snapshot(), dict(self.inner._next)))

    def _transact(self, work: Callable[[], T]) -> T:
        self.mark("catalog begin")
        result = work()
        self._keep()
        self.mark(f"catalog {len(self.states) - 1}")
        return result

    def commit(self, delta: CatalogDelta) -> None:
        self._transact(lambda: self.inner.commit(delta))

    def reserve(self, sequence: Sequence_, n: int) -> range:
        return self._transact(lambda: self.inner.reserve(sequence, n))

    def acquire_epoch(self, instance: str) -> int:
        return self._transact(lambda: self.inner.acquire_epoch(instance))

    def snapshot(self) -> CatalogSnapshot:
        return self.inner.snapshot()

    def check(self) -> Any:
        return self.inner.check()

    def backup(self, target_path: str) -> None:
        self.inner.backup(target_path)

    def close(self) -> None:
        """The states outlive a life of the database."""


class Recording:
    """A run of a workload. `effects[i]` is what step i does; `facts_after[i]` what holds before it."""

    def __init__(self, workload: Workload, seed: int, durable_catalog: bool = True) -> None:
        self.workload = workload
        self.seed = seed
        self.durable_catalog = durable_catalog
        self.model = Model()
        self.effects: list[Effect] = []
        self.facts_before: list[dict[Key, Any]] = []
        self.files = RecordingFiles(MemoryFiles())
        self.catalog = RecordedCatalog(MemoryCatalog(), self.files.mark)
        self._progress: list[tuple[int, int, int]] | None = None

    @property
    def trace(self) -> Trace:
        return self.files.trace

    def run(self, steps: int, wrap: Wrap = lambda files: files, close: bool = True) -> None:
        """Record from the creation of the directory on. `wrap` goes between database and recorder (mutants).
        `close=False`: LATE inserts follow, then the process is idle long enough for the log's mark, then killed."""
        clock = ManualClock()
        files = wrap(self.files)
        db = reopen(files, self.catalog, clock, self.workload.settings, self.seed)
        source = Steps(self.workload, self.seed, self.model)
        for number in range(steps if close else steps + LATE):
            step = source.next() if number < steps else source.insert()
            effect = self.model.effect(step)
            self.facts_before.append(dict(self.model.facts))
            self.effects.append(effect)
            self.files.mark(f"begin {number} {step.kind}")
            if step.kind == "reopen":
                db.close()
                db = reopen(files, self.catalog, clock, self.workload.settings, self.seed + number)
            else:
                perform(db, step)
            self.model.apply(effect)
            clock.advance(0.01)
            self.files.mark(f"ack {number}")
        self.facts_before.append(dict(self.model.facts))
        if not close:
            perform(db, Step("idle"))
            self.files.mark("killed")
            end, states = len(self.trace.events), len(self.catalog.states)
        db.close()  # also ends the threads of a killed one, whose last words do not count
        if not close:
            del self.trace.events[end:]
            del self.catalog.states[states:]

    def _at(self, k: int) -> tuple[int, int, int]:
        """(acknowledged steps, begun steps, catalog states: durable * 2 + one has begun) after k events."""
        if self._progress is None:
            self._progress = progress(self.trace)
        return self._progress[k]

    def expected(self, k: int) -> tuple[dict[Key, Any], list[Effect]]:
        """(acknowledged facts, effects in flight) after k events."""
        acknowledged, begun, _ = self._at(k)
        return self.facts_before[acknowledged], self.effects[acknowledged:begun]

    def moments(self, k: int) -> list[dict[Key, Any]]:
        """ "os" mode: every state of the facts, newest first, that power loss after k events may lead back to: from all
        that has begun to what was acknowledged before the last sync of the log."""
        acknowledged, begun, _ = self._at(k)
        logs = {
            event.inode for event in self.trace.events if isinstance(event, Create) and event.path.startswith("log/")
        }
        synced = [e.began for e in self.trace.events[:k] if isinstance(e, Sync) and e.inode in logs]
        oldest = self._at(synced[-1])[0] if synced else 0
        return [self.facts_before[n] for n in range(max(acknowledged, begun), oldest - 1, -1)]

    def catalog_state(self, k: int, mode: Mode, rng: random.Random) -> CatalogState:
        """One of the states the catalog may be in after power loss."""
        _, _, durable = self._at(k)
        last, begun = divmod(durable, 2)
        first = last
        if not self.durable_catalog:
            first = rng.randint(max(last - 8, 0), last)
        last = min(last + begun, len(self.catalog.states) - 1)
        chosen = {"min": first, "all": last}.get(mode)
        return self.catalog.states[rng.randint(first, last) if chosen is None else chosen]


def progress(trace: Trace) -> list[tuple[int, int, int]]:
    """For every number of events: what the marks among them say."""
    acknowledged = begun = durable = 0
    found = [(0, 0, 0)]
    for event in trace.events:
        if isinstance(event, Mark):
            words = event.text.split()
            if words[0] == "ack":
                acknowledged = int(words[1]) + 1
            elif words[0] == "begin":
                begun = int(words[1]) + 1
            elif words == ["catalog", "begin"]:
                durable |= 1
            elif words[0] == "catalog":
                durable = 2 * int(words[1])
        found.append((acknowledged, begun, durable))
    return found


def reopen(files: Files, catalog: Any, clock: ManualClock, settings: Settings, seed: int) -> Database:
    """A life of a database over these files and this catalog."""
    seams = Seams("recorded", files, FileBlobs(files), lambda: catalog, clock, SeededRandom(seed))
    return assemble(seams, settings)


def states(recording: Recording) -> CrashStates:
    return CrashStates(recording.trace)
