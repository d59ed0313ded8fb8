"""`lamina.reduct` of a server and of a directory: what reduct-py does not have, does otherwise, or leaves open.

Every test runs in both modes, unless its name says which.
"""

import asyncio
from types import SimpleNamespace

import pytest
from compat.lamina_reduct_places import (
    fails,
    ten,
    times,
    url,
    with_bucket,
)

from lamina.reduct import (
    Batch,
    Client,
    RecordBatch,
)

__all__ = ["url"]

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
