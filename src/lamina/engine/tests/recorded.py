"""A recorded life of a database: every change of a file, every catalog transaction, what was there after every step.

And what power loss at any point of it may leave."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.open import Seams, assemble
from lamina.engine.tests.machine import copied
from lamina.settings import Settings
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.files import Files
from lamina.storage.memory import MemoryFiles
from lamina.testing import CrashStates, ManualClock, RecordingFiles, SeededRandom, materialise
from lamina.testing.crashstates import Create, Mark, Mode, Sync

F = TypeVar("F")
"""What is there, as a kind of data tells it."""


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


class Recorded(Generic[F]):
    """`moments[n]` is what was there after n steps; `steps` gives one call after the other, each done when it is asked
    for the next."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        count: int,
        steps: Callable[[random.Random, Database], Iterator[None]],
        observed: Callable[[Database], F],
    ) -> None:
        self.settings = settings
        self.files = RecordingFiles(MemoryFiles())
        self.catalog = Unclosed(MemoryCatalog(), self.files.mark)
        db = reopened(self.files, self.catalog, settings)
        self.moments: list[F] = [observed(db)]
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
        _, _, states, doing = self.progress(k)
        if doing and rng.random() < 0.5:
            states += 1
        return materialise(self.crashes.state(k, mode, rng)), copied(self.catalog.states[states])
