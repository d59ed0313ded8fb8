"""Batches hold points to the bit: kinds of values, key orders, what is None and what is not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InvalidArgument, InvalidTimeRange
from lamina.points.batch import batch_of_points, concat, empty_batch, group_points
from lamina.points.field import ABSENT, FLOAT, INT, MIXED
from lamina.points.point import Point
from lamina.points.tail import Tail
from lamina.points.tests.strategies import LISTS, batch_of, described, points


@settings(deadline=None)
@given(LISTS)
def test_points_come_back_to_the_bit(listed: list[Point]) -> None:
    assert described(batch_of(listed).points("m")) == described(listed)


@settings(deadline=None)
@given(st.lists(LISTS, max_size=4), st.data())
def test_joined_taken_and_compacted_batches_hold_the_same_points(lists: list[list[Point]], data: st.DataObject) -> None:
    together = concat([batch_of(listed) for listed in lists])
    flat = [point for listed in lists for point in listed]
    assert described(together.points("m")) == described(flat)
    chosen = data.draw(st.lists(st.integers(0, len(flat) - 1), max_size=8)) if flat else []
    taken = together.take(np.array(chosen, np.intp))
    assert described(taken.points("m")) == described([flat[i] for i in chosen])
    small = taken.compact()
    assert described(small.points("m")) == described([flat[i] for i in chosen])
    assert set(small.tagset.tolist()) == set(range(len(small.tagsets)))
    assert set(small.order.tolist()) == set(range(len(small.orders)))
    assert set(small.fields) == {key for order in small.orders for key in order}
    for key, column in together.fields.items():
        has = [key in point.fields for point in flat]
        assert (column.row_kinds() != ABSENT).tolist() == has


@settings(deadline=None)
@given(st.lists(st.sampled_from("xyz").flatmap(points), max_size=8))
def test_points_of_several_measurements_are_grouped_with_their_places(listed: list[Point]) -> None:
    groups = group_points(listed, 0)
    assert sorted(place for group in groups for place in group.places.tolist()) == list(range(len(listed)))
    for group in groups:
        assert described(group.batch.points(group.measurement)) == described([listed[i] for i in group.places])
    assert [group.measurement for group in groups] == list(dict.fromkeys(point.measurement for point in listed))


def test_times_are_utc_naive_ones_too_and_missing_ones_are_now() -> None:
    east = timezone(timedelta(hours=5))
    listed = [
        Point(time=datetime(1970, 1, 1, 5, tzinfo=east)),
        Point(time=datetime(1970, 1, 1, 0, 0, 1)),
        Point(),
        Point(time=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ]
    assert batch_of_points(listed, 77).time_us.tolist() == [0, 1_000_000, 77, -1]


@pytest.mark.parametrize(
    "time", [datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime.max.replace(tzinfo=timezone.min)]
)
def test_a_time_outside_the_years_1_to_9999_is_refused_with_the_range(time: datetime) -> None:
    with pytest.raises(InvalidTimeRange, match=r"expected years 1 \.\. 9999, -62135596800000000"):
        batch_of([Point(time=time)])


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_an_int_beyond_64_bits_is_refused_with_its_field(number: int) -> None:
    for other in (1, 2.5, None):
        with pytest.raises(InvalidArgument, match=rf"field 'x': int {number}: expected -2\*\*63 \.\. 2\*\*63 - 1"):
            batch_of([Point(fields={"x": other}), Point(fields={"x": number})])


def test_what_is_no_value_is_refused_with_its_field() -> None:
    bad = Point(fields={"x": 1})
    bad.fields["x"] = [1]
    with pytest.raises(InvalidArgument, match=r"field 'x': value \[1\]: expected float, int, bool, str or None"):
        batch_of([bad])
    bad = Point(tags={"t": "x"})
    bad.tags["t"] = 5
    with pytest.raises(InvalidArgument, match="tag 't' = 5"):
        batch_of([bad])
    bad = Point(fields={"x": 1})
    bad.fields[5] = 1
    with pytest.raises(InvalidArgument, match="field key 5"):
        batch_of([bad])


def test_numbers_for_statistics_are_floats_and_ints_only() -> None:
    listed = [Point(fields={"x": value}) for value in (1, 2.5, True, "3", None)] + [Point(fields={})]
    column = batch_of(listed).fields["x"]
    assert column.kind == MIXED
    values, are = column.numbers()
    assert are is not None
    assert are.tolist() == [True, True, False, False, False, False]
    assert values[:2].tolist() == [1.0, 2.5]
    assert np.isnan(values[2:]).all()
    assert batch_of(listed[:1]).fields["x"].kind == INT
    assert batch_of(listed[1:2]).fields["x"].kind == FLOAT
    assert batch_of(listed[:1]).fields["x"].numbers()[0].tolist() == [1.0]


def test_no_points_are_a_batch_too() -> None:
    assert empty_batch().points("m") == []
    assert concat([]).n == 0
    assert concat([empty_batch(), empty_batch()]).n == 0


def test_a_compacted_batch_does_not_grow_with_the_tail_it_is_of() -> None:
    """A seal writes what it took while points with other keys and texts come in."""
    tail = Tail()
    first = Point(time=datetime(2024, 5, 1, tzinfo=UTC), tags={"a": "x"}, fields={"f": "one"})
    tail.write(0, batch_of([first]), np.array([1], np.uint64), 1)
    taken = tail.batch(1).compact()
    later = Point(time=datetime(2024, 5, 1, tzinfo=UTC), tags={"b": "y"}, fields={"f": "two", "g": 1})
    tail.write(1, batch_of([later]), np.array([2], np.uint64), 2)
    assert (list(taken.tagsets), list(taken.orders)) == ([(("a", "x"),)], [("f",)])
    assert list(taken.fields["f"].texts) == ["one"]
