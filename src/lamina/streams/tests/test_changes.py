"""Changed ranges: complete, of the promised form, and not wider than the tree's windows."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.errors import InvalidWidth
from lamina.streams.changes import changed_ranges
from lamina.streams.node import BIAS, NO_ROWS
from lamina.streams.tree import Shape
from lamina.testing.grown import GrownStream, random_stream
from lamina.testing.oracle import MAX, MIN


@pytest.mark.parametrize("seed", range(60))
def test_every_change_since_every_version_is_covered(seed: int) -> None:
    stream, rng = random_stream(seed)
    roots = [*stream.roots, (stream.model.version, stream.roots[-1][1])]
    for i, (to_version, root) in enumerate(roots):
        for from_version in range(to_version + 1):
            if from_version and rng.random() < 0.5:
                continue
            resolution = rng.randrange(64)
            pending = stream.pending(from_version) if i == len(roots) - 1 else None
            found = changed_ranges(root, stream.read, from_version, resolution, pending)
            stream.model.check_changes(list(found), from_version, to_version, resolution)


def test_nothing_changed_gives_no_range() -> None:
    stream = GrownStream()
    assert len(changed_ranges(NO_ROWS, stream.read, 0, 0)) == 0
    version = stream.insert([1, 2], [1.0, 2.0])
    stream.flush()
    assert len(changed_ranges(stream.roots[-1][1], stream.read, version, 0)) == 0
    assert len(changed_ranges(stream.roots[-1][1], stream.read, version - 1, 0)) == 1


def test_a_late_point_changes_the_window_of_its_leaf_only() -> None:
    stream = GrownStream(Shape(16, 8, 0))
    before = stream.insert(range(4096), [1.0] * 4096)
    stream.flush()
    stream.insert([1000], [2.0])
    stream.flush()
    [(start, end)] = changed_ranges(stream.roots[-1][1], stream.read, before, 0)
    assert start <= 1000 < end
    assert end - start <= 32


def test_a_deletion_is_a_change_also_after_the_flush() -> None:
    stream = GrownStream(Shape(16, 8, 0))
    before = stream.insert(range(4096), [1.0] * 4096)
    stream.delete(1024, 2048)
    stream.flush()
    found = list(changed_ranges(stream.roots[-1][1], stream.read, before, 0))
    assert found[0][0] <= 1024
    assert found[-1][1] >= 2048
    assert sum(end - start for start, end in found) < 2048


def test_coarse_resolutions_do_not_read_fine_nodes() -> None:
    stream = GrownStream(Shape(4, 4, 0), cache_bytes=0)
    stream.insert(range(4096), [1.0] * 4096)
    stream.flush()
    before = stream.read.bytes_read
    assert list(changed_ranges(stream.roots[-1][1], stream.read, 0, 12)) == [(0, 4096)]
    coarse = stream.read.bytes_read - before
    assert list(changed_ranges(stream.roots[-1][1], stream.read, 0, 0)) == [(0, 4096)]
    assert stream.read.bytes_read - before - coarse > 10 * coarse


@pytest.mark.parametrize("resolution", range(64))
def test_edges_are_multiples_cut_to_the_legal_range(resolution: int) -> None:
    read = GrownStream().read
    times = np.array([MAX - 2, -1, MIN, 0, 1 << 60]) + BIAS
    width = 1 << resolution
    expected = set()
    for start in times.tolist():
        low = (start - BIAS) >> resolution << resolution
        expected.add((max(low, MIN), min(low + width, MAX)))
    found = list(changed_ranges(NO_ROWS, read, 0, resolution, (times, times + 1)))
    covered = sorted(expected)
    joined = [covered[0]]
    for start, end in covered[1:]:
        if start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    assert found == joined


@pytest.mark.parametrize("resolution", [-1, 64])
def test_bad_resolutions_are_refused(resolution: int) -> None:
    with pytest.raises(InvalidWidth, match="resolution"):
        changed_ranges(NO_ROWS, GrownStream().read, 0, resolution)
