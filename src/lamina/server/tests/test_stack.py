"""What stands before the face: CORS, client address, rate limits, compressed bodies."""

import asyncio
import gzip
import json

import pytest

from lamina.observe import Registry
from lamina.server.cors import Cors
from lamina.server.http import App
from lamina.server.ratelimit import Rate, RateLimits
from lamina.server.tests.wired import echo, read_body, reply, run, wired
from lamina.testing.clock import ManualClock

HEAD = b"POST /api/v1/b/x HTTP/1.1\r\nHost: a\r\n"
ORIGIN = ("origin", "https://a.example")


class Open:
    poisoned = None
    degraded = ()

    def stats(self):
        return {}


def stack(face=echo, guarded=False, **configured):
    app = App(Registry(), ManualClock(), **configured)
    app.open_with(Open(), None, guarded=guarded, face=face)
    return app


def call(app, method="GET", path="/api/v1/info", *headers, body=b"", client=("127.0.0.1", 1)):
    """(status, headers, body)"""
    sent = []
    raw = [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in headers)]
    scope = {"type": "http", "method": method, "path": path, "http_version": "1.1", "headers": raw, "client": client}

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message["body"] for message in sent[1:])


def test_the_face_gets_every_path_but_the_servers_own():
    seen = []

    async def face(scope, receive, send):
        seen.append(scope["path"])
        await reply(send, 207)

    app = stack(face)
    assert [call(app, path=path)[0] for path in ("/", "/api/v1/alive", "/alive/")] == [207] * 3
    assert [call(app, path=path)[0] for path in ("/alive", "/ready", "/metrics")] == [200] * 3
    assert seen == ["/", "/api/v1/alive", "/alive/"]


def test_answers_of_the_face_are_counted_by_status():
    async def face(scope, receive, send):
        await reply(send, 404)

    app = stack(face)
    for _ in range(3):
        call(app)
    text = call(app, path="/metrics")[2].decode()
    assert 'lamina_http_requests_total{path="other",status="404"} 3.0' in text


@pytest.mark.parametrize("base", ["/", "/store/"])
def test_while_starting_only_alive_is_200(base):
    app = App(Registry(), ManualClock(), api_base=base)
    assert call(app, path=base + "api/v1/alive")[0] == 200
    for method, path in (("GET", base + "api/v1/ready"), ("POST", base + "api/v1/b/x"), ("GET", "/ready")):
        status, headers, _ = call(app, method, path)
        assert (status, headers["x-reduct-error"]) == (503, "The server is starting up, please try again later")


@pytest.mark.parametrize("path", ["/", "/api/v1/b/x", "/alive", "/nothing"])
@pytest.mark.parametrize("cors", ["", "*", "https://other.example"])
def test_options_is_answered_on_any_path(path, cors):
    status, headers, body = call(stack(cors=Cors.parse(cors)), "OPTIONS", path, ORIGIN)
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-methods"] == headers["access-control-allow-headers"] == "*"
    assert headers.get("access-control-allow-origin") == ("https://a.example" if cors == "*" else None)


@pytest.mark.parametrize("path", ["/api/v1/info", "/alive"])
def test_an_allowed_origin_may_read_and_a_foreign_one_gets_a_plain_answer(path):
    allowing = stack(cors=Cors.parse("https://a.example"))
    headers = call(allowing, "GET", path, ORIGIN)[1]
    assert headers["access-control-allow-origin"] == "https://a.example"
    assert headers["access-control-expose-headers"] == "*"
    for answer in (
        call(allowing, "GET", path, ("origin", "https://b.example")),
        call(allowing, "GET", path),
        call(stack(), "GET", path, ORIGIN),
    ):
        assert answer[0] == 200
        assert not [name for name in answer[1] if name.startswith("access-control")]


def test_a_configured_origin_is_not_foreign_to_a_guarded_server():
    app = stack(guarded=True, cors=Cors.parse("https://a.example"))
    assert call(app, "GET", "/api/v1/info", ORIGIN)[0] == 200
    assert call(app, "GET", "/api/v1/info", ("origin", "https://b.example"))[0] == 403
    assert call(app, "OPTIONS", "/api/v1/info", ("origin", "https://b.example"))[0] == 403


def test_the_face_sees_the_client_behind_a_proxy():
    seen = []

    async def face(scope, receive, send):
        seen.append(scope["client"])
        await reply(send)

    app = stack(face)
    call(app, "GET", "/x", ("x-forwarded-for", "1.2.3.4"))
    call(app, "GET", "/x", ("x-forwarded-for", "1.2.3.4"), client=("8.8.8.8", 5))
    call(app, "GET", "/x")
    call(app, "GET", "/x", client=None)
    assert seen == [("1.2.3.4", 1), ("8.8.8.8", 5), ("127.0.0.1", 1), None]


def test_requests_beyond_their_rate_get_429_per_client():
    app = stack(rates=RateLimits(api=Rate(1, 60)), cors=Cors.parse("*"))
    assert call(app, "GET", "/x")[0] == 200
    status, headers, body = call(app, "GET", "/x", ORIGIN)
    message = "rate limit for api requests (client 127.0.0.1) exceeded: used=2 limit=1 retry_after=60s"
    assert (status, headers["x-reduct-error"], json.loads(body)) == (429, message, {"detail": message})
    assert headers["access-control-allow-origin"] == "https://a.example"
    assert call(app, "GET", "/x", ("x-forwarded-for", "1.2.3.4"))[0] == 200
    assert call(app, "GET", "/alive")[0] == 200


def test_bytes_in_count_by_announcement_or_as_they_come():
    app = stack(rates=RateLimits(ingress=Rate(10, 60)))
    assert call(app, "POST", "/x", ("content-length", "11"), body=b"x" * 11)[0] == 429
    assert call(app, "POST", "/x", ("content-length", "4"), body=b"x" * 4)[0] == 200
    assert call(app, "POST", "/x", ("transfer-encoding", "chunked"), body=b"x" * 6)[0] == 200
    assert call(app, "POST", "/x", ("content-length", "1"), body=b"x")[0] == 429


def test_bytes_out_count():
    app = stack(rates=RateLimits(egress=Rate(10, 60)))
    assert [call(app, "POST", "/x", ("content-length", "9"), body=b"x" * 9)[0] for _ in range(3)] == [200, 200, 429]


def test_a_compressed_body_reaches_the_face_plain():
    seen = []

    async def face(scope, receive, send):
        seen.append(dict(scope["headers"]))
        await echo(scope, receive, send)

    packed = gzip.compress(b"abc" * 1000)
    lengths = [("content-length", str(len(packed))), ("x-reduct-content-length", "3000")]
    status, _, body = call(stack(face), "POST", "/x", ("content-encoding", "gzip"), *lengths, body=packed)
    assert (status, body) == (200, b"abc" * 1000)
    assert seen[0][b"content-length"] == b"3000"
    assert b"content-encoding" not in seen[0]


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ([("content-encoding", "br")], 415, "'br'"),
        ([("content-encoding", "gzip"), ("x-reduct-content-length", "x")], 400, "x-reduct-content-length"),
        ([("content-encoding", "gzip"), ("x-reduct-content-length", "5")], 400, "gzip"),
        ([("content-encoding", "zstd")], 400, "zstd"),
        ([("content-encoding", "identity")], 200, ""),
    ],
)
def test_a_body_that_cannot_be_undone(headers, status, word):
    found, answered, _ = call(stack(), "POST", "/x", *headers, body=b"plain")
    assert found == status
    assert word in answered.get("x-reduct-error", "")


def test_a_bomb_is_refused_over_the_wire_whatever_the_face_makes_of_it():
    seen = []

    async def face(scope, receive, send):
        seen.append((await read_body(receive))[1])
        await reply(send, 409)  # one that takes the end for another error

    async def main():
        packed = gzip.compress(bytes(10_000_000))
        async with wired(stack(face)) as server:
            wire = await server.connect()
            wire.send(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
            first = await wire.answer()
            wire.send(HEAD + b"Content-Length: 0\r\n\r\n")
            return first, await wire.answer()

    first, second = run(main())
    assert (first.status, second.status, seen) == (400, 409, [False, True])
    assert "inflates" in first.headers["x-reduct-error"]
