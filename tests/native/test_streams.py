"""Streams through the native API, wherever the database is."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import numpy as np
import pytest

from lamina import errors
from tests.native.conftest import SECOND, T0, columns


def test_every_insert_is_a_version_and_readable_at_once(stream):
    assert stream.version == 10
    assert stream.insert(*columns(5)) == 11
    assert stream.insert(*columns(5, 5)) == 12
    assert list(stream.values().value) == list(range(10))
    assert list(stream.values(version=11).value) == list(range(5))
    assert len(stream.values(version=10)) == 0


def test_versions_inside_a_coalesced_flush_stay_readable(db, stream):
    for i in range(8):
        stream.insert(*columns(5, 5 * i))
    db.flush()
    for i in range(8):
        assert list(stream.values(version=11 + i).value) == list(range(5 * (i + 1)))
    stream.insert(*columns(3, 40))
    db.flush()
    assert len(stream.values(version=13)) == 15
    assert len(stream.values(version=19)) == 43


def test_unknown_versions_are_refused(stream):
    stream.insert(*columns(3))
    for version in (1, 9, 12):
        with pytest.raises(errors.VersionNotAvailable):
            stream.values(version=version)


def test_delete_is_a_version_and_older_ones_keep_the_points(db, stream):
    stream.insert(*columns(20))
    assert stream.delete(T0 + 5 * SECOND, T0 + 10 * SECOND) == 12
    stream.insert(*columns(1, 7))
    expected = [*range(5), 7, *range(10, 20)]
    assert list(stream.values().value) == expected
    db.flush()
    assert list(stream.values().value) == expected
    assert len(stream.values(version=11)) == 20
    assert list(stream.values(version=12).value) == [*range(5), *range(10, 20)]


def test_delete_of_nothing_is_a_version_too(stream):
    assert stream.delete(T0, T0 + SECOND) == 11


def test_bulk_insert_joins_what_is_buffered(db, stream):
    stream.insert(*columns(10))
    assert stream.insert(*columns(300, 10)) == 12
    assert len(stream.values()) == 310
    assert len(stream.values(version=11)) == 10
    stream.insert(*columns(5, 310))
    assert len(stream.values()) == 315


def test_merge_policies_against_stored_and_buffered_points(db, stream):
    stream.insert([T0, T0, T0 + 1], [1.0, 2.0, 3.0])
    db.flush()
    stream.insert([T0 + 2], [4.0])
    stream.insert([T0, T0 + 2, T0 + 3], [1.0, 9.0, 5.0], policy="equal")
    assert list(stream.values()) == [(T0, 1.0), (T0, 2.0), (T0 + 1, 3.0), (T0 + 2, 4.0), (T0 + 2, 9.0), (T0 + 3, 5.0)]
    stream.insert([T0, T0 + 4, T0 + 4], [7.0, 8.0, 9.0], policy="retain")
    assert list(stream.values(T0 + 4)) == [(T0 + 4, 8.0)]
    version = stream.version
    stream.insert([T0, T0 + 2, T0 + 2], [70.0, 80.0, 90.0], policy="replace")
    assert list(stream.values(T0, T0 + 3)) == [(T0, 70.0), (T0 + 1, 3.0), (T0 + 2, 90.0)]
    assert len(stream.values(version=version)) == 7
    db.flush()
    assert list(stream.values(T0, T0 + 3)) == [(T0, 70.0), (T0 + 1, 3.0), (T0 + 2, 90.0)]


def test_retain_of_which_nothing_is_kept_is_a_version(stream):
    stream.insert([T0], [1.0])
    assert stream.insert([T0], [2.0], policy="retain") == 12
    assert list(stream.values()) == [(T0, 1.0)]


def test_insert_many_is_one_commit(db, stream):
    other = db.streams.create("plant/pump-3", "temperature")
    before = db.stats()["seq"]
    versions = db.streams.insert_many({stream: columns(5), other: columns(7)})
    assert versions == {stream: 11, other: 11}
    assert db.stats()["seq"] == before + 1
    assert (len(stream.values()), len(other.values())) == (5, 7)


def test_create_with_exist_ok_returns_the_stream_that_is_there(db, stream):
    stream.insert(*columns(5))
    again = db.streams.create("plant/pump-3", "vibration", unit="g", annotations={"new": "1"}, exist_ok=True)
    assert (again, again.count(), again.annotations) == (stream, 5, stream.annotations)
    assert db.streams.create("plant/pump-3", "vibration", unit="g", uuid=stream.uuid, exist_ok=True) == stream
    assert again.property_version == 1
    other = db.streams.create("plant/pump-3", "vibration", unit="m/s", exist_ok=True)
    assert (other != stream, other.version) == (True, 10)
    with pytest.raises(errors.AmbiguousStream):
        db.streams.create("plant/pump-3", "vibration", unit="g", uuid=UUID(int=5), exist_ok=True)
    with pytest.raises(errors.StreamExists):
        db.streams.create("plant/pump-4", "vibration", uuid=stream.uuid, exist_ok=True)


def test_a_wrong_name_is_answered_with_those_that_are_there(db, stream):
    with pytest.raises(errors.StreamNotFound, match=r"no stream named 'vibrations' .*; there are 'vibration'$"):
        db.streams["plant/pump-3", "vibrations"]
    with pytest.raises(errors.StreamNotFound, match="there is none at all"):
        db.streams["plant/pump-33", "vibration"]
    for i in range(5):
        db.streams.create("plant/pump-3", f"a{i}")
    with pytest.raises(errors.StreamNotFound, match=r"'a0', 'a1', 'a2', 'a3', 'a4', \.\.\.$"):
        db.streams["plant/pump-3", "vibrations"]
    other = db.streams.create("plant/pump-3", "vibration", unit="m/s")
    with pytest.raises(errors.NotFound, match="2 streams are named") as refused:
        db.streams["plant/pump-3", "vibration"]
    assert all(str(one.uuid) in str(refused.value) for one in (stream, other))


def test_a_name_and_another_tag_of_that_name_are_refused(db):
    for given in ({"name": "a", "tags": {"name": "b"}}, {"unit": "V", "tags": {"unit": "A"}}):
        with pytest.raises(errors.InvalidArgument, match="give one of them"):
            db.streams.create("c", **given)
    assert db.streams.create("c", "a", tags={"name": "a"}).tags == {"name": "a"}
    with pytest.raises(errors.InvalidTagValue, match=r"'4' of tag \"ingress\" is invalid: expected text of up to 256"):
        db.streams.create("c", "x", tags={"ingress": 4})


def test_create_refuses_in_the_contracts_order(db, stream):
    with pytest.raises(errors.StreamExists, match=f"a stream already exists with uuid {stream.uuid}"):
        db.streams.create("plant/pump-3", "vibration", unit="g", uuid=stream.uuid)
    with pytest.raises(errors.AmbiguousStream):
        db.streams.create("plant/pump-3", "vibration", unit="g")
    stream.obliterate()
    with pytest.raises(errors.UuidBurnt):
        db.streams.create("plant/pump-3", "vibration", unit="g", uuid=stream.uuid)
    assert db.streams.create("plant/pump-3", "vibration", unit="g").version == 10
    with pytest.raises(errors.InvalidCollection):
        db.streams.create("", "x")
    with pytest.raises(errors.InvalidTagKey):
        db.streams.create("c", tags={"Bad": "x"})
    with pytest.raises(errors.InvalidTagValue):
        db.streams.create("c", tags={"name": "x" * 300})


def test_metadata_changes_count_property_versions(db, stream):
    assert stream.property_version == 1
    assert stream.set_annotations({"a": "1", "b": "2"}) == 2
    assert stream.set_annotations({"c": "3"}, remove=["a"], expected=2) == 3
    assert stream.annotations == {"b": "2", "c": "3"}
    with pytest.raises(errors.PropertyVersionMismatch):
        stream.set_annotations({}, expected=2)
    assert stream.set_tags({"unit": "m/s"}, collection="plant/new") == 4
    assert (stream.collection, stream.unit, stream.name) == ("plant/new", "m/s", "vibration")
    other = db.streams.create("plant/new", "vibration")
    with pytest.raises(errors.AmbiguousStream):
        other.set_tags({"unit": "m/s"})


def test_find_by_prefix_tags_and_annotations(db):
    a = db.streams.create("foo", "x", annotations={"k": "1"})
    b = db.streams.create("foobar", "x")
    db.streams.create("bar", "y")
    assert list(db.streams.find("foo", prefix=True)) == [a, b]
    assert list(db.streams.find("foo")) == [a]
    assert list(db.streams.find(tags={"name": "x"})) == [a, b]
    assert list(db.streams.find(annotations={"k": None})) == [a]
    assert list(db.streams.collections("foo")) == ["foo", "foobar"]
    assert db.streams["foo", "x"] == a
    assert db.streams.usage("foo") == ({"name": 2}, {"k": 1})
    with pytest.raises(LookupError):
        db.streams["foo", "nope"]


@pytest.mark.parametrize(
    ("times", "values", "error"),
    [
        ([T0], [np.nan], errors.InvalidValue),
        ([T0], [np.inf], errors.InvalidValue),
        ([-(2**60) - 1], [1.0], errors.InvalidTimeRange),
        ([3 * 2**60 - 1], [1.0], errors.InvalidTimeRange),
        ([T0, T0], [1.0], errors.InvalidArgument),
        ([1.5], [1.0], errors.InvalidArgument),
        (["x"], [1.0], errors.InvalidArgument),
        ([T0], ["x"], errors.InvalidArgument),
        (np.array(["NaT"], "datetime64[ns]"), [1.0], errors.InvalidValue),
    ],
)
def test_bad_batches_are_refused_whole(stream, times, values, error):
    with pytest.raises(error):
        stream.insert(times, values)
    assert stream.version == 10


def test_both_ends_of_time_are_storable(db, stream):
    first, last = -(2**60), 3 * 2**60 - 2
    stream.insert([last, first], [2.0, 1.0])
    assert list(stream.values()) == [(first, 1.0), (last, 2.0)]
    db.flush()
    assert list(stream.values()) == [(first, 1.0), (last, 2.0)]
    assert stream.latest() == (last, 2.0)
    assert stream.earliest() == (first, 1.0)
    assert stream.count() == 2


def test_windows_nearest_count_and_changes(db, stream):
    stream.insert(*columns(100))
    w = stream.windows(T0, T0 + 100 * SECOND, width="10s")
    assert list(w.count) == [10] * 10
    assert w.mean[0] == 4.5
    assert stream.nearest(T0 + 1) == (T0 + SECOND, 1.0)
    assert stream.nearest(T0, backward=True) is None
    assert stream.count(T0, T0 + 5 * SECOND) == 5
    db.flush()
    stream.insert([T0 + 500 * SECOND], [1.0])
    ranges = list(stream.changes(11))
    assert ranges == [(T0 + 500 * SECOND, T0 + 500 * SECOND + 1)]
    assert list(stream.changes(12)) == []
    with pytest.raises(errors.InvalidVersions):
        stream.changes(12, 11)
    (whole,) = stream.changes(0, 11)
    assert whole[0] <= T0
    assert whole[1] > T0 + 99 * SECOND


def test_anonymous_snapshot_is_one_moment_of_all_streams(db, stream):
    other = db.streams.create("c", "b")
    stream.insert(*columns(3))
    with db.snapshot() as now:
        stream.insert(*columns(3, 3))
        other.insert(*columns(4))
        db.flush()
        assert len(now.stream(stream).values()) == 3
        assert len(now.stream(other).values()) == 0


def test_subscription_delivers_inserts_and_overflows_loudly(db, stream):
    sub = db.streams.subscribe([stream.uuid], capacity=2)
    stream.insert(*columns(3))
    uuid, samples = sub.get(1)
    assert (uuid, len(samples)) == (stream.uuid, 3)
    stream.insert(*columns(300, 3))
    assert len(sub.get(1)[1]) == 300
    stream.delete(T0, T0 + SECOND)
    db.flush()
    assert sub.get(0) is None
    for i in range(3):
        stream.insert(*columns(1, 400 + i))
    assert sub.overflowed
    sub.close()
    stream.insert(*columns(1, 500))
    with pytest.raises(errors.Closed):
        sub.add([stream.uuid])


def test_tables_go_in_and_out(stream):
    pa = pytest.importorskip("pyarrow")
    times, values = columns(3)
    stream.insert(pa.table({"time": pa.array(times, pa.timestamp("ns")), "value": values}))
    assert stream.values().to_arrow().num_rows == 3
    frame = stream.values().to_pandas()
    assert list(frame["value"]) == [0.0, 1.0, 2.0]
    stream.insert(frame)
    stream.insert(stream.values(T0, T0 + 1).to_polars())
    assert len(stream.values()) == 8
    with pytest.raises(errors.InvalidValue):
        stream.insert(pa.table({"time": pa.array([T0]), "value": pa.array([None], pa.float64())}))


def test_views_hold_a_version_while_the_stream_moves_on(db, stream):
    stream.insert(*columns(100))
    with stream.at() as view:
        stream.delete(T0, T0 + 50 * SECOND)
        db.flush()
        assert view.count() == 100
        assert stream.count() == 50
    with pytest.raises(errors.Closed):
        view.values()


def test_uuid_of_a_handle_is_what_create_was_given(db):
    wanted = UUID(int=7)
    assert db.streams.create("c", "n", uuid=wanted).uuid == wanted


def test_masked_entries_are_refused(stream):
    times, values = columns(2)
    with pytest.raises(errors.InvalidValue, match="masked"):
        stream.insert(times, np.ma.array(values, mask=[False, True]))
    assert stream.insert(times, np.ma.array(values, mask=[False, False])) == 11


def test_pandas_frames_are_read_by_name_or_refused(stream):
    pd = pytest.importorskip("pandas")
    stream.insert(pd.DataFrame({"t": [T0, T0 + 1], "v": [2.5, 3.5]}))
    stream.insert(pd.DataFrame({"temp": [21.5, 22.5], "time": [T0 + 2, T0 + 3]}))
    stream.insert(pd.DataFrame({"x": [1.0]}, index=pd.DatetimeIndex(np.array([T0 + 4], "datetime64[ns]"), tz="UTC")))
    stream.insert(pd.Series([5.0], index=pd.DatetimeIndex(np.array([T0 + 5], "datetime64[ns]"))))
    assert list(stream.values()) == [
        (T0, 2.5), (T0 + 1, 3.5), (T0 + 2, 21.5), (T0 + 3, 22.5), (T0 + 4, 1.0), (T0 + 5, 5.0),
    ]  # fmt: skip
    with pytest.raises(errors.InvalidArgument, match="value columns"):
        stream.insert(pd.DataFrame({"time": [T0], "a": [1.0], "b": [2.0]}))


def test_lists_of_datetimes_and_iso_text_are_times(stream):
    stream.insert(["2017-07-14T02:40:00Z", "2017-07-14T02:40:00.000000001Z"], [1.0, 2.0])
    stream.insert([dt.datetime(2017, 7, 14, 2, 40, 1, tzinfo=dt.UTC)], [3.0])
    assert list(stream.values()) == [(T0, 1.0), (T0 + 1, 2.0), (T0 + SECOND, 3.0)]
    with pytest.raises(errors.InvalidArgument, match="ISO"):
        stream.insert(["yesterday"], [1.0])


def test_windows_that_would_not_fit_into_memory_are_refused(stream):
    with pytest.raises(errors.TooBig, match="use a larger width"):
        stream.windows(T0, T0 + 10**15, 1)
    with pytest.raises(errors.TooBig):
        stream.windows("2017-01-01", "2018-01-01", "1us")


def test_empty_windows_are_zero_in_columns_and_nan_in_tables(stream):
    pytest.importorskip("pandas")
    stream.insert([T0, T0 + 3 * SECOND], [1.0, 2.0])
    found = stream.windows(T0, T0 + 4 * SECOND, "1s")
    assert found.mean.tolist() == [1.0, 0.0, 0.0, 2.0]
    frame = found.to_pandas()
    assert frame["mean"].isna().tolist() == [False, True, True, False]
    assert frame["count"].tolist() == [1, 0, 0, 1]
    assert np.isnan(found.to_arrow()["max"].to_numpy()[1])


def test_repr_of_ranges_shows_their_end(stream):
    stream.insert([T0], [1.0])
    assert repr(stream.changes(10)) == f"<Ranges n=1, {T0} .. {T0 + 1}>"


@pytest.mark.parametrize(
    "call",
    [
        lambda db, s: db.streams["a/b"],
        lambda db, s: db.streams["ab"],
        lambda db, s: db.streams[s.uuid],
        lambda db, s: db.streams.get(str(s.uuid)),
        lambda db, s: s.values(version="11"),
        lambda db, s: s.aligned_windows(T0, T0 + SECOND, "1m"),
        lambda db, s: s.windows(T0, T0 + SECOND, "1 parsec"),
        lambda db, s: s.values("2020-13-01"),
    ],
)
def test_slips_get_an_invalid_argument(db, stream, call):
    with pytest.raises(errors.InvalidArgument):
        call(db, stream)


def test_what_is_given_out_is_the_callers_own(db, stream):
    """Changing it changes nothing else, and is allowed."""
    follower = db.streams.subscribe([stream.uuid])
    stream.insert(*columns(300))
    _, mail = follower.get(5)
    bundles = [stream.values(), mail, stream.windows(T0, T0 + 300 * SECOND, SECOND), stream.changes(10)]
    for bundle in bundles:
        for name in bundle.fields:
            getattr(bundle, name)[:] = 7
    assert stream.values() == type(mail)(*columns(300))
    follower.close()


def test_columns_that_lie_askew_in_memory_are_taken(db, stream):
    """Long ones, which are encoded at once."""
    times, values = columns(300)
    askew = [np.frombuffer(b"x" + column.tobytes(), column.dtype, 300, 1) for column in (times, values)]
    assert not askew[0].flags.aligned
    assert stream.insert(*askew) == 11
    assert stream.values() == type(stream.values())(times, values)
