"""Labels of records: sets as they are stored, columns as conditions read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

LabelSet: TypeAlias = tuple[tuple[str, str], ...]
"""(name, value) pairs of one record, sorted by name; names are distinct."""

NO_LABELS: LabelSet = ()


class LabelColumn(NamedTuple):
    """One label over n rows: dictionary-encoded."""

    codes: NDArray[np.signedinteger]  # [n], int8 to int32, index into `values`; -1: the row has no such label
    values: Sequence[str]  # distinct texts; some may be unused. The same object for as long as it has the same content
    numbers: NDArray[np.float64] | None = None
    """Per value: the float64 it reads as (contract 10.2, int64 rounded), NaN if it is no number (true and false are
    none). None: not computed yet."""


class LabelStats(NamedTuple):
    """What a whole section knows of one label, for pruning without reading its column."""

    everywhere: bool  # every row has it
    values: frozenset[str] | None  # all distinct texts where there are few; None: many
    low: float  # smallest and largest value, valid where `numeric`
    high: float
    numeric: bool  # every present value reads as a finite number (int64 rounded towards low and high, outwards)
