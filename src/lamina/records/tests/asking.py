"""Small questions to conditions, for the tests of their language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lamina.errors import InvalidArgument
from lamina.records.condition import compile_condition
from lamina.records.condition.expression import RecordRow
from lamina.records.condition.parse import parse_members
from lamina.records.condition.value import Value
from lamina.testing.conditions import Record

# 2024-02-29 23:30:15.5 UTC, a Thursday
LEAP_DAY = 1_709_249_415_500_000

LABELS = {"a": "10", "t": "true", "s": "text", "f": "2.5", "neg": "-3", "zero": "0", "empty": "", "name": "a"}


def value(expression: dict[str, Any], labels: Mapping[str, str] = LABELS, time_us: int = LEAP_DAY) -> Value:
    """Of a condition with a single member."""
    (node,) = parse_members(expression)
    return node.value(RecordRow(time_us, labels))


def passes(when: object, labels: Mapping[str, str] = LABELS, time_us: int = LEAP_DAY) -> bool:
    """In strict mode."""
    return compile_condition(when).start(True).one(time_us, labels)


def refusal(when: object) -> str:
    """The message at creation."""
    with pytest.raises(InvalidArgument) as error:
        compile_condition(when)
    return str(error.value)


def failure(expression: dict[str, Any], labels: Mapping[str, str] = LABELS) -> str:
    """The message at run time."""
    with pytest.raises(InvalidArgument) as error:
        value(expression, labels)
    return str(error.value)


def kept(when: object, rows: Sequence[Record]) -> list[int]:
    """Times that pass, record by record."""
    evaluation = compile_condition(when).start(False)
    return [time for time, labels in rows if evaluation.one(time, labels)]


def every(step: int, count: int, **labels: str) -> list[Record]:
    return [(step * i, labels) for i in range(count)]
