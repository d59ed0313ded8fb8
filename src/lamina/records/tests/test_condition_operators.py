"""Operators without state, and their messages (contract 10.3)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lamina.errors import NotFound
from lamina.records.condition import Duration, compile_condition
from lamina.records.condition.value import INT_MAX, INT_MIN, Value
from lamina.records.tests.asking import LABELS, LEAP_DAY, failure, refusal, value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"$and": []}, True),
        ({"$and": [True, 1, "x"]}, True),
        ({"$and": [False, "&missing"]}, False),
        ({"$all_of": [True, 0]}, False),
        ({"$or": []}, False),
        ({"$or": [True, "&missing"]}, True),
        ({"$any_of": [0, "", 0.0, "0us"]}, False),
        ({"$not": []}, True),
        ({"$not": [False, 0]}, True),
        ({"$none_of": [False, True]}, False),
        ({"$xor": []}, False),
        ({"$xor": [True, False, False]}, True),
        ({"$xor": [True, True]}, False),
        ({"$one_of": [True, True, True]}, False),
        ({"$in": ["&a", 9, 10]}, True),
        ({"$in": ["&a", 10.0]}, True),
        ({"$in": ["&a", "10"]}, False),
        ({"$in": ["&t", 1]}, True),
        ({"$in": ["&s", "x", "text"]}, True),
        ({"$in": ["&s", "x", "&s"]}, True),
        ({"$nin": ["&a", 9, 11]}, True),
        ({"$nin": ["&a", 9, "&a"]}, False),
        ({"$in": ["1s", 1_000_000]}, True),
        ({"$eq": ["&a", 10.0]}, True),
        ({"$eq": ["&a", "10"]}, False),
        ({"$ne": ["&a", "10"]}, True),
        ({"$ne": ["&a", 10]}, False),
        ({"$gt": ["&a", 9.5]}, True),
        ({"$gt": ["&a", 10]}, False),
        ({"$gte": ["&a", 10]}, True),
        ({"$lt": ["&neg", 0]}, True),
        ({"$lte": ["&neg", -4]}, False),
        ({"$gt": ["&s", 5]}, False),
        ({"$lt": ["&s", 5]}, False),
        ({"$gte": [5, "&s"]}, False),
        ({"$lte": [5, "&s"]}, False),
        ({"$lt": ["B", "a"]}, True),
        ({"$lt": ["\uffff", "\U00010000"]}, True),  # as bytes of UTF-8, not as UTF-16
        ({"$gt": ["&t", False]}, True),
        ({"$eq": ["&t", 1.0]}, True),
        ({"$lt": ["&a", "1ms"]}, True),
        ({"$add": []}, 0),
        ({"$add": [1, 2, 3]}, 6),
        ({"$add": [1, 2.5]}, 3.5),
        ({"$add": [True, True]}, 2),
        ({"$add": ["1s", 1]}, 1_000_001),
        ({"$add": ["1s", "1s"]}, 2_000_000),
        ({"$add": ["x", "&s", "z"]}, "xtextz"),
        ({"$mult": []}, 0),
        ({"$mult": [2, 3, 4]}, 24),
        ({"$mult": [2, 0.5]}, 1.0),
        ({"$sub": ["&a", 3]}, 7),
        ({"$sub": ["&a", 0.5]}, 9.5),
        ({"$sub": [True, "1us"]}, 0),
        ({"$div": [7, 2]}, 3.5),
        ({"$div": [6, 2]}, 3.0),
        ({"$div": [True, "2us"]}, 0.5),
        ({"$div_num": [-7, 2]}, -3),
        ({"$div_num": [7, -2]}, -3),
        ({"$div_num": [7.9, 2.9]}, 3),
        ({"$rem": [-10, 6]}, -4),
        ({"$rem": [10, -6]}, 4),
        ({"$rem": [10.5, 3]}, 1.5),
        ({"$rem": [-10.5, 3]}, -1.5),
        ({"$abs": ["&neg"]}, 3),
        ({"$abs": [-2.5]}, 2.5),
        ({"$abs": [True]}, 1),
        ({"$abs": ["-1ms"]}, 1_000),
        ({"$contains": ["&s", "ex"]}, True),
        ({"$contains": ["&a", 0]}, True),
        ({"$contains": [True, "ru"]}, True),
        ({"$contains": ["x", ""]}, True),
        ({"$starts_with": ["&f", 2]}, True),
        ({"$starts_with": ["&s", "ext"]}, False),
        ({"$ends_with": ["1h 30m", "30m"]}, True),
        ({"$ends_with": [10.0, "0"]}, True),
        ({"$exists": ["a", "s"]}, True),
        ({"$exists": ["a", "missing"]}, False),
        ({"$has": ["&name"]}, True),  # the name is in a label
        ({"$ref": ["a"]}, 10),
        ({"$ref": ["&name"]}, 10),
        ({"$ref": [{"$add": ["na", "me"]}]}, "a"),
        ({"$cast": ["&a", "string"]}, "10"),
        ({"$cast": ["&a", "bool"]}, True),
        ({"$cast": ["&f", "int"]}, 2),
        ({"$cast": ["7", "float"]}, 7.0),
        ({"$cast": ["7", "duration"]}, Duration(7)),
        ({"$cast": ["1s", "int"]}, 1_000_000),
        ({"$cast": ["1s", "duration"]}, Duration(1_000_000)),
        ({"$cast": [True, "string"]}, "true"),
        ({"$timestamp": []}, LEAP_DAY),
        ({"$id": []}, LEAP_DAY),
        ({"$second": ["$timestamp"]}, 15),
        ({"$minute": "$timestamp"}, 30),
        ({"$hour": "$timestamp"}, 23),
        ({"$day": "$timestamp"}, 29),
        ({"$month": "$timestamp"}, 2),
        ({"$year": "$timestamp"}, 2024),
        ({"$weekday": "$timestamp"}, 3),
        ({"$hour": ["$timestamp", "Europe/Berlin"]}, 0),
        ({"$day": ["$timestamp", "Europe/Berlin"]}, 1),
        ({"$month": ["$timestamp", "Europe/Berlin"]}, 3),
        ({"$weekday": ["$timestamp", "Europe/Berlin"]}, 4),
        ({"$minute": ["$timestamp", "Asia/Kolkata"]}, 0),
        ({"$hour": ["$timestamp", "UTC"]}, 23),
        ({"$weekday": [0]}, 3),
        ({"$year": [-1]}, 1969),
    ],
)
def test_operators(expression: dict[str, Any], expected: Value) -> None:
    result = value(expression)
    assert result == expected
    assert type(result) is type(expected)


def test_computed_labels_do_not_exist() -> None:
    with pytest.raises(NotFound, match="Reference '@a' not found"):
        value({"$has": ["@a"]})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"$rem": [5.0, 0]}, math.nan),
        ({"$rem": [5, 0.0]}, math.nan),
        ({"$rem": ["&inf", 2]}, math.nan),
        ({"$rem": [5, "&inf"]}, 5.0),
        ({"$div": ["&inf", 2]}, math.inf),
        ({"$div": [1e308, 1e-308]}, math.inf),
        ({"$mult": [1e308, 1e308]}, math.inf),
        ({"$sub": ["&inf", "&inf"]}, math.nan),
        ({"$add": [INT_MAX, 1.0]}, 2.0**63),
    ],
)
def test_floats_go_to_infinity_and_nan(expression: dict[str, Any], expected: float) -> None:
    assert repr(value(expression, {"inf": "inf"})) == repr(expected)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"$div": [1, 0]}, "Cannot divide by zero"),
        ({"$div": [1, "&zero"]}, "Cannot divide by zero"),
        ({"$div": [1.0, 0.0]}, "Cannot divide by zero"),
        ({"$div_num": [1, 0]}, "Cannot divide by zero"),
        ({"$div_num": [1, 0.5]}, "Cannot divide by zero"),
        ({"$rem": [1, 0]}, "Cannot divide by zero"),
        ({"$rem": [True, False]}, "Cannot divide by zero"),
        ({"$add": ["x", 1]}, "Cannot add string to integer"),
        ({"$add": [1.5, "x"]}, "Cannot add float to string"),
        ({"$add": ["x", "y", True]}, "Cannot add string to boolean"),
        ({"$add": [1, 2.5, "x"]}, "Cannot add float to string"),
        ({"$add": ["1s", "x"]}, "Cannot add duration to string"),
        ({"$mult": ["x", 2]}, "Cannot multiply string by integer"),
        ({"$mult": [2.5, "x"]}, "Cannot multiply float by string"),
        ({"$mult": ["x", "y"]}, "Cannot multiply string by string"),
        ({"$sub": ["x", 1]}, "Cannot subtract string from integer"),
        ({"$sub": [True, "x"]}, "Cannot subtract string from boolean"),
        ({"$sub": ["x", "1s"]}, "Cannot subtract string from duration"),
        ({"$sub": ["x", "y"]}, "Cannot subtract string"),
        ({"$rem": ["x", 1]}, "Cannot divide string by integer"),
        ({"$rem": [1.5, "x"]}, "Cannot divide float by string"),
        ({"$rem": ["x", "y"]}, "Cannot divide string"),
        ({"$div": ["x", 1]}, "Cannot divide string"),
        ({"$div": [1, "x"]}, "Cannot divide by string"),
        ({"$div_num": ["7", 1]}, "Cannot divide string"),
        ({"$div_num": [1, "7"]}, "Cannot divide by string"),
        ({"$abs": ["x"]}, "Cannot calculate absolute value of a string"),
        ({"$cast": ["x", "int"]}, "Value 'x' could not be parsed as integer"),
        ({"$cast": ["x", "float"]}, "Value 'x' could not be parsed as float"),
        ({"$cast": ["&h", "duration"]}, "Value '1h' could not be parsed as integer"),
        ({"$cast": [1, "number"]}, "Unknown type 'number'"),
        ({"$cast": [1, 5]}, "Unknown type '5'"),
        ({"$hour": ["$timestamp", "Mars/Base"]}, "Invalid timezone: 'Mars/Base'"),
        ({"$hour": ["$timestamp", ""]}, "Invalid timezone: ''"),
        ({"$hour": ["$timestamp", "Europe"]}, "Invalid timezone: 'Europe'"),
        ({"$hour": ["$timestamp", "/etc/passwd"]}, "Invalid timezone: '/etc/passwd'"),
        ({"$hour": ["$timestamp", "../zoneinfo/UTC"]}, "Invalid timezone: '../zoneinfo/UTC'"),
        ({"$hour": ["$timestamp", "a\0b"]}, "Invalid timezone: 'a\0b'"),
        ({"$hour": ["$timestamp", "zone.tab"]}, "Invalid timezone: 'zone.tab'"),
        ({"$hour": ["$timestamp", 5]}, "$hour requires timezone to be a string"),
        ({"$weekday": ["$timestamp", "1h"]}, "$weekday requires timezone to be a string"),
        ({"$hour": ["x"]}, "Value 'x' could not be parsed as integer"),
        ({"$each_n": [0]}, "Value '0' is not a valid operand for $each_n"),
        ({"$each_n": ["x"]}, "Value 'x' could not be parsed as integer"),
        ({"$each_t": ["x"]}, "Value 'x' could not be parsed as float"),
        ({"$limit": ["x"]}, "Value 'x' could not be parsed as integer"),
        ({"$gate": ["x", True]}, "Value 'x' could not be parsed as float"),
    ],
)
def test_messages_at_run_time(expression: dict[str, Any], message: str) -> None:
    assert failure(expression, {**LABELS, "h": "1h"}) == message
    assert compile_condition(expression).start(False).one(1, LABELS) is False


@pytest.mark.parametrize(
    "expression",
    [
        {"$add": [INT_MAX, 1]},
        {"$mult": [INT_MAX, INT_MAX]},
        {"$sub": [INT_MIN, 1]},
        {"$abs": [INT_MIN]},
        {"$div_num": [INT_MIN, -1]},
    ],
)
def test_ints_stay_within_64_bits(expression: dict[str, Any]) -> None:
    assert failure(expression).startswith("Integer overflow: ")


@pytest.mark.parametrize("time_us", [INT_MAX, INT_MIN, 253_402_300_800_000_000])
def test_dates_outside_the_years_1_to_9999(time_us: int) -> None:
    assert "out of range" in failure({"$year": [time_us]})
    assert "out of range" in failure({"$year": [time_us, "Asia/Tokyo"]})
    assert "out of range" in failure({"$year": [253_402_300_799_000_000, "Asia/Tokyo"]}), "there it is year 10000"


def test_times_beyond_int64_read_as_the_largest_int() -> None:
    assert value({"$timestamp": []}, {}, (1 << 64) - 1) == INT_MAX


def test_long_names_of_zones_are_refused() -> None:
    assert failure({"$hour": [0, "x" * 100_000]}).startswith("Invalid timezone: 'xxx")
    assert len(failure({"$hour": [0, "x" * 100_000]})) < 300


def test_texts_do_not_grow_without_bound() -> None:
    labels = {"l": "x" * 60_000}
    assert len(str(value({"$add": ["&l"] * 4}, labels))) == 240_000
    assert failure({"$add": ["&l"] * 5}, labels) == "Text made by $add is longer than 262144 characters"
    assert failure({"$add": [{"$add": ["&l"] * 3}, {"$add": ["&l"] * 3}]}, labels).startswith("Text made by $add")


@pytest.mark.parametrize(
    ("names", "counts", "message"),
    [
        ("$each_n $each_t $limit $abs $ref", (0, 2), "{} requires exactly one operand"),
        ("$eq $ne $gt $gte $lt $lte $sub $div $div_num $rem", (1, 3), "{} requires exactly two operands"),
        ("$contains $starts_with $ends_with $cast $gate", (0, 1, 3), "{} requires exactly two operands"),
        ("$in $nin", (0, 1), "{} operator requires at least two operands"),
        ("$exists", (0,), "{} requires at least one operand"),
        ("$timestamp", (1, 2), "{} requires no operands"),
        ("$second $minute $hour $day $month $year $weekday", (0, 3), "{} requires one or two operands"),
    ],
)
def test_numbers_of_operands_are_checked_at_creation(names: str, counts: tuple[int, ...], message: str) -> None:
    for name in names.split():
        for count in counts:
            assert refusal({name: [1] * count}) == message.format(name)


def test_messages_about_operands_use_the_main_name() -> None:
    assert refusal({"$has": []}) == "$exists requires at least one operand"
    assert refusal({"$id": [1]}) == "$timestamp requires no operands"
    assert refusal({"&a": {"$limit": 1}}) == "$limit requires exactly one operand"
    assert refusal({"$eq": [{}, 1]}) == "$eq requires exactly two operands"
