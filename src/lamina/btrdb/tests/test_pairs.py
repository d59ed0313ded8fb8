"""Points as callers hand them in: exact, in their order, and never guessed."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.btrdb.pairs import NotPoints, columns, parts
from lamina.btrdb.point import RawPoint, StatPoint
from lamina.btrdb.sequences import PointList, PointTuple
from lamina.btrdb.tests.test_sequences import samples, summaries
from lamina.columns import Samples
from lamina.errors import InvalidValue

T = 1_500_000_000_000_000_001


def pairs(found):
    assert (found.time.dtype, found.value.dtype) == (np.int64, np.float64)
    return list(found)


@given(st.lists(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False)), max_size=40))
def test_pairs_come_out_as_they_went_in(points):
    assert pairs(columns(points)) == points


def test_long_lists_go_by_blocks():
    points = [(T + i, i / 3) for i in range(2345)]
    assert pairs(columns(points)) == points


@pytest.mark.parametrize(
    "data",
    [
        [(T, 1.5), (3, 2)],
        ((T, 1.5), (3, 2)),
        [[T, 1.5], [3, 2]],
        [RawPoint(T, 1.5), RawPoint(3, 2)],
        [(np.int64(T), np.float32(1.5)), (np.uint8(3), np.int16(2))],
        Samples(np.array([T, 3]), np.array([1.5, 2.0])),
        PointList(Samples(np.array([T, 3]), np.array([1.5, 2.0])), RawPoint, 11),
        pa.table({"time": pa.array([T, 3], pa.timestamp("ns", "UTC")), "value": [1.5, 2.0]}),
        pa.table({"time": [T, 3], "value": pa.array([1.5, 2], pa.float32())}),
        pd.DataFrame({"time": [T, 3], "value": [1.5, 2]}),
        pd.DataFrame({"value": [1.5, 2]}, index=pd.DatetimeIndex(np.array([T, 3], "datetime64[ns]"), name="time")),
        pl.DataFrame({"time": [T, 3], "value": [1.5, 2.0]}),
        iter([(T, 1.5), (3, 2)]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_form_that_is_taken(data):
    assert pairs(columns(data)) == [(T, 1.5), (3, 2.0)]


def test_columns_are_not_copied():
    held = samples(5)
    for data in (held, PointList(held, RawPoint)):
        assert columns(data).time is held.time
        assert columns(data).value is held.value


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([(1, 1.0), (2.5, 1.0)], "point 1 is (2.5, 1.0)"),
        ([(1, "1.5")], "point 0 is (1, '1.5')"),
        ([(1, None)], "point 0 is (1, None)"),
        ([("1", 1.0)], "point 0 is ('1', 1.0)"),
        ([(1,)], "point 0"),
        ([(1, 2.0, 3), (1,)], "point 0"),
        ([(1, 2.0), (2, 3.0, 4)], "point 1"),
        ([5], "point 0 is 5"),
        ([(1 << 63, 1.0)], "point 0"),
        ([(dt.datetime(2024, 1, 1), 1.0)], "point 0"),
        ([(1, 1 << 2000)], "point 0"),
        (PointTuple(summaries(2), StatPoint), "Summaries are no points"),
    ],
)
def test_what_is_no_point_is_refused_with_its_place(data, text):
    with pytest.raises(NotPoints) as refused:
        columns(data)
    assert text in str(refused.value)


def test_null_is_no_value():
    with pytest.raises(InvalidValue):
        columns(pa.table({"time": [1], "value": pa.array([None], pa.float64())}))


def test_nothing_is_nothing():
    assert pairs(columns([])) == []


@pytest.mark.parametrize("form", [list, tuple, iter, lambda data: columns(data), lambda data: columns(data).to_arrow()])
@pytest.mark.parametrize(
    ("n", "size", "lengths"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (0, 3, []), (0, None, [0]), (7, None, [7])]
)
def test_parts(form, n, size, lengths):
    points = [(T + i, float(i)) for i in range(n)]
    found = [Samples(*part) for part in parts(form(points), size)]
    assert [len(part) for part in found] == lengths
    assert [point for part in found for point in part] == points


def test_parts_are_read_as_they_are_asked_for_and_counted_through():
    asked = parts([(1, 1.0), (2, 2.0), (3, 3.0), (4, "4")], 2)
    assert len(next(asked)[0]) == 2
    with pytest.raises(NotPoints, match="point 3 is"):
        next(asked)
