"""Windows: the contract's examples to the letter, the model's numbers, and how little is read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.columns import Summaries
from lamina.errors import InvalidTimeRange, InvalidWidth
from lamina.streams import leaves, window
from lamina.streams.tree import Shape
from lamina.streams.window import aligned_windows, windows
from lamina.testing.grown import GrownStream, random_range, random_stream
from lamina.testing.oracle import MAX, MIN, Window

BASE = 1_500_000_000_000_000_000
TENTH = 100_000_000


def published() -> GrownStream:
    """The ten points of the example in contract sections 4.2 and 4.3."""
    stream = GrownStream()
    stream.insert([BASE + i * TENTH for i in range(10)], [float(i + 1) for i in range(10)])
    return stream


def assert_same(chunks: Iterable[Summaries], expected: list[Window]) -> None:
    found = list(Summaries.concat(list(chunks)))
    assert [(w[0], w[1], w[3], w[4]) for w in found] == [(w.time, w.min, w.max, w.count) for w in expected]
    for (_, low, mean, high, _, deviation), wanted in zip(found, expected, strict=True):
        assert low <= mean <= high
        assert math.isclose(mean, wanted.mean, rel_tol=1e-12, abs_tol=1e-12)
        assert math.isclose(deviation, wanted.stddev, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("flushed", [False, True])
def test_published_aligned_example(flushed: bool) -> None:
    stream = published()
    if flushed:
        stream.flush()
    found = Summaries.concat(list(aligned_windows(stream.view(), stream.read, BASE, BASE + 10**9, 28)))
    assert list(found) == [
        (1499999999814008832, 1.0, 1.0, 1.0, 1, 0.0),
        (1500000000082444288, 2.0, 3.0, 4.0, 3, 0.816496580927726),
        (1500000000350879744, 5.0, 6.0, 7.0, 3, 0.816496580927726),
        (1500000000619315200, 8.0, 8.5, 9.0, 2, 0.5),
    ]


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("depth", [0, 20])
def test_published_window_example(flushed: bool, depth: int) -> None:
    stream = published()
    if flushed:
        stream.flush()
    found = windows(stream.view(), stream.read, BASE, BASE + 10**9, 3 * TENTH, depth)
    assert list(Summaries.concat(list(found))) == [
        (BASE, 1.0, 2.0, 3.0, 3, 0.816496580927726),
        (BASE + 3 * TENTH, 4.0, 5.0, 6.0, 3, 0.816496580927726),
        (BASE + 6 * TENTH, 7.0, 8.0, 9.0, 3, 0.816496580927726),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_every_version_gives_the_windows_of_the_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "SLAB", 37)
    monkeypatch.setattr(leaves, "CHUNK_POINTS", 30)
    monkeypatch.setattr(leaves, "BATCH_BYTES", 300)
    stream, rng = random_stream(seed)
    for version in range(10, stream.model.version + 1):
        view = stream.view(version)
        start, end = random_range(stream, rng)
        pointwidth = rng.choice([rng.randrange(64), max(0, (end - start).bit_length() - rng.randrange(9))])
        pointwidth = min(pointwidth, 63)
        assert_same(
            aligned_windows(view, stream.read, start, end, pointwidth),
            stream.model.aligned_windows(start, end, pointwidth, version),
        )
        width = max(1, (end - start) // rng.randrange(1, 200), (end - start) // 500)
        assert_same(
            windows(view, stream.read, start, end, width),
            stream.model.windows(start, end, width, version),
        )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=40), max_size=5),
    st.integers(0, 310),
    st.integers(1, 310),
    st.integers(1, 100),
    st.integers(0, 10),
    st.sampled_from([MIN, -150, MAX - 2 - 620]),
)
def test_any_points_and_any_window(
    batches: list[list[int]], start: int, length: int, width: int, pointwidth: int, low: int
) -> None:
    stream = GrownStream(Shape(4, 4, 2), cache_bytes=0)
    for i, batch in enumerate(batches):
        stream.insert([low + t for t in batch], [t * 0.1 for t in batch])
        if i % 2 == 0:
            stream.flush()
    start, end = low + start, low + start + length
    view = stream.view()
    assert_same(windows(view, stream.read, start, end, width), stream.model.windows(start, end, width))
    assert_same(
        aligned_windows(view, stream.read, start, end, pointwidth),
        stream.model.aligned_windows(start, end, pointwidth),
    )


@pytest.mark.parametrize("flushed", [False, True])
def test_whole_range_counts_find_every_point(flushed: bool) -> None:
    stream = GrownStream(Shape(2, 2, 0))
    times = [MIN, MIN + 1, -(1 << 58), -1, 0, 1 << 60, 1 << 61, (1 << 61) + 5, MAX - 3, MAX - 2]
    stream.insert(times, [1.0] * len(times))
    if flushed:
        stream.flush()
    view = stream.view()
    for pointwidth in range(64):
        for end in (MAX - 1, MAX):
            chunks = list(aligned_windows(view, stream.read, MIN, end, pointwidth))
            assert sum(int(c.count.sum()) for c in chunks) == len(times)
            expected = {t >> pointwidth << pointwidth for t in times}
            assert [t for c in chunks for t in c.time.tolist()] == sorted(expected)


@pytest.mark.parametrize(("pointwidth", "first"), [(61, -(1 << 61)), (62, -(1 << 62)), (63, -(1 << 63))])
def test_widest_windows_keep_their_start_below_the_minimum(pointwidth: int, first: int) -> None:
    stream = GrownStream()
    stream.insert([-5, 5], [1.0, 2.0])
    stream.flush()
    found = Summaries.concat(list(aligned_windows(stream.view(), stream.read, MIN, MAX - 1, pointwidth)))
    assert found.time.tolist() == [first, 0]
    below_zero = aligned_windows(stream.view(), stream.read, MIN, 1, pointwidth)
    assert list(Summaries.concat(list(below_zero))) == [(first, 1.0, 1.0, 1.0, 1, 0.0)]


def test_aligned_windows_of_a_range_inside_one_window_are_none() -> None:
    stream = published()
    assert list(aligned_windows(stream.view(), stream.read, BASE, BASE + 1, 40)) == []
    one = aligned_windows(stream.view(), stream.read, BASE, BASE + 1, 0)
    assert list(Summaries.concat(list(one))) == [(BASE, 1.0, 1.0, 1.0, 1, 0.0)]


def test_windows_wider_than_the_range_are_none() -> None:
    stream = published()
    assert list(windows(stream.view(), stream.read, BASE, BASE + 10, 11)) == []
    assert list(windows(stream.view(), stream.read, BASE, BASE + 10, 1 << 63)) == []


def test_empty_windows_are_zeros_and_the_last_one_is_there() -> None:
    stream = GrownStream()
    found = Summaries.concat(list(windows(stream.view(), stream.read, -10, 22, 10)))
    assert list(found) == [(t, 0.0, 0.0, 0.0, 0, 0.0) for t in (-10, 0, 10)]
    stream.insert([-5], [2.0])
    stream.flush()
    found = Summaries.concat(list(windows(stream.view(), stream.read, -10, 22, 10)))
    assert found.count.tolist() == [1, 0, 0]


def test_astronomically_many_windows_start_at_once() -> None:
    stream = GrownStream(Shape(4, 4, 0))
    stream.insert([MIN + 40_000, 0, MAX - 3], [1.0, 2.0, 3.0])
    stream.flush()
    view = stream.view()
    chunks = windows(view, stream.read, MIN, MAX - 1, 1)
    first = list(itertools.islice(chunks, 4))
    assert all(len(chunk) == window.SLAB for chunk in first)
    assert sum(int(c.count.sum()) for c in first) == 1
    assert first[2].count[40_000 - 2 * window.SLAB] == 1
    assert first[3].time[0] == MIN + 3 * window.SLAB
    chunks.close()
    aligned = Summaries.concat(list(aligned_windows(view, stream.read, MIN, MAX - 1, 0)))
    assert aligned.time.tolist() == [MIN + 40_000, 0, MAX - 3]


def test_empty_stretches_ask_nothing_of_the_disk() -> None:
    stream = GrownStream(Shape(4, 4, 0), cache_bytes=0)
    stream.insert([0, 1 << 50], [1.0, 2.0])
    stream.flush()
    chunks = windows(stream.view(), stream.read, 0, 1 << 50, 1)
    next(chunks)
    next(chunks)
    before = stream.read.reads
    for chunk in itertools.islice(chunks, 50):
        assert not chunk.count.any()
    assert stream.read.reads == before


@pytest.mark.parametrize("apart", [1, 3, 700])
def test_windows_that_chunks_cut_are_whole(apart: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 8 points and slabs of 16 windows, with windows of less than a point up to many chunks."""
    monkeypatch.setattr(leaves, "CHUNK_POINTS", 8)
    monkeypatch.setattr(window, "SLAB", 16)
    stream = GrownStream(Shape(8, 4, 0))
    stream.insert([i * apart + i % 2 for i in range(300)], [i * 0.1 for i in range(300)])
    stream.flush()
    stream.insert([5, 90 * apart], [7.0, 8.0])
    view = stream.view()
    for width in (1, 2 * apart, 3 * apart + 1, 50 * apart, 1000 * apart):
        start, end = -10 * width, min(300 * apart + 20 * width, 2000 * width)
        assert_same(windows(view, stream.read, start, end, width), stream.model.windows(start, end, width))


def test_exact_windows_read_at_most_one_leaf_per_edge() -> None:
    stream = GrownStream(Shape(16, 8, 0), cache_bytes=1 << 24)
    stream.insert(range(0, 30_000, 3), [float(i) for i in range(10_000)])
    stream.flush()
    view = stream.view()
    list(windows(view, stream.read, 5, 29_999, 997))
    before = stream.read.reads
    found = list(windows(view, stream.read, 5, 29_999, 997))
    assert 0 < stream.read.reads - before <= 31
    assert_same(found, stream.model.windows(5, 29_999, 997))


def test_aligned_windows_wider_than_leaves_read_none() -> None:
    stream = GrownStream(Shape(16, 8, 0), cache_bytes=1 << 24)
    stream.insert(range(10_000), [float(i) for i in range(10_000)])
    stream.flush()
    view = stream.view()
    list(aligned_windows(view, stream.read, 0, 10_000, 5))
    before = stream.read.reads
    found = list(aligned_windows(view, stream.read, 0, 10_000, 5))
    assert stream.read.reads == before
    assert_same(found, stream.model.aligned_windows(0, 10_000, 5))


def test_depth_reads_no_leaf_and_loses_no_point() -> None:
    stream = GrownStream(Shape(16, 8, 0), cache_bytes=1 << 24)
    stream.insert(range(4096), [float(i) for i in range(4096)])
    stream.flush()
    view = stream.view()
    list(windows(view, stream.read, 0, 4096, 100, 5))
    before = stream.read.reads
    found = Summaries.concat(list(windows(view, stream.read, 0, 4000, 100, 5)))
    assert stream.read.reads == before
    exact = stream.model.windows(0, 4000, 100)
    ahead = np.cumsum(found.count.astype(np.int64)) - np.cumsum([w.count for w in exact])
    assert (ahead >= 0).all()
    assert (ahead <= 32).all()
    assert ahead.any(), "the permission was used"


def test_depth_counts_no_point_twice_in_long_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "SLAB", 7)
    stream = GrownStream(Shape(16, 8, 0))
    stream.insert(range(3, 4096, 5), [1.0] * 819)
    stream.flush()
    found = Summaries.concat(list(windows(stream.view(), stream.read, 0, 4096, 16, 6)))
    assert found.count.sum() == 819


def test_depth_is_no_permission_where_summaries_are_wrong() -> None:
    stream = GrownStream(Shape(16, 8, 0))
    stream.insert(range(1000), [1.0] * 1000)
    stream.insert(range(1000), [3.0] * 1000)
    stream.flush()
    stream.delete(100, 300)
    for version in range(11, stream.model.version + 1):
        found = Summaries.concat(list(windows(stream.view(version), stream.read, 0, 1000, 250, 4)))
        expected = stream.model.windows(0, 1000, 250, version)
        assert abs(found.count.astype(int) - [w.count for w in expected]).max() <= 32
        assert found.mean.tolist() == pytest.approx([w.mean for w in expected], abs=0.2)


def test_stddev_is_stable_far_from_zero() -> None:
    rng = np.random.default_rng(3)
    times, values = range(20_000), 1e9 + rng.normal(0, 0.02, 20_000)
    stream = GrownStream(Shape(16, 8, 4))
    stream.insert(times, values.tolist())
    stream.flush()
    found = Summaries.concat(list(windows(stream.view(), stream.read, 0, 20_000, 20_000)))
    exact = stream.model.windows(0, 20_000, 20_000)[0]
    assert found.stddev[0] == pytest.approx(exact.stddev, rel=1e-6)
    assert found.mean[0] == pytest.approx(exact.mean, rel=1e-15)


def test_counters_keep_a_small_deviation_within_windows() -> None:
    stream = GrownStream(Shape(16, 8, 4))
    stream.insert(range(3000), [1e6 * (i // 30) + i % 3 for i in range(3000)])
    stream.flush()
    found = Summaries.concat(list(windows(stream.view(), stream.read, 0, 3000, 30)))
    assert found.stddev.tolist() == pytest.approx([math.sqrt(2 / 3)] * 100, rel=1e-6)


def test_the_same_query_is_bit_identical_whatever_is_cached() -> None:
    stream, rng = random_stream(11)
    cold, _ = random_stream(11)
    for _ in range(10):
        start, end = random_range(stream, rng)
        width = max(1, (end - start) // 70)
        a = Summaries.concat(list(windows(stream.view(), stream.read, start, end, width)))
        b = Summaries.concat(list(windows(cold.view(), cold.read, start, end, width)))
        assert a == b
        for name in Summaries.fields:
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
            assert getattr(a, name).flags.c_contiguous


def test_columns_have_the_promised_types() -> None:
    stream = published()
    for chunks in (
        windows(stream.view(), stream.read, BASE, BASE + 10**9, TENTH),
        aligned_windows(stream.view(), stream.read, BASE, BASE + 10**9, 27),
        aligned_windows(stream.view(), stream.read, MIN, MAX - 1, 62),
    ):
        found = next(chunks)
        assert found.time.dtype == np.int64
        assert found.count.dtype == np.uint64
        assert {getattr(found, n).dtype for n in ("min", "mean", "max", "stddev")} == {np.dtype("f8")}


@pytest.mark.parametrize("pointwidth", [-1, 64, 255])
def test_bad_point_widths_are_refused_at_the_call(pointwidth: int) -> None:
    stream = GrownStream()
    with pytest.raises(InvalidWidth, match=f"{pointwidth} is not within 0..63"):
        aligned_windows(stream.view(), stream.read, 0, 10, pointwidth)


@pytest.mark.parametrize(("width", "depth"), [(0, 0), (-1, 0), ((1 << 63) + 1, 0), (1, 64), (1, -1)])
def test_bad_widths_and_depths_are_refused_at_the_call(width: int, depth: int) -> None:
    stream = GrownStream()
    with pytest.raises(InvalidWidth):
        windows(stream.view(), stream.read, 0, 10, width, depth)


def test_bad_ranges_are_refused_at_the_call() -> None:
    stream = GrownStream()
    for start, end in ((MIN - 1, 0), (0, MAX + 1), (3, 3), (4, 3)):
        with pytest.raises(InvalidTimeRange):
            windows(stream.view(), stream.read, start, end, 1)
        with pytest.raises(InvalidTimeRange):
            aligned_windows(stream.view(), stream.read, start, end, 1)
