"""What a client does when its server fails: what is asked again, what is not, and what the program is told."""

import asyncio
import json

import pytest

from lamina.reduct import Batch, Bucket, Client, Permissions, RecordBatch, ReductError
from lamina.reduct.tests.rawserver import HANG_UP, RawServer, answer

INFO = json.dumps(
    {"version": "1.21.0", "bucket_count": 0, "usage": 0, "uptime": 1, "oldest_record": 0, "latest_record": 0,
     "defaults": {"bucket": {}}}
).encode()  # fmt: skip

API = {"x_reduct_api": "1.21", "server": "ReductStore 1.21.0 (Lamina/0)"}
QUERY = answer(body=b'{"id":7}', **API)
THREE = {
    "x_reduct_entries": "e",
    "x_reduct_start_ts": 5,
    "x_reduct_0_0": "3,a/b,",
    "x_reduct_0_1": "3",
    "x_reduct_0_2": "4",
}


def batch(last, **more):
    return answer(body=b"abcdefghij", x_reduct_last=last, **THREE, **API, **more)


def with_server(test):
    """A test that is given a server and an entered client of it, on a loop of its own."""

    def run():
        async def main():
            async with RawServer().running() as server, Client(server.url, api_token="t") as client:
                await test(server, client)

        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def fails(call):
    with pytest.raises(ReductError) as caught:
        await call
    return caught.value.status_code, caught.value.message


async def contents(records):
    return [await record.read_all() async for record in records]


# Answers


@with_server
async def test_a_refusal_has_the_status_and_message_of_the_answer(server, client):
    server.answers = [answer(409, b'{"detail":"x"}', x_reduct_error="already there"), answer(500, b"boom")]
    assert await fails(client.info()) == (409, "already there")
    assert await fails(client.info()) == (500, "Unknown error")
    assert b"Authorization: Bearer t" in server.heads[0]


def test_other_major_versions_are_refused():
    async def main():
        for version in ("2.0", "0.9", "abc", "1"):
            async with RawServer().running() as server, Client(server.url) as client:
                server.answers = [answer(body=INFO, x_reduct_api=version)]
                said = f"Unsupported API version {version}. Client version is 1.21."
                assert await fails(client.info()) == (400, said)

    asyncio.run(main())


@with_server
async def test_an_old_server_is_warned_of_and_a_new_one_is_not(server, client):
    server.answers = [answer(body=INFO, x_reduct_api="1.30"), answer(body=INFO, x_reduct_api="1.18")]
    await client.info()
    with pytest.warns(UserWarning, match=r"Server API version is too old: 1\.18"):
        await client.info()


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b""])
def test_what_is_no_reductstore_is_not_taken_for_one(body):
    records = Batch()
    records.add(5, b"x")

    async def main():
        async with RawServer().running() as server:
            for call in (
                lambda client: client.info(), lambda client: client.get_bucket("b"),
                lambda client: client.create_bucket("b"),
                lambda client: Bucket("b", client._http).write("e", b"x", 5),
                lambda client: Bucket("b", client._http).write_batch("e", records),
                lambda client: contents(Bucket("b", client._http).query("e")),
            ):  # fmt: skip
                async with Client(server.url) as client:
                    server.answers = [answer(body=body, server="nginx")]
                    status, message = await fails(call(client))
                    assert (status, message) == (-1, "what answers is no ReductStore: it tells no version of the API")

    asyncio.run(main())


@with_server
async def test_a_server_of_before_the_header_is_known_by_its_name(server, client):
    server.answers = [answer(body=INFO, server="ReductStore 1.3.0")]
    assert (await client.info()).version == "1.21.0"


# Connections


def test_no_server_and_no_such_host():
    async def main():
        async with Client("http://127.0.0.1:1") as client:
            status, message = await fails(client.info())
            assert status == -1
            assert "127.0.0.1:1" in message

    asyncio.run(main())


@with_server
async def test_a_question_is_asked_again_once(server, client):
    server.answers = [HANG_UP, answer(body=INFO, **API)]
    await client.info()
    server.answers = [HANG_UP, HANG_UP]
    assert (await fails(client.info()))[0] == -1
    assert len(server.asked) == 4


@with_server
async def test_what_changes_something_is_not_sent_again(server, client):
    bucket = Bucket("b", client._http)
    records = Batch()
    records.add(5, b"x")
    changes = [
        bucket.write("e", b"x", 5), bucket.update("e", 5, {}), bucket.remove_record("e", 5), bucket.remove(),
        bucket.write_batch("e", records), bucket.rename("c"), client.create_bucket("b"),
        client.create_token("t", Permissions()),
    ]  # fmt: skip
    server.answers = [answer(body=INFO, **API)]
    await client.info()
    for change in changes:
        server.answers = [HANG_UP]
        server.asked.clear()
        assert (await fails(change))[0] == -1
        assert len(server.asked) == 1


@with_server
async def test_a_kept_connection_that_was_closed_costs_a_question_nothing(server, client):
    server.answers = [answer(body=INFO, cut=True, **API), answer(body=INFO, **API)]
    await client.info()
    await client.info()


@with_server
async def test_a_body_that_breaks_off(server, client):
    bucket = Bucket("b", client._http)
    broken = answer(body=b"abc", length=10, x_reduct_time=5, cut=True, **API)

    async def read():
        async with bucket.read("e", 5) as record:
            return await record.read_all()

    server.answers = [broken, answer(body=b"abc", x_reduct_time=5, **API)]
    assert await read() == b"abc"
    server.answers = [broken, broken]
    assert (await fails(read()))[0] == -1
    server.answers = [answer(body=INFO[:5], length=100, cut=True), answer(body=INFO, **API)]
    assert (await client.info()).version == "1.21.0"


@with_server
async def test_a_content_that_breaks_off_when_some_of_it_was_read(server, client):
    bucket = Bucket("b", client._http)
    size = 3 << 20
    server.answers = [answer(body=bytes(size // 2), length=size, x_reduct_time=5, cut=True, **API)]
    got = []

    async def read():
        async with bucket.read("e", 5) as record:
            async for piece in record.read(100_000):
                got.append(piece)

    assert (await fails(read()))[0] == -1
    assert got
    assert len(server.asked) == 1


@with_server
async def test_answers_that_hold_no_record(server, client):
    bucket = Bucket("b", client._http)

    async def read():
        async with bucket.read("e", 5):
            raise AssertionError("there is nothing")

    server.answers = [answer(body=b"abc", **API), answer(204, x_reduct_error="No content")]
    assert await fails(read()) == (200, "the answer holds no record")
    assert await fails(read()) == (204, "No content")


# Queries


@with_server
async def test_a_query_reads_batch_by_batch(server, client):
    server.answers = [answer(body=INFO, **API), QUERY, batch("false"), batch("true")]
    assert await contents(Bucket("b", client._http).query("e")) == [b"abc", b"def", b"ghij"] * 2
    assert [line for line, _ in server.asked[1:]] == [
        "POST /api/v1/io/b/q", "GET /api/v1/io/b/read", "GET /api/v1/io/b/read",
    ]  # fmt: skip
    assert b"x-reduct-query-id: 7" in server.heads[-1]


@with_server
async def test_a_query_that_was_not_begun_is_begun_again(server, client):
    bucket = Bucket("b", client._http)
    server.answers = [answer(body=INFO, **API), QUERY, HANG_UP, QUERY, batch("true")]
    assert len(await contents(bucket.query("e"))) == 3
    server.answers = [HANG_UP, QUERY, batch("true")]
    assert len(await contents(bucket.query("e"))) == 3


@with_server
async def test_a_query_that_breaks_later_ends_and_skips_nothing(server, client):
    """The server had gone on when the connection broke: to ask again would leave a batch out."""
    bucket = Bucket("b", client._http)
    server.answers = [answer(body=INFO, **API), QUERY, batch("false"), HANG_UP, batch("true")]
    got = []

    async def read():
        async for record in bucket.query("e"):
            got.append(await record.read_all())

    assert (await fails(read()))[0] == -1
    assert got == [b"abc", b"def", b"ghij"]
    assert len(server.asked) == 4


@with_server
async def test_a_server_that_was_started_again_knows_no_query(server, client):
    said = "Query 7 not found and it might have expired. Check TTL in your query request."
    server.answers = [answer(body=INFO, **API), QUERY, batch("false"), answer(404, x_reduct_error=said)]
    got = []

    async def read():
        async for record in Bucket("b", client._http).query("e"):
            got.append(record)

    assert await fails(read()) == (404, said)
    assert len(got) == 3
    assert [await record.read_all() for record in got] == [b"abc", b"def", b"ghij"]


@with_server
async def test_answers_that_are_no_batch(server, client):
    bucket = Bucket("b", client._http)
    server.answers = [answer(body=INFO, **API)]
    await client.info()
    broken = [
        {}, {"x_reduct_start_ts": "x"}, {"x_reduct_entries": "e", "x_reduct_start_ts": 5, "x_reduct_0_0": "zz"},
        {"x_reduct_entries": "e", "x_reduct_start_ts": 5, "x_reduct_1_0": "3,a,"},
        {"x_reduct_entries": "e", "x_reduct_start_ts": 5, "x_reduct_0_0": "3"},
        {"x_reduct_entries": "e", "x_reduct_start_ts": 5, "x_reduct_labels": "a", "x_reduct_0_0": "3,,4=x"},
    ]  # fmt: skip
    for headers in broken:
        server.answers = [QUERY, answer(body=b"abc", x_reduct_last="true", **headers)]
        status, message = await fails(contents(bucket.query("e")))
        assert status == -1
        assert "no batch of records" in message


@with_server
async def test_a_batch_whose_body_is_too_short(server, client):
    server.answers = [answer(body=INFO, **API), QUERY, answer(body=b"abcd", x_reduct_last="true", **THREE)]
    assert await fails(contents(Bucket("b", client._http).query("e"))) == (
        -1, "the answer ended before its last record",
    )  # fmt: skip


@with_server
async def test_a_program_that_stops_early_leaves_a_connection_that_works(server, client):
    server.answers = [answer(body=INFO, **API), QUERY, batch("false"), answer(body=INFO, **API)]
    async for record in Bucket("b", client._http).query("e"):
        assert record.timestamp == 5
        break
    await client.info()


# Servers older than /io


@pytest.mark.filterwarnings("ignore:Warning. Server API version")
@with_server
async def test_an_old_server_is_asked_in_protocol_v1(server, client):
    bucket = Bucket("b", client._http)
    old = {"x_reduct_api": "1.17"}
    server.answers = [
        answer(body=INFO, **old), answer(body=b'{"id":7}', **old),
        answer(body=b"abcdefg", x_reduct_last="true", x_reduct_time_7="4,a/b", x_reduct_time_5='3,a/b,l=1,m="x,y"'),
    ]  # fmt: skip
    got = [
        (record.timestamp, record.last, record.labels, await record.read_all()) async for record in bucket.query("e")
    ]
    assert got == [(5, False, {"l": "1", "m": "x,y"}, b"abc"), (7, True, {}, b"defg")]
    assert [line for line, _ in server.asked[1:]] == ["POST /api/v1/b/b/e/q", "GET /api/v1/b/b/e/batch?q=7"]
    server.answers = [answer(body=b'{"removed_records":3}')]
    assert await bucket.remove_query("e", start=5) == 3
    missing = "is not supported by the server. Requires server version 1.18 or higher."
    assert await fails(contents(bucket.query(["a", "b"]))) == (-1, f"Multi-entry query {missing}")
    assert await fails(bucket.remove_query(["a", "b"])) == (-1, f"Multi-entry remove query {missing}")
    assert await fails(bucket.write_record_batch(RecordBatch())) == (-1, f"Multi-entry batch API {missing}")
    server.answers = [answer(body=b'{"link":"x"}')]
    assert await bucket.create_query_link("e", record_index=1) == "x"
    assert json.loads(server.asked[-1][1])["index"] == 1
    server.answers = [answer(body=b'{"value":"x"}')]
    assert await client.create_token("t", Permissions()) == "x"
    assert json.loads(server.asked[-1][1]) == {"full_access": False, "read": [], "write": []}


@with_server
async def test_a_server_that_would_drop_a_parameter_is_not_asked(server, client):
    """It would remove everything in the interval."""
    bucket = Bucket("b", client._http)
    server.answers = [answer(body=INFO, x_reduct_api="1.21", server="ReductStore 1.21.0")]
    assert await fails(bucket.remove_query("e", include={"a": 1})) == (
        422,
        "this server ignores 'include': say it in 'when'",
    )
    assert len(server.asked) == 1


# Without async with


def test_requests_of_a_client_that_was_not_entered_have_a_connection_each():
    async def main():
        async with RawServer().running() as server:
            client = Client(server.url)
            server.answers = [answer(body=INFO, **API)] * 2
            await client.info()
            await client.info()
            assert all(b"connection: close" in head.lower() for head in server.heads)
            await client.close()
            assert await fails(client.info()) == (-1, "the client is closed")

    asyncio.run(main())


def test_a_session_of_the_program_is_used_and_left_open():
    import aiohttp

    async def main():
        async with RawServer().running() as server, aiohttp.ClientSession(headers={"x-mine": "1"}) as session:
            server.answers = [answer(body=INFO, **API)]
            async with Client(server.url, session=session) as client:
                await client.info()
            assert not session.closed
            assert b"x-mine: 1" in server.heads[0]

    asyncio.run(main())


def test_a_timeout_is_a_timeout():
    async def main():
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with Client(f"http://127.0.0.1:{port}", timeout=0.05) as client:
                with pytest.raises(TimeoutError):
                    await client.info()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8383", "localhost:8383/base", "ftp://x", "", "file:///data", "http:/x", "http://", "http://:80",
     "http://host:port", "http://host:99999", "http://host?x=1", "http://host/#x"],
)  # fmt: skip
def test_an_address_that_is_neither_a_server_nor_a_path(url):
    with pytest.raises(ValueError, match="http://"):
        Client(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "./data"])
@pytest.mark.parametrize("token", ["secret\n", "a\nb", "ä"])
def test_what_cannot_be_a_token(url, token):
    with pytest.raises(ValueError, match="api_token: expected printable ASCII text") as refused:
        Client(url, api_token=token)
    assert "secret" not in str(refused.value)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="unknown argument 'verify'"):
        Client("http://x", verify=False)
