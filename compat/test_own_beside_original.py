"""BTrDB's own client and ours side by side on one server: the same calls give the same objects, tables and texts."""

import datetime as dt
import io
import json
import warnings
from uuid import UUID, uuid4

import btrdb
import btrdb.utils.conversion
import btrdb.utils.general
import btrdb.utils.timez
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lamina import btrdb as own
from lamina.btrdb.utils import conversion, general, timez

pytestmark = [pytest.mark.wire, pytest.mark.filterwarnings("ignore")]

SECOND = 1_000_000_000
START = 1_500_000_000 * SECOND
END = START + 2 * SECOND


@pytest.fixture(scope="module")
def uuids(address):
    """Three streams: 0.1 s, 0.2 s and 0.3 s apart, the last with a gap; and one without points in the range."""
    with own.connect(address) as conn:
        made = []
        for step in (1, 2, 3):
            stream = conn.create(uuid4(), f"beside/{uuid4().hex}", {"name": f"s{step}", "unit": "V"})
            stream.insert([(START + i * SECOND // 10, i / 7) for i in range(0, 20, step) if not 5 < i < 9 * (step - 1)])
            made.append(stream.uuid)
        return made


@pytest.fixture(scope="module")
def originals(address):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return btrdb.connect(address)


@pytest.fixture(scope="module", params=["directory", "server"])
def ours(request, db, address):
    with own.connect(db if request.param == "directory" else address) as conn:
        yield conn


WINDOWS = {
    "points": lambda s: s,
    "windows": lambda s: s.windows(300_000_000),
    "aligned": lambda s: s.aligned_windows(28),
}


@pytest.fixture(params=WINDOWS)
def pair(request, originals, ours, uuids):
    """The same set of streams, of theirs and ours."""
    ask = WINDOWS[request.param]
    return tuple(ask(conn.streams(*uuids).filter(start=START, end=END)) for conn in (originals, ours))


def both(pair, do):
    """Result or error of each, in a form that can be compared."""
    return [_outcome(lambda each=each: do(each)) for each in pair]


def _outcome(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def is_raw(streamset):
    return streamset.allow_window


@pytest.mark.parametrize("agg", ["mean", "count", "max", "all"])
def test_dicts(pair, agg):
    if agg == "all" and is_raw(pair[0]):
        pytest.skip("the original names columns of points as those of windows in rows that lack one")
    theirs, ours = both(pair, lambda s: s.to_dict(agg=agg))
    assert [dict(row) for row in ours] == [dict(row) for row in theirs]
    assert [type(value) for value in ours[0].values()] == [type(value) for value in theirs[0].values()]
    assert list(ours[0]) == list(theirs[0])


def test_rows_values_and_arrays(pair):
    theirs, ours = pair
    assert [[point and repr(point) for point in row] for row in ours.rows()] == [
        [point and repr(point) for point in row] for row in theirs.rows()
    ]
    assert [list(map(repr, points)) for points in ours.values()] == [list(map(repr, p)) for p in theirs.values()]
    mine, other = both(pair, lambda s: s.to_array())
    assert mine.shape == other.shape
    assert mine.dtype == other.dtype
    assert all(np.array_equal(a.astype(float), b.astype(float)) for a, b in zip(mine, other, strict=True))


@pytest.mark.parametrize("agg", ["mean", "count", "stddev", "all"])
def test_dataframes(pair, agg):
    theirs, ours = both(pair, lambda s: s.to_dataframe(agg=agg))
    pd.testing.assert_frame_equal(ours, theirs)
    assert str(ours.columns) == str(theirs.columns)


@pytest.mark.parametrize("name", [None, lambda s: s.name])
def test_named_columns(pair, name):
    for method in ("to_dataframe", "to_series", "to_polars", "arrow_to_dataframe", "arrow_to_polars", "to_table"):
        theirs, ours = both(pair, lambda s, method=method: getattr(s, method)(name_callable=name))
        if isinstance(theirs, list):
            theirs, ours = ([each.name for each in frame] for frame in (theirs, ours))
        elif hasattr(theirs, "columns"):
            theirs, ours = (list(frame.columns) for frame in (theirs, ours))
        assert ours == theirs, method


@pytest.mark.parametrize("datetime64_index", [True, False])
def test_series(pair, datetime64_index):
    theirs, ours = both(pair, lambda s: s.to_series(datetime64_index=datetime64_index))
    for mine, other in zip(ours, theirs, strict=True):
        pd.testing.assert_series_equal(mine, other)
    assert [series.index.dtype for series in ours] == [series.index.dtype for series in theirs]


def test_polars(pair):
    theirs, ours = both(pair, lambda s: s.to_polars())
    assert ours.equals(theirs)
    assert ours.schema == theirs.schema


def test_csv_and_text_tables(pair, tmp_path):
    def written(streamset):
        text = io.StringIO()
        streamset.to_csv(text, dialect="excel")
        streamset.to_csv(str(tmp_path / "file.csv"), dialect="excel")
        assert (tmp_path / "file.csv").read_bytes().decode() == text.getvalue()
        return text.getvalue()

    theirs, ours = both(pair, written)
    assert ours == theirs
    assert len(set(both(pair, lambda s: s.to_table()))) == 1


def test_arrow_tables(pair):
    theirs, ours = both(pair, lambda s: s.arrow_to_arrow_table())
    assert ours.schema.equals(theirs.schema)
    pd.testing.assert_frame_equal(ours.to_pandas(), theirs.to_pandas())


@pytest.mark.parametrize("agg", [None, ["mean"], ["min", "count"], ["all"], "mean"])
def test_arrow_frames(pair, agg):
    theirs, ours = both(pair, lambda s: s.arrow_to_dataframe(agg=agg))
    if isinstance(theirs, str):
        assert ours == theirs
        return
    pd.testing.assert_frame_equal(ours, theirs)
    for method in ("arrow_to_dict", "arrow_to_series"):
        a, b = both(pair, lambda s, method=method: getattr(s, method)(agg=agg))
        assert str(a) == str(b)
    a, b = both(pair, lambda s: s.arrow_to_numpy(agg=agg))
    assert a.shape == b.shape
    assert str(a) == str(b)


@pytest.mark.parametrize(
    "do",
    [
        lambda s: s.to_series(agg="all"),
        lambda s: s.to_array(agg="all"),
        lambda s: s.to_csv(io.StringIO(), agg="all"),
        lambda s: s.to_table(agg="all"),
        lambda s: s.to_dataframe(agg="all", name_callable=str),
        lambda s: s.filter(start=5, end=5),
        lambda s: s.filter(start=6, end=5),
        lambda s: s.filter(name=5),
        lambda s: s[uuid4()],
        lambda s: s[17],
        lambda s: s["no uuid"],
        lambda s: s.pin_versions([1]),
        lambda s: s.pin_versions({"a": 1}),
        lambda s: s.values_iter(),
        lambda s: s.current(),
        lambda s: s.windows(5).windows(5),
        lambda s: s.windows(5).aligned_windows(5),
    ],
)
def test_errors_of_sets(originals, ours, uuids, do):
    pair = [conn.streams(*uuids).filter(start=START, end=END) for conn in (originals, ours)]
    theirs, mine = both(pair, do)
    assert isinstance(theirs, str)
    assert mine == theirs


@pytest.mark.parametrize(
    "do",
    [
        lambda c: c.streams("no name"),
        lambda c: c.streams("no/such/stream"),
        lambda c: c.streams(5),
        lambda c: c.streams(uuid4(), versions=(1,)),
        lambda c: c.streams(uuid4(), versions=[1, 2]),
        lambda c: c.streams(),
        lambda c: c.stream_from_uuid("zzz"),
        lambda c: c.stream_from_uuid(5),
        lambda c: c.query("SELECT nonsense FROM streams"),
        lambda c: c.create(uuid4(), "", {"name": "x"}),
        lambda c: c.stream_from_uuid(uuid4()).name,
        lambda c: c.stream_from_uuid(uuid4()).update(),
        lambda c: c.stream_from_uuid(uuid4()).update(tags=[1]),
        lambda c: c.stream_from_uuid(uuid4()).update(annotations=[1]),
        lambda c: c.stream_from_uuid(uuid4()).update(collection=5),
        lambda c: c.stream_from_uuid(uuid4()).values("text", 5),
        lambda c: c.stream_from_uuid(uuid4()).values(0.5, 5),
        lambda c: c.stream_from_uuid(uuid4()).values([], 5),
        lambda c: c.stream_from_uuid(uuid4()).values(0, 9, version=5),
        lambda c: c.stream_from_uuid(uuid4()).insert([(1, float("nan"))]),
    ],
)
def test_errors_of_connections(originals, ours, do):
    theirs, mine = both((originals, ours), do)
    assert isinstance(theirs, str)
    assert mine == theirs


def test_metadata(originals, ours, uuids):
    for ask in (
        lambda c: [repr(s) for s in c.streams(*uuids)],
        lambda c: [s.tags() for s in c.streams(*uuids)],
        lambda c: [s.annotations() for s in c.streams(*uuids)],
        lambda c: c.list_collections("beside"),
        lambda c: sorted(c.list_unique_names("beside")),
        lambda c: c.collection_metadata("beside"),
        lambda c: repr(c.streams(*uuids)),
        lambda c: str(c.streams(uuids[0])),
        lambda c: c.info(),
    ):
        theirs, mine = both((originals, ours), ask)
        assert mine == theirs


def test_annotations_of_every_type(originals, ours, uuids):
    values = {
        "text": "a b",
        "number": 5,
        "list": [1, "x"],
        "none": None,
        "uuid": UUID(int=7),
        "time": dt.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=dt.UTC),
        "time64": np.datetime64("2024-02-29T01:02:03.456789"),
        "quoted": 'say "hello"',
    }
    for conn in (originals, ours):
        conn.stream_from_uuid(uuids[0]).update(annotations=values)
        seen = [c.stream_from_uuid(uuids[0]).annotations()[0] for c in (originals, ours)]
        assert seen[0] == seen[1]
    for value in values.values():
        theirs = json.dumps(value, cls=btrdb.utils.conversion.AnnotationEncoder)
        assert json.dumps(value, cls=conversion.AnnotationEncoder) == theirs
        decoded = json.loads(theirs, cls=btrdb.utils.conversion.AnnotationDecoder)
        assert json.loads(theirs, cls=conversion.AnnotationDecoder) == decoded
    ours.stream_from_uuid(uuids[0]).update(annotations={}, replace=True)


TIMES = [
    None, 5, -5, 5.0, 5.5, "17", "-17", "2024-02-29", "2024-02-29 01:02:03", "2024-02-29T01:02:03.5Z",
    "2024-02-29 01:02:03.250000+0130", "yesterday", "", dt.datetime(2024, 2, 29, 1, 2, 3), b"5", [], (1,),
    dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))), np.datetime64("2024-02-29T01:02:03"),
    True,
]  # fmt: skip


@pytest.mark.parametrize("time", TIMES, ids=repr)
def test_times(time):
    theirs, mine = (_outcome(lambda each=each: each.to_nanoseconds(time)) for each in (btrdb.utils.timez, timez))
    if isinstance(theirs, int) and theirs > 1 << 53:
        assert abs(mine - theirs) <= 128  # theirs went through a float
    else:
        assert mine == theirs


def test_times_back_and_differences():
    for ns in (0, START, START + 1_500_000, -SECOND, 253402300799 * SECOND):
        assert timez.ns_to_datetime(ns) == btrdb.utils.timez.ns_to_datetime(ns)
    for parts in (
        {"days": 1, "hours": 2.5},
        {"milliseconds": 0.1, "nanoseconds": 7},
        {"weeks": 1},
        {"nanoseconds": 1.5},
    ):
        theirs, mine = both((btrdb.utils.timez, timez), lambda module, parts=parts: module.ns_delta(**parts))
        assert mine == theirs
    assert abs(timez.currently_as_ns() - btrdb.utils.timez.currently_as_ns()) < 10 * SECOND


def test_times_are_exact_where_the_original_is_not():
    """Floats have 53 bits: the original is off by up to 128 ns, and cannot take datetime64[ns]."""
    time = dt.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=dt.UTC)
    assert timez.to_nanoseconds(time) % SECOND == 456_789_000
    assert timez.to_nanoseconds(np.datetime64(START + 1, "ns")) == START + 1
    assert timez.ns_to_datetime(timez.to_nanoseconds(time)) == time


@pytest.mark.parametrize("ns", [0, 1, 2, 3, 1000, SECOND, 3600 * SECOND, 1 << 40, (1 << 61) + 5, 1 << 62, 1 << 63])
def test_point_widths(ns):
    theirs, mine = btrdb.utils.general.pointwidth.from_nanoseconds(ns), general.pointwidth.from_nanoseconds(ns)
    assert int(mine) == int(theirs)
    assert (str(mine), repr(mine)) == (str(theirs), repr(theirs))
    for unit in ("nanoseconds", "microseconds", "seconds", "hours", "days", "weeks", "months", "years"):
        assert getattr(mine, unit) == pytest.approx(getattr(theirs, unit), rel=1e-15)
    assert mine.for_aligned_windows(START, END) == theirs.for_aligned_windows(START, END)
    assert (int(mine + 1), int(mine.incr()), mine > 5, mine == int(theirs)) == (
        int(theirs + 1), int(theirs.incr()), theirs > 5, True,
    )  # fmt: skip
    delta = dt.timedelta(microseconds=min(ns, 1 << 55) // 1000)
    assert int(general.pointwidth.from_timedelta(delta)) == int(btrdb.utils.general.pointwidth.from_timedelta(delta))


def test_points():
    for make in (lambda p: p.RawPoint(5, 1.5), lambda p: p.StatPoint(5, 1.0, 1.5, 2.0, 3, 0.25)):
        theirs, mine = make(btrdb.point), make(__import__("lamina.btrdb.point", fromlist=["point"]))
        assert (repr(mine), str(mine), list(mine)) == (repr(theirs), str(theirs), list(theirs))
        assert mine == theirs
        assert theirs == mine
        assert mine != 5
        assert mine == type(mine).from_proto(theirs)
        for action in (hash, lambda p: p[7], lambda p: setattr(p, "time", 1)):
            outcomes = both((theirs, mine), action)
            assert isinstance(outcomes[0], str)
            assert outcomes[0] == outcomes[1]


def test_a_table_of_another_client_goes_in_unchanged(originals, ours, uuids):
    table = pa.table({"t": pa.array([START // 1000], pa.timestamp("us", "UTC")), "v": pa.array([7], pa.int32())})
    for conn in (originals, ours):
        stream = conn.create(uuid4(), f"beside/{uuid4().hex}", {"name": "x"})
        assert stream.arrow_insert(table) == 11
        assert [(p.time, p.value) for p, _ in stream.values(START, END)] == [(START, 7.0)]
