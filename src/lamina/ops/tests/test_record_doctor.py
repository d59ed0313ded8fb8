"""Verification names damaged records, and a rebuilt catalog gives the same answers for everything that was sealed."""

from __future__ import annotations

import re
import shutil

import pytest

import lamina
from lamina.engine.records.compact import compact
from lamina.engine.records.seal import RecordSealer
from lamina.ops import doctor, inspect
from lamina.storage.payloadfile import payload_path

SMALL = lamina.Settings(background=False, min_free=0, log_file_bytes=4096, log_limit=16384)
T0 = 1_700_000_000_000_000


def content(i, size=40):
    return bytes((i * 7 + k) % 251 for k in range(min(size, 251))) * (size // min(size, 251) + 1)


def fill(db):
    """Sealed sections with deaths and new labels, an attachment, a long content, an eviction, a removed entry."""
    plant = db.buckets.create("plant")
    cam = plant.entry("line/cam")
    cam.write_many(
        [lamina.NewRecord(T0 + i, content(i)[:40], {"n": i, "half": i % 2}, "text/plain") for i in range(30)]
    )
    cam.write(content(99, 200_000)[:200_000], T0 + 100, labels={"long": 1})
    db.flush()
    cam.update(T0 + 3, {"n": "three", "half": None})
    cam.remove(T0 + 4)
    plant.entry("line/cam/$meta").write(b"{}", T0, labels={"key": "about"})
    db.flush()
    cam.update(T0 + 3, {"again": 1})
    cam.write_many([lamina.NewRecord(T0 + i, content(i)[:40]) for i in range(40, 50)])
    plant.entry("gone").write(b"x", T0)
    db.flush()
    plant.remove_entry("gone")
    ring = db.buckets.create("ring", quota_type="FIFO", quota_size=40_000, max_block_records=8)
    for first in range(0, 60, 20):
        fill_ring(ring, "a", T0 + first, 20)
        db.flush()
    ring.entry("b").write(b"alone", T0 + 1000)
    db.flush()


def fill_ring(ring, name, first, n):
    """In portions: what is to be evicted must be there before."""
    for start in range(first, first + n, 5):
        many = [lamina.NewRecord(start + i, content(start + i, 1500)[:1500]) for i in range(5)]
        assert ring.entry(name).write_many(many) == [None] * 5


@pytest.fixture
def path(tmp_path):
    with lamina.open(tmp_path / "db", settings=SMALL) as db:
        fill(db)
    return tmp_path / "db"


def answers(place):
    with lamina.open(place, settings=SMALL) as db:
        return {
            (bucket.name, name): [
                (record.time_us, record.labels, record.content_type, record.read())
                for record in bucket.entry(name).query()
            ]
            for bucket in db.buckets
            for name in bucket.names()
        } | {bucket.name: (bucket.settings, bucket.info().size) for bucket in db.buckets}


def lose_catalog(place):
    for catalog in place.glob("catalog.sqlite*"):
        catalog.unlink()


def files(place, pattern):
    return sorted((place / "segments").glob(pattern))


def test_sound_records_have_no_findings(path):
    assert list(doctor.verify(path)) == []


def test_verification_of_records_works_on_a_directory_in_use(path):
    with lamina.open(path, settings=SMALL) as db:
        cam = db.buckets["plant"].entry("line/cam")
        cam.write(content(5, 100_000)[:100_000], T0 + 500)  # its place is known to the log alone
        fill_ring(db.buckets["ring"], "a", T0 + 60, 40)  # evicts what is sealed
        db.upkeep.run_once()  # punches and deletes what the log alone says is evicted
        assert list(doctor.verify(path)) == []


@pytest.mark.parametrize("pattern", ["records/*/*.seg", "payload/*/*.dat"])
def test_any_damage_of_records_is_named(path, pattern):
    """Bits all over every file are flipped in turn; what is not found must be of no consequence."""
    reference = answers(path)
    for place in files(path, pattern):
        sound = place.read_bytes()
        for at in range(0, len(sound), max(len(sound) // 12, 1)):
            data = bytearray(sound)
            data[at] ^= 1
            place.write_bytes(data)
            if not list(doctor.verify(path)):
                assert answers(path) == reference
        place.write_bytes(sound)
    assert list(doctor.verify(path)) == []


def test_damaged_content_is_named_by_bucket_entry_and_time(path):
    damaged = {}
    with lamina.open(path, settings=SMALL) as db:
        for time_us in (T0 + 7, T0 + 100):
            record = db.buckets["plant"].entry("line/cam").read(time_us)
            damaged[time_us] = record._place
    for file, where, *_ in damaged.values():
        place = path / payload_path(file)
        data = bytearray(place.read_bytes())
        data[where + 10] ^= 4
        place.write_bytes(data)
    found = {finding.place: finding.text for finding in doctor.verify(path)}
    assert found.keys() == {f"plant/line/cam {time_us}" for time_us in damaged}
    assert all("expected" in text and "payload" in text for text in found.values())


def test_missing_payload_file_is_named_with_what_needed_it(path):
    place = files(path, "payload/*/*.dat")[0]
    place.unlink()
    found = list(doctor.verify(path))
    assert any(place.name in finding.place and finding.text == "is missing" for finding in found)
    assert any(re.match(r"(plant|ring)/\S+ \d+$", finding.place) for finding in found)


def test_rebuilt_catalog_gives_the_same_records(path, tmp_path):
    db = lamina.open(path, settings=SMALL)
    cam = db.buckets["plant"].entry("line/cam")
    cam.write(content(1, 90_000)[:90_000], T0 + 700)
    cam.update(T0 + 9, {"late": 1})
    cam.remove(T0 + 10)
    db.buckets.create("new").entry("fresh").write(b"1", T0)
    crashed = shutil.copytree(path, tmp_path / "crashed")
    db.close()
    reference = answers(shutil.copytree(crashed, tmp_path / "reference"))
    lose_catalog(crashed)
    assert any("rebuild-catalog" in finding.text for finding in doctor.verify(crashed))
    list(doctor.rebuild_catalog(crashed))
    assert answers(crashed) == reference
    assert list(doctor.verify(crashed)) == []
    with lamina.open(crashed, settings=SMALL) as db:
        ids = {slot.id for slot in db.records.slots.values()}
        fresh = db.buckets["plant"].entry("afterwards")
        fresh.write(b"", T0)
        assert fresh.id not in ids


def test_rebuild_needs_no_log_for_what_is_sealed_nor_brings_back_what_went(path):
    """Removed and evicted records stay gone though neither a row nor the log tells of them any more."""
    with lamina.open(path, settings=SMALL) as db:
        for bucket in db.buckets:
            compact(db.records, RecordSealer(db.records), bucket)
        ring = db.buckets["ring"]
        ring.entry("a").remove_range(None, T0 + 1000)
        assert db.buckets["plant"].entry("line/cam").remove_range(T0 + 20, T0 + 60) == 20
        fill_ring(ring, "b", T0 + 2000, 60)
        db.compact()
        db.flush()
        db.compact()
        db.upkeep.dump_metadata()
    reference = answers(path)
    lose_catalog(path)
    for place in (path / "log").iterdir():
        place.unlink()
    list(doctor.rebuild_catalog(path))
    assert answers(path) == reference
    assert list(doctor.verify(path)) == []


@pytest.mark.parametrize("whole", [True, False])
def test_what_only_a_named_snapshot_sees_survives_a_rebuild(tmp_path, whole):
    """Evicted records, told of by no directory but those that were written when they went."""
    path = tmp_path / "db"

    def then(db):
        with db.open_snapshot("then") as snapshot:
            view = snapshot.bucket("ring").entry("a")
            return [(record.time_us, record.read()) for record in view.query()]

    with lamina.open(path, settings=SMALL) as db:
        ring = db.buckets.create("ring", {"max_block_records": 4})
        fill_ring(ring, "a", T0, 20)
        db.flush()
        fill_ring(ring, "a", T0 + 100, 20)
        db.flush()
        db.snapshot("then").close()
        reference = then(db)
        assert len(reference) == 40
        ring.update({"quota_type": "FIFO", "quota_size": 20_000 if whole else 40_000})
        db.flush()  # the catalog knows what died
        for i in range(3):  # newer directories, and the segment of the first is not the newest any more
            fill_ring(ring, "a", T0 + 200 + 10 * i, 5)
            db.flush()
            db.compact()
        now = [record.time_us for record in ring.entry("a").query()]
        assert then(db) == reference
        db.upkeep.dump_metadata()
    lose_catalog(path)
    for place in (path / "log").iterdir():
        place.unlink()
    assert all("lost" not in line for line in doctor.rebuild_catalog(path))
    with lamina.open(path, settings=SMALL) as db:
        assert then(db) == reference
        assert [record.time_us for record in db.buckets["ring"].entry("a").query()] == now
        db.compact()
        assert then(db) == reference
        db.drop_snapshot("then")
        db.compact()  # what it kept goes, though a directory tells of it
        db.upkeep.dump_metadata()
    lose_catalog(path)
    for place in (path / "log").iterdir():
        place.unlink()
    assert all("lost" not in line for line in doctor.rebuild_catalog(path))
    with lamina.open(path, settings=SMALL) as db:
        assert [record.time_us for record in db.buckets["ring"].entry("a").query()] == now
    assert list(doctor.verify(path)) == []


def test_segments_stay_while_deaths_of_other_sections_or_the_newest_directory_lie_in_them(tmp_path):
    path = tmp_path / "db"
    with lamina.open(path, settings=SMALL) as db:
        entry = db.buckets.create("b").entry("e")
        entry.write_many([lamina.NewRecord(T0 + i, bytes(3000), {"n": i}) for i in range(20)])  # too much to be moved
        db.flush()
        entry.update(T0 + 1, {"n": "new"})  # its row dies in the first section, and a second one is born
        db.flush()
        entry.remove(T0 + 1)  # the second section is empty; deaths of the first lie in its segment
        db.flush()
        db.compact()
        assert list(doctor.verify(path)) == []
        before = len(files(path, "records/*/*.seg"))
        for i in range(3):
            entry.update(T0 + 2, {"n": f"again {i}"})
            db.flush()
            db.compact()
        assert list(doctor.verify(path)) == []
        assert len(files(path, "records/*/*.seg")) <= before + 3  # what is not needed any more goes
    reference = answers(path)
    lose_catalog(path)
    list(doctor.rebuild_catalog(path))
    assert answers(path) == reference
    assert list(doctor.verify(path)) == []


def test_rebuild_tells_of_missing_contents_and_keeps_what_nothing_tells_of(path):
    lose_catalog(path)
    gone = files(path, "payload/*/*.dat")[-1]  # the ring's
    gone.unlink()
    first = files(path, "records/*/*.seg")[0]
    first.unlink()
    before = {place.name for place in files(path, "payload/*/*.dat")}
    lines = list(doctor.rebuild_catalog(path))
    assert any(f"{first.name}, which is lost" in line for line in lines)
    assert any(f"{gone.name}, which is lost" in line for line in lines)
    with lamina.open(path, settings=SMALL) as db:
        assert set(db.buckets["ring"].names()) == {"a", "b"}
    kept = {place.name for place in [*files(path, "payload/*/*.dat"), *(path / "quarantine").glob("*.dat")]}
    assert kept >= before


def test_rebuild_sets_contents_aside_that_no_segment_tells_of(path):
    lose_catalog(path)
    for place in files(path, "records/*/*.seg"):
        place.unlink()
    before = {place.name for place in files(path, "payload/*/*.dat")}
    lines = list(doctor.rebuild_catalog(path))
    assert any("no index segment tells what is in it" in line for line in lines)
    with lamina.open(path, settings=SMALL) as db:
        assert db.buckets["plant"].entry("line/cam").info().record_count == 0
    assert {place.name for place in (path / "quarantine").glob("*.dat")} == before


def test_rebuild_sets_aside_what_belongs_to_entries_that_nothing_names(path):
    """The log was lost, and with it the only word of a new bucket."""
    with lamina.open(path, settings=SMALL) as db:
        db.upkeep.dump_metadata()
        old = {place.name for place in files(path, "*/*/*.*")}
        db.buckets.create("new").entry("e").write(content(1, 100_000)[:100_000], T0)
        db.flush()
        new = {place.name for place in files(path, "*/*/*.*")} - old
        crashed = shutil.copytree(path, path.parent / "crashed")
    lose_catalog(crashed)
    for place in (crashed / "log").iterdir():
        place.unlink()
    lines = list(doctor.rebuild_catalog(crashed))
    assert any("its entries are not known" in line for line in lines)
    with lamina.open(crashed, settings=SMALL) as db:
        assert db.buckets.find("new") is None
        db.compact()
        assert len(list(db.buckets["plant"].entry("line/cam").query())) == 40
    kept = {place.name for place in [*files(crashed, "*/*/*.*"), *(crashed / "quarantine").iterdir()]}
    assert kept >= new
    assert {name.rpartition(".")[2] for name in new} == {"seg", "dat"}


def test_opening_deletes_unknown_payload_files_but_not_after_damage(path):
    db = lamina.open(path, settings=SMALL)
    cam = db.buckets["plant"].entry("line/cam")
    cam.write(content(2, 80_000)[:80_000], T0 + 800)
    cam.write(b"in the log", T0 + 801)
    cam.write(b"acknowledges what is before it", T0 + 802)
    unknown = path / payload_path(50)
    crashed = shutil.copytree(path, path.parent / "crashed")
    db.close()
    unknown = crashed / payload_path(50)
    unknown.parent.mkdir(exist_ok=True)
    shutil.copy(files(crashed, "payload/*/*.dat")[0], unknown)
    damaged = shutil.copytree(crashed, path.parent / "damaged")
    with lamina.open(crashed, settings=SMALL) as db:
        assert not unknown.exists()
        assert len(db.buckets["plant"].entry("line/cam").read(T0 + 800).read()) == 80_000
    log = max(damaged.glob("log/*.log"))
    data = bytearray(log.read_bytes())
    at = data.rindex(b"in the log")
    data[at] ^= 1
    log.write_bytes(data)
    with lamina.open(damaged, settings=SMALL) as db:
        assert db.degraded
    assert (damaged / payload_path(50)).exists()
    list(doctor.repair(damaged))
    assert not (damaged / payload_path(50)).exists()
    assert (damaged / "quarantine" / unknown.name).exists()


def test_inspect_shows_buckets_entries_and_every_file_of_records(path):
    shown = "\n".join(inspect.inspect(path))
    assert "buckets: 2" in shown
    assert re.search(r"^  ring: 2 entries, quota FIFO 40,000 bytes$", shown, re.M)
    assert re.search(r"^    line/cam  40 records, 201,\d\d\d bytes in \d sections, 2023-11-14", shown, re.M)
    assert re.search(r"^payload files: \d+, [\d,]+ bytes when they were sealed, [\d,]+ of them alive$", shown, re.M)
    assert any("line/cam" in "".join(inspect.inspect(place)) for place in files(path, "payload/*/*.dat"))
    for place in files(path, "records/*/*.seg"):
        assert any("sections from then on" in line for line in inspect.inspect(place))
    for place in (path / "log").iterdir():
        assert list(inspect.inspect(place))
