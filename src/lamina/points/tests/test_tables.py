"""Tables become points and points tables: types, nulls, which columns are tags, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InvalidArgument, InvalidTimeRange
from lamina.points.point import EPOCH, MICROSECOND, Point
from lamina.points.tables import arrow_of_batch, batch_of_table, groups_of_table
from lamina.points.tests.strategies import batch_of, described

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

TIME = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
COLUMNS: dict[str, list[Any]] = {
    "time": [TIME, TIME - timedelta(seconds=1), TIME],
    "host": ["a", None, "a"],
    "site": ["x", "y", "x"],
    "load": [1.5, 2.5, None],
    "users": [3, None, 5],
    "up": [True, False, None],
}
POINTS = [
    Point(time=TIME, tags={"host": "a", "site": "x"}, fields={"load": 1.5, "users": 3, "up": True}),
    Point(time=TIME - timedelta(seconds=1), tags={"site": "y"}, fields={"load": 2.5, "up": False}),
    Point(time=TIME, tags={"host": "a", "site": "x"}, fields={"users": 5}),
]
EXPECTED = described(POINTS)
ARROW = pa.table(COLUMNS)
AS_PANDAS = pd.DataFrame(
    COLUMNS | {"users": pd.array([3, None, 5], "Int64"), "up": pd.array([True, False, None], "boolean")}
)


@pytest.mark.parametrize(
    "table",
    [
        COLUMNS,
        ARROW,
        ARROW.to_batches()[0],
        pa.concat_tables([ARROW.slice(0, 1), ARROW.slice(1)]),
        ARROW.set_column(1, "host", ARROW["host"].dictionary_encode()),
        ARROW.cast(ARROW.schema.set(4, pa.field("users", pa.uint8())).set(3, pa.field("load", pa.float32()))),
        pl.DataFrame(COLUMNS),
        AS_PANDAS,
        AS_PANDAS.astype({"host": "category"}),
        AS_PANDAS.set_index("time"),
        AS_PANDAS.set_index("time").rename_axis(None),
        {name: ARROW[name] for name in COLUMNS},
        {name: ARROW[name].combine_chunks() for name in COLUMNS},
        COLUMNS | {"users": np.ma.array([3, 999, 5], mask=[False, True, False])},
    ],
    ids=lambda table: type(table).__module__.partition(".")[0] + type(table).__name__,
)
def test_every_sort_of_table_gives_the_same_points(table: Any) -> None:
    assert described(batch_of_table(table, 0).points("_default")) == EXPECTED


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_timestamps_of_every_unit_and_zone_are_microseconds(unit: str, zone: str | None) -> None:
    expected = 1_700_000_000_000_000
    units = {"s": 10**6, "ms": 1000, "us": 1}
    number = expected * 1000 + 999 if unit == "ns" else expected // units[unit]
    column = pa.array([number, None], pa.timestamp(unit, zone))
    assert batch_of_table(pa.table({"time": column}), 77).time_us.tolist() == [expected, 77]
    numpy = {"time": np.array([number, -1], f"M8[{unit}]")}
    assert batch_of_table(numpy, 0).time_us[0] == expected


def test_integers_are_microseconds_and_the_column_may_have_another_name() -> None:
    table = {"at": np.array([5, 2**31], np.uint32), "x": np.array([1.0, 2.0], np.float32)}
    batch = batch_of_table(table, 0, time="at")
    assert batch.time_us.tolist() == [5, 2**31]
    assert batch.fields["x"].list() == [1.0, 2.0]
    east = datetime(2024, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    assert batch_of_table({"time": [east]}, 0).points("m")[0].time == datetime(2024, 1, 1, tzinfo=UTC)


def test_missing_times_are_those_of_the_call_and_no_rows_have_none() -> None:
    masked = np.ma.array(["2024-01-01", "2024-01-02"], dtype="M8[ns]", mask=[True, False])
    assert batch_of_table({"time": masked}, 77).time_us.tolist() == [77, 1_704_153_600_000_000]
    assert batch_of_table(pa.table({"time": pa.nulls(2)}), 77).time_us.tolist() == [77, 77]
    for empty in ({"time": [], "x": []}, pd.DataFrame({"time": [], "x": []}), pa.table({"time": pa.nulls(0)})):
        assert batch_of_table(empty, 0).n == 0


def test_tags_may_be_named_and_other_text_is_a_field_then() -> None:
    [first, *_] = batch_of_table(ARROW, 0, tags=["host"]).points("m")
    assert (first.tags, first.fields) == ({"host": "a"}, {"site": "x", "load": 1.5, "users": 3, "up": True})
    assert batch_of_table(ARROW, 0, tags=[]).points("m")[1].tags == {}
    assert batch_of_table(ARROW, 0, tags=iter(["host"])).points("m")[0].tags == {"host": "a"}  # type: ignore[arg-type]


def test_measurements_are_grouped_by_their_column() -> None:
    table = ARROW.append_column("measurement", pa.array(["n", "m", "n"]))
    groups = groups_of_table(table, 0)
    assert [(group.measurement, group.places.tolist()) for group in groups] == [("n", [0, 2]), ("m", [1])]
    assert [p for g in groups for p in described(g.batch.points("_default"))] == [EXPECTED[i] for i in (0, 2, 1)]
    assert described(batch_of_table(table, 0).points("_default")) == EXPECTED


@pytest.mark.parametrize(
    ("table", "keywords", "message"),
    [
        ({"x": [1.0]}, {}, "expected a column 'time'"),
        ({"time": [1]}, {"tags": ["t"]}, "expected a column 't'"),
        ({"time": [1], "t": [5]}, {"tags": ["t"]}, "column 't': 5: expected text or None"),
        ({"time": [1.5]}, {}, r"column 'time' of type float64: expected timestamps, or integers"),
        ({"time": [1], "x": [2**63]}, {}, "field 'x': int 9223372036854775808"),
        ({"time": [1], "x": np.array([2**63], np.uint64)}, {}, "field 'x': int 9223372036854775808"),
        ({"time": [1, 2], "x": [1]}, {}, "expected one length"),
        ({"time": [1], "x": 5}, {}, "column 'x', 5: expected a list or array"),
        ({"time": [1, 2, 3, 4], "city": "Rome"}, {}, "column 'city', 'Rome': expected a list or array"),
        ({"time": [1], "x": np.array([1j])}, {}, "of type complex128: expected numbers, booleans or text"),
        (pa.table({"time": ["2024-01-01"]}), {}, "of type string: expected timestamps"),
        (pa.table({"time": [1], "x": [[1]]}), {}, "of type list.*: expected numbers, booleans or text"),
        (pa.table({"time": [1], "x": pa.array([2**64 - 1], pa.uint64())}), {}, "field 'x': expected ints of"),
        (pa.table({"time": [1], "t": [5]}), {"tags": ["t"]}, "column 't' of type int64: expected text"),
        (pa.table([[1], [2]], names=["time", "time"]), {}, "each name once"),
        (5, {}, "table 5: expected an Arrow table"),
        (pl.Series("a", [1]), {}, "non-struct type"),
        (AS_PANDAS.set_index("time", drop=False), {}, "pandas DataFrame: cannot insert time, already exists"),
        (pd.DataFrame({"time": [1], "x": pd.arrays.SparseArray([0])}), {}, "pandas DataFrame: Sparse"),
        ({"time": [1]}, {"tags": 5}, "tags 5: expected names of columns"),
    ],
)
def test_what_is_no_table_of_points_is_refused_with_the_column(table: Any, keywords: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        batch_of_table(table, 0, **keywords)


def test_times_out_of_range_and_missing_measurements_are_refused() -> None:
    with pytest.raises(InvalidTimeRange, match="expected years 1"):
        batch_of_table({"time": [2**60]}, 0)
    with pytest.raises(InvalidArgument, match="beyond years"):
        batch_of_table({"time": np.array([2**55], "M8[s]")}, 0)
    with pytest.raises(InvalidArgument, match="expected a column 'measurement'"):
        groups_of_table(ARROW, 0)
    with pytest.raises(InvalidArgument, match="a null: expected a name"):
        groups_of_table({"time": [1], "measurement": [None]}, 0)


VALUES = {
    "f": st.floats(),
    "i": st.integers(-(2**63), 2**63 - 1),
    "b": st.booleans(),
    "t": st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
}


@st.composite
def uniform_points(draw: st.DrawFn) -> Point:
    """Each key has one kind, which is what a table can hold."""
    present = draw(st.sets(st.sampled_from(sorted(VALUES))))
    tags = draw(st.dictionaries(st.sampled_from(["x", "y"]), VALUES["t"]))
    fields = {key: draw(VALUES[key]) for key in sorted(present)}
    time = EPOCH + draw(st.integers(-(2**54), 2**54)) * MICROSECOND
    return Point(time=time, tags=dict(sorted(tags.items())), fields=fields)


@settings(deadline=None)
@given(st.lists(uniform_points(), max_size=8))
def test_a_table_of_points_becomes_the_same_points(listed: list[Point]) -> None:
    table = arrow_of_batch(batch_of(listed), ["_default"] * len(listed))
    back = batch_of_table(table, 0, tags=[key for key in ("x", "y") if key in table.column_names]).points("_default")

    def sorted_keys(points: list[Point]) -> list[str]:
        return described(
            [
                Point(time=p.time, tags=dict(sorted(p.tags.items())), fields=dict(sorted(p.fields.items())))
                for p in points
            ]
        )

    assert sorted_keys(back) == sorted_keys(listed)
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")


def test_many_tag_columns_do_not_overflow() -> None:
    """Nine columns of 255 texts: in 64 bits, the first would count for nothing."""
    n = 2 * 255
    columns: dict[str, Any] = {"time": np.arange(n)}
    for j in range(9):
        columns[f"t{j}"] = [f"v{(i + (i >= 255 and not j)) % 255}" for i in range(n)]
    listed = batch_of_table(columns, 0).points("m")
    assert [p.tags for p in listed] == [{f"t{j}": columns[f"t{j}"][i] for j in range(9)} for i in range(n)]


def test_kinds_that_a_table_cannot_hold_side_by_side_become_text() -> None:
    listed = [Point(fields={"x": value, "y": number}) for value, number in ((1, 1), ("a", 2.5), (True, None))]
    table = arrow_of_batch(batch_of(listed), ["m"] * 3)
    assert table["x"].to_pylist() == ["1", "a", "True"]
    assert table["y"].to_pylist() == [1.0, 2.5, None]
    with pytest.raises(InvalidArgument, match="key 'x': a table cannot have two columns"):
        arrow_of_batch(batch_of([Point(tags={"x": "a"}, fields={"x": 1})]), ["m"])
    with pytest.raises(InvalidArgument, match="no UTF-8"):
        arrow_of_batch(batch_of([Point(tags={"x": "\udc80"})]), ["m"])
