"""Merging, against a list of points: content and rules of every root that was ever made."""

from __future__ import annotations

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest

from lamina.codecs.values import ValueCodec, learn
from lamina.streams.node import BIAS, INNER, LEAF, NO_ROWS, TOMBSTONE, Rows
from lamina.streams.tests.walk import changed_ranges, check, content, walk
from lamina.streams.tree import Shape, merge
from lamina.streams.view import Removal
from lamina.testing import data
from lamina.testing.blocks import MemoryBlocks


class Kept(NamedTuple):
    version: int
    root: Rows
    times: np.ndarray
    values: np.ndarray
    added: np.ndarray  # version of each point, where this merge recorded it; else 0
    touched: np.ndarray  # times this merge added or removed


class Model:
    """A tree and the plain arrays it has to equal."""

    def __init__(self, leaf_points: int = 2048, node_rows: int = 64, delta_points: int | None = None) -> None:
        delta = leaf_points // 4 if delta_points is None else delta_points
        self.shape = Shape(leaf_points, node_rows, delta)
        self.read = MemoryBlocks()
        self.kept = [Kept(10, NO_ROWS, *(np.empty(0, t) for t in ("i8", "f8", "u8", "i8")))]
        self.codec = ValueCodec()

    @property
    def version(self) -> int:
        return self.kept[-1].version

    @property
    def root(self) -> Rows:
        return self.kept[-1].root

    def merge(self, times=(), values=None, removals=(), versions=None) -> Rows:
        """`removals`: (start, end) or arrays of times; `versions`: offsets from the next one, None = one for all."""
        times = np.asarray(times, np.int64)
        values = np.arange(len(times)) % 97 / 4 if values is None else np.asarray(values, float)
        last = self.kept[-1]
        first = last.version + 1
        pending = []
        for r in removals:
            if isinstance(r, tuple):
                pending.append(Removal(first, *r))
            else:
                distinct = np.unique(r)
                pending.append(Removal(first, int(distinct[0]), int(distinct[-1]) + 1, distinct))
            first += 1
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        given: int | np.ndarray = first
        if versions is not None:
            given = (np.asarray(versions)[order] + first).astype(np.uint64)
        out = self.read.segment()
        root = merge(
            last.root,
            times,
            values,
            given,
            pending,
            out=out,
            read=self.read,
            shape=self.shape,
            codec=self.codec,
        )
        out.finish()
        gone = np.zeros(len(last.times), bool)
        for r in pending:
            if r.times is None:
                gone |= (last.times >= r.start) & (last.times < r.end)
            else:
                gone |= np.isin(last.times, r.times)
        all_times = np.concatenate([last.times[~gone], times])
        all_values = np.concatenate([last.values[~gone], values])
        added = np.zeros(len(all_times), np.uint64)
        if versions is not None:
            added[len(all_times) - len(times) :] = given
        order = np.argsort(all_times, kind="stable")
        touched = np.concatenate([last.times[gone], times])
        version = int(np.max(given)) if len(times) else first - 1
        self.kept.append(Kept(version, root, all_times[order], all_values[order], added[order], touched))
        return root

    def check(self, only_last: bool = False) -> None:
        for kept in self.kept[-1:] if only_last else self.kept:
            check(kept.root, self.read, *self.shape[:2])
            found = content(kept.root, self.read)
            np.testing.assert_array_equal(found.times, kept.times)
            np.testing.assert_array_equal(found.values, kept.values)
            new = kept.added > 0
            np.testing.assert_array_equal(found.versions[new], kept.added[new])

    def check_changes(self) -> None:
        """Every change after v lies in a row of a version above v, at every root and for every v before."""
        for i, later in enumerate(self.kept):
            if not len(later.root):
                continue
            rows = walk(later.root, self.read)[0]
            t0 = np.array([int(r["t0"]) for r in rows])
            ends = t0 + np.array([1 << int(r["pw"]) for r in rows])
            row_versions = np.array([int(r["version"]) for r in rows])
            for j, earlier in enumerate(self.kept[:i]):
                touched = np.concatenate([k.touched for k in self.kept[j + 1 : i + 1]])
                at = np.maximum(t0.searchsorted(touched, "right") - 1, 0)
                assert (touched < ends[at]).all()
                assert (row_versions[at] > earlier.version).all()


SHAPES = [(4, 4), (4, 64), (16, 4), (16, 8), (100, 8), (100, 64), (2048, 64), (2048, 4)]


@pytest.mark.parametrize("seed", range(16))
def test_random_merges_equal_a_plain_list_at_every_version(seed):
    random = np.random.default_rng(seed)
    model = Model(*SHAPES[seed % len(SHAPES)], delta_points=0 if seed % 3 == 0 else None)
    n = int(random.choice([300, 3000])) if model.shape.leaf_points < 2048 else 12_000
    times = data.times(["jittered", "poisson"][seed % 2], n, seed=seed) + BIAS
    times[random.integers(0, n, n // 20)] = times[n // 3]
    values = np.round(random.normal(0, 10, n), 2)
    if seed % 4 < 2:
        order = random.permutation(n)
    else:
        order = np.argsort(times + random.integers(0, 10**8, n))
    cuts = np.sort(random.integers(0, n, int(random.integers(3, 12))))
    for part in np.split(order, cuts):
        removals = []
        if random.random() < 0.4:
            a, b = np.sort(random.choice(times, 2, replace=False))
            removals.append((int(a), int(b) + int(random.integers(1, 1000))))
        if random.random() < 0.3:
            removals.append(random.choice(times, int(random.integers(1, 40))))
        versions = np.sort(random.integers(0, 5, len(part))) if random.random() < 0.5 else None
        if len(part) or removals:
            model.merge(times[part], values[part], removals, versions)
            model.check(only_last=True)
    model.check()
    model.check_changes()


def test_points_in_order_are_written_in_less_memory_than_a_third_of_their_own():
    n = 200_000
    times, values = data.times("jittered", n) + BIAS, data.values("voltage", n)
    model = Model()
    out = model.read.segment()
    tracemalloc.start()
    try:
        args = {"out": out, "read": model.read, "shape": model.shape, "codec": learn(values)}
        merge(NO_ROWS, times, values, 11, [], **args)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    written = sum(len(block) for block in out._written.values())
    assert peak - written < n * 16 * 0.3


def test_leaves_of_dense_data_are_at_least_half_full():
    model = Model()
    for part in np.split(data.times("jittered", 100_000) + BIAS, 10):
        model.merge(part)
    model.check()
    counts = [int(r["count"]) for r in walk(model.root, model.read)[0]]
    assert np.mean(counts) > 0.48 * 2048
    inner = [r for r in walk(model.root, model.read)[1] if r["kind"] == INNER]
    assert sum(int(r["base"]["length"]) for r in inner) < 0.12 * 100_000


def test_a_late_point_in_a_full_leaf_does_not_split_it():
    model = Model(100, 8, delta_points=0)
    model.merge(np.arange(100) * 2)
    for i in range(25):
        model.merge([2 * i + 1])
    assert len(walk(model.root, model.read)[0]) == 1
    model.merge([99])
    assert len(walk(model.root, model.read)[0]) > 1
    model.check()


def test_late_points_rewrite_only_the_delta_until_it_is_half_the_base():
    model = Model(100, 8, delta_points=25)
    model.merge(np.arange(48) * 2)
    base = model.root["base"][0].copy()
    for i in range(24):
        model.merge([2 * i + 1])
        assert model.root["delta_count"][0] == i + 1
        assert model.root["base"][0] == base
    model.merge([95])
    assert model.root["delta_count"][0] == 0
    assert model.root["base"][0] != base
    model.check()


def test_a_delta_is_written_without_reading_the_base():
    model = Model()
    model.merge(data.times("jittered", 30_000) + BIAS)
    before = model.read.blocks_read
    model.merge([model.kept[-1].times[15_000] + 1])
    blocks = model.read.blocks_read - before
    model.check(only_last=True)
    assert blocks == 1  # the absent delta, of length 0


def test_equal_times_stay_in_insertion_order_stored_ones_first():
    model = Model(16, 4)
    model.merge([5, 5, 5], [1, 2, 3])
    model.merge([5, 4, 5], [4, 5, 6])
    model.merge(np.full(40, 5), np.arange(40))
    model.check()
    assert content(model.root, model.read).values[:8].tolist() == [5, 1, 2, 3, 4, 6, 0, 1]


def test_a_window_of_one_nanosecond_holds_any_number_of_points():
    model = Model(16, 4)
    model.merge([7] * 100 + [8] * 3)
    model.merge([7] * 50)
    model.check()
    [row] = [r for r in walk(model.root, model.read)[0] if r["count"] == 150]
    assert (row["t0"], row["pw"]) == (7, 0)


def test_both_ends_of_time_can_be_stored_and_removed():
    first, last = 0, (1 << 62) - 2
    model = Model(4, 4)
    model.merge([first, last])
    model.merge([first, last, 1 << 61, (1 << 61) - 1] * 3)
    model.merge([1, last - 1])
    model.merge(removals=[(0, 1), (last, last + 1)])
    model.merge([first, last])
    model.check()
    model.check_changes()


def test_a_merge_without_effect_returns_the_same_root_and_writes_nothing():
    model = Model(16, 4)
    model.merge(np.arange(100) * 10)
    root = model.root
    again = model.merge(removals=[(1001, 5000), np.array([5, 15, 991])])
    assert again is root
    assert not model.read.segments[2]
    assert len(model.merge()) == 1
    leaf = Model(16, 4)
    root = leaf.merge([10, 20])
    assert leaf.merge(removals=[(11, 20)]) is root
    empty = Model(16, 4)
    assert len(empty.merge(removals=[(0, 100)])) == 0


def test_covered_rows_become_tombstones_without_reading_a_leaf():
    model = Model(16, 4)
    model.merge(np.arange(4096))
    before = model.read.blocks_read
    model.merge(removals=[(1024, 2048)])
    assert model.read.blocks_read == before
    model.check()
    tombstones = [r for r in walk(model.root, model.read)[0] if r["kind"] == TOMBSTONE]
    assert [(int(r["t0"]), int(r["pw"]), int(r["version"])) for r in tombstones] == [(1024, 10, model.version)]
    model.check_changes()


def test_removing_everything_leaves_a_tree_of_tombstones_that_takes_points_again():
    model = Model(16, 4)
    times = data.times("jittered", 2000) + BIAS
    model.merge(times)
    model.merge(removals=[(0, 1 << 62)])
    assert model.root["count"][0] == 0
    assert changed_ranges(model.root, model.read, model.version - 1)[-1][1] < 1 << 62
    model.check()
    model.merge(times[:1000])
    model.check()
    model.merge(removals=[times])
    model.merge([int(times[-1]) + (1 << 40)])
    model.check()
    model.check_changes()


def test_a_stream_of_one_leaf_can_be_emptied():
    model = Model(16, 4)
    model.merge([1, 2, 3])
    model.merge(removals=[np.array([1, 2, 3])])
    assert model.root["kind"][0] == TOMBSTONE
    model.merge([2])
    assert model.root["kind"][0] == LEAF
    before = model.read.blocks_read
    model.merge(removals=[(0, 1 << 62)])
    assert model.read.blocks_read == before
    model.check()
    model.check_changes()


def test_neighbouring_tombstones_of_one_removal_become_one():
    model = Model(16, 8)
    model.merge(np.arange(128))
    model.merge(removals=[(32, 64)])
    model.merge(removals=[(64, 80)])
    model.merge(removals=[(80, 96)])
    model.check()
    tombstones = [r for r in walk(model.root, model.read)[0] if r["kind"] == TOMBSTONE]
    assert [(int(r["t0"]), int(r["pw"])) for r in tombstones] == [(32, 5), (64, 4), (80, 4)]


def test_halves_of_a_window_in_two_nodes_are_emptied_together():
    model = Model(16, 4)
    model.merge(np.arange(1024))
    model.merge(removals=[(64, 80), (80, 96), (96, 112), (112, 200)])
    model.check()
    model.merge(np.arange(64, 200, 3))
    model.check()
    model.check_changes()


def test_removals_are_applied_to_stored_points_only():
    model = Model(16, 4)
    model.merge(np.arange(100), np.zeros(100))
    model.merge(np.arange(20, 30), np.ones(10), removals=[(10, 50)])
    model.check()
    assert content(model.root, model.read).values.sum() == 10
    assert model.root["count"][0] == 70
    model.check_changes()


def test_a_removal_stays_visible_when_the_leaf_around_it_is_split_later():
    model = Model(16, 4)
    model.merge(np.arange(0, 1600, 100))
    model.merge(removals=[(0, 1000)])
    deleted = model.version
    for i in range(30):
        model.merge(np.arange(10) + 1500 + 10 * i)
    model.check()
    model.check_changes()
    ranges = changed_ranges(model.root, model.read, deleted - 1)
    assert any(a <= 100 < b for a, b in ranges)


def test_a_retention_of_many_steps_keeps_the_tree_small():
    model = Model(16, 8)
    times = np.arange(20_000)
    model.merge(times)
    for start in range(0, 20_000, 100):
        model.merge(removals=[(start, start + 100)])
    model.check(only_last=True)
    assert len(walk(model.root, model.read)[1]) < 60


def test_changes_do_not_cover_what_did_not_change():
    model = Model(100, 8)
    model.merge(np.arange(100_000))
    model.merge([50_000])
    [(start, end)] = changed_ranges(model.root, model.read, model.version - 1)
    assert start <= 50_000 < end
    assert end - start <= 128


def test_points_of_one_merge_keep_their_versions_in_base_and_delta():
    model = Model(100, 8)
    model.merge(np.arange(0, 160, 2), versions=np.arange(80) % 7)
    model.merge([1, 3, 3, 5], versions=[0, 1, 1, 2])
    assert model.root["delta_count"][0] == 4
    model.merge(np.arange(1, 160, 2), versions=np.arange(80) // 20)
    model.check()
    found = content(model.root, model.read)
    assert (found.versions[np.isin(found.times, np.arange(0, 160, 2))] == 0).all()
