"""Batches over several entries as reduct-js lays them out: headers and contents by (time, entry index)."""

from __future__ import annotations

import pytest

from lamina.faces.reduct.tests.asgi import Client

ENTRIES = {"x-reduct-entries": "a,b", "x-reduct-start-ts": "1"}
BY_TIME = {"x-reduct-0-0": "2,x/1,k=v", "x-reduct-1-1": "2,x/1", "x-reduct-0-2": "2", "x-reduct-1-3": "2"}
BY_INDEX = dict(sorted(BY_TIME.items()))
CONTENT_BY_TIME, CONTENT_BY_INDEX = b"a1b2a3b4", b"a1a3b2b4"


@pytest.fixture
def plant(client: Client) -> Client:
    client.bucket("b")
    return client


def stored(plant):
    found = [plant.get(f"/b/b/{entry}?ts={time_us}") for entry, time_us in (("a", 1), ("b", 2), ("a", 3), ("b", 4))]
    return [answer.body for answer in found], [answer.labels for answer in found]


@pytest.mark.parametrize("agent", ["node", "undici", "Mozilla/5.0 (X11)", "Deno/2.1.0", "Bun/1.2"])
def test_contents_from_javascript_are_by_time(plant, agent):
    answer = plant.post("/io/b/write", CONTENT_BY_TIME, {"user-agent": agent} | ENTRIES | BY_TIME)
    assert answer.status == 200
    assert stored(plant) == ([b"a1", b"b2", b"a3", b"b4"], [{"k": "v"}, {}, {"k": "v"}, {}])


@pytest.mark.parametrize("agent", ["Python/3.11 aiohttp/3.14.5", "Go-http-client/1.1", ""])
def test_contents_from_others_are_by_index(plant, agent):
    """Whatever the order of their headers: some keep them in maps."""
    plant.post("/io/b/write", CONTENT_BY_INDEX, {"user-agent": agent} | ENTRIES | BY_TIME)
    assert stored(plant)[0] == [b"a1", b"b2", b"a3", b"b4"]


def test_contents_from_javascript_that_sends_headers_by_index_are_by_index(plant):
    plant.post("/io/b/write", CONTENT_BY_INDEX, {"user-agent": "node"} | ENTRIES | BY_INDEX)
    assert stored(plant)[0] == [b"a1", b"b2", b"a3", b"b4"]


def test_failures_keep_their_index(plant):
    plant.write("b/b", 2, b"old")
    answer = plant.post("/io/b/write", CONTENT_BY_TIME, {"user-agent": "node"} | ENTRIES | BY_TIME)
    assert {name for name in answer.headers if name.startswith("x-reduct-error")} == {"x-reduct-error-1-1"}
    assert stored(plant)[0] == [b"a1", b"old", b"a3", b"b4"]
