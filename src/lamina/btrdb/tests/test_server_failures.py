"""A server that is away, goes away, comes back, or does not know the key."""

from __future__ import annotations

import threading
from concurrent import futures
from uuid import uuid4

import grpc
import numpy as np
import pytest

import lamina
from lamina import btrdb
from lamina.btrdb import channel, exceptions
from lamina.btrdb.exceptions import BTrDBError, ConnectionError, PermissionDenied
from lamina.columns import Samples
from lamina.faces.btrdb.auth import Everyone
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.server import build_server

N = 200_000


class Server:
    """A server that can be stopped and started again at its port."""

    def __init__(self, db, authenticator=None):
        self.db, self.authenticator, self.port = db, authenticator, 0
        self.start()

    def start(self):
        self.server = build_server(self.db, self.authenticator)
        self.port = self.server.add_port("127.0.0.1", self.port)
        self.server.start()

    def stop(self):
        self.server.stop(0).wait(10)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def server():
    with lamina.open(":memory:") as db:
        running = Server(db)
        yield running
        running.stop()


@pytest.fixture
def stream(server):
    with btrdb.connect(server.address) as conn:
        stream = conn.create(uuid4(), "a/b", {"name": "x"})
        stream.insert(Samples(np.arange(N), np.arange(N, dtype=float)))
        yield stream


def test_nobody_listens():
    with pytest.raises(
        ConnectionError, match=r"^Could not connect to the database, error message: 127\.0\.0\.1:1 "
    ) as e:
        btrdb.connect("127.0.0.1:1")
    assert isinstance(e.value, BTrDBError)
    assert isinstance(e.value, grpc.RpcError)


def test_a_server_that_went_away(server, stream):
    server.stop()
    for do in (
        stream.version,
        lambda: stream.values(0, N),
        lambda: stream.windows(0, N, 10),
        stream.btrdb.list_collections,
    ):
        with pytest.raises(ConnectionError, match="cannot be reached") as failed:
            do()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(ConnectionError, match="whether the call was carried out is not known"):
        stream.insert([(1, 1.0)])


def test_a_server_that_came_back_is_used_again(server, stream):
    server.stop()
    server.start()
    assert stream.btrdb.ep.backend.channel.address == server.address
    assert stream.values(0, 10, auto_retry=True, retry_delay=0.2)[3][0].value == 3.0


@pytest.mark.parametrize(("port", "make"), [("4410", "insecure_channel"), ("4411", "secure_channel")])
def test_a_server_that_was_away_for_long_is_tried_again_soon(monkeypatch, port, make):
    made = []
    monkeypatch.setattr(grpc, make, lambda *_, options: made.append(dict(options)))
    channel.dial(f"127.0.0.1:{port}", None)
    assert made[0]["grpc.max_reconnect_backoff_ms"] <= 1000


def test_a_restart_in_the_middle_of_an_iteration(server, stream):
    pages = stream.btrdb.ep.rawValues(stream.uuid, 0, N)
    first, _ = next(pages)
    assert len(first) > 0
    server.stop()
    seen = len(first)
    failed = None
    try:
        for page, _ in pages:
            assert page[0].time == seen  # in order, nothing twice
            seen += len(page)
    except ConnectionError as error:
        failed = error
    assert "cannot be reached" in str(failed)
    assert seen < N


def test_an_iteration_that_is_given_up_ends_the_call(server, stream):
    pages = stream.btrdb.ep.rawValues(stream.uuid, 0, N)
    next(pages)
    pages.close()
    for _ in range(1000):
        stream.version()
        if not server.db.stats()["open_readers"]:
            break
    assert server.db.stats()["open_readers"] == 0


class Key(Everyone):
    def authenticate(self, value):
        return self if value == "Bearer right" else None


@pytest.mark.parametrize("key", ["secret\n", "ä"])
def test_what_cannot_be_a_key(key):
    with pytest.raises(ValueError, match="apikey: expected printable ASCII text") as refused:
        btrdb.connect("127.0.0.1:1", apikey=key)
    assert "secret" not in str(refused.value)


def test_keys():
    with lamina.open(":memory:") as db:
        server = Server(db, Key())
        try:
            for key in ("wrong", None):
                with pytest.raises(
                    ConnectionError, match=r"Could not connect to the database.*invalid api key"
                ) as failed:
                    btrdb.connect(server.address, apikey=key)
                assert isinstance(failed.value, grpc.RpcError)
                assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with btrdb.connect(server.address, apikey="right") as conn:
                stream = conn.create(uuid4(), "a/b", {"name": "x"})
                server.authenticator.authenticate = lambda value: None
                with pytest.raises(PermissionDenied, match=r"^invalid api key$"):
                    stream.version()
        finally:
            server.stop()


# What is sent again, and what is not: a server that fails as it is told to.


class Flaky:
    """Answers calls of one method; the first `failures` of them end with UNAVAILABLE after `messages` messages."""

    def __init__(self, failures, messages=0):
        self.failures, self.messages, self.calls = failures, messages, []

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        if name == "Info":
            info = pb.InfoResponse(majorVersion=5, minorVersion=20).SerializeToString()
            return grpc.unary_unary_rpc_method_handler(lambda request, context: info)
        if name in ("RawValues", "LookupStreams"):
            return grpc.unary_stream_rpc_method_handler(lambda request, context: self.stream(name, context))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.unary(name, context))

    def stream(self, name, context):
        self.calls.append(name)
        for _ in range(self.messages):
            yield pb.RawValuesResponse(versionMajor=11, values=[pb.RawPoint(time=5, value=0.0)]).SerializeToString()
        if len(self.calls) <= self.failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        yield pb.RawValuesResponse(versionMajor=11).SerializeToString()

    def unary(self, name, context):
        self.calls.append(name)
        if len(self.calls) <= self.failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return pb.VersionResponse(versionMajor=12).SerializeToString()


@pytest.fixture
def flaky():
    """flaky(failures, messages) -> (the server's record, a stream of a client of it)."""
    servers = []

    def start(failures, messages=0):
        served = Flaky(failures, messages)
        server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(served,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return served, btrdb.connect(f"127.0.0.1:{port}").stream_from_uuid(uuid4())

    yield start
    for server in servers:
        server.stop(0).wait(10)


def test_reads_are_asked_again_once(flaky):
    served, stream = flaky(1)
    assert stream.values(0, 9) == []
    assert served.calls == ["RawValues"] * 2
    served, stream = flaky(1)
    stream.version()
    assert served.calls == ["StreamInfo"] * 2
    served, stream = flaky(9)
    with pytest.raises(ConnectionError, match="not now"):
        stream.values(0, 9)
    assert served.calls == ["RawValues"] * 2


def test_an_answer_that_broke_off_is_not_begun_anew(flaky):
    served, stream = flaky(1, messages=1)
    with pytest.raises(ConnectionError, match="not now"):
        stream.values(0, 9)
    assert served.calls == ["RawValues"]


def test_writes_are_not_sent_again(flaky):
    for do in (
        lambda s: s.insert([(1, 1.0)]),
        lambda s: s.delete(0, 9),
        lambda s: s.flush(),
        lambda s: s.obliterate(),
        lambda s: s.btrdb.create(uuid4(), "a/b"),
    ):
        served, stream = flaky(1)
        with pytest.raises(ConnectionError, match="whether the call was carried out is not known"):
            do(stream)
        assert len(served.calls) == 1


def test_auto_retry_sends_a_write_again(flaky, monkeypatch):
    monkeypatch.setattr(exceptions, "_clock", type("Clock", (), {"wait": lambda self, event, timeout_s: False})())
    served, stream = flaky(2)
    assert stream.delete(0, 9, auto_retry=True) == 12
    assert served.calls == ["Delete"] * 3


def test_elements_with_zeros_left_out_are_read_as_well(flaky):
    """As other servers write them: an older one, without Arrow."""
    served, stream = flaky(0, messages=2)
    assert [(point.time, point.value) for point, _ in stream.values(0, 9)] == [(5, 0.0), (5, 0.0)]
    assert not stream.btrdb._ARROW_ENABLED
    with pytest.raises(NotImplementedError, match="arrow_values"):
        stream.arrow_values(0, 9)
    with pytest.raises(NotImplementedError, match="arrow_to_dataframe"):
        stream.btrdb.streams(stream.uuid).filter(start=0, end=9).arrow_to_dataframe()
    assert stream.insert([(1, 1.0)]) == 12
    assert served.calls[-1] == "Insert"


def test_protobuf_and_arrow_carry_the_same(server, stream):
    from lamina.btrdb.remote import Remote, RemotePoints

    uuid = stream.uuid.bytes
    stream.insert([(-5, 0.0), (0, 0.0), (0, -0.0), (7, 5e-324)])
    remote: Remote = stream.btrdb.ep.backend
    for name, arguments in (
        ("raw_values", (-10, N, 0)),
        ("raw_values", (N + 5, N + 9, 0)),
        ("windows", (-10, N, 1000, 0, 0)),
        ("aligned_windows", (-10, N, 7, 0)),
    ):
        arrow = [list(part) for _, part in getattr(remote, name)(uuid, *arguments)]
        remote._arrow = False
        plain = [list(part) for _, part in getattr(remote, name)(uuid, *arguments)]
        remote._arrow = True
        assert arrow == plain
    times, values = np.array([N, N + 1]), np.array([0.0, 1.5])
    parts = [(times, values)]
    assert remote.insert(uuid, parts, "never") == RemotePoints.insert(remote, uuid, parts, "equal") - 1
    assert [value for _, value in stream.values(N, N + 9).columns] == [0.0, 1.5]


def test_many_threads_use_one_connection(stream):
    failed = []

    def read():
        try:
            for _ in range(5):
                assert len(stream.values(0, 1000)) == 1000
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
