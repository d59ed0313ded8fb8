"""Expressions of conditions as trees of nodes, each with its value for one record: the plain evaluation that all
faster ones must equal (contract 10.1 to 10.3)."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple, Protocol, TypeAlias

from lamina.errors import InvalidArgument, NotFound
from lamina.records.condition import value as values
from lamina.records.condition.value import INT_MAX, Duration, Value, equal, from_label, key, short, to_bool, to_text


class Row(Protocol):
    """One record as expressions see it."""

    @property
    def time_us(self) -> int: ...

    def text(self, name: str) -> str | None:
        """The text of a label; None: the record has no such label."""
        ...

    def label(self, name: str) -> Value | None:
        """What that text reads as."""
        ...


class RecordRow(NamedTuple):
    """A single record."""

    time_us: int
    labels: Mapping[str, str]

    def text(self, name: str) -> str | None:
        return self.labels.get(name)

    def label(self, name: str) -> Value | None:
        text = self.labels.get(name)
        return None if text is None else from_label(text)


class Reads(NamedTuple):
    """What the value of a node depends on."""

    labels: frozenset[str] = frozenset()
    any_label: bool = False  # names of labels are known only record by record
    time: bool = False
    state: bool = False  # of the query: earlier records count

    def __or__(self, other: Reads) -> Reads:
        return Reads(
            self.labels | other.labels,
            self.any_label or other.any_label,
            self.time or other.time,
            self.state or other.state,
        )


NOTHING = Reads()


class Node(ABC):
    """An expression. Immutable unless it carries state; then every query has its own copy."""

    __slots__ = ("reads",)
    reads: Reads

    @abstractmethod
    def value(self, row: Row) -> Value:
        """Raises InvalidArgument or NotFound (contract 10.6); Ended where a $limit is reached."""

    def fresh(self) -> Node:
        """The same expression before its first record."""
        return self


Nodes: TypeAlias = tuple[Node, ...]
Function: TypeAlias = Callable[[Sequence[Value]], Value]


class Constant(Node):
    __slots__ = ("constant",)

    def __init__(self, constant: Value) -> None:
        self.constant = constant
        self.reads = NOTHING

    def value(self, row: Row) -> Value:
        return self.constant


class Label(Node):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.reads = Reads(frozenset((name,)))

    def value(self, row: Row) -> Value:
        value = row.label(self.name)
        if value is None:
            raise NotFound(f"Reference '{short(self.name)}' not found")
        return value


class ComputedLabel(Node):
    """Labels that extensions of the server compute: there are none, so no record has one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.reads = NOTHING

    def value(self, row: Row) -> Value:
        raise NotFound(f"Reference '@{short(self.name)}' not found")


class LabelIs(Node):
    """Whether the record has the label with exactly this text; never an error (contract 8.6)."""

    __slots__ = ("expected", "name")

    def __init__(self, name: str, expected: str) -> None:
        self.name, self.expected = name, expected
        self.reads = Reads(frozenset((name,)))

    def value(self, row: Row) -> Value:
        return row.text(self.name) == self.expected


class Timestamp(Node):
    __slots__ = ()

    def __init__(self, operands: Nodes = ()) -> None:
        self.reads = Reads(time=True)

    def value(self, row: Row) -> Value:
        return min(row.time_us, INT_MAX)  # times go up to 2^64-1, ints of conditions do not


class Operation(Node):
    """A node with operands."""

    __slots__ = ("operands",)

    def __init__(self, operands: Nodes) -> None:
        self.operands = operands
        self.reads = reduce(Reads.__or__, (operand.reads for operand in operands), NOTHING)

    def fresh(self) -> Node:
        return self.on(tuple(operand.fresh() for operand in self.operands)) if self.reads.state else self

    def on(self, operands: Nodes) -> Node:
        """The same operation on other operands, without a past."""
        return type(self)(operands)


class Pure(Operation):
    """A function of the values of all operands."""

    __slots__ = ("function",)

    def __init__(self, function: Function, operands: Nodes) -> None:
        super().__init__(operands)
        self.function = function

    def on(self, operands: Nodes) -> Node:
        return Pure(self.function, operands)

    def value(self, row: Row) -> Value:
        return self.function([operand.value(row) for operand in self.operands])


class Comparison(Operation):
    """Equality or order of two values; a text has no order with anything else."""

    __slots__ = ("sign",)

    def __init__(self, sign: str, operands: Nodes) -> None:
        super().__init__(operands)
        self.sign = sign

    def on(self, operands: Nodes) -> Node:
        return Comparison(self.sign, operands)

    def value(self, row: Row) -> Value:
        left, right = self.operands
        return compare(self.sign, left.value(row), right.value(row))


def compare(sign: str, left: Value, right: Value) -> bool:
    """Numbers of all types compare exactly, texts by code point, which is the order of their bytes in UTF-8."""
    a, b = key(left), key(right)
    if sign == "==":
        return a == b
    if sign == "!=":
        return a != b
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and _ORDER[sign](a, b)
    return _ORDER[sign](a, b)


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class In(Operation):
    """Whether the first operand equals one of the rest. Constants are looked up, not compared one by one."""

    __slots__ = ("constants", "negated", "others")

    def __init__(self, negated: bool, operands: Nodes) -> None:
        super().__init__(operands)
        self.negated = negated
        self.constants = frozenset(key(node.constant) for node in operands[1:] if isinstance(node, Constant))
        self.others = tuple(node for node in operands[1:] if not isinstance(node, Constant))

    def on(self, operands: Nodes) -> Node:
        return In(self.negated, operands)

    def value(self, row: Row) -> Value:
        first = self.operands[0].value(row)
        found = key(first) in self.constants
        for other in self.others:  # all of them: an error in one aborts
            found |= equal(first, other.value(row))
        return found != self.negated


class And(Operation):
    __slots__ = ()

    def value(self, row: Row) -> Value:
        return all(to_bool(operand.value(row)) for operand in self.operands)


class Or(Operation):
    __slots__ = ()

    def value(self, row: Row) -> Value:
        return any(to_bool(operand.value(row)) for operand in self.operands)


class Not(Operation):
    __slots__ = ()

    def value(self, row: Row) -> Value:
        return _count_true(self.operands, row) == 0


class Xor(Operation):
    __slots__ = ()

    def value(self, row: Row) -> Value:
        return _count_true(self.operands, row) == 1


def _count_true(operands: Nodes, row: Row) -> int:
    return sum([to_bool(operand.value(row)) for operand in operands])


class _Named(Operation):
    """Operands give names of labels."""

    __slots__ = ()

    def __init__(self, operands: Nodes) -> None:
        super().__init__(operands)
        names = {to_text(node.constant) for node in operands if isinstance(node, Constant)}
        unknown = not all(isinstance(node, Constant) for node in operands)
        self.reads |= Reads(frozenset(names), any_label=unknown)


class Exists(_Named):
    __slots__ = ()

    def value(self, row: Row) -> Value:
        names = [to_text(operand.value(row)) for operand in self.operands]
        return all(row.text(name) is not None for name in names)


class Ref(_Named):
    __slots__ = ()

    def value(self, row: Row) -> Value:
        name = to_text(self.operands[0].value(row))
        value = row.label(name)
        if value is None:
            raise NotFound(f"Label '\"{short(name)}\"' not found")
        return value


_CASTS: dict[str, Callable[[Value], Value]] = {
    "bool": values.to_bool,
    "int": values.to_int,
    "float": values.to_float,
    "string": values.to_text,
    "duration": lambda value: Duration(values.to_int(value)),
}


def cast(operands: Sequence[Value]) -> Value:
    """The first operand as the type that the second names."""
    name = to_text(operands[1])
    if name not in _CASTS:
        raise InvalidArgument(f"Unknown type '{short(name)}'")
    return _CASTS[name](operands[0])
