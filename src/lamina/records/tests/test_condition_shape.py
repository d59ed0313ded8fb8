"""Shape, literals and limits of conditions (contract 10.1, 10.2)."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument, NotFound
from lamina.records.condition import Duration, compile_condition
from lamina.records.condition.operators import OPERATORS
from lamina.records.condition.parse import MAX_DEPTH, MAX_NODES
from lamina.records.condition.value import INT_MAX, INT_MIN
from lamina.records.tests.asking import LEAP_DAY, passes, refusal, value


@pytest.mark.parametrize(
    "when",
    [
        None,
        {},
        {"$eq": ["&a", 10]},
        {"&a": {"$eq": 10}},
        {"$not": [{"$eq": ["&a", 11]}]},
        {"$not": "&zero"},
        {"$exists": "a"},
        {"$and": [{"&a": {"$eq": 10}, "&s": {"$eq": "text"}}]},  # each member an operand
        {"$eq": [{"$add": [4, 6]}, "&a"]},
        {"&a": {"$eq": {"$add": [4, 6]}}},
        {"&a": {"$in": {"$add": [1, 1], "$mult": [2, 5]}}},
        {"$timestamp": []},
        {"$and": []},
        {"$not": []},
        {"$not": [{}]},
        {"$and": "$and"},
        {"$timestamp": {"$gt": 0}},
        {"$id": {"$eq": "$timestamp"}},
        {"10": {"$ne": "&a"}},  # a literal on the left, a text at that
        {"$$x": {"$eq": "$$x"}},
        {"1h": {"$eq": 3_600_000_000}},
    ],
)
def test_notations_that_pass(when: object) -> None:
    assert passes(when)


def test_a_member_with_an_object_is_infix_whatever_its_key() -> None:
    assert value({"$not": {"$has": "x"}}, {"x": "1"}) is False
    assert value({"$not": {"$has": "x"}}, {"x": "1", "true": "1"}) is True
    assert refusal({"$limit": {"$add": [1, 2]}}).startswith("Unknown '$' literal '$limit'")
    assert value({"$add": {"$add": 2}}) == 2
    assert refusal({"$add": {"$add": [1, 2]}}) == "Array type is not supported: [1,2]"
    assert value({"$not": [{"$has": "x"}]}, {}) is True


def test_members_are_evaluated_in_order_up_to_the_first_false() -> None:
    assert not passes({"&a": {"$eq": 11}, "&missing": {"$eq": 1}})
    with pytest.raises(NotFound):
        passes({"&missing": {"$eq": 1}, "&a": {"$eq": 11}})


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"&x": {}}, "Object notation must have exactly one operator"),
        ({"&x": {"$gt": 1, "$lt": 5}}, "Object notation must have exactly one operator"),
        ({"$and": [{"&x": {"$gt": 1, "$lt": 5}}]}, "Object notation must have exactly one operator"),
        ({"&x": {"$in": [10, 20]}}, "Array type is not supported: [10,20]"),
        ({"$in": ["&x", [10, 20]]}, "Array type is not supported: [10,20]"),
        ({"$eq": ["&x", None]}, "Null type is not supported: null"),
        ({"&x": {"$eq": None}}, "Null type is not supported: null"),
        ({"$not": None}, "Null type is not supported: null"),
        ({"and": [True]}, "Operator 'and' must start with '$'"),
        ({"&x": 5}, "Operator '&x' must start with '$'"),
        ({"&x": {"eq": 5}}, "Operator 'eq' must start with '$'"),
        ({"$xx": [1]}, "Operator '$xx' not supported"),
        ({"&x": {"$xx": 5}}, "Operator '$xx' not supported"),
        ({"$EQ": [1, 1]}, "Operator '$EQ' not supported"),
        ({"$$eq": [1, 1]}, "Operator '$$eq' not supported"),
        ({"$eq": ["$x", 1]}, "Unknown '$' literal '$x'; use '$$' to escape a string value"),
        ({"$eq": ["$", 1]}, "Unknown '$' literal '$'; use '$$' to escape a string value"),
        ({"$eq": ["$limit", 1]}, "Unknown '$' literal '$limit'; use '$$' to escape a string value"),
        ({"$y": {"$eq": 1}}, "Unknown '$' literal '$y'; use '$$' to escape a string value"),
        ([1], "Condition must be a JSON object: [1]"),
        ("x", 'Condition must be a JSON object: "x"'),
        (5, "Condition must be a JSON object: 5"),
        (False, "Condition must be a JSON object: false"),
    ],
)
def test_shapes_that_are_refused(when: object, message: str) -> None:
    assert refusal(when) == message


def test_operators_without_operands_as_literals() -> None:
    for name in ("$timestamp", "$id"):
        assert value({"$add": [name]}) == LEAP_DAY
    for name, empty in (("$and", True), ("$or", False), ("$not", True), ("$xor", False), ("$add", 0), ("$mult", 0)):
        assert value({"$cast": [name, "int"]}) == int(empty)
    for name in ("$all_of", "$any_of", "$none_of", "$one_of"):
        assert isinstance(value({"$add": [name]}), bool)
    needing = [name for name, operator in OPERATORS.items() if operator.least]
    assert len(needing) > 25
    for name in needing:
        assert refusal({"$add": [name]}).startswith("Unknown '$' literal")


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 10**400, math.inf, math.nan, -math.inf])
def test_numbers_beyond_64_bits_are_refused(number: float) -> None:
    assert refusal({"&a": {"$eq": number}}).startswith(("Integer", "Number"))
    assert compile_condition({"$in": ["&a", INT_MAX, INT_MIN]})


def test_depth_is_limited() -> None:
    def nested(depth: int) -> dict[str, Any]:
        when: dict[str, Any] = {"$not": [True]}
        for _ in range(depth - 1):
            when = {"$not": [when]}
        return when

    assert passes(nested(MAX_DEPTH)) is (MAX_DEPTH % 2 == 0)
    assert "too deep: up to 32" in refusal(nested(MAX_DEPTH + 1))
    assert "too deep" in refusal(nested(400_000))
    infix: dict[str, Any] = {"$add": [1]}
    for _ in range(MAX_DEPTH):
        infix = {"&a": {"$eq": infix}}
    assert "too deep" in refusal(infix)


def test_size_is_limited() -> None:
    assert passes({"$in": ["&a", *range(MAX_NODES - 2)]})
    assert "too large: up to 1000" in refusal({"$in": ["&a", *range(MAX_NODES - 1)]})
    assert "too large" in refusal({f"{i}": {"$add": 1} for i in range(400)})


def test_texts_that_are_no_utf8_are_refused() -> None:
    for when in ({"&\ud800": {"$eq": 1}}, {"$eq": ["\udfff", 1]}, {"#ctx_before": "\ud800"}, {"&a": {"\ud800": 1}}):
        assert "surrogate" in refusal(when)
    assert "type is not supported: bytes" in refusal({"$eq": [b"x", 1]})
    assert "type is not supported: int" in refusal({5: [1]})


def test_references_and_literals() -> None:
    assert value({"$add": ["&a"]}) == 10
    assert value({"$add": ["&t"]}) is True
    assert value({"$add": ["&f"]}) == 2.5
    assert value({"$add": ["&s"]}) == "text"
    assert value({"$add": ["&"]}, {"": "7"}) == 7
    assert value({"$add": ["$$plugin"]}) == "$plugin"
    assert value({"$add": ["$$$a"]}) == "$$a"
    assert value({"$add": ["1h -30m"]}) == Duration(1_800_000_000)
    assert value({"$add": ["2.5m"]}) == "2.5m"
    assert value({"$add": ["true"]}) == "true"
    assert value({"$add": ["7"]}) == "7"
    assert value({"$add": ["&d"]}, {"d": "1h"}) == "1h", "a label never is a duration"
    assert value({"$add": ["#x"]}) == "#x"


def test_missing_labels_are_not_found() -> None:
    for expression, message in (
        ({"$add": ["&x"]}, "Reference 'x' not found"),
        ({"$add": ["@x"]}, "Reference '@x' not found"),
        ({"@a": {"$eq": 1}}, "Reference '@a' not found"),
        ({"$ref": ["x"]}, "Label '\"x\"' not found"),
        ({"$or": ["&x", True]}, "Reference 'x' not found"),
        ({"$not": ["&x"]}, "Reference 'x' not found"),
        ({"$xor": [True, "&x"]}, "Reference 'x' not found"),
        ({"$in": ["&a", 10, "&x"]}, "Reference 'x' not found"),
    ):
        with pytest.raises(NotFound) as error:
            value(expression)
        assert str(error.value) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(sorted(OPERATORS)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(sorted(OPERATORS)) | st.sampled_from(("&a", "#ctx_after", "#ext")), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON, st.dictionaries(st.sampled_from("ab"), st.text(max_size=5)))
def test_any_json_either_compiles_and_runs_or_is_refused(when: object, labels: dict[str, str]) -> None:
    evaluation = None
    with suppress(InvalidArgument):
        evaluation = compile_condition(when).start(True)
    for time_us in (0, 1, (1 << 64) - 1):
        with suppress(InvalidArgument, NotFound):
            assert evaluation is None or evaluation.one(time_us, labels) in (True, False)


def test_hostile_conditions_are_refused_or_run_in_no_time() -> None:
    started = time.process_time()
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    wide = {"$in": list(range(500_000))}
    for when in ({"$and": deep}, {"$and": [deep]}, wide, {"$and": [{}] * 300_000 + [None]}, {"#ext": deep, "$x": 1}):
        refusal(when)
    long = "x" * 1_000_000
    for when in ({long: [1]}, {"$" + long: [1]}, {"$eq": ["$" + long, 1]}, {"#" + long: 1}, {"$and": [[long]]}):
        assert len(refusal(when)) < 400
    labels = {"l": "1" * 60_000}
    heavy = {"$or": [{"$eq": [{"$cast": [{"$cast": ["&l", "string"]}, "float"]}, 1]}] * 140}
    assert not passes(heavy, labels)
    assert time.process_time() - started < 2
