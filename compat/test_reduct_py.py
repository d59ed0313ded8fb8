"""reduct-py 1.21.0 from the package index, unmodified: the client, buckets, single records, batches."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from compat.onloop import asynchronous
from reduct import (
    Batch,
    BucketSettings,
    Client,
    LifecycleMode,
    LifecycleSettings,
    LifecycleType,
    Permissions,
    QuotaType,
    RecordBatch,
    ReductError,
    ReplicationCompression,
    ReplicationMode,
    ReplicationSettings,
)

pytestmark = pytest.mark.wire

S = 1_000_000


async def collect(records):
    """(entry, time, content, labels) of each."""
    return [(record.entry, record.timestamp, await record.read_all(), record.labels) async for record in records]


async def times(records):
    return [record.timestamp async for record in records]


async def fails(call) -> tuple[int, str]:
    with pytest.raises(ReductError) as caught:
        await call
    return caught.value.status_code, caught.value.message


# Client


@asynchronous
async def test_info_and_list(client, bucket):
    await bucket.write("entry", b"some data..", 5 * S)
    await bucket.write("entry", b"some data..", 6 * S)
    info = await client.info()
    assert info.version == "1.21.0"
    assert info.bucket_count >= 1
    assert info.uptime >= 0
    assert info.license is None
    assert info.latest_record >= 6 * S
    defaults = BucketSettings(
        max_block_size=64_000_000, max_block_records=1024, quota_type=QuotaType.NONE, quota_size=0
    )
    assert info.defaults.bucket == defaults
    (mine,) = [found for found in await client.list() if found.name == bucket.name]
    assert (mine.entry_count, mine.size, mine.oldest_record, mine.latest_record) == (1, 88, 5 * S, 6 * S)


@asynchronous
async def test_buckets(client, bucket):
    name = bucket.name
    settings = BucketSettings(quota_type=QuotaType.FIFO, quota_size=500, max_block_size=100_000, max_block_records=10)
    other = await client.create_bucket(f"{name}-2", settings)
    assert await other.get_settings() == settings
    assert await fails(client.create_bucket(name)) == (409, f"Bucket '{name}' already exists")
    assert (await client.create_bucket(name, exist_ok=True)).name == name
    assert (await client.get_bucket(name)).name == name
    assert await fails(client.get_bucket("none")) == (404, "Bucket 'none' is not found")
    await other.set_settings(BucketSettings(max_block_size=777))  # the others go as null
    assert await other.get_settings() == settings.model_copy(update={"max_block_size": 777})
    await other.rename(f"{name}-3")
    assert (await other.info()).name == f"{name}-3"
    assert (await other.get_full_info()).settings.max_block_size == 777
    await other.remove()
    assert (await fails(other.info()))[0] == 404
    assert str(ReductError(404, "x")) == "Status 404: x"


@asynchronous
async def test_a_bucket_tells(client, bucket):
    await bucket.write("b", b"x", 5)
    await bucket.write("a/c", b"x" * 10, 7)
    info = await bucket.info()
    assert (info.name, info.entry_count, info.oldest_record, info.latest_record) == (bucket.name, 3, 5, 7)
    assert info.status.value == "READY"
    entries = await bucket.get_entry_list()
    assert [(entry.name, entry.record_count, entry.block_count) for entry in entries] == [
        ("a", 0, 0), ("a/c", 1, 1), ("b", 1, 1),
    ]  # fmt: skip
    assert info.size == sum(entry.size for entry in entries)


@asynchronous
async def test_tokens_where_there_is_no_authentication(client, bucket):
    assert await client.get_token_list() == []
    assert (await client.me()).name == "AUTHENTICATION-DISABLED"
    assert await fails(client.create_token("x", Permissions())) == (400, "Authentication is disabled")


def test_tokens(secured):
    async def main():
        async with Client(secured.url, api_token="my-token") as client:
            me = await client.me()
            assert (me.name, me.permissions.full_access, me.is_provisioned) == ("init-token", True, True)
            permissions = Permissions(full_access=False, read=["a"], write=["b", "c*"])
            until = datetime.now(UTC) + timedelta(days=1)
            value = await client.create_token(
                "py-1", permissions, expires_at=until, ttl=3600, ip_allowlist=["127.0.0.0/8"]
            )
            token = await client.get_token("py-1")
            assert (token.permissions, token.ttl, token.ip_allowlist) == (permissions, 3600, ["127.0.0.0/8"])
            assert abs(token.expires_at - until) < timedelta(milliseconds=1)
            assert "py-1" in [item.name for item in await client.get_token_list()]
            async with Client(secured.url, api_token=value) as other:
                assert (await other.me()).permissions == permissions
                assert (await fails(other.create_bucket("x")))[0] == 403
            rotated = await client.rotate_token("py-1")
            async with Client(secured.url, api_token=value) as other:
                assert await fails(other.info()) == (401, "Invalid token")
            async with Client(secured.url, api_token=rotated, extra_headers={"x-mine": "1"}) as other:
                assert (await other.me()).name == "py-1"
            await client.remove_token("py-1")
            assert await fails(client.get_token("py-1")) == (404, "Token 'py-1' doesn't exist")
        assert (await fails(Client(secured.url).list())) == (401, "No bearer token in request header")

    asyncio.run(main())


@asynchronous
async def test_replications(client, bucket):
    name = bucket.name
    settings = ReplicationSettings(
        src_bucket=name, dst_bucket="there", dst_host="http://127.0.0.1:1", entries=["a*"], dst_prefix="p",
        when={"&n": {"$gt": 1}}, compression=ReplicationCompression.ZSTD,
    )  # fmt: skip
    await client.create_replication(name, settings)
    (mine,) = [found for found in await client.get_replications() if found.name == name]
    assert (mine.is_active, mine.mode, mine.pending_records) == (True, ReplicationMode.ENABLED, 0)
    detail = await client.get_replication_detail(name)
    assert detail.settings == settings
    assert detail.diagnostics.hourly.errors == {}
    await client.update_replication(name, settings.model_copy(update={"entries": ["b"]}))
    await client.set_replication_mode(name, ReplicationMode.PAUSED)
    detail = await client.get_replication_detail(name)
    assert (detail.settings.entries, detail.info.mode) == (["b"], ReplicationMode.PAUSED)
    await client.delete_replication(name)
    missing = 404, f"Replication '{name}' does not exist"
    assert await fails(client.get_replication_detail(name)) == missing


@asynchronous
async def test_lifecycles(client, bucket):
    name = bucket.name
    settings = LifecycleSettings(bucket=name, older_than="30d")
    await client.create_lifecycle(name, settings)
    (mine,) = [found for found in await client.get_lifecycles() if found.name == name]
    assert (mine.type, mine.mode, mine.is_running) == (LifecycleType.DELETE, LifecycleMode.ENABLED, True)
    assert (await client.get_lifecycle_detail(name)).settings.interval == "3600s"
    await client.update_lifecycle(name, settings.model_copy(update={"interval": "20m"}))
    await client.set_lifecycle_mode(name, LifecycleMode.DRY_RUN)
    detail = await client.get_lifecycle_detail(name)
    assert (detail.settings.interval, detail.info.mode) == ("20m", LifecycleMode.DRY_RUN)
    await client.delete_lifecycle(name)
    assert (await fails(client.get_lifecycle_detail(name)))[0] == 404


# Single records


@asynchronous
async def test_write_and_read(client, bucket):
    await bucket.write("x", b"content", 5, labels={"a": 1, "b": True, "c": "x,y"}, content_type="text/plain")
    async with bucket.read("x", 5) as record:
        assert (record.entry, record.timestamp, record.size, record.last) == ("x", 5, 7, True)
        assert (record.content_type, record.labels) == ("text/plain", {"a": "1", "b": "True", "c": "x,y"})
        assert await record.read_all() == b"content"
    async with bucket.read("x", 5) as record:
        assert [chunk async for chunk in record.read(3)] == [b"con", b"ten", b"t"]
    async with bucket.read("x", head=True) as record:
        assert (record.size, record.labels["a"], await record.read_all()) == (7, "1", b"")
    assert (await fails(bucket.write("x", b"", 5))) == (409, "A record with timestamp 5 already exists")


@asynchronous
async def test_errors_of_reading(client, bucket):
    async def read(*arguments):
        async with bucket.read(*arguments):
            raise AssertionError("there is nothing")

    await bucket.write("x", b"", 5)
    assert await fails(read("y")) == (404, f"Entry 'y' not found in bucket '{bucket.name}'")
    assert await fails(read("x", 6)) == (404, f"Record 6 not found in entry {bucket.name}/x")


@asynchronous
async def test_every_form_of_time(client, bucket):
    at = datetime(2024, 2, 2, 10, 0, 0, 123456, tzinfo=UTC)
    await bucket.write("x", b"datetime", at)
    await bucket.write("x", b"iso", "2024-02-02T10:00:01Z")
    await bucket.write("x", b"float", 1706868002.5)
    await bucket.write("x", b"large", 2**63)
    before = time.time_ns() // 1000
    await bucket.write("now", b"now")
    async with bucket.read("now") as record:
        assert before - 1 <= record.timestamp <= time.time_ns() // 1000
    found = await collect(bucket.query("x", start="2024-02-02T00:00:00Z"))
    assert [(item[1], item[2]) for item in found] == [
        (1706868000123456, b"datetime"), (1706868001000000, b"iso"), (1706868002500000, b"float"), (2**63, b"large"),
    ]  # fmt: skip
    async with bucket.read("x", at) as record:
        assert record.get_datetime().timestamp() == at.timestamp()


@asynchronous
async def test_stream_in_and_out(client, bucket):
    async def pieces():
        for i in range(100):
            yield bytes([i]) * 10_000

    await bucket.write("x", pieces(), 1, content_length=1_000_000)
    async with bucket.read("x", 1) as record:
        got = b"".join([chunk async for chunk in record.read(4096)])
    assert got == b"".join([bytes([i]) * 10_000 for i in range(100)])


@asynchronous
async def test_update_and_remove(client, bucket):
    await bucket.write("x", b"content", 5, labels={"a": "1", "b": "2"})
    await bucket.update("x", 5, {"a": "9", "b": "", "c": "3"})
    async with bucket.read("x", 5) as record:
        assert record.labels == {"a": "9", "c": "3"}
    assert await fails(bucket.update("x", 6, {})) == (404, f"Record 6 not found in entry {bucket.name}/x")
    await bucket.remove_record("x", 5)
    assert (await fails(bucket.remove_record("x", 5)))[0] == 404


@asynchronous
async def test_entries(client, bucket):
    for entry in ("a", "a/b", "c"):
        await bucket.write(entry, b"", 1)
    await bucket.rename_entry("a", "z/y")
    assert [entry.name for entry in await bucket.get_entry_list()] == ["c", "z", "z/y", "z/y/b"]
    assert (await fails(bucket.rename_entry("c", "z")))[0] == 409
    await bucket.remove_entry("z")
    assert [entry.name for entry in await bucket.get_entry_list()] == ["c"]
    assert (await fails(bucket.remove_entry("z")))[0] == 404


@asynchronous
async def test_a_refusal_before_more_than_64_mb_are_sent(client, bucket):
    """Such a body waits for 100 Continue; the error comes instead of it."""
    sent = 0

    async def pieces():
        nonlocal sent
        for _ in range(100):
            sent += 1_000_000
            yield b"x" * 1_000_000

    await bucket.write("x", b"", 1)
    assert await fails(bucket.write("x", pieces(), 1, content_length=100_000_000)) == (
        409, "A record with timestamp 1 already exists",
    )  # fmt: skip
    await bucket.set_settings(BucketSettings(quota_type=QuotaType.HARD, quota_size=1000))
    assert (await fails(bucket.write("x", pieces(), 2, content_length=100_000_000)))[0] == 400
    assert sent == 0


@pytest.mark.slow
@asynchronous
async def test_100_mb(client, bucket):
    async def pieces():
        for i in range(100):
            yield bytes([i]) * 1_000_000

    await bucket.write("x", pieces(), 1, content_length=100_000_000)
    async with bucket.read("x", 1) as record:
        assert record.size == 100_000_000
        at = 0
        async for chunk in record.read(1_000_000):
            assert chunk[0] == at // 1_000_000
            assert chunk[-1] == (at + len(chunk) - 1) // 1_000_000
            at += len(chunk)
    assert at == 100_000_000


# Batches


@asynchronous
async def test_batches_of_an_entry(client, bucket):
    batch = Batch()
    assert len(batch) == batch.size == 0
    batch.add(1000, b"Hey,", "plain/text", {"label1": "value1"})
    batch.add(3000, b"there", labels={"x": "1"})
    batch.add(2000, b"you")
    assert (len(batch), batch.size) == (3, 12)
    await bucket.write("x", b"old", 2000)
    errors = await bucket.write_batch("x", batch)
    assert {at: (error.status_code, error.message) for at, error in errors.items()} == {
        2000: (409, "A record with timestamp 2000 already exists")
    }
    assert await collect(bucket.query("x")) == [
        ("x", 1000, b"Hey,", {"label1": "value1"}), ("x", 2000, b"old", {}), ("x", 3000, b"there", {"x": "1"}),
    ]  # fmt: skip
    update = Batch()
    update.add(1000, labels={"label1": "", "l2": "v"})
    update.add(9000, labels={"a": "b"})
    errors = await bucket.update_batch("x", update)
    assert {at: error.status_code for at, error in errors.items()} == {9000: 404}
    remove = Batch()
    remove.add(2000)
    remove.add(8000)
    errors = await bucket.remove_batch("x", remove)
    assert {at: error.status_code for at, error in errors.items()} == {8000: 404}
    assert await collect(bucket.query("x")) == [("x", 1000, b"Hey,", {"l2": "v"}), ("x", 3000, b"there", {"x": "1"})]


@asynchronous
async def test_an_empty_batch(client, bucket):
    assert await bucket.write_batch("x", Batch()) == {}
    assert await bucket.write_record_batch(RecordBatch()) == {}
    assert await bucket.update_record_batch(RecordBatch()) == {}


@asynchronous
async def test_batches_of_several_entries(client, bucket):
    batch = RecordBatch()
    for i in range(10):
        labels = {"n": str(i), "kind": "even" if i % 2 == 0 else "odd,or so"}
        batch.add(f"sensor/{i % 3}", 1000 + i, b"content %d" % i, content_type=f"x/{i % 2}", labels=labels)
    batch.add("bad name", 1000, b"lost")
    errors = await bucket.write_record_batch(batch)
    assert {entry: {at: error.status_code for at, error in found.items()} for entry, found in errors.items()} == {
        "bad name": {1000: 422}
    }
    assert await collect(bucket.query("sensor/*")) == [
        (f"sensor/{i % 3}", 1000 + i, b"content %d" % i, {"n": str(i), "kind": "even" if i % 2 == 0 else "odd,or so"})
        for i in range(10)
    ]
    update = RecordBatch()
    update.add("sensor/0", 1000, labels={"n": "", "new": "x"})
    update.add("sensor/1", 1000, labels={"n": "5"})
    errors = await bucket.update_record_batch(update)
    assert {entry: list(found) for entry, found in errors.items()} == {"sensor/1": [1000]}
    remove = RecordBatch()
    remove.add("sensor/1", 1001)
    remove.add("sensor/2", 1001)
    errors = await bucket.remove_record_batch(remove)
    assert {entry: list(found) for entry, found in errors.items()} == {"sensor/2": [1001]}
    found = await collect(bucket.query(["sensor/0", "sensor/1"], stop=1003))
    assert found == [("sensor/0", 1000, b"content 0", {"kind": "even", "new": "x"})]


@asynchronous
async def test_thousands_in_batches(client, bucket):
    """1,000 records a request, as the SDK makes it; they come back in batches of 85."""
    for first in range(0, 3000, 1000):
        batch = Batch()
        for i in range(first, first + 1000):
            batch.add(i + 1, b"%d" % i, labels={"n": str(i)})
        assert await bucket.write_batch("x", batch) == {}
    found = await collect(bucket.query("x"))
    assert [(at, content) for _, at, content, _ in found] == [(i + 1, b"%d" % i) for i in range(3000)]
