"""Records returned because of a match near them: `#ctx_before`, `#ctx_after` (contract 10.7)."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.records.condition.directives import Span
from lamina.records.condition.value import Duration

_MAX_TIME = (1 << 64) - 1


class Widened(NamedTuple):
    """Matches of one feed with their context."""

    rows: NDArray[np.intp]  # within the feed, ascending
    earlier: int | None  # µs: rows fed before with this time or later are to be returned first; None: none of them
    keep: int  # µs: a later match can ask for rows of this time or later, but for none before


class Context:
    """Which records around the matches of a query are due. Feeds ascend in time.

    Remembers the times of at most `#ctx_before` records, and none if that is a duration.
    """

    __slots__ = ("_after", "_before", "_left", "_recent", "_returned", "_seen", "_until")

    def __init__(self, before: Span, after: Span) -> None:
        self._before = before
        self._after = after
        self._recent: deque[int] = deque(maxlen=0 if isinstance(before, Duration) else before)  # times not returned
        self._returned = -1  # µs, the last record that was returned
        self._seen = -1  # µs, the last record that was fed
        self._left = 0  # records still due after the last match, where #ctx_after is a number
        self._until = -1  # µs, up to which records are due, where it is a duration

    def widen(self, times: NDArray[np.uint64], matches: NDArray[np.intp]) -> Widened:
        """`times` of all rows of the feed, `matches` among them, ascending."""
        n = len(times)
        if not n:
            return Widened(np.empty(0, np.intp), None, self._keep())
        before = self._first_due(times, matches)
        after = self._end_due(times, matches)
        owed = self._owed(times)
        edges = np.zeros(n + 1, np.int64)
        edges[0] += owed > 0
        edges[owed] -= owed > 0
        np.add.at(edges, before, 1)
        np.add.at(edges, after, -1)
        rows = np.flatnonzero(np.cumsum(edges[:-1]) > 0)
        earlier = self._earlier(int(times[matches[0]]), int(matches[0])) if len(matches) else None
        self._remember(times, matches, rows)
        return Widened(rows, earlier, self._keep())

    def _first_due(self, times: NDArray[np.uint64], matches: NDArray[np.intp]) -> NDArray[np.intp]:
        if not isinstance(self._before, Duration):
            first: NDArray[np.intp] = np.maximum(matches - self._before, 0)
            return first
        at, span = times[matches], np.uint64(self._before.us)
        return np.searchsorted(times, at - np.minimum(at, span))

    def _end_due(self, times: NDArray[np.uint64], matches: NDArray[np.intp]) -> NDArray[np.intp]:
        """Exclusive."""
        if not isinstance(self._after, Duration):
            end: NDArray[np.intp] = np.minimum(matches + (min(self._after, len(times)) + 1), len(times))
            return end
        at, span = times[matches], np.uint64(self._after.us)
        latest: NDArray[np.uint64] = at + np.minimum(np.uint64(_MAX_TIME) - at, span)
        return np.searchsorted(times, latest, "right")

    def _owed(self, times: NDArray[np.uint64]) -> int:
        """How many of the first rows are due to a match in an earlier feed."""
        if isinstance(self._after, Duration):
            return int(np.searchsorted(times, np.uint64(self._until), "right")) if self._until >= 0 else 0
        return min(self._left, len(times))

    def _earlier(self, time: int, at: int) -> int | None:
        """For the first match of a feed: no other reaches further back."""
        if isinstance(self._before, Duration):
            first = max(time - self._before.us, self._returned + 1)
            return first if first <= self._seen else None
        missing = min(self._before - at, len(self._recent))
        return self._recent[-missing] if missing > 0 else None

    def _remember(self, times: NDArray[np.uint64], matches: NDArray[np.intp], rows: NDArray[np.intp]) -> None:
        n = len(times)
        if isinstance(self._after, Duration):
            if len(matches):
                self._until = min(int(times[matches[-1]]) + self._after.us, _MAX_TIME)
        else:
            self._left = max(0, self._after - (n - 1 - int(matches[-1])) if len(matches) else self._left - n)
        unreturned = 0
        if len(rows):
            self._returned = int(times[rows[-1]])
            unreturned = int(rows[-1]) + 1
            self._recent.clear()
        if self._recent.maxlen:
            self._recent.extend(times[max(unreturned, n - self._recent.maxlen) :].tolist())
        self._seen = int(times[-1])

    def _keep(self) -> int:
        if isinstance(self._before, Duration):
            return max(0, self._seen + 1 - self._before.us, self._returned + 1)
        return self._recent[0] if self._recent else self._seen + 1
