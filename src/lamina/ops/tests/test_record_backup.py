"""A backup of records is consistent while they are written, sealed, evicted and moved; payload files are copies."""

from __future__ import annotations

import itertools
import os
import random
import threading

import pytest

import lamina
from lamina.errors import AlreadyExists, NotFound
from lamina.ops import backup, doctor
from lamina.ops.copying import Copying, copy_sparse

SMALL = lamina.Settings(background=False, min_free=0, log_file_bytes=16384, log_limit=65536, durability="os")
T0 = 1_700_000_000_000_000
ROUNDS = 2


def content(entry, time_us):
    rng = random.Random(f"{entry} {time_us}")
    return rng.randbytes(rng.choice((0, 100, 3000, 70_000)))


class Load:
    """Threads that write into a ring and a kept bucket, change labels, seal and compact, until stopped."""

    def __init__(self, db):
        self.db = db
        db.buckets.create("ring", quota_type="FIFO", quota_size=1_500_000, max_block_records=8)
        db.buckets.create("kept")
        self.acknowledged = {"a": 0, "b": 0, "c": 0}  # entry -> records written so far
        self.times: dict[str, list[int]] = {name: [] for name in self.acknowledged}  # of them, and of one in flight
        self._clock = itertools.count(T0)  # one for all: a ring gives up the oldest, whoever wrote it
        self._change = threading.Condition()
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(self._write, name)) for name in self.acknowledged]
        self._threads += [threading.Thread(target=self._run, args=(self._tidy, ""))]

    def _run(self, work, name):
        try:
            n = 0
            while not self._stop.is_set():
                work(name, n)
                n += 1
        except BaseException as error:
            with self._change:
                self._failed.append(error)
                self._change.notify()

    def _write(self, name, n):
        bucket = self.db.buckets["kept" if name == "c" else "ring"]
        times = self.times[name]
        times.append(next(self._clock))
        bucket.entry(name).write(content(name, times[n]), times[n], labels={"n": n})
        with self._change:
            self.acknowledged[name] = n + 1
            self._change.notify()
        if n % 3 == 2:
            try:
                bucket.entry(name).update(times[n - 1], {"seen": True})
            except NotFound:
                assert name != "c", "nothing is evicted there"

    def _tidy(self, _, n):
        self.db.flush()
        if n % 4 == 3:
            self.db.compact()
        self._stop.wait(0.01)

    def until_each_wrote(self, n):
        with self._change:
            assert self._change.wait_for(lambda: self._failed or min(self.acknowledged.values()) >= n, 60)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failed == []


def check(place, load, before, lost):
    """What was acknowledged before the backup began is there, evicted from its beginning; all contents but those that
    are lost are right."""
    with lamina.open(place, settings=SMALL) as db:
        for bucket, name in (("ring", "a"), ("ring", "b"), ("kept", "c")):
            records = list(db.buckets[bucket].entry(name).query())
            for record in records:
                if f"{bucket}/{name} {record.time_us}" not in lost:
                    assert record.read() == content(name, record.time_us)
            found = [record.time_us for record in records]
            written = load.times[name]
            evicted = written.index(found[0]) if found else before[name]
            assert found == written[evicted : evicted + len(found)]
            assert evicted + len(found) >= before[name]
            assert evicted == 0 or bucket == "ring"


@pytest.mark.parametrize("by", ["database", "path"])
def test_backup_is_consistent_while_records_come_and_go(tmp_path, by):
    with lamina.open(tmp_path / "db", settings=SMALL) as db, Load(db) as load:
        load.until_each_wrote(60)
        for round_ in range(ROUNDS):
            before = dict(load.acknowledged)
            copy = tmp_path / f"copy-{round_}"
            backup.backup(db if by == "database" else db.path, copy)
            lost = {finding.place for finding in doctor.verify(copy)}
            # By path: what came while the backup ran, and was evicted before it ended, may have lost its content.
            late = {f"ring/{name} {time_us}" for name in "ab" for time_us in load.times[name][before[name] :]}
            assert lost <= (late if by == "path" else set())
            check(copy, load, before, lost)


def test_payload_files_are_copies_and_never_links(tmp_path):
    with lamina.open(tmp_path / "db", settings=SMALL) as db:
        db.buckets.create("kept").entry("a").write(bytes(700_000), T0)
        backup.backup(db, tmp_path / "copy")
    backup.restore(tmp_path / "copy", tmp_path / "restored")
    for name in ("copy", "restored"):
        (copied,) = (tmp_path / name).glob("segments/payload/*/*.dat")
        assert copied.stat().st_nlink == 1
        assert list(doctor.verify(tmp_path / name)) == []


def test_holes_stay_holes(tmp_path):
    (tmp_path / "new").mkdir()
    source = tmp_path / "file"
    with source.open("wb") as file:
        file.write(b"head")
        file.truncate(8 << 20)
        os.pwrite(file.fileno(), b"tail", (8 << 20) - 4)
    with Copying(tmp_path, tmp_path / "new", None) as copying:
        copying.payload("file", needed=True)
        assert copying.done < 1 << 20
    copy_sparse(source, tmp_path / "again")
    for copied in (tmp_path / "new" / "file", tmp_path / "again"):
        assert copied.read_bytes() == source.read_bytes()
        assert copied.stat().st_blocks <= source.stat().st_blocks


def test_what_was_appended_is_copied_again_and_what_was_punched_is_kept(tmp_path):
    (tmp_path / "new").mkdir()
    source, target = tmp_path / "file", tmp_path / "new" / "file"
    source.write_bytes(b"a" * 4096 + b"b" * 4096 + b"c" * 100)
    with Copying(tmp_path, tmp_path / "new", None) as copying:
        copying.payload("file", needed=True)
        with source.open("r+b") as file:
            file.write(bytes(4096))  # punched
            os.pwrite(file.fileno(), b"d" * 5000, 8192 + 100)
        os.utime(source, ns=(1, 1))
        copying.payload("file", needed=False)
    assert target.read_bytes() == b"a" * 4096 + b"b" * 4096 + b"c" * 100 + b"d" * 5000


def test_held_files_are_copied_though_they_were_deleted(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    with Copying(tmp_path, tmp_path / "new", None) as copying:
        copying.hold(["file"])
        (tmp_path / "file").unlink()
        copying.payload("file", needed=True)
        assert copying.done == 7
    assert (tmp_path / "new" / "file").read_bytes() == b"content"


def test_queues_of_replications_are_copied(tmp_path):
    with lamina.open(tmp_path / "db", settings=SMALL):
        queues = tmp_path / "db" / "queues"
        queues.mkdir(exist_ok=True)
        (queues / "3.17.q").write_bytes(b"waiting")
        backup.backup(tmp_path / "db", tmp_path / "copy")
    backup.restore(tmp_path / "copy", tmp_path / "restored")
    assert (tmp_path / "restored" / "queues" / "3.17.q").read_bytes() == b"waiting"
    with pytest.raises(AlreadyExists):
        backup.restore(tmp_path / "copy", tmp_path / "restored")
