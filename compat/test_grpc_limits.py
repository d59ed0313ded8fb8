"""What a hostile, slow or careless client does, past every client library."""

import gzip
import logging
import threading
import time
from uuid import uuid4

import grpc
import numpy as np
import pyarrow as pa
import pytest
from btrdb.exceptions import BTRDBServerError

from lamina.columns import Samples
from lamina.engine.view import StreamView
from lamina.faces.btrdb import v4, v5, wire
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

pytestmark = pytest.mark.wire

V5 = "/v5api.BTrDB/"
MESSAGE_LIMIT = 4 << 20
WAIT_S = 20


def insert_request(uuid, times, values) -> bytes:
    """InsertParams by way of the encoder for answers: the same elements under another tag."""
    layout = wire.Layout(("i8", "f8"), field=3)
    return layout.encode(wire.length_delimited(1, 16) + uuid.bytes, times, values)


def insert(call, stream, n):
    request = insert_request(stream.uuid, np.arange(n), np.zeros(n))
    return pb.VersionResponse.FromString(call(V5 + "Insert", request))


@pytest.fixture
def million(db, collection):
    stream = db.streams.create(collection, "million")
    stream.insert(np.arange(1_000_000), np.random.default_rng(0).normal(size=1_000_000))
    return stream


@pytest.fixture
def closed(monkeypatch):
    """Counts views that were closed: wait(n) until n more were."""
    count = threading.Semaphore(0)
    close = StreamView.close

    def counted(view):
        held = view._lease >= 0
        close(view)
        if held:
            count.release()

    monkeypatch.setattr(StreamView, "close", counted)
    return lambda n: all(count.acquire(timeout=WAIT_S) for _ in range(n))


# Slow and vanished readers


def raw_values(uuid) -> bytes:
    return pb.RawValuesParams(uuid=uuid.bytes, start=0, end=1 << 60).SerializeToString()


def test_64_streams_that_nobody_reads_leave_other_calls_their_latency(call, address, million, closed):
    request = raw_values(million.uuid)
    unread = [call.stream(V5 + "RawValues", request, timeout=60) for _ in range(64)]
    for answers in unread:
        next(answers)  # begun, then left alone
    nearest = pb.NearestParams(uuid=million.uuid.bytes, time=500).SerializeToString()
    took = []
    with grpc.insecure_channel(address) as other:
        ask = other.unary_unary(V5 + "Nearest")
        for _ in range(50):
            begin = time.perf_counter()
            assert pb.NearestResponse.FromString(ask(nearest, timeout=WAIT_S)).value.time == 500
            took.append(time.perf_counter() - begin)
    assert sorted(took)[25] < 0.1, took  # with as few workers as streams it would be for ever
    for answers in unread:
        answers.cancel()
    assert closed(64 + 50)


def test_statements_that_take_their_time_leave_other_calls_their_places(call, monkeypatch):
    go = threading.Event()
    running = threading.Semaphore(0)

    def slow(*_):
        running.release()
        assert go.wait(WAIT_S)
        yield {"count": 1}

    monkeypatch.setattr("lamina.tables.sql.query", slow)
    request = pb.SQLQueryParams(query="select 1").SerializeToString()
    asked = [call.stream(V5 + "SQLQuery", request) for _ in range(10)]  # more than there are places
    try:
        assert all(running.acquire(timeout=WAIT_S) for _ in range(2))
        assert not running.acquire(timeout=0.05), "a statement may take 256 MiB: two at a time"
        assert call(V5 + "Info", b"")
    finally:
        go.set()
    assert [len(list(answers)) for answers in asked] == [1] * 10


def test_a_cancelled_stream_closes_its_view(call, db, million, closed):
    before = db.leases.open
    answers = call.stream(V5 + "RawValues", raw_values(million.uuid))
    next(answers)
    answers.cancel()
    assert closed(1)
    assert db.leases.open <= before


def test_astronomically_many_windows_come_lazily_and_end_with_the_client(call, million, closed):
    request = pb.WindowsParams(uuid=million.uuid.bytes, start=0, end=(48 << 56) - 1, width=1)
    for method in ("Windows", "ArrowWindows"):
        answers = call.stream(V5 + method, request.SerializeToString())
        for _ in range(3):
            next(answers)
        answers.cancel()
        assert closed(1)


def test_a_csv_that_is_dropped_at_once_costs_little(call, million, closed):
    config = pb.StreamCSVConfig(uuid=million.uuid.bytes, label="a")
    request = pb.GenerateCSVParams(
        queryType=pb.GenerateCSVParams.RAW_QUERY, startTime=0, endTime=1 << 60, streams=[config]
    ).SerializeToString()
    answers = call.stream(V5 + "GenerateCSV", request)
    assert pb.GenerateCSVResponse.FromString(next(answers)).isHeader
    answers.cancel()
    assert closed(1)


# Sizes


def test_50000_points_are_taken_in_one_call(call, stream):
    assert insert(call, stream, 50_000).versionMajor == 11
    assert stream.count() == 50_000


def test_more_points_than_allowed_are_414(call, stream):
    answer = insert(call, stream, 2_000_001)
    assert answer.stat.code == 414
    assert "Insert too big" in answer.stat.msg
    assert stream.version() == 10


def test_arrow_inserts_have_the_same_limit(call, stream):
    schema = pa.schema([("time", pa.int64()), ("value", pa.float64())])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([np.zeros(2_000_001, np.int64), np.zeros(2_000_001)], schema=schema))
    request = pb.ArrowInsertParams(uuid=stream.uuid.bytes, arrowBytes=sink.getvalue().to_pybytes())
    answer = pb.VersionResponse.FromString(call(V5 + "ArrowInsert", request.SerializeToString()))
    assert answer.stat.code == 414


def test_a_request_above_64_mib_is_refused_and_the_connection_lives(call, stream):
    with pytest.raises(grpc.RpcError) as refused:
        call(V5 + "Insert", bytes((64 << 20) + 1))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert insert(call, stream, 1).versionMajor == 11


def test_large_metadata_requests_are_refused(call):
    request = b"\x1a\x00" * (3 << 20)  # 3 million empty tags
    assert pb.StatusResponse.FromString(call(V5 + "Create", request)).stat.code == 414


@pytest.mark.parametrize("method", ["ArrowMultiValues", "MultiRawValues"])
def test_wide_joins_are_cut_by_bytes(call, db, collection, method):
    streams = [db.streams.create(collection, f"s{i}") for i in range(300)]
    db.streams.insert_many({s: (np.arange(3000), np.full(3000, float(i))) for i, s in enumerate(streams)})
    request = pb.ArrowMultiValuesParams if method == "ArrowMultiValues" else pb.MultiRawValuesParams
    request = request(uuid=[s.uuid.bytes for s in streams], start=0, end=3000)
    messages = list(call.stream(V5 + method, request.SerializeToString(), timeout=60))
    assert max(map(len, messages)) < MESSAGE_LIMIT
    assert len(messages) > 1
    if method == "ArrowMultiValues":
        tables = [pa.ipc.open_stream(pb.ArrowMultiValuesResponse.FromString(m).arrowBytes).read_all() for m in messages]
        table = pa.concat_tables(tables)
        assert table.num_rows == 3000
        assert table.column(300).to_pylist() == [299.0] * 3000
    else:
        answers = [pb.MultiRawValuesResponse.FromString(m) for m in messages]
        rows = [row for answer in answers for row in answer.values]
        assert [row.time for row in rows] == list(range(3000))
        assert list(rows[7].value) == [float(i) for i in range(300)]
        assert list(answers[-1].versionMajor) == [11] * 300


def test_long_annotations_are_cut_into_messages(call, db, collection):
    for i in range(12):
        db.streams.create(collection, f"s{i}", annotations={f"k{j}": "x" * 65_000 for j in range(15)})
    request = pb.LookupStreamsParams(collection=collection).SerializeToString()
    messages = list(call.stream(V5 + "LookupStreams", request))
    assert max(map(len, messages)) < MESSAGE_LIMIT
    assert sum(len(pb.LookupStreamsResponse.FromString(m).results) for m in messages) == 12


def test_every_message_of_a_long_answer_is_small(call, million):
    for method, rows in (("RawValues", 16_384), ("ArrowRawValues", 16_384)):
        messages = list(call.stream(V5 + method, raw_values(million.uuid)))
        assert max(map(len, messages)) < MESSAGE_LIMIT
        assert len(messages) == -(-1_000_000 // rows)


# Joins of the Go client


def test_multi_raw_values_joins_and_snaps(call, db, collection):
    a, b = (db.streams.create(collection, name) for name in "ab")
    a.insert([0, 10, 20], [1.0, 2.0, 3.0])
    b.insert([11, 20, 20], [4.0, 5.0, 6.0])
    uuids = [a.uuid.bytes, b.uuid.bytes]

    def rows(**options):
        request = pb.MultiRawValuesParams(uuid=uuids, **options).SerializeToString()
        answers = [pb.MultiRawValuesResponse.FromString(m) for m in call.stream(V5 + "MultiRawValues", request)]
        assert all(list(answer.versionMajor) == [11, 11] for answer in answers)
        return [
            (row.time, *(None if value != value else value for value in row.value))
            for answer in answers
            for row in answer.values
        ]

    assert rows(start=0, end=100) == [(0, 1, None), (10, 2, None), (11, None, 4), (20, 3, 5), (20, None, 6)]
    assert rows(start=0, end=100, periodNs=10) == [(0, 1, None), (10, 2, 4), (20, 3, 5)]
    assert rows(start=50, end=100) == []
    for period in (0, 10):
        assert rows(start=15, end=48 << 56, periodNs=period)[0] == (20, 3, 5)


def test_bad_joins(call, million):
    def code(kind=pb.MultiRawValuesParams, method="MultiRawValues", **options):
        request = kind(**{"uuid": [million.uuid.bytes], "start": 0, "end": 9} | options).SerializeToString()
        (message,) = call.stream(V5 + method, request)
        return pb.StatusResponse.FromString(message).stat.code

    assert code(periodNs=-1) == 438
    assert code(uuid=[million.uuid.bytes, uuid4().bytes]) == 404
    assert code(versionMajor=99) == 450
    assert code(start=9) == 413
    arrow = {"kind": pb.ArrowMultiValuesParams, "method": "ArrowMultiValues"}
    assert code(**arrow, snapPeriodNs=-1) == 438
    assert code(**arrow, versionMajor=[0, 0]) == 421
    assert code(**arrow, versionMajor=[99]) == 450
    assert code(**arrow, templateBytes=b"none", uuid=[uuid4().bytes]) == 438


def test_a_join_of_no_streams_is_an_empty_table(call):
    request = pb.ArrowMultiValuesParams(start=0, end=9).SerializeToString()
    (message,) = call.stream(V5 + "ArrowMultiValues", request)
    table = pa.ipc.open_stream(pb.ArrowMultiValuesResponse.FromString(message).arrowBytes).read_all()
    assert (table.num_rows, table.schema.names) == (0, ["time"])


def test_compaction_config_gives_versions_up(call, stream):
    for i in range(3):
        stream.insert([(i, 1.0)])
    uuid = stream.uuid.bytes
    set_config = pb.SetCompactionConfigParams(uuid=uuid, CompactedVersion=12)
    assert call(V5 + "SetCompactionConfig", set_config.SerializeToString()) == b""
    answer = call(V5 + "GetCompactionConfig", pb.GetCompactionConfigParams(uuid=uuid).SerializeToString())
    config = pb.GetCompactionConfigResponse.FromString(answer)
    assert (config.LatestMajorVersion, config.CompactedVersion) == (13, 12)
    with pytest.raises(Exception, match="11"):
        stream.values(0, 10, version=11)
    assert len(stream.values(0, 10, version=12)) == 2
    reduce = pb.SetCompactionConfigParams(
        uuid=uuid, reducedResolutionRanges=[pb.ReducedResolutionRange(Start=0, End=9, Resolution=5)]
    )
    refused = pb.StatusResponse.FromString(call(V5 + "SetCompactionConfig", reduce.SerializeToString()))
    assert refused.stat.code == 501


# Damaged, compressed and unexpected


EMPTY_REQUESTS = {"Info", "FaultInject"}


@pytest.mark.parametrize("module", [v5, v4])
def test_malformed_messages_are_wrong_arguments_on_every_method(call, module):
    for name in {*module.UNARY, *module.STREAMING} - EMPTY_REQUESTS:
        messages = list(call.stream(f"/{module.SERVICE}/{name}", b"\x0a\xff\xff"))
        assert [pb.StatusResponse.FromString(m).stat.code for m in messages] == [421], name


def test_malformed_arrow_is_wrong_arguments(call, stream):
    for data in (b"", b"none", b"\xff\xff\xff\xff" + bytes(100)):
        request = pb.ArrowInsertParams(uuid=stream.uuid.bytes, arrowBytes=data).SerializeToString()
        assert pb.VersionResponse.FromString(call(V5 + "ArrowInsert", request)).stat.code == 421


def test_unknown_merge_policy_is_wrong_arguments(call, stream):
    request = pb.InsertParams(uuid=stream.uuid.bytes, merge_policy=4).SerializeToString()
    assert pb.VersionResponse.FromString(call(V5 + "Insert", request)).stat.code == 421


def test_compressed_requests_are_taken(call, stream):
    request = insert_request(stream.uuid, np.arange(25_000), np.ones(25_000))
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        answer = pb.VersionResponse.FromString(call(V5 + "Insert", request, compression=compression))
        assert not answer.HasField("stat")
    assert stream.count() == 50_000


def test_a_compressed_request_that_inflates_beyond_the_limit_is_refused(call, stream):
    request = bytes((64 << 20) + 1)
    assert len(gzip.compress(request, 1)) < 1 << 20
    with pytest.raises(grpc.RpcError) as refused:
        call(V5 + "Insert", request, compression=grpc.Compression.Gzip)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert insert(call, stream, 1).versionMajor == 11


def test_an_unexpected_error_tells_the_client_a_number_and_the_log_everything(conn, db, stream, monkeypatch, caplog):
    def broken(uuid):
        raise OSError(5, "Input/output error", "/secret/segments/00.seg")

    monkeypatch.setattr(db.streams, "get", broken)
    with caplog.at_level(logging.ERROR), pytest.raises(BTRDBServerError, match="500: internal error") as told:
        stream.values(0, 10)
    assert "secret" not in str(told.value)
    number = str(told.value).rsplit(" ", 1)[1]
    assert number in caplog.text
    assert "/secret/segments/00.seg" in caplog.text


def test_success_never_carries_a_status(call, conn, ten):
    """Go clients take any stat, even of code 0, for an error."""
    request = pb.RawValuesParams(uuid=ten.uuid.bytes, start=0, end=(48 << 56) - 1).SerializeToString()
    for method in ("RawValues", "ArrowRawValues"):
        for message in call.stream(V5 + method, request):
            assert not pb.StatusResponse.FromString(message).HasField("stat")
    assert not pb.StatusResponse.FromString(call(V5 + "Info", b"")).HasField("stat")
    assert call(V5 + "Flush", pb.FlushParams(uuid=ten.uuid.bytes).SerializeToString()) == wire.versions(11)


def test_requests_read_by_the_clients_own_encoder_mean_the_same(call, stream):
    points = Samples(np.array([0, 5, 9]), np.array([1.0, 0.0, -0.0]))  # zeros are left out by protobuf
    values = [pb.RawPoint(time=t, value=v) for t, v in points]
    request = pb.InsertParams(uuid=stream.uuid.bytes, values=values).SerializeToString()
    call(V5 + "Insert", request)
    assert [(p.time, p.value) for p, _ in stream.values(0, 10)] == list(points)
