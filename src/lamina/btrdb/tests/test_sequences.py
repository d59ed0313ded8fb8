"""Points as lists and tuples: whatever a program does to them, they behave as the builtin of the same objects."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.btrdb.point import RawPoint, StatPoint
from lamina.btrdb.sequences import PointList, PointTuple, RowList
from lamina.columns import Samples, Summaries

VALUES = [0.0, -1.5, 2.25, 2.25, 7.0]


def samples(n):
    return Samples(np.arange(n) * 10, np.resize(np.array(VALUES), n))


def summaries(n):
    f8 = np.arange(n, dtype=float)
    return Summaries(np.arange(n) * 10, f8, f8 + 1, f8 + 2, np.arange(n, dtype=np.uint64), f8 / 2)


def as_list(n, version=11):
    plain = [(RawPoint(i * 10, VALUES[i % 5]), version) for i in range(n)]
    return PointList(samples(n), RawPoint, version), plain


def as_tuple(n, version=11):
    plain = tuple((StatPoint(i * 10, float(i), i + 1.0, i + 2.0, i, i / 2), version) for i in range(n))
    return PointTuple(summaries(n), StatPoint, version), plain


@pytest.fixture(params=[as_list, as_tuple])
def make(request):
    return request.param


def outcome(call):
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize(
    "do",
    [
        len, list, tuple, repr, bool,
        lambda p: p[0], lambda p: p[-1], lambda p: p[7], lambda p: p[-7], lambda p: p[np.int64(0)], lambda p: p["a"],
        lambda p: p[1:3], lambda p: p[::-1], lambda p: p[5:], lambda p: p[::2][0:1],
        lambda p: [*p], lambda p: list(reversed(p)), lambda p: list(zip(p, p, strict=True)),
        lambda p: [point.time for point, version in p],
        lambda p: p + p, lambda p: p * 2, lambda p: 2 * p, lambda p: p + type(p[0:0] * 1)(),
        lambda p: p.index(p[0]), lambda p: p.count(p[0]), lambda p: p[0] in p, lambda p: 5 in p,
        lambda p: p == p[:], lambda p: p == p[1:], lambda p: p == 5, lambda p: p != 5, lambda p: p == [],
        lambda p: p == (),
        lambda p: p == list(p), lambda p: p == tuple(p), lambda p: list(p) == p, lambda p: tuple(p) == p,
        lambda p: pickle.loads(pickle.dumps(p)), lambda p: sorted(p, key=lambda item: -item[0].time), max,
    ],
)  # fmt: skip
def test_it_behaves_as_the_builtin(make, n, do):
    ours, plain = make(n)
    expected, found = outcome(lambda: do(plain)), outcome(lambda: do(ours))
    if isinstance(expected, tuple) and expected and isinstance(expected[0], type):
        assert found[0] is expected[0]
        return
    assert found == expected
    assert expected == found


def test_a_list_is_not_a_tuple():
    assert PointList(samples(0), RawPoint) == []
    assert PointList(samples(0), RawPoint) != ()
    assert PointTuple(summaries(0), StatPoint) == ()
    assert PointTuple(summaries(0), StatPoint) != []
    assert PointList(samples(3), RawPoint) != PointTuple(samples(3), RawPoint)


def test_neither_can_be_a_key(make):
    for sequence in make(3):
        with pytest.raises(TypeError, match="unhashable"):
            hash(sequence)


def test_versions_and_kinds_of_points_count_for_equality():
    assert PointList(samples(2), RawPoint, 11) != PointList(samples(2), RawPoint, 12)
    assert PointList(samples(2), RawPoint, 11) != PointList(samples(2), RawPoint)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 3)),
        st.tuples(st.just("insert"), st.integers(-4, 4), st.integers(0, 3)),
        st.tuples(st.just("pop")),
        st.tuples(st.just("pop"), st.integers(-4, 4)),
        st.tuples(st.just("extend"), st.lists(st.integers(0, 3), max_size=3)),
        st.tuples(st.just("remove"), st.integers(0, 3)),
        st.tuples(st.just("reverse")),
        st.tuples(st.just("clear")),
        st.tuples(st.just("__setitem__"), st.integers(-4, 4), st.integers(0, 3)),
        st.tuples(st.just("__delitem__"), st.integers(-4, 4)),
        st.tuples(st.just("copy")),
        st.tuples(st.just("sort")),
    ),
    max_size=6,
)


def item(number):
    return (RawPoint(number * 10, VALUES[number]), 11)


@given(n=st.integers(0, 5), changes=CHANGES)
def test_a_list_changes_as_a_list(n, changes):
    ours, plain = as_list(n)
    for name, *arguments in changes:
        if name == "copy":
            ours, plain = ours.copy(), plain.copy()
            continue
        if name == "sort":
            ours.sort(key=lambda each: each[0].value, reverse=True)
            plain.sort(key=lambda each: each[0].value, reverse=True)
            continue
        if name in ("append", "insert", "remove", "__setitem__"):
            arguments[-1] = item(arguments[-1])
        if name == "extend":
            arguments = [[item(number) for number in arguments[0]]]
        expected = outcome(lambda plain=plain, name=name, a=arguments: getattr(plain, name)(*a))
        found = outcome(lambda ours=ours, name=name, a=arguments: getattr(ours, name)(*a))
        if isinstance(expected, tuple) and expected and isinstance(expected[0], type):
            assert found[0] is expected[0]
        else:
            assert found == expected
        assert ours == plain
        assert len(ours) == len(plain)
        assert list(ours) == plain
    assert ours.columns.time.tolist() == [point.time for point, _ in plain]
    assert ours.columns.value.tolist() == [point.value for point, _ in plain]


def test_no_object_is_made_until_one_is_looked_at(monkeypatch):
    made = []

    class Counted(RawPoint):
        def __init__(self, *fields):
            made.append(1)
            super().__init__(*fields)

    points = PointList(samples(1000), Counted, 11)
    assert len(points) == 1000
    assert points[10:20] == points[10:20]
    assert points.to_arrow().num_rows == 1000
    assert points.to_pandas().shape == (1000, 1)
    assert points.to_polars().height == 1000
    assert not made
    _ = points[5]
    assert len(made) == 1


def test_a_long_list_is_shown_in_part():
    text = repr(PointList(samples(5000), RawPoint, 11))
    assert text.startswith("[(RawPoint(0, 0.0), 11), ")
    assert text.endswith(", ... 4000 more]")
    assert len(text) < 50_000


def test_rows_of_a_join():
    points = [PointList(samples(3), RawPoint), PointList(samples(2), RawPoint)]
    rows = RowList(np.array([0, 5, 10, 20]), points, [np.array([0, -1, 1, 2]), np.array([-1, 0, 1, -1])])
    plain = [
        (RawPoint(0, 0.0), None),
        (None, RawPoint(0, 0.0)),
        (RawPoint(10, -1.5), RawPoint(10, -1.5)),
        (RawPoint(20, 2.25), None),
    ]
    assert list(rows) == plain
    assert rows == plain
    assert [rows[i] for i in range(4)] == plain
    assert rows[1:3] == plain[1:3]
    assert rows[::-1][0] == plain[-1]
    assert rows + rows == plain + plain
    assert repr(rows) == repr(plain)
    with pytest.raises(IndexError, match="list index out of range"):
        rows[4]
