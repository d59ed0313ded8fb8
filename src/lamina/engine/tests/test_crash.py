"""What a crash between two steps leaves, and what opening makes of it. The broad search is tests/reliability."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from lamina import errors
from lamina.engine.tests.machine import Machine, copied
from lamina.settings import Settings
from lamina.testing import MODES

S = UUID(int=1)
TINY_LOG = Settings(
    leaf_points=16, node_rows=4, flush_points=64, bulk_points=100, background=False, min_free=0, log_file_bytes=1024
)


@pytest.fixture
def machine():
    machine = Machine(TINY_LOG)
    yield machine
    machine.off()


def fill(stream, n, start=0):
    return stream.insert(range(start, start + n), [float(i) for i in range(start, start + n)])


def times(stream, version=0):
    return stream.values(version=version).time.tolist()


@pytest.mark.parametrize("mode", MODES)
def test_what_was_acknowledged_survives_power_loss(machine, mode):
    stream = machine.db.streams.create("c", "a", uuid=S)
    fill(stream, 10)
    fill(stream, 150, 10)
    stream.delete(0, 5)
    db = machine.lose_power(random.Random(1), mode)
    stream = db.streams.get(S)
    assert stream.version == 13
    assert times(stream) == list(range(5, 160))
    assert times(stream, 11) == list(range(10))


def test_a_segment_whose_catalog_commit_did_not_happen_is_deleted_and_its_points_come_from_the_log(machine):
    stream = machine.db.streams.create("c", "a", uuid=S)
    fill(stream, 20)
    stream.flush()
    before = copied(machine.catalog)
    fill(stream, 20, 20)
    stream.flush()
    names = {info.name for info in machine.db.blobs.list("")}
    machine.catalog = before  # the process died between segment and commit
    machine.files = machine.files.kill()
    machine.db.abandon()
    stream = machine.boot().streams.get(S)
    assert {info.name for info in machine.db.blobs.list("")} < names
    assert times(stream) == list(range(40))


def test_every_bulk_segment_below_an_unpublished_root_is_kept(machine):
    """Two bulk inserts on one stream, of which the catalog knows neither; the log is trimmed up to the second."""
    db = machine.db
    stream = db.streams.create("c", "a", uuid=S)
    other = db.streams.create("c", "b")
    fill(stream, 150)
    for i in range(30):
        fill(other, 10, 10 * i)
    fill(stream, 150, 150)
    db._log.rotate()
    db.upkeep._trim()
    stream = machine.kill().streams.get(S)
    assert times(stream) == list(range(300))
    assert times(stream, 11) == list(range(150))


def test_metadata_that_left_the_log_are_in_a_dump(machine):
    """A lost catalog is rebuilt from dump and log: trimming must not open a gap between them."""
    db = machine.db
    for i in range(20):
        fill(db.streams.create("c", f"s{i}"), 10)
    db.snapshot("monday").close()
    db.flush()
    assert db._log.bytes_kept < 4096
    with machine.catalog.snapshot() as catalog:
        dumps = [row for row in catalog.segments() if row.kind == "meta"]
        trimmed = catalog.database().meta_applied_seq
    assert len(dumps) == 1
    assert dumps[0].max_seq >= min(trimmed, 41)


def test_a_pin_alone_is_dumped_at_a_clean_close(machine):
    machine.restart()
    machine.db.snapshot("monday").close()
    machine.restart()
    with machine.catalog.snapshot() as catalog:
        (dump,) = [row for row in catalog.segments() if row.kind == "meta"]
        assert dump.max_seq >= catalog.pin("monday").seq


def test_a_catalog_older_than_the_segments_is_refused_and_nothing_is_deleted(machine):
    db = machine.db
    stream = db.streams.create("c", "a", uuid=S)
    fill(stream, 20)
    db.flush()
    old = copied(machine.catalog)
    for i in range(20):
        fill(stream, 20, 20 * i)
        db.flush()
    names = {info.name for info in db.blobs.list("")}
    held, machine.catalog = machine.catalog, old
    machine.files, files = machine.files.kill(), machine.files
    with pytest.raises(errors.Corrupt, match="rebuild-catalog"):
        machine.boot()
    from lamina.storage.fileblobs import FileBlobs

    assert {info.name for info in FileBlobs(machine.files).list("")} == names
    machine.catalog, machine.files = held, files


def test_recovery_that_is_cut_short_is_done_again(machine):
    stream = machine.db.streams.create("c", "a", uuid=S)
    for i in range(10):
        fill(stream, 10, 10 * i)
    for seed in range(4):
        machine.lose_power(random.Random(seed))
        assert times(machine.db.streams.get(S)) == list(range(100))


@pytest.mark.parametrize("mode", MODES)
def test_in_os_mode_power_loss_takes_the_last_inserts_and_no_more(mode):
    """The catalog must not know more than the log: what it knows and the log lacks would count as damage."""
    machine = Machine(TINY_LOG.__class__(durability="os", background=False, min_free=0))
    stream = machine.db.streams.create("c", "a", uuid=S)
    fill(stream, 10)
    machine.db.snapshot("monday").close()
    fill(stream, 10, 10)
    db = machine.lose_power(random.Random(1), mode)
    assert list(db.degraded) == []
    assert times(db.streams.get(S)) in (list(range(10)), list(range(20)))
    machine.off()
