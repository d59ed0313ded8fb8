"""Operators that carry state from record to record: $each_n, $each_t, $limit, $gate (contract 10.3, 10.4).

Where the operand is a constant, `pass_times` answers for many records at once what `value` says for each in turn.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from lamina.errors import InvalidArgument
from lamina.records.condition.expression import Constant, Nodes, Operation, Reads, Row
from lamina.records.condition.value import Duration, Value, short, to_bool, to_float, to_int, to_text

_STATE = Reads(state=True)


class Ended(Exception):
    """A $limit is reached: the query is over before the record at hand."""


class EachN(Operation):
    """True for every n-th record."""

    __slots__ = ("_count",)

    def __init__(self, operands: Nodes) -> None:
        super().__init__(operands)
        self.reads |= _STATE
        self._count = 0

    def value(self, row: Row) -> Value:
        n = self._checked(self.operands[0].value(row))
        self._count += 1
        return self._count % n == 0

    @staticmethod
    def _checked(operand: Value) -> int:
        n = to_int(operand)
        if n < 1:
            raise InvalidArgument(f"Value '{short(to_text(operand))}' is not a valid operand for $each_n")
        return n

    def pass_times(self, times: NDArray[np.uint64]) -> NDArray[np.bool_] | None:
        """Which of some records pass; None: ask for each. Raises InvalidArgument as each record would."""
        operand = self.operands[0]
        if not isinstance(operand, Constant):
            return None
        n = self._checked(operand.constant)
        passes = np.zeros(len(times), bool)
        passes[n - 1 - self._count % n :: n] = True
        self._count += len(times)
        return passes


class EachT(Operation):
    """True when a span of time has passed since it was last true. The clock starts with the first record, and anew
    when time runs backwards."""

    __slots__ = ("_last", "_seen")

    def __init__(self, operands: Nodes) -> None:
        super().__init__(operands)
        self.reads |= _STATE
        self._last = -1  # µs, when it was true or its clock started; -1: no record yet
        self._seen = -1  # µs, time of the latest record

    def value(self, row: Row) -> Value:
        span = span_us(self.operands[0].value(row))
        time = row.time_us
        started = self._last >= 0 and time >= self._seen
        passes = span <= 0 or (started and time - self._last >= span)
        if passes or not started:
            self._last = time
        self._seen = time
        return passes

    def pass_times(self, times: NDArray[np.uint64]) -> NDArray[np.bool_] | None:
        """Which of some records in ascending order pass; None: ask for each. Raises InvalidArgument as each would."""
        operand = self.operands[0]
        if not isinstance(operand, Constant):
            return None
        span = span_us(operand.constant)
        passes = np.full(len(times), span <= 0)
        if not len(times):
            return passes
        first, last = int(times[0]), int(times[-1])
        if span > 0:
            view = times.data  # its items are ints of Python, unlike those of the array
            at = 0
            if self._last < 0 or first < self._seen:
                self._last = first
                at = 1
            while self._last + span <= last:
                due = self._last + span
                if view[at] < due:
                    at = bisect_left(view, due, at)
                passes[at] = True
                self._last = view[at]
                at += 1
        else:
            self._last = last
        self._seen = last
        return passes


class Limit(Operation):
    """True for the first n records; the next one ends the query."""

    __slots__ = ("_count",)

    def __init__(self, operands: Nodes) -> None:
        super().__init__(operands)
        self.reads |= _STATE
        self._count = 0

    def value(self, row: Row) -> Value:
        if self._count >= to_int(self.operands[0].value(row)):
            raise Ended
        self._count += 1
        return True

    def admit(self, count: int) -> int | None:
        """How many of some records come before the end; None: ask for each. Raises InvalidArgument as each would."""
        operand = self.operands[0]
        if not isinstance(operand, Constant):
            return None
        admitted = max(0, min(count, to_int(operand.constant) - self._count))
        self._count += admitted
        return admitted


class Gate(Operation):
    """The condition, for a span of time from when it turned true; then false until it was false once."""

    __slots__ = ("_end", "_seen", "_spent")

    def __init__(self, operands: Nodes) -> None:
        super().__init__(operands)
        self.reads |= _STATE
        self._forget()

    def _forget(self) -> None:
        self._end: int | None = None  # µs, when the open gate closes; None: it is closed
        self._spent = False  # closed by time: the condition must be false before it may open again
        self._seen = -1  # µs, time of the latest record

    def value(self, row: Row) -> Value:
        span, holds = (operand.value(row) for operand in self.operands)
        length, true = span_us(span), to_bool(holds)
        time = row.time_us
        if time < self._seen:
            self._forget()
        self._seen = time
        if self._end is None and not self._spent and true:
            self._end = time + length
        if self._end is not None:
            if time < self._end:
                return true
            self._end, self._spent = None, True
        if not true:
            self._spent = False
        return False


def span_us(value: Value) -> int:
    """Microseconds of a duration, or of a number of seconds. Raises InvalidArgument for a text that is no number."""
    if isinstance(value, Duration):
        return value.us
    seconds = to_float(value) if isinstance(value, str | float) else int(value)
    return to_int(seconds * 1_000_000)
