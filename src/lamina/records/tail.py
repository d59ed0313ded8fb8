"""The unsealed rows of one entry, in memory: growable columns that only grow.

Rows are in the order of their ops, so "up to seq S" is a prefix. A row is never taken out: it dies (`died`), and a
reader that looks as of an earlier seq still sees it. A label update is the death of a row and the birth of another
with the same place.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.records.labels import LabelSet
from lamina.records.row import FOREVER, ROW, Rows

_T = TypeVar("_T", bound=np.generic)

FIRST_ROWS = 16
ROW_BYTES = ROW.itemsize + 9
"""What a row takes here."""

SET_BYTES = 120
"""Of Python objects per distinct label set, besides its texts."""


class Tail:
    """Written under the publish lock only; readers take `rows`, `died` and their own length."""

    __slots__ = (
        "by_time",
        "bytes",
        "died",
        "inline",
        "next",
        "rows",
        "set_ids",
        "sets",
        "type_ids",
        "types",
        "updated",
    )

    def __init__(self) -> None:
        self.rows: Rows = np.empty(FIRST_ROWS, ROW)
        self.died: NDArray[np.uint64] = np.full(FIRST_ROWS, FOREVER, np.uint64)
        self.updated: NDArray[np.bool_] = np.zeros(FIRST_ROWS, np.bool_)  # born by a label update
        self.sets: list[LabelSet] = []
        self.types: list[str] = []
        self.set_ids: dict[LabelSet, int] = {}
        self.type_ids: dict[str, int] = {}
        self.by_time: dict[int, int] | None = None  # living rows, once one came late
        self.inline = 0  # bytes of contents in the log
        self.bytes = 0  # of the label sets and contents' metadata, for the bound on tails
        self.next: tuple[Tail, int, int] | None = None
        """Once sealed: the tail that follows, how many rows this one had in the end, and how many of the last of them
        the next begins with."""

    def reserve(self, rows: int) -> None:
        size = len(self.rows)
        if rows > size:
            size = max(rows, 2 * size)
            self.rows = _grown(self.rows, size, None)
            self.died = _grown(self.died, size, FOREVER)
            self.updated = _grown(self.updated, size, False)

    def intern(self, labels: LabelSet) -> int:
        found = self.set_ids.get(labels)
        if found is None:
            found = self.set_ids[labels] = len(self.sets)
            self.sets.append(labels)
            self.bytes += SET_BYTES + sum(len(name) + len(value) + 100 for name, value in labels)
        return found

    def intern_type(self, type: str) -> int:
        found = self.type_ids.get(type)
        if found is None:
            found = self.type_ids[type] = len(self.types)
            self.types.append(type)
        return found

    def index_times(self, n: int) -> dict[int, int]:
        """Living rows by time, made once and kept up by whoever adds rows."""
        if self.by_time is None:
            alive = np.flatnonzero(self.died[:n] == np.uint64(FOREVER))
            times = self.rows["time"][alive].tolist()
            self.by_time = dict(zip(times, alive.tolist(), strict=True))
        return self.by_time


def _grown(array: NDArray[_T], size: int, fill: int | None) -> NDArray[_T]:
    bigger: NDArray[_T] = np.empty(size, array.dtype)
    bigger[: len(array)] = array
    if fill is not None:
        bigger[len(array) :] = fill
    return bigger
