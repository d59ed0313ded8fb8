"""The point next to a time, both ways."""

from __future__ import annotations

import pytest

from lamina.errors import InvalidTimeRange
from lamina.streams.nearest import nearest
from lamina.streams.tree import Shape
from lamina.testing.grown import GrownStream, random_range, random_stream
from lamina.testing.oracle import MAX, MIN


@pytest.mark.parametrize("seed", range(60))
def test_every_version_gives_the_point_of_the_model(seed: int) -> None:
    stream, rng = random_stream(seed)
    for version in range(10, stream.model.version + 1):
        view = stream.view(version)
        for time in (*random_range(stream, rng), *random_range(stream, rng), MIN, MAX - 1):
            for backward in (False, True):
                expected = stream.model.nearest(time, backward, version)
                assert nearest(view, stream.read, time, backward) == expected


def test_backward_is_strictly_before_and_forward_at_or_after() -> None:
    stream = GrownStream()
    stream.insert([10, 20], [1.0, 2.0])
    for _ in range(2):
        view = stream.view()
        assert nearest(view, stream.read, 20, True) == (10, 1.0)
        assert nearest(view, stream.read, 20, False) == (20, 2.0)
        assert nearest(view, stream.read, 21, True) == (20, 2.0)
        assert nearest(view, stream.read, 21, False) is None
        assert nearest(view, stream.read, 10, True) is None
        stream.flush()


@pytest.mark.parametrize("stored", range(5))
def test_equal_times_give_the_first_forward_and_the_last_backward(stored: int) -> None:
    stream = GrownStream(Shape(2, 2, 1))
    for i in range(4):
        if i == stored:
            stream.flush()
        stream.insert([5], [float(i)])
    if stored == 4:
        stream.flush()
    assert nearest(stream.view(), stream.read, 5, False) == (5, 0.0)
    assert nearest(stream.view(), stream.read, 6, True) == (5, 3.0)


def test_both_ends_of_time_are_reached() -> None:
    stream = GrownStream()
    stream.insert([MIN, MAX - 2], [1.0, 2.0])
    for _ in range(2):
        view = stream.view()
        assert nearest(view, stream.read, MIN, False) == (MIN, 1.0)
        assert nearest(view, stream.read, MIN, True) is None
        for last in (MAX - 1, MAX):
            assert nearest(view, stream.read, last, True) == (MAX - 2, 2.0)
            assert nearest(view, stream.read, last, False) is None
        stream.flush()


def test_removed_points_are_passed_over() -> None:
    stream = GrownStream(Shape(2, 2, 0))
    stream.insert(range(100), [float(i) for i in range(100)])
    stream.delete(10, 90)
    for _ in range(2):
        view = stream.view()
        assert nearest(view, stream.read, 10, False) == (90, 90.0)
        assert nearest(view, stream.read, 90, True) == (9, 9.0)
        stream.flush()


def test_a_removed_range_is_not_decoded() -> None:
    stream = GrownStream(Shape(2, 2, 0), cache_bytes=1 << 20)
    stream.insert(range(10_000), [1.0] * 10_000)
    stream.delete(10, 9_990)
    view = stream.view()
    nearest(view, stream.read, 10, False)
    before = stream.read.reads
    assert nearest(view, stream.read, 10, False) == (9_990, 1.0)
    assert stream.read.reads - before <= 3


def test_one_time_takes_two_leaves_at_most() -> None:
    stream = GrownStream(Shape(16, 8, 0), cache_bytes=1 << 24)
    stream.insert(range(0, 50_000, 5), [1.0] * 10_000)
    stream.flush()
    view = stream.view()
    for time in range(1, 40_000, 1777):
        for backward in (False, True):
            nearest(view, stream.read, time, backward)
            before = stream.read.reads
            nearest(view, stream.read, time, backward)
            assert stream.read.reads - before <= 2


@pytest.mark.parametrize("time", [MIN - 1, MAX + 1])
def test_times_out_of_bounds_are_refused(time: int) -> None:
    stream = GrownStream()
    with pytest.raises(InvalidTimeRange, match="time range out of bounds"):
        nearest(stream.view(), stream.read, time, False)


def test_a_stream_without_points_has_none() -> None:
    stream = GrownStream()
    assert nearest(stream.view(), stream.read, 0, False) is None
    assert nearest(stream.view(), stream.read, 0, True) is None
