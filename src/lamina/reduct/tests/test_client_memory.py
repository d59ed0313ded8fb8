"""The transport to an application of this process: what the application sees, and what it may do."""

import asyncio

import pytest

from lamina.reduct import ReductError
from lamina.reduct.transport.memory import HELD_BYTES, MemoryTransport


def start(status=200, headers=()):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body, more=True):
    return {"type": "http.response.body", "body": body, "more_body": more}


def run(app, use, timeout=None):
    async def main():
        transport = MemoryTransport(app, timeout, lambda: None)
        return await use(transport)

    return asyncio.run(main())


async def ask(transport, body=None, length=0, headers=(), method="POST"):
    return await transport.request(method, "/api/v1/b/x%2Fy", "ts=5", headers, body, length)


async def received(receive):
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def test_a_request_is_what_a_server_would_make_of_it():
    async def app(scope, receive, send):
        assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/api/v1/b/x/y", b"/api/v1/b/x%2Fy")
        assert scope["query_string"] == b"ts=5"
        assert scope["headers"] == [(b"x-mine", "ü".encode()), (b"content-length", b"2")]
        assert await received(receive) == [{"type": "http.request", "body": b"ab", "more_body": False}]
        await send(start(201, [(b"x-a", b"b")]))
        await send(part(b"yes", more=False))

    async def use(transport):
        answer = await ask(transport, b"ab", 2, [("X-Mine", " ü\t")])
        assert (answer.status, answer.headers, await answer.pieces()) == (201, [("x-a", "b")], [b"yes"])

    run(app, use)


def test_bodies_are_handed_over_as_they_are():
    bodies = []

    async def app(scope, receive, send):
        bodies.append([message["body"] for message in await received(receive)])
        await send(start())
        await send(part(b"", more=False))

    async def coming():
        yield b"a"
        await asyncio.sleep(0)
        yield b"b"

    async def use(transport):
        whole = b"x" * 100
        for body in (whole, [whole, whole], coming(), None):
            await ask(transport, body, 200)
        assert bodies == [[whole], [whole, whole, b""], [b"a", b"b", b""], [b""]]
        assert bodies[0][0] is bodies[1][0] is whole

    run(app, use)


def test_a_long_answer_stands_still_until_somebody_reads_on():
    sent = []

    async def app(scope, receive, send):
        await send(start())
        for i in range(20):
            sent.append(i)
            await asyncio.sleep(0)  # it waits for other things, too
            await send(part(b"x" * (1 << 20), more=i < 19))

    async def use(transport):
        answer = await ask(transport)
        most = HELD_BYTES >> 20
        assert len(sent) == most
        chunks = answer.chunks()
        for _ in range(most):
            await anext(chunks)
        assert len(sent) == most
        await anext(chunks)
        assert len(sent) == 2 * most
        assert len([chunk async for chunk in chunks]) == 20 - most - 1
        answer = await ask(transport)
        assert sum(map(len, await answer.pieces())) == 20 << 20

    run(app, use)


def test_an_answer_that_is_given_up_ends_its_request():
    ended = []

    async def app(scope, receive, send):
        try:
            await send(start())
            while True:
                await send(part(b"x" * HELD_BYTES))
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def use(transport):
        answer = await ask(transport)
        assert not ended
        await answer.close()
        await answer.close()
        assert ended == [True]

    run(app, use)


def test_what_the_programs_iterator_raises_is_raised():
    told = []

    async def app(scope, receive, send):
        told.append((await received(receive))[-1]["type"])

    async def broken():
        yield b"a"
        raise ZeroDivisionError("mine")

    async def use(transport):
        with pytest.raises(ZeroDivisionError, match="mine"):
            await ask(transport, broken(), 5)
        assert told == ["http.disconnect"]

    run(app, use)


def test_an_answer_that_breaks_off():
    async def app(scope, receive, send):
        await send(start())
        await send(part(b"x" * HELD_BYTES))
        raise OSError("disk")

    async def use(transport):
        answer = await ask(transport)
        with pytest.raises(ReductError, match="broke off: disk") as caught:
            await answer.pieces()
        assert caught.value.status_code == -1
        await answer.close()

    run(app, use)


def test_no_answer_at_all():
    async def app(scope, receive, send):
        pass

    async def use(transport):
        with pytest.raises(ReductError, match="not answered"):
            await ask(transport)

    run(app, use)


def test_a_request_can_be_cancelled_and_timed_out():
    ended = []

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def cancelled(transport):
        asking = asyncio.create_task(ask(transport))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    async def timed_out(transport):
        with pytest.raises(TimeoutError):
            await ask(transport)

    run(app, cancelled)
    run(app, timed_out, timeout=0.01)
    assert ended == [True, True]
