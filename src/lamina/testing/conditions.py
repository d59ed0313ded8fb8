"""Records, conditions and statistics for property tests of the condition language.

The strategies draw a seed and make the rest from it: draws of Hypothesis for each operator cling together, so that few
conditions of a run pass some records and not others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from lamina.records.condition.value import EXACT_FLOAT, INT_MAX, INT_MIN, from_label
from lamina.records.labels import LabelColumn, LabelStats

Record = tuple[int, Mapping[str, str]]
"""Time in µs, labels."""

NAMES = ("a", "b", "c")

_ODD = ("007", "1e5", "nan", "-inf", "true", "false", "", "-0", "5.", "abc", "ä€😀", "1h", "10", "10.0", "a", "x")
_BIG = ("9007199254740993", "9007199254740992", "9223372036854775807", "9223372036854775808", "-9223372036854775808")
_SMALL = tuple(map(str, range(-3, 4)))
_LITERALS = (
    "x",
    "abc",
    "$$x",
    "1h",
    "20us",
    "int",
    "string",
    "float",
    "bool",
    "a",
    "b",
    "$timestamp",
    "",
    "007",
    "ä€😀",
)
_NUMBERS = (True, False, 7, 10, 1e5, 2.5, 9007199254740993, 9007199254740992.0, INT_MAX, INT_MIN)


class Columns:
    """Candidates of a condition, made of records in the order given."""

    def __init__(self, records: Sequence[Record], *, numbers: bool = True) -> None:
        self.times: NDArray[np.uint64] = np.array([time for time, _ in records], np.uint64)
        self._columns: dict[str, LabelColumn] = {}
        for name in sorted({name for _, labels in records for name in labels}):
            texts = sorted({labels[name] for _, labels in records if name in labels})
            codes = [texts.index(labels[name]) if name in labels else -1 for _, labels in records]
            floats = np.array([_float(text) for text in texts], np.float64) if numbers else None
            self._columns[name] = LabelColumn(np.array(codes, np.int32), texts, floats)

    def label(self, name: str) -> LabelColumn | None:
        return self._columns.get(name)

    def part(self, start: int, stop: int) -> Columns:
        """Some of these records; the distinct texts stay the same objects."""
        part = Columns([])
        part.times = self.times[start:stop]
        part._columns = {name: c._replace(codes=c.codes[start:stop]) for name, c in self._columns.items()}
        return part

    def stats(self, name: str, *, few: int) -> LabelStats | None:
        """What a section of these records knows of a label: its texts where there are up to `few`."""
        column = self._columns.get(name)
        if column is None:
            return None
        floats = [_float(text) for text in column.values]
        numeric = all(np.isfinite(floats))
        values = frozenset(column.values) if len(column.values) <= few else None
        low, high = (min(floats), max(floats)) if numeric else (0.0, 0.0)
        low, high = _outwards(low, -math.inf), _outwards(high, math.inf)
        return LabelStats(bool((column.codes >= 0).all()), values, low, high, numeric)


def _float(text: str) -> float:
    value = from_label(text)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _outwards(bound: float, to: float) -> float:
    """Past every integer that reads as this float."""
    return bound if abs(bound) < EXACT_FLOAT else math.nextafter(bound, to)


def records(*, max_size: int = 30) -> st.SearchStrategy[list[Record]]:
    """Ascending in time, with up to five distinct texts; a label is in all, in some or in no record."""
    return _SEEDS.map(lambda seed: _records(Random(seed), max_size))


def conditions(*, state: bool = True, context: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that compile. `state`: with operators that carry it. `context`: with `#ctx_...` members."""
    return _SEEDS.map(lambda seed: _condition(Random(seed), state, context))


_SEEDS = st.integers(0, (1 << 64) - 1)


def _records(random: Random, max_size: int) -> list[Record]:
    texts = random.sample(_SMALL, 3) + random.sample(_ODD + _BIG, 2)
    if random.random() < 0.2:
        texts = [chr(random.randrange(32, 0x800)) for _ in range(5)]
    share = {name: random.choice((0, 0.7, 1, 1, 1)) for name in NAMES}
    time = random.choice((0, 1, 1_700_000_000_000_000, (1 << 64) - 2_000))
    made: list[Record] = []
    for _ in range(random.randint(0, max_size)):
        time += random.choice((1, 10, random.randint(1, 40)))
        made.append((time, {name: random.choice(texts) for name in NAMES if random.random() < share[name]}))
    return made


_COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
_LOGICAL = ("$and", "$or", "$not", "$xor")
_STATELESS: dict[str, tuple[int, int]] = {
    **dict.fromkeys((*_LOGICAL, "$add", "$mult"), (0, 3)),
    **dict.fromkeys(("$in", "$nin"), (2, 4)),
    **dict.fromkeys((*_COMPARISONS, "$sub", "$div", "$div_num", "$rem", "$contains", "$starts_with"), (2, 2)),
    **dict.fromkeys(("$ends_with", "$cast"), (2, 2)),
    **dict.fromkeys(("$abs", "$ref", "$hour", "$year"), (1, 1)),
    "$exists": (1, 2),
    "$timestamp": (0, 0),
}
_STATEFUL = {**dict.fromkeys(("$each_n", "$each_t", "$limit"), (1, 1)), "$gate": (2, 2)}
"""Least and greatest number of operands."""


def _condition(random: Random, state: bool, context: bool) -> dict[str, Any]:
    when: dict[str, Any] = {}
    for _ in range(random.randint(0, 3)):
        kind = random.random()
        if kind < 0.4:
            when |= _compared(random)
        elif kind < 0.6:
            when[random.choice(_LOGICAL)] = [_guarded(random) for _ in range(random.randint(1, 3))]
        elif kind < 0.8 and state:
            when |= _bare(random)
        else:
            when |= _operation(random, state, 3)
    for name in ("#ctx_before", "#ctx_after"):
        if context and random.random() < 0.4:
            when[name] = random.choice((0, 1, 2, 3, 5, "0us", "15us", "60us", "1d"))
    return when


def _compared(random: Random) -> dict[str, Any]:
    """A comparison of a label with a constant."""
    label, sign = f"&{random.choice(NAMES)}", random.choice(_COMPARISONS)
    constant = random.randint(-3, 3) if random.random() < 0.6 else random.choice(_NUMBERS + _LITERALS)
    return {label: {sign: constant}} if random.random() < 0.5 else {sign: [constant, label]}


def _guarded(random: Random) -> dict[str, Any]:
    """A comparison that does not fail where the label is missing, more often than not."""
    compared = _compared(random)
    if random.random() < 0.4:
        return compared
    return {"$or": [{"$not": [{"$has": random.choice(NAMES)}]}, compared]}


def _bare(random: Random) -> dict[str, Any]:
    name, operands = random.choice(
        (
            ("$each_n", (1, 2, 2, 3, 0)),
            ("$each_t", ("30us", 0.00003, 0.00001, 0, "x")),
            ("$limit", (1, 3, 5, 10, 0, "x")),
            ("$gate", ([random.choice(("30us", "60us", 0.00002)), _compared(random)],)),
        )
    )
    return {name: random.choice(operands)}


def _operation(random: Random, state: bool, depth: int) -> dict[str, Any]:
    operators = {**_STATELESS, **_STATEFUL} if state else _STATELESS
    name = random.choice(tuple(operators))
    return {name: [_operand(random, state, depth - 1) for _ in range(random.randint(*operators[name]))]}


def _operand(random: Random, state: bool, depth: int) -> Any:
    kind = random.random()
    if kind < 0.3:
        return f"&{random.choice(NAMES)}"
    if kind < 0.5 or not depth:
        return random.choice((random.randint(-3, 3), *_NUMBERS, *_LITERALS))
    return _compared(random) if kind < 0.7 else _operation(random, state, depth)
