"""btrdb 5.34.2 from the package index against our server: every method of its documentation that a server answers."""

import io
import uuid
from uuid import uuid4

import btrdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from btrdb.exceptions import (
    AmbiguousStream,
    BadSQLValue,
    BadValue,
    BTrDBError,
    BTRDBServerError,
    InvalidCollection,
    InvalidPointWidth,
    InvalidTagKey,
    InvalidTagValue,
    InvalidTimeRange,
    NoSuchPoint,
    RecycledUUID,
    StreamExists,
    StreamNotFoundError,
    VersionNotAvailable,
)
from btrdb.utils.timez import currently_as_ns

pytestmark = pytest.mark.wire

SECOND = 1_000_000_000
START = 1_500_000_000 * SECOND
MIN, MAX = -(16 << 56), 48 << 56


def pairs(raw):
    return [(point.time, point.value) for point, _ in raw]


def stats(windows):
    return [(w.time, w.min, w.mean, w.max, w.count, w.stddev) for w, _ in windows]


# Connection and metadata


def test_info_names_a_server_with_arrow(conn):
    info = conn.info()
    assert info["majorVersion"] == 5
    assert info["minorVersion"] >= 30
    assert info["proxy"] == {"proxyEndpoints": []}
    assert conn._ARROW_ENABLED


def test_a_second_client_in_the_servers_process_works(address, ten):
    assert btrdb.connect(address).stream_from_uuid(ten.uuid).count() == 10


def test_created_stream_is_described_in_full(conn, collection):
    uu = uuid4()
    created = conn.create(uu, collection, tags={"name": "x"}, annotations={"EventTime": "5", "text": "a b"})
    found = conn.stream_from_uuid(uu)
    assert found.exists()
    assert found.collection == collection
    assert found.name == "x"
    assert found.unit == ""
    assert found.tags() == {"name": "x", "unit": "", "ingress": "", "distiller": ""}
    assert found.annotations() == ({"EventTime": 5, "text": "a b"}, 1)
    assert found.version() == 10
    assert repr(created) == repr(found)


def test_unknown_stream_does_not_exist(conn):
    stream = conn.stream_from_uuid(uuid4())
    assert not stream.exists()
    with pytest.raises(StreamNotFoundError, match="stream does not exist"):
        stream.tags()


def test_create_refuses_what_is_taken(conn, collection):
    uu = uuid4()
    conn.create(uu, collection, tags={"name": "x"})
    with pytest.raises(StreamExists) as taken:
        conn.create(uu, collection + "/other", tags={"name": "y"})
    assert str(taken.value) == f"a stream already exists with uuid {uu}"
    with pytest.raises(AmbiguousStream, match="identical tags"):
        conn.create(uuid4(), collection, tags={"name": "x", "unit": ""})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"collection": ""}, InvalidCollection),
        ({"collection": "c" * 256}, InvalidCollection),
        ({"collection": "a\0b"}, InvalidCollection),
        ({"tags": {"colour": "red"}}, InvalidTagKey),
        ({"tags": {"name": "n" * 257}}, InvalidTagValue),
        ({"annotations": {"": "v"}}, InvalidTagKey),
        ({"annotations": {"k" * 257: "v"}}, InvalidTagKey),
        ({"annotations": {"k": "v" * 65_537}}, BTrDBError),
        ({"annotations": {f"k{i}": "v" * 65_536 for i in range(33)}}, BTrDBError),
    ],
)
def test_create_refuses_bad_names(conn, collection, arguments, error):
    with pytest.raises(error):
        conn.create(uuid4(), **{"collection": collection, "tags": {"name": "x"}, "annotations": {}} | arguments)
    assert conn.streams_in_collection(collection) == []


def test_long_names_at_the_limit_are_kept(conn):
    collection, key, value = "ü" * 127 + "x", "k" * 256, "v" * 65_536
    stream = conn.create(uuid4(), collection, tags={"name": "n" * 256}, annotations={key: value})
    found = conn.stream_from_uuid(stream.uuid)
    assert (found.collection, found.name) == (collection, "n" * 256)
    assert found.annotations()[0] == {key: value}
    stream.obliterate()


def test_update_of_tags_collection_and_annotations(conn, stream, collection):
    assert stream.update(tags={"name": "y"}) == 2
    assert stream.update(collection=collection + "/new") == 3
    assert stream.update(annotations={"depth": 3}) == 4
    fresh = conn.stream_from_uuid(stream.uuid)
    assert fresh.collection == collection + "/new"
    assert fresh.tags()["name"] == "y"
    assert fresh.tags()["unit"] == "V"
    assert fresh.annotations() == ({"place": "here", "depth": 3}, 4)
    assert stream.update(annotations={"only": "this"}, replace=True) == 5
    assert fresh.annotations(refresh=True) == ({"only": "this"}, 5)
    assert stream.update(annotations={}, replace=True) == 6
    assert fresh.annotations(refresh=True) == ({}, 6)


def test_tag_set_to_none_is_reset(conn, stream):
    stream._btrdb.ep.setStreamTags(stream.uuid, 0, {"unit": None}, "")
    assert conn.stream_from_uuid(stream.uuid).tags()["unit"] == ""


def test_update_with_a_stale_property_version_is_refused(conn, stream):
    stream.update(tags={"unit": "A"})
    with pytest.raises(BTRDBServerError, match=r"423.*stream annotation version does not match"):
        conn.ep.setStreamTags(stream.uuid, 1, {"unit": "W"}, "")
    with pytest.raises(BTRDBServerError, match="423"):
        conn.ep.setStreamAnnotations(stream.uuid, 1, {"a": "b"}, [])


def test_update_may_not_make_two_streams_alike(conn, collection):
    for name in ("a", "b"):
        stream = conn.create(uuid4(), collection, tags={"name": name})
    with pytest.raises(AmbiguousStream):
        stream.update(tags={"name": "a"})


def test_list_collections_by_string_prefix(conn, collection):
    for part in ("/b", "/a", "/a/c", "x"):
        conn.create(uuid4(), collection + part, tags={"name": "n"})
    assert conn.list_collections(collection) == [collection + part for part in ("/a", "/a/c", "/b", "x")]
    assert conn.list_collections(collection + "/a") == [collection + "/a", collection + "/a/c"]
    assert set(conn.list_collections()) >= {collection + "/a"}
    assert conn.list_collections("no such") == []


def test_streams_in_collection_by_tags_and_annotations(conn, collection):
    a = conn.create(uuid4(), collection, tags={"name": "a", "unit": "V"}, annotations={"k": "1"})
    b = conn.create(uuid4(), collection + "/sub", tags={"name": "b", "unit": "V"}, annotations={"k": "2"})
    c = conn.create(uuid4(), collection + "x", tags={"name": "c"})

    def found(*args, **options):
        return [s.uuid for s in conn.streams_in_collection(*args, **options)]

    assert found(collection) == [a.uuid, b.uuid, c.uuid]
    assert found(collection, is_collection_prefix=False) == [a.uuid]
    assert found(collection, tags={"unit": "V"}) == [a.uuid, b.uuid]
    assert found(collection, tags={"unit": "V", "name": "b"}) == [b.uuid]
    assert found(collection, tags={"unit": ""}) == [c.uuid]
    assert found(collection, tags={"distiller": None}) == [a.uuid, b.uuid, c.uuid]
    assert found(collection, tags={"colour": "red"}) == []
    assert found(collection, annotations={"k": "2"}) == [b.uuid]
    assert found(collection, annotations={"k": None}) == [a.uuid, b.uuid]
    assert found(collection, annotations={"none": None}) == []
    assert found(collection, collection + "/sub", is_collection_prefix=False) == [a.uuid, b.uuid]
    assert found("", is_collection_prefix=False) == []
    assert {a.uuid, b.uuid, c.uuid} <= {s.uuid for s in conn.streams_in_collection()}
    (one,) = conn.streams_in_collection(collection, is_collection_prefix=False)
    assert one.tags() == {"name": "a", "unit": "V", "ingress": "", "distiller": ""}
    assert one.annotations(refresh=True) == ({"k": 1}, 1)


def test_streams_by_uuid_and_by_name(conn, collection):
    a = conn.create(uuid4(), collection, tags={"name": "a"})
    b = conn.create(uuid4(), collection, tags={"name": "b"})
    found = conn.streams(a.uuid, str(b.uuid), f"{collection}/a")
    assert [s.uuid for s in found] == [a.uuid, b.uuid, a.uuid]
    pinned = conn.streams(a.uuid, b.uuid, versions=[10, 10])
    assert pinned.versions() == {a.uuid: 10, b.uuid: 10}
    with pytest.raises(StreamNotFoundError):
        conn.streams(f"{collection}/none")


def test_more_streams_than_fit_one_message_are_all_listed(conn, db, collection):
    for i in range(1100):
        db.streams.create(collection, f"s{i:04}", annotations={"text": "x" * 500})
    found = conn.streams_in_collection(collection, is_collection_prefix=False)
    assert [s.name for s in found] == [f"s{i:04}" for i in range(1100)]


def test_collection_metadata_counts_streams_per_key(conn, collection):
    conn.create(uuid4(), collection, tags={"name": "a", "unit": "V"}, annotations={"k": "1", "l": "2"})
    conn.create(uuid4(), collection, tags={"name": "b"}, annotations={"k": "3"})
    tags, annotations = conn.collection_metadata(collection)
    assert tags == {"name": 2, "unit": 1, "ingress": 0, "distiller": 0}
    assert annotations == {"k": 2, "l": 1}


def test_obliterate_is_at_once_and_burns_the_uuid(conn, ten, collection):
    ten.obliterate()
    assert not conn.stream_from_uuid(ten.uuid).exists()
    assert conn.streams_in_collection(collection) == []
    for read in (lambda: ten.values(START, START + 1), ten.flush, ten.obliterate, lambda: ten.insert([(1, 1.0)])):
        with pytest.raises(StreamNotFoundError):
            read()
    with pytest.raises(RecycledUUID):
        conn.create(ten.uuid, collection, tags={"name": "x"})
    conn.create(uuid4(), collection, tags={"name": "x", "unit": "V"})


# SQL


@pytest.fixture
def sql_streams(conn, collection):
    for name, unit in (("C1MAG", "amps"), ("L1MAG", "volts"), ("L1ANG", "deg")):
        conn.create(uuid4(), collection, tags={"name": name, "unit": unit}, annotations={"impedance": "{1}", name: "x"})
    return collection


def test_statements_of_the_documentation(conn, sql_streams):
    where = "WHERE collection = $1"
    (total,) = conn.query("SELECT COUNT(uuid) FROM streams")
    assert total["count"] >= 3
    by_text = "SELECT COUNT(uuid) FROM streams WHERE collection=$1::text"
    assert conn.query(by_text, params=[sql_streams]) == [{"count": 3}]
    by_key = f"SELECT COUNT(uuid) FROM streams {where} AND annotations->$2::text IS NOT NULL"
    assert conn.query(by_key, params=[sql_streams, "L1ANG"]) == [{"count": 1}]
    either = f"SELECT uuid FROM streams {where} AND (name = $2 OR name = $3)"
    found = conn.query(either, params=[sql_streams, "L1MAG", "C1MAG"])
    assert {conn.stream_from_uuid(row["uuid"]).name for row in found} == {"L1MAG", "C1MAG"}
    volts = "SELECT uuid, name, unit from streams WHERE collection LIKE $1 and unit='volts'"
    (row,) = conn.query(volts, params=[sql_streams + "%"])
    assert (row["name"], row["unit"]) == ("L1MAG", "volts")
    assert len(conn.query("select * from streams where collection similar to $1", params=[sql_streams])) == 3
    assert conn.query("SELECT uuid FROM streams WHERE collection = 'none'") == []


def test_all_columns_of_a_row(conn, stream, collection):
    (row,) = conn.query("select * from streams where collection = $1", params=[collection])
    assert row["uuid"] == str(stream.uuid)
    assert (row["collection"], row["name"], row["unit"], row["ingress"]) == (collection, "x", "V", "")
    assert row["property_version"] == 1
    assert row["annotations"] == {"place": "here"}


def test_unique_names_units_and_annotations(conn, sql_streams):
    assert sorted(conn.list_unique_names(sql_streams)) == ["C1MAG", "L1ANG", "L1MAG"]
    assert sorted(conn.list_unique_units(sql_streams)) == ["amps", "deg", "volts"]
    assert sorted(conn.list_unique_annotations(sql_streams)) == ["C1MAG", "L1ANG", "L1MAG", "impedance"]
    assert set(conn.list_unique_names()) >= {"C1MAG"}


@pytest.mark.parametrize(
    "statement", ["DROP TABLE streams", "SELECT", "SELECT * FROM pg_tables", "select read_text('/etc/passwd')"]
)
def test_other_statements_are_refused(conn, statement):
    with pytest.raises(BadSQLValue):
        conn.query(statement)


# Points


def test_insert_takes_any_order_and_keeps_duplicates_in_order(stream):
    stream.insert([(30, 3.0), (10, 1.0), (20, 2.0), (10, 0.0)])
    stream.insert([(10, -5.0)])
    assert pairs(stream.values(0, 100)) == [(10, 1.0), (10, 0.0), (10, -5.0), (20, 2.0), (30, 3.0)]


def test_values_and_times_of_every_kind_come_back_exact(stream):
    points = [(MIN, 5e-324), (-1, -0.0), (0, 0.0), (1, 1.7976931348623157e308), (MAX - 2, -1.5)]
    stream.insert(points)
    back = pairs(stream.values(MIN, MAX - 1))
    assert back == points
    assert [np.signbit(v) for _, v in back] == [False, True, False, False, True]


def test_more_points_than_a_message_holds_come_back_in_order(stream):
    times = START + np.arange(123_456) * 1000
    stream.insert(list(zip(times.tolist(), range(len(times)), strict=True)))
    back = stream.values(START, START + SECOND)
    assert [p.time for p, _ in back] == times.tolist()
    assert [p.value for p, _ in back] == list(map(float, range(len(times))))
    assert stream.arrow_values(START, START + SECOND)["value"].to_pylist() == [p.value for p, _ in back]


@pytest.mark.parametrize("arrow", [False, True])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("never", [(1, 1.0), (1, 1.0), (1, 5.0), (2, 2.0), (3, 3.0), (3, 4.0), (3, 3.0)]),
        ("equal", [(1, 1.0), (1, 5.0), (2, 2.0), (3, 3.0), (3, 4.0)]),
        ("retain", [(1, 1.0), (2, 2.0), (3, 3.0)]),
        ("replace", [(1, 5.0), (2, 2.0), (3, 3.0)]),
    ],
)
def test_merge_policies_act_on_stored_points_and_inside_the_batch(stream, policy, expected, arrow):
    batch = [(1, 1.0), (1, 5.0), (3, 3.0), (3, 4.0), (3, 3.0)]
    stream.insert([(1, 1.0), (2, 2.0)])
    if arrow:
        times, values = zip(*batch, strict=True)
        version = stream.arrow_insert(
            pa.table({"time": pa.array(times, pa.timestamp("ns", "UTC")), "value": values}), policy
        )
    else:
        version = stream.insert(batch, merge=policy)
    assert version == 12
    assert pairs(stream.values(0, 10)) == expected


@pytest.mark.parametrize(
    ("points", "error"),
    [
        ([(1, float("nan"))], BadValue),
        ([(1, 1.0), (2, float("inf"))], BadValue),
        ([(MAX - 1, 1.0)], InvalidTimeRange),
        ([(1, 1.0), (MIN - 1, 1.0)], InvalidTimeRange),
    ],
)
def test_bad_points_fail_the_whole_call_also_without_a_stream(conn, stream, points, error):
    for target in (stream, conn.stream_from_uuid(uuid4())):
        with pytest.raises(error):
            target.insert(points)
    assert stream.version() == 10
    assert stream.values(MIN, MAX - 1) == []


def test_insert_without_points_answers_the_version(ten, conn):
    empty = pa.table({"time": pa.array([], pa.timestamp("ns", "UTC")), "value": pa.array([], pa.float64())})
    assert conn.ep.insert(ten.uuid, [], "never") == 11
    assert ten.arrow_insert(empty) == 11
    with pytest.raises(StreamNotFoundError):
        conn.ep.insert(uuid4(), [], "never")


def test_arrow_null_is_a_bad_value(conn, stream):
    table = pa.table({"time": pa.array([1], pa.timestamp("ns", "UTC")), "value": pa.array([None], pa.float64())})
    with pytest.raises(BadValue):
        conn.ep.arrowInsertValues(stream.uuid, table, "never")


def test_versions_stay_readable_for_ever(ten):
    first = pairs(ten.values(START, START + SECOND))
    assert ten.version() == 11
    assert ten.delete(START, START + SECOND // 2) == 12
    assert ten.insert([(START, 77.0)]) == 13
    assert ten.delete(0, 1) == 14
    assert ten.flush() is None
    assert ten.version() == 14
    assert pairs(ten.values(START, START + SECOND, version=10)) == []
    assert pairs(ten.values(START, START + SECOND, version=11)) == first
    assert pairs(ten.values(START, START + SECOND, version=12)) == first[5:]
    assert pairs(ten.values(START, START + SECOND, version=13)) == [(START, 77.0), *first[5:]]
    assert ten.values(START, START + SECOND)[0][1] == 14
    with pytest.raises(VersionNotAvailable):
        ten.values(START, START + SECOND, version=15)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (MIN - 1, 5), (5, MAX + 1)])
def test_bad_ranges_are_refused_with_and_without_a_stream(conn, ten, start, end):
    for stream in (ten, conn.stream_from_uuid(uuid4())):
        for read in (
            lambda s: s.values(start, end),
            lambda s: s.arrow_values(start, end),
            lambda s: s.aligned_windows(start, end, 10),
            lambda s: s.arrow_aligned_windows(start, end, 10),
            lambda s: s.windows(start, end, 1),
            lambda s: s.arrow_windows(start, end, 1),
            lambda s: s.delete(start, end),
            lambda s: conn.ep.arrowMultiValues([s.uuid], start, end, [0], 0).__next__(),
        ):
            with pytest.raises(InvalidTimeRange, match=r"time range out of bounds|start time >= end time"):
                read(stream)


def test_every_read_of_a_missing_stream_says_so(conn):
    stream = conn.stream_from_uuid(uuid4())
    for read in (
        lambda: stream.values(0, 9),
        lambda: stream.arrow_values(0, 9),
        lambda: stream.aligned_windows(0, 9, 1),
        lambda: stream.arrow_aligned_windows(0, 9, 1),
        lambda: stream.windows(0, 9, 1),
        lambda: stream.arrow_windows(0, 9, 1),
        lambda: conn.ep.nearest(stream.uuid, 0, 0, False),
        lambda: list(conn.ep.changes(stream.uuid, 0, 0, 0)),
        lambda: stream.insert([(1, 1.0)]),
        lambda: stream.delete(0, 9),
        lambda: stream.flush(),
        lambda: stream.version(),
        lambda: stream.update(tags={"name": "y"}),
    ):
        with pytest.raises(StreamNotFoundError, match="stream does not exist"):
            read()


# Windows


ALIGNED = [
    (1499999999814008832, 1, 1, 1, 1, 0.0),
    (1500000000082444288, 2, 3, 4, 3, 0.816496580927726),
    (1500000000350879744, 5, 6, 7, 3, 0.816496580927726),
    (1500000000619315200, 8, 8.5, 9, 2, 0.5),
]


def test_published_aligned_windows(ten):
    assert stats(ten.aligned_windows(START, START + SECOND, 28)) == ALIGNED


def test_published_windows(ten):
    width = 300_000_000
    expected = [(START + i * width, 3 * i + 1, 3 * i + 2, 3 * i + 3, 3, 0.816496580927726) for i in range(3)]
    assert stats(ten.windows(START, START + SECOND, width, 20)) == expected


def test_empty_windows_are_given_and_empty_aligned_windows_are_not(ten):
    before = START - SECOND
    assert stats(ten.windows(before, START, SECOND // 2)) == [
        (before, 0, 0, 0, 0, 0),
        (before + SECOND // 2, 0, 0, 0, 0, 0),
    ]
    assert not ten.aligned_windows(before, START - SECOND // 2, 10)
    assert not ten.windows(START, START + 5, 10)
    assert not ten.aligned_windows(START, START + 1, 62)


def test_windows_and_their_arrow_form_are_bit_identical(stream):
    random = np.random.default_rng(3)
    times = START + np.sort(random.integers(0, SECOND, 20_000))
    stream.insert(list(zip(times.tolist(), (7000 + random.normal(0, 0.02, len(times))).tolist(), strict=True)))
    for plain, arrow in (
        (stream.aligned_windows(START, START + SECOND, 20), stream.arrow_aligned_windows(START, START + SECOND, 20)),
        (stream.windows(START, START + SECOND, 12_345), stream.arrow_windows(START, START + SECOND, 12_345)),
    ):
        columns = arrow.to_pydict()
        columns["time"] = arrow["time"].cast(pa.int64()).to_pylist()
        assert stats(plain) == list(zip(*columns.values(), strict=True))
        assert arrow.schema.names == ["time", "min", "mean", "max", "count", "stddev"]
        assert not any(field.nullable for field in arrow.schema)
        assert len(plain) > 900


def test_statistics_agree_with_numpy(stream):
    random = np.random.default_rng(4)
    values = 100 + random.normal(0, 1, 5000)
    stream.insert(list(zip((START + np.arange(5000) * 1000).tolist(), values.tolist(), strict=True)))
    ((window, _),) = stream.windows(START, START + 5_000_000, 5_000_000)
    assert window.count == 5000
    assert (window.min, window.max) == (values.min(), values.max())
    assert window.mean == pytest.approx(values.mean(), abs=1e-9)
    assert window.stddev == pytest.approx(values.std(), abs=1e-9)


@pytest.mark.parametrize("pointwidth", [64, 1000])
def test_bad_point_widths(ten, pointwidth):
    with pytest.raises(InvalidPointWidth):
        ten.aligned_windows(START, START + SECOND, pointwidth)


@pytest.mark.parametrize(("width", "depth"), [(0, 0), ((1 << 63) + 1, 0), (1, 64)])
def test_bad_window_widths(ten, width, depth):
    with pytest.raises(InvalidPointWidth):
        ten.windows(START, START + SECOND, width, depth)


def test_counts(ten, stream):
    assert ten.count() == 10
    assert ten.count(START, START + SECOND, precise=True) == 10
    assert ten.count(version=10) == 0
    ten.insert([(MAX - 2, 1.0)])
    assert ten.count() == 11
    go = list(ten._btrdb.ep.alignedWindows(ten.uuid, MIN, MAX, 62))
    assert sum(window.count for page, _ in go for window in page) == 11


# Nearest, changes, CSV, faults


def test_nearest(ten, conn):
    ten.insert([(START, 100.0)])
    assert ten.earliest()[0].value == 1.0  # the first stored of equal times
    assert conn.ep.nearest(ten.uuid, START + 1, 0, True)[0].value == 100.0  # the last stored
    assert ten.latest()[0].time == START + 9 * SECOND // 10
    assert ten.current()[0].value == 10.0
    assert ten.nearest(START + 1, 0)[0].value == 2.0
    assert ten.nearest(START, 0, backward=True) is None
    assert ten.nearest(START + SECOND, 0) is None
    assert ten.nearest(START, version=10) is None
    assert conn.ep.nearest(ten.uuid, MAX, 0, True)[0].value == 10.0
    with pytest.raises(NoSuchPoint, match="no such point"):
        conn.ep.nearest(ten.uuid, START, 10, False)
    with pytest.raises(InvalidTimeRange):
        ten.nearest(MIN - 1, 0)
    assert currently_as_ns() < MAX


def test_nearest_answers_zeros_in_full(stream):
    stream.insert([(0, 0.0)])
    point, _ = stream.nearest(0, 0)
    assert (point.time, point.value) == (0, 0.0)


def changed(conn, stream, *args):
    return [(r.start, r.end) for page, _ in conn.ep.changes(stream.uuid, *args) for r in page]


def test_changes_cover_what_changed(conn, ten):
    ten.insert([(START + 5 * SECOND, 1.0)])
    ten.delete(START, START + 1)
    for start, old in ((START + 5 * SECOND, 11), (START, 12), (START + SECOND // 10, 10)):
        ranges = changed(conn, ten, old, 0, 0)
        assert any(low <= start < high for low, high in ranges)
        assert ranges == sorted(ranges)
    assert all(low % 1024 == 0 and high % 1024 == 0 for low, high in changed(conn, ten, 0, 0, 10))
    assert changed(conn, ten, 13, 0, 0) == []
    assert changed(conn, ten, 13, 13, 0) == []
    assert [version for _, version in conn.ep.changes(ten.uuid, 13, 0, 0)] == [13]
    assert not any(low <= START + 5 * SECOND < high for low, high in changed(conn, ten, 0, 11, 0))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((12, 11, 0), "427"), ((14, 0, 0), "427"), ((0, 0, 64), InvalidPointWidth), ((0, 99, 0), VersionNotAvailable)],
)
def test_bad_changes(conn, ten, arguments, error):
    kind, text = (BTRDBServerError, error) if isinstance(error, str) else (error, "")
    with pytest.raises(kind, match=text):
        list(conn.ep.changes(ten.uuid, *arguments))


class QueryType:
    def __init__(self, number):
        self.number = number

    def to_proto(self):
        return self.number


def test_csv_of_raw_points_joins_streams_by_time(conn, ten, collection):
    other = conn.create(uuid4(), collection, tags={"name": "y"})
    other.insert([(START, 0.5), (START, 0.25), (START + SECOND, 3.0)])
    streams = [(11, "a", ten.uuid), (0, "b", other.uuid)]
    rows = list(conn.ep.generateCSV(QueryType(2), START, START + 2 * SECOND, 0, 0, True, *streams))
    assert list(rows[0]) == ["Timestamp (ns)", "Human-Readable Time (UTC)", "a, ver. 11", "b, ver. 11"]
    assert list(rows[1]) == [str(START), "2017-07-14T02:40:00Z", "1.000000", "0.500000"]
    assert list(rows[2]) == [str(START), "2017-07-14T02:40:00Z", "", "0.250000"]
    assert list(rows[3])[2:] == ["2.000000", ""]
    assert list(rows[-1]) == [str(START + SECOND), "2017-07-14T02:40:01Z", "", "3.000000"]
    assert len(rows) == 1 + 12


def test_csv_of_windows(conn, ten):
    ask = (START, START + SECOND, 300_000_000)
    header, *rows = conn.ep.generateCSV(QueryType(1), *ask, 0, False, (0, "a", ten.uuid))
    assert list(header)[2:] == ["a (Min)", "a (Mean)", "a (Max)", "a (Count)"]
    assert list(rows[0])[2:] == ["1.000000", "2.000000", "3.000000", "3"]
    assert len(rows) == 3
    _, *rows = conn.ep.generateCSV(QueryType(0), START, START + SECOND, 0, 28, False, (0, "a", ten.uuid))
    assert [int(row[0]) for row in rows] == [time for time, *_ in ALIGNED]


def test_bad_csv_queries(conn, ten):
    for arguments, error in (
        ((QueryType(7), 0, 9, 0, 0), BTRDBServerError),
        ((QueryType(2), 9, 0, 0, 0), InvalidTimeRange),
        ((QueryType(1), 0, 9, 0, 0), InvalidPointWidth),
        ((QueryType(0), 0, 9, 0, 64), InvalidPointWidth),
    ):
        with pytest.raises(error):
            list(conn.ep.generateCSV(*arguments, False, (0, "a", ten.uuid)))
    with pytest.raises(StreamNotFoundError):
        list(conn.ep.generateCSV(QueryType(2), 0, 9, 0, 0, False, (0, "a", uuid4())))


def test_fault_injection_is_disabled(conn):
    with pytest.raises(BTRDBServerError, match=r"424.*Fault injection is disabled"):
        conn.ep.faultInject(1, b"")


# Arrow


def test_arrow_values_have_the_exact_schema(ten, stream):
    expected = pa.schema(
        [
            pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
        ]
    )
    for table in (ten.arrow_values(START, START + SECOND), ten.arrow_values(0, 1)):
        assert table.schema.equals(expected, check_metadata=True)
    assert ten.arrow_values(START, START + SECOND)["value"].to_pylist() == [float(i) for i in range(1, 11)]


def test_empty_arrow_windows_have_six_columns(ten):
    for table in (ten.arrow_windows(START, START + 5, 10), ten.arrow_aligned_windows(0, SECOND, 20)):
        assert (table.num_rows, table.num_columns) == (0, 6)


def test_arrow_templates(conn, ten, collection):
    narrow = pa.schema([pa.field("t", pa.int64()), pa.field("v", pa.float32())])
    table = ten.arrow_values(START, START + SECOND, schema=narrow)
    assert table.schema.equals(narrow)
    assert table["t"].to_pylist()[:2] == [START, START + SECOND // 10]
    other = conn.create(uuid4(), collection, tags={"name": "y"})
    wide = pa.schema([("t", pa.timestamp("ns", tz="UTC")), ("a", pa.float64()), ("b", pa.float32())])
    both = conn.streams(ten.uuid, other.uuid).filter(start=START, end=START + SECOND, schema=wide)
    assert both.arrow_values().schema.equals(wide)
    for bad in (pa.schema([("t", pa.int64())]), pa.schema([("t", pa.int64()), ("v", pa.list_(pa.int8()))])):
        with pytest.raises(BTRDBServerError, match="438"):
            ten.arrow_values(START, START + SECOND, schema=bad)


def test_arrow_insert_in_chunks_equals_plain_insert(stream):
    times = START + np.arange(120_000)
    table = pa.table({"t": pa.array(times, pa.timestamp("ns", "UTC")), "v": np.arange(120_000.0)})
    assert stream.arrow_insert(table) == 13
    back = stream.arrow_values(START, START + SECOND)
    assert back["time"].cast(pa.int64()).to_pylist() == times.tolist()
    assert back["value"].to_pylist() == table["v"].to_pylist()


# StreamSet


@pytest.fixture
def streamset(conn, collection):
    """Three streams: 0.1 s, 0.2 s and 0.3 s apart."""
    uuids = []
    for step in (1, 2, 3):
        stream = conn.create(uuid4(), collection, tags={"name": f"s{step}", "unit": "V"})
        stream.insert([(START + i * SECOND // 10, float(i)) for i in range(0, 10, step)])
        uuids.append(stream.uuid)
    return conn.streams(*uuids)


def test_streamset_values_and_rows(streamset):
    limited = streamset.filter(start=START, end=START + SECOND)
    assert [len(column) for column in limited.values()] == [10, 5, 4]
    rows = limited.rows()
    assert len(rows) == 10
    assert [point and point.value for point in rows[1]] == [1.0, None, None]
    assert [point and point.value for point in rows[6]] == [6.0, 6.0, 6.0]


def test_streamset_at_its_edges(streamset):
    assert [point.value for point in streamset.earliest()] == [0.0, 0.0, 0.0]
    assert [point.value for point in streamset.latest()] == [9.0, 8.0, 9.0]
    assert [point.value for point in streamset.current()] == [9.0, 8.0, 9.0]
    assert streamset.count() == 19
    assert streamset.filter(start=START, end=START + SECOND).count(precise=True) == 19
    assert set(streamset.versions().values()) == {11}


def test_streamset_of_empty_streams_has_no_edges(conn, stream):
    empty = conn.streams(stream.uuid)
    assert list(empty.earliest()) == [None]
    assert empty.count() == 0


def test_pinned_streamset_does_not_see_later_inserts(conn, streamset):
    streamset.pin_versions()
    before = streamset.count()
    streamset[0].insert([(START + 1, 5.0)])
    assert streamset.count() == before
    assert conn.streams(*[s.uuid for s in streamset]).count() == before + 1


def test_streamset_arrow_values_is_an_outer_join_with_nan(streamset):
    table = streamset.filter(start=START, end=START + SECOND).arrow_values()
    assert table.schema.names == ["time", *(str(stream.uuid) for stream in streamset)]
    assert not any(field.nullable for field in table.schema)
    assert table.num_rows == 10
    frame = table.to_pandas()
    assert table[1].to_pylist() == [float(i) for i in range(10)]
    assert frame.iloc[:, 2].isna().sum() == 5
    assert frame.iloc[:, 3].isna().sum() == 6
    assert table[2].null_count == 0
    empty = streamset.filter(start=START - SECOND, end=START).arrow_values()
    assert (empty.num_rows, empty.schema) == (0, table.schema)


@pytest.mark.parametrize(("frequency", "rows"), [(1, 600), (0.1, 60), (30, 18_000)])
def test_streamset_snaps_to_a_frequency(conn, collection, frequency, rows):
    stream = conn.create(uuid4(), collection, tags={"name": "30hz"})
    times = [START + i * SECOND // 30 for i in range(600 * 30)]
    stream.insert([(time, 1.0) for time in times])
    limited = conn.streams(stream.uuid).filter(start=START, end=START + 600 * SECOND, sampling_frequency=frequency)
    table = limited.arrow_values()
    if frequency == 30:
        assert abs(table.num_rows - rows) <= 1
    else:
        assert table.num_rows == rows
    period = int(1e9 / frequency)
    assert all(time % period == 0 for time in table["time"].cast(pa.int64()).to_pylist())


def test_streamset_windows_equal_those_of_its_streams(streamset):
    limited = streamset.filter(start=START, end=START + SECOND)
    aligned = limited.clone().aligned_windows(28)
    assert [stats((w, 0) for w in column) for column in aligned.values()] == [
        stats(stream.aligned_windows(START, START + SECOND, 28)) for stream in streamset
    ]
    assert aligned.arrow_values().num_rows == 4
    windows = limited.clone().windows(300_000_000, 20)
    assert [len(column) for column in windows.values()] == [3, 3, 3]
    assert windows.arrow_values().num_rows == 3


def test_streamset_inserts(conn, streamset):
    first, second = streamset[0], streamset[1]
    streamset = conn.streams(first.uuid, second.uuid)
    frames = {stream.uuid: pd.DataFrame({"time": [START], "value": [-1.0]}) for stream in (first, second)}
    versions = streamset.insert(frames, merge="replace")
    assert versions == {first.uuid: 12, second.uuid: 12}
    table = pa.table({"time": pa.array([START], pa.timestamp("ns", "UTC")), "value": [-3.0]})
    assert conn.streams(first.uuid).arrow_insert({first.uuid: table}, merge="replace") == {first.uuid: 13}
    assert pairs(first.values(START, START + 1)) == [(START, -3.0)]


def test_transformers_with_and_without_arrow_agree(streamset):
    limited = streamset.filter(start=START, end=START + SECOND)
    plain, arrow = limited.to_dataframe(), limited.arrow_to_dataframe()
    assert list(plain.columns) == list(arrow.columns)
    assert np.array_equal(plain.to_numpy(float), arrow.to_numpy(float), equal_nan=True)
    assert limited.arrow_to_polars().height == limited.to_polars().height == 10
    assert limited.arrow_to_numpy().shape[0] == 10
    assert len(limited.to_array()) == 3
    assert len(limited.to_dict()) == len(limited.arrow_to_dict()) == 10
    assert [np.isfinite(series.to_numpy(float)).sum() for series in limited.arrow_to_series()] == [10, 5, 4]
    assert [len(series) for series in limited.to_series()] == [10, 5, 4]
    assert limited.arrow_to_arrow_table().num_rows == 10
    text = io.StringIO()
    limited.to_csv(text)
    assert len(text.getvalue().splitlines()) == 11
    assert "s1" in limited.to_table()


def test_uuid_of_another_length_is_wrong_or_unknown(conn):
    class Short:
        bytes = b"short"

    with pytest.raises(BTRDBServerError, match="421"):
        conn.ep.create(Short, "a/b", {}, {})
    with pytest.raises(StreamNotFoundError):
        conn.ep.streamInfo(Short, False, False)
    with pytest.raises(BTRDBServerError, match="421"):
        conn.ep.streamInfo(uuid.UUID(int=1), True, True)
