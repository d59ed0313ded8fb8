"""Wide joins go through time in slices, so that memory does not grow with the number of streams."""

from itertools import pairwise

from lamina.faces.btrdb.service import joins


class View:
    """A stream with 1,000 points a unit of time."""

    def count(self, start, end):
        return 1000 * (end - start)


def test_a_wide_join_is_cut_into_slices_that_cover_the_range_in_order():
    views = [View()] * 100
    slices = list(joins._slices(views, 0, 1000))
    assert slices[0][0] == 0
    assert slices[-1][1] == 1000
    assert all(a[1] == b[0] for a, b in pairwise(slices))
    assert all(sum(v.count(*part) for v in views) <= joins._SLICE_POINTS for part in slices)
    assert len(slices) < 100


def test_a_narrow_join_and_an_instant_stay_whole():
    assert list(joins._slices([View()] * 3, 0, 10**9)) == [(0, 10**9)]
    assert list(joins._slices([View()] * 100_000, 5, 6)) == [(5, 6)]
