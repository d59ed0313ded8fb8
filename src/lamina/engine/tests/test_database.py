"""A directory through the native API: reopening, crashes, closing. What it does while it is open is in tests/native."""

from __future__ import annotations

import os
from uuid import uuid4

import numpy as np
import pytest

import lamina
from lamina import errors

SECOND = 1_000_000_000
T0 = 1_500_000_000 * SECOND
SMALL = lamina.Settings(leaf_points=16, node_rows=4, flush_points=64, bulk_points=200, background=False)


def columns(n, start=0, step=SECOND):
    times = T0 + (start + np.arange(n)) * step
    return times, np.arange(start, start + n, dtype=float)


def test_everything_is_there_after_reopen(tmp_path):
    with lamina.open(tmp_path, settings=SMALL) as db:
        s = db.streams.create("c", "a")
        s.insert(*columns(10))
        s.insert(*columns(250, 10))
        s.delete(T0, T0 + 3 * SECOND)
        s.insert(*columns(4, 300))
        uuid = s.uuid
    with lamina.open(tmp_path, settings=SMALL) as db:
        s = db.streams.get(uuid)
        assert s.version == 14
        assert len(s.values()) == 261
        assert len(s.values(version=11)) == 10
        assert s.insert(*columns(1, 999)) == 15


def reopen_after_kill(db, tmp_path):
    """Another life without a close: what the lock held is let go, nothing else."""
    db._lock_file.release()
    db._closed = True
    return lamina.open(tmp_path, settings=SMALL)


def test_unclosed_database_recovers_from_the_log(tmp_path):
    db = lamina.open(tmp_path, settings=SMALL)
    s = db.streams.create("c", "a", annotations={"k": "v"})
    other = db.streams.create("c", "b")
    s.insert(*columns(10))
    s.insert(*columns(300, 10))
    other.insert(*columns(7))
    s.insert(*columns(5, 310))
    s.delete(T0, T0 + SECOND)
    s.insert(*columns(1, 0), policy="replace")
    db.streams.insert_many({s: columns(2, 400), other: columns(2, 7)})
    before = {v: s.values(version=v) for v in range(10, s.version + 1)}
    with reopen_after_kill(db, tmp_path) as db:
        s, other = db.streams.get(s.uuid), db.streams.get(other.uuid)
        assert s.version == 16
        for version, samples in before.items():
            assert s.values(version=version) == samples
        assert len(other.values()) == 9
        assert s.annotations == {"k": "v"}
        db.flush()
        for version, samples in before.items():
            assert s.values(version=version) == samples


def test_obliterated_stream_is_gone_at_once_and_after_reopen(tmp_path):
    with lamina.open(tmp_path, settings=SMALL) as db:
        s = db.streams.create("c", "a")
        s.insert(*columns(100))
        db.flush()
        s.insert(*columns(5, 100))
        s.obliterate()
        for call in (s.values, lambda: s.insert(*columns(1)), lambda: s.version, s.row):
            with pytest.raises(errors.StreamNotFound):
                call()
        assert not s.exists()
    with lamina.open(tmp_path, settings=SMALL) as db:
        with pytest.raises(errors.StreamNotFound):
            db.streams.get(s.uuid)
        assert list(db.streams.find()) == []


def test_a_stream_shows_its_name_as_long_as_it_has_one(tmp_path):
    with lamina.open(tmp_path) as db:
        named, plain = db.streams.create("plant/pump", "flow"), db.streams.create("plant/pump")
        assert repr(named) == f"<lamina.Stream 'plant/pump/flow' {named.uuid} version=10>"
        assert repr(plain) == f"<lamina.Stream 'plant/pump' {plain.uuid} version=10>"
        named.obliterate()
        assert repr(named) == f"<lamina.Stream {named.uuid} version=10>"
    assert repr(plain) == f"<lamina.Stream {plain.uuid} version=10>"


def test_named_snapshots_read_the_past_across_flush_and_reopen(tmp_path):
    with lamina.open(tmp_path, settings=SMALL) as db:
        s = db.streams.create("c", "a")
        s.insert(*columns(5))
        s.insert(*columns(5, 5))
        db.snapshot("monday").close()
        s.insert(*columns(5, 10))
        db.flush()
        s.insert(*columns(5, 15))
        db.flush()
        with db.open_snapshot("monday") as monday:
            assert monday.stream(s).version == 12
            assert len(monday.stream(s.uuid).values()) == 10
    with lamina.open(tmp_path, settings=SMALL) as db:
        with db.open_snapshot("monday") as monday:
            assert len(monday.stream(s.uuid).values()) == 10
        assert [pin.name for pin in db.snapshots()] == ["monday"]
        db.drop_snapshot("monday")
        with pytest.raises(errors.NotFound):
            db.open_snapshot("monday")


def test_second_opener_fails_at_once(tmp_path):
    with lamina.open(tmp_path), pytest.raises(errors.Locked, match=f"process {os.getpid()}, this one"):
        lamina.open(tmp_path)
    lamina.open(tmp_path).close()


def test_closed_database_refuses(tmp_path):
    db = lamina.open(tmp_path)
    s = db.streams.create("c", "a")
    db.close()
    db.close()
    for call in (lambda: s.insert([T0], [1.0]), s.values, lambda: db.streams.get(uuid4()), db.flush):
        with pytest.raises(errors.Closed):
            call()


def test_newer_directory_is_refused(tmp_path):
    lamina.open(tmp_path).close()
    (tmp_path / "LAMINA").write_text('{"format": 99, "id": "' + "00" * 16 + '"}\n')
    with pytest.raises(errors.UnknownFormat, match="99"):
        lamina.open(tmp_path)


def test_missing_catalog_is_refused_not_guessed(tmp_path):
    with lamina.open(tmp_path) as db:
        db.streams.create("c", "a").insert([T0], [1.0])
    for path in tmp_path.glob("catalog.sqlite*"):
        path.unlink()
    with pytest.raises(errors.Corrupt, match="rebuild-catalog"):
        lamina.open(tmp_path)


def test_open_without_create_needs_a_database(tmp_path):
    with pytest.raises(errors.NotFound):
        lamina.open(tmp_path / "nothing", create=False)


def test_forked_child_cannot_use_the_parents_database(tmp_path):
    db = lamina.open(tmp_path)
    s = db.streams.create("c", "a")
    pid = os.fork()
    if pid == 0:
        try:
            s.insert([T0], [1.0])
        except errors.Closed as error:
            os._exit(0 if str(os.getppid()) in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    s.insert([T0], [1.0])
    db.close()


def interrupted(db, monkeypatch, call):
    """Ctrl-C between the catalog's commit and the published state."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(db.publisher, "sealed", stop)
        with pytest.raises(KeyboardInterrupt):
            call()


def test_interrupt_inside_a_flush_leaves_a_usable_stream(tmp_path, monkeypatch):
    with lamina.open(tmp_path, settings=SMALL) as db:
        s = db.streams.create("c", "a")
        s.insert(*columns(10))
        s.insert(*columns(10, 10))
        interrupted(db, monkeypatch, s.flush)
        assert list(s.values().value) == list(range(20))
        s.insert(*columns(5, 20))
        s.flush()
        interrupted(db, monkeypatch, lambda: (s.delete(T0, T0 + SECOND), s.flush()))
        s.insert(*columns(300, 25))
        db.flush()
        before = [s.values(version=v) for v in range(10, s.version + 1)]
        assert list(before[-1].value) == list(range(1, 325))
    with lamina.open(tmp_path, settings=SMALL) as db:
        s = db.streams.get(s.uuid)
        assert [s.values(version=v) for v in range(10, s.version + 1)] == before


def test_strangers_files_are_not_touched(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "thesis.txt").write_text("x")
    with pytest.raises(errors.InvalidArgument, match="tmp"):
        lamina.open(tmp_path)
    assert (tmp_path / "tmp" / "thesis.txt").exists()


def test_insert_many_refuses_streams_of_another_database(tmp_path):
    with lamina.open(":memory:") as db, lamina.open(tmp_path / "other", settings=SMALL) as other:
        foreign = other.streams.create("c", "a")
        with pytest.raises(errors.InvalidArgument):
            db.streams.insert_many({foreign: columns(1)})
        with pytest.raises(errors.InvalidArgument):
            db.streams.insert_many({"a": columns(1)})
        assert foreign.version == 10


def test_catalog_is_readable_by_its_owner_only(tmp_path):
    with lamina.open(tmp_path / "db") as db:
        db.streams.create("c", "a")
        modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "db").iterdir()}
    assert not any(modes.values()), modes


def test_a_closed_subscription_leaves_nothing_behind():
    with lamina.open(":memory:") as db:
        stream = db.streams.create("c", "a")
        subscription = db.streams.subscribe([stream.uuid])
        assert len(stream.slot.subscribers) == 1
        subscription.close()
        assert stream.slot.subscribers == ()
