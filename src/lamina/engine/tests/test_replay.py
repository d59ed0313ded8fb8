"""Recovery of a log that holds ops of every sort: what it leads to is what was acknowledged."""

from __future__ import annotations

from uuid import UUID

import pytest

from lamina.catalog.memory import MemoryCatalog
from lamina.engine.database import Database
from lamina.engine.open import Seams, assemble
from lamina.settings import Settings
from lamina.storage.fileblobs import FileBlobs
from lamina.testing import ManualClock, SeededRandom, SimulatedFiles

SMALL = Settings(leaf_points=16, node_rows=4, flush_points=64, bulk_points=100, background=False, min_free=0)
S = UUID(int=1)


class Machine:
    """A database whose process can be killed: files and catalog stay as they are."""

    def __init__(self, settings: Settings = SMALL) -> None:
        self.settings = settings
        self.files = SimulatedFiles()
        self.catalog = MemoryCatalog()
        self.catalog.close = lambda: None  # type: ignore[method-assign]  # outlives its users
        self.lives: list[Database] = []
        self.boot()

    def boot(self) -> Database:
        seams = Seams(
            "machine", self.files, FileBlobs(self.files), lambda: self.catalog, ManualClock(), SeededRandom(len(self.lives))
        )
        self.db = assemble(seams, self.settings)
        self.lives.append(self.db)
        return self.db

    def kill(self) -> Database:
        self.files = self.files.kill()
        return self.boot()


@pytest.fixture
def machine():
    machine = Machine()
    yield machine
    machine.db.close()


def columns(n, start=0):
    return list(range(start, start + n)), [float(start + i) for i in range(n)]


def test_inserts_and_batches_over_many_streams_are_replayed_in_the_order_of_the_log(machine):
    a = machine.db.streams.create("c", "a", uuid=S)
    b = machine.db.streams.create("c", "b")
    machine.db.streams.insert_many({a: columns(1), b: columns(1)})
    a.insert(*columns(1, 1))
    machine.db.streams.insert_many({a: columns(1, 2), b: columns(1, 1)})
    a.insert(*columns(1, 3))
    a = machine.kill().streams.get(S)
    assert a.version == 14
    for version in range(10, 15):
        assert a.values(version=version).time.tolist() == list(range(version - 10))
