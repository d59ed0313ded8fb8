"""Records as columns: the same on a directory, in memory and on a server."""

from __future__ import annotations

import asyncio

import pytest

import lamina
from lamina import NewRecord, aio, errors
from lamina.faces.native import contents
from tests.native.conftest import SMALL
from tests.native.served import served


def fill(entry, n=3000):
    outcomes = entry.write_many(
        [NewRecord(i, b"%d" % i, {"n": i % 7} | ({"odd": "yes"} if i % 2 else {}), f"a/{i % 3}") for i in range(n)]
    )
    assert outcomes == [None] * n


def test_columns_are_what_iterating_gives(bucket, entry):
    fill(entry)
    fill(bucket.entry("f"), 10)
    for asked in ({}, {"start": 5, "stop": 2000}, {"when": {"&odd": {"$eq": "yes"}}}):
        for query in (entry.query, lambda **given: bucket.query(["*"], **given)):
            records = list(query(**asked))
            batches = list(query(**asked).batches(batch_bytes=1000))
            assert len(batches) > 2
            assert [time for batch in batches for time in batch.time.tolist()] == [r.time_us for r in records]
            assert [bytes(b.content(i)) for b in batches for i in range(len(b))] == [r.read() for r in records]
            table = query(**asked).to_arrow()
            assert table["entry"].to_pylist() == [r.entry for r in records]
            assert table["content_type"].to_pylist() == [r.content_type for r in records]
            assert table["size"].to_pylist() == [r.size for r in records]
            assert table["&n"].to_pylist() == [dict(r.labels)["n"] for r in records]
            assert table["&odd"].to_pylist() == [dict(r.labels).get("odd") for r in records]
            assert table["contents"].to_pylist() == [r.read() for r in records]


def test_labels_are_chosen_and_contents_left_out(entry):
    fill(entry, 20)
    table = entry.query().to_arrow(contents=False, labels=["odd", "nothing"])
    assert table.column_names == ["time", "entry", "size", "content_type", "&odd", "&nothing"]
    assert table["&nothing"].null_count == 20
    frame = entry.query(when={"&n": {"$lt": 3}}).to_pandas(labels=["n"])
    assert sorted(set(frame["&n"])) == ["0", "1", "2"]
    assert entry.query().to_polars().shape == (20, 7)
    assert [len(batch) for batch in entry.query().batches(contents=False)] == [20]
    (batch,) = entry.query().batches(contents=False)
    with pytest.raises(errors.InvalidArgument):
        batch.content(0)


def test_nothing_has_columns_too(entry):
    fill(entry, 3)
    table = entry.query(100).to_arrow(labels=["a"])
    assert (len(table), table.column_names) == (0, ["time", "entry", "size", "content_type", "&a", "contents"])
    told = entry.query(100, when={"#select_labels": ["n"], "&n": {"$gt": 0}}).to_arrow(contents=False)
    assert told.column_names == ["time", "entry", "size", "content_type", "&n"]
    assert list(entry.query(100).batches()) == []
    assert len(entry.query(100).to_pandas()) == 0


def test_a_query_is_used_up_once(entry):
    fill(entry, 10)
    found = entry.query()
    assert len(found.to_arrow()) == 10
    assert (list(found), len(found.to_arrow())) == ([], 0)
    found = entry.query()
    found.close()
    found.close()
    with pytest.raises(errors.InvalidArgument, match="batch_bytes 0: expected at least 1"):
        entry.query().batches(batch_bytes=0)
    with pytest.raises(errors.LaminaError):
        entry.query(when={"&missing": {"$eq": 1}}, strict=True).to_arrow()


def test_a_snapshot_has_columns(db, entry):
    fill(entry, 10)
    with db.snapshot() as snapshot:
        entry.remove_range()
        assert snapshot.bucket("b").entry("e").query().to_arrow()["contents"].to_pylist()[:2] == [b"0", b"1"]
    assert len(entry.query().to_arrow()) == 0


def test_what_a_server_refuses(monkeypatch):
    monkeypatch.setattr(contents, "LONGEST_IN_BATCH", 100)
    with served(":memory:", settings=SMALL) as server, lamina.connect(server.url) as db:
        entry = db.buckets.create("b").entry("e")
        fill(entry, 5)
        found = entry.query()
        next(found)
        with pytest.raises(errors.InvalidArgument, match="iterated over"):
            found.to_arrow()
        entry.write(bytes(101), 5)
        with pytest.raises(errors.TooBig, match="a content of 101 bytes"):
            entry.query().to_arrow()
        assert len(entry.query().to_arrow(contents=False)) == 6
        assert len(entry.query(stop=5).to_arrow()) == 5


@pytest.mark.parametrize("where", ["memory", "server"])
def test_awaited(where):
    async def main(opening):
        async with await opening as db:
            entry = (await db.buckets.create("b")).entry("e")
            await entry.write_many([NewRecord(i, b"%d" % i) for i in range(50)])
            assert len(await entry.query().to_arrow()) == 50
            assert sum([len(batch) async for batch in entry.query(10).batches()]) == 40
            assert [record.time_us async for record in entry.query(stop=3)] == [0, 1, 2]
            found = entry.query()
            await found.close()
            with pytest.raises(errors.InvalidArgument):
                await entry.query(when={"$nothing": 1}).to_pandas()

    if where == "memory":
        asyncio.run(main(aio.open(":memory:", settings=SMALL)))
        return
    with served(":memory:", settings=SMALL) as server:
        asyncio.run(main(aio.connect(server.url)))
