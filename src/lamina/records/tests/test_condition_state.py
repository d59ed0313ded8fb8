"""Operators that carry state, and the examples of the contract (10.3 to 10.5)."""

from __future__ import annotations

import json

from lamina.records.condition import compile_condition
from lamina.records.tests.asking import every, kept, passes


def test_each_n_is_true_for_every_nth_evaluation() -> None:
    assert kept({"$each_n": 3}, every(1, 10)) == [2, 5, 8]
    assert kept({"$each_n": 1}, every(1, 3)) == [0, 1, 2]
    assert kept({"$each_n": "&n"}, every(1, 5, n="2")) == [1, 3]


def test_each_n_counts_what_reaches_it() -> None:
    rows = [(i, {"a": str(i % 2)}) for i in range(10)]
    assert kept({"&a": {"$eq": 1}, "$each_n": 2}, rows) == [3, 7]
    assert kept({"$each_n": 2, "&a": {"$eq": 1}}, rows) == [1, 3, 5, 7, 9]


def test_each_t_starts_its_clock_with_the_first_record() -> None:
    assert kept({"$each_t": "25us"}, every(10, 10)) == [30, 60, 90]
    assert kept({"$each_t": "30us"}, every(10, 10)) == [30, 60, 90]
    assert kept({"$each_t": 0.00003}, every(10, 10)) == [30, 60, 90]
    assert kept({"$each_t": 1}, every(1_000_000, 4)) == [1_000_000, 2_000_000, 3_000_000]


def test_each_t_of_nothing_or_less_is_always_true() -> None:
    for span in (0, -1, "-1s", 0.0):
        assert kept({"$each_t": span}, every(10, 3)) == [0, 10, 20]


def test_each_t_starts_anew_when_time_runs_backwards() -> None:
    rows = [(time, {}) for time in (100, 130, 140, 20, 40, 50, 60)]
    assert kept({"$each_t": "30us"}, rows) == [130, 50]
    rows = [(time, {}) for time in (100, 130, 150, 140, 160, 170)]  # backwards, but not before it was last true
    assert kept({"$each_t": "30us"}, rows) == [130, 170]


def test_limit_ends_the_query_wherever_it_stands() -> None:
    assert kept({"$limit": 3}, every(1, 10)) == [0, 1, 2]
    for n in (0, -1):
        evaluation = compile_condition({"$limit": n}).start(True)
        assert not evaluation.one(0, {})
        assert evaluation.ended
    rows = [(i, {"a": str(i % 2)}) for i in range(10)]
    assert kept({"&a": {"$eq": 1}, "$limit": 2}, rows) == [1, 3]
    assert kept({"$or": [{"&a": {"$eq": 1}}, {"$limit": 2}]}, rows) == [0, 1, 2, 3]
    assert kept({"$not": [{"$limit": 2}]}, rows) == []


def test_gate_opens_for_a_time_on_a_rising_edge() -> None:
    def gated(bits: str, span: object = "30us") -> list[int]:
        rows = [(10 * i, {"a": bit}) for i, bit in enumerate(bits)]
        return kept({"$gate": [span, {"&a": {"$eq": 1}}]}, rows)

    assert gated("0111111") == [10, 20, 30], "closed by time while the condition stays true"
    assert gated("1111") == [0, 10, 20], "before the first record it was false"
    assert gated("0101100") == [10, 30], "while open it follows the condition"
    assert gated("01111101") == [10, 20, 30, 70], "opens again after it was false once"
    assert gated("01001") == [10], "at the end it is closed, although the condition has just turned true"
    assert gated("010001") == [10, 50]
    assert gated("111", 0) == []
    assert gated("0111111", 0.00003) == [10, 20, 30]


def test_gate_forgets_when_time_runs_backwards() -> None:
    rows = [(time, {"a": "1"}) for time in (100, 110, 200, 50, 60, 90)]
    assert kept({"$gate": ["30us", "&a"]}, rows) == [100, 110, 50, 60]


def test_examples_of_the_contract() -> None:
    scores = [(i, {"score": str(i)}) for i in range(8, 20)]
    assert kept(json.loads('{"&score": {"$gt": 10}, "$limit": 5}'), scores) == [11, 12, 13, 14, 15]
    guarded = {"$or": [{"$not": [{"$has": "line"}]}, {"&line": {"$eq": "a"}}]}
    assert passes(guarded, {})
    assert passes(guarded, {"line": "a"})
    assert not passes(guarded, {"line": "b"})
    keys = {"$in": [{"&key": {"$cast": "string"}}, "1", "2.5", "$$plugin"]}
    assert [key for key in ("1", "2.5", "$plugin", "2", "plugin") if passes(keys, {"key": key})] == [
        "1",
        "2.5",
        "$plugin",
    ]
    ok = {"$and": [{"&ok": {"$eq": True}}, {"$each_t": "10s"}], "#select_labels": ["ok"]}
    assert kept(ok, [(5_000_000 * i, {"ok": "true"}) for i in range(5)]) == [10_000_000, 20_000_000]
    assert compile_condition(ok).directives.select_labels == {"ok"}
    berlin = {"$gte": [{"$hour": ["$timestamp", "Europe/Berlin"]}, 8], "$lt": [{"$abs": "&temp"}, 3]}
    eight = 1_709_276_400_000_000  # 2024-03-01 08:00 in Berlin
    assert passes(berlin, {"temp": "-2.5"}, eight)
    assert not passes(berlin, {"temp": "-2.5"}, eight - 1)
    assert not passes(berlin, {"temp": "-3"}, eight)
