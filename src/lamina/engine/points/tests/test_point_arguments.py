"""What callers may give, what they are told else, and that nothing is stored then."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import lamina
from lamina import FieldQuery, Point, TagQuery, TimeQuery, errors
from lamina.engine.points.tests.pointmodel import EPOCH, facts

NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def db():
    with lamina.open(":memory:") as db:
        yield db


def point(value=1.0, **keywords):
    return Point(time=NOON, tags={"a": "x"}, fields={"v": value}, **keywords)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (7, "7"),
        ("text", "text"),
        ([point(), "text"], "text"),
        ([point(1 << 63)], "9223372036854775808"),
        ({"time": [1, 2], "v": [1.0]}, "v"),
    ],
)
def test_what_is_no_point_is_refused_and_nothing_is_stored(db, given, told):
    for place in (db.measurements["m"], db.measurements):
        with pytest.raises(errors.InvalidArgument, match=told):
            place.insert(given)
    assert db.measurements.count() == 0
    assert db.measurements.list() == []


@pytest.mark.parametrize("name", [7, None, "\ud800"])
def test_a_name_that_cannot_be_is_refused(db, name):
    with pytest.raises(errors.InvalidArgument):
        db.measurements[name]
    assert name not in db.measurements


def test_points_that_name_other_measurements_go_where_they_are_inserted(db):
    db.measurements["m"].insert(point(measurement="other"))
    assert db.measurements.list() == ["m"]


def test_tables_name_their_columns(db):
    table = {"at": np.array(["2026-06-01"], "M8[us]"), "host": ["h"], "v": [1.0]}
    assert db.measurements["m"].insert(table, time="at", tags=["host"]) == 1
    (found,) = db.measurements["m"]
    assert (found.tags, found.fields) == ({"host": "h"}, {"v": 1.0})
    with pytest.raises(errors.InvalidArgument, match="measurement"):
        db.measurements.insert(table, time="at")
    with pytest.raises(errors.InvalidArgument, match="columns of a table"):
        db.measurements["m"].insert(point(), tags=["host"])


def test_bounds_take_every_form_of_time_and_their_end_is_outside(db):
    measurement = db.measurements["m"]
    measurement.insert([Point(time=EPOCH + dt.timedelta(microseconds=i), fields={"v": i}) for i in range(5)])
    for start, end in (
        (1, 3),
        (np.int64(1), np.int64(3)),
        (np.datetime64(1, "us"), np.datetime64(3, "us")),
        (np.datetime64(1, "ns"), np.datetime64(2001, "ns")),
        ("1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000003"),
        (EPOCH + dt.timedelta(microseconds=1), dt.datetime(1970, 1, 1, microsecond=3)),
    ):
        assert [found.fields["v"] for found in measurement.search(start=start, end=end)] == [1, 2]
        assert measurement.count(start=start, end=end) == 2
    assert measurement.count(start="0001-01-01", end="9999-12-31") == 5
    assert measurement.remove(start=1, end=3) == 2
    assert [found.fields["v"] for found in measurement.search()] == [0, 3, 4]
    for wrong in ("noon", 1.5, -(10**17), True):
        with pytest.raises(errors.InvalidArgument):
            measurement.search(start=wrong)


def test_naive_times_in_queries_are_utc(db):
    db.measurements["m"].insert(point())
    assert db.measurements["m"].count(TimeQuery() == dt.datetime(2026, 6, 1, 12)) == 1
    assert db.measurements["m"].update(TimeQuery() < dt.datetime(2026, 6, 2), time=dt.datetime(2026, 6, 1)) == 1
    assert db.measurements["m"].timestamps() == [int(dt.datetime(2026, 6, 1, tzinfo=dt.UTC).timestamp()) * 10**6]


@pytest.mark.parametrize("call", ["search", "count", "get", "contains", "update", "remove"])
def test_what_is_no_query_is_refused(db, call):
    db.measurements["m"].insert(point())
    arguments = {"fields": {"v": 2.0}} if call == "update" else {}
    for wrong in ("a", lambda point: True, TagQuery().a):
        with pytest.raises(errors.InvalidArgument, match="query"):
            getattr(db.measurements["m"], call)(wrong, **arguments)
    assert db.measurements["m"].count() == 1


def test_orders_limits_and_keys_are_checked(db):
    measurement = db.measurements["m"]
    measurement.insert([point(i) for i in range(3)])
    with pytest.raises(errors.InvalidArgument, match="order 'size'"):
        measurement.search(order="size")
    for limit in (-1, 1.5, True, "3"):
        with pytest.raises(errors.InvalidArgument, match="limit"):
            measurement.search(limit=limit)
    for key in ("a", "tags", "fieldsx.v", 7):
        with pytest.raises(errors.InvalidArgument, match="key"):
            measurement.select([key])
    assert measurement.select("fields.v") == [0, 1, 2]
    assert measurement.select(("tags.a", "fields.w", "measurement")) == [("x", None, "m")] * 3
    for width in (0, -1, "1ns", "soon"):
        with pytest.raises(errors.InvalidArgument):
            measurement.windows("v", width=width)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"time": "noon"},
        {"tags": {"a": 1}},
        {"fields": {"v": b""}},
        {"fields": {"v": 1 << 63}},
        {"measurement": 7},
        {"unset_tags": 7},
        {"fields": lambda old: {"v": object()}},
        {"measurement": lambda old: 7},
    ],
)
def test_an_update_to_what_no_point_can_be_changes_nothing(db, arguments):
    db.measurements.insert([point(measurement="m"), point(measurement="n")])
    before = facts(db.measurements.search(order="insertion"))
    with pytest.raises(ValueError):
        db.measurements.update(**arguments)
    assert facts(db.measurements.search(order="insertion")) == before


def test_an_update_that_fails_half_way_changes_nothing(db):
    db.measurements.insert([point(float(i), measurement="mn"[i % 2]) for i in range(10)])
    before = facts(db.measurements.search(order="insertion"))

    def failing(fields):
        if fields["v"] == 7.0:
            raise RuntimeError("half way")
        return {"v": -1.0}

    with pytest.raises(RuntimeError, match="half way"):
        db.measurements.update(fields=failing)
    assert facts(db.measurements.search(order="insertion")) == before


def test_results_are_sequences(db):
    db.measurements["m"].insert([point(i) for i in range(10)])
    found = db.measurements["m"].search(FieldQuery().v > 2, limit=4)
    assert len(found) == 4
    assert [one.fields["v"] for one in found] == [one.fields["v"] for one in found.points()] == [3, 4, 5, 6]
    assert (found[0].fields["v"], found[-1].fields["v"]) == (3, 6)
    with pytest.raises(IndexError):
        found[4]
    assert found.field("v").list() == [3, 4, 5, 6]
    assert found.times().tolist() == found.batch.time_us.tolist()
    assert found.field("none").list() == [None] * 4
    assert not len(db.measurements["none"].search())
    assert db.measurements["none"].search().points() == []


def test_nothing_answers_once_the_database_is_closed():
    db = lamina.open(":memory:")
    measurement = db.measurements["m"]
    measurement.insert(point())
    db.close()
    for call in (
        lambda: measurement.insert(point()),
        measurement.count,
        measurement.search,
        measurement.clear,
        lambda: measurement.update(fields={"v": 2}),
        lambda: db.measurements.list(),
        lambda: "m" in db.measurements,
    ):
        with pytest.raises(errors.Closed):
            call()


NESTED = {
    "update": lambda db: db.measurements["m"].update(fields={"w": 1}),
    "update of others": lambda db: db.measurements["other"].update(fields={"w": 1}),
    "remove": lambda db: db.measurements["m"].remove(FieldQuery().v == 2),
    "clear": lambda db: db.measurements["m"].clear(),
    "drop": lambda db: db.measurements.drop("m"),
    "replace_all": lambda db: db.measurements.replace_all([]),
    "flush": lambda db: db.flush(),
    "compact": lambda db: db.compact(),
    "close": lambda db: db.close(),
}


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("by", ["function", "query"])
def test_a_function_that_changes_points_during_a_change_is_refused_and_nothing_is_changed(db, nested, by):
    m = db.measurements["m"]
    m.insert([point(float(i)) for i in range(4)])
    before = list(m)

    def change(old):
        NESTED[nested](db)
        return {"v": 9.0} if by == "function" else True

    ask = {
        "function": lambda: m.replace(lambda old: Point(time=old.time, fields=change(old))),
        "query": lambda: m.remove(FieldQuery().v.test(change)),
    }[by]
    with pytest.raises(errors.InvalidArgument, match="may read and insert points, but not change"):
        ask()
    assert (list(m), m.count()) == (before, 4)
    assert m.update(fields={"w": 1}) == 4  # and nothing is held any more


def test_a_function_may_read_and_insert_points_during_a_change(db):
    m = db.measurements["m"]
    m.insert([point(1.0), point(2.0)])
    seen = []

    def function(old):
        seen.append(m.count())
        m.insert(point(3.0))
        return {"v": 4.0}

    m.update(FieldQuery().v == 1, fields=function)
    assert (seen, m.field_values("v")) == ([2], [4.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.select(7),
        lambda m: m.select([7]),
        lambda m: m.tag_values(7),
        lambda m: m.tag_values([7]),
        lambda m: m.field_values(7),
        lambda m: m.windows(7),
        lambda m: m.windows("v", by=7),
        lambda m: m.windows("v", by=[7]),
        lambda m: m.insert({"time": 7, "v": [1.0]}),
        lambda m: m.insert({"time": [1], "v": "7"}),
    ],
)
def test_keys_and_columns_of_another_type_are_refused(db, ask):
    m = db.measurements["m"]
    m.insert(point())
    with pytest.raises(errors.InvalidArgument, match="7"):
        ask(m)
    assert m.count() == 1


@pytest.mark.parametrize("width", [10**30, "1000000000d", dt.timedelta.max])
def test_a_width_beyond_all_times_is_refused(db, width):
    m = db.measurements["m"]
    m.insert(point())
    with pytest.raises(errors.InvalidWidth, match="width"):
        m.windows("v", width=width)


def test_a_window_may_be_as_wide_as_all_times(db):
    m = db.measurements["m"]
    m.insert([Point(time=dt.datetime.min, fields={"v": 1}), Point(time=dt.datetime.max, fields={"v": 2})])
    assert m.windows("v", width=dt.timedelta(days=3_652_059)).count.tolist() == [1, 1]


def test_a_data_frame_with_a_column_twice_is_refused(db):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(errors.InvalidArgument, match="Duplicate"):
        db.measurements["m"].insert(pandas.DataFrame([[1, 1.0, 2.0]], columns=["time", "v", "v"]))


def test_what_was_found_can_be_sliced(db):
    m = db.measurements["m"]
    m.insert([Point(time=NOON + dt.timedelta(seconds=i), fields={"v": i}) for i in range(5)])
    found = m.search()
    assert [p.fields["v"] for p in found[1:4]] == [1, 2, 3]
    assert [p.fields["v"] for p in found[::-2]] == [4, 2, 0]
    assert found[7:] == []
    assert found[-1].fields == {"v": 4}
