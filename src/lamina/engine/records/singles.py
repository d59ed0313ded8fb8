"""APPENDs of one record each, many at a time, as recovery meets them where records were written one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt
from lamina.records import ops
from lamina.records.blocks import BlockLimits
from lamina.records.labels import LabelSet
from lamina.records.row import ROW, Rows

LEAST = 32
"""Of them behind one another from which columns are cheaper than one by one."""

FIXED = ops.HEAD.size + ROW.itemsize
"""Bytes of such an op before its tables."""

Ints = NDArray[np.int64]

Decode = Callable[[tuple[bytes, int, int]], tuple[list[LabelSet], list[str]]]
"""Tables of an op -> label sets and content types."""


class Run(NamedTuple):
    """Rows of consecutive ops with the same limits of blocks."""

    rows: Rows  # `set` and `type` index `tables`; `where` counts from `bases`
    bases: NDArray[np.uint64]  # log position of the content of each
    tables: tuple[list[LabelSet], list[str]]
    limits: BlockLimits
    seqs: tuple[int, int]  # first, last


def stretches(
    types: NDArray[np.uint8], begins: Ints, lengths: Ints, raw: NDArray[np.uint8], done: int
) -> list[tuple[int, int]]:
    """[first, stop) of each long run of such ops from the `done`-th on. `begins`: of bodies in `raw`, at multiples of
    8 bytes."""
    if len(types) - done < LEAST:
        return []
    single = (types == ops.APPEND) & (lengths > FIXED)
    single[:done] = False
    heads, at = raw.view(np.uint32), np.where(single, begins // 4, 0)
    for place in range(3):  # rows, label sets, content types
        single &= heads[at + place] == 1
    tables = heads[at + 3].astype(np.int64)
    single &= (tables > 0) & (tables % 8 == 0) & (FIXED + tables <= lengths)
    edges = np.flatnonzero(np.diff(single, prepend=False, append=False)).tolist()
    found = zip(edges[::2], edges[1::2], strict=True)
    return [(first, stop) for first, stop in found if stop - first >= LEAST]


def read(
    seqs: NDArray[np.uint64], begins: Ints, positions: Ints, raw: NDArray[np.uint8], decode: Decode
) -> Iterator[Run]:
    """The rows of a stretch; `positions`: of bodies in the log. Raises Corrupt."""
    heads = raw.view(np.uint32)
    size, high, records = (heads[begins // 4 + place] for place in (4, 5, 6))
    changes = (size[1:] != size[:-1]) | (high[1:] != high[:-1]) | (records[1:] != records[:-1])
    for first, stop in itertools.pairwise([0, *(np.flatnonzero(changes) + 1).tolist(), len(seqs)]):
        limits = BlockLimits(int(size[first]) + (int(high[first]) << 32), int(records[first]))
        part = slice(first, stop)
        sizes = heads[begins[part] // 4 + 3].astype(np.int64)
        rows, tables = _rows(begins[part], sizes, raw, decode)
        rows["seq"] = seqs[part]
        bases = (positions[part] + FIXED + sizes).astype(np.uint64)
        yield Run(rows, bases, tables, limits, (int(seqs[first]), int(seqs[stop - 1])))


def _rows(
    begins: Ints, sizes: Ints, raw: NDArray[np.uint8], decode: Decode
) -> tuple[Rows, tuple[list[LabelSet], list[str]]]:
    words = raw.view(np.uint64)
    at = (begins + ops.HEAD.size) // 8
    rows: Rows = words[at[:, None] + np.arange(ROW.itemsize // 8)].view(ROW).ravel()
    if rows["set"].any() or rows["type"].any():
        raise not_in_it()
    set_ids: dict[LabelSet, int] = {}
    type_ids: dict[str, int] = {}
    at += ROW.itemsize // 8
    for size in sorted(set(sizes.tolist())):  # np.unique imports numpy.ma: too much for an opening
        mine = np.flatnonzero(sizes == size)
        data = words[at[mine][:, None] + np.arange(size // 8)].tobytes()
        keys = [data[first : first + size] for first in range(0, len(data), size)]
        known: dict[bytes, tuple[int, int]] = {}
        for key in dict.fromkeys(keys):
            (labels,), (type,) = decode((key, 1, 1))
            known[key] = set_ids.setdefault(labels, len(set_ids)), type_ids.setdefault(type, len(type_ids))
        numbers = np.array([known[key] for key in keys], np.uint32)
        rows["set"][mine], rows["type"][mine] = numbers[:, 0], numbers[:, 1]
    return rows, (list(set_ids), list(type_ids))


def not_in_it() -> Corrupt:
    return Corrupt("APPEND op whose rows name label sets or content types that are not in it")
