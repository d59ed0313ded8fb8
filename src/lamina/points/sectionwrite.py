"""Writes a measurement's part of a segment (FORMAT.md, Section)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.points.batch import Batch
from lamina.points.field import BOOL, FLOAT, INT, MIXED, NULL, TEXT, FieldColumn
from lamina.points.packedtables import write_orders, write_tagsets, write_text, write_texts
from lamina.points.pagedwrite import write_integers, write_numbers, write_times
from lamina.points.stored import store

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

U64 = NDArray[np.uint64]
_T = TypeVar("_T", np.int64, np.float64)

READ_FORMAT = 1
"""What a reader must know."""
WRITE_FORMAT = 1
"""What a program must know to rewrite the section."""

MOST_ROWS = 1 << 20
"""Rows of a section: bounds what a damaged directory can make a reader allocate."""

BORN, DIED = 1, 2
HEAD = struct.Struct("<HHIB")  # formats, rows, flags
COUNTS = struct.Struct("<III")  # tag sets, orders, fields
FIELD = struct.Struct("<BBI")  # kind, columns, texts
KINDS, NUMBERS, INTS, CODES = 1, 2, 4, 8
"""Columns of a field."""

_EXACT = 1 << 53
"""Ints up to here are themselves as float64."""


def write_section(
    out: SegmentWriter, batch: Batch, ordinals: U64, born: U64 | None = None, died: U64 | None = None
) -> tuple[bytes, NDArray[np.intp]]:
    """Append the blocks of a section to the segment: its directory, and the order in which the rows now are.

    1 to MOST_ROWS points in any order; they are put into that of (time, ordinal). `born`, `died`: seqs of each row,
    kept if given. Costs 30 ms for 65,536 points with four numeric fields. Errors of the disk are OSError.
    """
    assert 0 < batch.n <= MOST_ROWS, "the sealer cuts what is larger"
    order = np.lexsort((ordinals, batch.time_us))
    if not (order[1:] > order[:-1]).all():
        batch, ordinals = batch.take(order), ordinals[order]
    batch = batch.compact()
    flags = (0 if born is None else BORN) | (0 if died is None else DIED)
    parts = [
        HEAD.pack(READ_FORMAT, WRITE_FORMAT, batch.n, flags),
        write_times(out, batch.time_us),
        write_integers(out, ordinals.view(np.int64), 1),
        write_integers(out, batch.tagset.astype(np.int64)),
        write_integers(out, batch.order.astype(np.int64)),
    ]
    for seqs in (born, died):
        if seqs is not None:
            parts.append(write_integers(out, seqs[order].view(np.int64)))
    keys = sorted(batch.fields)
    parts.append(COUNTS.pack(len(batch.tagsets), len(batch.orders), len(keys)))
    parts.append(store(out, write_tagsets(batch.tagsets)))
    parts.append(store(out, write_orders(batch.orders, keys)))
    parts += [write_text(key) + _write_field(out, batch.fields[key]) for key in keys]
    return b"".join(parts), order


def _write_field(out: SegmentWriter, column: FieldColumn) -> bytes:
    columns, parts = 0, []
    are_floats, are_ints = column.of_kind(FLOAT), column.of_kind(INT)
    if column.kinds is not None:
        columns |= KINDS
        parts.append(write_integers(out, column.kinds.astype(np.int64)))
    if _some(are_floats):
        columns |= NUMBERS
        values, odd = column.floats, False
        if _some(are_ints):
            values = np.where(are_ints, column.bits.astype(np.float64), values)
            ints = column.bits[are_ints]
            odd = not ((ints >= -_EXACT) & (ints <= _EXACT)).all()
        are = np.asarray(are_floats | are_ints)
        parts.append(write_numbers(out, _filled(values, are), None if are.all() else are))
        if odd:
            columns |= INTS
            parts.append(write_integers(out, _filled(column.bits, are_ints)))
    elif _some(are_ints):
        columns |= NUMBERS
        parts.append(
            write_numbers(out, _filled(column.bits, are_ints), None if are_ints is True else np.asarray(are_ints))
        )
    are_codes = column.of_kind(BOOL) | column.of_kind(TEXT)
    if _some(are_codes):
        columns |= CODES
        parts.append(write_integers(out, _filled(column.bits, are_codes)))
    parts.append(store(out, write_texts(column.texts)))
    assert column.kind >= NULL, "a field that no point has is not in a compact batch"
    return FIELD.pack(column.kind if column.kinds is None else MIXED, columns, len(column.texts)) + b"".join(parts)


def _some(are: NDArray[np.bool_] | bool) -> bool:
    return bool(np.any(are))


def _filled(values: NDArray[_T], are: NDArray[np.bool_] | bool) -> NDArray[_T]:
    """The values, those of other rows replaced by the one before: what is not there takes next to no room then."""
    if np.all(are):
        return values
    at = np.maximum.accumulate(np.where(are, np.arange(len(values)), 0))
    first = int(np.argmax(are))
    at[:first] = first
    found: NDArray[_T] = values[at]
    return found
