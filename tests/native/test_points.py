"""Points: the same on a directory, in memory and on a server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

import lamina
from lamina import FieldQuery, MeasurementQuery, Point, TagQuery, TimeQuery, aio, errors
from tests.native.conftest import SMALL
from tests.native.served import served

T = datetime(2026, 6, 1, tzinfo=UTC)
VALUES = [1.5, 2, True, "s", None, float("inf")]


def some(n=200):
    """Kinds of all sorts, keys in two orders, absent and None."""
    return [
        Point(
            time=T + timedelta(seconds=i % 40),
            measurement="ab"[i % 2],
            tags={"t": "x" * (i % 3)} | ({"n": None} if i % 5 == 0 else {}),
            fields={key: VALUES[(i + j) % 6] for j, key in enumerate(["p", "q"][:: 1 - 2 * (i % 2)])} if i % 7 else {},
        )
        for i in range(n)
    ]


def shown(points):
    return [(p.time, p.measurement, [*p.tags.items()], [(k, type(v), v) for k, v in p.fields.items()]) for p in points]


QUERIES = [
    None,
    TagQuery().t == "x",
    ~(FieldQuery().p > 1) | TagQuery().n.exists(),
    (FieldQuery().q == None) & (TimeQuery() < datetime(2026, 6, 1, 0, 0, 9)),  # noqa: E711
    MeasurementQuery() != "a",
    TagQuery().noop(),
    FieldQuery().p == float("inf"),
    TagQuery().t.matches("x$"),
    ~TagQuery().t.search("xx"),
    (TagQuery().t == "x") & FieldQuery().p.test(lambda value: value == 2),
    ~(FieldQuery().p.exists() & FieldQuery().p.map(str).test(len)) | MeasurementQuery().test(str.islower),
    TimeQuery().test(lambda time: time.second % 7 == 3) & ~(TagQuery().t.search("xx") | (MeasurementQuery() == "b")),
]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
@pytest.mark.parametrize("order", ["time", "insertion"])
def test_what_is_found_is_what_the_query_is_true_for(db, query, order):
    assert db.measurements.insert(some()) == 200
    wanted = [point for point in some() if query is None or query(point)]
    if query is QUERIES[3]:  # of which the naive time means UTC
        wanted = [p for p in some() if "q" in p.fields and p.fields["q"] is None and p.time < T + timedelta(seconds=9)]
    if order == "time":
        wanted.sort(key=lambda point: point.time)
    for limit in (None, 7, 0):
        found = db.measurements.search(query, order=order, limit=limit)
        assert shown(found) == shown(wanted[:limit])
    assert db.measurements.count(query) == len(wanted)
    mine = [point for point in wanted if point.measurement == "a"]
    assert shown(db.measurements["a"].search(query, order=order)) == shown(mine)


def test_what_there_is(db):
    assert (db.measurements.list(), len(db.measurements), db.measurements.latest_time()) == ([], 0, None)
    db.measurements.insert(some())
    a = db.measurements["a"]
    assert (list(db.measurements), "a" in db.measurements, "c" in db.measurements) == (["a", "b"], True, False)
    assert (a.tag_keys(), a.field_keys(), len(a)) == (["n", "t"], ["p", "q"], 100)
    assert a.tag_values(["n", "z"]) == {"n": [None], "z": []}
    assert a.latest_time() == (T + timedelta(seconds=38)).timestamp() * 10**6
    assert shown([a.get()]) == shown([some()[0]])
    assert a.contains(TagQuery().t == "x")
    assert a.select("tags.t", limit_query := TagQuery().t == "x") == ["x"] * a.count(limit_query)
    assert len(a.timestamps()) == 100
    assert a.count(start=T, end=T + timedelta(seconds=2)) == 5
    windows = a.windows("p", width="10s", by="t")
    assert (windows.count.sum(), list(windows.by)) == (sum(type(v) in (int, float) for v in a.field_values("p")), ["t"])
    assert a.search(limit=3).to_arrow().num_rows == 3


def test_changes(db):
    db.measurements.insert(some())
    a = db.measurements["a"]
    wanted = a.count(TagQuery().t == "x")
    assert a.update(TagQuery().t == "x", fields={"z": 3}, unset_tags="n", measurement="q", time=T) == wanted
    assert {(p.time, p.fields["z"], "n" in p.tags) for p in db.measurements["q"]} == {(T, 3, False)}
    assert a.remove(end=T + timedelta(seconds=5)) > 0
    assert db.measurements.drop("q") == wanted
    with db.snapshot("kept") as snapshot:
        left = a.count()
        assert a.clear() == left
        assert snapshot.measurement("a").count() == left
        assert snapshot.measurements() == ["a", "b"]
        assert db.measurements.replace_all(some(10)) == 10
    with pytest.raises(errors.Closed):
        snapshot.measurement("a")
    assert len(shown(db.measurements.search())) == 10
    assert db.measurements["table"].insert({"time": [1, 2], "v": [1.0, 2.0], "t": ["a", None]}) == 2
    assert [point.tags for point in db.measurements["table"]] == [{"t": "a"}, {}]
    assert db.measurements.insert([]) == 0


def test_an_update_to_an_equal_value_of_another_kind_is_one(db):
    a = db.measurements["a"]
    a.insert([Point(time=T, fields={"f": value}) for value in (1, 1.0, True, 0.0)])
    for value, changed in ((True, 3), (1, 4), (1, 0), (1.0, 4), (0.0, 4), (-0.0, 4), (-0.0, 0)):
        assert a.update(fields={"f": value}) == changed
        assert {repr(point.fields["f"]) for point in a} == {repr(value)}


def test_wrong_arguments_are_refused(db):
    a = db.measurements["a"]
    for wrong in (
        lambda: db.measurements["x" * 1025],
        lambda: a.search("x"),
        lambda: a.search(order="up"),
        lambda: a.search(limit=-1),
        lambda: a.windows("p", width="10ns"),
        lambda: a.windows("p", by=5),
        lambda: a.windows(5),
        lambda: a.tag_values(5),
        lambda: a.update(),
        lambda: a.insert(5),
        lambda: a.insert(Point(fields={"f": 1 << 64})),
    ):
        with pytest.raises(errors.InvalidArgument):
            wrong()
    assert a.count() == 0
    a.insert(Point(time=T))
    with pytest.raises(errors.InvalidTimeRange, match="expected years 1"):
        a.update(time=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))))
    assert a.count(start=T) == 1


def test_what_a_server_does_not_run():
    with served(":memory:", settings=SMALL) as server, lamina.connect(server.url) as db:
        a = db.measurements["a"]
        a.insert(some())
        for query in (
            TagQuery().t.test(len),
            TagQuery().t.map(str.upper) == "X",
            TagQuery().t.matches("x"),
            TagQuery().t.search("x") & TagQuery().t.exists(),
        ):
            for change in (a.remove, lambda query: a.update(query, tags={"u": "v"})):
                with pytest.raises(errors.InvalidArgument, match="which a server does not run"):
                    change(query)
        assert (a.count(), a.count(TagQuery().u.exists())) == (200, 0)
        seen = set()
        assert a.count((TagQuery().t != "xx") & TagQuery().t.test(lambda value: seen.add(value) or True)) == 134
        assert seen == {"", "x"}, "what the rest of the query selects"
        with pytest.raises(errors.InvalidArgument, match="a function is not run by a server"):
            a.update(fields=lambda old: old)
        with pytest.raises(errors.InvalidArgument, match="a function is not run by a server"):
            a.replace(lambda point: None)
        long = TagQuery().t == "0"
        for i in range(200):
            long |= TagQuery().t == str(i)
        with pytest.raises(errors.InvalidArgument, match="more than 200 tests"):
            a.search(long)


def test_what_a_function_of_a_query_raises_comes_out(db):
    db.measurements.insert(some())
    for ask in (db.measurements.search, db.measurements.count, db.measurements.contains, db.measurements.get):
        with pytest.raises(ZeroDivisionError):
            ask(TagQuery().t.test(lambda value: 1 / (len(value) - 2)))
        with pytest.raises(TypeError):
            ask(TagQuery().n.matches("a"))
    assert db.measurements.count() == 200


@pytest.mark.parametrize("where", ["memory", "server"])
def test_awaited(where):
    async def main(opening):
        async with await opening as db:
            a = await db.measurements["a"]
            assert await a.insert(some()) == 200
            assert (await db.measurements.length(), await a.length(), await db.measurements.has("a")) == (1, 200, True)
            assert [name async for name in db.measurements] == ["a"]
            assert len(await a.search(TagQuery().t == "x")) == await a.count(TagQuery().t == "x")
            async with await db.snapshot() as snapshot:
                assert await (await snapshot.measurement("a")).count() == 200

    if where == "memory":
        asyncio.run(main(aio.open(":memory:", settings=SMALL)))
        return
    with served(":memory:", settings=SMALL) as server:
        asyncio.run(main(aio.connect(server.url)))
