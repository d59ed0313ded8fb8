"""Who is too slow. Time passes by hand: `pass_time` sweeps once per second."""

import asyncio
import json

import pytest

from lamina.server.tests.wired import echo, read_body, refuse, reply, run, settled, until, wired

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
LATE = "Timeout while receiving data"


async def open_after(server, wire, seconds):
    server.pass_time(seconds)
    await settled()
    return len(server.state.connections) == 1 and not wire.reader.at_eof()


@pytest.mark.parametrize("begun", [b"", b"GET /x HT", b"GET /x HTTP/1.1\r\nHost: a\r\n"])
def test_a_connection_without_a_whole_head_is_closed_after_10_s(begun):
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(begun)
            await settled()
            kept = await open_after(server, wire, 9)
            server.pass_time(1)
            return kept, await wire.ended()

    assert run(main()) == (True, True)


def test_bytes_that_complete_nothing_do_not_buy_time():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            kept = []
            for piece in (b"\r\n", b"GET /x HTTP/1.1\r\n", b"a: b\r\n", b"c: d\r\n"):
                wire.send(piece)
                await settled()
                kept.append(await open_after(server, wire, 3))
            return kept, await wire.ended()

    assert run(main()) == ([True, True, True, False], True)


def test_between_requests_a_connection_is_kept_for_75_s():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            for _ in range(2):
                wire.send(GET)
                assert (await wire.answer()).status == 200
                kept = await open_after(server, wire, 74)
            server.pass_time(1)
            return kept, await wire.ended()

    assert run(main()) == (True, True)


def test_the_head_of_a_later_request_has_10_s_from_its_first_byte():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(GET)
            await wire.answer()
            kept = [await open_after(server, wire, 60)]
            wire.send(b"GET")
            await settled()
            kept.append(await open_after(server, wire, 9))
            server.pass_time(1)
            return kept, await wire.ended()

    assert run(main()) == ([True, True], True)


def test_a_body_that_stops_gets_400_after_30_s_and_the_application_a_disconnect():
    seen = []

    async def app(scope, receive, send):
        seen.append(await read_body(receive))
        await reply(send, 200)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST % 10 + b"abc")
            await until(lambda: server.state.tasks)
            await settled()
            kept = await open_after(server, wire, 29)
            server.pass_time(1)
            return kept, await wire.answer(), await wire.ended()

    kept, answer, ended = run(main())
    assert (kept, answer.status, answer.headers["x-reduct-error"], ended) == (True, 400, LATE, True)
    assert json.loads(answer.body) == {"detail": LATE}
    assert seen == [(b"abc", False)]


def test_the_body_of_a_request_in_a_queue_has_its_time_when_it_is_its_turn():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(GET + POST % 10 + b"abc")
            first = await wire.answer()
            await settled()
            server.pass_time(30)
            return first.status, (await wire.answer()).status

    assert run(main()) == (200, 400)


def test_every_byte_buys_a_body_time_but_less_than_a_kibibyte_a_second_is_too_slow():
    async def main():
        async with wired(echo) as server:
            results = []
            for rate in (2048, 1000):
                wire = await server.connect()
                wire.send(POST % 1_000_000)
                await until(lambda: server.state.tasks)
                seconds = 0
                while seconds < 40 and not wire.reader._buffer:
                    wire.send(b"x" * rate)
                    await settled()
                    server.pass_time(1)
                    await settled()
                    seconds += 1
                results.append((seconds, bytes(wire.reader._buffer)[:12]))
                wire.close()
                await until(lambda: not server.state.connections)
            return results

    fast, slow = run(main())
    assert fast == (40, b"")
    assert slow == (30, b"HTTP/1.1 400")


def test_time_in_which_the_server_does_not_read_does_not_count():
    async def main():
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            await echo(scope, receive, send)

        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST % 10 + b"abc")
            await until(lambda: server.state.tasks)
            kept = [await open_after(server, wire, 300)]
            release.set()
            await settled()
            kept.append(await open_after(server, wire, 29))
            wire.send(b"defghij")
            return kept, (await wire.answer()).body

    assert run(main()) == ([True, True], b"abcdefghij")


def test_a_short_rest_that_does_not_come_is_not_waited_for():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            wire.send(POST % 10 + b"abc")
            await until(lambda: server.state.tasks)
            await settled()
            server.pass_time(30)
            return await wire.answer(), await wire.ended()

    answer, ended = run(main())
    assert (answer.status, answer.headers["connection"], ended) == (409, "close", True)


def test_a_long_rest_is_discarded_for_30_s():
    async def main():
        async with wired(refuse) as server:
            wire = await server.connect()
            wire.send(POST % 10**9)
            status, headers = await wire.head()
            await settled()
            server.pass_time(29)
            wire.send(b"x")
            await settled()
            begun = bytes(wire.reader._buffer)
            server.pass_time(1)
            return status, begun, int(headers["content-length"]), await wire.reader.read()

    status, begun, length, body = run(main())
    assert (status, len(begun), len(body)) == (409, length - 1, length)


def test_a_client_that_does_not_close_is_left_after_2_s():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(b"rubbish\r\n\r\n")
            assert (await wire.answer()).status == 400
            assert wire.reader.at_eof() or await wire.reader.read() == b""
            before = len(server.state.connections)
            server.pass_time(2)
            await until(lambda: not server.state.connections)
            return before

    assert run(main()) == 1


def test_an_answer_has_no_deadline():
    async def main():
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            await reply(send, 200)

        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET + b"GET")
            await until(lambda: server.state.tasks)
            kept = await open_after(server, wire, 1000)
            release.set()
            return kept, (await wire.answer()).status

    assert run(main()) == (True, 200)
