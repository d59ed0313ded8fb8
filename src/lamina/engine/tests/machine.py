"""A database on a machine of which the process or the power can be lost at any moment between two calls."""

from __future__ import annotations

import random

from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.open import Seams, assemble
from lamina.settings import Settings
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.files import Files
from lamina.testing import ManualClock, SeededRandom, SimulatedFiles
from lamina.testing.crashstates import Mode

SMALL = Settings(leaf_points=16, node_rows=4, flush_points=64, bulk_points=100, background=False, min_free=0)


def copied(catalog: MemoryCatalog) -> MemoryCatalog:
    """A catalog with the same content and a life of its own."""
    copy = MemoryCatalog()
    with catalog._lock:
        assert catalog._state is not None, "closed"
        copy._state = {name: dict(rows) for name, rows in catalog._state.items()}
        copy._next = dict(catalog._next)
    return copy


class Machine:
    """`db` is the database of the present life; `files` and `catalog` what a later one will find."""

    def __init__(self, settings: Settings = SMALL) -> None:
        self.settings = settings
        self.files = SimulatedFiles()
        self.catalog = MemoryCatalog()
        self.clock = ManualClock()
        self._lives = 0
        self.db = self.boot()

    def boot(self, files: Files | None = None) -> Database:
        """Open what is there; with `files` through others, which stand on `self.files`."""
        self._lives += 1
        files = files or self.files
        seams = Seams("machine", files, FileBlobs(files), lambda: self.catalog, self.clock, SeededRandom(self._lives))
        self.db = assemble(seams, self.settings)
        return self.db

    def kill(self) -> Database:
        """The process ends without a word; everything written is there."""
        return self._next(self.files.kill())

    def lose_power(self, rng: random.Random, mode: Mode = "torn") -> Database:
        """What was not synced may be gone."""
        return self._next(self.files.crash(rng, mode))

    def restart(self, files: Files | None = None) -> Database:
        """A clean close, then as boot."""
        self.catalog = self._after_close()
        return self.boot(files)

    def _next(self, files: SimulatedFiles) -> Database:
        old, catalog = self.db, copied(self.catalog)
        old.close()  # into files and a catalog that nobody looks at again: it only ends its threads
        self.files, self.catalog = files, catalog
        return self.boot()

    def _after_close(self) -> MemoryCatalog:
        held = self.catalog
        kept: list[MemoryCatalog] = []
        close = held.close
        held.close = lambda: (kept.append(copied(held)), close())[1]  # type: ignore[method-assign]
        self.db.close()
        return kept[0]

    def off(self) -> None:
        self.db.close()
