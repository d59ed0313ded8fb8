"""Batches that are made before they are asked for: nobody can tell."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.faces.reduct import ahead
from lamina.faces.reduct.ahead import Ahead
from lamina.faces.reduct.tests.asgi import Client, batch_times
from lamina.faces.reduct.threads import Threads

COUNT = 300


def content(time_us):
    return b"%d" % time_us * (time_us % 50)


@pytest.fixture(scope="module")
def stored():
    """300 records."""
    client = Client()
    client.bucket("b")
    for time_us in range(COUNT):
        client.write("b/e", time_us, content(time_us))
    yield client
    client.close()


def read(client, id, how):
    """Times and content of the next records: batch or single, with or without contents; None: no more."""
    method, path = how
    answer = client.request(method, f"{path}?q={id}")
    if answer.status == 204:
        return None
    assert answer.status == 200, answer
    times = batch_times(answer) if path.endswith("batch") else [int(answer.headers["x-reduct-time"])]
    return times, answer.body, answer.headers["x-reduct-last"]


HOW = st.sampled_from([(method, path) for method in ("GET", "HEAD") for path in ("/b/b/e", "/b/b/e/batch")])


@settings(deadline=None, max_examples=30)
@given(st.lists(HOW, min_size=1, max_size=40), st.integers(0, 2))
def test_a_query_gives_the_same_however_it_is_read(stored, hows, others):
    ids = [stored.query("/b/b/e") for _ in range(1 + others)]
    expected = 0
    for i, how in enumerate(hows):
        for id in ids[1:]:
            if i % 3 == 0:
                read(stored, id, how)
        found = read(stored, ids[0], how)
        if found is None:
            assert expected == COUNT
            continue
        times, body, last = found
        assert times == list(range(expected, expected + len(times)))
        assert body == (b"".join(map(content, times)) if how[0] == "GET" else b"")
        expected += len(times)
        assert (last == "true") == (expected == COUNT)


def test_of_many_queries_contents_are_read_again(stored, monkeypatch):
    monkeypatch.setattr(ahead, "KEPT", 2)
    ids = [stored.query("/b/b/e") for _ in range(6)]
    for _ in range(2):
        for id in ids:
            times, body, _ = read(stored, id, ("GET", "/b/b/e/batch"))
            assert body == b"".join(map(content, times))
    assert len(stored.face.ahead._full) <= 2


def test_records_that_went_meanwhile_are_as_they_were_when_the_query_began(client):
    client.bucket("b")
    for time_us in range(200):
        client.write("b/e", time_us, content(time_us))
    id = client.query("/b/b/e")
    first, _, _ = read(client, id, ("GET", "/b/b/e/batch"))
    assert client.delete("/b/b/e/q?start=100&stop=199").status == 200
    second, body, _ = read(client, id, ("GET", "/b/b/e/batch"))
    assert second == list(range(len(first), 2 * len(first)))
    assert body == b"".join(map(content, second))


class Query:
    pass


def test_what_nobody_asks_for_is_forgotten_with_its_query():
    async def main():
        threads = Threads(1)
        prepared, query = Ahead(threads), Query()
        prepared.prepare(query, 1, lambda: 5, lambda made: None)
        await prepared._prepared[query].result()
        del query
        assert len(prepared._prepared) == 0
        threads.close()

    asyncio.run(main())


def test_an_error_is_given_to_who_asks_and_to_nobody_else(caplog):
    async def main():
        threads = Threads(1)
        prepared, query, other = Ahead(threads), Query(), Query()
        for each in (query, other):
            prepared.prepare(each, 1, lambda: 1 // 0, lambda made: None)
        found = prepared.pop(query)
        assert isinstance(await found.result(), ZeroDivisionError)
        assert prepared.pop(query) is None
        threads.close()

    asyncio.run(main())
    assert not caplog.records


def test_who_waits_for_too_many_others_is_made_smaller_once_it_is_there():
    dropped, release = [], threading.Event()

    async def main():
        threads = Threads(1)
        prepared, queries = Ahead(threads), [Query() for _ in range(ahead.KEPT + 2)]
        for i, query in enumerate(queries):
            prepared.prepare(query, 1, lambda i=i: (release.wait(20), i)[1], dropped.append)
        release.set()
        assert [await prepared.pop(query).result() for query in queries] == list(range(ahead.KEPT + 2))
        threads.close()

    asyncio.run(main())
    assert dropped == [0, 1]
