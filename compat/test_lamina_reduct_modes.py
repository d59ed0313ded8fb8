"""`lamina.reduct` of a server and of a directory: what reduct-py does not have, does otherwise, or leaves open.

Every test runs in both modes, unless its name says which.
"""

import asyncio
import contextlib
import threading
import urllib.request
from types import SimpleNamespace
from uuid import uuid4

import pytest
from compat.reductserver import API_TOKEN

import lamina
from lamina.access import bootstrap
from lamina.reduct import (
    Batch,
    BucketSettings,
    Client,
    Permissions,
    QuotaType,
    RecordBatch,
    ReductError,
    ReplicationSettings,
)

MODES = ["directory", "server"]


@pytest.fixture(params=MODES)
def url(request, tmp_path):
    """Where clients go; no token is asked for."""
    return request.getfixturevalue("reduct").url if request.param == "server" else str(tmp_path / "data")


@pytest.fixture(params=MODES)
def guarded(request, tmp_path):
    """Where clients go that need API_TOKEN, or one made with it."""
    if request.param == "server":
        return request.getfixturevalue("secured").url
    return guarded_directory(tmp_path)


def guarded_directory(tmp_path):
    with lamina.open(tmp_path / "guarded") as db:
        bootstrap(db, API_TOKEN)
    return str(tmp_path / "guarded")


@contextlib.asynccontextmanager
async def own_bucket(url, **options):
    async with Client(url, **options) as client:
        yield await client.create_bucket(f"own-{uuid4().hex[:12]}")


def with_bucket(test):
    """A test that is given a bucket of its own, on a loop of its own."""

    def run(url):
        async def main():
            async with own_bucket(url) as bucket:
                await test(bucket)

        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def fails(call, error=ReductError):
    with pytest.raises(error) as caught:
        await call
    return (caught.value.status_code, caught.value.message) if error is ReductError else str(caught.value)


async def times(records):
    return [record.timestamp async for record in records]


async def ten(bucket):
    """Records at 10, 20, ..., 100 with label n = 1 ... 10, parity, content the same as n."""
    batch = Batch()
    for n in range(1, 11):
        batch.add(n * 10, b"%d" % n, labels={"n": n, "parity": "even" if n % 2 == 0 else "odd"})
    assert await bucket.write_batch("x", batch) == {}


# Times


@with_bucket
async def test_zero_is_a_time(bucket):
    """The package takes 0 for not given: it reads the latest record, and removes everything."""
    await bucket.write("x", b"first", 0)
    await bucket.write("x", b"second", 1)
    async with bucket.read("x", 0) as record:
        assert await record.read_all() == b"first"
    assert await bucket.remove_query("x", stop=0) == 0
    assert await times(bucket.query("x", stop=0)) == []
    assert await times(bucket.query("x", start=0, stop=1)) == [0]


# Parameters that `when` replaced: the documentation names them


@with_bucket
async def test_parameters_of_the_documentation(bucket):
    await ten(bucket)
    assert await times(bucket.query("x", include={"parity": "even"})) == [20, 40, 60, 80, 100]
    assert await times(bucket.query("x", exclude={"parity": "even"})) == [10, 30, 50, 70, 90]
    assert await times(bucket.query("x", include={"n": 3})) == [30]
    assert await times(bucket.query("x", each_n=3)) == [30, 60, 90]
    assert await times(bucket.query("x", limit=3)) == [10, 20, 30]
    assert await times(bucket.query("x", each_s=0.00005)) == [60]
    assert await times(bucket.query("x", include={"parity": "odd"}, when={"&n": {"$gt": 4}}, limit=2)) == [50, 70]
    assert await bucket.remove_query("x", include={"parity": "odd"}) == 5
    assert await bucket.remove_query("x", each_n=2) == 2
    assert await times(bucket.query("x")) == [20, 60, 100]


@with_bucket
async def test_unknown_arguments_are_refused(bucket):
    """The package drops them."""
    await ten(bucket)
    with pytest.raises(TypeError, match="unknown argument 'limits'"):
        await times(bucket.query("x", limits=3))
    for call in (
        bucket.remove_query("x", head=True),
        bucket.write("x", b"", 1, label={}),
        bucket.create_query_link("x", a=1),
    ):
        assert "unknown argument" in await fails(call, TypeError)
    assert len(await times(bucket.query("x"))) == 10


# Contents


@with_bucket
async def test_contents_of_every_kind(bucket):
    async def pieces():
        yield b""
        yield b"ab"
        yield bytearray(b"cd")

    contents = [b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview"), "text ü", b"", pieces()]
    for i, content in enumerate(contents):
        await bucket.write("x", content, i, content_length=4 if i == 5 else None)
    got = [await record.read_all() async for record in bucket.query("x")]
    assert got == [b"bytes", b"bytearray", b"memoryview", "text ü".encode(), b"", b"abcd"]
    async with bucket.read("x", 3) as record:
        assert record.content_type == "text/plain; charset=utf-8"
    assert "expected bytes" in await fails(bucket.write("x", 5, 9), TypeError)
    assert "content_length" in await fails(bucket.write("x", pieces(), 9), TypeError)


@with_bucket
async def test_a_content_of_another_length_is_refused_and_not_kept(bucket):
    async def pieces(count, size=100_000):
        for _ in range(count):
            yield b"x" * size

    short = 400, "Content is smaller than in content-length"
    long = 400, "Content is bigger than in content-length"
    assert await fails(bucket.write("x", pieces(3), 1, content_length=300_001)) == short
    assert await fails(bucket.write("x", pieces(3), 1, content_length=299_999)) == long
    assert await fails(bucket.write("x", pieces(3), 1, content_length=200_000)) == long
    assert await fails(bucket.write("x", pieces(3, 3), 1, content_length=10)) == short
    assert await fails(bucket.write("x", b"abc", 1, content_length=2)) == long
    assert await fails(bucket.write("x", b"abc", 1, content_length=4)) == short
    assert await times(bucket.query("x")) == []
    # At another time: until a server has seen that an upload broke off, its time is claimed.
    await bucket.write("x", pieces(3), 2, content_length=300_000)
    await bucket.write("x", pieces(3), 3, content_length=0)  # nothing is asked for
    assert [record.size async for record in bucket.query("x")] == [300_000, 0]


@with_bucket
async def test_an_error_of_the_programs_own_iterator_is_told_as_it_is(bucket):
    class Mine(Exception):
        pass

    async def pieces():
        yield b"x" * 200_000
        raise Mine("sensor unplugged")

    assert await fails(bucket.write("x", pieces(), 1, content_length=400_000), Mine) == "sensor unplugged"
    assert await times(bucket.query("x")) == []
    await bucket.write("x", b"another", 2)  # the server may not have noticed yet that nobody writes at 1 any more


@with_bucket
async def test_a_write_that_is_cancelled_keeps_nothing_and_breaks_nothing(bucket):
    begun = asyncio.Event()

    async def pieces():
        yield b"x" * 2_000_000
        begun.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(bucket.write("x", pieces(), 1, content_length=3_000_000))
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await times(bucket.query("x")) == []
    await bucket.write("y", b"works", 1)


@with_bucket
async def test_records_can_be_read_later_as_often_as_wanted_and_in_pieces(bucket):
    await ten(bucket)
    await bucket.write("x", b"z" * 900_000, 110)
    records = [record async for record in bucket.query("x")]
    assert [await record.read_all() for record in records[:10]] == [b"%d" % n for n in range(1, 11)]
    assert await records[-1].read_all() == await records[-1].read_all() == b"z" * 900_000
    assert [len(piece) async for piece in records[-1].read(400_000)] == [400_000, 400_000, 100_000]
    async with bucket.read("x", 20) as record:
        pass
    assert await record.read_all() == b"2"
    with pytest.raises(ValueError, match="pieces of 0 bytes"):
        await anext(record.read(0))


@with_bucket
async def test_large_contents_are_read_as_they_come(bucket):
    for i in range(3):
        await bucket.write("x", bytes([i]) * 20_000_000, i)
    kept = []
    async for record in bucket.query("x"):
        kept.append(record)
        if record.timestamp == 1:
            first = await anext(record.read(5_000_000))
            assert first == b"\1" * 5_000_000
    assert await fails(kept[0].read_all()) == (-1, "the content of record 0 was left unread, and is not kept")
    async for record in bucket.query("x"):
        assert await record.read_all() == await record.read_all() == bytes([record.timestamp]) * 20_000_000
    async with bucket.read("x", 2) as record:
        assert len(await anext(record.read(7_000_000))) == 7_000_000
        assert sum([len(piece) async for piece in record.read(7_000_000)]) == 13_000_000
    async with bucket.read("x", 1) as record:
        pass
    assert (await fails(record.read_all()))[0] == -1
    async for _ in bucket.query("x"):
        break  # in the middle of a body
    assert (await bucket.info()).entry_count == 1


# Labels


@with_bucket
async def test_labels_that_cannot_be_sent(bucket):
    """The same refusals in both modes, though only one has headers."""
    for name in ("a b", "a:b", "ü", "", "a=b"):
        status, message = await fails(bucket.write("x", b"", 1, labels={name: "1"}))
        assert (status, repr(name) in message) == (400, True)
    for value in ("x\ny", "\0", "\x7f"):
        assert "control character" in await fails(bucket.write("x", b"", 1, labels={"a": value}), ValueError)
    assert "control character" in await fails(bucket.write("x", b"", 1, content_type="a\r\nx: y"), ValueError)
    for name, value in (("a=b", "1"), ("a,b", "1"), ("", "1"), ("a", 'x",y'), ("a", "x\ny")):
        batch = Batch()
        batch.add(1, labels={name: value})
        await fails(bucket.write_batch("x", batch), ValueError)
    for name, value in (("", "1"), ("@a", "1"), ("a", 'x",y')):
        several = RecordBatch()
        several.add("x", 1, labels={name: value})
        await fails(bucket.write_record_batch(several), ValueError)
    assert (await fails(bucket.update("x", 1, {"a b": ""})))[0] == 400
    assert await times(bucket.query("x")) == []


@with_bucket
async def test_labels_come_back(bucket):
    """Names of single writes in lower case; what no header of an answer can say percent-encoded, as every client sees
    it."""
    await bucket.write("x", b"", 1, labels={"A": 0.5, "b": True, "c": "x,y", "d": '"q"', "e": " x "})
    batch = Batch()
    batch.add(2, labels={"A": 1, "b": "x,y", "c": "it's", "d": None})
    assert await bucket.write_batch("x", batch) == {}
    several = RecordBatch()
    several.add("x", 3, labels={"a b": 1, "ü/%": "=", "5": "x,y", "A": "1", "a": "2"})
    several.add("x", 4, labels={"a": "2"})
    several.add("x", 5, labels={})
    assert await bucket.write_record_batch(several) == {}
    assert [record.labels async for record in bucket.query("x")] == [
        {"a": "0.5", "b": "True", "c": "x,y", "d": "%22q%22", "e": "x"},
        {"A": "1", "b": "x,y", "c": "it's", "d": "None"},
        {"a b": "1", "ü/%": "=", "5": "x,y", "A": "1", "a": "2"},
        {"a": "2"},
        {},
    ]  # fmt: skip


@with_bucket
async def test_every_update_of_a_batch_changes_what_it_names_only(bucket):
    """The protocol carries changes over from one record of an entry to the next; the package lets it."""
    for time_us in (1, 2, 3):
        await bucket.write("x", b"", time_us, labels={"a": "old", "b": "old"})
    batch = RecordBatch()
    batch.add("x", 1, labels={"a": "new"})
    batch.add("x", 2, labels={"b": "new"})
    batch.add("x", 3, labels={"b": "", "c": "new"})
    batch.add("y", 3, labels={"b": ""})
    errors = await bucket.update_record_batch(batch)
    assert {entry: {at: error.status_code for at, error in found.items()} for entry, found in errors.items()} == {
        "y": {3: 404}
    }
    assert [record.labels async for record in bucket.query("x")] == [
        {"a": "new", "b": "old"}, {"a": "old", "b": "new"}, {"a": "old", "c": "new"},
    ]  # fmt: skip


@with_bucket
async def test_a_batch_that_was_filled_can_be_an_update(bucket):
    """The package announces the contents and does not send them: it hangs."""
    batch = Batch()
    batch.add(1, b"content", labels={"a": "1"})
    await bucket.write_batch("x", batch)
    batch.add(1, b"content", labels={"a": "2"})
    assert (len(batch), batch.size) == (1, 7)
    assert await bucket.update_batch("x", batch) == {}
    assert [record.labels async for record in bucket.query("x")] == [{"a": "2"}]


# Names


@with_bucket
async def test_names_are_taken_as_they_are(bucket):
    """Nothing in a name leads to another path."""
    for name in ("..", "a/../b", "a?b", "a#b", "%41", "a b", "a//b", "a/", "/a"):
        assert (await fails(bucket.write(name, b"", 1)))[0] == 422
    for name in ("..", ".", "a/b", "a b", "%41", "ü"):
        assert (await fails(Client.create_bucket(SimpleNamespace(_http=bucket._http), name)))[0] == 422
    assert await bucket.get_entry_list() == []


# Queries


@with_bucket
async def test_a_query_that_expired(bucket):
    await ten(bucket)
    status, message = await fails(times(bucket.query("x", ttl=0)))
    assert status == 404
    assert message.endswith("not found and it might have expired. Check TTL in your query request.")


@with_bucket
async def test_a_query_over_several_batches(bucket):
    for at in range(0, 3000, 1000):
        part = Batch()
        for i in range(at, at + 1000):
            part.add(i, b"%d" % i)
        assert await bucket.write_batch("x", part) == {}
    found = [(record.timestamp, record.last, await record.read_all()) async for record in bucket.query("x")]
    assert found == [(i, i == 2999, b"%d" % i) for i in range(3000)]


@with_bucket
async def test_a_subscriber_may_ask_more_often_than_once_a_second(bucket):
    received = []

    async def listen():
        async for record in bucket.subscribe("x", poll_interval=0.1):
            received.append(await record.read_all())
            if len(received) == 2:
                return

    listening = asyncio.create_task(listen())
    await bucket.write("x", b"1")
    await bucket.write("x", b"2")
    await asyncio.wait_for(listening, 20)
    assert received == [b"1", b"2"]


# Opening and closing


def test_a_closed_client_says_so_and_can_be_entered_again(url):
    async def main():
        client = Client(url)
        async with client:
            bucket = await client.create_bucket(f"own-{uuid4().hex[:12]}")
            await bucket.write("x", b"kept", 1)
        closed = -1, "the client is closed"
        assert await fails(client.info()) == closed
        assert await fails(times(bucket.query("x"))) == closed
        await client.close()
        async with client:
            assert await times(bucket.query("x")) == [1]

    asyncio.run(main())


def test_a_client_that_was_not_entered_works_on_one_loop_after_another(url):
    client = Client(url)
    name = f"own-{uuid4().hex[:12]}"

    async def write(time_us):
        bucket = await client.create_bucket(name, exist_ok=True)
        await bucket.write("x", b"", time_us)

    for time_us in (1, 2, 3):
        asyncio.run(write(time_us))

    async def read():
        found = await times((await client.get_bucket(name)).query("x"))
        await client.close()
        return found

    assert asyncio.run(read()) == [1, 2, 3]


def test_a_timeout_is_a_timeout(url):
    async def main():
        async def never():
            await asyncio.Event().wait()
            yield b""

        async with own_bucket(url, timeout=0.2) as bucket:
            await fails(bucket.write("x", never(), 1, content_length=5), TimeoutError)

    asyncio.run(main())


# Who may


def test_a_token_is_held_to_what_it_allows(guarded):
    async def main():
        async with Client(guarded, api_token=API_TOKEN) as client:
            name = f"own-{uuid4().hex[:12]}"
            bucket = await client.create_bucket(name)
            await bucket.write("x", b"", 1)
            value = await client.create_token(name, Permissions(read=[name]), ip_allowlist=["127.0.0.1"])
            async with Client(guarded, api_token=value) as other:
                theirs = await other.get_bucket(name)
                assert await times(theirs.query("x")) == [1]
                assert [each.name for each in await other.list()] == [name]
                said = f"Token '{name}' doesn't have write access to bucket '{name}'"
                assert await fails(theirs.write("x", b"", 2)) == (403, said)
                assert await fails(other.create_bucket("more")) == (403, f"Token '{name}' doesn't have full access")
            await client.remove_token(name)
            async with Client(guarded, api_token=value) as other:
                assert await fails(other.info()) == (401, "Invalid token")
            async with Client(guarded, api_token="wrong") as other:
                assert await fails(other.list()) == (401, "Invalid token")

    asyncio.run(main())


def test_who_shows_no_token_in_a_directory_is_its_owner(tmp_path):
    async def main():
        async with Client(guarded_directory(tmp_path)) as client:
            await client.create_bucket("b", BucketSettings(quota_type=QuotaType.HARD, quota_size=10))

    asyncio.run(main())


# Servers


def test_a_server_that_is_started_again_in_the_middle_of_a_query(tmp_path, serve):
    server = serve(folder=tmp_path / "data")
    port = int(server.address.rpartition(":")[2])

    async def main():
        async with own_bucket(server.url) as bucket:
            batch = Batch()
            for i in range(200):
                batch.add(i, b"%d" % i)
            await bucket.write_batch("x", batch)
            query = bucket.query("x")
            first = [await anext(query) for _ in range(85)]  # all of the first answer
            await asyncio.to_thread(server.stop)
            again = await asyncio.to_thread(lambda: serve(folder=tmp_path / "data", port=port))
            assert (await fails(anext(query)))[0] in (
                404,
                -1,
            )  # an unknown query, or a kept connection
            assert [await record.read_all() for record in first] == [b"%d" % i for i in range(85)]
            assert len(await times(bucket.query("x"))) == 200
            query = bucket.query("x")
            for _ in range(85):
                await anext(query)
            await asyncio.to_thread(again.stop)
            assert (await fails(anext(query)))[0] == -1
            assert (await fails(bucket.write("x", b"", 1000)))[0] == -1

    asyncio.run(main())


# Directories


def test_the_loop_does_not_open_read_or_close_a_directory(tmp_path, monkeypatch):
    """Every call on a file is made by another thread."""
    from lamina.storage import local

    here, calls = [], []
    for name in ("open", "fsync", "fdatasync", "pread", "preadv", "pwrite", "pwritev", "rename", "unlink", "mkdir"):
        if hasattr(local.os, name):
            monkeypatch.setattr(local.os, name, noted(getattr(local.os, name), name, here, calls))

    async def main():
        here.append(threading.get_ident())
        async with Client(tmp_path / "data") as client:
            bucket = await client.create_bucket("b")
            await bucket.write("x", b"x" * 1000)
            await bucket.write("x", b"x" * 1_000_000)
            batch = Batch()
            for i in range(100):
                batch.add(i, b"x" * 1000)
            await bucket.write_batch("x", batch)
            [await record.read_all() async for record in bucket.query("x")]
            await bucket.update("x", 5, {"a": "b"})
            await bucket.remove_query("x", stop=3)
            await client.info()
        here.clear()

    asyncio.run(main())
    assert len(calls) > 20
    assert [name for name, on_loop in calls if on_loop] == []


def noted(function, name, here, calls):
    def call(*arguments, **keywords):
        calls.append((name, threading.get_ident() in here))
        return function(*arguments, **keywords)

    return call


def test_clients_share_a_directory_and_the_last_one_closes_it(tmp_path):
    async def main():
        first, second = Client(tmp_path / "data"), Client(f"{tmp_path}/./data")
        bucket = await first.create_bucket("b")
        await bucket.write("x", b"", 1)
        theirs = await second.get_bucket("b")
        await first.close()
        assert await times(theirs.query("x")) == [1]
        with pytest.raises(lamina.errors.Locked):
            lamina.open(tmp_path / "data")
        await second.close()
        with lamina.open(tmp_path / "data") as db:
            assert "b" in db.buckets
            async with Client(tmp_path / "data") as third:
                status, message = await fails(third.info())
                assert status == -1
                assert "data" in message

    asyncio.run(main())


def test_first_requests_that_come_together_open_a_directory_once(tmp_path, monkeypatch):
    from lamina.faces.reduct import app

    made = []

    class Counted(app.Face):
        def __init__(self, *arguments, **keywords):
            made.append(self)
            super().__init__(*arguments, **keywords)

    monkeypatch.setattr(app, "Face", Counted)

    async def main():
        async with Client(tmp_path / "data") as client:
            await asyncio.gather(*(client.create_bucket(f"b{i}") for i in range(8)))
            assert len(await client.list()) == 8

    asyncio.run(main())
    assert len(made) == 1


def test_a_lost_client_gives_its_directory_back(tmp_path):
    import gc

    async def main():
        await Client(tmp_path / "data").create_bucket("b")

    asyncio.run(main())
    gc.collect()
    with lamina.open(tmp_path / "data") as db:
        assert "b" in db.buckets


def test_a_database_in_memory_belongs_to_its_client(tmp_path):
    async def main():
        async with Client(":memory:") as one, Client(":memory:") as other:
            await one.create_bucket("b")
            assert await other.list() == []

    asyncio.run(main())


def test_a_directory_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")

    async def main():
        async with Client(tmp_path / "file") as client:
            assert (await fails(client.info()))[0] == -1

    asyncio.run(main())


def test_what_was_written_in_a_directory_is_served(tmp_path, serve):
    """And a link that was made there works."""
    folder = tmp_path / "data"

    async def write():
        async with Client(folder) as client:
            bucket = await client.create_bucket("b")
            await bucket.write("x", b"content", 5, labels={"k": "v"})
            return await bucket.create_query_link("x", record_timestamp=5)

    link = asyncio.run(write())
    assert link.startswith("http://localhost:8383/api/v1/links/x_5.bin?")
    server = serve(folder=folder)
    with urllib.request.urlopen(link.replace("http://localhost:8383", server.url), timeout=20) as answer:
        assert answer.read() == b"content"


def test_a_directory_replicates_to_a_server(tmp_path, reduct):
    name = f"own-{uuid4().hex[:12]}"

    async def main():
        async with Client(tmp_path / "data") as client, Client(reduct.url) as there:
            bucket = await client.create_bucket("b")
            settings = ReplicationSettings(src_bucket="b", dst_bucket=name, dst_host=reduct.url)
            await client.create_replication("r", settings)
            await bucket.write("x", b"content", 5, labels={"k": "v"})
            async with asyncio.timeout(20):
                while not [each for each in await there.list() if each.name == name and each.latest_record == 5]:
                    await asyncio.sleep(0.05)
            async with (await there.get_bucket(name)).read("x", 5) as record:
                assert (await record.read_all(), record.labels) == (b"content", {"k": "v"})
            assert (await client.get_replication_detail("r")).info.is_active

    asyncio.run(main())
