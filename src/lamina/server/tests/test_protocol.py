"""What the HTTP protocol takes and refuses, over raw sockets."""

import asyncio
import json

import pytest

from lamina.server.heads import SERVER
from lamina.server.tests.wired import echo, read_body, reply, run, until, wired

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"

SMUGGLING = {
    "both lengths": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "differing lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "listed lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a sign": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "space before colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "folding": HEAD + b"X-A: b\r\n c\r\n\r\n",
    "bare LF": b"GET /x HTTP/1.1\nHost: a\n\n",
    "NUL": HEAD + b"X-A: a\0b\r\n\r\n",
    "bad chunk extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4;a\nb\r\nabcd\r\n0\r\n\r\n",
    "hex prefix": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n",
}

OTHERS = {
    "lengths twice": HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "two codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked before 1.1": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "HTTP/2": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "tunnel": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "upgrade with a body": HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "target of other bytes": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
}


def check_refusal(answer, status):
    assert answer.status == status
    assert answer.headers["x-reduct-api"] == "1.21"
    assert answer.headers["server"] == SERVER
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["detail"] == answer.headers["x-reduct-error"].replace('"', "'")


async def exchange(data, app=echo, **limits):
    async with wired(app, **limits) as server:
        wire = await server.connect()
        wire.send(data)
        answer = await wire.answer()
        return answer, await wire.ended() if answer.headers.get("connection") == "close" else None


@pytest.mark.parametrize("form", [*SMUGGLING, *OTHERS])
def test_a_request_that_two_parsers_may_read_in_two_ways_is_refused_and_ends_the_connection(form):
    data = (SMUGGLING | OTHERS)[form]
    answer, ended = run(exchange(data + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
    check_refusal(answer, 400)
    assert ended


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 4\r\n\r\nabcd",
        HEAD + b"Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        HEAD + b"content-length:4  \r\nX-A:\r\nX-A: 2\r\n\r\nabcd",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_same_answer_however_the_request_is_cut(data, step):
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            for at in range(0, len(data), step):
                wire.send(data[at : at + step])
                await asyncio.sleep(0)
            return await wire.answer()

    answer = run(main())
    assert (answer.status, answer.body) == (200, b"abcd")
    assert "connection" not in answer.headers


@pytest.mark.parametrize("sent", [b"a b", b"  a b", b"a b  ", b"\ta b \t"])
def test_blanks_around_a_value_are_no_part_of_it(sent):
    async def tell(scope, receive, send):
        await reply(send, body=dict(scope["headers"])[b"x-a"])

    data = HEAD + b"X-A:" + sent + b"\r\nContent-Length: 0\r\n\r\n"
    assert run(exchange(data + data, tell))[0].body == b"a b"


def head_of(lines, width):
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x-%06d: %s\r\n" % (n, b"v" * width) for n in range(lines))


def test_header_lines_at_the_limit_and_one_above():
    assert run(exchange(head_of(1199, 10) + b"\r\n"))[0].status == 200
    answer, ended = run(exchange(head_of(1200, 10) + b"\r\n"))
    check_refusal(answer, 431)
    assert ended


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
def test_one_line_at_the_limit_and_one_byte_above(more, status):
    line = b"x: " + b"v" * (64 * 1024 - 5 + more) + b"\r\n"
    assert len(line) == 64 * 1024 + more
    assert run(exchange(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n"))[0].status == status


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
def test_a_head_at_the_limit_and_one_byte_above(more, status):
    fields = head_of(16, 32 * 1024 - 12 - 1)[len(b"GET / HTTP/1.1\r\nHost: a\r\n") :]
    rest = 512 * 1024 - len(fields) - len(b"Host: a\r\n") + more
    fields += b"y: " + b"v" * (rest - 5) + b"\r\n"
    assert len(fields) + len(b"Host: a\r\n") == 512 * 1024 + more
    answer, _ = run(exchange(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"))
    assert answer.status == status
    if more:
        check_refusal(answer, 431)


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 414)])
def test_a_target_at_the_limit_and_one_byte_above(more, status):
    target = b"/" + b"p" * (16 * 1024 - 1 + more)
    answer, _ = run(exchange(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert answer.status == status
    if more:
        check_refusal(answer, 414)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"p" * 20_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"v" * 1_000_000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4;" + b"x" * 1_000_000, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nt: " + b"x" * 1_000_000, 400),
    ],
    ids=["target", "header", "chunk extension", "trailer"],
)
def test_a_line_without_end_is_refused_while_it_comes(data, status):
    answer, ended = run(exchange(data))
    check_refusal(answer, status)
    assert ended


def test_a_refusal_reaches_a_client_that_is_still_sending():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(b"GET /" + b"p" * 3_000_000)
            answer = await wire.answer()
            wire.send(b"p" * 3_000_000)
            await wire.writer.drain()
            return answer, await wire.ended()

    answer, ended = run(main())
    assert (answer.status, ended) == (414, True)


def test_a_refusal_waits_for_the_answers_before_it():
    async def main():
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            await reply(send, 200, scope["path"].encode())

        async with wired(app) as server:
            wire = await server.connect()
            get = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
            wire.send(get % 1 + get % 2 + b"rubbish\r\n\r\n")
            await until(lambda: server.state.tasks)
            release.set()
            answers = [await wire.answer() for _ in range(3)]
            return answers, await wire.ended()

    answers, ended = run(main())
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert [answer.body for answer in answers[:2]] == [b"/1", b"/2"]
    assert ended


def test_pipelined_requests_are_answered_in_order():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            post = HEAD + b"Content-Length: 6\r\n\r\n%06d"
            wire.send(b"".join(post % n for n in range(2000)))
            return [(await wire.answer()).body for _ in range(2000)]

    assert run(main()) == [b"%06d" % n for n in range(2000)]


def test_requests_for_an_upgrade_are_answered_in_http_1():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            upgrade = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            wire.send(upgrade * 2000 + HEAD + b"Content-Length: 1\r\n\r\nz")
            return [await wire.answer() for _ in range(2001)]

    answers = run(main())
    assert {answer.status for answer in answers} == {200}
    assert answers[-1].body == b"z"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a/b?q=1&r=%20", "/a/b", b"q=1&r=%20"),
        (b"/a%20b%2Fc?", "/a b/c", b""),
        (b"/a?b?c", "/a", b"b?c"),
        (b"http://h:1/p?q", "/p", b"q"),
        (b"/a#b?c", "/a", b""),
        (b"*", "*", b""),
    ],
)
def test_what_the_application_sees_of_a_target(target, path, query):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)
        await reply(send)

    method = b"OPTIONS " if target == b"*" else b"GET "
    run(exchange(method + target + b" HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n", app))
    (scope,) = seen
    assert (scope["path"], scope["query_string"]) == (path, query)
    assert scope["headers"] == [(b"host", b"a"), (b"x-y", b"z")]
    assert scope["client"][0] == "127.0.0.1"
    assert (scope["scheme"], scope["http_version"], scope["type"]) == ("http", "1.1", "http")


@pytest.mark.parametrize(
    ("request_line", "stays"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
def test_a_connection_stays_as_the_client_asks(request_line, stays):
    answer, ended = run(exchange(request_line))
    assert answer.status == 200
    assert answer.headers.get("connection") == (None if stays else "close")
    assert ended is (None if stays else True)


def test_connections_beyond_the_cap_get_503_and_those_within_are_served():
    async def main():
        async with wired(echo, connections=2) as server:
            first, second = [await server.connect() for _ in range(2)]
            third = await server.connect()
            third.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            refused = await third.answer()
            ended = await third.ended()
            third.close()
            await until(lambda: len(server.state.connections) == 2)
            first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            served = await first.answer()
            second.close()
            await until(lambda: len(server.state.connections) == 1)
            fourth = await server.connect()
            fourth.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return refused, ended, served.status, (await fourth.answer()).status

    refused, ended, served, again = run(main())
    check_refusal(refused, 503)
    assert (ended, served, again) == (True, 200, 200)


def test_far_beyond_the_cap_connections_are_not_kept_at_all():
    async def main():
        async with wired(echo, connections=1) as server:
            for _ in range(2):
                await server.connect()
            reader, writer = await asyncio.open_connection("127.0.0.1", server._port)
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    assert run(main()) == b""


def test_a_failing_application_gives_500_with_an_id_that_is_in_the_log(caplog):
    async def app(scope, receive, send):
        raise OSError("/secret/path")

    answer, ended = run(exchange(HEAD + b"Content-Length: 0\r\n\r\n", app))
    check_refusal(answer, 500)
    assert ended
    mark = json.loads(answer.body)["detail"].split()[-1]
    assert mark in caplog.text
    assert "/secret" in caplog.text
    assert b"secret" not in answer.body


def test_an_application_that_does_not_answer_gives_500(caplog):
    async def app(scope, receive, send):
        await read_body(receive)

    answer, _ = run(exchange(HEAD + b"Content-Length: 0\r\n\r\n", app))
    check_refusal(answer, 500)
    assert "did not finish" in caplog.text


def test_an_answer_that_breaks_off_closes_the_connection(caplog):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise OSError("gone")

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await wire.head()
            return await wire.reader.read()

    assert run(main()) == b"abc"


def test_a_refusal_is_told_whatever_else_is_being_handled():
    """The parser hides what its callbacks raise, and a context can be another error's."""
    try:
        raise LookupError("of somebody else")
    except LookupError:
        answer, _ = run(exchange(HEAD + b"X-A: 1\r\n" * 1200 + b"\r\n"))
    check_refusal(answer, 431)
