"""Whether a section can be left out unread: what an expression may give, judged by statistics of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from lamina.errors import LaminaError
from lamina.records.condition.columns import label_and_constant, turned
from lamina.records.condition.expression import (
    And,
    Comparison,
    Constant,
    Exists,
    In,
    Label,
    Node,
    Nodes,
    Not,
    Or,
    RecordRow,
    Timestamp,
    compare,
)
from lamina.records.condition.value import INT_MAX, Value, number, to_bool
from lamina.records.labels import LabelStats

Stats: TypeAlias = Callable[[str], LabelStats | None]


class Section(NamedTuple):
    """What is known of some records without reading them."""

    stats: Stats  # None: no record has the label
    t_min: int  # µs, of the first record
    t_max: int  # µs, of the last


class May(NamedTuple):
    """Whether any record may give this; true also where that is not known."""

    true: bool
    false: bool
    fail: bool

    def __or__(self, other: May) -> May:
        return May(self.true or other.true, self.false or other.false, self.fail or other.fail)


ANYTHING = May(True, True, True)
NEVER = May(False, False, False)


def may_match(nodes: Nodes, section: Section, strict: bool) -> bool:
    """False if feeding the section to a query would neither select a record nor change anything.

    Steps that carry state must not miss a record, and in strict mode no error may be lost.
    """
    for node in nodes:
        if node.reads.state:
            return True
        may = possible(node, section)
        if strict and may.fail:
            return True
        if not may.true:
            return False
    return True


def possible(node: Node, section: Section) -> May:
    """What a stateless expression may give."""
    reads = node.reads
    stats: LabelStats | None = None
    if not reads.time and not reads.any_label and len(reads.labels) <= 1:
        absent = _verdict(node, RecordRow(0, {}))
        for name in reads.labels:
            stats = section.stats(name)
        if stats is None:
            return absent
        if stats.values is not None:
            may = _by_values(node, name, stats.values)
            return may if stats.everywhere else may | absent
    if isinstance(node, And | Or):
        return _in_turn(node.operands, isinstance(node, Or), section)
    if isinstance(node, Not):
        return _none(node.operands, section)
    if reads.time:
        return _by_time(node, section)
    if stats is None:
        return ANYTHING
    return _by_range(node, stats) if stats.everywhere else _by_range(node, stats) | absent


def _in_turn(operands: Nodes, decisive: bool, section: Section) -> May:
    """$and, or $or: operands count until one is decisive, which is false, or true."""
    decided = fails = False
    undecided = True
    for operand in operands:
        may = possible(operand, section)
        decided |= may.true if decisive else may.false
        fails |= may.fail
        undecided = may.false if decisive else may.true
        if not undecided:
            break
    return May(decided, undecided, fails) if decisive else May(undecided, decided, fails)


def _none(operands: Nodes, section: Section) -> May:
    """$not: true if none is true."""
    mays = [possible(operand, section) for operand in operands]
    return May(all(may.false for may in mays), any(may.true for may in mays), any(may.fail for may in mays))


def _verdict(node: Node, row: RecordRow) -> May:
    try:
        true = to_bool(node.value(row))
    except LaminaError:
        return May(False, False, True)
    return May(true, not true, False)


def _by_values(node: Node, name: str, texts: Iterable[str]) -> May:
    may = NEVER
    for text in texts:
        may |= _verdict(node, RecordRow(0, {name: text}))
        if may == ANYTHING:
            break
    return may


def _by_time(node: Node, section: Section) -> May:
    """A comparison of the time with a constant."""
    if not isinstance(node, Comparison):
        return ANYTHING
    left, right = node.operands
    if isinstance(left, Timestamp) and isinstance(right, Constant):
        sign, constant = node.sign, right.constant
    elif isinstance(left, Constant) and isinstance(right, Timestamp):
        sign, constant = turned(node.sign), left.constant
    else:
        return ANYTHING
    return _between(sign, min(section.t_min, INT_MAX), min(section.t_max, INT_MAX), constant)


def _by_range(node: Node, stats: LabelStats) -> May:
    """For records that have the label."""
    if isinstance(node, Exists):
        return May(True, False, False)
    comparison = label_and_constant(node)
    if comparison is not None and stats.numeric:
        return _between(comparison[0], stats.low, stats.high, comparison[1])
    if isinstance(node, In) and stats.numeric and isinstance(node.operands[0], Label) and not node.others:
        found = any(not isinstance(c, str) and stats.low <= c <= stats.high for c in node.constants)
        return May(True, found, False) if node.negated else May(found, True, False)
    return ANYTHING


def _between(sign: str, low: float, high: float, constant: Value) -> May:
    """A comparison of a number from low to high, both inclusive, with a constant."""
    if isinstance(constant, str):
        return May(sign == "!=", sign != "!=", False)
    if sign in ("==", "!="):
        equal = May(low <= number(constant) <= high, True, False)
        return equal if sign == "==" else May(equal.false, equal.true, False)
    ends = compare(sign, low, constant), compare(sign, high, constant)
    return May(any(ends), not all(ends), False)
