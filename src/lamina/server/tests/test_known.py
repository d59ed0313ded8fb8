"""Header lines that came before: the same requests as the parser would make of them."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.server import known
from lamina.server.known import Head, Known, Request, Series
from lamina.server.limits import HttpLimits
from lamina.server.tests.wired import echo, read_body, reply, run, wired

LIMITS = HttpLimits(target_bytes=100, header_lines=60)
POST = b"POST /x?a=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nX-A: b\r\n\r\nabcd"


def seen_of(requests, **limits):
    """What an application sees of requests that come one after the other on one connection."""
    seen = []

    async def app(scope, receive, send):
        body = await read_body(receive)
        offered = set(scope["extensions"])  # what is behind the names belongs to the connection
        seen.append(({**scope, "client": None, "server": None, "extensions": offered}, body))
        await reply(send)

    async def main():
        async with wired(app, **limits) as server:
            wire = await server.connect()
            for request in requests:
                wire.send(request)
                await wire.answer(request.split(b" ")[0].decode())

    run(main())
    return seen


def without_memory(monkeypatch):
    monkeypatch.setattr(Known, "find", lambda self, data: None)


TARGETS = [b"/", b"/x?a=1", b"/a%20b/c?", b"/x?y=?&z", b"//x", b"/a;b=1/$meta?ts=1"]
names = st.sampled_from([b"X-A", b"x-reduct-label-a", b"Accept", b"User-Agent"])
values = st.binary(max_size=6).map(lambda raw: bytes(byte for byte in raw if 0x20 < byte < 0x7F or byte > 0x7F))
lines = st.lists(st.tuples(names, values), max_size=5)
requests = st.tuples(st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE"]), st.sampled_from(TARGETS), lines,
                     st.none() | st.binary(max_size=9))  # fmt: skip


def encoded(method, target, lines, body):
    head = [b"%s %s HTTP/1.1\r\nHost: a" % (method.encode(), target), *(name + b": " + text for name, text in lines)]
    if body is not None:
        head.append(b"content-length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + (body or b"")


@settings(max_examples=30, deadline=None)
@given(st.lists(requests, min_size=1, max_size=4))
def test_an_application_sees_the_same_requests_whether_their_lines_are_known_or_not(drawn):
    data = [encoded(*request) for request in drawn] * 2
    found = seen_of(data)
    with pytest.MonkeyPatch.context() as patch:
        without_memory(patch)
        assert seen_of(data) == found


def test_the_second_request_with_the_same_lines_is_put_together_without_the_parser():
    memory = Known(LIMITS)
    block = memory.find(POST)
    assert block == b"\r\nHost: a\r\nContent-Length: 4\r\nX-A: b"
    head = Head([(b"host", b"a")], {b"host": b"a"}, 4)
    memory.keep(block, head)
    assert memory.find(POST) == Request("POST", b"/x", b"a=1", head, b"abcd")
    other = memory.find(POST.replace(b"POST /x?a=1", b"PUT /y"))
    assert (other.method, other.raw_path, other.query, other.head.memo is head.memo) == ("PUT", b"/y", b"", True)


@pytest.mark.parametrize(
    "data",
    [
        POST[:-1],  # not all of it
        POST + b"G",  # more than it
        POST.replace(b"1.1", b"1.0", 1),
        POST.replace(b"POST", b"BREW", 1),
        POST.replace(b"/x", b"http://a/x", 1),
        POST.replace(b"/x", b"/x#y", 1),
        POST.replace(b"/x", b"/\xff", 1),
        POST.replace(b" /x", b"  /x", 1),
        POST.replace(b"/x", b"/" + b"x" * 100, 1),  # a longer target than is taken
        b"\r\n" + POST,
        POST.replace(b"X-A: b", b"X-A: " + b"b" * known.BLOCK_BYTES),
        POST.replace(b"X-A: b", b"X-A: " + b"b" * known.SERIES_BYTES),
    ],
)
def test_what_is_unusual_is_the_parsers_affair(data):
    memory = Known(LIMITS)
    memory.keep(memory.find(POST), Head([], {}, 4))
    assert not isinstance(memory.find(data), Request)


@pytest.mark.parametrize(
    ("request_line", "line"),
    [
        (b"GET / HTTP/1.1", b"Connection: close"),
        (b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"),
        (b"POST / HTTP/1.1", b"Expect: 100-continue\r\nContent-Length: 1"),
        (b"GET / HTTP/1.1", b"Upgrade: h2c\r\nConnection: upgrade"),
        (b"GET / HTTP/1.0", b"Connection: keep-alive"),
    ],
)
def test_lines_that_say_how_the_connection_goes_on_are_not_kept(request_line, line):
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            body = b"1\r\na\r\n0\r\n\r\n" if b"chunked" in line else b"a" if b"Expect" in line else b""
            wire.send(request_line + b"\r\nHost: a\r\n" + line + b"\r\n\r\n" + body)
            assert (await wire.answer()).status == 200
            return dict(server.known._heads)

    assert run(main()) == {}


def test_a_full_memory_is_emptied(monkeypatch):
    monkeypatch.setattr(known, "BLOCKS", 2)
    memory = Known(LIMITS)
    for block in (b"a", b"b", b"c"):
        memory.keep(block, Head([], {}, 0))
    assert list(memory._heads) == [b"c"]


def test_a_refusal_behind_known_requests_is_what_it_was():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            for _ in range(3):
                wire.send(POST)
                assert (await wire.answer()).body == b"abcd"
            wire.send(POST.replace(b"Content-Length: 4", b"Content-Length: +4"))
            answer = await wire.answer()
            return answer.status, await wire.ended()

    assert run(main()) == (400, True)


def test_known_requests_are_answered_in_their_order_among_others():
    async def main():
        async with wired(echo) as server:
            wire = await server.connect()
            wire.send(POST)
            await wire.answer()
            for data in (POST, POST.replace(b"X-A: b", b"X-A: c").replace(b"abcd", b"efgh"), POST):
                wire.send(data)
                await asyncio.sleep(0)
            return [(await wire.answer()).body for _ in range(3)]

    assert run(main()) == [b"abcd", b"efgh", b"abcd"]


def batch(texts, value, before=b"Host: a\r\nContent-Length: 4", after=b"", gap=b": "):
    lines = [b"x-reduct-time-" + text + gap + value for text in texts]
    return b"POST /x HTTP/1.1\r\n" + b"\r\n".join([before, *lines, *filter(None, [after])]) + b"\r\n\r\nabcd"


VALUE = b"1024,text/plain," + b"a=b," * 16
TIMES = [b"%d" % (10**15 + at) for at in range(40)]
times = st.lists(st.sampled_from(TIMES[:3]) | st.sampled_from([b"", b"0", b"7", b"-1", b"1: a\r\nx-reduct-time-2"]),
                 max_size=2)  # fmt: skip
texts = st.builds(lambda some, at: TIMES[:at] + some + TIMES[at:], times, st.integers(0, 40))
series = st.builds(
    batch,
    texts,
    st.sampled_from(
        [VALUE, VALUE, VALUE + b"\xc3\xa4", VALUE + b"\x01", VALUE + b" ", VALUE + b"\t", VALUE + b"\r\n c", b""]
    ),
    st.sampled_from([b"Host: a\r\nContent-Length: 4", b"X-Reduct-Time-3: 1,\r\nHost: a\r\nContent-Length: 4"]),
    st.sampled_from([b"", b"", b"x-b: c", b" c", b"x-reduct-time-1: 1,", b"X-REDUCT-TIME-9: " + VALUE]),
    st.sampled_from([b": ", b": ", b":", b":  ", b" : "]),
)


@settings(max_examples=60, deadline=None)
@given(series)
def test_an_application_sees_the_same_batches_whether_their_other_lines_are_known_or_not(data):
    first = batch(TIMES, VALUE)
    found = [outcome(data, before) for before in (first, batch(TIMES, VALUE, after=b"x-b: c"))]
    with pytest.MonkeyPatch.context() as patch:
        without_memory(patch)
        assert found == [outcome(data, first)] * 2


def outcome(data, before):
    """What an application sees of a request behind another, twice, and how it is answered."""
    seen, statuses = [], []

    async def app(scope, receive, send):
        body = await read_body(receive)
        seen.append((list(scope["headers"]), body))
        await reply(send)

    async def main():
        async with wired(app) as server:
            for request in (before, data, data):
                wire = await server.connect()
                wire.send(request)
                statuses.append((await wire.answer()).status)

    run(main())
    return seen[1:], statuses[1:]


def test_batches_are_put_together_from_their_other_lines_and_their_series():
    memory = Known(LIMITS)
    data = batch(TIMES, VALUE, after=b"x-b: c")
    block = memory.find(data)
    others = [(b"host", b"a"), (b"content-length", b"4"), (b"x-b", b"c")]
    headers = [*others[:2], *((b"x-reduct-time-" + text, VALUE) for text in TIMES), others[2]]
    memory.keep(block, Head(headers, dict(headers), 4))
    later = [b"%d" % at for at in range(50)]
    found = memory.find(batch(later, VALUE + b"x", after=b"x-b: c"))
    assert found.body == b"abcd"
    lines = [*others[:2], *((b"x-reduct-time-" + text, VALUE + b"x") for text in later), others[2]]
    assert (list(found.head.headers), len(found.head.headers), found.head.headers[2]) == (lines, len(lines), lines[2])
    rest = found.head.memo.pop("rest")
    assert found.head.memo == {"fields": dict(others), "series": Series(later, VALUE + b"x")}
    assert memory.find(data).head.memo["rest"] is rest, "what follows from the other lines lasts"
    assert isinstance(memory.find(batch(later * 2, VALUE, after=b"x-b: c")), bytes), "more lines than are taken"
    unequal = data.replace(VALUE, b"1,", 1)
    assert memory.find(unequal) is None
