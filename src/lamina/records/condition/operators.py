"""The operators by name: how many operands they take and which expression they make (contract 10.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from lamina.errors import InvalidArgument
from lamina.records.condition import arithmetic
from lamina.records.condition.dates import PARTS, date_part
from lamina.records.condition.expression import (
    And,
    Comparison,
    Exists,
    Function,
    In,
    Node,
    Nodes,
    Not,
    Or,
    Pure,
    Ref,
    Timestamp,
    Xor,
    cast,
)
from lamina.records.condition.stateful import EachN, EachT, Gate, Limit
from lamina.records.condition.value import Value, to_text


class Operator(NamedTuple):
    name: str  # the main one, which messages show
    least: int
    most: int | None  # operands; None: any number
    counted: str  # the message on a wrong number, after the name
    make: Callable[[Nodes], Node]

    def on(self, operands: Nodes) -> Node:
        """The expression. Raises InvalidArgument for a wrong number of operands."""
        if len(operands) < self.least or (self.most is not None and len(operands) > self.most):
            raise InvalidArgument(f"{self.name} {self.counted}")
        return self.make(operands)


OPERATORS: dict[str, Operator] = {}


def _define(names: str, least: int, most: int | None, counted: str, make: Callable[[Nodes], Node]) -> None:
    main, *aliases = names.split()
    operator = Operator(main, least, most, counted, make)
    for name in (main, *aliases):
        OPERATORS[name] = operator


def _any_number(names: str, make: Callable[[Nodes], Node]) -> None:
    _define(names, 0, None, "takes any number of operands", make)


def _one(names: str, make: Callable[[Nodes], Node]) -> None:
    _define(names, 1, 1, "requires exactly one operand", make)


def _two(names: str, make: Callable[[Nodes], Node]) -> None:
    _define(names, 2, 2, "requires exactly two operands", make)


def _pure(function: Function) -> Callable[[Nodes], Node]:
    return partial(Pure, function)


def _contains(values: Sequence[Value]) -> Value:
    return to_text(values[1]) in to_text(values[0])


def _starts_with(values: Sequence[Value]) -> Value:
    return to_text(values[0]).startswith(to_text(values[1]))


def _ends_with(values: Sequence[Value]) -> Value:
    return to_text(values[0]).endswith(to_text(values[1]))


_any_number("$and $all_of", And)
_any_number("$or $any_of", Or)
_any_number("$not $none_of", Not)
_any_number("$xor $one_of", Xor)
_define("$in", 2, None, "operator requires at least two operands", partial(In, False))
_define("$nin", 2, None, "operator requires at least two operands", partial(In, True))
for _name, _sign in (("$eq", "=="), ("$ne", "!="), ("$gt", ">"), ("$gte", ">="), ("$lt", "<"), ("$lte", "<=")):
    _two(_name, partial(Comparison, _sign))
_any_number("$add", _pure(arithmetic.add))
_any_number("$mult", _pure(arithmetic.multiply))
_two("$sub", _pure(arithmetic.subtract))
_two("$div", _pure(arithmetic.divide))
_two("$div_num", _pure(arithmetic.divide_whole))
_two("$rem", _pure(arithmetic.remainder))
_one("$abs", _pure(arithmetic.absolute))
_two("$contains", _pure(_contains))
_two("$starts_with", _pure(_starts_with))
_two("$ends_with", _pure(_ends_with))
_define("$exists $has", 1, None, "requires at least one operand", Exists)
_one("$ref", Ref)
_two("$cast", _pure(cast))
_define("$timestamp $id", 0, 0, "requires no operands", Timestamp)
for _name in PARTS:
    _define(_name, 1, 2, "requires one or two operands", _pure(date_part(_name)))
_one("$each_n", EachN)
_one("$each_t", EachT)
_one("$limit", Limit)
_two("$gate", Gate)
