from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.streams.partition import Windows, bit_length, cover, free_windows, partition

END = 1 << 62
TIMES = st.one_of(st.integers(0, END - 1), st.integers(0, 50), st.integers(1 << 60, (1 << 60) + 300))


def plain_partition(times, t0, pw, limit, capacity):
    """The definition, one window at a time."""
    inside = [t for t in times if t0 <= t < t0 + (1 << pw)]
    if not inside:
        return []
    if len(inside) <= limit or pw == 0:
        return [(t0, pw, len(inside))]
    pw = min(pw, max((inside[0] ^ inside[-1]).bit_length(), 1))
    t0 = inside[0] >> pw << pw
    halves = [(t0, pw - 1), (t0 + (1 << (pw - 1)), pw - 1)]
    return [w for half in halves for w in plain_partition(inside, *half, capacity, capacity)]


@given(st.lists(st.integers(0, END - 1)))
def test_bit_length_is_that_of_ints(numbers):
    expected = [n.bit_length() for n in numbers]
    assert bit_length(np.array(numbers, np.int64)).tolist() == expected


@pytest.mark.parametrize("power", range(62))
def test_bit_length_is_right_beside_every_power_of_two(power):
    near = [n for n in ((1 << power) - 1, 1 << power, (1 << power) + 1) if 0 <= n < END]
    assert bit_length(np.array(near)).tolist() == [n.bit_length() for n in near]


@given(st.lists(TIMES, min_size=1, max_size=200), st.integers(2, 9), st.integers(0, 3))
def test_partition_equals_its_definition(numbers, capacity, slack):
    times = np.sort(np.array(numbers, np.int64))
    whole = Windows(*(np.array([n]) for n in (0, 62, 0, len(times))))
    found = partition(times, whole, capacity + slack, capacity)
    windows = list(zip(found.t0.tolist(), found.pw.tolist(), (found.last - found.first).tolist(), strict=True))
    assert windows == plain_partition(times.tolist(), 0, 62, capacity + slack, capacity)
    assert found.first[0] == 0
    assert (found.first[1:] == found.last[:-1]).all()
    assert found.last[-1] == len(times)


@given(st.lists(TIMES, min_size=1, max_size=60), st.lists(TIMES, max_size=20))
def test_free_windows_hold_the_points_touch_no_row_and_are_as_large_as_can_be(numbers, taken):
    times = np.unique(np.array([n for n in numbers if n not in taken], np.int64))
    if not len(times):
        return
    rows = sorted(set(taken))  # rows 1 ns wide
    first = times.searchsorted([r + 1 for r in [-1, *rows]])
    last = times.searchsorted([*rows, END])
    some = last > first
    before = np.array([0, *(r + 1 for r in rows)])[some]
    after = np.array([*rows, END])[some]
    t0, pw = free_windows(times, first[some], last[some], before, after, np.array([0]), np.array([62]))
    windows = list(zip(t0.tolist(), pw.tolist(), strict=True))
    assert windows == sorted(windows)
    for a, b in pairwise(windows):
        assert a[0] + (1 << a[1]) <= b[0]
    for t in times.tolist():
        [(start, size)] = [w for w in windows if w[0] <= t < w[0] + (1 << w[1])]
        assert not any(start <= r < start + (1 << size) for r in rows)
        wider = t >> (size + 1) << (size + 1)
        assert size == 62 or any(wider <= r < wider + (2 << size) for r in rows)


@given(st.integers(0, END), st.integers(0, END))
def test_cover_is_made_of_aligned_windows_without_gaps(a, b):
    start, end = min(a, b), max(a, b)
    at = start
    windows = cover(start, end)
    for t0, pw in windows:
        assert t0 == at
        assert t0 % (1 << pw) == 0
        at += 1 << pw
    assert at == end
    assert len(windows) <= 124
