"""Every method of both services x every kind of caller, with real tokens (reliability.md section 5).

The methods come from the tables that the server is built of: one without an entry in NEEDS fails the test.
"""

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import grpc
import pytest

import lamina
from lamina.access import Permissions, Tokens
from lamina.faces.btrdb import v4, v5
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.server import build_server
from lamina.testing.clock import ManualClock

pytestmark = pytest.mark.wire

HERE = "here/plant"
ANY, READ, WRITE, FULL = "any", "read", "write", "full"

NEEDS = {
    **dict.fromkeys(("Info", "FaultInject"), ANY),
    # listings are open to everybody, and show only what may be read (test_grpc_access)
    **dict.fromkeys(("LookupStreams", "ListCollections", "GetMetadataUsage", "SQLQuery"), ANY),
    **dict.fromkeys(("StreamInfo", "RawValues", "ArrowRawValues", "ArrowMultiValues", "MultiRawValues"), READ),
    **dict.fromkeys(("AlignedWindows", "ArrowAlignedWindows", "Windows", "ArrowWindows"), READ),
    **dict.fromkeys(("Nearest", "Changes", "GenerateCSV", "Subscribe"), READ),
    **dict.fromkeys(("Create", "SetStreamTags", "SetStreamAnnotations"), WRITE),
    **dict.fromkeys(("Insert", "ArrowInsert", "Delete", "Flush"), WRITE),
    **dict.fromkeys(("Obliterate", "SetCompactionConfig", "GetCompactionConfig"), FULL),
}

MAY: dict[str, set[str]] = {
    "elsewhere": {ANY},
    "buckets": {ANY},
    "reader": {ANY, READ},
    "writer": {ANY, WRITE},
    "full": {ANY, READ, WRITE, FULL},
}
"""Tokens that are good, and what each may do in HERE."""

STRANGERS = ("none", "malformed", "unknown", "expired", "revoked")

METHODS = [
    (module.SERVICE, name)
    for module, more in ((v5, ["Subscribe"]), (v4, []))
    for name in (*module.UNARY, *module.STREAMING, *more)
]


class Guarded(NamedTuple):
    channel: grpc.Channel
    headers: dict[str, str | None]
    db: Any
    secrets: list[str]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    clock = ManualClock()
    with lamina.open(":memory:", clock=clock) as db:
        tokens = Tokens(db)
        rights = {
            "elsewhere": Permissions(read=("$streams/else*",), write=("$streams/else*",)),
            "buckets": Permissions(read=("*",), write=("*",)),
            "reader": Permissions(read=("$streams/here/*",)),
            "writer": Permissions(write=("$streams/here/*",)),
            "full": Permissions(full_access=True),
        }
        values = {name: tokens.create(name, permissions) for name, permissions in rights.items()}
        values["expired"] = tokens.create("expired", rights["full"], clock.wall_us() * 1000 + 1_000_000_000)
        values["revoked"] = tokens.create("revoked", rights["full"])
        values["unknown"] = f"full-{'0' * 32}"
        clock.advance(2)
        tokens.remove("revoked")
        headers: dict[str, str | None] = {name: f"Bearer {value}" for name, value in values.items()}
        headers |= {"none": None, "malformed": f"Basic {values['full']}"}
        server = build_server(db, tokens)
        port = server.add_port("127.0.0.1", 0)
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            secrets = [value.rpartition("-")[2] for name, value in values.items() if name != "unknown"]
            yield Guarded(channel, headers, db, secrets)
        server.stop(0).wait(10)


def request(service: str, name: str, db: Any) -> bytes:
    """A call that succeeds for who may do it, on a stream of its own."""
    stream = db.streams.create(HERE, uuid4().hex)
    stream.insert([1, 2], [1.0, 2.0])
    uuid = stream.uuid.bytes
    span = {"uuid": uuid, "start": 0, "end": 9}
    wire = pb4 if service == v4.SERVICE else pb
    messages: dict[str, Any] = {
        "Create": lambda: wire.CreateParams(uuid=uuid4().bytes, collection=f"{HERE}/{uuid4().hex}"),
        "ListCollections": lambda: pb.ListCollectionsParams() if wire is pb else pb4.ListCollectionsParams(limit=9),
        "SQLQuery": lambda: pb.SQLQueryParams(query="select count(*) from streams"),
        "StreamInfo": lambda: pb.StreamInfoParams(uuid=uuid),
        "RawValues": lambda: pb.RawValuesParams(**span),
        "ArrowRawValues": lambda: pb.ArrowRawValuesParams(**span),
        "AlignedWindows": lambda: pb.AlignedWindowsParams(**span, pointWidth=1),
        "ArrowAlignedWindows": lambda: pb.AlignedWindowsParams(**span, pointWidth=1),
        "Windows": lambda: pb.WindowsParams(**span, width=1),
        "ArrowWindows": lambda: pb.WindowsParams(**span, width=1),
        "ArrowMultiValues": lambda: pb.ArrowMultiValuesParams(uuid=[uuid], versionMajor=[0], start=0, end=9),
        "MultiRawValues": lambda: pb.MultiRawValuesParams(uuid=[uuid], start=0, end=9),
        "Nearest": lambda: pb.NearestParams(uuid=uuid, time=0),
        "GenerateCSV": lambda: pb.GenerateCSVParams(
            queryType=2, startTime=0, endTime=9, streams=[pb.StreamCSVConfig(uuid=uuid, label="x")]
        ),
        "Insert": lambda: pb.InsertParams(uuid=uuid, values=[pb.RawPoint(time=5, value=5.0)]),
        "ArrowInsert": lambda: pb.ArrowInsertParams(uuid=uuid, arrowBytes=_points()),
        "Delete": lambda: pb.DeleteParams(**span),
        "Subscribe": lambda: pb.SubscriptionUpdate(uuid=[uuid]),
    }
    # what is left has the uuid as field 1, or nothing that must be given
    plain = b"" if name in ("Info", "FaultInject", "LookupStreams", "GetMetadataUsage") else b"\x0a\x10" + uuid
    return messages[name]().SerializeToString() if name in messages else plain


def _points() -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = pa.table({"time": pa.array([5], pa.int64()), "value": [5.0]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def outcome(guarded: Guarded, service: str, name: str, header: str | None) -> tuple[str, bytes]:
    """ "ok", the name of the gRPC status, or the number of the stat; and everything the client was told."""
    metadata = None if header is None else [("authorization", header)]
    call = guarded.channel.stream_stream(f"/{service}/{name}")
    try:
        answers = list(call(iter([request(service, name, guarded.db)]), metadata=metadata, timeout=20))
    except grpc.RpcError as error:
        return error.code().name, error.details().encode()
    codes = {pb.StatusResponse.FromString(answer).stat.code for answer in answers}
    return ("ok" if codes <= {0} else str(max(codes))), b"".join(answers)


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_every_method_does_what_the_token_allows_and_nothing_else(guarded, service, name, caplog):
    caplog.set_level(logging.DEBUG, logger="lamina")
    told = []
    for who in STRANGERS:
        found, text = outcome(guarded, service, name, guarded.headers[who])
        assert (found, text) == ("UNAUTHENTICATED", b"invalid api key"), who
    done = "424" if name == "FaultInject" else "ok"  # which is disabled for everybody
    for who, rights in MAY.items():
        before = _content(guarded.db)
        found, text = outcome(guarded, service, name, guarded.headers[who])
        assert found == (done if NEEDS[name] in rights else "PERMISSION_DENIED"), who
        if found == "PERMISSION_DENIED":
            after = [number + made for number, made in zip(before, (1, 11, 1), strict=True)]  # by `request`
            assert _content(guarded.db) == after, f"{who}: the refused call changed something"
            assert name == "Create" or HERE.encode() not in text, f"{who} learns where the stream is"
        told.append(text)
    for secret in guarded.secrets:
        assert not any(secret.encode() in text for text in told)
        assert secret not in caplog.text


def _content(db: Any) -> list[int]:
    """Streams, and the sums of their versions and property versions."""
    rows = list(db.streams.rows())
    return [len(rows), sum(db.streams.get(row.uuid).version for row in rows), sum(row.property_version for row in rows)]


def test_a_subscriber_gets_nothing_of_a_stream_it_may_not_read(guarded):
    stream = guarded.db.streams.create("closed", uuid4().hex)
    update = pb.SubscriptionUpdate(uuid=[stream.uuid.bytes]).SerializeToString()
    go = b"\x0a\x10" + stream.uuid.bytes
    for first in (update, go):
        call = guarded.channel.stream_stream("/v5api.BTrDB/Subscribe")
        answers = call(iter([first]), metadata=[("authorization", guarded.headers["reader"])], timeout=20)
        with pytest.raises(grpc.RpcError) as refused:
            next(answers)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
