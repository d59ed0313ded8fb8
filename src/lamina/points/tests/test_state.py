"""States against a plain list of rows with birth and death: now, and as of every earlier seq."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.catalog.rows import PointSectionRow
from lamina.points.batch import concat
from lamina.points.point import Point
from lamina.points.section import Section, section_of
from lamina.points.state import MeasurementState, empty_state, find
from lamina.points.tail import FOREVER
from lamina.points.tests.strategies import LISTS, batch_of, described, points


class Opened:
    """A section of rows with these ordinals."""

    def __init__(self, section: Section) -> None:
        row = section.row
        self.ordinals = np.arange(row.ordinal_min, row.ordinal_max + 1, dtype=np.uint64)[::-1]
        self.died = np.full(row.points, FOREVER, np.uint64)
        self.died[section.fresh] = section.fresh_seqs


def row(id: int, t_min: int, first: int, last: int) -> PointSectionRow:
    return PointSectionRow(id, 1, 1, b"", t_min, t_min, last - first + 1, first, last, 1, 1, b"", 0, 0, 1)


def shown(state: MeasurementState, seq: int) -> list[Any]:
    rows = state.alive(seq)
    taken = state.tail.take(rows, state.n)
    return sorted(zip(taken.ordinals.tolist(), described(taken.batch.points("m")), strict=True))


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), LISTS),
        st.tuples(st.just("update"), st.lists(points(), min_size=1, max_size=3)),
        st.tuples(st.just("remove"), st.integers(0, 8)),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(OPS, st.data())
def test_a_tail_shows_every_seq_as_it_was(ops: list[tuple[str, Any]], data: st.DataObject) -> None:
    state = empty_state()
    model: dict[int, Point] = {}
    history = [(state, dict(model))]
    next_ordinal = 1
    for seq, (what, argument) in enumerate(ops, 1):
        for _ in range(data.draw(st.integers(1, 2))):  # an interrupted publish is done again
            if what == "insert":
                ordinals = np.arange(next_ordinal, next_ordinal + len(argument), dtype=np.uint64)
                after = state.insert(batch_of(argument), ordinals, seq)
            elif what == "clear":
                after = state.clear(seq)
            else:
                number = len(argument) if what == "update" else argument
                chosen = sorted(model)[:number]
                ordinals = np.array(chosen, np.uint64)
                rows, sealed = find(history[-1][0], Opened, ordinals)
                assert sorted(state.tail.ordinal[rows].tolist()) == chosen
                assert not sealed
                if what == "update":
                    batch = batch_of(argument[: len(chosen)])
                    after = state.update(batch, ordinals, rows, sealed, seq)
                else:
                    after = state.kill(rows, sealed, seq)
        if what == "insert":
            model |= dict(enumerate(argument, next_ordinal))
            next_ordinal += len(argument)
        elif what == "update":
            model |= dict(zip(chosen, argument, strict=False))
        elif what == "remove":
            model = {ordinal: point for ordinal, point in model.items() if ordinal not in chosen}
        else:
            model = {}
        state = after
        history.append((state, dict(model)))
    for seq, (older, then) in enumerate(history):
        expected = sorted((ordinal, *described([point])) for ordinal, point in then.items())
        assert shown(older, seq) == expected
        assert shown(state, seq) == expected, "a snapshot looks through the newest state"
        assert older.living == len(then)
    assert state.dirty == bool(ops)


@settings(deadline=None)
@given(st.lists(LISTS, max_size=6))
def test_a_tail_grown_call_by_call_is_the_calls_joined(lists: list[list[Point]]) -> None:
    state, at = empty_state(), 0
    for seq, listed in enumerate(lists, 1):
        state = state.insert(batch_of(listed), np.arange(at, at + len(listed), dtype=np.uint64), seq)
        at += len(listed)
        assert state.tail_bytes >= 0
    together = concat([batch_of(listed) for listed in lists])
    assert described(state.tail.batch(state.n).points("m")) == described(together.points("m"))


def test_rows_of_sections_are_found_by_ordinal_and_die() -> None:
    state = empty_state((section_of(row(2, 50, 100, 199)), section_of(row(1, 10, 0, 99))))
    assert [section.row.id for section in state.sections] == [1, 2]
    assert state.living == 200
    wanted = np.array([150, 3, 99, 500, 100, 101, 102], np.uint64)
    tail_rows, sealed = find(state, Opened, wanted)
    assert len(tail_rows) == 0
    assert {id: rows.tolist() for id, rows in sealed.items()} == {1: [0, 96], 2: [49, 97, 98, 99]}
    state = state.update(batch_of([Point()]), np.array([3], np.uint64), tail_rows, {1: sealed[1][1:]}, 7)
    assert state.living == 200
    tail_rows, sealed = find(state, Opened, wanted[:3])
    assert tail_rows.tolist() == [0]
    assert {id: rows.tolist() for id, rows in sealed.items()} == {1: [0], 2: [49]}
    assert [section.changed for section in state.sections] == [True, False]
    state = state.clear(9)
    assert state.living == 0
    assert [section.dead for section in state.sections] == [9, 9]
    assert find(state, Opened, wanted)[1] == {}
    assert state.clear(11).sections == state.sections, "what is dead does not die again"


def test_a_section_that_was_written_past_the_log_joins_by_time() -> None:
    state = empty_state((section_of(row(2, 50, 100, 199)),)).add_section(section_of(row(3, 20, 200, 209)), 5)
    assert [section.row.id for section in state.sections] == [3, 2]
    assert (state.living, state.seq, state.needed) == (110, 5, 5)


def test_rows_behind_what_is_published_are_written_over() -> None:
    tail = empty_state().tail
    first = [Point(tags={"a": "x"}, fields={"f": 1.5, "t": "text"})]
    lost = [Point(tags={"a": "y"}, fields={"f": i, "t": "other", "g": True}) for i in range(20)]
    kept = [Point(tags={}, fields={"h": 2}), Point(tags={}, fields={"f": 2.5})]
    tail.write(0, batch_of(first), np.array([1], np.uint64), 1)
    tail.write(1, batch_of(lost), np.arange(20, dtype=np.uint64), 2)
    tail.write(1, batch_of(kept), np.array([2, 3], np.uint64), 3)
    batch = tail.batch(3)
    assert described(batch.points("m")) == described(batch_of([*first, *kept]).points("m"))
    assert not batch.fields["g"].row_kinds().any(), "0: absent"
    for column in batch.fields.values():
        assert not column.bits[column.row_kinds() <= 1].any(), "what is not there is 0 in every format"
