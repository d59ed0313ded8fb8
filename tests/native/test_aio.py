"""`lamina.aio`: the same behaviour, awaited, on a directory and on a server; nothing of the native API is forgotten."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lamina
from lamina import NewRecord, aio, errors
from lamina.aio import twin
from lamina.aio.twin import RENAMED, TWINS, members
from tests.native.aiostub import ATTRIBUTES, STUB, stub
from tests.native.conftest import SMALL, T0, columns
from tests.native.served import LONG_S, served
from tests.native.test_parity import PAIRS, attributes


@pytest.fixture(params=["memory", "server"])
def opened(request):
    """A function that opens the database."""
    if request.param == "memory":
        yield lambda: aio.open(":memory:", settings=SMALL)
        return
    with served(":memory:", settings=SMALL) as server:
        yield lambda: aio.connect(server.url)


def run(main):
    return asyncio.run(asyncio.wait_for(main, LONG_S))


def test_every_public_name_of_the_native_api_has_its_twin():
    for native, remote in PAIRS.items():
        twin = TWINS[native.__name__]
        assert twin.of is remote
        plain = ATTRIBUTES.get(native.__name__, {}).keys()
        assert attributes(remote) - plain <= set(dir(twin)), native.__name__
        for name, own in RENAMED.items():
            assert (name in members(remote)) == hasattr(twin, own)


def test_the_stub_is_that_of_the_native_api(tmp_path):
    place = tmp_path / "stub.pyi"
    place.write_text(stub())
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", "--line-length", "120", str(place)], check=True)
    assert place.read_text() == STUB.read_text(), "run python -m tests.native.aiostub"


def test_streams(opened):
    async def main():
        async with await opened() as db:
            s = await db.streams.create("plant/pump", "vibration", unit="g")
            assert await s.insert(*columns(300)) == 11
            assert (await s.version, await s.unit, await s.exists()) == (11, "g", True)
            assert await s.values(T0, T0 + 2 * 10**9) == lamina.Samples(*columns(2))
            assert sum([len(chunk) async for chunk in s.iter_values()]) == 300
            assert (await s.windows(T0, T0 + 300 * 10**9, "100s")).count.tolist() == [100] * 3
            async with await s.at() as view:
                await s.delete(T0, T0 + 10**9)
                assert (view.version, await view.count(), await s.count()) == (11, 300, 299)
            with pytest.raises(errors.Closed):
                await view.count()
            other = await db.streams.create("plant/fan", "speed")
            assert await db.streams.insert_many({s: ([5], [5.0]), other: ([6], [6.0])}) == {s: 13, other: 11}
            assert await db.streams["plant/fan", "speed"] == other
            assert hash(await db.streams.get(other.uuid)) == hash(other)
            assert [one async for one in db.streams] == [other, s]
            assert await db.streams.length() == 2
            with pytest.raises(errors.StreamNotFound):
                await db.streams["plant/fan", "nothing"]
            async with await db.snapshot("now") as snapshot:
                assert await snapshot.version(s) == 13
            assert [row.name for row in await db.snapshots()] == ["now"]
        assert db.closed
        with pytest.raises(errors.Closed):
            await s.count()
        await db.close()

    run(main())


def test_records(opened):
    async def main():
        async with await opened() as db:
            bucket = await db.buckets.create("b", quota_size=10**9)
            entry = bucket.entry("e")
            await entry.write(b"x", 1, labels={"n": 1})

            async def pieces():
                for _ in range(3):
                    await asyncio.sleep(0)
                    yield bytes(100_000)

            await entry.write(pieces(), 2, size=300_000)
            assert await entry.write_many([NewRecord(i, b"%d" % i) for i in range(10, 1000)]) == [None] * 990
            found = [record async for record in entry.query()]
            assert [record.time_us for record in found] == [1, 2, *range(10, 1000)]
            assert (await found[0].read(), found[0].labels) == (b"x", (("n", "1"),))
            assert sum([len(part) async for part in found[1].chunks()]) == 300_000
            assert await (await entry.read(500)).read() == b"500"
            async for record in bucket.query(["e"]):
                assert record.entry == "e"
                break
            assert (await bucket.settings).quota_size == 10**9
            assert await db.buckets.has("b")
            assert [one.name async for one in db.buckets] == ["b"]
            assert await db.buckets.find("c") is None
            with pytest.raises(errors.AlreadyExists):
                await entry.write(b"x", 1)

    run(main())


def test_a_subscription_that_is_cancelled_loses_nothing(opened):
    async def main():
        async with await opened() as db:
            s = await db.streams.create("c", "s")
            async with await db.streams.subscribe([s.uuid]) as subscription:
                assert await subscription.get(0) is None
                waiting = asyncio.create_task(subscription.get())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await s.insert([1], [1.0])
                await s.insert([2], [2.0])
                found = []
                async for _, points in subscription:
                    found += points.time.tolist()
                    if len(found) == 2:
                        break
                assert found == [1, 2]
                endless = asyncio.create_task(subscription.get())
                await asyncio.sleep(0)
                await subscription.close()
                assert await endless is None

    run(main())


def test_the_loop_goes_on_while_the_engine_works(opened):
    async def main():
        async with await opened() as db:
            s = await db.streams.create("c", "s")
            turns, stop = 0, False

            async def spin():
                nonlocal turns
                while not stop:
                    turns += 1
                    await asyncio.sleep(0)

            spinning = asyncio.create_task(spin())
            await s.insert(np.arange(200_000), np.zeros(200_000))
            stop = True
            await spinning
            assert turns > 1

    run(main())


def test_what_was_opened_in_vain_leaves_no_thread(tmp_path):
    async def main():
        with pytest.raises(errors.NotFound):
            await aio.open(tmp_path / "nothing", create=False)

    run(main())
    for thread in threading.enumerate():
        if thread.name.startswith("lamina-aio"):
            thread.join(LONG_S)
            assert not thread.is_alive()


def test_an_iteration_that_is_cancelled_while_a_thread_reads_is_closed_when_that_is_through():
    reading, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def values():
        try:
            reading.set()
            go_on.wait(10)
            yield 1
        finally:
            closed.set()

    async def main():
        threads = twin.Threads(ThreadPoolExecutor(2))
        first = asyncio.create_task(anext(twin._drawn(threads, values(), 1)))
        await asyncio.to_thread(reading.wait, 10)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not closed.is_set()
        go_on.set()
        assert await asyncio.to_thread(closed.wait, 10)
        threads.close()

    asyncio.run(main())


@pytest.mark.parametrize("ended", [False, True])
def test_what_a_cancelled_call_opened_is_closed(ended):
    opening, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class View:
        def close(self):
            closed.set()

    def view():
        opening.set()
        go_on.wait(10)
        return View()

    async def main():
        threads = twin.Threads(ThreadPoolExecutor(2))
        call = asyncio.create_task(threads.run(view))
        await asyncio.to_thread(opening.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        if ended:
            threads.close()
        go_on.set()
        assert await asyncio.to_thread(closed.wait, 10)
        threads.close()

    asyncio.run(main())
