import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.streams.node import ROW
from lamina.streams.removals import Ranges
from lamina.streams.view import Removal

RANGES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda r: (r[0], r[0] + r[1])),
        st.lists(st.integers(0, 70), min_size=1, max_size=5).map(lambda t: np.unique(np.array(t, np.int64))),
    ),
    max_size=5,
)


def removal(version, what):
    if isinstance(what, tuple):
        return Removal(version, *what)
    return Removal(version, int(what[0]), int(what[-1]) + 1, what)


def taken(r, t):
    return r.start <= t < r.end if r.times is None else t in r.times


@given(RANGES)
def test_ranges_take_what_any_removal_takes(whats):
    removals = [removal(11 + i, what) for i, what in enumerate(whats)]
    times = np.arange(100)
    expected = [any(taken(r, t) for r in removals) for t in times]
    assert Ranges(removals).takes(times).tolist() == expected


@given(RANGES, st.integers(0, 6))
def test_rows_are_hit_covered_and_versioned_as_point_by_point(whats, pw):
    removals = [removal(11 + i, what) for i, what in enumerate(whats)]
    rows = np.zeros(96 >> pw, ROW)
    rows["t0"], rows["pw"] = np.arange(len(rows)) << pw, pw
    hit, covered, versions = Ranges(removals).hits(rows)
    for i, row in enumerate(rows):
        inside = range(int(row["t0"]), int(row["t0"]) + (1 << pw))
        assert hit[i] == any(taken(r, t) for r in removals for t in inside)
        assert covered[i] == all(any(taken(r, t) for r in removals) for t in inside)
        largest = max((r.version for r in removals if any(taken(r, t) for t in inside)), default=0)
        assert versions[i] >= largest  # touching ranges join and share the larger version
        assert versions[i] == 0 or hit[i]
        assert versions[i] <= 10 + len(removals)
