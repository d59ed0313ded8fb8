"""Bodies in both directions, 100 Continue, and answers that come before the body's end."""

import asyncio
import ssl

import pytest
import trustme

from lamina.server import protocol
from lamina.server.tests.wired import echo, read_body, refuse, reply, run, settled, until, wired

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1 << 20


def post(size, *lines):
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % size


EXPECT = b"Expect: 100-continue"


def test_100_continue_is_sent_when_the_body_is_read_and_not_before():
    async def main():
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            await echo(scope, receive, send)

        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(3, EXPECT))
            await until(lambda: server.state.tasks)
            await settled()
            early = bytes(wire.reader._buffer)
            release.set()
            status = (await wire.head())[0]
            wire.send(b"abc")
            return early, status, await wire.answer()

    early, status, answer = run(main())
    assert (early, status) == (b"", 100)
    assert (answer.status, answer.body) == (200, b"abc")


def test_no_100_continue_when_the_body_is_there_already_or_empty():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(post(3, EXPECT) + b"abc" + post(0, EXPECT))
            return await wire.answer(), await wire.answer()

    assert [answer.status for answer in run(main())] == [200, 200]


def test_no_100_continue_to_a_client_that_has_begun():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(post(6, EXPECT) + b"abc")
            await until(lambda: server.state.tasks)
            await settled()
            early = bytes(wire.reader._buffer)
            wire.send(b"def")
            return early, (await wire.answer()).body

    assert run(main()) == (b"", b"abcdef")


def test_a_refusal_without_100_continue_comes_at_once_and_ends_the_connection():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            wire.send(post(80_000_000, EXPECT))
            return await wire.answer(), await wire.ended()

    answer, ended = run(main())
    assert (answer.status, answer.headers["connection"], ended) == (409, "close", True)
    assert answer.body == b'{"detail":"exists"}'


def test_a_short_body_is_drained_before_its_refusal_and_the_connection_stays():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            wire.send(post(MIB) + b"x" * (MIB - 1))
            await until(lambda: server.connection._active is not None and server.connection._active.received == MIB - 1)
            await settled()
            early = bytes(wire.reader._buffer)
            wire.send(b"x" + GET)
            return early, await wire.answer(), await wire.answer()

    early, first, second = run(main())
    assert early == b""
    assert (first.status, first.body) == (409, b'{"detail":"exists"}')
    assert "connection" not in first.headers
    assert second.status == 409


def test_of_a_long_body_the_refusal_begins_at_once_and_ends_behind_it():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            size = 5 * MIB
            wire.send(post(size))
            status, headers = await wire.head()
            length = int(headers["content-length"])
            begun = await wire.reader.readexactly(length - 1)
            await settled()
            held = bytes(wire.reader._buffer)
            wire.send(b"x" * size)
            return status, headers, begun, held, await wire.reader.read()

    status, headers, begun, held, rest = run(main())
    assert (status, headers["connection"], headers["x-reduct-error"]) == (409, "close", "exists")
    assert (begun + rest, held, rest) == (b'{"detail":"exists"}', b"", b"}")


@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
def test_an_empty_refusal_of_a_long_body_keeps_the_connection_until_the_body_was_sent(method):
    async def app(scope, receive, send):
        await reply(send, 409)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(5 * MIB).replace(b"POST", method))
            status, headers = await wire.head()
            await settled()
            kept = not wire.reader.at_eof()
            wire.send(b"x" * (5 * MIB))
            return status, headers["content-length"], kept, await wire.ended()

    assert run(main()) == (409, "0", True, True)


def test_a_short_chunked_body_is_drained_before_its_refusal():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await until(lambda: server.state.tasks)
            await settled()
            early = bytes(wire.reader._buffer)
            wire.send(b"0\r\n\r\n" + GET)
            return early, await wire.answer(), await wire.answer()

    early, first, second = run(main())
    assert early == b""
    assert (first.status, second.status) == (409, 409)
    assert "connection" not in first.headers


def test_of_a_long_chunked_body_the_refusal_begins_where_a_short_one_would_have_ended():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            size = 3 * MIB
            wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % size + b"x" * (size - 1))
            status, headers = await wire.head()
            begun = await wire.reader.readexactly(int(headers["content-length"]) - 1)
            await settled()
            held = bytes(wire.reader._buffer)
            wire.send(b"x\r\n0\r\n\r\n")
            return status, headers["connection"], held, begun + await wire.reader.read()

    assert run(main()) == (409, "close", b"", b'{"detail":"exists"}')


def test_discarding_has_an_end():
    async def main():
        async with wired(refuse, drain_bytes=1000, discard_bytes=100_000) as server:
            wire = await server.connect()
            wire.send(post(10**9) + b"x" * 1_000_000)
            answer = await wire.answer()
            return answer.status, answer.body, await wire.ended()

    assert run(main()) == (409, b'{"detail":"exists"}', True)


def test_an_error_in_the_middle_of_an_upload_is_answered_like_one_before_it():
    async def app(scope, receive, send):
        await receive()
        await refuse(scope, receive, send)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(20 * MIB) + b"x" * MIB)
            status, _ = await wire.head()
            wire.send(b"x" * (19 * MIB))
            return status, await wire.reader.read()

    assert run(main()) == (409, b'{"detail":"exists"}')


def test_an_answered_request_reads_as_disconnected():
    seen = []

    async def app(scope, receive, send):
        await reply(send)
        seen.append((await receive())["type"])

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(3) + b"abc")
            await wire.answer()
            await until(lambda: seen)

    run(main())
    assert seen == ["http.disconnect"]


def test_a_lost_connection_reads_as_disconnected_and_takes_answers_nowhere():
    seen = []

    async def app(scope, receive, send):
        seen.append(await read_body(receive))
        await reply(send)
        seen.append("sent")

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(10) + b"abc")
            await until(lambda: server.state.tasks)
            wire.close()
            await until(lambda: len(seen) == 2)

    run(main())
    assert seen == [(b"abc", False), "sent"]


@pytest.mark.parametrize("chunked", [False, True])
def test_little_is_read_while_nobody_asks_for_it_and_all_of_it_arrives(chunked):
    """A mebibyte and one read at most; of a long body whose length is known the first read alone."""

    async def main():
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            body, _ = await read_body(receive)
            await reply(send, 200, b"%d" % len(body))

        async with wired(app) as server:
            wire = await server.connect()
            if chunked:
                wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                wire.send(b"%x\r\n" % (40 * MIB) + b"x" * (40 * MIB) + b"\r\n0\r\n\r\n")
            else:
                wire.send(post(40 * MIB) + b"x" * (40 * MIB))
            await until(lambda: server.state.tasks and server.connection.flow.read_paused)
            await settled()
            waiting = server.connection._active.received
            release.set()
            return waiting, await wire.answer()

    waiting, answer = run(main())
    if chunked:
        assert MIB <= waiting <= MIB + protocol.READ_BYTES
    else:
        assert waiting <= protocol.READ_BYTES
    assert answer.body == b"%d" % (40 * MIB)


def test_an_upload_behind_another_request_goes_on_when_it_is_its_turn():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(post(3) + b"abc" + post(4 * MIB) + b"y" * (4 * MIB))
            return await wire.answer(), await wire.answer()

    first, second = run(main())
    assert (first.body, second.body) == (b"abc", b"y" * (4 * MIB))


def test_a_body_that_begins_after_its_turn_came_is_read():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(GET + post(3))
            assert (await wire.answer()).status == 200
            await settled()
            wire.send(b"abc")
            return (await wire.answer()).body

    assert run(main()) == b"abc"


def test_nothing_is_read_while_requests_wait():
    async def main():
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            await reply(send)

        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET * 100_000)
            await until(lambda: server.state.tasks and server.connection.pipeline)
            await settled()
            waiting = len(server.connection.pipeline)
            release.set()
            for _ in range(20_000):
                assert (await wire.answer()).status == 200
            return waiting

    assert run(main()) * len(GET) <= 2 * protocol.READ_BYTES


def test_sending_waits_for_the_reader():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (24 * MIB))]})
        for n in range(24):
            await send({"type": "http.response.body", "body": memoryview(bytes([n]) * MIB), "more_body": n < 23})
            sent.append(n)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET)
            await until(lambda: sent and server.connection.flow.write_paused)
            await settled()
            before = len(sent)
            return before, await wire.answer()

    before, answer = run(main())
    assert before < 20
    assert answer.body == b"".join(bytes([n]) * MIB for n in range(24))


@pytest.mark.parametrize(
    ("status", "headers", "method", "expected"),
    [
        (200, [(b"content-length", b"1234")], b"HEAD", {"content-length": "1234"}),
        (204, [], b"GET", {}),
        (200, [], b"GET", {"transfer-encoding": "chunked"}),
        (200, [], b"HEAD", {}),
        (200, [(b"Content-Length", b"0"), (b"Connection", b"Close")], b"GET", {"connection": "close"}),
    ],
)
def test_headers_of_length(status, headers, method, expected):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET.replace(b"GET", method))
            first = await wire.answer(method.decode())
            if "connection" not in first.headers:
                wire.send(GET.replace(b"GET", method))
                assert (await wire.answer(method.decode())).status == status
            return first

    answer = run(main())
    names = ("content-length", "transfer-encoding", "connection")
    found = {name: answer.headers[name] for name in names if name in answer.headers}
    assert found == expected | ({"content-length": "0"} if expected == {"connection": "close"} else {})


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("size", [1, 200_000])
def test_bodies_of_unknown_length(version, size):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"z" * size, "more_body": True})
        await send({"type": "http.response.body"})

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET.replace(b"1.1", version))
            return await wire.answer()

    answer = run(main())
    assert answer.body == b"z" * (3 * size)
    assert ("transfer-encoding" in answer.headers) is (version == b"1.1")


@pytest.mark.parametrize("body", [b"abcd", b"ab"])
def test_a_body_that_is_not_as_long_as_announced_is_a_defect(body, caplog):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": body})

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET)
            return await wire.reader.read()

    assert not run(main()).endswith(b"abc")
    assert "than its content-length" in caplog.text


def test_a_header_that_would_split_the_answer_is_a_defect(caplog):
    async def app(scope, receive, send):
        await reply(send, 200, b"", [(b"x-reduct-label-a", b"1\r\nset-cookie: x")])

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET)
            return await wire.answer(), await wire.ended()

    answer, ended = run(main())
    assert (answer.status, ended) == (500, True)
    assert "set-cookie" not in answer.headers


def test_the_end_of_the_server_waits_for_answers_but_not_for_silence():
    async def main():
        async with wired(echo) as server:
            silent, half, idle, upload, going = [await server.connect() for _ in range(5)]
            half.send(b"GET / HTTP/1.1\r\nHost:")
            idle.send(GET)
            await idle.answer()
            upload.send(post(10) + b"abc")
            going.send(post(3) + b"a")
            await until(lambda: len(server.state.tasks) == 2)
            for connection in list(server.state.connections):
                connection.shutdown()
            ended = [await wire.ended() for wire in (silent, half, idle)]
            going.send(b"bc")
            finished = await going.answer()
            broken = await upload.answer()
            await until(lambda: not server.state.connections)
            return ended, finished, broken

    ended, finished, broken = run(main())
    assert ended == [True] * 3
    assert (finished.status, finished.body, finished.headers["connection"]) == (200, b"abc", "close")
    assert (broken.status, broken.headers["x-reduct-error"]) == (503, "The server is ending")


def test_refusals_over_tls_arrive_too():
    authority = trustme.CA()
    tls, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(trust)

    async def main():
        async with wired(refuse, tls=tls, trust=trust) as server:
            wire = await server.connect()
            wire.send(post(5 * MIB))
            status, headers = await wire.head()
            wire.send(b"x" * (5 * MIB))
            body = await wire.reader.readexactly(int(headers["content-length"]))
            wire.close()
            await until(lambda: not server.state.connections)
            other = await server.connect()
            other.send(b"rubbish\r\n\r\n" + b"x" * MIB)
            answer = await other.answer()
            await settled()
            server.pass_time(2)
            return status, body, answer.status, await other.ended()

    assert run(main()) == (409, b'{"detail":"exists"}', 400, True)


def test_what_was_said_is_not_cut_off_by_a_client_that_reads_slowly():
    async def app(scope, receive, send):
        await reply(send, 409, b"z" * (30 * MIB))

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(10, EXPECT))
            await until(lambda: server.state.connections and server.connection._lingering)
            await settled()
            server.pass_time(100)
            return await wire.answer(), await wire.ended()

    answer, ended = run(main())
    assert (len(answer.body), ended) == (30 * MIB, True)
