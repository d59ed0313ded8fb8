"""Records out to folders and archives and back; what is read never says where to write, and links are refused."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

import lamina
from lamina.errors import AlreadyExists, InvalidArgument
from lamina.tables import recordimport
from lamina.tables.recordexport import export_records
from lamina.tables.recordimport import import_records

T0 = 1_700_000_000_000_000


@pytest.fixture
def db():
    with lamina.open(":memory:") as db:
        yield db


@pytest.fixture
def plant(db):
    bucket = db.buckets.create("plant", quota_type="FIFO", quota_size=50_000_000)
    cam = bucket.entry("line-1/cam")
    cam.write_many(
        lamina.NewRecord(T0 + i, b"frame %d" % i, {"n": i, "text": 'q"\n\ud7ff'}, "image/png") for i in range(1300)
    )
    cam.write(bytes(range(256)) * 4000, T0 + 5000, content_type="application/x-strange; a=b")
    bucket.entry("line-1/cam/$meta").write(b"{}", T0, labels={"key": "about"}, content_type="application/json")
    bucket.entry("empty-content").write(b"", T0, labels={"": "no name"})
    return bucket


def records(bucket):
    return {
        (name, record.time_us): (record.labels, record.content_type, record.read())
        for name in bucket.names()
        for record in bucket.entry(name).query()
    }


@pytest.mark.parametrize("name", ["folder", "a.tar", "a.tar.gz"])
def test_what_was_exported_comes_back(db, plant, tmp_path, name):
    seen = []
    count, size = export_records(plant, tmp_path / name, progress=lambda done, total: seen.append((done, total)))
    assert (count, size) == (1303, sum(len(content) for _, _, content in records(plant).values()))
    assert seen[-1][0] == size <= seen[-1][1]
    done = import_records(db, "copy", tmp_path / name)
    assert done == (1303, 0, size)
    assert records(db.buckets["copy"]) == records(plant)
    assert db.buckets["copy"].settings == plant.settings


def test_folder_holds_a_readable_file_for_each_record(plant, tmp_path):
    export_records(plant, tmp_path / "out")
    assert (tmp_path / "out" / "line-1" / "cam" / f"{T0 + 7}.png").read_bytes() == b"frame 7"
    lines = (tmp_path / "out" / "records-000001.jsonl").read_text().splitlines()
    assert len(lines) == 1000
    assert json.loads(lines[0]).keys() == {"entry", "time", "size", "content_type", "labels", "file"}
    assert json.loads((tmp_path / "out" / "bucket.json").read_text())["bucket"] == "plant"


def test_entries_ranges_and_conditions_select(db, plant, tmp_path):
    assert export_records(plant, tmp_path / "a", entries=["empty-content"]) == (1, 0)
    assert export_records(plant, tmp_path / "b", start=T0 + 10, stop=T0 + 20, when={"&n": {"$lt": 15}})[0] == 5
    with pytest.raises(lamina.LaminaError, match="not found"):
        export_records(plant, tmp_path / "c", entries=["none"])


def test_import_that_broke_off_is_repeated_without_doubles(db, plant, tmp_path):
    export_records(plant, tmp_path / "out")
    db.buckets.create("copy").entry("line-1/cam").write(b"mine", T0 + 3)
    with pytest.raises(AlreadyExists):
        import_records(db, "copy", tmp_path / "out")
    done = import_records(db, "copy", tmp_path / "out", skip_existing=True)
    assert done.records + done.skipped == 1303
    assert done.skipped > 0
    assert db.buckets["copy"].entry("line-1/cam").read(T0 + 3).read() == b"mine"
    assert len(records(db.buckets["copy"])) == 1303
    assert import_records(db, "copy", tmp_path / "out", skip_existing=True) == (0, 1303, 0)


def test_a_wrong_condition_leaves_no_folder(plant, tmp_path):
    for when in ("{&", {"&ok": {"$eqq": True}}):
        with pytest.raises(InvalidArgument):
            export_records(plant, tmp_path / "out", when=when)
    assert not (tmp_path / "out").exists()


def test_targets_that_exist_are_left_alone_and_failed_archives_do_not_appear(plant, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_bytes(b"")
    for name in ("a.tar", "folder", "folder/mine"):
        with pytest.raises(AlreadyExists):
            export_records(plant, tmp_path / name)
    with pytest.raises(InvalidArgument):
        export_records(plant, tmp_path / "b.tar", when={"$nonsense": 1})
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "folder"}


def described(entry="e", time=5, size=1, file="e/5.bin"):
    line = {"entry": entry, "time": time, "size": size, "content_type": "", "labels": {}, "file": file}
    return (json.dumps(line) + "\n").encode()


def archive(path, *members):
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    "line",
    [
        described(file="../../etc/passwd"),
        described(file="/etc/passwd"),
        described(entry="../up", file="../up/5.bin"),
        described(entry="e/../../up", file="e/../../up/5.bin"),
        described(file="e/5.bin/../../../x.bin"),
        described(file="e/5.\x00"),
        described(file="e/6.bin"),
        described(time=-5, file="e/-5.bin"),
        described(time=1 << 64, file=f"e/{1 << 64}.bin"),
        b"[]\n",
        b"{\n",
        b"\xff\xfe\n",
    ],
)
@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_names_are_never_paths(db, tmp_path, line, kind):
    if kind == "tar":
        source = archive(tmp_path / "x.tar", ("records-000001.jsonl", line), ("e/5.bin", b"1"))
    else:
        source = tmp_path / "x"
        (source / "e").mkdir(parents=True)
        (source / "bucket.json").write_text('{"format": 1, "bucket": "b", "settings": {}}')
        (source / "records-000001.jsonl").write_bytes(line)
        (source / "e" / "5.bin").write_bytes(b"1")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises((InvalidArgument, UnicodeDecodeError)) as error:
        import_records(db, "b", source)
    assert error.type is InvalidArgument
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "member",
    [
        link("e/5.bin", "/etc/passwd", tarfile.SYMTYPE),
        link("e/5.bin", "records-000001.jsonl", tarfile.LNKTYPE),
        link("e/5.bin", "", tarfile.CHRTYPE),
        link("e/5.bin", "", tarfile.FIFOTYPE),
        tarfile.TarInfo("../../outside"),
        tarfile.TarInfo("/etc/cron.d/x"),
        tarfile.TarInfo("not/described.bin"),
    ],
)
def test_links_devices_and_strangers_in_archives_are_refused(db, tmp_path, member):
    source = archive(tmp_path / "x.tar", ("records-000001.jsonl", described()), (member, b""))
    with pytest.raises(InvalidArgument):
        import_records(db, "b", source)
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar"}


@pytest.mark.parametrize("what", ["file", "folder", "part", "fifo"])
def test_links_in_folders_are_not_followed(db, tmp_path, what):
    source, secret = tmp_path / "x", tmp_path / "secret"
    secret.mkdir()
    (secret / "5.bin").write_bytes(b"1")
    (secret / "part").write_bytes(described())
    source.mkdir()
    (source / "bucket.json").write_text('{"format": 1, "bucket": "b", "settings": {}}')
    if what == "part":
        (source / "records-000001.jsonl").symlink_to(secret / "part")
    else:
        (source / "records-000001.jsonl").write_bytes(described())
    if what == "folder":
        (source / "e").symlink_to(secret)
    else:
        (source / "e").mkdir()
        if what == "file":
            (source / "e" / "5.bin").symlink_to(secret / "5.bin")
        elif what == "fifo":
            os.mkfifo(source / "e" / "5.bin")
        else:
            (source / "e" / "5.bin").write_bytes(b"1")
    with pytest.raises(InvalidArgument, match=r"link|plain"):
        import_records(db, "b", source)


def test_sizes_are_compared_and_what_lacks_is_told(db, tmp_path):
    part = ("records-000001.jsonl", described())
    with pytest.raises(InvalidArgument, match="has 2 bytes, described with 1"):
        import_records(db, "b", archive(tmp_path / "a.tar", part, ("e/5.bin", b"12")))
    with pytest.raises(InvalidArgument, match="missing"):
        import_records(db, "b", archive(tmp_path / "b.tar", part))
    (tmp_path / "c.tar").write_bytes(b"no tar")
    with pytest.raises(InvalidArgument, match="no tar archive"):
        import_records(db, "b", tmp_path / "c.tar")


def test_parts_of_any_length_are_not_read_into_memory(db, tmp_path, monkeypatch):
    monkeypatch.setattr(recordimport, "PART_BYTES", 10)
    with pytest.raises(InvalidArgument, match="at most 10 are read"):
        import_records(db, "b", archive(tmp_path / "a.tar", ("records-000001.jsonl", described())))
