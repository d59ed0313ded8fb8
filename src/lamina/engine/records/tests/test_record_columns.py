"""Records as columns are the records one by one."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import lamina
from lamina import errors
from lamina.engine.records import ranges, selection
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.compact import compress
from lamina.records.row import FOREVER
from lamina.storage.payloadfile import payload_path

SIZES = (0, 1, 300, 20_000, 65_536, 65_537, 140_000)


def content(i: int) -> bytes:
    size = SIZES[i % len(SIZES)]
    return np.random.default_rng(i).bytes(size) if i % 3 else bytes(size)


def fill(entry, times, label="n"):
    entry.write_many(
        [NewRecord(t, content(t), {label: t % 5, **({"odd": "yes"} if t % 2 else {})}, f"type/{t % 2}") for t in times]
    )


def by_one(records):
    return [(r.entry, r.time_us, r.size, r.content_type, r.labels, r.read()) for r in records]


def by_columns(batches):
    found = []
    for batch in batches:
        assert {column.codes.dtype for column in batch.labels.values()} <= {np.dtype(np.int32)}  # whatever is kept
        for i in range(len(batch)):
            labels = tuple(
                (name, column.values[column.codes[i]])
                for name, column in sorted(batch.labels.items())
                if column.codes[i] >= 0
            )
            found.append(
                (
                    batch.entry.values[batch.entry.codes[i]],
                    int(batch.time[i]),
                    int(batch.size[i]),
                    batch.content_type.values[batch.content_type.codes[i]],
                    labels,
                    bytes(batch.content(i)),
                )
            )
    return found


@pytest.fixture
def worn(machine, bucket):
    """Two entries in sections that overlap, in payload files and in the log; compressed, updated, removed."""
    one, two = bucket.entry("one"), bucket.entry("two")
    fill(one, range(0, 60, 2))
    fill(two, range(5, 40, 3), "m")
    machine.db.flush()
    fill(one, range(1, 60, 3), "late")
    one.update(4, {"n": None, "new": "label"})
    one.remove(8)
    machine.db.flush()
    compress(machine.db.buckets.get("b").store, one.slot, 10, 20)
    fill(one, range(60, 90))
    fill(two, range(60, 70))
    return bucket


@pytest.mark.parametrize("batch_bytes", [1, 30_000, 1 << 20, 1 << 30])
@pytest.mark.parametrize(("rows", "least"), [(7, 1), (16_384, 1), (16_384, 32_768)])
def test_columns_are_the_records(worn, monkeypatch, batch_bytes, rows, least):
    monkeypatch.setattr(selection, "READ_ROWS", rows)
    monkeypatch.setattr(ranges, "LEAST", least)
    for entries in (["one"], ["two"], None):
        expected = by_one(worn.query(entries))
        batches = list(worn.query(entries).batches(batch_bytes=batch_bytes))
        assert by_columns(batches) == expected
        assert all(len(batch) == 1 or len(batch.contents) <= batch_bytes for batch in batches)
        when = {"&n": {"$gt": 1}}
        assert by_columns(worn.query(entries, 3, 70, when=when).batches()) == by_one(
            worn.query(entries, 3, 70, when=when)
        )


def test_a_snapshot_gives_columns_too(machine, worn):
    with machine.db.snapshot("s") as snapshot:
        expected = by_one(snapshot.bucket("b").entry("one").query())
        worn.entry("one").remove_range()
        view = snapshot.bucket("b").entry("one")
        assert by_columns(view.query().batches()) == by_one(view.query()) == expected
    assert list(worn.entry("one").query().batches()) == []


def test_ranges_are_read_and_verified_at_once(machine, entry, monkeypatch):
    """The fast way is taken where records lie together, and only there."""
    entry.write_many([NewRecord(t, content(2)) for t in range(200)])
    machine.db.flush()
    monkeypatch.setattr(ranges, "LEAST", 1)
    with monkeypatch.context() as patched:
        patched.setattr(ranges, "read_contents", None)  # record by record
        (batch,) = entry.query().batches()
        assert bytes(batch.content(199)) == content(2)
        assert len(batch.contents) == 200 * 300


@pytest.mark.parametrize("least", [1, 32_768])
def test_damage_is_told_by_record_and_spares_the_others(machine, entry, monkeypatch, least):
    monkeypatch.setattr(ranges, "LEAST", least)
    entry.write_many([NewRecord(t, np.random.default_rng(t).bytes(1000)) for t in range(100)])
    machine.db.flush()
    (place,) = [record._place for record in entry.query(50, 51)]
    path = payload_path(place[0])
    file = machine.files.open(path, "append")
    file.write_at(place[1] + 17, [b"damage"])
    file.close()
    with pytest.raises(errors.Corrupt, match=f"offset {place[1]}"):
        list(entry.query().batches())
    assert len(by_columns(entry.query(stop=50).batches())) == 50
    assert sum(map(len, entry.query().batches(contents=False))) == 100


@pytest.mark.parametrize("least", [1, 32_768])
def test_records_that_are_sealed_or_go_meanwhile(machine, entry, monkeypatch, least):
    monkeypatch.setattr(ranges, "LEAST", least)
    entry.write_many([NewRecord(t, np.random.default_rng(t).bytes(1000)) for t in range(300)])
    query = entry.query().batches(batch_bytes=100_000)
    first = next(query)
    machine.db.flush()  # what was in the log is in a payload file now
    entry.remove_range()
    machine.db.flush()
    machine.db.upkeep.run_once()
    found = [first, *query]
    assert by_columns(found) == [
        ("e", t, 1000, "application/octet-stream", (), np.random.default_rng(t).bytes(1000)) for t in range(300)
    ]


def test_labels_are_chosen(worn):
    names = ["odd", "nobody"]
    for batch in worn.query().batches(labels=names, contents=False):
        assert list(batch.labels) == names
        assert (batch.labels["nobody"].codes == -1).all()
        assert batch.contents is None
        with pytest.raises(errors.InvalidArgument, match="without contents"):
            batch.content(0)
    told = list(worn.query(["one"], when={"#select_labels": ["odd"]}).batches())
    assert {name for batch in told for name in batch.labels} == {"odd"}
    with pytest.raises(errors.InvalidArgument, match="batch_bytes 0"):
        worn.query().batches(batch_bytes=0)


def test_errors_of_a_strict_condition_come_after_what_was_selected(entry):
    entry.write_many([NewRecord(t, b"x", {"n": t} if t < 3 else {}) for t in range(5)])
    batches = entry.query(when={"&n": {"$gte": 1}}, strict=True).batches()
    assert by_columns([next(batches)])[0][1] == 1
    with pytest.raises(errors.NotFound):
        next(batches)


def test_tables(worn):
    pa = pytest.importorskip("pyarrow")
    expected = by_one(worn.query())
    table = worn.query().to_arrow()
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("contents").type == pa.large_binary()
    columns = {name: table[name].to_pylist() for name in table.column_names}
    assert columns["contents"] == [content for *_, content in expected]
    assert columns["entry"] == [entry for entry, *_ in expected]
    assert columns["size"] == [size for _, _, size, *_ in expected]
    assert columns["&late"] == [dict(labels).get("late") for *_, labels, _ in expected]
    assert table["time"].cast(pa.int64()).to_pylist() == [time for _, time, *_ in expected]
    frame = worn.query().to_pandas()
    assert frame["contents"].tolist() == columns["contents"]
    assert frame["&odd"].isna().tolist() == [value is None for value in columns["&odd"]]
    assert frame.index.name == "time"
    assert worn.query().to_polars()["contents"].to_list() == columns["contents"]
    nothing = worn.query(start=1_000).to_arrow()
    assert (nothing.num_rows, nothing.column_names) == (0, ["time", "entry", "size", "content_type", "contents"])
    assert "contents" not in worn.query().to_arrow(contents=False).column_names
    assert worn.query(start=1_000).to_arrow(contents=False, labels=["odd"]).column_names[-1] == "&odd"


def test_tables_refuse_what_they_cannot_hold(entry):
    pytest.importorskip("pyarrow")
    entry.write(b"x", FOREVER, labels={"a": "\ud800"})
    batch = lamina.RecordBatch.concat(list(entry.query().batches()))
    assert int(batch.time[0]) == FOREVER
    with pytest.raises(errors.InvalidArgument, match=f"time {FOREVER}"):
        batch.to_arrow()
    batch.time[0] = 0
    with pytest.raises(errors.InvalidArgument, match="no Unicode"):
        batch.to_arrow()


def test_labels_of_a_record_are_put_together_when_asked(machine, entry):
    """By whoever asks, on any thread, after everything else is gone."""
    entry.write_many([NewRecord(t, b"", {"n": t}) for t in range(50)])
    machine.db.flush()
    records = list(entry.query())
    entry.remove_range()
    machine.db.flush()
    machine.db.upkeep.run_once()
    found: list[list[object]] = []
    threads = [threading.Thread(target=lambda: found.append([r.labels for r in records])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[(("n", str(t)),) for t in range(50)]] * 4
