"""Chunks as the engine makes them into batches as the wire wants them, never more than one batch ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from lamina.columns import Columns, Ranges, Samples, Summaries

C = TypeVar("C", bound=Columns)

POINTS = 16_384
"""Rows of a protobuf message: 330 kB of points, 0.9 MB of windows. A quarter of it, as BTrDB's own server sends them,
costs a third of the rate; more gains nothing and holds the interpreter longer."""

ARROW_ROWS = 16_384
"""Rows of an Arrow message: 262 kB of points, 786 kB of windows. The engine makes as many at once, or a multiple, so a
message is made of its columns where they lie."""

RANGES = 1000
"""Changed ranges of a message."""

BATCH_BYTES = 2 << 20
"""Where the width of a row varies, rows of a message are as many as fit: half of what is allowed."""

_EMPTY_TIMES = np.empty(0, np.int64)
_EMPTY_VALUES = np.empty(0, np.float64)
NO_POINTS = Samples(_EMPTY_TIMES, _EMPTY_VALUES)
NO_WINDOWS = Summaries(_EMPTY_TIMES, _EMPTY_VALUES, _EMPTY_VALUES, _EMPTY_VALUES, np.empty(0, np.uint64), _EMPTY_VALUES)
NO_RANGES = Ranges(_EMPTY_TIMES, _EMPTY_TIMES)


def batches(chunks: Iterable[C], rows: int, empty: C) -> Iterator[C]:
    """Bundles of exactly `rows` rows, the last one shorter; `empty` alone if the chunks hold nothing."""
    held: list[C] = []
    count = 0
    some = False
    for chunk in chunks:
        at = 0
        while count + len(chunk) - at >= rows:
            held.append(_part(chunk, at, at + rows - count))
            at += rows - count
            yield _joined(held)
            held, count, some = [], 0, True
        if at < len(chunk):
            held.append(_part(chunk, at, len(chunk)))
            count += len(chunk) - at
    if held:
        yield _joined(held)
    elif not some:
        yield empty


def _part(columns: C, start: int, end: int) -> C:
    return type(columns)(*(getattr(columns, name)[start:end] for name in columns.fields))


def _joined(parts: list[C]) -> C:
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in kind.fields))
