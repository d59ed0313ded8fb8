"""Directives and legacy members (contract 10.7, 8.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from lamina.errors import InvalidArgument
from lamina.records.condition import Directives, Duration, Legacy, compile_condition
from lamina.records.tests.asking import refusal


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"#ctx_before": 3}, Directives(ctx_before=3)),
        ({"#ctx_before": "1s"}, Directives(ctx_before=Duration(1_000_000))),
        ({"#ctx_after": [2]}, Directives(ctx_after=2)),
        ({"#select_labels": "a"}, Directives(select_labels=frozenset("a"))),
        ({"#select_labels": ["a", "b", "$$c"]}, Directives(select_labels=frozenset(("a", "b", "$c")))),
        ({"#batch_records": 0}, Directives(batch_records=0)),
        ({"#batch_size": 100}, Directives(batch_size=100)),
        ({"#batch_size": "2MB"}, Directives(batch_size=2_000_000)),
        ({"#batch_metadata_size": ["1KiB"]}, Directives(batch_metadata_size=1_024)),
        ({"#batch_timeout": 5}, Directives(batch_timeout_s=5.0)),
        ({"#record_timeout": "100ms"}, Directives(record_timeout_s=0.1)),
        ({"#io_timeout": "1h"}, Directives(io_timeout_s=3600.0)),
        ({"#ext": {"x": {}}}, Directives(ext={"x": {}})),
        ({"#ext": [{"x": {}}]}, Directives(ext=[{"x": {}}])),
    ],
)
def test_directives(when: dict[str, Any], expected: Directives) -> None:
    condition = compile_condition({**when, "$limit": 1})
    assert condition.directives == expected
    assert len(condition.steps) == 1


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"#x": 1}, "Directive '#x' is not supported"),
        ({"#x": None}, "Directive '#x' is not supported"),
        ({"#": {"$eq": 1}}, "Directive '#' is not supported"),
        ({"#ctx_before": None}, "Directive '#ctx_before' cannot be null"),
        ({"#ext": None}, "Directive '#ext' cannot be null"),
        ({"#ctx_before": -1}, "#ctx_before must be non-negative"),
        ({"#ctx_after": "-1s"}, "#ctx_after must be non-negative"),
        ({"#ctx_before": "x"}, '#ctx_before must be an integer or duration: "x"'),
        ({"#ctx_after": "5"}, '#ctx_after must be an integer or duration: "5"'),
    ],
)
def test_messages_of_directives(when: dict[str, Any], message: str) -> None:
    assert refusal(when) == message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("#ctx_before", [1.5, True, {}, [], [1, 2], {"$add": [1]}, "&a"]),
        ("#select_labels", [5, True, [], {}, ["a", 5], "1h", ["a", "1h"], "&a", "$timestamp", "", [["a"]]]),
        ("#batch_records", [-1, 1.5, "5", True, {}, [1, 2], "1s"]),
        ("#batch_size", [-1, 1.5, "x", True, {}, "1h", "-1MB"]),
        ("#batch_metadata_size", [-1, "x"]),
        ("#batch_timeout", [-1, 1.5, "x", "5", "-1s", True, {}]),
        ("#record_timeout", [-1, "2MB"]),
        ("#io_timeout", [-1, []]),
        ("#ext", [5, "x", True]),
    ],
)
def test_directives_of_the_wrong_type(name: str, values: list[object]) -> None:
    for given_value in values:
        assert refusal({name: given_value}).startswith(f"{name} must be "), given_value


def test_directives_have_bounds() -> None:
    assert compile_condition({"#ctx_before": 1_000_000})
    assert refusal({"#ctx_before": 1_000_001}) == "#ctx_before must be at most 1000000 records: 1000001"
    for name in ("#ctx_before", "#batch_records", "#batch_size", "#batch_timeout"):
        assert "out of range" in refusal({name: 1 << 63})


def test_directives_stand_at_the_top_level_only() -> None:
    assert refusal({"$and": [{"#ctx_before": 1}]}) == "Operator '#ctx_before' must start with '$'"


def legacy_times(legacy: Legacy, rows: list[tuple[int, Mapping[str, str]]], when: object = None) -> list[int]:
    evaluation = compile_condition(when, legacy=legacy).start(True)
    return [time for time, labels in rows if evaluation.one(time, labels)]


def test_include_and_exclude_compare_texts_and_never_fail() -> None:
    rows: list[tuple[int, Mapping[str, str]]] = [
        (0, {"a": "1", "b": "x"}),
        (1, {"a": "1"}),
        (2, {"a": "01", "b": "x"}),
        (3, {}),
    ]
    assert legacy_times(Legacy(include={"a": "1"}), rows) == [0, 1]
    assert legacy_times(Legacy(include={"a": "1", "b": "x"}), rows) == [0]
    assert legacy_times(Legacy(exclude={"a": "1", "b": "x"}), rows) == [1, 2, 3]
    assert legacy_times(Legacy(include={}, exclude={}), rows) == [0, 1, 2, 3]


def test_legacy_filters_come_before_the_condition_and_thin_out_what_passes_it() -> None:
    rows = [(1_000_000 * i, {"a": str(i % 2)}) for i in range(12)]
    assert legacy_times(Legacy(each_s=2), rows) == [2_000_000, 4_000_000, 6_000_000, 8_000_000, 10_000_000]
    assert legacy_times(Legacy(each_s=2.5, each_n=2), rows) == [6_000_000]
    assert legacy_times(Legacy(include={"a": "1"}, each_n=2, limit=2), rows) == [3_000_000, 7_000_000]
    assert legacy_times(Legacy(limit=2), rows, {"&a": {"$eq": 1}}) == [1_000_000, 3_000_000]


@pytest.mark.parametrize(
    "legacy",
    [
        Legacy(include=["a"]),  # type: ignore[arg-type]
        Legacy(exclude={"a": 1}),  # type: ignore[dict-item]
        Legacy(each_s="1"),  # type: ignore[arg-type]
        Legacy(each_s=math.nan),
        Legacy(each_n=1.5),  # type: ignore[arg-type]
        Legacy(each_n=True),
        Legacy(limit=1 << 63),
    ],
)
def test_legacy_members_of_the_wrong_type(legacy: Legacy) -> None:
    with pytest.raises(InvalidArgument):
        compile_condition(None, legacy=legacy)
