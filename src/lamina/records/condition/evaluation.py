"""One query over one entry: which of the records it is fed are returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import LaminaError
from lamina.records.condition.columns import Candidates, Plan, plan
from lamina.records.condition.context import Context
from lamina.records.condition.directives import Directives
from lamina.records.condition.expression import Node, Nodes, RecordRow, Row
from lamina.records.condition.stateful import EachN, EachT, Ended, Limit
from lamina.records.condition.value import Value, from_label, to_bool
from lamina.records.labels import LabelColumn


class Selected(NamedTuple):
    """What a feed of n records gives."""

    rows: NDArray[np.intp]  # of this feed, ascending
    earlier: int | None
    """Context from earlier feeds (`#ctx_before`): all their records with this time (µs) or a later one are to be
    returned before `rows`; none of them was returned yet, and there may be none. None: nothing from earlier feeds."""
    keep: int
    """µs: later feeds may ask for records with this time or a later one, never for others. After the last record fed
    unless the condition has `#ctx_before`."""
    ended: bool  # the query is over: a $limit is reached, or `error` is set; later feeds give nothing
    error: LaminaError | None  # strict mode: of the record after the last that counts


class Evaluation:
    """State of one query over one entry. Records come in any number of feeds, with the same result.

    Not for several threads at once. Cost: columns of labels where the condition can be answered by column, 0.3 to 3 µs
    and operator for each remaining record where it cannot; a caller with a time limit feeds some thousand at a time.
    """

    __slots__ = ("_context", "_over", "_steps", "_strict")

    def __init__(self, nodes: Nodes, directives: Directives, strict: bool) -> None:
        self._steps: list[tuple[Node, Plan | None]] = [(node.fresh(), plan(node)) for node in nodes]
        self._strict = strict
        self._context = Context(directives.ctx_before, directives.ctx_after) if directives.has_context else None
        self._over = False

    @property
    def ended(self) -> bool:
        return self._over

    def feed(self, rows: Candidates) -> Selected:
        """Takes the next records, ascending in time; those of all feeds ascend too where the condition has context."""
        times = rows.times
        if self._over:
            return Selected(np.empty(0, np.intp), None, 0, True, None)
        matches, stop, error = self._matches(rows)
        self._over = stop is not None
        counted = times if stop is None else times[:stop]
        if self._context is None:
            keep = int(counted[-1]) + 1 if len(counted) else 0
            return Selected(matches, None, keep, self._over, error)
        return Selected(*self._context.widen(counted, matches), self._over, error)

    def one(self, time_us: int, labels: Mapping[str, str]) -> bool:
        """Whether the next single record passes; context does not count. False once a $limit is reached.

        In strict mode raises InvalidArgument or NotFound for a record that fails; the evaluation goes on all the same.
        """
        row = RecordRow(time_us, labels)
        if self._over:
            return False
        try:
            return all(to_bool(node.value(row)) for node, _ in self._steps)
        except Ended:
            self._over = True
        except LaminaError:
            if self._strict:
                raise
        return False

    def _matches(self, rows: Candidates) -> tuple[NDArray[np.intp], int | None, LaminaError | None]:
        """Rows that pass all steps; the row before which the query ends, if it does; the error there.

        Step by step over all rows gives what row by row over all steps would: no step knows of the state of another,
        and each sees, in order, the rows that passed those before it. A step that stops the query cuts off the later
        rows for the steps that follow; if one of those stops it too, it does so earlier.
        """
        index: NDArray[np.intp] | None = None
        stop: int | None = None
        error: LaminaError | None = None
        for node, by_column in self._steps:
            if index is not None and not len(index):
                break
            if by_column is not None:
                step = _by_column(node, by_column, rows, index, self._strict)
            else:
                index = np.arange(len(rows.times)) if index is None else index
                step = _in_bulk(node, rows, index, self._strict) or _one_by_one(node, rows, index, self._strict)
            index = step.passed
            if step.stop is not None:
                stop, error = step.stop, step.error
        return np.arange(len(rows.times)) if index is None else index, stop, error


class _Step(NamedTuple):
    passed: NDArray[np.intp]
    stop: int | None = None  # the row before which the query ends
    error: LaminaError | None = None


def _by_column(node: Node, by_column: Plan, rows: Candidates, index: NDArray[np.intp] | None, strict: bool) -> _Step:
    true, failed = by_column.outcome(rows, index, strict)
    stop: int | None = None
    error: LaminaError | None = None
    if strict and failed is not None and failed.any():
        at = int(failed.argmax())
        true = true[:at]
        stop = at if index is None else int(index[at])
        row = _FeedRow(rows)
        row.at = stop
        error = _error(node, row)
    return _Step(np.flatnonzero(true) if index is None else index[: len(true)][true], stop, error)


def _error(node: Node, row: Row) -> LaminaError:
    try:
        value = node.value(row)
    except LaminaError as error:
        return error
    raise AssertionError(f"a column failed where its record gives {value!r}")


def _in_bulk(node: Node, rows: Candidates, index: NDArray[np.intp], strict: bool) -> _Step | None:
    """A bare stateful operator over many rows; None: it is none, or its operand differs from row to row."""
    try:
        if isinstance(node, EachN | EachT):
            passes = node.pass_times(rows.times[index])
            return None if passes is None else _Step(index[passes])
        if isinstance(node, Limit):
            admitted = node.admit(len(index))
            if admitted is None:
                return None
            return _Step(index[:admitted], int(index[admitted]) if admitted < len(index) else None)
    except LaminaError as error:  # a constant that is no operand fails for each row alike
        return _Step(index[:0], int(index[0]), error) if strict and len(index) else _Step(index[:0])
    return None


def _one_by_one(node: Node, rows: Candidates, index: NDArray[np.intp], strict: bool) -> _Step:
    row = _FeedRow(rows)
    passed = np.zeros(len(index), bool)
    for i, at in enumerate(index.tolist()):
        row.at = at
        try:
            passed[i] = to_bool(node.value(row))
        except Ended:
            return _Step(index[passed], at)
        except LaminaError as error:
            if strict:
                return _Step(index[passed], at, error)
    return _Step(index[passed])


class _FeedRow:
    """The record at one place of a feed. What texts read as is remembered."""

    __slots__ = ("_columns", "_rows", "_times", "_typed", "at")

    def __init__(self, rows: Candidates) -> None:
        self._rows = rows
        self._times = rows.times
        self._columns: dict[str, LabelColumn | None] = {}
        self._typed: dict[str, Value] = {}
        self.at = 0

    @property
    def time_us(self) -> int:
        return int(self._times[self.at])

    def text(self, name: str) -> str | None:
        if name not in self._columns:
            self._columns[name] = self._rows.label(name)
        column = self._columns[name]
        if column is None:
            return None
        code = column.codes[self.at]
        return column.values[code] if code >= 0 else None

    def label(self, name: str) -> Value | None:
        text = self.text(name)
        if text is None:
            return None
        value = self._typed.get(text)
        if value is None:
            value = self._typed[text] = from_label(text)
        return value
