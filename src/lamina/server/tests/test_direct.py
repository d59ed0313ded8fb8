"""Bodies that threads move between the socket and where they belong; each way must give what the loop's way gives."""

import asyncio
import ssl
import threading

import pytest
import trustme

from lamina.server import direct as module
from lamina.server.tests.wired import read_body, reply, run, settled, until, wired

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1 << 20


def post(size, *lines):
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % size


def content(size):
    """Bytes that differ from place to place."""
    return b"".join(n.to_bytes(8, "little") for n in range(size // 8 + 1))[:size]


def on_thread(call, *arguments):
    return asyncio.get_running_loop().run_in_executor(None, call, *arguments)


def parts(body, size, head=b"", fail_at=None):
    """The body in parts of one buffer, which is overwritten."""
    buffer = bytearray(size)
    for at in range(0, len(body), size):
        if fail_at is not None and at >= fail_at:
            raise OSError("the disk")
        piece = body[at : at + size]
        buffer[:] = b"\xff" * size
        buffer[: len(piece)] = piece
        yield [memoryview(buffer)[: len(piece) // 2], memoryview(buffer)[len(piece) // 2 : len(piece)]]


def of(scope):
    return scope["extensions"][module.EXTENSION]


def sending(body, size=MIB, fail_at=None, status=200):
    """An application that answers with this body."""

    async def app(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", b"%d" % len(body))],
            }
        )
        try:
            await of(scope).send(on_thread, parts(body, size, fail_at=fail_at))
        except OSError:
            if of(scope).begun():
                raise
            await reply(send, 500, b"damaged")

    return app


# -- answers


@pytest.mark.parametrize(("length", "size"), [(1, 64), (100_000, 7_000), (20 * MIB + 5, MIB), (9 * MIB, 3 * MIB)])
def test_an_answer_is_what_its_parts_are(length, size):
    body = content(length)

    async def main():
        async with wired(sending(body, size)) as server:
            wire = await server.connect()
            wire.send(GET + GET)
            return [await wire.answer(), await wire.answer()]

    for answer in run(main()):
        assert (answer.status, answer.body == body) == (200, True)
        assert "connection" not in answer.headers


@pytest.mark.parametrize("size", [MIB, 100_000])
def test_parts_are_not_overwritten_before_a_slow_reader_has_them(size):
    body = content(40 * MIB)

    async def main():
        async with wired(sending(body, size)) as server:
            wire = await server.connect()
            wire.writer.transport.pause_reading()
            wire.send(GET)
            await until(lambda: server.connection.transport.get_write_buffer_size())
            await settled()
            wire.writer.transport.resume_reading()
            answer = await wire.answer()
            await until(lambda: server.connection.transport.get_write_buffer_limits()[1])  # its own are back
            return answer

    assert run(main()).body == body


def test_what_is_wrong_with_the_first_part_is_told_and_the_connection_stays():
    async def main():
        async with wired(sending(content(4 * MIB), fail_at=0)) as server:
            wire = await server.connect()
            wire.send(GET + GET)
            return [await wire.answer(), await wire.answer()]

    assert [(answer.status, answer.body) for answer in run(main())] == [(500, b"damaged")] * 2


def test_an_answer_that_fails_later_is_broken_off_behind_what_was_right(caplog):
    body = content(4 * MIB)

    async def main():
        async with wired(sending(body, fail_at=2 * MIB)) as server:
            wire = await server.connect()
            wire.send(GET)
            status, headers = await wire.head()
            return status, headers["content-length"], await wire.reader.read()

    assert run(main()) == (200, b"%d".decode() % len(body), body[: 2 * MIB])
    assert "the disk" in caplog.text


@pytest.mark.parametrize("length", [MIB, 3 * MIB])
def test_an_answer_of_another_length_is_a_defect(length, caplog):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (2 * MIB))]})
        await of(scope).send(on_thread, parts(content(length), MIB))

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET)
            await wire.head()
            return await wire.reader.read()

    assert run(main()) == content(min(length, 2 * MIB)), "nothing is sent that was not announced"
    assert "content-length" in caplog.text


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_answers_that_only_the_loop_can_write_are_the_same(method):
    """Nobody reads the request's body, so the end of the answer is held back; HEAD has none."""
    body = content(3 * MIB)

    async def main():
        async with wired(sending(body, status=409)) as server:
            wire = await server.connect()
            wire.send(post(5 * MIB).replace(b"POST", method))
            status, headers = await wire.head()
            begun = await wire.reader.readexactly(len(body) - 1) if method == b"GET" else b""
            await settled()
            held = bytes(wire.reader._buffer)
            wire.send(b"x" * (5 * MIB))
            return status, headers["content-length"], held, begun + await wire.reader.read()

    expected = body if method == b"GET" else b""
    assert run(main()) == (409, str(len(body)), b"", expected)


def test_a_client_that_goes_away_ends_the_sending():
    given = []

    def endless():
        for _ in range(10_000):
            given.append(None)
            yield [bytes(MIB)]

    async def app(scope, receive, send):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (10_000 * MIB))]}
        )
        await of(scope).send(on_thread, endless())

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(GET)
            await wire.reader.readexactly(MIB)
            wire.writer.transport.abort()
            await until(lambda: not server.state.tasks)

    run(main())
    assert len(given) < 200


def test_encrypted_connections_are_not_lent():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["extensions"])
        await reply(send, 200)

    authority = trustme.CA()
    tls, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(trust)

    async def main():
        async with wired(app, tls=tls, trust=trust) as server:
            wire = await server.connect()
            wire.send(GET)
            return (await wire.answer()).status

    assert (run(main()), seen) == (200, [{}])


# -- bodies of requests


def receiving(taken, begin=0):
    """An application that reads so many bytes on the loop's way and the rest directly, and answers with its length."""

    async def app(scope, receive, send):
        first = []
        while sum(map(len, first)) < begin:
            first.append((await receive())["body"])
        body = bytearray()
        size = int(dict(scope["headers"])[b"content-length"]) - sum(map(len, first))
        if size > of(scope).available():
            first.append((await read_body(receive))[0])
            size = 0
        came = not (first or size) or await of(scope).receive(on_thread, first, size, body.extend)
        taken.append(bytes(body))
        if came:
            await reply(send, 200, b"%d" % len(body))

    return app


@pytest.mark.parametrize("begin", [0, 1])
@pytest.mark.parametrize("length", [70_000, 5 * MIB + 3, 20 * MIB])
def test_a_body_arrives_and_what_lies_behind_it_is_the_next_request(length, begin):
    taken, body = [], content(length)

    async def main():
        async with wired(receiving(taken, begin)) as server:
            wire = await server.connect()
            wire.send(post(length) + body + post(length) + body + post(3) + b"abc")
            return [(await wire.answer()).body for _ in range(3)]

    assert run(main()) == [b"%d" % length] * 2 + [b"3"]
    assert taken == [body, body, b"abc"]


def test_a_body_that_comes_in_drips_arrives_in_few_pieces(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_MS", 0)
    body = content(3 * MIB)
    pieces = []

    async def app(scope, receive, send):
        await of(scope).receive(on_thread, [], len(body), lambda piece: pieces.append(bytes(piece)))
        await reply(send, 200)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(len(body)))
            for at in range(0, len(body), 50_000):
                wire.send(body[at : at + 50_000])
                await settled()
            return (await wire.answer()).status

    assert run(main()) == 200
    assert b"".join(pieces) == body


def test_100_continue_is_sent_when_a_body_is_wanted():
    taken = []

    async def main():
        async with wired(receiving(taken)) as server:
            wire = await server.connect()
            wire.send(post(MIB, b"Expect: 100-continue"))
            status, _ = await wire.head()
            wire.send(content(MIB))
            return status, (await wire.answer()).status

    assert run(main()) == (100, 200)
    assert taken == [content(MIB)]


def test_an_error_of_who_takes_the_body_is_answered_and_the_connection_stays():
    def take(piece):
        raise OSError("full")

    async def app(scope, receive, send):
        try:
            await of(scope).receive(on_thread, [], of(scope).available(), take)
        except OSError:
            await reply(send, 507)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            for _ in range(2):
                wire.send(post(MIB) + content(MIB))
                answer = await wire.answer()
                assert "connection" not in answer.headers
            return answer.status

    assert run(main()) == 507


def test_a_body_that_breaks_off_is_told():
    taken, answers = [], []

    async def app(scope, receive, send):
        answers.append(await of(scope).receive(on_thread, [], 5 * MIB, taken.append))

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(5 * MIB) + content(2 * MIB))
            await wire.writer.drain()
            wire.close()
            await until(lambda: answers)

    run(main())
    assert answers == [False]


def test_a_body_that_does_not_go_on_is_refused_in_time():
    taken = []

    async def main():
        async with wired(receiving(taken), body_idle_s=30) as server:
            wire = await server.connect()
            wire.send(post(5 * MIB) + content(2 * MIB))
            await until(lambda: server.connection._active is not None and server.connection._active.waiting)
            server.pass_time(31)
            answer = await wire.answer()
            return answer.status, await wire.ended()

    assert run(main()) == (400, True)


def test_who_is_cancelled_waits_until_the_thread_has_given_the_socket_back():
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def take(piece):
        begun.set()
        assert release.wait(20)
        ended.set()

    async def app(scope, receive, send):
        await of(scope).receive(on_thread, [], 5 * MIB, take)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(post(5 * MIB) + content(5 * MIB))
            await until(begun.is_set)
            (task,) = server.state.tasks
            task.cancel()
            await settled()
            early = task.done()
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            return early, ended.is_set()

    assert run(main()) == (False, True)


def test_other_bodies_go_past_the_parser_too():
    """On the loop's way, with requests before and behind, in whatever pieces they come."""
    bodies = []

    async def app(scope, receive, send):
        bodies.append((await read_body(receive))[0])
        await reply(send, 200)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            stream = b"".join(post(n) + content(n) for n in (10, 70_000, MIB, 0, 300_000)) + GET
            for at in range(0, len(stream), 99_991):
                wire.send(stream[at : at + 99_991])
                await settled()
            return [(await wire.answer()).status for _ in range(6)]

    assert run(main()) == [200] * 6
    assert bodies == [content(n) for n in (10, 70_000, MIB, 0, 300_000)] + [b""]
