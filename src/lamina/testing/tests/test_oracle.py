"""The model itself, against the contract's own examples."""

from __future__ import annotations

import pytest

from lamina.testing.oracle import MAX, MIN, StreamModel

BASE = 1_500_000_000_000_000_000


def published() -> StreamModel:
    model = StreamModel()
    model.insert([BASE + i * 100_000_000 for i in range(10)], [i + 1.0 for i in range(10)])
    return model


def test_published_aligned_example() -> None:
    found = published().aligned_windows(BASE, BASE + 10**9, 28)
    assert [(w.time, w.min, w.mean, w.max, w.count) for w in found] == [
        (1499999999814008832, 1, 1, 1, 1),
        (1500000000082444288, 2, 3, 4, 3),
        (1500000000350879744, 5, 6, 7, 3),
        (1500000000619315200, 8, 8.5, 9, 2),
    ]
    assert [w.stddev for w in found] == pytest.approx([0, 0.816496580927726, 0.816496580927726, 0.5])


def test_published_window_example_drops_the_rest_at_the_end() -> None:
    found = published().windows(BASE, BASE + 10**9, 300_000_000)
    assert [(w.min, w.mean, w.max, w.count) for w in found] == [(1, 2, 3, 3), (4, 5, 6, 3), (7, 8, 9, 3)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("never", [(1, 1.0), (1, 1.0), (1, 1.0), (1, 2.0), (1, 2.0), (2, 5.0), (3, 7.0)]),
        ("equal", [(1, 1.0), (1, 1.0), (1, 2.0), (2, 5.0), (3, 7.0)]),
        ("retain", [(1, 1.0), (1, 1.0), (2, 5.0), (3, 7.0)]),
        ("replace", [(1, 2.0), (2, 5.0), (3, 7.0)]),
    ],
)
def test_policies(policy: str, expected: list[tuple[int, float]]) -> None:
    model = StreamModel()
    model.insert([1, 1, 3], [1.0, 1.0, 7.0])
    assert model.insert([2, 1, 1, 1], [5.0, 1.0, 2.0, 2.0], policy) == 12
    assert model.at() == expected


def test_versions_are_kept_and_deletes_always_make_one() -> None:
    model = StreamModel()
    assert model.insert([], []) == 10
    assert model.insert([1, 5], [1.0, 2.0]) == 11
    assert model.delete(2, 6) == 12
    assert model.delete(2, 6) == 13
    assert [model.count(MIN, MAX, version) for version in (10, 11, 12, 13, 0)] == [0, 2, 1, 1, 1]
    assert model.changed_times(11) == [5]
    assert model.changed_times(12) == []


def test_nearest_prefers_the_first_stored_forward_and_the_last_backward() -> None:
    model = StreamModel()
    model.insert([5, 5], [1.0, 2.0])
    assert model.nearest(5, backward=False) == (5, 1.0)
    assert model.nearest(6, backward=True) == (5, 2.0)
    assert model.nearest(5, backward=True) is None


@pytest.mark.parametrize("wrong", [[(0, 4)], [(0, 8), (8, 16)], [(4, 6)], [(0, 4), (2, 8)], []])
def test_wrong_changed_ranges_are_refused(wrong: list[tuple[int, int]]) -> None:
    model = StreamModel()
    model.insert([1, 5], [1.0, 2.0])
    with pytest.raises(AssertionError):
        model.check_changes(wrong, 10, 11, 2)
    model.check_changes([(0, 8)], 10, 11, 2)
