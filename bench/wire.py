"""The gRPC lines of server-and-records.md section 7: `python -m bench.wire [--points 4e6]`.

Encoding and decoding are CPU time against protobuf's own objects. The calls run between two processes on loopback,
which share the machine's cores, so those rates are per second of the clock; what the server's process alone spent is
printed besides. "Wire alone" serves points that lie in memory, and takes inserts without storing them: it shows what
the face costs. "Stored" is a database in memory, read from its compressed leaves.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from uuid import UUID, uuid4

import btrdb
import grpc
import numpy as np
import pyarrow as pa

from bench import data
from bench.measure import Line, cpu, headline, rate, size
from lamina.columns import Samples
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

POINT_BYTES = 20
PER_MESSAGE = 50_000
"""Points of one insert, as the Python client sends them."""
HEAD = wire.versions(11)


def codec_lines() -> Iterator[Line]:
    """Point arrays to wire bytes and back."""
    times, values = data.block(0, PER_MESSAGE)
    points = Samples(times, values)
    sparse = values.copy()
    sparse[np.random.default_rng(3).random(len(sparse)) < 0.3] = 0.0
    head = wire.length_delimited(1, 16) + bytes(16)
    insert = wire.Layout(("i8", "f8"), field=3)
    dense = insert.encode(head, times, values)
    message = pb.InsertParams(uuid=bytes(16), values=[pb.RawPoint(time=t, value=v) for t, v in Samples(times, sparse)])
    with_zeros = message.SerializeToString()
    response = pb.RawValuesResponse(values=[pb.RawPoint(time=t, value=v) for t, v in points])

    def objects() -> bytes:
        made = pb.RawValuesResponse(values=[pb.RawPoint(time=t, value=v) for t, v in points])
        return made.SerializeToString()

    def parsed(body: bytes) -> object:
        found = pb.InsertParams.FromString(body)
        return [(point.time, point.value) for point in found.values]

    def batches() -> None:
        for i in range(0, PER_MESSAGE, 10_000):
            wire.encode_points(HEAD, Samples(times[i : i + 10_000], values[i : i + 10_000]))

    assert response.SerializeToString() == wire.encode_points(b"", points)
    for what, ours, theirs, must in (
        ("RawPoint encode", batches, objects, 400e6),
        ("RawPoint decode", lambda: wire.decode_insert(dense, 1 << 21), lambda: parsed(dense), 300e6),
        (
            "decode with omitted zeros",
            lambda: wire.decode_insert(with_zeros, 1 << 21),
            lambda: parsed(with_zeros),
            15e6,
        ),
    ):
        mine, other = PER_MESSAGE / (cpu(lambda work=ours: _often(work), 7) / 50), PER_MESSAGE / cpu(theirs, 3)
        yield Line(what, PER_MESSAGE, rate(mine), f"protobuf objects {rate(other)}", mine / must, 1.0)


def _often(work: Callable[[], object]) -> None:
    for _ in range(50):
        work()


class Held:
    """What the face needs of a database, over points in memory; stores nothing."""

    def __init__(self, times: np.ndarray, values: np.ndarray) -> None:
        self.streams = self
        self.uuid, self.collection, self.version = UUID(int=1), "bench", 11
        self._points = Samples(times, values)

    def get(self, uuid: UUID) -> Held:
        return self

    def at(self, version: int) -> Held:
        return self

    def iter_values(self, start: int, end: int) -> Iterator[Samples]:
        for i in range(0, len(self._points), 131_072):
            yield Samples(self._points.time[i : i + 131_072], self._points.value[i : i + 131_072])

    def insert(self, times: np.ndarray, values: np.ndarray, policy: str) -> int:
        return 11

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        return


def serve(pipe: Connection, points: int, stored: bool) -> None:
    """A server process: says its port, answers "cpu", ends when the pipe closes."""
    import lamina
    from lamina.faces.btrdb.server import build_server
    from lamina.server.serve import SWITCH_INTERVAL_S

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    times, values = data.points(points)
    if stored:
        db = lamina.open(":memory:")
        stream = db.streams.create("bench", "voltage", uuid=UUID(int=1))
        stream.insert(times, values)
    else:
        db = Held(times, values)
    server = build_server(db)
    bare = grpc.unary_unary_rpc_method_handler(lambda data, context: b"")  # what grpcio itself costs
    server._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bare", {"Call": bare}),))
    port = server.add_port("127.0.0.1", 0)
    server.start()
    pipe.send(port)
    try:
        while pipe.recv():
            pipe.send(time.process_time())
    except EOFError:
        server.stop(0).wait(5)


class Peer:
    """A server process and a client that sees bytes only."""

    def __init__(self, port: int, pipe: Connection) -> None:
        self.port = port
        self._pipe = pipe
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_receive_message_length", -1)])

    def server_cpu(self) -> float:
        self._pipe.send("cpu")
        seconds: float = self._pipe.recv()
        return seconds

    def timed(self, work: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
        """Seconds by the clock, and of the server's CPU, of the fastest repetition."""
        best = (float("inf"), 0.0)
        for _ in range(repeats):
            before, began = self.server_cpu(), time.perf_counter()
            work()
            best = min(best, (time.perf_counter() - began, self.server_cpu() - before))
        return best


@contextmanager
def server(points: int, stored: bool) -> Iterator[Peer]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, points, stored), daemon=True)
    process.start()
    theirs.close()
    if not ours.poll(120):
        raise RuntimeError("the server did not start within 120 s")
    peer = Peer(ours.recv(), ours)
    try:
        yield peer
    finally:
        peer.channel.close()
        ours.close()
        process.join(10)


def loopback() -> float:
    """Bytes per second of the clock between two threads over a TCP connection on loopback."""
    total, part = 1 << 30, bytes(1 << 20)
    listener = socket.create_server(("127.0.0.1", 0))

    def send() -> None:
        with socket.create_connection(listener.getsockname()) as out:
            for _ in range(total // len(part)):
                out.sendall(part)

    thread = threading.Thread(target=send)
    thread.start()
    connection, _ = listener.accept()
    buffer = bytearray(1 << 20)
    began = time.perf_counter()
    while connection.recv_into(buffer):
        pass
    seconds = time.perf_counter() - began
    thread.join()
    connection.close()
    listener.close()
    return total / seconds


def bytes_lines(peer: Peer, points: int, kind: str, limit: float, required: bool) -> Iterator[Line]:
    """RawValues and Insert with a client that neither parses nor builds messages."""
    start, end = data.bounds(points)
    asked = pb.RawValuesParams(uuid=UUID(int=1).bytes, start=start, end=end).SerializeToString()
    raw_values = peer.channel.unary_stream("/v5api.BTrDB/RawValues")

    def read() -> None:
        received = sum(map(len, raw_values(asked)))
        assert received >= POINT_BYTES * points, received

    yield from _rates("RawValues, bytes client, " + kind, peer, read, points, limit, required)

    layout = wire.Layout(("i8", "f8"), field=3)
    uuid = UUID(int=1).bytes
    if required is False:
        create = peer.channel.unary_unary("/v5api.BTrDB/Create")
        uuid = uuid4().bytes
        create(pb.CreateParams(uuid=uuid, collection="bench/in").SerializeToString())
    head = wire.length_delimited(1, 16) + uuid
    requests = [layout.encode(head, t, v) for t, v in data.batches(min(points, 2_000_000), PER_MESSAGE)]
    insert = peer.channel.unary_unary("/v5api.BTrDB/Insert")

    def write() -> None:
        for request in requests:
            insert(request)

    count = min(points, 2_000_000)
    yield from _rates("Insert, bytes client, " + kind, peer, write, count, limit, required)


def _rates(
    what: str, peer: Peer, work: Callable[[], object], points: int, limit: float, required: bool, must: float = 50e6
) -> Iterator[Line]:
    clock, spent = peer.timed(work)
    ours = points / clock
    reference = f"loopback {size(limit)}/s; server {rate(points / spent)}"
    yield Line(what, points, rate(ours), reference, ours / must, 1.0 * required)


def arrow_lines(peer: Peer, points: int, limit: float) -> Iterator[Line]:
    """The unmodified client: whole tables in and out."""
    start, end = data.bounds(points)
    client = btrdb.connect(f"127.0.0.1:{peer.port}")
    stream = client.stream_from_uuid(UUID(int=1))

    def read() -> None:
        assert stream.arrow_values(start, end).num_rows == points

    yield from _rates("Arrow read, btrdb client, stored", peer, read, points, limit, True, 30e6)
    count = min(points, 2_000_000)
    times, values = data.points(count)
    table = pa.table({"time": pa.array(times, pa.timestamp("ns", "UTC")), "value": values})
    target = client.create(uuid4(), "bench/arrow", tags={"name": "in"})
    yield from _rates(
        "Arrow insert, btrdb client, stored", peer, lambda: target.arrow_insert(table), count, limit, False, 30e6
    )


def unary_lines(peer: Peer) -> Iterator[Line]:
    """Calls per second: one after the other, and many under way."""
    asked = pb.NearestParams(uuid=UUID(int=1).bytes, time=data.bounds(1)[0]).SerializeToString()
    paths = {"empty handler": "/bench.Bare/Call", "Info": "/v5api.BTrDB/Info", "Nearest": "/v5api.BTrDB/Nearest"}
    for name, path in paths.items():
        request = asked if name == "Nearest" else b""
        call = peer.channel.unary_unary(path)
        for under_way in (1, 64):
            count = 2000

            def run(call: grpc.UnaryUnaryMultiCallable = call, width: int = under_way, body: bytes = request) -> None:
                pending: list[grpc.Future] = []
                for _ in range(2000):
                    if len(pending) == width:
                        pending.pop(0).result()
                    pending.append(call.future(body))
                for future in pending:
                    future.result()

            clock, spent = peer.timed(run, 3)
            ours = count / clock
            must = 8000 if under_way > 1 and name != "empty handler" else 0
            text = f"server CPU {spent / count * 1e6:.0f} µs a call"
            yield Line(f"unary {name}, {under_way} under way", 0, rate(ours), text, ours / 8000, 1.0 if must else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__)
    parser.add_argument("--points", type=float, default=4e6)
    points = int(parser.parse_args().points)
    headline("bench.wire")
    print("ratio: ours / what must be reached")
    for line in codec_lines():
        line.show()
    limit = loopback()
    with server(points, stored=False) as peer:
        for line in bytes_lines(peer, points, "wire alone", limit, True):
            line.show()
    with server(points, stored=True) as peer:
        for lines in (
            bytes_lines(peer, points, "stored", limit, False),
            arrow_lines(peer, points, limit),
            unary_lines(peer),
        ):
            for line in lines:
                line.show()


if __name__ == "__main__":
    main()
