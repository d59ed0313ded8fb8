"""Bounds that upkeep keeps: tails, log, disk, versions."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import lamina
from lamina import errors
from lamina.catalog.memory import MemoryCatalog
from lamina.engine.clockguard import ClockGuard
from lamina.engine.open import Seams, assemble
from lamina.engine.retention import apply_rules
from lamina.storage.fileblobs import FileBlobs
from lamina.storage.memory import MemoryFiles
from lamina.testing import FaultyFiles, ManualClock, SeededRandom

T0 = 1_500_000_000_000_000_000
SMALL = lamina.Settings(leaf_points=16, node_rows=4, flush_points=64, bulk_points=400, min_free=0, background=False)


@pytest.fixture
def db(tmp_path):
    with lamina.open(tmp_path / "db", settings=SMALL) as database:
        yield database


def fill(stream, batches, points=100):
    for i in range(batches):
        stream.insert(T0 + (i * points + np.arange(points)) * 10**6, np.arange(points) + float(i))


def test_streams_past_the_threshold_are_flushed_and_no_others(db):
    large, small = db.streams.create("c", "large"), db.streams.create("c", "small")
    fill(large, 1)
    fill(small, 1, 10)
    db.upkeep.run_once()
    assert large.slot.state.points == 0
    assert small.slot.state.points == 10
    assert (large.count(), small.count()) == (100, 10)


def test_only_an_insert_that_is_large_itself_goes_past_the_log(tmp_path):
    """What is gathered is upkeep's: a writer of many batches does not wait for their segments."""
    with lamina.open(tmp_path, settings=SMALL) as db:
        stream = db.streams.create("c", "x")
        for n in (399, 399):
            fill(stream, 1, n)
        assert (stream.slot.state.points, db.sealer.bytes_written) == (798, 0)
        fill(stream, 1, 400)
        assert (stream.slot.state.points, stream.count()) == (0, 1198)


def test_largest_tails_are_flushed_when_all_together_exceed_the_bound(tmp_path):
    settings = SMALL._replace(flush_points=10**6, bulk_points=10**7, tails_limit=40_000)
    with lamina.open(tmp_path, settings=settings) as db:
        streams = [db.streams.create("c", str(i)) for i in range(4)]
        for i, stream in enumerate(streams):
            fill(stream, 1, 200 * (i + 1))
        fill(streams[0], 1, 700)
        db.upkeep.run_once()
        assert db.publisher.tail_bytes <= 40_000
        assert streams[0].slot.state.points == 0
        assert streams[1].slot.state.points == 400


def test_log_past_its_limit_is_freed_and_small_tails_survive_in_it(tmp_path):
    settings = SMALL._replace(flush_points=10**6, bulk_points=10**7, log_limit=300_000, log_file_bytes=50_000)
    with lamina.open(tmp_path, settings=settings) as db:
        idle, busy = db.streams.create("c", "idle"), db.streams.create("c", "busy")
        fill(idle, 3, 5)
        idle.delete(T0, T0 + 1)
        idle.insert([T0], [-1.0], policy="replace")
        for _ in range(3):
            fill(busy, 20)
            fill(busy, 40, 100)
            db.upkeep.run_once()
        assert db.stats()["log_bytes"] <= 200_000
        assert idle.slot.state.stages, "a small tail is copied, not flushed"
        expected = [list(idle.values(version=v)) for v in range(10, idle.version + 1)]
        db._lock_file.release()
        db._closed = True
    with lamina.open(tmp_path, settings=settings) as db:
        idle = db.streams.get(idle.uuid)
        assert [list(idle.values(version=v)) for v in range(10, idle.version + 1)] == expected
        assert db.streams.get(busy.uuid).count() == 18_000
        assert not db.degraded
        assert not db.version_gaps


def test_pruned_versions_are_gone_and_compaction_gives_space_back(db):
    stream, other = db.streams.create("c", "a"), db.streams.create("c", "b")
    fill(other, 2)
    for i in range(30):
        stream.insert(T0 + np.arange(300) * 10**6, np.arange(300) * float(i), policy="replace")
        db.flush()
    kept = {v: stream.values(version=v) for v in (stream.version - 2, stream.version)}
    before = other.values()
    assert db.compact() == 0, "everything is kept by default"
    stream.set_oldest_version(stream.version - 2)
    with stream.at() as view:
        assert db.compact() > 0
        assert len(view.values()) == 300
    for version, samples in kept.items():
        assert stream.values(version=version) == samples
    with pytest.raises(errors.VersionNotAvailable):
        stream.values(version=stream.version - 3)
    assert other.values() == before
    db.upkeep.delete_retired()
    files = {blob.name for blob in db.blobs.list("")}
    with db.catalog.snapshot() as catalog:
        assert files == {row.name for row in catalog.segments()}


def test_segments_are_kept_while_an_older_reader_needs_them(db):
    stream = db.streams.create("c", "a")
    for i in range(30):
        stream.insert(T0 + np.arange(300) * 10**6, np.arange(300) * float(i), policy="replace")
        db.flush()
    with stream.at() as view:
        files = {blob.name for blob in db.blobs.list("")}
        stream.set_oldest_version(stream.version)
        assert db.compact() != 0
        assert files <= {blob.name for blob in db.blobs.list("")}
        assert len(view.values()) == 300
    db.upkeep.delete_retired()
    assert not files <= {blob.name for blob in db.blobs.list("")}


def test_space_of_obliterated_streams_comes_back(db):
    stream, other = db.streams.create("c", "a"), db.streams.create("c", "b")
    fill(stream, 50)
    fill(other, 1, 10)
    db.flush()
    stream.obliterate()
    assert db.compact() > 0
    assert other.count() == 10
    with db.catalog.snapshot() as catalog:
        assert sum(row.bytes for row in catalog.segments()) < 10_000


def test_retention_by_versions_spares_what_a_named_snapshot_needs(db):
    stream, free = db.streams.create("c", "a"), db.streams.create("c", "b")
    fill(stream, 5)
    fill(free, 5)
    db.snapshot("kept").close()
    fill(stream, 5)
    fill(free, 5)
    db.set_retention({"versions": 2})
    free.set_retention({"versions": 100})
    assert apply_rules(db, trust_clock=False) == 1
    assert stream.oldest_version == 15
    assert free.oldest_version == 0
    db.drop_snapshot("kept")
    apply_rules(db, trust_clock=True)
    assert stream.oldest_version == 19
    with pytest.raises(errors.InvalidArgument):
        stream.set_retention({"weeks": 2})


def simulated(settings, files, clock=None):
    return assemble(
        Seams("sim", files, FileBlobs(files), MemoryCatalog, clock or ManualClock(10**15), SeededRandom(1)), settings
    )


def test_retention_by_age_waits_while_the_clock_has_jumped():
    clock = ManualClock(10**15)
    db = simulated(SMALL, MemoryFiles(), clock)
    stream = db.streams.create("c", "a")
    for _ in range(3):
        fill(stream, 1)
        db.flush()
        clock.advance(3600)
    stream.set_retention({"seconds": 4000})
    guard = ClockGuard(clock, clock.wall_us())
    clock.advance(60)
    assert guard.trusted()
    clock.jump_wall(10 * 365 * 24 * 3600)
    assert apply_rules(db, guard.trusted()) == 0, "a wall clock ten years ahead is not believed"
    assert stream.oldest_version == 0
    clock.advance(599)
    assert not guard.trusted()
    clock.advance(1)
    assert apply_rules(db, guard.trusted()) == 1, "after ten stable minutes it is"
    assert stream.oldest_version == stream.version
    db.close()


def test_clock_a_day_past_the_last_one_persisted_is_not_believed_at_first():
    clock = ManualClock(10**15)
    guard = ClockGuard(clock, 10**15 - 25 * 3600 * 10**6)
    assert not guard.trusted()
    clock.advance(600)
    assert guard.trusted()
    assert ClockGuard(clock, clock.wall_us() - 10**6).trusted()


def test_full_disk_refuses_writes_keeps_reads_and_recovers(caplog):
    files = FaultyFiles(MemoryFiles())
    db = simulated(SMALL, files)
    stream = db.streams.create("c", "a")
    fill(stream, 1)
    files.fail("write", error=errno.ENOSPC, persistent=True, path="tmp/")
    db.upkeep.run_once()
    assert db.upkeep.full
    assert db.stats()["disk_full"] == 1
    with pytest.raises(errors.NoSpace):
        fill(stream, 1)
    assert stream.count() == 100
    files.heal()
    db.upkeep.run_once()
    fill(stream, 1)
    assert stream.count() == 200
    assert db.stats()["disk_full"] == 0
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the disk is full", "the disk has room again"
    ]  # fmt: skip
    db.close()


@pytest.mark.parametrize(("min_free", "free", "full"), [(-1, 19, 1), (-1, 20, 0), (100, 99, 1), (0, 0, 0)])
def test_a_disk_with_less_than_its_reserve_counts_as_full(min_free, free, full):
    files = FaultyFiles(MemoryFiles())
    db = simulated(SMALL._replace(min_free=min_free), files)
    files.set_free(free, 1000)  # 2 % are 20
    stats = db.stats()
    assert (stats["disk_free_bytes"], stats["disk_full"]) == (free, full)
    db.close()


def test_what_goes_past_the_log_is_refused_as_everything_else_where_the_disk_ends():
    files = FaultyFiles(MemoryFiles())
    db = simulated(SMALL._replace(bulk_points=200), files)
    stream, entry = db.streams.create("c", "a"), db.buckets.create("b").entry("e")
    measurement = db.measurements["m"]
    measurement.insert({"time": [0], "x": [0.0]})
    entry.write(b"x", 1)

    def write_all():
        yield lambda: fill(stream, 1, 300)
        yield lambda: measurement.insert({"time": np.arange(300), "x": np.arange(300.0)})
        yield lambda: entry.write(bytes(100_000), 2)

    for path in ("tmp/", "segments/payload"):
        files.fail("write", error=errno.ENOSPC, persistent=True, path=path)
    for write in write_all():
        with pytest.raises(errors.NoSpace, match="the disk is full"):
            write()
    assert db.poisoned is None
    assert (stream.count(), measurement.count(), entry.info().record_count) == (0, 1, 1)
    files.heal()
    for write in write_all():
        write()
    assert (stream.count(), measurement.count(), entry.info().record_count) == (300, 301, 2)
    db.close()


def test_what_frees_space_goes_on_where_the_disk_is_full():
    files = FaultyFiles(MemoryFiles())
    db = simulated(SMALL, files)
    stream = db.streams.create("c", "a")
    for i in range(30):
        stream.insert(T0 + np.arange(300) * 10**6, np.arange(300) * float(i), policy="replace")
        db.flush()
    db.snapshot("kept").close()
    fill(stream, 1)
    files.fail("write", error=errno.ENOSPC, persistent=True, path="tmp/")
    db.upkeep.run_once()
    assert db.upkeep.full
    db.drop_snapshot("kept")
    stream.set_oldest_version(stream.version - 1)
    assert stream.oldest_version == stream.version - 1
    with pytest.raises(errors.NoSpace, match="writes what stays"):
        db.compact()
    files.heal()
    assert db.compact() > 0
    assert not db.upkeep.full
    fill(stream, 1)
    db.close()


def test_a_disk_that_fills_during_compaction_does_not_stop_writing():
    files, clock = FaultyFiles(MemoryFiles()), ManualClock(10**15)
    db = simulated(SMALL, files, clock)
    gone, stays = db.streams.create("c", "gone"), db.streams.create("c", "stays")
    fill(gone, 50)
    fill(stays, 1, 10)
    db.flush()
    gone.obliterate()

    def upkeep():
        clock.advance(601)
        db.upkeep.run_once()
        db._compactor.join()

    files.fail("write", error=errno.ENOSPC, persistent=True, path="tmp/")
    upkeep()
    assert db.poisoned is None
    files.heal()
    upkeep()
    with db.catalog.snapshot() as catalog:
        assert sum(row.bytes for row in catalog.segments()) < 10_000
    assert stays.count() == 10
    db.close()


def test_why_upkeep_stopped_writing_is_in_the_log(monkeypatch, caplog):
    def found_damage():
        raise errors.Corrupt("segments/7: offset 9: damaged")

    db = simulated(SMALL, MemoryFiles())
    stream = db.streams.create("c", "a")
    monkeypatch.setattr(db.upkeep, "run_once", found_damage)
    db.upkeep._publisher.wake.set()
    db.upkeep._loop()
    assert "segments/7: offset 9: damaged" in caplog.text
    with pytest.raises(errors.Unavailable):
        fill(stream, 1)
    db.close()


def test_failed_flush_stops_writing_and_loses_nothing():
    files = FaultyFiles(MemoryFiles())
    db = simulated(SMALL._replace(background=True), files)
    stream = db.streams.create("c", "a")
    fill(stream, 1, 50)
    files.fail("sync")
    with pytest.raises(errors.Unavailable):
        fill(stream, 1, 50)
    assert db.poisoned is not None
    assert stream.count() == 50
    with pytest.raises(errors.Unavailable):
        fill(stream, 1, 50)
    db.close()


def test_clean_close_leaves_no_log_to_read(tmp_path):
    with lamina.open(tmp_path, settings=SMALL) as db:
        stream = db.streams.create("c", "a")
        for i in range(12):
            fill(stream, 1, 390)
            stream.insert(np.arange(i * 10_000, i * 10_000 + 390), np.zeros(390))
        for _ in range(500):
            stream.insert(T0 + np.arange(390), np.zeros(390))
        assert db.stats()["log_bytes"] > 1 << 20
        count, version = stream.count(), stream.version
    assert sum(path.stat().st_size for path in (tmp_path / "log").iterdir()) < 1000
    with lamina.open(tmp_path, settings=SMALL) as db:
        stream = db.streams.get(stream.uuid)
        assert (stream.count(), stream.version) == (count, version)
        assert not db.degraded
        assert stream.insert([T0], [1.0]) == version + 1
