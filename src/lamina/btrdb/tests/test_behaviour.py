"""What holds on a directory and on a server alike: results, and errors to the letter."""

from __future__ import annotations

import queue
import re
import threading
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lamina import btrdb
from lamina.btrdb.endpoint import ChangedRange, Endpoint
from lamina.btrdb.exceptions import (
    BTRDBServerError,
    BTRDBTypeError,
    ConnectionError,
    InvalidOperation,
    StreamNotFoundError,
)
from lamina.btrdb.stream import INSERT_BATCH_SIZE
from lamina.columns import Samples

SECOND = 1_000_000_000
START = 1_500_000_000 * SECOND
END = START + SECOND
MIN, MAX = -(16 << 56), 48 << 56
NOBODY = UUID(int=404)


def ten(conn):
    stream = conn.create(uuid4(), f"test/{uuid4().hex}", {"name": "x", "unit": "V"})
    stream.insert([(START + i * SECOND // 10, float(i + 1)) for i in range(10)])
    return stream


def narrow():
    return pa.schema([("t", pa.int64())])


FAILURES = {
    "SQL that is no text": lambda c, s: c.query(5),
    "SQL parameter that is no text": lambda c, s: c.query("SELECT name FROM streams WHERE name = $1", [5]),
    "no collection": lambda c, s: c.create(uuid4(), None, {"name": "x"}),
    "collection that is no text": lambda c, s: c.create(uuid4(), 5, {"name": "x"}),
    "prefix that is no text": lambda c, s: c.list_collections(5),
    "changes of what is no version": lambda c, s: list(c.ep.changes(s.uuid, "x", 0, 0)),
    "changes up to no version": lambda c, s: list(c.ep.changes(s.uuid, 10, None, 0)),
    "unknown stream": lambda c, s: c.stream_from_uuid(NOBODY).values(START, END),
    "unknown stream's version": lambda c, s: c.stream_from_uuid(NOBODY).version(),
    "unknown stream's name": lambda c, s: c.stream_from_uuid(NOBODY).name,
    "insert into an unknown stream": lambda c, s: c.stream_from_uuid(NOBODY).insert([(1, 1.0)]),
    "bad points for an unknown stream": lambda c, s: c.stream_from_uuid(NOBODY).insert([(1, float("nan"))]),
    "version above": lambda c, s: s.values(START, END, version=99),
    "version below": lambda c, s: s.values(START, END, version=3),
    "negative version": lambda c, s: s.values(START, END, version=-1),
    "version beyond the wire": lambda c, s: s.values(START, END, version=1 << 70),
    "empty range": lambda c, s: s.values(END, START),
    "range out of bounds": lambda c, s: s.windows(MIN - 1, END, SECOND),
    "time beyond int64": lambda c, s: s.values(START, 1 << 70),
    "time of nearest": lambda c, s: s.nearest(MIN - 1, 0),
    "delete backwards": lambda c, s: s.delete(END, START),
    "delete out of bounds": lambda c, s: s.delete(MIN - 1, START),
    "point width": lambda c, s: s.aligned_windows(START, END, 64),
    "negative point width": lambda c, s: s.aligned_windows(START, END, -1),
    "width": lambda c, s: s.windows(START, END, 0),
    "no time": lambda c, s: s.values(None, END),
    "width of text": lambda c, s: s.windows(START, END, "1s"),
    "width with a fraction": lambda c, s: s.windows(START, END, 0.5),
    "negative width": lambda c, s: s.windows(START, END, -5),
    "depth": lambda c, s: s.windows(START, END, 5, 64),
    "infinite value": lambda c, s: s.insert([(1, float("inf"))]),
    "time of a point": lambda c, s: s.insert([(MAX - 1, 1.0)]),
    "text as value": lambda c, s: s.insert([(1, "1.0")]),
    "policy": lambda c, s: s.insert([(1, 1.0)], merge="sometimes"),
    "null": lambda c, s: c.ep.arrowInsertValues(s.uuid, pa.table({"time": [1], "value": [None]}), "never"),
    "template": lambda c, s: s.arrow_values(START, END, schema=narrow()),
    "changes backwards": lambda c, s: list(c.ep.changes(s.uuid, 50, 0, 0)),
    "resolution": lambda c, s: list(c.ep.changes(s.uuid, 0, 0, 64)),
    "uuid in use": lambda c, s: c.create(s.uuid, "a/b", {"name": "y"}),
    "tags in use": lambda c, s: c.create(NOBODY, s.collection, s.tags()),
    "collection": lambda c, s: c.create(NOBODY, "", {"name": "x"}),
    "tag": lambda c, s: c.create(NOBODY, "a/b", {"colour": "red"}),
    "tag value": lambda c, s: c.create(NOBODY, "a/b", {"name": "n" * 257}),
    "tag type": lambda c, s: c.create(NOBODY, "a/b", {"name": 5}),
    "annotation too long": lambda c, s: c.create(NOBODY, "a/b", {"name": "x"}, {"k": "v" * 65_537}),
    "short uuid": lambda c, s: c.ep.create(type("Short", (), {"bytes": b"short"}), "a/b", {}, {}),
    "nothing to tell": lambda c, s: c.ep.streamInfo(s.uuid, True, True),
    "stale metadata": lambda c, s: c.ep.setStreamTags(s.uuid, 9, {"unit": "A"}, ""),
    "SQL": lambda c, s: c.query("DROP TABLE streams"),
    "SQL parameter": lambda c, s: c.query("SELECT * FROM streams WHERE name = $2", ["x"]),
    "snap period": lambda c, s: list(c.ep.arrowMultiValues([s.uuid], START, END, [0], -5)),
    "versions for streams": lambda c, s: list(c.ep.arrowMultiValues([s.uuid], START, END, [0, 0], 0)),
    "stream of a join": lambda c, s: c.streams(s.uuid, NOBODY).filter(start=START, end=END).arrow_values(),
    "csv": lambda c, s: list(c.ep.generateCSV(7, START, END, 0, 0, False, (0, "a", s.uuid))),
    "fault": lambda c, s: c.ep.faultInject(1, b"abc"),
}


@pytest.mark.parametrize("do", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_the_same_both_ways(both, do):
    embedded, remote = both
    stream = ten(embedded)
    told = []
    for conn in (embedded, remote):
        with pytest.raises(Exception) as failed:  # compared below
            do(conn, conn.stream_from_uuid(stream.uuid))
        error = failed.value
        assert isinstance(error, btrdb.exceptions.BTrDBError), error
        told.append((type(error), error.stat, str(error)))
    if do in (FAILURES["version beyond the wire"], FAILURES["time beyond int64"], FAILURES["negative version"]) or (
        do in (FAILURES["negative point width"], FAILURES["negative width"])
    ):
        told = [(kind, stat) for kind, stat, _ in told]  # the wire cannot even carry the number
    assert told[0] == told[1]
    assert stream.version() == 11


RESULTS = {
    "values": lambda s: s.values(START, END),
    "old values": lambda s: s.values(START, END, version=11),
    "arrow": lambda s: s.arrow_values(START, END),
    "windows": lambda s: s.windows(START - SECOND, END, SECOND // 5),
    "arrow windows": lambda s: s.arrow_windows(START - SECOND, END, SECOND // 5),
    "aligned": lambda s: s.aligned_windows(START, END, 28),
    "arrow aligned": lambda s: s.arrow_aligned_windows(START, END, 28),
    "no version": lambda s: (s.values(START, END, version=None), s.windows(START, END, SECOND, version=None)),
    "no points": lambda s: s.values(START - 5, START),
    "no windows": lambda s: s.aligned_windows(START - 5, START, 0),
    "count": lambda s: (s.count(), s.count(START, END), s.count(START, END, precise=True), s.count(START, START + 1)),
    "nearest": lambda s: (s.earliest(), s.latest(), s.current(), s.nearest(START, 0, True), s.nearest(START + 1, 11)),
    "changes": lambda s: [(list(page), at) for page, at in s.btrdb.ep.changes(s.uuid, 0, 0, 10)],
    "csv": lambda s: [list(row) for row in s.btrdb.ep.generateCSV(2, START, END, 0, 0, True, (0, "a", s.uuid))],
    "metadata": lambda s: (s.tags(), s.annotations(), s.collection, s.version(), repr(s), s.exists()),
    "html": lambda s: s._repr_html_(),
    "set": lambda s: s.btrdb.streams(s.uuid, s.uuid).filter(start=START, end=END).rows(),
    "set's html": lambda s: s.btrdb.streams(s.uuid, s.uuid)._repr_html_(),
    "set's edges": lambda s: (s.btrdb.streams(s.uuid).earliest(), s.btrdb.streams(s.uuid).latest()),
    "snapped": lambda s: (
        s.btrdb.streams(s.uuid).filter(start=START, end=END, sampling_frequency=2).arrow_values().to_pydict()
    ),
    "sql": lambda s: s.btrdb.query("SELECT * FROM streams WHERE collection = $1", [s.collection]),
}


@pytest.mark.parametrize("do", RESULTS.values(), ids=RESULTS)
def test_a_result_is_the_same_both_ways(both, do):
    embedded, remote = both
    stream = ten(embedded)
    stream.insert([(START + SECOND // 2, 0.25)])
    assert do(embedded.stream_from_uuid(stream.uuid)) == do(remote.stream_from_uuid(stream.uuid))


def test_zero_is_a_time_as_any_other(stream):
    """The original never returns from rows() that hold it, and takes filter(start=0) as none."""
    stream.insert([(-1, 1.0), (0, 2.0), (1, 3.0)])
    limited = stream.btrdb.streams(stream.uuid).filter(start=0, end=10)
    assert [row[0].time for row in limited.rows()] == [0, 1]
    assert [row["time"] for row in limited.to_dict()] == [0, 1]


def test_points_of_one_time_are_all_in_rows(conn):
    first, second = ten(conn), ten(conn)
    first.insert([(START, 50.0), (START, 60.0)])
    rows = conn.streams(first.uuid, second.uuid).filter(start=START, end=START + 1).rows()
    assert [[point and point.value for point in row] for row in rows] == [[1.0, 1.0], [50.0, None], [60.0, None]]


def test_long_inserts_are_several_and_keep_their_order(stream):
    n = 2 * INSERT_BATCH_SIZE + 5
    times, values = START + np.arange(n), np.arange(n, dtype=float)
    assert stream.insert(Samples(times, values)) == 13
    found = stream.values(START, START + n)
    assert np.array_equal(found.columns.time, times)
    assert np.array_equal(found.columns.value, values)
    assert found[0][1] == 13


def test_what_is_wrong_in_a_later_part_leaves_the_parts_before(stream):
    points = [(START + i, 1.0) for i in range(INSERT_BATCH_SIZE + 2)]
    with pytest.raises(BTRDBTypeError, match=f"point {INSERT_BATCH_SIZE + 1} is"):
        stream.insert([*points[:-1], (5, "text")])
    assert (stream.version(), stream.count()) == (11, INSERT_BATCH_SIZE)
    with pytest.raises(btrdb.exceptions.BadValue):
        stream.insert([*points[:-1], (5, float("nan"))])
    assert (stream.version(), stream.count()) == (12, 2 * INSERT_BATCH_SIZE)


@pytest.mark.parametrize("form", ["pairs", "points", "frame", "table", "samples"])
def test_what_was_read_can_be_written_again(conn, form):
    source, target = ten(conn), conn.create(uuid4(), f"test/{uuid4().hex}", {"name": "y"})
    values = source.values(START, END)
    forms = {
        "pairs": [(point.time, point.value) for point, _ in values],
        "points": [point for point, _ in values],
        "frame": values.to_pandas(),
        "table": values.to_arrow(),
        "samples": values.columns,
    }
    assert target.insert(forms[form]) == 11
    assert target.values(START, END).columns == values.columns
    assert target.insert(values, merge="equal") == 12
    assert len(target.values(START, END)) == 10


def test_nothing_inserted_is_no_version(conn):
    stream = ten(conn)
    assert stream.insert([]) == 0
    assert conn.ep.insert(stream.uuid, [], "never") == 11


def test_subscribed_inserts_arrive_until_the_end_is_asked_for(conn, stream):
    updates, seen = queue.Queue(), queue.Queue()

    def follow():
        for uuid, table in conn.ep.subscribe(updates):
            seen.put((uuid, table["value"].to_pylist()))
        seen.put(None)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    updates.put(([stream.uuid], []))
    first = None
    for i in range(1000):
        stream.insert([(i, -1.0)])
        try:
            first = seen.get(timeout=0.05)
            break
        except queue.Empty:
            continue
    assert first is not None
    assert first[0] == stream.uuid
    updates.put(None)
    while seen.get(timeout=20) is not None:
        pass
    thread.join(20)


def test_a_subscription_to_an_unknown_stream_fails(conn):
    updates = queue.Queue()
    updates.put(([NOBODY], []))
    with pytest.raises(StreamNotFoundError, match="stream does not exist"):
        next(iter(conn.ep.subscribe(updates)))


def test_who_follows_a_directory_and_does_not_read_is_cut_off(db, monkeypatch):
    monkeypatch.setattr("lamina.btrdb.embedded.MAILBOX", 5)
    with btrdb.connect(db) as conn:
        stream, updates = ten(conn), queue.Queue()
        updates.put(([stream.uuid], []))
        delivered = conn.ep.subscribe(updates)
        reader = threading.Thread(target=next, args=(delivered,), daemon=True)
        reader.start()
        while reader.is_alive():
            stream.insert([(1, 1.0)])
        for _ in range(9):
            stream.insert([(1, 1.0)])
        with pytest.raises(BTRDBServerError, match=r"426: more than 1024 inserts wait to be read"):
            list(delivered)
        updates.put(None)


def test_sets_write_and_pin(conn):
    streams = conn.streams(*(ten(conn).uuid for _ in range(20)))
    streams.pin_versions()
    frames = {stream.uuid: pd.DataFrame({"time": [START + 1], "value": [5]}) for stream in streams}
    assert set(streams.insert(frames).values()) == {12}
    assert streams.count() == 200
    assert conn.streams(*(s.uuid for s in streams)).count() == 220
    assert [len(points) for points in streams.filter(start=START, end=END).values()] == [11] * 20
    windows = streams.filter(start=START, end=END).windows(SECOND)
    assert [points[0].count for points in windows.values()] == [10] * 20
    assert windows.arrow_values().num_columns == 1 + 5 * 20


def test_a_closed_connection_says_so(db, address):
    for target in (db, address):
        conn = btrdb.connect(target)
        stream = ten(conn)
        conn.close()
        conn.close()
        for do in (
            lambda s=stream: s.values(START, END),
            lambda s=stream: s.version(),
            lambda s=stream: s.insert([(1, 1.0)]),
            lambda s=stream: s.btrdb.list_collections(),
            lambda s=stream: list(s.btrdb.ep.changes(s.uuid, 0, 0, 0)),
        ):
            with pytest.raises(ConnectionError, match=r"^the connection is closed$"):
                do()
    assert db.streams.get(stream.uuid).count() == 10  # somebody else's database goes on


def test_sets_of_a_closed_connection_say_so(conn):
    streams = conn.streams(*[ten(conn).uuid for _ in range(3)]).filter(start=START, end=END)
    streams.values()  # on several threads, where the connection is to a server
    conn.close()
    for do in (streams.values, streams.count, streams.earliest, streams.to_dataframe):
        with pytest.raises(ConnectionError, match=r"^the connection is closed$"):
            do()
    assert "the connection is closed" in streams._repr_html_()


def test_a_connection_is_closed_by_with_and_cannot_be_pickled(conn):
    import pickle

    with pytest.raises(InvalidOperation):
        pickle.dumps(conn)
    with conn as same:
        assert same is conn
    with pytest.raises(ConnectionError):
        conn.info()


def test_streams_in_collection_bring_their_metadata(conn):
    stream = ten(conn)
    (found,) = conn.streams_in_collection(stream.collection)
    conn.close()
    assert (found.name, found.unit, found.collection, found.tags()["ingress"]) == ("x", "V", stream.collection, "")


def test_unknown_keyword_of_a_stream(conn):
    with pytest.raises(BTRDBTypeError, match="colour"):
        btrdb.stream.Stream(conn, NOBODY, colour="red")


def test_a_failing_disk_is_told(db, monkeypatch):
    with btrdb.connect(db) as conn:
        stream = ten(conn)
        monkeypatch.setattr(type(db.streams), "get", lambda self, uuid: (_ for _ in ()).throw(OSError(5, "broken")))
        with pytest.raises(BTRDBServerError, match=r"^500: .*broken"):
            stream.values(START, END)


def test_an_endpoint_is_made_of_a_channel(conn, db):
    endpoint = Endpoint(btrdb.Connection(db).channel)
    assert btrdb.BTrDB(endpoint).info() == conn.info()
    assert repr(ChangedRange(1, 2)) == "ChangedRange(1, 2)"


# Notebooks


def test_a_stream_is_plotted_with_its_facts(conn):
    stream = ten(conn)
    html = stream._repr_html_()
    assert "<svg" in html
    assert "10 points, 2017-07-14 02:40:00 to 2017-07-14 02:40:00, version 11" in html
    assert "<b>x</b> [V]" in html
    drawn = re.findall(r'<path d="([^"]*)"', html)
    assert [path.count("M") for path in drawn] == [10, 10]  # ten windows of 240 have a point, none beside another


def test_what_is_shown_is_escaped(conn):
    stream = conn.create(uuid4(), f"<b>{uuid4().hex}", {"name": "<script>", "unit": "&"})
    stream.insert([(1, 5.0)])
    for html in (stream._repr_html_(), conn.streams(stream.uuid)._repr_html_()):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


@pytest.mark.parametrize(("windows", "words"), [({"pointwidth": 30}, "aligned windows"), ({"width": 1000}, "windows")])
def test_tables_of_windows_take_no_schema(conn, stream, windows, words):
    import pyarrow as pa

    chosen = conn.streams(stream.uuid).filter(start=START, end=END, schema=pa.schema([]))
    chosen = chosen.windows(windows["width"], 0) if "width" in windows else chosen.aligned_windows(**windows)
    with pytest.raises(NotImplementedError, match=f"^{words} queries do not yet support an arrow schema$"):
        chosen.arrow_values()


def test_streams_without_points_or_existence_are_shown_too(conn, stream):
    assert "no points" in stream._repr_html_()
    nobody = conn.stream_from_uuid(NOBODY)
    assert "stream does not exist" in nobody._repr_html_()
    html = conn.streams(stream.uuid, NOBODY)._repr_html_()
    assert html.count("<tr>") == 3
    assert "stream does not exist" in html


def test_errors_have_the_texts_of_the_contract(conn):
    with pytest.raises(StreamNotFoundError, match=r"^stream does not exist$"):
        conn.stream_from_uuid(NOBODY).version()
    with pytest.raises(BTRDBServerError, match=r"^424: Fault injection is disabled on this node$"):
        conn.ep.faultInject(1, b"")
