"""What goes wrong between a client and a server: each has its kind of error, and nothing is done twice."""

from __future__ import annotations

import os
import socket
import threading
import time

import numpy as np
import pytest

import lamina
from lamina import errors
from lamina.faces.native import answers, handles
from lamina.testing.clock import ManualClock
from tests.native.conftest import T0, columns
from tests.native.served import LONG_S, served

MANY = 1_000_000


@pytest.fixture
def server():
    with served(":memory:") as running:
        yield running


@pytest.fixture
def db(server):
    with lamina.connect(server.url) as database:
        yield database


@pytest.fixture
def stream(db):
    return db.streams.create("c", "s")


def eventually(condition):
    until = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.001)


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_nobody_answers():
    with pytest.raises(errors.Unavailable, match=r"http://127.0.0.1:\d+/ cannot be reached"):
        lamina.connect(f"http://127.0.0.1:{unused_port()}")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8383", "ftp://x", "http://", "http://x:port", "http://u:secret@x", "http://x?a=1", 5]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(errors.InvalidArgument, match="url") as refused:
        lamina.connect(url)
    assert "secret" not in str(refused.value)


def test_a_directory_is_sent_to_open(tmp_path):
    with pytest.raises(errors.InvalidArgument, match=r"a directory is opened with lamina\.open"):
        lamina.connect(str(tmp_path))


@pytest.mark.parametrize("token", ["", "a\nb", "ä", 5])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(errors.InvalidArgument, match="token: expected printable ASCII"):
        lamina.connect("http://127.0.0.1:1", token)


def answering(status, body, headers=()):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status,
                    "headers": [(b"content-length", b"%d" % len(body)), *headers]})  # fmt: skip
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    ("app", "error", "text"),
    [
        (answering(404, b"<html>"), errors.InvalidArgument, "answers 404: <html>; is it a server of Lamina's?"),
        (answering(200, b"<html>"), errors.InvalidArgument, "is no server of Lamina's: it answers b'<html>'"),
        (answering(200, b'{"wire": 99}'), errors.InvalidArgument, "speaks version 99"),
        (answering(302, b"", [(b"location", b"http://elsewhere")]), errors.InvalidArgument, "answers 302"),
        (answering(503, b"", [(b"x-reduct-error", b"starting")]), errors.Unavailable, "answers 503: starting"),
        (answering(403, b"", [(b"x-reduct-error", b"only localhost")]), errors.PermissionDenied, "403: only localhost"),
        (answering(500, b"oops"), errors.LaminaError, "answers 500: oops"),
        (answering(400, b'{"error": "NewKind", "message": "m"}'), errors.LaminaError, "^m$"),
    ],
)
def test_something_else_answers(server, app, error, text):
    server.listener.app = app
    with pytest.raises(error, match=text):
        lamina.connect(server.url)


def test_tokens_are_asked_for_and_what_is_taken_away_is_gone_at_the_next_call():
    with served(":memory:", tokens=True) as server:
        value = server.tokens.create("me", {"full_access": True})
        server.tokens.create("another", {"full_access": True})
        for wrong, text in ((None, "asks for a token: lamina.connect"), ("me-0000", "Invalid token")):
            with pytest.raises(errors.Unauthenticated, match=text):
                lamina.connect(server.url, wrong)
        with lamina.connect(server.url, token=value) as db:
            stream = db.streams.create("c", "s")
            view = stream.at()
            server.tokens.remove("me")
            for call in (view.count, lambda: stream.insert(*columns(1)), lambda: list(stream.iter_values())):
                with pytest.raises(errors.Unauthenticated) as refused:
                    call()
                assert value not in str(refused.value)


def test_a_closed_client_says_so(db, stream):
    stream.insert(*columns(3))
    chunks = stream.iter_values()
    with stream.at() as view, db.snapshot() as snapshot:
        db.close()
        for call in (stream.row, view.count, db.flush, lambda: snapshot.version(stream), lambda: next(chunks)):
            with pytest.raises(errors.Closed):
                call()
    db.close()
    with pytest.raises(errors.Closed), db:
        pass


def test_closing_ends_an_iteration_in_its_middle(db, stream):
    stream.insert(np.arange(MANY), np.zeros(MANY))
    chunks = stream.iter_values()
    next(chunks)
    db.close()
    with pytest.raises((errors.Closed, errors.Unavailable)):
        list(chunks)


def test_reads_go_on_after_a_restart_and_what_was_open_is_closed(server, db, stream):
    stream.insert(*columns(3))
    view, snapshot, subscription = stream.at(), db.snapshot(), db.streams.subscribe([stream.uuid])
    server.restart()
    assert stream.count() == 3
    assert stream.insert(*columns(1, 3)) == 12
    for call in (
        view.count,
        lambda: snapshot.version(stream),
        lambda: subscription.add([]),
        lambda: subscription.get(0),
    ):
        with pytest.raises(errors.Closed, match="open no more"):
            call()
    for one in (view, snapshot, subscription):
        one.close()


def test_a_restart_in_the_middle_of_an_iteration_is_told_with_what_came_before(server, db, stream):
    stream.insert(np.arange(MANY), np.zeros(MANY))
    chunks = stream.iter_values()
    first = next(chunks)
    server.restart()
    with pytest.raises(errors.Unavailable, match="connection to"):
        list(chunks)
    assert first.time[0] == 0


def losing(server, calls, before=False):
    """The server hangs up instead of answering these calls."""
    inner = server.listener.app
    asked = []

    async def app(scope, receive, send):
        if not scope["path"].endswith(calls):
            await inner(scope, receive, send)
            return
        asked.append(scope["path"])
        if before:
            await receive()
        else:

            async def nowhere(message):
                pass

            await inner(scope, receive, nowhere)
        for connection in tuple(server.listener.state.connections):
            connection.transport.abort()

    server.listener.app = app
    return asked


def test_a_change_whose_answer_was_lost_is_not_made_again(server, db, stream):
    asked = losing(server, ("stream/insert", "entry/write", "database/flush"))
    with pytest.raises(errors.OutcomeUnknown, match="whether the change was made is not known"):
        stream.insert(*columns(3))
    assert len(asked) == 1
    assert stream.version == 11
    entry = db.buckets.create("b").entry("e")
    with pytest.raises(errors.OutcomeUnknown):
        entry.write(b"x", 1)
    with pytest.raises(errors.OutcomeUnknown):
        db.flush()
    assert len(asked) == 3
    assert entry.read(1).read() == b"x"


def test_a_read_is_asked_for_once_more_and_not_for_ever(server, db, stream):
    asked = losing(server, ("stream/count",), before=True)
    with pytest.raises(errors.Unavailable, match="before the answer"):
        stream.count()
    assert len(asked) == 2


def test_a_content_that_breaks_off_is_read_on(server, db):
    content = os.urandom(5_000_000)
    entry = db.buckets.create("b").entry("e")
    entry.write(content, 1)
    inner, broken = server.listener.app, []

    async def app(scope, receive, send):
        async def sending(message):
            await send(message)
            if message["type"] == "http.response.body" and message.get("more_body") and not broken:
                broken.append(scope["path"])
                next(iter(server.listener.state.connections)).transport.close()  # after what is buffered

        await inner(scope, receive, sending if scope["path"].endswith("record/content") else send)

    record = entry.read(1)
    server.listener.app = app
    assert record.read() == content
    assert broken


def test_a_view_that_nobody_uses_is_closed_and_told_so():
    clock = ManualClock()
    with served(":memory:", clock=clock) as server, lamina.connect(server.url) as db:
        stream = db.streams.create("c", "s")
        view, used, snapshot = stream.at(), stream.at(), db.snapshot()
        clock.advance(handles.IDLE_S - 1)
        used.count()
        clock.advance(2)
        server.face.handles.sweep()
        assert used.count() == 0
        for call in (view.count, lambda: snapshot.version(stream)):
            with pytest.raises(errors.Closed, match=f"closes what is not used for {handles.IDLE_S} s"):
                call()
        view.close()
        assert server.db.leases.open == 1
        used.close()
        assert (len(server.face.handles), server.db.leases.open) == (0, 0)


def test_too_many_views_are_refused_and_leave_nothing_open(server, db, stream, monkeypatch):
    monkeypatch.setattr(handles, "MOST_OF_ONE", 2)
    views = [stream.at(), stream.at()]
    with pytest.raises(errors.Unavailable, match="too many views"):
        stream.at()
    assert server.db.leases.open == 2
    views[0].close()
    stream.at().close()


def test_handles_are_their_owners():
    with served(":memory:", tokens=True) as server:
        one, other = (server.tokens.create(name, {"full_access": True}) for name in ("one", "other"))
        with lamina.connect(server.url, one) as mine, lamina.connect(server.url, other) as theirs:
            stream = mine.streams.create("c", "s")
            view = stream.at()
            stolen = theirs.streams.get(stream.uuid).at()
            stolen._handle = view._handle
            with pytest.raises(errors.Closed):
                stolen.count()
            stolen.close()
            assert view.count() == 0


def test_an_iteration_that_is_left_holds_nothing(server, db, stream):
    stream.insert(np.arange(MANY), np.zeros(MANY))
    for leave in ("close", "forget", "fail"):
        chunks = stream.iter_values()
        next(chunks)
        assert server.db.leases.open == 1
        if leave == "close":
            chunks.close()
        elif leave == "forget":
            del chunks
        else:
            with pytest.raises(ZeroDivisionError):
                sum(1 / 0 for _ in chunks)
            chunks.close()
        eventually(lambda: server.db.leases.open == 0)


def test_calls_one_after_the_other_use_one_connection(server, db, stream):
    stream.insert(np.arange(MANY), np.zeros(MANY))
    entry = db.buckets.create("b").entry("e")
    entry.write(bytes(3_000_000), 1)
    before = set(server.listener.state.connections)
    for _ in range(3):
        assert len(stream.values()) == MANY
        assert len(list(db.streams)) == 1
        assert len(entry.read(1).read()) == 3_000_000
        assert stream.count() == MANY
    assert set(server.listener.state.connections) == before
    assert len(before) == 1


def test_a_subscription_waits_without_keeping_others_from_the_server(server, db, stream):
    followers = [db.streams.subscribe([stream.uuid]) for _ in range(6)]  # more than the server has threads
    found = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.get(LONG_S))) for one in followers]
    for thread in threads:
        thread.start()
    assert stream.insert(*columns(2)) == 11
    for thread in threads:
        thread.join(LONG_S)
    assert [(uuid, list(points)) for uuid, points in found] == [(stream.uuid, [(T0, 0.0), (T0 + 10**9, 1.0)])] * 6
    for one in followers:
        one.close()
        assert one.get() is None


def test_closing_a_subscription_wakes_who_waits(db, stream):
    follower = db.streams.subscribe([stream.uuid])
    found = []
    waiting = threading.Thread(target=lambda: found.append(follower.get()))
    waiting.start()
    follower.close()
    waiting.join(LONG_S)
    assert found == [None]


def test_what_was_on_its_way_to_a_subscriber_counts_as_lost(server, db, stream):
    follower = db.streams.subscribe([stream.uuid])
    stream.insert(*columns(2))
    losing(server, ("subscription/get",))
    with pytest.raises(errors.LaminaError):
        follower.get(1)
    assert follower.overflowed


def test_a_forked_child_cannot_use_the_connections(db, stream):
    pid = os.fork()
    if pid == 0:
        try:
            stream.count()
        except errors.Closed as error:
            os._exit(0 if str(os.getppid()) in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert stream.count() == 0


def test_a_full_disk_is_told_as_such(server, db, stream):
    server.db.upkeep.full = True
    with pytest.raises(errors.NoSpace, match="the disk of the server is full"):
        stream.insert(*columns(1))
    assert stream.version == 10


def test_a_server_that_stopped_writing_says_so(server, db, stream):
    assert db.poisoned is None
    server.db._failure = OSError("/secret/path")
    with pytest.raises(errors.Unavailable, match="not possible at present") as refused:
        stream.insert(*columns(1))
    assert isinstance(db.poisoned, errors.Unavailable)
    assert "secret" not in str(refused.value) + str(db.poisoned)
    assert stream.count() == 0


def test_a_defect_of_the_server_is_told_by_a_number(server, db, stream, monkeypatch):
    def broken(*_):
        raise KeyError("/secret/path")

    monkeypatch.setitem(answers.METHODS, "stream/version", broken)
    with pytest.raises(errors.LaminaError, match=r"^internal error; the server's log tells more under [0-9a-f]{12}$"):
        stream.version  # noqa: B018


def test_a_client_that_goes_away_in_the_middle_of_a_content_leaves_nothing(server, db):
    entry = db.buckets.create("b").entry("e")

    def pieces():
        yield bytes(3_000_000)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        entry.write(pieces(), 1, size=9_000_000)

    def free():
        try:
            entry.write(b"x", 1)
        except errors.AlreadyExists:
            return False
        return True

    eventually(free)
    assert server.db.buckets["b"].load == server.db.buckets["b"].size
