"""Arithmetic of conditions (contract 10.3). Bools and durations count as ints; results of ints stay within int64."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lamina.errors import InvalidArgument
from lamina.records.condition.value import INT_MAX, INT_MIN, Value, number, to_float, to_int, type_word

MAX_TEXT = 256 * 1024  # characters $add may make of texts: four times what all labels of a record hold


def add(values: Sequence[Value]) -> Value:
    """Sum, or texts joined; 0 of nothing, a single value as it is."""
    if len(values) > 1 and all(isinstance(value, str) for value in values):
        if sum(len(value) for value in values if isinstance(value, str)) > MAX_TEXT:
            raise InvalidArgument(f"Text made by $add is longer than {MAX_TEXT} characters")
        return "".join(value for value in values if isinstance(value, str))
    total: Value = values[0] if values else 0
    for value in values[1:]:
        if isinstance(total, str) and isinstance(value, str):
            continue  # not all are texts, so the fold breaks off further on
        if isinstance(total, str) or isinstance(value, str):
            raise InvalidArgument(f"Cannot add {type_word(total)} to {type_word(value)}")
        total = _within(number(total) + number(value))
    return total


def multiply(values: Sequence[Value]) -> Value:
    """Product; 0 of nothing, a single value as it is."""
    total: Value = values[0] if values else 0
    for value in values[1:]:
        if isinstance(total, str) or isinstance(value, str):
            raise InvalidArgument(f"Cannot multiply {type_word(total)} by {type_word(value)}")
        total = _within(number(total) * number(value))
    return total


def subtract(values: Sequence[Value]) -> Value:
    left, right = values
    if isinstance(left, str) and isinstance(right, str):
        raise InvalidArgument("Cannot subtract string")
    if isinstance(left, str):
        raise InvalidArgument(f"Cannot subtract string from {type_word(right)}")
    if isinstance(right, str):
        raise InvalidArgument(f"Cannot subtract string from {type_word(left)}")
    return _within(number(left) - number(right))


def divide(values: Sequence[Value]) -> Value:
    """Quotient as a float."""
    left, right = values
    _refuse_texts(left, right)
    divisor = to_float(right)
    if divisor == 0:
        raise InvalidArgument("Cannot divide by zero")
    return to_float(left) / divisor


def divide_whole(values: Sequence[Value]) -> Value:
    """Quotient of the integer parts, towards zero."""
    left, right = values
    _refuse_texts(left, right)
    dividend, divisor = to_int(left), to_int(right)
    if divisor == 0:
        raise InvalidArgument("Cannot divide by zero")
    quotient = abs(dividend) // abs(divisor)
    return _within(quotient if (dividend < 0) == (divisor < 0) else -quotient)


def _refuse_texts(left: Value, right: Value) -> None:
    if isinstance(left, str):
        raise InvalidArgument("Cannot divide string")
    if isinstance(right, str):
        raise InvalidArgument("Cannot divide by string")


def remainder(values: Sequence[Value]) -> Value:
    """Of the division towards zero, so with the sign of the dividend; NaN of a float by 0."""
    left, right = values
    if isinstance(left, str) and isinstance(right, str):
        raise InvalidArgument("Cannot divide string")
    if isinstance(left, str) or isinstance(right, str):
        raise InvalidArgument(f"Cannot divide {type_word(left)} by {type_word(right)}")
    dividend, divisor = number(left), number(right)
    if isinstance(dividend, int) and isinstance(divisor, int):
        if divisor == 0:
            raise InvalidArgument("Cannot divide by zero")
        rest = abs(dividend) % abs(divisor)
        return -rest if dividend < 0 else rest
    if divisor == 0 or math.isinf(dividend):
        return math.nan
    return math.fmod(dividend, divisor)


def absolute(values: Sequence[Value]) -> Value:
    (value,) = values
    if isinstance(value, str):
        raise InvalidArgument("Cannot calculate absolute value of a string")
    return _within(abs(number(value)))


def _within(result: int | float) -> int | float:
    if isinstance(result, int) and not INT_MIN <= result <= INT_MAX:
        raise InvalidArgument(f"Integer overflow: {result} does not fit into 64 bits")
    return result
