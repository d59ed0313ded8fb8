"""One field over n points: what each has of it, as a kind and eight bytes.

A value is a float, int, bool or text, or None; a point may also lack the key, which is not the same. Columns in memory,
ops and sections all have this form, so that nothing is converted on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lamina.errors import InvalidArgument

Value: TypeAlias = float | int | bool | str | None
Kinds: TypeAlias = NDArray[np.uint8]
Bits: TypeAlias = NDArray[np.int64]
Index: TypeAlias = NDArray[np.intp] | slice

ABSENT, NULL, FLOAT, INT, BOOL, TEXT, MIXED = range(7)
"""Kinds of a value; part of the formats. NULL: the key is there with None. MIXED: of a column, never of a value."""

KIND_NAMES = ("absent", "null", "float", "int", "bool", "text", "mixed")

_INT64 = 1 << 63
_NO_TEXTS: tuple[str, ...] = ()


class FieldColumn(NamedTuple):
    """n values. Immutable by convention; several columns may share `texts`, some of which may be unused."""

    kind: int  # what all n are; MIXED: `kinds` says it row by row
    kinds: Kinds | None  # [n]; None unless kind is MIXED
    bits: Bits  # [n]: of a float, the int itself, 0 or 1, place in `texts`; 0 of ABSENT and NULL
    texts: Sequence[str] = _NO_TEXTS

    @property
    def floats(self) -> NDArray[np.float64]:
        """The bits read as floats, whatever their kind."""
        return self.bits.view(np.float64)

    def of_kind(self, kind: int) -> NDArray[np.bool_] | bool:
        """Which rows are of a kind; True or False: all or none."""
        if self.kinds is None:
            return self.kind == kind
        found: NDArray[np.bool_] = self.kinds == kind
        return found

    def row_kinds(self) -> Kinds:
        """The kind of each row."""
        return np.full(len(self.bits), self.kind, np.uint8) if self.kinds is None else self.kinds

    def take(self, index: Index) -> FieldColumn:
        """These rows."""
        if self.kinds is None:
            return FieldColumn(self.kind, None, self.bits[index], self.texts)
        return uniform(self.kinds[index], self.bits[index], self.texts)

    def numbers(self) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Floats and ints as float64, NaN for everything else; which rows are such numbers, None if all are."""
        if self.kinds is None:
            if self.kind == FLOAT:
                return self.floats, None
            if self.kind == INT:
                return self.bits.astype(np.float64), None
            return np.full(len(self.bits), np.nan), np.zeros(len(self.bits), np.bool_)
        ints, floats = self.kinds == INT, self.kinds == FLOAT
        out = np.where(floats, self.floats, np.nan)
        if ints.any():
            out[ints] = self.bits[ints]
        return out, floats | ints

    def list(self, absent: Any = None) -> list[Any]:
        """The values as Python has them; `absent` where the point lacks the key."""
        if self.kinds is None:
            return _listed(self.kind, self.bits, self.texts, absent)
        out = np.empty(len(self.bits), object)
        for kind in np.flatnonzero(np.bincount(self.kinds, minlength=MIXED)).tolist():
            rows = np.flatnonzero(self.kinds == kind)
            values = _listed(kind, self.bits[rows], self.texts, absent)
            for row, value in zip(rows.tolist(), values, strict=True):
                out[row] = value
        found: list[Any] = out.tolist()
        return found


def _listed(kind: int, bits: Bits, texts: Sequence[str], absent: Any) -> list[Any]:
    if kind == FLOAT:
        floats: list[Any] = bits.view(np.float64).tolist()
        return floats
    if kind == INT:
        ints: list[Any] = bits.tolist()
        return ints
    if kind == BOOL:
        return [number != 0 for number in bits.tolist()]
    if kind == TEXT:
        return [texts[number] for number in bits.tolist()]
    return [None if kind == NULL else absent] * len(bits)


def uniform(kinds: Kinds, bits: Bits, texts: Sequence[str] = _NO_TEXTS) -> FieldColumn:
    """The column of these rows; kinds are left out where all are the same."""
    if len(kinds) and (kinds == kinds[0]).all():
        return FieldColumn(int(kinds[0]), None, bits, texts)
    return FieldColumn(MIXED if len(kinds) else ABSENT, kinds if len(kinds) else None, bits, texts)


def constant(kind: int, n: int) -> FieldColumn:
    """n rows that are ABSENT or NULL."""
    return FieldColumn(kind, None, np.zeros(n, np.int64))


def column_of(values: Sequence[Any], key: str) -> FieldColumn:
    """A column of Python values, none absent. InvalidArgument: an int beyond 64 bits, or no value of a field."""
    found = set(map(type, values))
    if len(found) == 1:
        [only] = found
        if only is float:
            return FieldColumn(FLOAT, None, np.array(values, np.float64).view(np.int64))
        if only is int:
            try:
                return FieldColumn(INT, None, np.array(values, np.int64))
            except OverflowError:
                pass  # the general way says which one
        elif only is bool:
            return FieldColumn(BOOL, None, np.array(values, np.int64))
        elif only is str:
            numbers: dict[str, int] = {}
            bits = np.fromiter((numbers.setdefault(v, len(numbers)) for v in values), np.int64, len(values))
            return FieldColumn(TEXT, None, bits, list(numbers))
        elif only is type(None):
            return constant(NULL, len(values))
    return _mixed(values, key)


def _mixed(values: Sequence[Any], key: str) -> FieldColumn:
    n = len(values)
    kinds, bits = np.empty(n, np.uint8), np.zeros(n, np.int64)
    floats = bits.view(np.float64)
    numbers: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is None:
            kinds[row] = NULL
        elif isinstance(value, bool):
            kinds[row], bits[row] = BOOL, value
        elif isinstance(value, float):
            kinds[row], floats[row] = FLOAT, value
        elif isinstance(value, int):
            if not -_INT64 <= value < _INT64:
                raise InvalidArgument(f"field {key!r}: int {value}: expected -2**63 .. 2**63 - 1")
            kinds[row], bits[row] = INT, value
        elif isinstance(value, str):
            kinds[row], bits[row] = TEXT, numbers.setdefault(str(value), len(numbers))
        else:
            raise InvalidArgument(f"field {key!r}: value {value!r}: expected float, int, bool, str or None")
    return uniform(kinds, bits, list(numbers))


def joined(columns: Sequence[FieldColumn]) -> FieldColumn:
    """The rows of all columns, one behind the other."""
    if len(columns) == 1:
        return columns[0]
    texts: Sequence[str] = _NO_TEXTS
    parts = [column.bits for column in columns]
    with_texts = [i for i, column in enumerate(columns) if column.texts]
    if with_texts:
        texts = columns[with_texts[0]].texts
        if any(columns[i].texts is not texts for i in with_texts):
            numbers: dict[str, int] = {}
            for i in with_texts:
                column = columns[i]
                place = np.array([numbers.setdefault(text, len(numbers)) for text in column.texts], np.int64)
                are = column.of_kind(TEXT)
                if are is True:
                    parts[i] = place[column.bits]
                elif are is not False:
                    parts[i] = column.bits.copy()
                    parts[i][are] = place[column.bits[are]]
            texts = list(numbers)
    bits = np.concatenate(parts)
    kind = columns[0].kind
    if all(column.kinds is None and column.kind == kind for column in columns):
        return FieldColumn(kind, None, bits, texts)
    return uniform(np.concatenate([column.row_kinds() for column in columns]), bits, texts)
