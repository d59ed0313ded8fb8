"""One answer, four ways: record by record, by column, in any number of feeds, and with sections left out."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lamina.errors import LaminaError, NotFound
from lamina.records.condition import Condition, Evaluation, compile_condition
from lamina.records.condition.condition import Directives
from lamina.records.condition.value import Duration
from lamina.records.labels import LabelColumn
from lamina.testing.conditions import Columns, Record, conditions, records


class Result(NamedTuple):
    times: list[int]
    ended: bool
    error: str | None


def plain(condition: Condition, rows: Sequence[Record], strict: bool) -> Result:
    """Each record by itself, and the contract's words for context."""
    evaluation = condition.start(strict)
    matches, fed, ended, error = [], [], False, None
    for time, labels in rows:
        try:
            passes = evaluation.one(time, labels)
        except LaminaError as failure:
            ended, error = True, str(failure)
        ended = ended or evaluation.ended
        if ended:
            break
        fed.append(time)
        if passes:
            matches.append(len(fed) - 1)
    before, after = condition.directives.ctx_before, condition.directives.ctx_after
    chosen = set(matches)
    for match in matches:
        for other in range(len(fed)):
            distance = fed[other] - fed[match] if isinstance(before, Duration) else other - match
            if -(before.us if isinstance(before, Duration) else before) <= distance <= 0:
                chosen.add(other)
            distance = fed[other] - fed[match] if isinstance(after, Duration) else other - match
            if 0 <= distance <= (after.us if isinstance(after, Duration) else after):
                chosen.add(other)
    return Result([fed[i] for i in sorted(chosen)], ended, error)


def fed(condition: Condition, feeds: Sequence[Columns], strict: bool) -> Result:
    """As a caller does it: keeps what it was told to keep, and nothing else."""
    evaluation = condition.start(strict)
    times: list[int] = []
    kept: list[int] = []
    for feed in feeds:
        selected = evaluation.feed(feed)
        if selected.earlier is not None:
            due = [time for time in kept if time >= selected.earlier]
            assert not times or selected.earlier > times[-1], "nothing earlier was returned yet"
            times += due
        times += feed.times[selected.rows].tolist()
        kept = [time for time in [*kept, *feed.times.tolist()] if time >= selected.keep]
        if selected.ended:
            assert evaluation.ended
            assert evaluation.feed(feed).rows.tolist() == []
            return Result(times, True, None if selected.error is None else str(selected.error))
        assert selected.error is None
    return Result(times, False, None)


def cut(rows: Sequence[Record], at: Sequence[int]) -> list[Columns]:
    whole = Columns(rows)
    edges = sorted({0, len(rows), *(min(edge, len(rows)) for edge in at)})
    return [whole.part(start, stop) for start, stop in pairwise(edges)]


@settings(max_examples=400, deadline=None)
@given(conditions(context=True), records(), st.booleans(), st.booleans())
@example({"&a": {"$eq": True}}, [(1, {"a": "true"}), (2, {"a": "1"}), (3, {"a": "x"})], False, True)
@example(
    {"&a": {"$eq": 9007199254740993}}, [(1, {"a": "9007199254740992"}), (2, {"a": "9007199254740993"})], True, True
)
@example({"&a": {"$lt": 9007199254740992.0}}, [(1, {"a": "9007199254740991"})], True, True)
def test_column_by_column_selects_what_record_by_record_selects(
    when: dict[str, Any], rows: list[Record], strict: bool, numbers: bool
) -> None:
    condition = compile_condition(when)
    assert fed(condition, [Columns(rows, numbers=numbers)], strict) == plain(condition, rows, strict)


@settings(max_examples=400, deadline=None)
@given(conditions(state=False), records(), st.booleans())
def test_stateless_conditions_by_column(when: dict[str, Any], rows: list[Record], strict: bool) -> None:
    condition = compile_condition(when)
    assert fed(condition, [Columns(rows)], strict) == plain(condition, rows, strict)


@settings(max_examples=400, deadline=None)
@given(conditions(context=True), records(), st.lists(st.integers(0, 30), max_size=4), st.booleans())
def test_feeds_of_any_size_give_the_same(when: dict[str, Any], rows: list[Record], at: list[int], strict: bool) -> None:
    condition = compile_condition(when)
    whole = fed(condition, [Columns(rows)], strict)
    assert fed(condition, cut(rows, at), strict) == whole
    assert fed(condition, cut(rows, range(len(rows))), strict) == whole
    assert fed(condition, [Columns([row]) for row in rows], strict) == whole, "each feed with texts of its own"


@settings(max_examples=400, deadline=None)
@given(conditions(context=True), records(), st.integers(1, 8), st.integers(0, 3), st.booleans())
def test_leaving_out_sections_changes_nothing(
    when: dict[str, Any], rows: list[Record], size: int, few: int, strict: bool
) -> None:
    condition = compile_condition(when)
    sections = [Columns(rows[i : i + size]) for i in range(0, len(rows), size)]
    read = [
        section
        for section in sections
        if condition.may_match(
            lambda name, section=section: section.stats(name, few=few),
            int(section.times[0]),
            int(section.times[-1]),
            strict=strict,
        )
    ]
    assert fed(condition, read, strict) == fed(condition, sections, strict)


@pytest.mark.parametrize(
    ("when", "strict", "expected"),
    [
        ({"&a": {"$eq": "x"}}, True, True),
        ({"&a": {"$eq": "q"}}, True, False),
        ({"&n": {"$gt": 20}}, True, False),
        ({"&n": {"$gt": 19}}, True, True),
        ({"$lt": [20, "&n"]}, True, False),
        ({"&n": {"$eq": 20.5}}, True, False),
        ({"&n": {"$eq": "x"}}, True, False),
        ({"&n": {"$ne": "x"}}, True, True),
        ({"$in": ["&n", 1, 2, 30]}, True, False),
        ({"$in": ["&n", 1, 15]}, True, True),
        ({"$not": [{"&n": {"$gte": 10}}]}, True, False),
        ({"$or": [{"&n": {"$gt": 20}}, {"&a": {"$eq": "q"}}]}, True, False),
        ({"$or": [{"&n": {"$gt": 20}}, {"&a": {"$eq": "y"}}]}, True, True),
        ({"$timestamp": {"$lt": 100}}, True, False),
        ({"$timestamp": {"$lte": 100}}, True, True),
        ({"$gt": [100, "$timestamp"]}, True, False),
        ({"$has": "n"}, True, True),
        ({"$has": "missing"}, True, False),
        ({"&missing": {"$eq": 1}}, False, False),  # an error counts as false
        ({"&missing": {"$eq": 1}}, True, True),  # the error must come out
        ({"$not": [{"&n": {"$gte": 10}}, {"&n": {"$gt": 100}}]}, True, False),
        ({"&u": {"$lt": 0}}, False, False),
        ({"&u": {"$lt": 0}}, True, True),  # the first record lacks it
        ({"&s": {"$eq": "q"}}, False, False),
        ({"&s": {"$eq": "q"}}, True, True),  # some records lack it
        ({"$each_n": 2, "&a": {"$eq": "q"}}, True, True),  # must count the records of the section
        ({"&a": {"$eq": "q"}, "$each_n": 2}, True, False),  # would not count any
        ({"&a": {"$eq": "q"}, "#ctx_after": 1}, True, True),  # may hold context
        ({}, True, True),
    ],
)
def test_sections_are_left_out_only_when_nothing_can_come_of_them(
    when: dict[str, Any], strict: bool, expected: bool
) -> None:
    rows = [
        (100 + i, {"a": "xy"[i % 2], "n": str(10 + i), **({"s": "t", "u": str(i)} if i else {})}) for i in range(11)
    ]
    columns = Columns(rows)
    condition = compile_condition(when)
    assert condition.may_match(lambda name: columns.stats(name, few=3), 100, 110, strict=strict) is expected


def test_strict_by_default_when_sections_are_left_out() -> None:
    assert compile_condition({"&missing": {"$eq": 1}}).may_match(lambda name: None, 0, 1)


def start(when: dict[str, Any], strict: bool = False) -> Evaluation:
    return compile_condition(when).start(strict)


def rows_of(*labels: Mapping[str, str]) -> Columns:
    return Columns([(10 * (i + 1), one) for i, one in enumerate(labels)])


def test_strict_mode_returns_the_records_before_the_failing_one_then_ends() -> None:
    selected = start({"&a": {"$gt": 1}}, True).feed(rows_of({"a": "2"}, {"a": "1"}, {"a": "3"}, {}, {"a": "4"}))
    assert selected.rows.tolist() == [0, 2]
    assert selected.ended
    assert isinstance(selected.error, NotFound)
    assert str(selected.error) == "Reference 'a' not found"


def test_an_error_counts_as_false_unless_strict() -> None:
    selected = start({"&a": {"$gt": 1}}).feed(rows_of({"a": "2"}, {}, {"a": "3"}))
    assert (selected.rows.tolist(), selected.ended, selected.error) == ([0, 2], False, None)


def test_an_error_of_a_later_step_at_an_earlier_record_comes_first() -> None:
    selected = start({"&a": {"$eq": 1}, "&b": {"$eq": 1}}, True).feed(
        rows_of({"a": "1", "b": "1"}, {"a": "1"}, {"a": "1", "b": "1"}, {"b": "1"})
    )
    assert selected.rows.tolist() == [0]
    assert str(selected.error) == "Reference 'b' not found"


def test_an_error_behind_the_end_of_the_query_is_not_reached() -> None:
    selected = start({"$limit": 2, "&a": {"$eq": 1}}, True).feed(rows_of({"a": "1"}, {"a": "1"}, {}))
    assert (selected.rows.tolist(), selected.ended, selected.error) == ([0, 1], True, None)


def test_a_constant_that_is_no_operand_fails_for_each_record() -> None:
    selected = start({"$each_n": 0}).feed(rows_of({}, {}))
    assert (selected.rows.tolist(), selected.ended) == ([], False)
    selected = start({"&a": {"$eq": 1}, "$each_n": 0}, True).feed(rows_of({"a": "0"}, {"a": "1"}))
    assert str(selected.error) == "Value '0' is not a valid operand for $each_n"
    assert start({"&a": {"$eq": 1}, "$each_n": 0}, True).feed(rows_of({"a": "0"}, {"a": "0"})).error is None


def test_single_records_in_strict_mode_raise_and_go_on() -> None:
    evaluation = start({"$each_n": 2, "&a": {"$eq": 1}}, True)
    assert not evaluation.one(1, {"a": "1"})
    with pytest.raises(NotFound, match="Reference 'a' not found"):
        evaluation.one(2, {})
    assert not evaluation.one(3, {"a": "1"})
    assert evaluation.one(4, {"a": "1"})
    assert not evaluation.ended


def test_every_start_has_its_own_state() -> None:
    condition = compile_condition({"$limit": 1})
    first, second = condition.start(False), condition.start(False)
    assert first.one(1, {})
    assert second.one(1, {})
    assert not first.one(2, {})
    assert first.ended
    assert not second.ended


def test_context_is_returned_once_in_order_and_across_feeds() -> None:
    evaluation = start({"&a": {"$eq": 1}, "#ctx_before": 2, "#ctx_after": 1})
    rows = [(10 * i, {"a": "01"[i in (4, 5, 8)]}) for i in range(12)]
    first = evaluation.feed(Columns(rows[:4]))
    assert (first.rows.tolist(), first.earlier, first.keep) == ([], None, 20)
    second = evaluation.feed(Columns(rows[4:5]))
    assert (second.rows.tolist(), second.earlier, second.keep) == ([0], 20, 41)
    third = evaluation.feed(Columns(rows[5:]))
    assert [50 + 10 * i for i in third.rows.tolist()] == [50, 60, 70, 80, 90]
    assert third.earlier is None


def test_context_by_time_includes_its_bounds() -> None:
    evaluation = start({"&a": {"$eq": 1}, "#ctx_before": "20us", "#ctx_after": "10us"})
    rows = [(10 * i, {"a": "01"[i == 4]}) for i in range(8)]
    selected = evaluation.feed(Columns(rows))
    assert (selected.rows * 10).tolist() == [20, 30, 40, 50]
    assert selected.keep == 51


def test_context_after_a_match_stops_where_the_query_ends() -> None:
    evaluation = start({"&a": {"$eq": 1}, "$limit": 1, "#ctx_after": 5})
    selected = evaluation.feed(rows_of({"a": "1"}, {"a": "0"}, {"a": "1"}, {"a": "0"}))
    assert (selected.rows.tolist(), selected.ended) == ([0, 1], True)


def test_without_context_nothing_need_be_kept() -> None:
    assert start({}).feed(rows_of({}, {})).keep == 21


def test_an_empty_feed_gives_nothing() -> None:
    for when in ({}, {"&a": {"$eq": 1}}, {"$each_n": 2, "$each_t": 1, "$limit": 1}, {"#ctx_before": 2}, {"$limit": 0}):
        selected = start(when, True).feed(Columns([]))
        assert (selected.rows.tolist(), selected.ended, selected.error) == ([], False, None)


def test_tables_follow_the_texts_of_each_feed() -> None:
    evaluation = start({"&a": {"$gt": 1}})
    for turn in range(12):  # more dictionaries than are kept, and each again
        texts = [str(turn % 6), "0"]
        numbers = None if turn % 2 else np.array([turn % 6, 0.0])
        rows = Columns([(turn, {})])
        rows._columns = {"a": LabelColumn(np.array([0], np.int32), texts, numbers)}
        assert evaluation.feed(rows).rows.tolist() == ([0] if turn % 6 > 1 else [])


def test_tables_are_made_once_and_few_are_kept() -> None:
    evaluation = start({"$contains": ["&a", "t"]})
    texts = [CountedTexts([f"t{i}"]) for i in range(10)]
    for some in texts:
        for _ in range(3):
            rows = Columns([(1, {})])
            rows._columns = {"a": LabelColumn(np.array([0], np.int32), some)}
            assert evaluation.feed(rows).rows.tolist() == [0]
    assert [some.read for some in texts] == [1] * 10
    alive = [weakref.ref(some) for some in texts]
    del texts, some, rows
    assert sum(ref() is not None for ref in alive) == 4


def test_an_earlier_error_decides_over_a_later_truth() -> None:
    either = {"$or": [{"&a": {"$eq": 1}}, {"&b": {"$eq": 1}}]}
    assert start(either).feed(rows_of({"b": "1"}, {"a": "1"}, {"a": "0", "b": "1"})).rows.tolist() == [1, 2]


def test_texts_of_numbers_equal_no_text() -> None:
    assert start({"&a": {"$eq": "007"}}).feed(rows_of({"a": "007"}, {"a": "7"})).rows.tolist() == []
    assert start({"&a": {"$ne": "true"}}).feed(rows_of({"a": "true"})).rows.tolist() == [0]


def test_time_that_runs_backwards_between_feeds_starts_the_clock_anew() -> None:
    evaluation = start({"$each_t": "30us"})
    assert evaluation.feed(Columns([(100, {}), (130, {}), (150, {})])).rows.tolist() == [1]
    assert evaluation.feed(Columns([(140, {}), (160, {}), (170, {})])).rows.tolist() == [2]


def test_many_distinct_texts_are_not_evaluated_for_few_records() -> None:
    texts = CountedTexts(f"t{i}" for i in range(10_000))
    rows = Columns([(1, {}), (2, {})])
    rows._columns = {"a": LabelColumn(np.array([9_999, -1], np.int32), texts)}
    assert start({"$contains": ["&a", "t9"]}).feed(rows).rows.tolist() == [0]
    assert texts.read == 1


class CountedTexts(list[str]):
    read = 0

    def __getitem__(self, at: Any) -> Any:
        self.read += 1
        return super().__getitem__(at)


def test_long_columns_are_looked_up_whole() -> None:
    n = 100_000
    codes = np.arange(n, dtype=np.int32) % 1_001 - 1
    rows = Columns([])
    rows.times = np.arange(n, dtype=np.uint64)
    rows._columns = {"b": LabelColumn(codes, [str(i) for i in range(1_000)], np.arange(1_000.0))}
    assert start({"&b": {"$gt": 899}}).feed(rows).rows.tolist() == np.flatnonzero(codes > 899).tolist()


def test_directives_are_at_hand() -> None:
    assert compile_condition(None).directives == Directives()
    assert compile_condition({"#batch_records": 5}).directives.batch_records == 5
