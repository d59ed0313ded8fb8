"""A point is selected exactly if `query(point)` is truthy for it, whatever way it was found, as of any seq."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.points.batch import Batch, batch_of_points
from lamina.points.field import FLOAT, INT, FieldColumn
from lamina.points.point import EPOCH, MICROSECOND, Point
from lamina.points.queries import FieldQuery, MeasurementQuery, Query, TagQuery, TimeQuery
from lamina.points.search import count, select
from lamina.points.state import MeasurementState, empty_state, find
from lamina.points.tests.sections import Store
from lamina.points.tests.strategies import KEYS, LISTS, TEXTS, TIMES, VALUES, batch_of, described, points

COMPARISONS = st.sampled_from([operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])


def doubled(value: Any) -> Any:
    return value + value


def swapped(part: dict[str, Any]) -> dict[str, Any]:
    return {"z": part.get("a", part.get("b"))}


def is_small(value: Any, limit: float) -> bool:
    return isinstance(value, (int, float)) and value < limit


RHS = st.one_of(VALUES, st.sampled_from([2**70, -(2**53) - 1, 2**53 + 0.0, np.float64(1.0)]))
SIMPLE = st.one_of(
    st.builds(lambda how, rhs: how(TimeQuery(), rhs), COMPARISONS, st.one_of(TIMES, st.none())),
    st.builds(lambda how, rhs: how(MeasurementQuery(), rhs), COMPARISONS, st.sampled_from(["m", "n", "", None])),
    st.builds(lambda how, key, rhs: how(TagQuery()[key], rhs), COMPARISONS, KEYS, TEXTS),
    st.builds(lambda how, key, rhs: how(FieldQuery()[key], rhs), COMPARISONS, KEYS, RHS),
    st.builds(lambda key: TagQuery()[key].exists(), KEYS),
    st.builds(lambda key: FieldQuery()[key].exists(), KEYS),
    st.builds(lambda key: FieldQuery()[key].test(is_small, 3), KEYS),
    st.builds(lambda how, key, rhs: how(FieldQuery()[key].map(doubled), rhs), COMPARISONS, KEYS, RHS),
    st.builds(lambda how, key, rhs: how(TagQuery()[key].map(doubled), rhs), COMPARISONS, KEYS, TEXTS),
    st.builds(lambda rhs: TagQuery().map(swapped).z == rhs, TEXTS),
    st.builds(lambda rhs: FieldQuery().map(swapped).z >= rhs, RHS),
    st.builds(lambda: MeasurementQuery().matches("m")),
    st.builds(lambda: TagQuery().noop()),
    st.builds(lambda: TimeQuery().test(lambda time: time.second % 2 == 1)),
    st.builds(lambda how, rhs: how(TimeQuery().map(lambda t: t + timedelta(seconds=1)), rhs), COMPARISONS, TIMES),
)
QUERIES: st.SearchStrategy[Query] = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(operator.and_, inner, inner), st.builds(operator.or_, inner, inner), st.builds(operator.invert, inner)
    ),
    max_leaves=4,
)


class World:
    """A state and what it should hold: for each seq, points by ordinal."""

    def __init__(self) -> None:
        self.store = Store()
        self.state = empty_state()
        self.history: list[dict[int, Point]] = [{}]
        self.next = 1

    def insert(self, listed: list[Point]) -> None:
        ordinals = np.arange(self.next, self.next + len(listed), dtype=np.uint64)
        self.next += len(listed)
        self.state = self.state.insert(batch_of(listed), ordinals, len(self.history))
        self.history.append(self.history[-1] | dict(zip(ordinals.tolist(), listed, strict=True)))

    def replace(self, ordinals: list[int], listed: list[Point]) -> None:
        """Update, or remove where there are no points."""
        given = np.array(ordinals, np.uint64)
        tail, sealed = find(self.state, self.store.open, given)
        seq = len(self.history)
        if listed:
            self.state = self.state.update(batch_of(listed), given, tail, sealed, seq)
            self.history.append(self.history[-1] | dict(zip(ordinals, listed, strict=True)))
        else:
            self.state = self.state.kill(tail, sealed, seq)
            self.history.append({k: p for k, p in self.history[-1].items() if k not in ordinals})

    def seal(self) -> None:
        state = self.state
        if not state.n:
            return
        rows = state.tail.take(np.arange(state.n), state.n)
        section, _ = self.store.write(rows.batch, rows.ordinals, rows.born, rows.died)
        dead = int(np.count_nonzero(rows.died < np.uint64(2**63)))
        section = section._replace(row=section.row._replace(died=dead))
        self.state = empty_state((*state.sections, section), state.seq)

    def expected(self, seq: int, query: Query | None, start: int | None, end: int | None) -> list[int]:
        def inside(point: Point) -> bool:
            assert point.time is not None
            time = (point.time - EPOCH) // MICROSECOND
            return (start is None or time >= start) and (end is None or time < end)

        found = self.history[min(seq, len(self.history) - 1)]
        return sorted(k for k, p in found.items() if inside(p) and (query is None or query(p)))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), LISTS),
        st.tuples(st.just("update"), st.lists(points(), max_size=3)),
        st.tuples(st.just("remove"), st.integers(0, 3)),
        st.tuples(st.just("seal"), st.none()),
        st.tuples(st.just("clear"), st.none()),
    ),
    min_size=1,
    max_size=7,
)
BOUNDS = st.one_of(st.none(), st.integers(-1, 41).map(lambda k: k * 250_000), st.integers(-(2**60), 2**60))


@settings(deadline=None, max_examples=150)
@given(STEPS, st.lists(QUERIES, min_size=1, max_size=4), BOUNDS, BOUNDS, st.data())
def test_every_selection_agrees_with_the_query_asked_of_each_point(
    steps: list[tuple[str, Any]], queries: list[Query], start: int | None, end: int | None, data: st.DataObject
) -> None:
    world = World()
    for what, argument in steps:
        living = sorted(world.history[-1])
        if what == "insert":
            world.insert(argument)
        elif what == "update" and argument and len(living) >= len(argument):
            world.replace(living[:: max(1, len(living) // len(argument))][: len(argument)], argument)
        elif what == "remove":
            world.replace(living[:argument], [])
        elif what == "seal":
            world.seal()
        elif what == "clear":
            world.state = world.state.clear(len(world.history))
            world.history.append({})
    state, newest = world.state, len(world.history) - 1
    assert state.living == len(world.history[-1])
    for seq in {newest, newest + 5, data.draw(st.integers(0, newest))}:
        then = world.history[min(seq, newest)]
        for query in (None, *queries):
            expected = world.expected(seq, query, start, end)
            found = select(state, seq, world.store.open, "m", query, start, end)
            ordinals = found.ordinals()
            assert sorted(ordinals.tolist()) == expected
            assert found.n == len(expected)
            assert count(state, seq, world.store.open, "m", query, start, end) == len(expected)
            shown = described(found.batch().points("m"))
            assert shown == described([then[k] for k in ordinals.tolist()])
            times = [(then[k].time - EPOCH) // MICROSECOND for k in ordinals.tolist()]  # type: ignore[operator]
            assert found.times().tolist() == times
            assert len(found.tail) + sum(map(len, found.sealed.values())) == found.n
        assert count(state, seq, world.store.open, "m") == len(then)


def sealed(batch: Batch, store: Store) -> MeasurementState:
    section, _ = store.write(batch, np.arange(batch.n, dtype=np.uint64))
    return empty_state((section,), section.row.max_seq)


def hosts(n: int) -> Batch:
    random = np.random.default_rng(1)
    fields = {
        "x": FieldColumn(FLOAT, None, random.normal(0, 1, n).view(np.int64)),
        "k": FieldColumn(INT, None, random.integers(0, 10, n)),
    }
    tagset = random.integers(0, 20, n).astype(np.int32)
    tagset[: n // 2] %= 19  # the last host appears late
    zeros = np.zeros(n, np.int32)
    return Batch(np.arange(n) * 1000, tagset, [(("host", f"h{i}"),) for i in range(20)], zeros, [("x", "k")], fields)


def test_fields_are_read_of_survivors_only() -> None:
    n, store = 65_536, Store()
    state = sealed(hosts(n), store)
    opened = store.open(state.sections[0])
    late = (TimeQuery() >= EPOCH + 65_000 * 1000 * MICROSECOND) & (FieldQuery().x > 0)
    assert select(state, 1, lambda _: opened, "m", late).n > 100
    before = store.bytes_read
    select(state, 1, lambda _: opened, "m", late)
    assert store.bytes_read - before < 40_000, "of 430,000 that the field takes"


def test_sections_outside_the_times_are_not_opened() -> None:
    store = Store()
    state = sealed(hosts(1000), store)

    def never(_: object) -> Any:
        raise AssertionError("opened")

    assert select(state, 1, never, "m", None, 999_001).n == 0
    assert select(state, 1, never, "m", TimeQuery() < EPOCH).n == 0
    assert count(state, 1, never, "m") == 1000
    assert select(state, 0, never, "m").n == 0, "written by a later op"


def test_what_a_users_function_raises_comes_out_whatever_stands_beside_it() -> None:
    def fails(value: Any) -> bool:
        raise RuntimeError(f"asked of {value}")

    listed = [Point(time=datetime(2024, 1, 1, tzinfo=UTC), tags={"a": "x"}, fields={"f": 1.0})]
    state = empty_state().insert(batch_of_points(listed, 0), np.array([1], np.uint64), 1)
    for query in (
        (TagQuery().a == "y") & FieldQuery().f.test(fails),
        FieldQuery().f.test(fails) & (TagQuery().a == "y"),
        (TagQuery().a == "x") | TagQuery().a.test(fails),
    ):
        with pytest.raises(RuntimeError, match="asked of"):
            select(state, 1, Store().open, "m", query)
        with pytest.raises(RuntimeError, match="asked of"):
            query(listed[0])
    assert select(state, 1, Store().open, "m", FieldQuery().f.test(fails), 0, 1).n == 0, "outside the times"


MIXTURE = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0.5, 1.0, -0.0, float(2**53), 2.0**63]
MIXTURE += [float("nan"), float("inf"), None, True, False, "", "x"]
SIDES = [*MIXTURE, 2**63, 2**70, -(2**63) - 1, np.float64(1.0)]


def test_numbers_and_everything_else_compare_as_python_compares_them() -> None:
    listed = [Point(time=EPOCH, fields={"f": value, "i": i}) for i, value in enumerate(MIXTURE)]
    listed.append(Point(time=EPOCH, fields={"i": len(listed)}))
    alone = [[point] for point in listed]
    states = [
        empty_state().insert(batch_of(some), np.arange(len(some), dtype=np.uint64), 1) for some in [listed, *alone]
    ]
    for how in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        for rhs in SIDES:
            query = how(FieldQuery().f, rhs)
            truth = [i for i, point in enumerate(listed) if query(point)]
            assert select(states[0], 1, Store().open, "m", query).ordinals().tolist() == truth, (how, rhs)
            for i, state in enumerate(states[1:]):
                assert count(state, 1, Store().open, "m", query) == (i in truth), (how, MIXTURE[i : i + 1], rhs)


def test_two_functions_see_every_point_both() -> None:
    asked: list[Any] = []

    def one(value: Any) -> bool:
        asked.append(value)
        return value in ("1", 2.0)

    listed = [Point(time=EPOCH, tags={"a": str(i)}, fields={"f": float(i)}) for i in range(3)]
    state = empty_state().insert(batch_of(listed), np.arange(3, dtype=np.uint64), 1)
    assert select(state, 1, Store().open, "m", TagQuery().a.test(one) & FieldQuery().f.test(one)).n == 0
    assert sorted(asked, key=repr) == sorted(["0", "1", "2", 0.0, 1.0, 2.0], key=repr)
