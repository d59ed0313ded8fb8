"""reduct-py 1.21.0, unmodified: queries, subscriptions, removal, attachments, links."""

import asyncio
import random
import urllib.request
from datetime import datetime, timedelta
from urllib.error import HTTPError

import pytest
from compat.onloop import asynchronous
from reduct import Batch, BucketSettings, RecordBatch, ReductError

pytestmark = pytest.mark.wire


async def ten(bucket, entry="x"):
    """Records at 10, 20, ..., 100 with label n = 1 ... 10, content the same."""
    batch = Batch()
    for i in range(1, 11):
        batch.add(i * 10, b"%d" % i, labels={"n": str(i)})
    assert await bucket.write_batch(entry, batch) == {}


async def numbers(records):
    return [int(await record.read_all()) async for record in records]


async def fails(call) -> tuple[int, str]:
    with pytest.raises(ReductError) as caught:
        await call
    return caught.value.status_code, caught.value.message


@asynchronous
async def test_intervals(client, bucket):
    await ten(bucket)
    assert await numbers(bucket.query("x")) == list(range(1, 11))
    assert await numbers(bucket.query("x", start=20, stop=50)) == [2, 3, 4]
    assert await numbers(bucket.query("x", start=95, ttl=5)) == [10]
    assert await numbers(bucket.query("none")) == []
    assert await fails(numbers(bucket.query("x", start=5, stop=1))) == (422, "Start time must be before stop time")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"&n": {"$gt": 8}}, [9, 10]),
        ({"$and": [{"&n": {"$gt": 2}}, {"$not": [{"$in": ["&n", 3, 4, 5, 6, 7]}]}]}, [8, 9, 10]),
        ({"$each_n": 3}, [3, 6, 9]),
        ({"$each_t": "30us"}, [4, 7, 10]),
        ({"$limit": 2}, [1, 2]),
        ({"&n": {"$gte": 5}, "$limit": 2}, [5, 6]),
        ({"&n": {"$eq": 5}, "#ctx_before": 1, "#ctx_after": "20us"}, [4, 5, 6, 7]),
        ({"#batch_records": 1}, list(range(1, 11))),
        ({"&none": {"$eq": 1}}, []),
        ({}, list(range(1, 11))),
    ],
)
@asynchronous
async def test_conditions(client, bucket, when, expected):
    await ten(bucket)
    assert await numbers(bucket.query("x", when=when)) == expected


@asynchronous
async def test_strict(client, bucket):
    await ten(bucket)
    when = {"&none": {"$eq": 1}}
    assert await numbers(bucket.query("x", when=when, strict=False)) == []
    assert await fails(numbers(bucket.query("x", when=when, strict=True))) == (404, "Reference 'none' not found")
    assert (await fails(numbers(bucket.query("x", when={"$xx": 1}))))[1] == "Operator '$xx' not supported"
    status, message = await fails(numbers(bucket.query("x", ext={"ros": {}})))
    assert status == 422
    assert message.startswith("Unknown extension 'ros' in query id=")


@asynchronous
async def test_head(client, bucket):
    await ten(bucket)
    found = [record async for record in bucket.query("x", head=True)]
    assert [(record.timestamp, record.size, record.labels) for record in found] == [
        (i * 10, len(str(i)), {"n": str(i)}) for i in range(1, 11)
    ]


@asynchronous
async def test_selected_labels(client, bucket):
    await bucket.write("x", b"1", 1, labels={"a": "1", "b": "2"})
    found = [record async for record in bucket.query("x", when={"#select_labels": ["b"]})]
    assert [record.labels for record in found] == [{"b": "2"}]


@asynchronous
async def test_labels_survive(client, bucket):
    labels = {"comma": "a,b,c", "Upper": "X", "spaced": "a b", "numeric": "007", "quote": "it's", "equals": "a=b"}
    batch = RecordBatch()
    batch.add("x", 1, b"1", labels=labels)
    batch.add("x", 2, b"2", labels=labels | {"more": "yes"})
    batch.add("x", 3, b"3")
    assert await bucket.write_record_batch(batch) == {}
    found = [record.labels async for record in bucket.query("x")]
    assert found == [labels, labels | {"more": "yes"}, {}]


@asynchronous
async def test_labels_of_every_script(client, bucket):
    """Set one by one; a batch of this package sends them too."""
    batch = RecordBatch()
    labels = {"größe": "1", "数": "2", "plain": "3"}
    batch.add("x", 1, b"1", labels=labels)
    await bucket.write_record_batch(batch)
    found = [record.labels async for record in bucket.query("x")]
    assert found == [labels]
    async with bucket.read("x", 1) as record:
        assert record.labels["plain"] == "3"


@asynchronous
async def test_contents_of_interleaved_entries_match(client, bucket):
    """The package cuts the body by (time, entry index), whatever the server meant."""
    draw = random.Random(1)
    batch = RecordBatch()
    expected = []
    for time_us in range(1, 400):
        entry = draw.choice(["a", "b", "c/d", "e"])
        content = f"{entry}@{time_us}".encode() * draw.randrange(1, 20)
        labels = {name: str(draw.randrange(3)) for name in draw.sample(["p", "q", "r", "s"], draw.randrange(4))}
        batch.add(entry, time_us, content, content_type=draw.choice(["x/1", "x/2"]), labels=labels)
        expected.append((entry, time_us, content, labels))
    assert await bucket.write_record_batch(batch) == {}
    found = [
        (record.entry, record.timestamp, await record.read_all(), record.labels) async for record in bucket.query("*")
    ]
    assert found == expected
    found = [(record.entry, record.timestamp, await record.read_all()) async for record in bucket.query(["a", "c/*"])]
    assert found == [item[:3] for item in expected if item[0] in ("a", "c/d")]


@asynchronous
async def test_equal_times_in_several_entries(client, bucket):
    for entry in ("b", "a", "c"):
        for time_us in (5, 6):
            await bucket.write(entry, f"{entry}{time_us}".encode(), time_us)
    found = [await record.read_all() async for record in bucket.query("*")]
    assert found == [b"a5", b"b5", b"c5", b"a6", b"b6", b"c6"]


@asynchronous
async def test_late_records(client, bucket):
    await bucket.set_settings(BucketSettings(max_block_records=2))
    order = list(range(1, 41))
    random.Random(2).shuffle(order)
    for time_us in order:
        await bucket.write("x", b"%d" % time_us, time_us)
    assert await numbers(bucket.query("x")) == list(range(1, 41))


@asynchronous
async def test_records_larger_than_a_batch(client, bucket):
    for i in range(1, 4):
        await bucket.write("x", b"%d" % i * 9_000_000, i)
    sizes = []
    async for record in bucket.query("x"):
        pieces = [len(chunk) async for chunk in record.read(1_000_000)]
        sizes.append(sum(pieces))
    assert sizes == [9_000_000] * 3


@asynchronous
async def test_subscribe(client, bucket):
    await ten(bucket)
    got = []

    async def listen():
        async for record in bucket.subscribe("x*", start=80, poll_interval=0.5, when={"&n": {"$ne": 9}}):
            got.append((record.entry, record.timestamp, await record.read_all()))
            if record.labels.get("stop") == "true":
                return

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.3)
    await bucket.write("x", b"11", 110, labels={"n": "11"})
    await bucket.write("xy", b"12", 120, labels={"n": "12"})
    await asyncio.sleep(0.7)
    await bucket.write("x", b"13", 130, labels={"n": "13", "stop": "true"})
    await asyncio.wait_for(listening, 20)
    assert got == [
        ("x", 80, b"8"), ("x", 100, b"10"), ("x", 110, b"11"), ("xy", 120, b"12"), ("x", 130, b"13"),
    ]  # fmt: skip


@asynchronous
async def test_remove_query(client, bucket):
    await ten(bucket)
    await ten(bucket, "y")
    assert await bucket.remove_query("x", start=20, stop=40) == 2
    assert await bucket.remove_query("x", when={"&n": {"$gt": 8}}) == 2
    assert await bucket.remove_query("x", when={"$each_n": 2}, strict=True) == 3
    assert await numbers(bucket.query("x")) == [1, 5, 7]
    assert await fails(bucket.remove_query("x", when={"&none": {"$eq": 1}}, strict=True)) == (
        404, "Reference 'none' not found",
    )  # fmt: skip
    assert await bucket.remove_query(["x", "y"], when={"&n": {"$lte": 5}}) == 7
    assert await bucket.remove_query("*") == 6


@asynchronous
async def test_parameters_that_the_package_no_longer_sends(client, bucket):
    """1.21.0 documents `limit` and `each_n` still and drops them before any server sees them; `when` says it."""
    await ten(bucket)
    assert len(await numbers(bucket.query("x", limit=3))) == 10
    assert await numbers(bucket.query("x", when={"$limit": 3})) == [1, 2, 3]


@asynchronous
async def test_attachments(client, bucket):
    await bucket.write("x", b"", 1)
    attachments = {"meta": {"a": 1}, "1": {"b": [1, 2]}, "2.5": {"c": None}, "$system": {"d": "ü"}}
    await bucket.write_attachments("x", attachments)
    assert await bucket.read_attachments("x") == attachments
    await bucket.write_attachments("x", {"1": {"new": True}})
    assert await bucket.read_attachments("x") == attachments | {"1": {"new": True}}
    await bucket.remove_attachments("x", ["2.5", "$system"])
    assert await bucket.read_attachments("x") == {"meta": {"a": 1}, "1": {"new": True}}
    await bucket.remove_attachments("x", ["nothing"])  # sends an empty batch
    assert len(await bucket.read_attachments("x")) == 2
    await bucket.remove_attachments("x")
    assert await bucket.read_attachments("x") == {}
    assert [entry.name for entry in await bucket.get_entry_list()] == ["x"]


def get(url, **headers):
    """Status, headers, body of a plain GET, no client library."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        return error.code, error.headers, error.read()


@asynchronous
async def test_query_links(client, bucket):
    await ten(bucket)
    await bucket.write("y", b"of y", 10, labels={"k": "v"}, content_type="text/plain")
    link = await bucket.create_query_link("x", start=10, stop=50, record_timestamp=20)
    status, headers, body = await asyncio.to_thread(get, link)
    assert (status, body, headers["x-reduct-time"]) == (200, b"2", "20")
    link = await bucket.create_query_link(["x", "y"], record_entry="y", record_timestamp=10, file_name="a/b.txt")
    assert "/links/a/b.txt?" in link
    status, headers, body = await asyncio.to_thread(get, link)
    assert (status, body, headers["content-type"], headers["x-reduct-label-k"]) == (200, b"of y", "text/plain", "v")
    status, headers, body = await asyncio.to_thread(get, link, Range="bytes=0-1")
    assert (status, body, headers["content-range"]) == (206, b"of", "bytes 0-1/4")
    link = await bucket.create_query_link("x", record_timestamp=20, expire_at=datetime.now() - timedelta(hours=1))
    assert (await asyncio.to_thread(get, link))[0] == 422
    link = await bucket.create_query_link("x", when={"&n": {"$gt": 5}}, record_timestamp=20)
    assert (await asyncio.to_thread(get, link))[0] == 404
    link = await bucket.create_query_link("x", record_timestamp=20, base_url="https://other.example/")
    assert link.startswith("https://other.example/api/v1/links/")
