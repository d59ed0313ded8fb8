import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.streams import summary
from lamina.streams.node import ROW

FINITE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-100, 100),
    st.floats(-3, 3).map(lambda x: 1e15 + x),
    st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, -1.7e308]),
)
GROUPS = st.lists(st.lists(FINITE, min_size=1, max_size=20), min_size=1, max_size=8)


def exact(values):
    numbers = [Fraction(v) for v in values]
    mean = sum(numbers) / len(numbers)
    return mean, sum((n - mean) ** 2 for n in numbers)


def starts_of(groups):
    return np.cumsum([0, *map(len, groups)])[:-1]


@given(GROUPS)
def test_summaries_of_points_are_those_of_exact_arithmetic(groups):
    found = summary.of_points(np.concatenate(groups), starts_of(groups))
    for group, count, low, high, mean, m2 in zip(groups, *found, strict=True):
        assert (count, low, high) == (len(group), min(group), max(group))
        assert low <= mean <= high
        true_mean, true_m2 = exact(group)
        span = Fraction(max(group)) - Fraction(min(group))
        slack = max(span, Fraction(math.ulp(float(true_mean))))
        assert abs(Fraction(mean) - true_mean) <= slack * Fraction(1e-13) + Fraction(math.ulp(mean))
        if true_m2 < Fraction(1e300):
            assert abs(Fraction(m2) - true_m2) <= true_m2 * Fraction(1e-11) + Fraction(1e-300)


@given(GROUPS, st.integers(1, 4))
def test_rows_merge_to_the_summary_of_all_their_points(groups, size):
    rows = np.zeros(len(groups), ROW)
    summary.of_points(np.concatenate(groups), starts_of(groups)).store(rows)
    starts = np.arange(0, len(groups), size)
    found = summary.of_rows(rows, starts)
    for a, count, low, high, mean, m2 in zip(starts, *found, strict=True):
        points = [v for group in groups[a : a + size] for v in group]
        assert (count, low, high) == (len(points), min(points), max(points))
        assert low <= mean <= high
        true_mean, true_m2 = exact(points)
        size_of = max(abs(low), abs(high))
        ulp = Fraction(math.ulp(size_of))
        assert abs(Fraction(mean) - true_mean) <= 4 * ulp
        if true_m2 < Fraction(1e300):  # each mean is off by an ulp at most, and so is its distance
            spread = Fraction(high) - Fraction(low)
            slack = len(points) * ulp * (ulp + 4 * spread) + true_m2 * Fraction(1e-11)
            assert abs(Fraction(m2) - true_m2) <= slack + Fraction(1e-300)  # squares underflow


def test_stddev_of_a_million_values_far_from_zero():
    random = np.random.default_rng(0)
    for centre, spread, tolerance in [(0, 1, 1e-12), (1e6, 1e-3, 1e-6), (1e9, 1e-3, 1e-4), (1e15, 0.5, 5e-3)]:
        values = centre + random.normal(0, spread, 100_000)
        rows = np.zeros(100, ROW)
        summary.of_points(values, np.arange(0, 100_000, 1000)).store(rows)
        found = summary.of_rows(rows, np.array([0]))
        expected = np.std(values - centre)
        assert abs(np.sqrt(found.m2[0] / 100_000) / expected - 1) < tolerance


def test_rows_without_points_count_for_nothing():
    live = np.zeros(6, ROW)
    live["count"][[1, 4]], live["min"][[1, 4]] = [2, 1], [1e300, -5]
    live["max"][[1, 4]], live["mean"][[1, 4]] = [3e300, -5], [2e300, -5]
    found = summary.of_rows(live, np.array([0, 2, 3, 5]))
    assert found.count.tolist() == [2, 0, 1, 0]
    assert found.min.tolist() == [1e300, 0, -5, 0]
    assert found.max.tolist() == [3e300, 0, -5, 0]
    assert found.mean.tolist() == [2e300, 0, -5, 0]
    assert np.isfinite(found.m2).all()


@pytest.mark.parametrize("values", [[1.7e308, 1.7e308, 1.7e308], [1.7e308, -1.7e308], [1.7e308, -1.7e308, 1.0]])
def test_means_of_huge_values_are_finite(values):
    found = summary.of_points(np.array(values), np.array([0]))
    assert np.isclose(found.mean[0], float(sum(map(Fraction, values)) / len(values)))
    assert not np.isnan(found.m2[0])


def test_points_before_the_first_group_are_left_out():
    found = summary.of_points(np.array([9.0, 1, 2, 3]), np.array([1, 2]))
    assert found.count.tolist() == [1, 2]
    assert found.mean.tolist() == [1, 2.5]


@given(st.lists(st.lists(FINITE, min_size=1, max_size=12), min_size=1, max_size=30))
def test_small_groups_have_the_same_numbers_as_in_one_pass_over_all(groups):
    values, starts = np.concatenate(groups), starts_of(groups)
    sizes = summary._sizes(starts, len(values))
    with np.errstate(over="ignore", invalid="ignore"):
        for few, many in zip(
            summary._of_few(values, starts, sizes), summary._of_many(values, starts, sizes), strict=True
        ):
            np.testing.assert_array_equal(few, many)


@given(GROUPS, st.lists(st.booleans(), min_size=8, max_size=8))
def test_a_part_alone_in_its_group_stays_as_it_is(groups, alone):
    parts = summary.of_points(np.concatenate(groups), starts_of(groups))
    starts = np.flatnonzero([i == 0 or alone[i] for i in range(len(groups))])
    sizes = summary._sizes(starts, len(groups))
    some = summary._of_others(parts, starts, sizes)
    for i in range(len(starts)):
        members = summary.Summary._make(column[starts[i] : starts[i] + sizes[i]] for column in parts)
        expected = members if sizes[i] == 1 else summary.merged(members, np.zeros(1, np.int64))
        for column, numbers in zip(some, expected, strict=True):
            np.testing.assert_array_equal(column[i], numbers[0])
