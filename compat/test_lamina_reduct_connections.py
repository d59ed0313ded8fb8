"""Clients of `lamina.reduct` that open, close, share, lose and authenticate: on a server and on a directory.

Every test runs in both modes, unless its name says which.
"""

import asyncio
import os
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from compat.lamina_reduct_places import (
    fails,
    guarded,
    guarded_directory,
    own_bucket,
    times,
    url,
)
from compat.reductserver import API_TOKEN

import lamina
from lamina.reduct import (
    Batch,
    BucketSettings,
    Client,
    Permissions,
    QuotaType,
    ReductError,
    ReplicationSettings,
)

__all__ = ["guarded", "url"]


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


def test_one_client_serves_loops_of_several_threads_and_one_after_another(url):
    client = Client(url)
    name = f"own-{uuid4().hex[:12]}"
    failures = []

    async def write(start, count):
        bucket = await client.create_bucket(name, exist_ok=True)
        for time_us in range(start, start + count):
            await bucket.write("x", b"", time_us)
            await client.info()

    def work(start):
        try:
            asyncio.run(write(start, 10))
        except BaseException as error:
            failures.append(error)

    async def main():
        async with client:
            threads = [threading.Thread(target=work, args=(start,)) for start in (100, 200, 300)]
            for thread in threads:
                thread.start()
            await write(400, 10)
            await asyncio.to_thread(lambda: [thread.join() for thread in threads])
            return await times((await client.get_bucket(name)).query("x"))

    assert asyncio.run(main()) == [start + i for start in (100, 200, 300, 400) for i in range(10)]
    assert failures == []

    async def enter():
        await client.__aenter__()
        await write(500, 1)

    async def leave():
        await write(600, 1)
        await client.close()
        assert await fails(client.info()) == (-1, "the client is closed")

    asyncio.run(enter())
    asyncio.run(leave())


def test_a_forked_child_has_connections_of_its_own_and_not_the_directory(url):
    client = Client(url)
    name = f"own-{uuid4().hex[:12]}"

    async def write(time_us):
        bucket = await client.create_bucket(name, exist_ok=True)
        await bucket.write("x", b"", time_us)

    async def main():
        async with client:
            await write(1)
            child = os.fork()
            if child == 0:
                with ThreadPoolExecutor(1) as pool:  # a loop of the child's own
                    error = pool.submit(lambda: asyncio.run(_outcome(write(2)))).result()
                refused = isinstance(error, ReductError) and error.status_code == -1 and "held by process" in str(error)
                os._exit(0 if refused or error is None else 1)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            await write(3)
            return status, await times((await client.get_bucket(name)).query("x"))

    status, found = asyncio.run(main())
    assert status == 0
    assert found == ([1, 2, 3] if isinstance(url, str) and url.startswith("http") else [1, 3])


async def _outcome(call):
    try:
        await call
    except Exception as error:
        return error
    return None


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
