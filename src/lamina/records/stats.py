"""Statistics of labels in the directory of a section: enough to skip a section without reading it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lamina.errors import UnknownFormat
from lamina.records.labels import LabelStats
from lamina.records.numbers import Floats
from lamina.records.stored import Cursor, write_number, write_text

LIMIT = 4096
"""Bytes of all statistics of a section: the directory is read and kept for every section of an entry."""
FEW_VALUES = 64
FEW_BYTES = 1024
"""Values are listed up to so many, with so many bytes together."""

_COMPLETE = 1
_EVERYWHERE, _NUMERIC, _LISTED = 1, 2, 4
_RANGE = struct.Struct("<dd")
_EXACT = float(1 << 53)

NONE_HAS_IT = LabelStats(False, frozenset(), 0.0, 0.0, False)
"""Of a label that no row has."""


class _Entry(NamedTuple):
    full: bytes
    short: bytes  # without the list of values


class Statistics(NamedTuple):
    by_name: dict[str, LabelStats]
    complete: bool  # labels that are not in by_name are in no row

    def of(self, name: str) -> LabelStats | None:
        """None: unknown."""
        return self.by_name.get(name) or (NONE_HAS_IT if self.complete else None)


def describe(everywhere: bool, values: Sequence[str], numbers: Floats) -> LabelStats:
    """Of one label: its distinct values and what they read as."""
    numeric = bool(np.isfinite(numbers).all())
    low, high = (float(numbers.min()), float(numbers.max())) if numeric else (0.0, 0.0)
    # A text may be an integer that the float64 is not: step outwards where such exist.
    if abs(low) >= _EXACT:
        low = math.nextafter(low, -math.inf)
    if abs(high) >= _EXACT:
        high = math.nextafter(high, math.inf)
    few = len(values) <= FEW_VALUES and sum(map(len, values)) <= FEW_BYTES
    return LabelStats(everywhere, frozenset(values) if few else None, low, high, numeric)


def write_stats(labels: Iterable[tuple[str, LabelStats]], complete: bool) -> bytes:
    """At most LIMIT bytes. What does not fit is dropped, the largest lists of values first, then the largest rest.
    `complete`: these are all labels there are."""
    entries = [_write(name, stats) for name, stats in labels]
    chosen: list[bytes | None] = [entry.full for entry in entries]
    size = 1 + 4 + sum(len(entry.full) for entry in entries)
    saved = [len(entry.full) - len(entry.short) for entry in entries]
    for i in sorted(range(len(entries)), key=lambda i: -saved[i]):
        if size <= LIMIT or not saved[i]:
            break
        chosen[i] = entries[i].short
        size -= saved[i]
    for i in sorted(range(len(entries)), key=lambda i: -len(entries[i].short)):
        if size <= LIMIT:
            break
        size -= len(chosen[i] or b"")
        chosen[i] = None
        complete = False
    kept = [entry for entry in chosen if entry is not None]
    return bytes((_COMPLETE if complete else 0,)) + write_number(len(kept)) + b"".join(kept)


def _write(name: str, stats: LabelStats) -> _Entry:
    flags = (_EVERYWHERE if stats.everywhere else 0) | (_NUMERIC if stats.numeric else 0)
    values = _RANGE.pack(stats.low, stats.high) if stats.numeric else b""
    head = write_text(name)
    short = head + bytes((flags,)) + values
    if stats.values is None:
        return _Entry(short, short)
    listed = [write_text(value) for value in sorted(stats.values)]
    full = head + bytes((flags | _LISTED,)) + values + bytes((len(listed),)) + b"".join(listed)
    return _Entry(full, short)


def read_stats(cursor: Cursor) -> Statistics:
    """Raises Corrupt, UnknownFormat."""
    whole = cursor.byte()
    if whole > _COMPLETE:
        raise UnknownFormat(f"{cursor.what}: flags of statistics {whole}: this version reads 0..{_COMPLETE}")
    found = {}
    for _ in range(cursor.number()):
        name, flags = cursor.text(), cursor.byte()
        if flags > _EVERYWHERE + _NUMERIC + _LISTED:
            raise UnknownFormat(f"{cursor.what}: flags of a label's statistics {flags}: this version reads 0..7")
        low, high = cursor.unpack(_RANGE) if flags & _NUMERIC else (0.0, 0.0)
        values = frozenset(cursor.text() for _ in range(cursor.byte())) if flags & _LISTED else None
        found[name] = LabelStats(bool(flags & _EVERYWHERE), values, low, high, bool(flags & _NUMERIC))
    return Statistics(found, bool(whole & _COMPLETE))
