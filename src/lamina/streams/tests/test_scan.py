"""Raw points: what the model holds, in order, lazily."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.columns import Samples
from lamina.errors import Corrupt, InvalidTimeRange
from lamina.streams import leaves, scan
from lamina.streams.node import BIAS
from lamina.streams.scan import raw
from lamina.streams.tree import Shape
from lamina.testing.grown import GrownStream, random_range, random_stream
from lamina.testing.oracle import MAX, MIN


def points(stream: GrownStream, start: int, end: int, version: int = 0) -> list[tuple[int, float]]:
    chunks = list(raw(stream.view(version), stream.read, start, end))
    assert all(len(chunk) for chunk in chunks), "no chunk is empty"
    return list(Samples.concat(chunks))


@pytest.mark.parametrize("seed", range(60))
def test_every_version_gives_what_the_model_holds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", 50)
    stream, rng = random_stream(seed)
    for version in range(10, stream.model.version + 1):
        start, end = random_range(stream, rng)
        assert points(stream, start, end, version) == stream.model.raw(start, end, version)
        assert points(stream, MIN, MAX - 1, version) == stream.model.at(version)


@pytest.mark.parametrize("seed", range(30))
def test_in_one_piece_it_is_what_the_chunks_hold(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", 50)
    monkeypatch.setattr(leaves, "SCAN_LEAVES", 3)
    stream, rng = random_stream(seed)
    for version in range(10, stream.model.version + 1):
        view = stream.view(version)
        for start, end in (random_range(stream, rng), (MIN, MAX - 1)):
            chunks = Samples.concat(list(raw(view, stream.read, start, end)))
            assert scan.whole(view, stream.read, start, end) == chunks


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=12),
            st.tuples(st.integers(0, 40), st.integers(1, 40)),
            st.none(),
        ),
        max_size=10,
    ),
    st.sampled_from(["never", "equal", "retain", "replace"]),
    st.sampled_from([MIN, -20, MAX - 2 - 80]),
)
def test_any_history_reads_back(changes: list, policy: str, low: int) -> None:
    stream = GrownStream(Shape(4, 4, 2), cache_bytes=0)
    for change in changes:
        if change is None:
            stream.flush()
        elif isinstance(change, tuple):
            stream.delete(low + change[0], low + change[0] + change[1])
        else:
            stream.insert([low + t for t, _ in change], [float(v) for _, v in change], policy)
    for version in range(10, stream.model.version + 1):
        assert points(stream, MIN, MAX - 1, version) == stream.model.at(version)
        assert points(stream, low + 3, low + 30, version) == stream.model.raw(low + 3, low + 30, version)


def test_equal_times_keep_insertion_order_across_tree_and_buffer() -> None:
    stream = GrownStream(Shape(4, 4, 2))
    for value in range(30):
        stream.insert([7], [float(value)])
        if value in (9, 10, 20):
            stream.flush()
    assert points(stream, 7, 8) == [(7, float(v)) for v in range(30)]


def test_equal_times_keep_insertion_order_across_base_and_delta() -> None:
    stream = GrownStream(Shape(200, 4, 50))
    stream.insert(sorted([*range(30)] * 4), [float(i) for i in range(120)])
    stream.flush()
    stream.insert(sorted([*range(20)] * 2), [float(-i) for i in range(40)])
    stream.flush()
    assert stream.roots[-1][1]["delta_count"] == 40
    assert points(stream, MIN, MAX - 1) == stream.model.at()


def test_points_behind_a_removal_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", 50)
    stream = GrownStream(Shape(16, 8, 0))
    stream.insert(range(4096), [1.0] * 4096)
    stream.delete(992, 2048)
    assert points(stream, 1000, 2100) == stream.model.raw(1000, 2100)


def test_a_stream_without_points_gives_nothing() -> None:
    assert points(GrownStream(), MIN, MAX - 1) == []


def test_first_chunk_reads_a_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", 64)
    stream = GrownStream(Shape(16, 4, 4))
    stream.insert(range(5000), [1.0] * 5000)
    stream.flush()
    chunks = raw(stream.view(), stream.read, 0, 5000)
    first = next(chunks)
    assert 0 < len(first) <= 64
    assert stream.read.bytes_read < len(stream.blobs.read("1", [(0, stream.blobs.size("1"))])[0]) / 2
    chunks.close()
    assert all(len(chunk) <= 64 for chunk in raw(stream.view(), stream.read, 0, 5000))


def test_chunks_stay_bounded_for_a_large_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", 10)
    stream = GrownStream()
    stream.insert([5] * 30 + list(range(100)), [0.0] * 130)
    sizes = [len(chunk) for chunk in raw(stream.view(), stream.read, MIN, MAX - 1)]
    assert sum(sizes) == 130
    assert sorted(sizes)[-2:] == [10, 31]  # equal times are not torn apart


def test_results_are_not_overwritten_by_later_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK", 8)
    stream = GrownStream(Shape(4, 4, 0))
    stream.insert(range(100), [float(i) for i in range(100)])
    stream.flush()
    view = stream.view()
    kept = list(raw(view, stream.read, 0, 100))
    list(raw(view, stream.read, 50, 100))
    assert [p for chunk in kept for p in chunk] == stream.model.at()
    assert view.times.tolist() == []


def test_reading_leaves_the_buffer_as_it_was() -> None:
    stream = GrownStream()
    stream.insert([1, 2, 3], [1.0, 2.0, 3.0])
    view = stream.view()
    for _ in range(2):
        assert list(Samples.concat(list(raw(view, stream.read, 1, 3)))) == [(1, 1.0), (2, 2.0)]
    assert (view.times - BIAS).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (MIN - 1, 0, "time range out of bounds"),
        (0, MAX + 1, "time range out of bounds"),
        (5, 5, "start time >= end time"),
        (6, 5, "start time >= end time"),
        (MAX - 1, MAX, "start time >= end time"),
    ],
)
def test_bad_ranges_are_refused_at_the_call(start: int, end: int, text: str) -> None:
    stream = GrownStream()
    with pytest.raises(InvalidTimeRange, match=text):
        raw(stream.view(), stream.read, start, end)


def test_end_at_the_maximum_is_taken_as_the_last_legal_one() -> None:
    stream = GrownStream()
    stream.insert([MIN, MAX - 2], [1.0, 2.0])
    for _ in range(2):
        for end in (MAX, MAX - 1):
            assert points(stream, MIN, end) == [(MIN, 1.0), (MAX - 2, 2.0)]
        stream.flush()


def test_damage_in_one_leaf_fails_reads_that_need_it_and_no_others() -> None:
    stream = GrownStream(Shape(64, 4, 0))
    stream.insert(range(1000), np.random.default_rng(1).normal(size=1000).tolist())
    stream.flush()
    list(raw(stream.view(), stream.read, 0, 1000))
    content = bytearray(stream.blobs.read("1", [(0, stream.blobs.size("1"))])[0])
    content[200] ^= 1  # within the first leaf
    stream.blobs.delete("1")
    writer = stream.blobs.create("1")
    writer.append([content])
    writer.finish()
    with pytest.raises(Corrupt, match="CRC32C"):
        points(stream, 0, 10)
    assert points(stream, 500, 1000) == stream.model.raw(500, 1000)


def test_buffered_points_between_and_beyond_stored_ones_come_in_order() -> None:
    for late in itertools.permutations([-5, 5, 15, 25]):
        stream = GrownStream(Shape(2, 4, 0))
        stream.insert([0, 10, 20], [0.0, 1.0, 2.0])
        stream.flush()
        stream.insert(late, [9.0] * 4)
        assert points(stream, -6, 26) == stream.model.raw(-6, 26)
