"""Requests that are there as a whole, answered without a task."""

import asyncio

import pytest

from lamina.server.tests.wired import echo, reply, run, settled, until, wired

POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
DONE = ((b"content-length", b"0"),)


class Taker:
    """Takes what it is offered and answers when told to; the rest it echoes."""

    def __init__(self):
        self.taken = []  # (scope, body, reply)
        self.willing = True
        self.by_asgi = 0

    def take(self, scope, memo, body, reply):
        if not self.willing:
            return False
        self.taken.append((scope, body, reply))
        return True

    async def __call__(self, scope, receive, send):
        self.by_asgi += 1
        await echo(scope, receive, send)

    def answer(self, status=200, headers=DONE, body=b""):
        self.taken.pop(0)[2](status, headers, body)


def test_what_is_taken_is_answered_by_reply_and_needs_no_task():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            for _ in range(2):
                wire.send(POST)
                await until(lambda: app.taken)
                scope, body, _ = app.taken[0]
                assert (scope["path"], body, server.state.tasks) == ("/x", b"abc", set())
                app.answer()
                assert (await wire.answer()).status == 200
            wire.send(POST)
            await until(lambda: app.taken)
            app.answer(404, [(b"content-length", b"2"), (b"x-a", b"b")], b"no")
            answer = await wire.answer()
            assert (answer.status, answer.headers["x-a"], answer.body, app.by_asgi) == (404, "b", b"no", 0)

    run(main())


def test_what_is_not_taken_is_asked_by_asgi():
    async def main():
        app = Taker()
        app.willing = False
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST)
            assert (await wire.answer()).body == b"abc"
            assert app.by_asgi == 1

    run(main())


@pytest.mark.parametrize("data", [POST[:-1], POST.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked")[:-3]])
def test_what_is_not_there_as_a_whole_is_not_offered(data):
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(data)
            await until(lambda: app.by_asgi)
            assert app.taken == []

    run(main())


def test_answers_to_pipelined_requests_keep_their_order():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST + POST + POST[:-1])
            await until(lambda: app.taken)
            await settled()
            assert len(app.taken) == 1
            app.answer(200, [(b"content-length", b"1")], b"1")
            await until(lambda: app.taken)
            app.answer(200, [(b"content-length", b"1")], b"2")
            wire.send(b"c")
            return [(await wire.answer()).body for _ in range(3)]

    assert run(main()) == [b"1", b"2", b"abc"]


def test_a_request_for_the_end_of_the_connection_is_kept():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST.replace(b"Host: a", b"Host: a\r\nConnection: close"))
            await until(lambda: app.taken)
            app.answer()
            answer = await wire.answer()
            return answer.headers["connection"], await wire.ended()

    assert run(main()) == ("close", True)


def test_head_gets_no_body():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: app.taken)
            app.answer(200, [(b"content-length", b"2")], b"no")
            wire.send(POST)
            status, headers = await wire.head()
            await until(lambda: app.taken)
            app.answer(207)
            return status, headers["content-length"], (await wire.answer()).status

    assert run(main()) == (200, "2", 207)


def test_an_answer_to_a_connection_that_is_gone_goes_nowhere():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST)
            await until(lambda: app.taken)
            wire.close()
            await until(lambda: not server.state.connections)
            app.answer()

    run(main())


def test_the_end_of_the_server_waits_for_an_answer_under_way():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST)
            await until(lambda: app.taken)
            server.connection.shutdown()
            await settled()
            app.answer()
            return (await wire.answer()).headers["connection"], await wire.ended()

    assert run(main()) == ("close", True)


def test_a_malformed_request_behind_one_under_way_is_refused_after_its_answer():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST)
            await until(lambda: app.taken)
            wire.send(b"\x00\r\n")
            await settled()
            app.answer()
            first, second = await wire.answer(), await wire.answer()
            return first.status, second.status, await wire.ended()

    assert run(main()) == (200, 400, True)


def test_the_sweep_does_not_end_what_waits_for_the_server():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST)
            await until(lambda: app.taken)
            server.pass_time(300)
            app.answer()
            return (await wire.answer()).status

    assert run(main()) == 200


def test_a_failure_of_take_and_an_answer_that_would_break_its_head_are_told_as_500(caplog):
    class Failing(Taker):
        def take(self, scope, memo, body, reply):
            if body == b"abc":
                raise RuntimeError("a defect")
            return super().take(scope, memo, body, reply)

    async def main():
        app = Failing()
        async with wired(app) as server:
            found = []
            for data in (POST, POST.replace(b"abc", b"def")):
                wire = await server.connect()
                wire.send(data)
                if b"def" in data:
                    await until(lambda: app.taken)
                    app.answer(200, ((b"x-a", b"b\r\nc"), *DONE))
                found.append(((await wire.answer()).status, await wire.ended()))
            return found

    assert run(main()) == [(500, True)] * 2
    assert "a defect" in caplog.text


def test_nothing_is_offered_while_earlier_answers_are_not_read():
    async def main():
        app = Taker()
        async with wired(app) as server:
            wire = await server.connect()
            connection = server.connection
            connection.pause_writing()
            wire.send(POST)
            await until(lambda: app.by_asgi)
            connection.resume_writing()
            assert app.taken == []
            return (await wire.answer()).body

    assert run(main()) == b"abc"


def test_an_application_without_it_is_asked_by_asgi():
    async def app(scope, receive, send):
        await reply(send, 207)

    async def main():
        async with wired(app) as server:
            wire = await server.connect()
            wire.send(POST)
            await asyncio.sleep(0)
            return (await wire.answer()).status

    assert run(main()) == 207
