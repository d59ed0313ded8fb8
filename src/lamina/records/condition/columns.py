"""Stateless expressions over many records at once.

An expression that reads a single label is a function of that label's text: it becomes a table over the distinct texts,
which the codes of the column index. `$and`, `$or`, `$not` and `$xor` combine such tables. Everything else has no plan
and is evaluated record by record; a plan gives exactly what that would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.errors import LaminaError
from lamina.records.condition.expression import (
    And,
    Comparison,
    Constant,
    Exists,
    Label,
    LabelIs,
    Node,
    Not,
    Or,
    RecordRow,
    Xor,
    compare,
)
from lamina.records.condition.value import EXACT_FLOAT, Value, from_label, number, to_bool
from lamina.records.labels import LabelColumn

CACHED_TABLES = 4  # dictionaries an expression may alternate between: sections that overlap in time, and the tail
CHUNK = 16_384  # codes looked up at once: their widened copy stays in the first-level cache; halves the time


class Candidates(Protocol):
    """Records of one entry, ascending in time, as columns."""

    @property
    def times(self) -> NDArray[np.uint64]: ...

    def label(self, name: str) -> LabelColumn | None:
        """The column of a label over all records; None: no record has it."""
        ...


class Outcome(NamedTuple):
    """Of one expression for n records."""

    true: NDArray[np.bool_]  # [n], false also where it failed
    failed: NDArray[np.bool_] | None  # [n]; None: nowhere, or nobody asked


class Plan(Protocol):
    def outcome(self, rows: Candidates, index: NDArray[np.intp] | None, failures: bool) -> Outcome:
        """For the rows at `index`, ascending; None: for all. `failures`: say where it failed, too."""
        ...


def plan(node: Node) -> Plan | None:
    """None if the expression cannot be answered by column. A plan keeps tables: one for each query."""
    reads = node.reads
    if reads.state or reads.any_label or reads.time:
        return None
    if len(reads.labels) <= 1:
        return _Lookup(node, next(iter(reads.labels), None))
    if not isinstance(node, And | Or | Not | Xor):
        return None
    parts = [part for part in map(plan, node.operands) if part is not None]
    if len(parts) < len(node.operands):
        return None
    return (
        _InTurn(parts, isinstance(node, Or)) if isinstance(node, And | Or) else _Counted(parts, isinstance(node, Xor))
    )


class _InTurn:
    """$and, or $or: each operand counts where those before it have not decided."""

    def __init__(self, parts: Sequence[Plan], decisive: bool) -> None:
        self._parts = parts
        self._decisive = decisive  # the truth that stops: true for $or

    def outcome(self, rows: Candidates, index: NDArray[np.intp] | None, failures: bool) -> Outcome:
        n = len(rows.times) if index is None else len(index)
        undecided = np.ones(n, bool)
        failed = np.zeros(n, bool)
        for part in self._parts:
            true, wrong = part.outcome(rows, index, failures or self._decisive)
            if wrong is not None:
                failed |= undecided & wrong
            undecided &= ~true if self._decisive else true
        return Outcome(~(undecided | failed) if self._decisive else undecided, failed if failures else None)


class _Counted:
    """$not, or $xor: how many operands are true."""

    def __init__(self, parts: Sequence[Plan], count: int) -> None:
        self._parts = parts
        self._count = count

    def outcome(self, rows: Candidates, index: NDArray[np.intp] | None, failures: bool) -> Outcome:
        n = len(rows.times) if index is None else len(index)
        count = np.zeros(n, np.uint16)
        failed = np.zeros(n, bool)
        for part in self._parts:
            true, wrong = part.outcome(rows, index, True)
            count += true
            if wrong is not None:
                failed |= wrong
        return Outcome((count == self._count) & ~failed, failed if failures else None)


class _Table(NamedTuple):
    """What an expression gives for each distinct text, and at the end, where code -1 points, without the label."""

    true: NDArray[np.bool_]  # [values + 1]
    failed: NDArray[np.bool_]


class _Lookup:
    """An expression that reads one label, or none."""

    def __init__(self, node: Node, name: str | None) -> None:
        self._node = node
        self._name = name
        self._absent = _verdict(node, RecordRow(0, {}))
        self._tables: dict[int, tuple[Sequence[str], _Table]] = {}  # by identity of the texts, which are kept alive

    def outcome(self, rows: Candidates, index: NDArray[np.intp] | None, failures: bool) -> Outcome:
        column = None if self._name is None else rows.label(self._name)
        if column is None:
            n = len(rows.times) if index is None else len(index)
            true, failed = self._absent
            return Outcome(np.full(n, true), np.full(n, True) if failed and failures else None)
        codes = column.codes if index is None else column.codes[index]
        table = self._table(column, codes)
        wrong = _look_up(table.failed, codes) if failures and table.failed.any() else None
        return Outcome(_look_up(table.true, codes), wrong)

    def _table(self, column: LabelColumn, codes: NDArray[np.signedinteger]) -> _Table:
        kept = self._tables.get(id(column.values))
        if kept is not None:
            return kept[1]
        size = len(column.values)
        table = _Table(np.zeros(size + 1, bool), np.zeros(size + 1, bool))
        table.true[-1], table.failed[-1] = self._absent
        known = _without_evaluation(self._node, column)
        if known is not None:
            table.true[:-1] = known
        elif len(codes) < size:
            self._evaluate(np.unique(codes).tolist(), column.values, table)
            return table  # of no use for other codes
        else:
            self._evaluate(range(size), column.values, table)
        if len(self._tables) == CACHED_TABLES:
            del self._tables[next(iter(self._tables))]
        self._tables[id(column.values)] = column.values, table
        return table

    def _evaluate(self, codes: Sequence[int], values: Sequence[str], table: _Table) -> None:
        assert self._name is not None, "there is a column only of a name"
        for code in codes:
            if code >= 0:
                table.true[code], table.failed[code] = _verdict(self._node, RecordRow(0, {self._name: values[code]}))


def _verdict(node: Node, row: RecordRow) -> tuple[bool, bool]:
    """Whether the expression is true, and whether it fails."""
    try:
        return to_bool(node.value(row)), False
    except LaminaError:
        return False, True


def _look_up(table: NDArray[np.bool_], codes: NDArray[np.signedinteger]) -> NDArray[np.bool_]:
    """table[codes], with a comparison where one entry differs from all others."""
    true = np.count_nonzero(table)
    if true in (0, len(table)):
        return np.full(len(codes), true > 0)
    last = len(table) - 1
    if true == 1:
        at = int(table.argmax())
        equal: NDArray[np.bool_] = codes == (at if at < last else -1)
        return equal
    if true == last:
        at = int(table.argmin())
        differs: NDArray[np.bool_] = codes != (at if at < last else -1)
        return differs
    found = np.empty(len(codes), bool)
    for start in range(0, len(codes), CHUNK):
        part = codes[start : start + CHUNK]
        table.take(part, out=found[start : start + CHUNK], mode="wrap")  # -1 wraps around to the end
    return found


def _without_evaluation(node: Node, column: LabelColumn) -> NDArray[np.bool_] | None:
    """For each text, where the expression has a shape that needs no evaluation: it fails for none of them."""
    size = len(column.values)
    if isinstance(node, Exists):
        return np.ones(size, bool)
    if isinstance(node, LabelIs):
        return _equal_to(column.values, node.expected)
    comparison = label_and_constant(node)
    if comparison is None:
        return None
    sign, constant = comparison
    if not isinstance(constant, str):
        return None if column.numbers is None else _compared(sign, number(constant), column.values, column.numbers)
    if sign not in ("==", "!="):
        return None
    equals = _equal_to(column.values, constant if isinstance(from_label(constant), str) else None)
    return equals if sign == "==" else ~equals


def label_and_constant(node: Node) -> tuple[str, Value] | None:
    """Sign and constant of a comparison of a label with a constant, turned so that the label stands left."""
    if not isinstance(node, Comparison):
        return None
    left, right = node.operands
    if isinstance(left, Label) and isinstance(right, Constant):
        return node.sign, right.constant
    if isinstance(left, Constant) and isinstance(right, Label):
        return turned(node.sign), left.constant
    return None


def turned(sign: str) -> str:
    """The sign that says the same with the sides exchanged."""
    return _TURNED[sign]


_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _equal_to(values: Sequence[str], expected: str | None) -> NDArray[np.bool_]:
    equals = np.zeros(len(values), bool)
    if expected is not None:
        with suppress(ValueError):  # none of them
            equals[values.index(expected)] = True
    return equals


def _compared(
    sign: str, constant: int | float, values: Sequence[str], numbers: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Exact although the numbers are rounded: rounding keeps order, so only what rounds to the same is in doubt.

    A NaN is a text, or not a number: for both, order and equality are false.
    """
    rounded = float(constant)
    true: NDArray[np.bool_] = _COMPARE[sign](numbers, rounded)
    doubt = np.isnan(numbers)
    check = [i for i in np.flatnonzero(doubt).tolist() if values[i] in ("true", "false")] if doubt.any() else []
    if abs(rounded) >= EXACT_FLOAT:
        check += np.flatnonzero(numbers == rounded).tolist()
    for i in check:
        true[i] = compare(sign, from_label(values[i]), constant)
    return true


_COMPARE: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
