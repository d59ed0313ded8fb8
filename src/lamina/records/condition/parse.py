"""From the JSON of a condition to its expressions (contract 10.1, 10.2)."""

from __future__ import annotations

from lamina.errors import InvalidArgument
from lamina.records.condition.expression import ComputedLabel, Constant, Label, Node, Nodes
from lamina.records.condition.literal import check_int, check_text, parse_duration, shown
from lamina.records.condition.operators import OPERATORS
from lamina.records.condition.value import Value, short

MAX_DEPTH = 32  # operators inside each other (architecture section 15): evaluation recurses so deep
MAX_NODES = 1_000  # operators, literals and references: what one record may cost


def parse_members(members: dict[str, object]) -> Nodes:
    """One expression for each member, in their order. Raises InvalidArgument with the contract's messages."""
    return _Parser().members(members, 1)


def parse_literal(text: str) -> Value | None:
    """The value a text of a condition stands for; None if it is a reference or an operator. Raises InvalidArgument."""
    node = _Parser().literal(text)
    return node.constant if isinstance(node, Constant) else None


class _Parser:
    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        self._nodes = 0

    def members(self, members: dict[str, object], depth: int) -> Nodes:
        return tuple(self._member(check_text(name), value, depth) for name, value in members.items())

    def _member(self, name: str, value: object, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"Condition is too deep: up to {MAX_DEPTH} operators inside each other are allowed")
        if isinstance(value, list):
            return self._operation(name, tuple(node for item in value for node in self._operands(item, depth)))
        if not isinstance(value, dict):
            return self._operation(name, self._operands(value, depth))
        if len(value) != 1:
            raise InvalidArgument("Object notation must have exactly one operator")
        left = self.literal(name)
        ((operator, right),) = value.items()
        return self._operation(check_text(operator), (left, *self._operands(right, depth)))

    def _operands(self, value: object, depth: int) -> Nodes:
        """What a value in place of an operand contributes."""
        if isinstance(value, dict):
            return self.members(value, depth + 1)
        return (self.literal(value),)

    def literal(self, value: object) -> Node:
        self._count()
        if value is None:
            raise InvalidArgument("Null type is not supported: null")
        if isinstance(value, list):
            raise InvalidArgument(f"Array type is not supported: {shown(value)}")
        if isinstance(value, bool):
            return Constant(value)
        if isinstance(value, int):
            return Constant(check_int(value))
        if isinstance(value, float):
            if value - value != 0:
                raise InvalidArgument(f"Number {value} is not supported: expected a finite one")
            return Constant(value)
        text = check_text(value)
        if text.startswith("&"):
            return Label(text[1:])
        if text.startswith("@"):
            return ComputedLabel(text[1:])
        if text.startswith("$$"):
            return Constant(text[1:])
        if text.startswith("$"):
            operator = OPERATORS.get(text)
            if operator is None or operator.least:
                raise InvalidArgument(f"Unknown '$' literal '{short(text)}'; use '$$' to escape a string value")
            return operator.on(())
        duration = parse_duration(text)
        return Constant(text if duration is None else duration)

    def _operation(self, name: str, operands: Nodes) -> Node:
        self._count()
        if not name.startswith("$"):
            raise InvalidArgument(f"Operator '{short(name)}' must start with '$'")
        operator = OPERATORS.get(name)
        if operator is None:
            raise InvalidArgument(f"Operator '{short(name)}' not supported")
        return operator.on(operands)

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidArgument(f"Condition is too large: up to {MAX_NODES} operators and operands are allowed")
