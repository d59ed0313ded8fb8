"""Runs inside the environment that has btrdb4: every method of seed 001, one function each.

Usage: btrdb4_session.py HOST:PORT. Prints {function name: traceback or null} as JSON.
"""

import csv
import io
import json
import sys
import traceback
from uuid import uuid4

import btrdb4
from btrdb4.utils import BTrDBError, QueryType

SECOND = 1_000_000_000
START = 1_500_000_000 * SECOND


def new(db, tags=None, annotations=None, points=10):
    collection = "v4/" + uuid4().hex
    stream = db.create(uuid4(), collection, tags or {"name": b"x"}, annotations or {})
    if points:
        stream.insert([(START + i * SECOND // 10, float(i + 1)) for i in range(points)])
    return stream


def refused(code, do, *args):
    """The text of the error that the call must end with."""
    error = None
    try:
        do(*args)
    except BTrDBError as raised:
        error = raised
    assert error is not None, f"no error, expected {code}"
    assert error.code == code, error
    assert str(error).startswith(f"[{code}] "), error
    return error.msg


def info_gives_an_address_to_connect_to(db, address):
    info = db.info()
    assert info.majorVersion == 4
    assert list(info.proxy.proxyEndpoints) == [address]
    (member,) = info.mash.members
    assert (member.start, member.end, member.grpcEndpoints) == (0, 1 << 32, address)
    assert member.up
    assert getattr(member, "in")
    assert member.weight > 0


def create_and_describe(db, address):
    stream = new(db, {"name": b"x", "free.key_1": b"y"}, {"text": b"z", "EventTime": b"5"}, points=0)
    found = db.streamFromUUID(stream.uuid())
    assert found.exists()
    assert found.tags() == {"name": b"x", "free.key_1": b"y"}
    assert found.annotations() == ({"text": b"z", "EventTime": b"5"}, 1)
    assert found.collection() == stream.collection()
    assert found.version() == 10
    assert not db.streamFromUUID(uuid4()).exists()
    assert refused(404, db.streamFromUUID(uuid4()).tags) == "stream does not exist"


def create_refuses_what_is_taken(db, address):
    stream = new(db)
    home = stream.collection()
    refused(406, db.create, uuid4(), home, {"name": b"x"}, {})
    refused(406, db.create, stream.uuid(), home, {"name": b"x"}, {})
    refused(429, db.create, stream.uuid(), home, {"name": b"y"}, {})
    for tags, code in (
        ({"Name": b"x"}, 408),
        ({"n" * 64: b"x"}, 408),
        ({"name": b""}, 409),
        ({"name": b"a" * 256}, 409),
        ({"name": b"a\0"}, 409),
        ({"name": b"\xff"}, 409),
    ):
        refused(code, db.create, uuid4(), home, tags, {})
    refused(409, db.create, uuid4(), home, {"name": b"q"}, {"k": b"\xff"})
    refused(407, db.create, uuid4(), "", {"name": b"q"}, {})


def annotations_change_by_version(db, address):
    stream = new(db, annotations={"a": b"1", "b": b"2"}, points=0)
    db.ep.setStreamAnnotations(stream.uuid(), 1, {"a": "3", "b": None})
    assert stream.annotations() == ({"a": b"3"}, 2)
    refused(423, db.ep.setStreamAnnotations, stream.uuid(), 1, {"a": "4"})
    db.ep.setStreamAnnotations(stream.uuid(), 0, {"c": "5"})
    assert stream.annotations() == ({"a": b"3", "c": b"5"}, 3)


def lookup(db, address):
    stream = new(db, {"name": b"x", "unit": b"V"}, {"k": b"1"}, points=0)
    home = stream.collection()
    other = db.create(uuid4(), home + "/sub", {"name": b"y"}, {})

    def found(*args):
        return [s.uuid() for s in db.lookupStreams(*args)]

    assert found(home, True) == [stream.uuid(), other.uuid()]
    assert found(home, False) == [stream.uuid()]
    assert found(home, True, {"unit": None}) == [stream.uuid()]
    assert found(home, True, {"name": "y"}) == [other.uuid()]
    assert found(home, True, None, {"k": "1"}) == [stream.uuid()]
    assert found(home, True, None, {"k": None}) == [stream.uuid()]
    assert found(home, True, {"none": None}) == []
    assert found("", False) == []
    (hit,) = db.lookupStreams(home, False)
    assert hit.tags() == {"name": b"x", "unit": b"V"}
    assert db.getMetadataUsage(home) == ({"name": 2, "unit": 1}, {"k": 1})


def collections_by_pages(db, address):
    home = "v4list/" + uuid4().hex
    for i in range(5):
        db.create(uuid4(), f"{home}/{i}", {"name": b"x"}, {})
    names = [f"{home}/{i}" for i in range(5)]
    assert list(db.ep.listCollections(home, "", 10)) == names
    assert list(db.ep.listCollections(home, home + "/2", 2)) == names[2:4]
    assert list(db.ep.listCollections(home, home + "/1x", 10)) == names[2:]
    for args, code in (
        ((home, "", 0), 421),
        ((home, "", 10_001), 421),
        ((home, "other", 5), 421),
        (("p" * 256, "", 5), 407),
    ):
        refused(code, db.ep.listCollections, *args)


def points_and_versions(db, address):
    stream = new(db)
    points = [(p.time, p.value) for p, _ in stream.rawValues(START, START + SECOND)]
    assert points == [(START + i * SECOND // 10, float(i + 1)) for i in range(10)]
    assert stream.insert([(START, 5.0), (START, 5.0)]) == 12
    assert stream.deleteRange(START, START + 1) == 13
    assert stream.version() == 13
    assert len(list(stream.rawValues(START, START + 1))) == 0
    assert len(list(stream.rawValues(START, START + 1, version=12))) == 3
    stream.flush()
    assert stream.version() == 13
    refused(450, list, stream.rawValues(START, START + 1, 99))
    refused(413, list, stream.rawValues(5, 5))
    refused(425, stream.insert, [(1, float("nan"))])
    refused(404, list, db.streamFromUUID(uuid4()).rawValues(0, 1))


def many_points(db, address):
    stream = new(db, points=0)
    points = [(START + i, float(i)) for i in range(23_456)]
    assert stream.insert(points) == 15  # batches of 5,000
    assert [(p.time, p.value) for p, _ in stream.rawValues(START, START + SECOND)] == points


def windows(db, address):
    stream = new(db)
    aligned = [(w.time, w.min, w.mean, w.max, w.count) for w, _ in stream.alignedWindows(START, START + SECOND, 28)]
    assert aligned == [
        (1499999999814008832, 1, 1, 1, 1),
        (1500000000082444288, 2, 3, 4, 3),
        (1500000000350879744, 5, 6, 7, 3),
        (1500000000619315200, 8, 8.5, 9, 2),
    ]
    plain = [(w.min, w.mean, w.max, w.count) for w, _ in stream.windows(START, START + SECOND, 300_000_000)]
    assert plain == [(1, 2, 3, 3), (4, 5, 6, 3), (7, 8, 9, 3)]
    refused(415, list, stream.windows(START, START + SECOND, 0))


def nearest_and_changes(db, address):
    stream = new(db)
    point, version = stream.nearest(START + 1, 0, False)
    assert (point.time, point.value, version) == (START + SECOND // 10, 2.0, 11)
    assert refused(401, stream.nearest, START, 0, True) == "no such point"
    assert stream.nearest(btrdb4.MAX_TIME, 0, True)[0].value == 10.0
    ranges = [(r.start, r.end) for page, _ in db.ep.changes(stream.uuid(), 10, 0, 0) for r in page]
    assert ranges[0][0] <= START
    refused(427, list, db.ep.changes(stream.uuid(), 12, 0, 0))


def csv_export(db, address):
    stream = new(db)
    text = io.StringIO()
    db.writeCSV(csv.writer(text), QueryType.RAW_QUERY(), START, START + SECOND, 0, 0, False, (0, "a", stream.uuid()))
    lines = text.getvalue().splitlines()
    assert lines[0] == "Timestamp (ns),Human-Readable Time (UTC),a"
    assert lines[1] == f"{START},2017-07-14T02:40:00Z,1.000000"
    assert len(lines) == 11
    text = io.StringIO()
    db.writeCSV(
        csv.writer(text),
        QueryType.WINDOWS_QUERY(),
        START,
        START + SECOND,
        300_000_000,
        0,
        True,
        (11, "a", stream.uuid()),
    )
    assert (
        text.getvalue()
        .splitlines()[0]
        .endswith('"a, ver. 11 (Min)","a, ver. 11 (Mean)","a, ver. 11 (Max)","a, ver. 11 (Count)"')
    )


def faults_are_disabled(db, address):
    assert refused(424, db.ep.faultInject, 1, b"") == "Fault injection is disabled on this node"


CHECKS = [
    info_gives_an_address_to_connect_to,
    create_and_describe,
    create_refuses_what_is_taken,
    annotations_change_by_version,
    lookup,
    collections_by_pages,
    points_and_versions,
    many_points,
    windows,
    nearest_and_changes,
    csv_export,
    faults_are_disabled,
]


def main(address):
    db = btrdb4.connect(address)
    results = {}
    for check in CHECKS:
        try:
            check(db, address)
            results[check.__name__] = None
        except Exception:
            results[check.__name__] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
