"""Version 4's classes beyond the session of its client: what no release has working, errors both ways, units."""

from __future__ import annotations

import io
from uuid import UUID, uuid4

import grpc
import pytest

import lamina
from lamina import btrdb4
from lamina.btrdb4 import BTrDBError, ChangedRange, QueryType, RawPoint, StatPoint
from lamina.faces.btrdb.server import build_server

START = 1_500_000_000 * btrdb4.SECOND
END = START + btrdb4.SECOND
NOBODY = UUID(int=404)


@pytest.fixture(scope="module")
def db():
    with lamina.open(":memory:") as database:
        yield database


@pytest.fixture(scope="module")
def address(db):
    server = build_server(db)
    port = server.add_port("127.0.0.1", 0)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait(10)


@pytest.fixture(params=["directory", "server"])
def conn(request, db, address):
    with btrdb4.connect(db if request.param == "directory" else address) as connected:
        yield connected


def ten(conn):
    stream = conn.create(uuid4(), f"v4/{uuid4().hex}", {"name": b"x"}, {"k": b"v"})
    assert stream.insert([(START + i * btrdb4.SECOND // 10, float(i + 1)) for i in range(10)]) == 11
    return stream


def test_patch_replaces_what_is_at_its_times(conn):
    stream = ten(conn)
    assert stream.patch([(START, 50.0), (START, 60.0), (START + 1, 70.0)]) == 12
    found = [(point.time - START, point.value) for point, _ in stream.rawValues(START, START + 2)]
    assert found == [(0, 60.0), (1, 70.0)]


def test_changes_cover_what_changed(conn):
    stream = ten(conn)
    stream.insert([(END + 5, 1.0)])
    ranges = list(stream.changes(11, 0, 0))
    assert {version for _, version in ranges} == {12}
    assert any(each.start <= END + 5 < each.end for each, _ in ranges)
    assert list(stream.changes(12, 12, 0)) == []
    with pytest.raises(BTrDBError, match=r"^\[427\]"):
        list(stream.changes(13, 0, 0))


def exported(conn, do):
    text = io.StringIO()
    do(text)
    return text.getvalue().splitlines()


def test_exports_to_csv_files(conn):
    stream = ten(conn)
    one = (0, "a", stream.uuid())
    raw = exported(conn, lambda file: conn.rawValuesToCSV(file, START, END, 0, 0, False, one))
    assert raw[:2] == ["Timestamp (ns),Human-Readable Time (UTC),a", f"{START},2017-07-14T02:40:00Z,1.000000"]
    assert len(raw) == 11
    for method in (conn.windowsToCSV, conn.windowsToCsv):
        windows = exported(conn, lambda file, method=method: method(file, START, END, 300_000_000, 0, True, one))
        assert windows[0].endswith('"a, ver. 11 (Min)","a, ver. 11 (Mean)","a, ver. 11 (Max)","a, ver. 11 (Count)"')
        assert windows[1].endswith("1.000000,2.000000,3.000000,3")
    aligned = exported(conn, lambda file: conn.alignedWindowsToCSV(file, START, END, 28, False, one))
    assert [line.split(",")[-1] for line in aligned[1:]] == ["1", "3", "3", "2"]


def test_is_correct():
    assert btrdb4.isCorrect() is True


def test_cached_annotations(conn):
    stream = conn.streamFromUUID(ten(conn).uuid())
    assert stream.cachedAnnotations() == ({"k": b"v"}, 1)
    conn.ep.setStreamAnnotations(stream.uuid(), 1, {"k": b"w"})
    assert stream.cachedAnnotations() == ({"k": b"v"}, 1)
    assert stream.annotations() == ({"k": b"w"}, 2)
    assert stream.cachedAnnotations() == ({"k": b"w"}, 2)


def test_values_may_be_given_as_text(conn):
    stream = conn.create(uuid4(), f"v4/{uuid4().hex}", {"name": "x"}, {"k": "ü"})
    assert stream.tags() == {"name": b"x"}
    assert stream.annotations() == ({"k": "ü".encode()}, 1)


def test_generators_ask_when_they_are_iterated(conn):
    generators = [conn.streamFromUUID(NOBODY).rawValues(5, 0), conn.lookupStreams("none", False)]
    with pytest.raises(BTrDBError, match=r"^\[413\]"):
        next(generators[0])
    assert list(generators[1]) == []


FAILURES = {
    "unknown": lambda c, s: list(c.streamFromUUID(NOBODY).rawValues(START, END)),
    "insert": lambda c, s: c.streamFromUUID(NOBODY).insert([(1, 1.0)]),
    "version": lambda c, s: list(s.rawValues(START, END, 99)),
    "range": lambda c, s: list(s.alignedWindows(END, START, 5)),
    "width": lambda c, s: list(s.windows(START, END, 0)),
    "point width": lambda c, s: list(s.alignedWindows(START, END, 64)),
    "value": lambda c, s: s.insert([(1, float("nan"))]),
    "tags in use": lambda c, s: c.create(uuid4(), s.collection(), {"name": b"x"}),
    "uuid in use": lambda c, s: c.create(s.uuid(), "a", {"name": b"x"}),
    "nearest": lambda c, s: s.nearest(START, 0, True),
    "fault": lambda c, s: c.ep.faultInject(1, b""),
    "empty tag": lambda c, s: c.create(uuid4(), "a", {"name": b""}),
    "annotation version": lambda c, s: c.ep.setStreamAnnotations(s.uuid(), 7, {"a": "b"}),
}


@pytest.mark.parametrize("do", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_the_same_both_ways(db, address, do):
    with btrdb4.connect(db) as embedded, btrdb4.connect(address) as remote:
        uuid = ten(embedded).uuid()
        told = []
        for conn in (embedded, remote):
            with pytest.raises(BTrDBError) as failed:
                do(conn, conn.streamFromUUID(uuid))
            told.append((failed.value.code, failed.value.msg))
        assert told[0] == told[1]


NO_INTS = {
    "start": lambda s: list(s.rawValues("x", END)),
    "end": lambda s: list(s.rawValues(START, None)),
    "pointwidth": lambda s: list(s.alignedWindows(START, END, 1.5)),
    "width": lambda s: list(s.windows(START, END, None)),
    "depth": lambda s: list(s.windows(START, END, 5, "x")),
    "time": lambda s: s.nearest(None, 0, True),
    "fromVersion": lambda s: list(s.changes(1.5, 0, 0)),
    "resolution": lambda s: list(s.changes(0, 0, None)),
}


@pytest.mark.parametrize("name", NO_INTS)
def test_what_is_no_int_is_a_type_error(conn, name):
    with pytest.raises(TypeError, match=f"^{name} .*: expected an int$"):
        NO_INTS[name](ten(conn))
    with pytest.raises(TypeError, match="start None: expected an int"):
        ten(conn).deleteRange(None, END)


def test_what_is_no_point_is_a_type_error(conn):
    with pytest.raises(TypeError, match=r"point 0 is \(1, 'x'\)"):
        ten(conn).insert([(1, "x")])


def test_a_server_is_called_at_the_first_need_and_its_absence_told():
    conn = btrdb4.connect("127.0.0.1:1")
    with pytest.raises(BTrDBError, match=r"^\[402\] 127\.0\.0\.1:1 cannot be reached") as failed:
        conn.info()
    assert isinstance(failed.value, grpc.RpcError)
    assert failed.value.code == 402
    conn.close()
    with pytest.raises(BTrDBError, match=r"^\[402\] the connection is closed$"):
        conn.info()


def test_where_to_connect(monkeypatch, tmp_path):
    monkeypatch.setenv("BTRDB_ENDPOINTS", str(tmp_path / "data"))
    with btrdb4.connect() as conn:
        assert (conn.info().majorVersion, list(conn.info().proxy.proxyEndpoints)) == (4, [])
    monkeypatch.setenv("BTRDB_ENDPOINTS", "")
    with pytest.raises(ValueError, match="expecting address:port"):
        btrdb4.connect()
    with lamina.open(tmp_path / "data"), pytest.raises(BTrDBError, match=r"^\[402\].*held by"):
        btrdb4.connect(tmp_path / "data")


def test_points_and_ranges():
    assert repr(RawPoint(1, 2.0)) == "RawPoint(1, 2.0)"
    assert list(RawPoint(1, 2.0)) == [1, 2.0]
    assert repr(StatPoint(1, 2.0, 3.0, 4.0, 5)) == "StatPoint(1, 2.0, 3.0, 4.0, 5)"
    assert list(StatPoint(1, 2.0, 3.0, 4.0, 5)) == [1, 2.0, 3.0, 4.0, 5]
    assert (repr(ChangedRange(1, 2)), list(ChangedRange(1, 2))) == ("ChangedRange(1, 2)", [1, 2])
    with pytest.raises(IndexError, match="RawPoint index out of range"):
        RawPoint(1, 2.0)[2]
    (message,) = RawPoint.toProtoList([(1, 2.0)])
    assert RawPoint.fromProtoList([message])[0].value == 2.0


def test_errors_and_dates():
    assert str(BTrDBError(404, "x", None)) == "[404] x"
    assert str(BTrDBError(0, "", None)) == "<success>"
    assert repr(BTrDBError(404, "x", None)) == "BTrDBError(404, 'x', None)"
    stat = type("Stat", (), {"code": 0, "msg": "", "mash": None})
    BTrDBError.checkProtoStat(stat)
    stat.code = 413
    with pytest.raises(BTrDBError):
        BTrDBError.checkProtoStat(stat)
    assert btrdb4.date("2017-07-14T02:40:00.000000") == START
    assert btrdb4.date("2017-07-14T02:40:00.123456789") == START + 123_456_789
    assert [QueryType.ALIGNED_WINDOWS_QUERY().toProto(), QueryType.RAW_QUERY().toProto()] == [0, 2]
