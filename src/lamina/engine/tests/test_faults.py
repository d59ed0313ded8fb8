"""A disk or catalog that fails under a database: who is told, what stops, what goes on."""

from __future__ import annotations

import errno
from uuid import UUID

import pytest

from lamina import errors
from lamina.catalog.memory import MemoryCatalog
from lamina.engine.open import Seams, assemble
from lamina.engine.tests.machine import SMALL, Machine
from lamina.storage.fileblobs import FileBlobs
from lamina.testing import FaultyFiles, ManualClock, SeededRandom, SimulatedFiles
from lamina.testing.faulty_catalog import FaultyCatalog

S = UUID(int=1)
POINTS = list(range(10))


@pytest.fixture
def machine():
    machine = Machine()
    yield machine
    machine.off()


@pytest.fixture
def faulty(machine):
    """Faults under the present life of the machine."""
    files = FaultyFiles(machine.files)
    machine.restart(files)
    return files


def insert(stream, start=0):
    return stream.insert([start + t for t in POINTS], [float(t) for t in POINTS])


@pytest.fixture
def stream(machine, faulty):
    stream = machine.db.streams.create("c", "a", uuid=S)
    insert(stream)
    return stream


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_failed_commit_stops_writing_and_not_reading(machine, faulty, stream, call):
    faulty.fail(call, path="log/")
    with pytest.raises(errors.Unavailable):
        insert(stream, 10)
    assert machine.db.poisoned is not None
    faulty.heal()
    for change in (lambda: insert(stream, 20), lambda: stream.set_annotations({"a": "b"}), machine.db.flush):
        with pytest.raises(errors.Unavailable):
            change()
    assert stream.values().time.tolist() == POINTS
    assert stream.version == 11


def test_after_a_failed_commit_reopening_finds_everything_acknowledged(machine, faulty, stream):
    faulty.fail("sync", path="log/")
    with pytest.raises(errors.Unavailable):
        insert(stream, 10)
    found = machine.kill().streams.get(S)
    assert found.values(version=11).time.tolist() == POINTS
    assert insert(found, 20) == found.version


@pytest.mark.parametrize(("call", "path"), [("write", "tmp/"), ("sync", "tmp/"), ("rename", "tmp/"), ("open", "tmp/")])
def test_a_flush_that_fails_changes_nothing_and_can_be_repeated(machine, faulty, stream, call, path):
    faulty.fail(call, path=path, error=errno.ENOSPC)
    with pytest.raises(OSError, match="ordered"):
        stream.flush()
    assert machine.db.poisoned is None
    assert insert(stream, 10) == 12
    stream.flush()
    assert stream.values().time.tolist() == list(range(20))
    assert stream.values(version=11).time.tolist() == POINTS


def test_a_bulk_insert_whose_segment_fails_is_refused_whole(machine, faulty, stream):
    faulty.fail("sync", path="tmp/")
    with pytest.raises(OSError, match="ordered"):
        stream.insert(range(100, 300), [0.0] * 200)
    assert stream.version == 11
    assert stream.insert(range(100, 300), [0.0] * 200) == 12
    assert stream.count() == 210


def test_a_damaged_block_is_an_error_that_names_the_object_and_the_rest_is_readable(machine, faulty, stream):
    other = machine.db.streams.create("c", "b")
    insert(other)
    stream.flush()
    other.flush()
    faulty.flip(path="segments/streams/01/", bit=1000, persistent=True)
    with pytest.raises(errors.Corrupt, match=r"streams/01/00000001\.seg"):
        stream.values()
    assert other.values().time.tolist() == POINTS


def test_a_full_disk_refuses_writes_and_recovers(machine, faulty):
    settings = machine.settings.__class__(
        leaf_points=16, node_rows=4, flush_points=64, bulk_points=100, background=False, min_free=1 << 20
    )
    machine.settings = settings
    db = machine.restart(faulty)
    stream = db.streams.create("c", "a", uuid=S)
    insert(stream)
    faulty.set_free(1 << 10, 1 << 40)
    machine.clock.advance(2)
    with pytest.raises(errors.NoSpace):
        insert(stream, 10)
    assert stream.values().time.tolist() == POINTS
    assert db.poisoned is None
    stream.flush()
    faulty.heal()
    machine.clock.advance(2)
    assert insert(stream, 10) == 12


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_metadata_change_whose_catalog_commit_failed_is_settled_by_reopening(when):
    catalog = FaultyCatalog(MemoryCatalog())
    catalog.close = lambda: None  # type: ignore[method-assign]  # the next life uses what is inside
    files = SimulatedFiles()

    def life():
        seams = Seams("m", files, FileBlobs(files), lambda: catalog, ManualClock(), SeededRandom(5))
        return assemble(seams, SMALL)

    db = life()
    stream = db.streams.create("c", "a", uuid=S)
    insert(stream)
    catalog.fail(1, when)
    with pytest.raises(errors.Unavailable):
        stream.set_annotations({"a": "b"})
    with pytest.raises(errors.Unavailable, match="reopen"):
        stream.set_annotations({"c": "d"})
    db.close()
    files = files.kill()
    catalog.stopped = None
    db = life()
    assert db.streams.get(S).annotations == {"a": "b"}, "it was in the log, so it counts"
    assert db.streams.get(S).values().time.tolist() == POINTS
    db.close()


@pytest.mark.parametrize(("when", "oldest"), [("before", 10), ("after", 12)])
def test_versions_are_given_up_as_far_as_the_catalog_says(when, oldest):
    catalog = FaultyCatalog(MemoryCatalog())
    seams = Seams("m", SimulatedFiles(), FileBlobs(SimulatedFiles()), lambda: catalog, ManualClock(), SeededRandom(5))
    db = assemble(seams, SMALL)
    stream = db.streams.create("c", "a", uuid=S)
    insert(stream)
    stream.flush()
    insert(stream, 10)
    stream.flush()
    catalog.fail(1, when)
    with pytest.raises(errors.Unavailable):
        stream.set_oldest_version(12)
    assert stream.row().oldest_version in (0, oldest)
    if oldest == 12:
        with pytest.raises(errors.LaminaError, match="11"):
            stream.values(version=11)
    else:
        assert stream.values(version=11).time.tolist() == POINTS
    db.abandon()
