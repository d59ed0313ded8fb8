"""What was written to an entry since: each record once, however late its time, whatever was sealed meanwhile.

A tail that was sealed knows its successor (`Tail.next`), so whoever follows it sees every row that was ever put in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.records.row import FOREVER
from lamina.records.source import Batch, TailSource
from lamina.records.state import EntryState

if TYPE_CHECKING:
    from lamina.engine.records.cursor import Cursor
    from lamina.engine.records.entry_slot import EntrySlot


class Follower:
    """New records of an entry behind a state, as the condition of a cursor selects them."""

    def __init__(self, slot: EntrySlot, state: EntryState, start: int, cursor: Cursor) -> None:
        self._slot = slot
        self._tail = state.tail
        self._seen = state.n
        self._start = start
        self._cursor = cursor
        self._ready: deque[Batch] = deque()
        self.ended = False

    def next(self) -> Batch | None:
        """The next selected rows, None if there are none now. Raises in strict mode what the condition raises."""
        while not self._ready and not self.ended:
            part = self._new()
            if part is None:
                return None
            self._ready.extend(self._cursor.feed(part))
            self.ended = self._cursor.ended
        return self._ready.popleft() if self._ready else None

    def _new(self) -> Batch | None:
        """New rows up to the end of one tail."""
        while True:
            state = self._slot.state
            tail = self._tail
            if tail is state.tail:
                upto = state.n
            elif tail.next is not None:
                upto = tail.next[1]
                state = EntryState((), tail, upto, False, state.seq, 0)
            else:
                return None  # between being sealed and being followed by another
            if upto > self._seen:
                batch = self._rows(state, self._seen, upto)
                self._seen = upto
                if len(batch):
                    return batch
            elif tail.next is None:
                return None
            if tail.next is not None and self._seen >= tail.next[1]:
                self._tail, _, self._seen = tail.next

    def _rows(self, state: EntryState, first: int, stop: int) -> Batch:
        """Rows of records new and alive; one that a label update put in is not new, but stands for the one it replaced
        if that was not given yet."""
        tail = state.tail
        fresh = ~tail.updated[first:stop] & (tail.rows["time"][first:stop] >= np.uint64(self._start))
        alive = tail.died[first:stop] > np.uint64(state.seq)
        order = np.flatnonzero(fresh & alive) + first
        replaced = np.flatnonzero(fresh & ~alive) + first
        if len(replaced):
            order = np.append(order, _heirs(state, replaced))
        source = TailSource.of_rows(state, order)
        index = source.select(0, FOREVER + 1)
        return Batch(source.times(index), (source,), None, index)


def _heirs(state: EntryState, replaced: NDArray[np.intp]) -> NDArray[np.intp]:
    """The living rows that label updates put in place of dead ones; none for those that were removed."""
    tail = state.tail
    updates = np.flatnonzero(tail.updated[: state.n])
    rows = tail.rows[updates]
    born = dict(zip(zip(rows["time"].tolist(), rows["seq"].tolist(), strict=True), updates.tolist(), strict=True))
    found: list[int] = []
    for row in replaced.tolist():
        time_us, at = int(tail.rows["time"][row]), row
        while at >= 0 and tail.died[at] <= state.seq:
            at = born.get((time_us, int(tail.died[at])), -1)
        if at >= 0:
            found.append(at)
    return np.array(found, np.intp)
