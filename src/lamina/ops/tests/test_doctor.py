"""Verification finds what is wrong, rebuild gives the same answers, inspection reads a directory in use."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import lamina
from lamina.ops import backup, doctor, inspect

SMALL = lamina.Settings(leaf_points=16, node_rows=4, flush_points=64, bulk_points=200, background=False)
T0 = 1_500_000_000_000_000_000


@pytest.fixture
def path(tmp_path):
    """A closed database with flushed, buffered, deleted and bulk data, and some metadata."""
    place = tmp_path / "db"
    with lamina.open(place, settings=SMALL) as db:
        for name in ("a", "b"):
            s = db.streams.create("plant", name, annotations={"k": name})
            s.insert(T0 + np.arange(100), np.arange(100.0))
            db.flush()
            s.insert(T0 + 100 + np.arange(300), np.arange(300.0))
            s.delete(T0, T0 + 10)
            s.insert([T0], [1.0])
            s.insert([T0], [2.0], policy="replace")
            db.snapshot(f"snap-{name}").close()
        db.streams.create("plant", "gone").obliterate()
    return place


def answers(place):
    with lamina.open(place, settings=SMALL) as db:
        return {
            s.uuid: (s.row(), [list(s.values(version=v)) for v in range(10, s.version + 1)]) for s in db.streams.find()
        }


def crashed_copy(place, target):
    """The directory of a database that was killed with unflushed data."""
    db = lamina.open(place, settings=SMALL)
    s = db.streams["plant", "a"]
    s.insert([T0 + 5000], [5.0])
    s.set_annotations({"late": "1"})
    db.streams.create("plant", "new").insert([T0], [9.0])
    shutil.copytree(place, target)
    db.close()
    return target


def test_sound_database_has_no_findings(path):
    assert list(doctor.verify(path)) == []


def test_verification_works_on_a_directory_in_use(path):
    with lamina.open(path, settings=SMALL) as db:
        db.streams["plant", "a"].insert([T0 + 999], [1.0])
        assert list(doctor.verify(path)) == []
        assert any("in use by pid" in line for line in inspect.inspect(path))


def test_every_damaged_segment_is_named(path):
    for place in sorted((path / "segments" / "streams").rglob("*.seg")):
        data = bytearray(place.read_bytes())
        data[len(data) // 2] ^= 1
        place.write_bytes(data)
    found = list(doctor.verify(path))
    assert found
    assert all("expected" in str(finding) for finding in found)


def test_missing_segment_is_named(path):
    place = next((path / "segments" / "streams").rglob("*.seg"))
    place.unlink()
    assert any(place.name in finding.place and "missing" in finding.text for finding in doctor.verify(path))


def test_rebuilt_catalog_gives_the_same_answers(path, tmp_path):
    place = crashed_copy(path, tmp_path / "crashed")
    reference = answers(shutil.copytree(place, tmp_path / "reference"))
    for catalog in place.glob("catalog.sqlite*"):
        catalog.unlink()
    assert any("rebuild-catalog" in finding.text for finding in doctor.verify(place))
    list(doctor.rebuild_catalog(place))
    assert answers(place) == reference
    assert list(doctor.verify(place)) == []
    with lamina.open(place, settings=SMALL) as db:
        assert len(list(db.snapshots())) == 2
        fresh = db.streams.create("plant", "afterwards")
        fresh.insert([T0], [1.0])
        assert {s.id for s in db.streams.find()} >= {fresh.id}


def test_rebuild_refuses_a_database_in_use(path):
    with lamina.open(path), pytest.raises(lamina.LaminaError, match="is held by process"):
        list(doctor.rebuild_catalog(path))


def test_backup_of_a_database_in_use_opens_and_restores(path, tmp_path):
    with lamina.open(path, settings=SMALL) as db:
        s = db.streams["plant", "a"]
        s.insert(T0 + 10_000 + np.arange(500), np.zeros(500))
        s.insert([T0 + 20_000], [7.0])
        backup.backup(db, tmp_path / "copy")
        expected = list(s.values())
        s.insert([T0 + 30_000], [8.0])
    backup.restore(tmp_path / "copy", tmp_path / "restored")
    for place in (tmp_path / "copy", tmp_path / "restored"):
        assert list(doctor.verify(place)) == []
        with lamina.open(place, settings=SMALL) as db:
            assert list(db.streams["plant", "a"].values()) == expected
    with pytest.raises(lamina.LaminaError, match="not empty"):
        backup.backup(path, tmp_path / "copy")


def test_inspect_reads_every_file_kind(path):
    lines = list(inspect.inspect(path))
    assert any("streams: 2" in line for line in lines)
    for place in [*path.rglob("*.seg"), *path.rglob("*.log")]:
        assert list(inspect.inspect(place))


def test_repair_sets_unknown_segments_aside_and_keeps_the_rest(path):
    reference = answers(path)
    damaged = path / "log" / "0000000000000000.log.damaged-1"
    damaged.write_bytes(b"x")
    assert any("damaged-1" in finding.place for finding in doctor.verify(path))
    assert "repair done" in list(doctor.repair(path))
    assert (path / "quarantine" / damaged.name).exists()
    assert list(doctor.verify(path)) == []
    assert answers(path) == reference


def test_folder_that_never_was_a_database_is_not_found(tmp_path):
    with pytest.raises(lamina.LaminaError, match="not a database"):
        list(doctor.verify(tmp_path))
