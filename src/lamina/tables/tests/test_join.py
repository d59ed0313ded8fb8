"""Joins against rows made one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.columns import Samples, Summaries
from lamina.tables import join
from lamina.time import MAX_TIME, MIN_TIME


def chunked(points, sizes):
    """The points as chunks of these sizes, the rest as one."""
    at = 0
    for size in [*sizes, len(points)]:
        part = points[at : at + size]
        at += size
        yield Samples(np.array([t for t, _ in part], np.int64), np.array([v for _, v in part], np.float64))


def rows_of(blocks):
    """(time, values or None) per row, as plain Python."""
    return [
        (time, tuple(None if value != value else value for value in row))
        for times, columns in blocks
        for time, row in zip(times.tolist(), columns.T.tolist(), strict=True)
    ]


def expected_rows(streams):
    rows = {}
    for column, points in enumerate(streams):
        seen = {}
        for time, value in points:
            ordinal = seen.get(time, 0)
            seen[time] = ordinal + 1
            rows.setdefault((time, ordinal), [None] * len(streams))[column] = value
    return [(time, tuple(rows[time, ordinal])) for time, ordinal in sorted(rows)]


def expected_snap(points, start, end, period):
    """Brute force from the contract's text, with Python integers."""
    best = {}
    for time, value in points:
        grid = (time + period // 2) // period * period
        if start <= grid < end:
            distance = abs(time - grid)
            if grid not in best or distance < best[grid][0]:
                best[grid] = (distance, value)
    return [(grid, (best[grid][1],)) for grid in sorted(best)]


POINTS = st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 99).map(float))).map(
    lambda points: sorted(points, key=lambda point: point[0])
)
SIZES = st.lists(st.integers(0, 5), max_size=6)


@given(st.lists(st.tuples(POINTS, SIZES), max_size=4), st.integers(1, 7))
def test_outer_join_has_a_row_per_time_and_loses_no_duplicate(streams, rows):
    tracks = [join.points(chunked(points, sizes)) for points, sizes in streams]
    blocks = list(join.outer_join(tracks, rows))
    assert rows_of(blocks) == expected_rows([points for points, _ in streams])
    assert all(0 < len(times) <= rows for times, _ in blocks)


@given(POINTS, SIZES, st.integers(-15, 15), st.integers(1, 15), st.integers(1, 9))
def test_snap_takes_the_nearest_point_of_each_multiple(points, sizes, start, length, period):
    end = start + length
    reach = join.snap_range(start, end, period)
    inside = [] if reach is None else [p for p in points if reach[0] <= p[0] < reach[1]]
    blocks = list(join.outer_join([join.snapped(chunked(inside, sizes), start, end, period)], 4))
    assert rows_of(blocks) == expected_snap(points, start, end, period)


def test_snap_range_reaches_half_a_period_out_and_not_beyond_what_is_storable():
    assert join.snap_range(100, 200, 10) == (95, 195)
    assert join.snap_range(101, 109, 10) is None  # no multiple inside
    assert join.snap_range(MIN_TIME, MAX_TIME - 1, (1 << 63) - 1)[1] == MAX_TIME - 1
    assert join.snap_range(MIN_TIME, MIN_TIME + 1, 1) == (MIN_TIME, MIN_TIME + 1)


def test_snap_does_not_overflow_at_the_edges_of_time():
    period = (1 << 63) - 1
    points = [(MIN_TIME, 1.0), (MAX_TIME - 2, 2.0)]
    track = join.snapped(chunked(points, []), MIN_TIME, MAX_TIME - 1, period)
    assert rows_of(track) == [(0, (1.0,))]


def test_a_30_hz_stream_snapped_to_1_hz_has_one_row_a_second():
    period = 1_000_000_000
    points = [(i * 33_333_333, float(i)) for i in range(600 * 30)]
    end = 600 * period
    low, high = join.snap_range(0, end, period)
    inside = [p for p in points if low <= p[0] < high]
    times = [t for t, _ in rows_of(join.snapped(chunked(inside, [1000] * 17), 0, end, period))]
    assert times == [i * period for i in range(600)]


def test_columns_of_a_block_are_contiguous():
    blocks = list(join.outer_join([join.points(chunked([(1, 1.0), (2, 2.0)], [])) for _ in range(3)], 10))
    assert all(column.flags.c_contiguous for _, columns in blocks for column in columns)


def test_windows_bring_four_columns_each():
    one = Summaries(*(np.array([x]) for x in (8, 1.0, 2.0, 3.0)), np.array([4], np.uint64), np.array([0.5]))
    two = Summaries(*(np.array([x]) for x in (16, 5.0, 6.0, 7.0)), np.array([8], np.uint64), np.array([0.5]))
    rows = rows_of(join.outer_join([join.windows([one]), join.windows([two])], 10, columns=4))
    assert rows == [(8, (1, 2, 3, 4, *[None] * 4)), (16, (*[None] * 4, 5, 6, 7, 8))]


def test_a_join_reads_no_further_than_it_must():
    taken = [0, 0]

    def endless(i, step):
        while True:
            taken[i] += 1
            start = taken[i] * step
            yield Samples(np.arange(start, start + step), np.zeros(step))

    table = join.outer_join([join.points(endless(0, 10)), join.points(endless(1, 1000))], 100)
    next(table)
    assert taken[1] == 1
    for _ in range(30):
        next(table)
    assert taken[1] <= 4


@pytest.mark.parametrize("tracks", [0, 1, 3])
def test_nothing_gives_no_blocks(tracks):
    assert list(join.outer_join([iter(()) for _ in range(tracks)], 10)) == []
