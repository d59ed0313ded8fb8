"""Points under doctor, rebuild, backup and inspect."""

from __future__ import annotations

import random
import shutil
import threading

import pytest

import lamina
from lamina import FieldQuery, Point, TagQuery
from lamina.engine.points.tests.pointmodel import EPOCH, facts, made
from lamina.ops import backup, doctor, inspect

SMALL = lamina.Settings(
    background=False, min_free=0, log_file_bytes=4096, log_limit=16384, seal_points=20, bulk_points=40
)


def fill(db):
    """Sealed sections with deaths, bulk inserts in catalog and log, a snapshot, a measurement that is gone, a tail."""
    rng = random.Random(1)
    db.measurements.insert([made(rng) for _ in range(30)])
    db.flush()
    db.measurements.update(TagQuery().a == "x", fields={"w": 1.5})
    db.measurements.remove(FieldQuery().v == 3.0)
    db.measurements.insert([made(rng) for _ in range(100)])
    db.flush()
    db.snapshot("pin").close()
    db.measurements["motor"].update(fields={"u": "new"})
    db.measurements.insert(Point(time=EPOCH, measurement="gone", fields={"v": 1}))
    db.flush()
    db.measurements.drop("gone")
    db.flush()
    db.compact()
    db.measurements.insert([made(rng) for _ in range(50)])
    db.measurements.insert([made(rng) for _ in range(7)])
    db.measurements.remove(FieldQuery().v == 5.0)


@pytest.fixture
def path(tmp_path):
    db = lamina.open(tmp_path / "db", settings=SMALL)
    fill(db)
    yield tmp_path / "db"
    db.close()


@pytest.fixture
def crashed(path, tmp_path):
    """As a killed process leaves it."""
    place = tmp_path / "crashed"
    shutil.copytree(path, place)
    return place


def answers(place):
    with lamina.open(place, settings=SMALL) as db:
        found = {"now": facts(db.measurements.search(order="insertion"))}
        for row in db.snapshots():
            with db.open_snapshot(row.name) as snapshot:
                for name in snapshot.measurements():
                    found[row.name, name] = facts(snapshot.measurement(name).search(order="insertion"))
        return found


def segments(place):
    return sorted((place / "segments" / "points").rglob("*.seg"))


def test_a_sound_database_has_no_findings(path, crashed):
    assert list(doctor.verify(path)) == []
    assert list(doctor.verify(crashed)) == []
    before = answers(crashed)
    assert list(doctor.verify(crashed)) == []
    assert list(doctor.repair(crashed)) == ["repair done"]
    assert answers(crashed) == before


def test_every_damaged_byte_of_a_section_is_found_and_the_rest_stays_readable(crashed):
    answers(crashed)
    rng = random.Random(1)
    names = {file: file.read_bytes() for file in segments(crashed)}
    for _ in range(60):
        file = rng.choice(list(names))
        data = bytearray(names[file])
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        findings = list(doctor.verify(crashed))
        if not findings:  # padding between blocks, or a block that nothing refers to any more
            assert answers_or_none(crashed) is not None
        file.write_bytes(names[file])
    assert list(doctor.verify(crashed)) == []


def answers_or_none(place):
    try:
        return answers(place)
    except lamina.LaminaError:
        return None


def test_a_missing_segment_is_named(crashed):
    answers(crashed)
    gone = max(segments(crashed), key=lambda file: file.stat().st_size)
    gone.unlink()
    texts = [str(finding) for finding in doctor.verify(crashed)]
    assert any(gone.name in text and "missing" in text for text in texts)
    assert any("measurement" in text for text in texts)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_rebuilt_catalog_gives_the_same_answers(crashed, tmp_path, sealed):
    copy = tmp_path / "copy"
    shutil.copytree(crashed, copy)
    before = answers(copy)
    if sealed:
        crashed = copy
    for file in crashed.glob("catalog.sqlite*"):
        file.unlink()
    lines = list(doctor.rebuild_catalog(crashed))
    assert any("measurements found" in line for line in lines)
    assert not any("lost" in line or "quarantine" in line for line in lines), lines
    assert answers(crashed) == before
    assert list(doctor.verify(crashed)) == []
    with lamina.open(crashed, settings=SMALL) as db:
        highest = int(db.measurements.search().ordinals.max())
        db.measurements.insert(Point(time=EPOCH, measurement="new", fields={"v": 1}))
        (ordinal,) = db.measurements["new"].search().ordinals.tolist()
        assert ordinal > highest


def test_a_rebuild_sets_aside_what_nothing_tells_of(crashed):
    for file in crashed.glob("catalog.sqlite*"):
        file.unlink()
    for file in (crashed / "log").iterdir():
        file.unlink()
    lines = list(doctor.rebuild_catalog(crashed))
    assert any("its measurements are not known, or the op that committed it is lost" in line for line in lines)
    with lamina.open(crashed, settings=SMALL) as db:
        assert db.measurements.count() > 0
        db.compact()
        db.measurements.insert([made(random.Random(2)) for _ in range(50)])
    assert list(doctor.verify(crashed)) == []


def test_a_backup_has_what_was_acknowledged_when_it_began(tmp_path):
    with lamina.open(tmp_path / "db", settings=SMALL) as db:
        fill(db)
        stop = threading.Event()

        def load():
            rng = random.Random(3)
            while not stop.is_set():
                db.measurements.insert([made(rng) for _ in range(rng.choice((1, 5, 50)))])
                db.measurements.update(FieldQuery().v > 7, fields=lambda old: {"v": old["v"] - 1})
                db.upkeep.run_once()
                if rng.random() < 0.1:
                    db.compact()

        worker = threading.Thread(target=load)
        worker.start()
        for number, source in enumerate((db, tmp_path / "db")):
            least = db.measurements.count()
            backup.backup(source, tmp_path / f"b{number}")
            backup.restore(tmp_path / f"b{number}", tmp_path / f"r{number}")
            assert list(doctor.verify(tmp_path / f"r{number}")) == []
            with lamina.open(tmp_path / f"r{number}", settings=SMALL) as copy:
                assert copy.measurements.count() == len(copy.measurements.search()) >= least
                values = [point.fields["v"] for point in copy.measurements.search()]
                assert all(isinstance(value, float) for value in values)
        stop.set()
        worker.join(60)


def test_inspect_tells_of_points(path):
    lines = list(inspect.inspect(path))
    assert any(line.startswith("measurements: ") for line in lines)
    assert any("weather" in line and "points in" in line for line in lines)
    for file in segments(path):
        assert any("measurement" in line for line in inspect.inspect(file))
    logs = "\n".join("\n".join(inspect.inspect(file)) for file in sorted((path / "log").glob("*.log")))
    for name in ("points INSERT", "points REMOVE", "points SECTION"):
        assert name in logs
