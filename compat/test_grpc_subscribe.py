"""Subscribe, in the form of the Python client (bidirectional) and of the Go client (server stream, same path)."""

import queue
import threading
from contextlib import contextmanager
from uuid import uuid4

import grpc
import numpy as np
import pyarrow as pa
import pytest
from btrdb.exceptions import StreamNotFoundError

from lamina.columns import Samples
from lamina.faces.btrdb import subscribe
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service.codes import Refused

pytestmark = pytest.mark.wire

PATH = "/v5api.BTrDB/Subscribe"
WAIT_S = 20
END = object()


@contextmanager
def drained(iterator):
    """A queue of what an iterator gives, then END or its exception; read in a thread of its own."""
    out = queue.Queue()

    def drain():
        try:
            for item in iterator:
                out.put(item)
            out.put(END)
        except Exception as error:
            out.put(error)

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    yield out
    thread.join(WAIT_S)
    assert not thread.is_alive()


def until_followed(stream, out):
    """Insert until something arrives: the subscription takes effect some time after it was asked for."""
    for i in range(1000):
        stream.insert([(i, -1.0)])
        try:
            return out.get(timeout=0.05)
        except queue.Empty:
            continue
    raise AssertionError("nothing arrived")


def points(table: pa.Table):
    return list(zip(table["time"].cast(pa.int64()).to_pylist(), table["value"].to_pylist(), strict=True))


def test_later_inserts_are_delivered_until_the_client_half_closes(conn, stream, ten):
    updates = queue.Queue()
    with drained(conn.ep.subscribe(updates)) as out:
        updates.put(([stream.uuid], []))
        uuid, table = until_followed(stream, out)
        assert uuid == stream.uuid
        assert table.schema.names == ["time", "value"]
        version = stream.insert([(5000, 1.5), (4000, 2.5)])
        while (received := points(out.get(timeout=WAIT_S)[1]))[0][1] == -1.0:
            pass
        assert sorted(received) == [(4000, 2.5), (5000, 1.5)]
        assert stream.version() == version
        updates.put(None)
        assert out.get(timeout=WAIT_S) is END


def test_streams_are_added_and_removed(conn, collection):
    one, two = (conn.create(uuid4(), collection, tags={"name": name}) for name in "ab")
    updates = queue.Queue()
    with drained(conn.ep.subscribe(updates)) as out:
        updates.put(([one.uuid], []))
        until_followed(one, out)
        updates.put(([two.uuid], [one.uuid]))
        while out.qsize():
            out.get()
        while until_followed(two, out)[0] != two.uuid:
            pass
        one.insert([(7000, 7.0)])
        two.insert([(8000, 8.0)])
        seen = []
        while (8000, 8.0) not in seen:
            _, table = out.get(timeout=WAIT_S)
            seen += points(table)
        assert (7000, 7.0) not in seen
        updates.put(None)
        while out.get(timeout=WAIT_S) is not END:
            pass


def test_unknown_stream_ends_the_call_with_404(conn):
    updates = queue.Queue()
    with drained(conn.ep.subscribe(updates)) as out:
        updates.put(([uuid4()], []))
        assert isinstance(out.get(timeout=WAIT_S), StreamNotFoundError)
        updates.put(None)


def test_half_close_without_any_update_ends_the_call(conn):
    updates = queue.Queue()
    updates.put(None)
    assert list(conn.ep.subscribe(updates)) == []


def test_go_form_goes_on_after_its_half_close(call, stream):
    request = pb.SubscribeParams(uuid=[stream.uuid.bytes]).SerializeToString()
    answers = call.stream(PATH, request)
    with drained(answers) as out:
        first = pb.SubscribeResp.FromString(until_followed(stream, out))
        assert first.uuid == stream.uuid.bytes
        stream.insert([(9000, 9.0)])
        while (seen := pb.SubscribeResp.FromString(out.get(timeout=WAIT_S)).values)[0].value != 9.0:
            pass
        assert [(p.time, p.value) for p in seen] == [(9000, 9.0)]
        answers.cancel()
        assert isinstance(out.get(timeout=WAIT_S), grpc.RpcError)


def test_go_form_of_an_unknown_stream(call):
    (answer,) = call.stream(PATH, pb.SubscribeParams(uuid=[uuid4().bytes]).SerializeToString())
    assert pb.StatusResponse.FromString(answer).stat.code == 404


def test_calls_beyond_the_limit_are_refused_and_places_come_back(call, stream):
    request = pb.SubscribeParams(uuid=[stream.uuid.bytes]).SerializeToString()
    open_calls = [call.stream(PATH, request) for _ in range(subscribe.SUBSCRIBERS + 1)]
    outs = queue.Queue()

    def first_of(answers):
        try:
            outs.put(pb.StatusResponse.FromString(next(answers)).stat.code)
        except grpc.RpcError as error:
            outs.put(error.code())

    for answers in open_calls:
        threading.Thread(target=first_of, args=(answers,), daemon=True).start()
    assert outs.get(timeout=WAIT_S) == 426  # the others wait for points
    for answers in open_calls:
        answers.cancel()
    ends = [outs.get(timeout=WAIT_S) for _ in range(subscribe.SUBSCRIBERS)]
    assert set(ends) == {grpc.StatusCode.CANCELLED}


def test_a_reader_that_falls_behind_is_told_so():
    class Mail:
        overflowed = True

        def get(self):
            return None

        def close(self):
            pass

    class Streams:
        def subscribe(self, uuids, capacity):
            return Mail()

    class Call:
        class db:  # noqa: N801
            streams = Streams()

    with subscribe._Follower(Call) as follower, pytest.raises(Refused, match="wait to be read"):
        next(iter(follower))


def test_a_large_insert_is_delivered_in_messages_of_bounded_size():
    many = Samples(np.arange(100_000), np.zeros(100_000))
    messages = list(subscribe._arrow(uuid4(), many))
    assert len(messages) == 7
    tables = [pa.ipc.open_stream(pb.SubscriptionResp.FromString(m).arrowBytes).read_all() for m in messages]
    assert sum(table.num_rows for table in tables) == 100_000
