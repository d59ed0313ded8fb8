"""Everything oversized, at its limit and one above (architecture section 15); bodies that are more than they seem."""

from __future__ import annotations

import json
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from lamina.engine.records import queries as engine_queries
from lamina.faces.reduct.call import BODY_LIMIT
from lamina.jobs import Jobs, JobsConfig
from lamina.server.deadlines import Stage
from lamina.server.tests.wired import run, until, wired
from tests.fuzz.conformance import nobody
from tests.security.grounds import Grounds

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def grounds() -> Iterator[Grounds]:
    grounds = Grounds(tokens=False)
    grounds.bucket("b")
    yield grounds
    grounds.close()


def opening(grounds: Grounds, **members: Any) -> int:
    grounds.write("b/e", 1)
    return grounds.post("/b/b/e/q", {"query_type": "QUERY", **members}).status


@pytest.mark.parametrize(("depth", "status"), [(32, 200), (33, 422)])
def test_depth_of_a_condition(grounds, depth, status):
    when: dict[str, Any] = {"$and": [True]}
    for _ in range(depth - 1):
        when = {"$and": [when]}
    assert opening(grounds, when=when) == status


@pytest.mark.parametrize(("nodes", "status"), [(1000, 200), (1001, 422)])
def test_size_of_a_condition(grounds, nodes, status):
    assert opening(grounds, when={"$and": [True] * (nodes - 1)}) == status


@pytest.mark.parametrize("text", ["[" * 50_000, '{"a":' * 50_000, '{"when":' * 5000 + "1" + "}" * 5000])
@pytest.mark.parametrize("place", ["", "when", "ext", "settings"])
def test_json_of_any_depth_is_refused_not_recursed_into(grounds, text, place):
    grounds.write("b/e", 1)
    if place == "settings":
        answer = grounds.post("/b/c", text.encode())
    elif place:
        answer = grounds.post("/b/b/e/q", b'{"query_type":"QUERY","%s":%s}' % (place.encode(), text.encode()))
    else:
        answer = grounds.post("/b/b/e/q", text.encode())
    assert answer.status == 422
    assert answer.headers.get("x-reduct-error", "Invalid JSON").startswith(
        ("Invalid JSON", "Condition", "Ext", "Op", "U")
    )


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 422)])
def test_length_of_a_json_body(grounds, more, status):
    text = b'{"quota_size":1}'
    assert grounds.post("/b/c", text + b" " * (BODY_LIMIT - len(text) + more)).status == status


@pytest.mark.parametrize(("count", "status"), [(256, 200), (257, 422)])
def test_labels_of_a_record(grounds, count, status):
    labels = {f"l{i}": "v" for i in range(count)}
    assert grounds.write("b/e", 1, b"", labels).status == status
    value = "0," + "".join(f",{name}=v" for name in labels)
    answer = grounds.post("/b/b/f/batch", b"", {"x-reduct-time-1": value})
    assert ("x-reduct-error-1" in answer.headers) == (status == 422)
    grounds.write("b/g", 1, b"", {"first": "v"})
    more = {f"x-reduct-label-l{i}": "v" for i in range(count - 1)}
    assert grounds.patch("/b/b/g?ts=1", b"", more).status == status


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 422)])
def test_bytes_of_labels_of_a_record(grounds, more, status):
    half = 32 * KIB - 2
    labels = {"a1": "x" * half, "a2": "y" * (half + more)}
    assert grounds.write("b/e", 1, b"", labels).status == status


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 422)])
def test_bytes_of_a_segment_of_a_name(grounds, length, status):
    assert grounds.post(f"/b/{'x' * length}").status == status
    assert grounds.write(f"b/{'x' * length}", 1).status == status


@pytest.mark.parametrize(("length", "status"), [(1024, 200), (1025, 422)])
def test_bytes_of_a_name(grounds, length, status):
    name = "/".join(["x" * 100] * 10) + "/" + "y" * (length - 1010)
    assert grounds.write(f"b/{name}", 1).status == status


def test_open_queries(grounds, monkeypatch):
    monkeypatch.setattr(engine_queries, "OPEN_QUERIES", 3)
    assert [opening(grounds) for _ in range(5)] == [200, 200, 200, 503, 503]
    grounds.clock.advance(61)
    assert opening(grounds) == 200


def test_tokens_and_jobs(monkeypatch):
    """Each kind has its cap, and one that is removed makes room."""
    grounds = Grounds()
    jobs = Jobs(grounds.db, JobsConfig(system_events=False), nobody)
    grounds.face.replications, grounds.face.lifecycles = jobs.replications, jobs.lifecycles
    try:
        grounds.db.buckets.create("b", {})
        there = len(grounds.tokens.list())
        monkeypatch.setattr("lamina.access.tokens.TOKEN_LIMIT", there + 2)
        for name in ("replications", "lifecycles"):
            monkeypatch.setattr(f"lamina.jobs.{name}.JOBS", 2)
        bodies: dict[str, dict[str, Any]] = {
            "tokens": {"permissions": {}},
            "replications": {"src_bucket": "b", "dst_bucket": "d", "dst_host": "http://nowhere.example"},
            "lifecycles": {"type": "delete", "bucket": "b", "older_than": "2h"},
        }
        for kind, body in bodies.items():
            text = json.dumps(body).encode()
            made = [grounds.ask("full", "POST", f"/{kind}/n{i}", text).status for i in range(3)]
            assert made == [200, 200, 422], kind
            assert grounds.ask("full", "DELETE", f"/{kind}/n0").status == 200
            assert grounds.ask("full", "POST", f"/{kind}/n2", text).status == 200
    finally:
        jobs.close()
        grounds.close()


def test_a_query_does_not_live_for_more_than_a_day(grounds):
    grounds.write("b/e", 1)
    id = grounds.query("/b/b/e", ttl=(1 << 64) - 1)
    grounds.clock.advance(24 * 3600 + 1)
    assert grounds.get(f"/b/b/e?q={id}").status == 404


@pytest.mark.parametrize("number", [-1, 1 << 64, 1 << 70, 10**300, "1", 1.5, True, [], {}])
@pytest.mark.parametrize("member", ["start", "stop", "ttl"])
def test_numbers_that_are_none_are_refused(grounds, member, number):
    beyond = member == "stop" and type(number) is int and number > 0  # nothing is that late: it means no stop
    assert opening(grounds, **{member: number}) == (200 if beyond else 422)


@pytest.mark.parametrize("member", ["quota_size", "max_block_size", "max_block_records"])
@pytest.mark.parametrize("number", [-1, 1 << 64, 10**300, "1", 1.5, []])
def test_settings_out_of_range_are_refused(grounds, member, number):
    assert grounds.post("/b/c", {member: number}).status == 422


@pytest.mark.parametrize("length", ["-1", "+1", "1.0", "1 1", "0x1", str(1 << 64), "9" * 5000, "", "１"])
def test_lengths_that_are_none_are_refused(grounds, length):
    answers = [
        grounds.post("/b/b/e?ts=1", [b"x"], {"x-reduct-content-length": length}),
        grounds.post("/b/b/e/batch", [b"x"], {"x-reduct-time-1": f"{length},"}),
        grounds.post(
            "/io/b/write", b"x", {"x-reduct-entries": "e", "x-reduct-start-ts": "1", "x-reduct-0-0": f"{length},"}
        ),
    ]
    assert [answer.status for answer in answers] == [422] * 3
    assert grounds.get("/b/b/e?ts=1").status == 404


def test_a_record_that_is_announced_and_does_not_come_costs_nothing(grounds):
    """2**63 bytes are announced: neither memory nor disk is set aside for them."""
    tracemalloc.start()
    for size in (1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        answer = grounds.post("/b/b/e?ts=1", [b"x"], {"x-reduct-content-length": str(size)})
        assert answer.status in (400, 422, 507), answer
        answer = grounds.post("/b/b/f/batch", [b"x"], {"x-reduct-time-1": f"{size},"})
        assert answer.status in (200, 400, 422), answer
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB
    assert grounds.get("/b/b/e?ts=1").status == 404
    assert grounds.get("/b/b/f?ts=1").status == 404


@cache
def gzip_bomb(size: int) -> bytes:
    coder = zlib.compressobj(9, wbits=31)
    return b"".join([*(coder.compress(bytes(MIB)) for _ in range(size // MIB)), coder.flush()])


@cache
def zstd_bomb(size: int) -> bytes:
    coder = zstd.ZstdCompressor()
    return b"".join([*(coder.compress(bytes(MIB)) for _ in range(size // MIB)), coder.flush()])


@pytest.mark.parametrize(("coding", "bomb"), [("gzip", gzip_bomb), ("zstd", zstd_bomb)])
@pytest.mark.parametrize(
    "path", ["/b/c", "/b/b/e/q", "/b/b/e?ts=1", "/b/b/e/batch", "/io/b/write", "/links/f", "/tokens/t"]
)
def test_a_bomb_bursts_outside(grounds, coding, bomb, path):
    """96 MiB that came in as a few KiB: refused, not unpacked, whether or not a size is announced."""
    body = bomb(96 * MIB)
    assert len(body) < MIB
    batch = {"x-reduct-time-1": "5,", "x-reduct-entries": "e", "x-reduct-start-ts": "1"}
    for announced in ({}, {"x-reduct-content-length": "5"}):
        headers = {
            "content-encoding": coding,
            "content-length": str(len(body)),
            **(batch if "h" in path else {}),
            **announced,
        }
        tracemalloc.start()
        answer = grounds.post(path, [body[at : at + 65_536] for at in range(0, len(body), 65_536)], headers)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status in (400, 422), answer
        assert peak < 32 * MIB, f"{peak} bytes at the peak"
    assert grounds.get("/b/b/e?ts=1").status == 404


# -- over a socket: what the parser of HTTP refuses ---------------------------------------------------------------


async def _statuses(grounds: Grounds, *requests: bytes) -> list[int]:
    found = []
    async with wired(grounds.app) as server:
        for request in requests:
            wire = await server.connect()
            wire.send(request)
            found.append((await wire.answer()).status)
            wire.close()
    return found


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "host: localhost", *headers, "", ""]).encode("latin-1")


def test_records_in_a_batch_are_what_the_header_lines_carry(grounds):
    def batch(count: int) -> bytes:
        return head("POST /api/v1/b/b/e/batch", "content-length: 0", *(f"x-reduct-time-{i}: 0," for i in range(count)))

    assert run(_statuses(grounds, batch(1198), batch(1199))) == [200, 431]
    assert grounds.db.buckets.get("b").entry("e").info().record_count == 1198


def test_header_lines_heads_and_targets(grounds):
    def line(size: int) -> bytes:
        return head("GET /api/v1/info", "x: " + "a" * (size - 5))

    def whole(size: int) -> bytes:
        fill = ["x: " + "a" * (60_000 - 5)] * 8
        left = size - (len("host") + len("localhost") + 4) - 8 * 60_000
        return head("GET /api/v1/info", *fill, "x: " + "a" * (left - 5))

    def target(size: int) -> bytes:
        return head("GET /api/v1/info?" + "a" * (size - len("/api/v1/info?")))

    wanted = [200, 431, 200, 431, 200, 414]
    sent = [f(n + more) for f, n in ((line, 64 * KIB), (whole, 512 * KIB), (target, 16 * KIB)) for more in (0, 1)]
    assert run(_statuses(grounds, *sent)) == wanted


RAW = [
    b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\nx-reduct-label-a: b\x00c\r\n\r\n",
    b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\nx-reduct-label-a: b\rc\r\n\r\n",
    b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\nx-reduct label: b\r\n\r\n",
    b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\n: b\r\n\r\n",
    b"GET /api/v1/info HTTP/1.1\r\nhost: localhost\r\n folded: b\r\n\r\n",
    b"GET /api/v1/\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"POST /api/v1/b/c HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy",
    b"POST /api/v1/b/c HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /api/v1/b/c HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
    b"POST /api/v1/b/c HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /api/v1/b/c HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"GET /api/v1/info HTTP/9.9\r\nhost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
]


def test_what_is_no_request_is_refused_by_400_and_makes_nothing(grounds):
    assert run(_statuses(grounds, *RAW)) == [400] * len(RAW)
    assert grounds.db.buckets.find("c") is None


def test_slow_clients_hold_nothing_for_long(grounds):
    """Heads, bodies and answers that do not go on, by a real connection and a clock that is turned."""

    async def main() -> None:
        async with wired(grounds.app) as server:
            slow_head = await server.connect()
            slow_head.send(b"GET /api/v1/info HTTP/1.1\r\nhost: loc")
            slow_body = await server.connect()
            slow_body.send(head("POST /api/v1/b/b/slow?ts=1", "content-length: 100000") + b"x" * 10)
            idle = await server.connect()
            idle.send(head("GET /api/v1/alive"))
            assert (await idle.answer()).status == 200
            await until(lambda: any(found.stage()[0] is Stage.BODY for found in server.state.connections))
            server.pass_time(12)
            assert await slow_head.ended()
            server.pass_time(30)
            answer = await slow_body.answer()
            assert (answer.status, json.loads(answer.body)["detail"]) == (400, "Timeout while receiving data")
            server.pass_time(80)
            assert await idle.ended()
            await until(lambda: not server.state.tasks)  # the face has given up, too

    run(main())
    assert grounds.get("/b/b/slow?ts=1").status == 404
    again = grounds.write("b/slow", 1, b"y")
    assert again.status == 200, "what was broken off does not hold its time"
