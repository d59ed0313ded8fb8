"""Queries over HTTP (contract 8, 17)."""

from __future__ import annotations

import asyncio
import time

import pytest

from lamina.faces.reduct import FaceConfig, contents
from lamina.faces.reduct.tests.asgi import Client, batch_times


@pytest.fixture
def plant(client: Client) -> Client:
    client.bucket("b")
    for i in range(10):
        client.write("b/e", i * 10, b"%d" % i, {"n": str(i), "even": "true" if i % 2 == 0 else "false"})
    return client


def ask(plant: Client, path: str = "/b/b/e", **members):
    return plant.post(f"{path}/q", members)


def test_interval_is_half_open(plant):
    assert plant.times("/b/b/e", start=20, stop=50) == [20, 30, 40]
    assert plant.times("/b/b/e", start=20, stop=20) == []
    assert plant.times("/b/b/e") == list(range(0, 100, 10))
    assert plant.times("/b/b/e", start=70, stop=10**21) == [70, 80, 90]  # a float in s, multiplied by a client


def test_condition_selects(plant):
    assert plant.times("/b/b/e", when={"&n": {"$gt": 6}, "$limit": 2}) == [70, 80]


def test_query_by_url(plant):
    id = plant.get("/b/b/e/q?start=20&stop=50&ttl=5").json["id"]
    assert batch_times(plant.get(f"/b/b/e/batch?q={id}")) == [20, 30, 40]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start=x", "'start' must be an unix timestamp in microseconds"),
        ("stop=-1", "'stop' must be an unix timestamp in microseconds"),
        ("ttl=1.5", "'ttl' must be in seconds as an unsigned integer"),
        ("continuous=yes", "'continue' must be a bool value"),
    ],
)
def test_parameters_of_the_url_are_checked(plant, query, message):
    answer = plant.get(f"/b/b/e/q?{query}")
    assert (answer.status, answer.error) == (422, message)


def test_ids_rise_and_belong_to_their_place(plant):
    plant.write("b/other", 1)
    first, second = plant.query("/b/b/e"), plant.query("/io/b")
    assert (first, second) == (1, 2)
    lost = "Query {} not found and it might have expired. Check TTL in your query request."
    assert plant.get(f"/b/b/other?q={first}").error == lost.format(1)
    assert plant.get("/io/b/read", {"x-reduct-query-id": "1"}).error == lost.format(1)
    assert plant.get(f"/b/b/e?q={second}").status == 404
    assert plant.get("/io/b/read").error == "x-reduct-query-id header is required for batched reads"
    assert plant.get("/io/b/read", {"x-reduct-query-id": "x"}).error == "Invalid query id"


def test_query_that_lives_no_time(plant):
    assert plant.get(f"/b/b/e?q={plant.query('/b/b/e', ttl=0)}").status == 404


def test_single_records_and_batches_alternate(plant):
    id = plant.query("/b/b/e", start=0, stop=30)
    one = plant.get(f"/b/b/e?q={id}")
    assert (one.body, one.headers["x-reduct-time"], one.labels["n"]) == (b"0", "0", "0")
    assert one.headers["x-reduct-last"] == "false"
    assert batch_times(plant.get(f"/b/b/e/batch?q={id}")) == [10, 20]


def test_finished_single_reads_say_no_content_again_and_again(plant):
    """Contract 21 item 9."""
    id = plant.query("/b/b/e", start=0, stop=10)
    assert plant.get(f"/b/b/e?q={id}").headers["x-reduct-last"] == "true"
    for method in ("GET", "HEAD", "GET"):
        answer = plant.request(method, f"/b/b/e?q={id}")
        assert (answer.status, answer.error) == (204, "No content")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"start": 5, "stop": 4}, "Start time must be before stop time"),
        ({"when": {"$xx": 1}}, "Operator '$xx' not supported"),
        ({"when": {"&a": {"$gt": 1 << 70}}}, None),  # contract 21 item 6
        ({"start": -1}, None),
        ({"start": 1 << 64}, None),
        ({"ttl": 1.5}, None),
        ({"when": []}, None),
        ({"ext": {"ros": {}}}, "Unknown extension 'ros' in query id=1"),
        ({"ext": {}}, "Extension name is not found in query id=1"),
        ({"when": {"#ext": {"csv": {}, "when": {}}}}, "Unknown extension 'csv' in query id=1"),
        ({"ext": [{"csv": {}}]}, "Unknown extension 'csv' in query id=1 at step 0"),
    ],
)
@pytest.mark.parametrize("path", ["/b/b/e", "/io/b"])
def test_query_that_cannot_be_is_refused_at_creation(plant, path, members, message):
    answer = ask(plant, path, query_type="QUERY", **members)
    assert answer.status == 422
    assert message is None or answer.error == message


def test_remainder_by_zero_is_422(plant):
    """Contract 21 item 6."""
    id = plant.query("/b/b/e", when={"$eq": [{"$rem": ["&n", 0]}, 1]}, strict=True)
    answer = plant.get(f"/b/b/e/batch?q={id}")
    assert (answer.status, answer.error) == (422, "Cannot divide by zero")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"query_type":"X"}', b"\xff", b"[" * 100_000])
def test_body_that_is_no_query(plant, body):
    answer = plant.post("/b/b/e/q", body)
    assert answer.status == 422
    assert answer.error.startswith("Invalid JSON: ") or answer.error == "Unparsable message"


def test_strict_condition_tells_its_error(plant):
    id = plant.query("/b/b/e", when={"&x": {"$eq": 1}}, strict=True)
    answer = plant.get(f"/b/b/e/batch?q={id}")
    assert (answer.status, answer.error) == (404, "Reference 'x' not found")


def test_query_of_an_entry_that_does_not_exist(plant):
    assert ask(plant, "/b/b/nope", query_type="QUERY").error == "Entry 'nope' not found in bucket 'b'"
    assert ask(plant, "/b/nope/e", query_type="QUERY").error == "Bucket 'nope' is not found"
    id = plant.query("/io/b", entries=["nope"])
    assert plant.get("/io/b/read", {"x-reduct-query-id": str(id)}).status == 204


def test_start_behind_the_latest_record_is_an_empty_result(plant):
    """Contract 8.1: the reference refuses it."""
    assert plant.times("/b/b/e", start=1000) == []


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ({"start": 30}, [0, 10, 20]),
        ({"start": 30, "stop": 50}, [0, 10, 20, 50, 60, 70, 80, 90]),
        ({"when": {"&even": {"$eq": True}}}, [10, 30, 50, 70, 90]),
        ({"include": {"even": "true"}}, [10, 30, 50, 70, 90]),
        ({"exclude": {"even": "true"}}, [0, 20, 40, 60, 80]),
        ({"limit": 8}, [80, 90]),
    ],
)
@pytest.mark.parametrize("path", ["/b/b/e", "/io/b"])
def test_removal_by_query(plant, path, members, left):
    """The last three: members of clients older than 1.16, which API 1.21 ignores (contract 8.6)."""
    answer = ask(plant, path, query_type="REMOVE", **members)
    assert answer.json == {"removed_records": 10 - len(left)}
    assert plant.times("/b/b/e") == left


def test_removal_must_say_what(plant):
    message = "Define at least one query parameter to delete records"
    for answer in (
        ask(plant, query_type="REMOVE"),
        ask(plant, "/io/b", query_type="REMOVE", start=None, when=None, entries=None),
        plant.delete("/b/b/e/q"),
    ):
        assert (answer.status, answer.error) == (422, message)
    assert plant.delete("/b/b/e/q?start=50").json == {"removed_records": 5}


@pytest.mark.parametrize("name", ["nope", "!nope", "*", "e*", "!e"])
def test_removal_from_an_entry_that_does_not_exist_removes_nothing(plant, name):
    """An entry of a URL is a name, never a pattern."""
    assert ask(plant, f"/b/b/{name}", query_type="REMOVE", start=0).json == {"removed_records": 0}
    assert plant.delete(f"/b/b/{name}/q?start=0").json == {"removed_records": 0}
    assert len(plant.times("/b/b/e")) == 10


def test_legacy_members_of_the_url(plant):
    id = plant.get("/b/b/e/q?include-even=true&limit=2").json["id"]
    assert batch_times(plant.get(f"/b/b/e/batch?q={id}")) == [0, 20]


def test_directives_change_the_limits_of_a_batch(plant):
    id = plant.query("/b/b/e", when={"#batch_records": 3, "#select_labels": "n"})
    answer = plant.get(f"/b/b/e/batch?q={id}")
    assert batch_times(answer) == [0, 10, 20]
    assert answer.headers["x-reduct-time-10"] == "1,application/octet-stream,n=1"


def test_body_size_cuts_a_batch_after_the_record_that_passes_it(plant):
    plant.bucket("big")
    for i in range(4):
        plant.write("big/e", i, b"x" * 3_000_000)
    id = plant.query("/b/big/e")
    first = plant.get(f"/b/big/e/batch?q={id}")
    assert (batch_times(first), len(first.body)) == ([0, 1, 2], 9_000_000)
    assert batch_times(plant.get(f"/b/big/e/batch?q={id}")) == [3]


@pytest.mark.parametrize("ask", ["/b/f/e?q={}", "/b/f/e/batch?q={}"])
def test_what_goes_while_the_last_batch_is_read_is_given_all_the_same(client, monkeypatch, ask):
    content = b"evicted" * 100_000  # two do not fit into a file
    client.request("POST", "/b/f", b'{"quota_type": "FIFO", "quota_size": 1000000, "max_block_records": 1}')
    client.write("f/e", 1, content)
    client.db.flush()
    id = client.query("/b/f/e")
    read = contents.read

    def evicting(found, direct):
        client.db.buckets["f"].entry("e").write(content, 2)
        client.db.upkeep.run_once()
        return read(found, direct)

    monkeypatch.setattr(contents, "read", evicting)
    answer = client.get(ask.format(id))
    assert (answer.status, answer.headers["x-reduct-last"], answer.body) == (200, "true", content)
    assert not client.db.readers.open  # a query that was used up keeps nothing back


# -- continuous ------------------------------------------------------------------------------------------------------


def test_continuous_query_gives_what_is_there_then_what_comes(plant):
    id = plant.query("/b/b/e", start=80, continuous=True)
    answer = plant.get(f"/b/b/e/batch?q={id}")
    assert (batch_times(answer), answer.headers["x-reduct-last"]) == ([80, 90], "true")
    assert plant.get(f"/b/b/e/batch?q={id}").status == 204
    plant.write("b/e", 100)
    assert batch_times(plant.get(f"/b/b/e/batch?q={id}")) == [100]


def test_continuous_v2_query_never_says_last(plant):
    id = plant.query("/io/b", continuous=True)
    headers = {"x-reduct-query-id": str(id)}
    assert plant.get("/io/b/read", headers).headers["x-reduct-last"] == "false"


def test_idle_continuous_read_says_no_content(plant):
    """Contract 21 item 8: the reference blocks 5 s and answers an empty batch that Go cannot read."""
    id = plant.query("/io/b", continuous=True, start=1000)
    began = time.monotonic()
    answer = plant.get("/io/b/read", {"x-reduct-query-id": str(id)})
    assert (answer.status, answer.error) == (204, "No content")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("path", ["/b/b/e", "/io/b"])
def test_continuous_query_of_a_bucket_that_was_removed_does_not_wait_for_ever(plant, path):
    id = plant.query(path, continuous=True, start=80)
    read = ("/io/b/read", {"x-reduct-query-id": str(id)}) if path == "/io/b" else (f"{path}/batch?q={id}", ())
    plant.request("DELETE", "/b/b")
    assert plant.get(*read).status == 200  # what was there when it began
    answer = plant.get(*read)
    assert (answer.status, answer.error) == (404, "Bucket 'b' is not found")


def test_counters_of_continuous_queries_go_on(plant):
    """Contract 21 item 5."""
    id = plant.query("/b/b/e", continuous=True, when={"$each_n": 4})
    path = f"/b/b/e/batch?q={id}"
    assert batch_times(plant.get(path)) == [30, 70]
    assert plant.get(path).status == 204
    plant.write("b/e", 100)
    assert plant.get(path).status == 204
    plant.write("b/e", 110)
    assert batch_times(plant.get(path)) == [110]


def test_waiting_read_wakes_at_once_when_a_record_comes():
    client = Client(config=FaceConfig(hold_s=30.0))
    client.bucket("b")
    client.write("b/e", 1)
    headers = {"x-reduct-query-id": str(client.query("/io/b", continuous=True, start=5))}

    async def both():
        reading = asyncio.ensure_future(client.arequest("HEAD", "/io/b/read", headers=headers))
        await asyncio.sleep(0.02)
        assert not reading.done()
        assert (await client.arequest("POST", "/b/b/e?ts=7", b"x")).status == 200
        return await asyncio.wait_for(reading, 5)

    answer = client.run(both())
    client.close()
    assert (answer.status, answer.headers["x-reduct-start-ts"]) == (200, "7")


def test_reads_that_wait_in_vain_leave_nothing_behind(plant):
    id = plant.query("/io/b", continuous=True, start=1000)
    for _ in range(3):
        plant.get("/io/b/read", {"x-reduct-query-id": str(id)})
    query = plant.db.queries.get(id, "io/b")
    assert len(query._calls) == 1
