"""Records that a request announces: what its headers say before the contents come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from lamina.engine.records.batch import Kind
from lamina.records.labels import LabelSet

__all__ = ["Kind", "Run", "Wanted", "runs_of"]


class Wanted(NamedTuple):
    """One record. Made with `tuple.__new__` where there are 80 of them per request: a third of the time the class
    itself takes."""

    entry: str
    time_us: int
    size: int
    content_type: str
    labels: LabelSet  # of an update: an empty value removes


class Run(NamedTuple):
    """Records of one entry whose contents follow one another in this order, as columns."""

    entry: str
    times: list[int]  # µs
    kinds: list[Kind]  # distinct
    chosen: list[int] | None  # which of the kinds each is; None: all are kinds[0]

    @property
    def size(self) -> int:
        """Bytes of all contents."""
        if self.chosen is None:
            return self.kinds[0].size * len(self.times) if self.times else 0
        kinds = self.kinds
        return sum([kinds[i].size for i in self.chosen])

    def sizes(self) -> list[int]:
        if self.chosen is None:
            return [self.kinds[0].size] * len(self.times) if self.times else []
        return [self.kinds[i].size for i in self.chosen]

    def behind(self, start: int) -> Run:
        """Without the first so many."""
        return Run(self.entry, self.times[start:], self.kinds, None if self.chosen is None else self.chosen[start:])

    def records(self) -> Iterator[tuple[int, Kind]]:
        """(time, kind) of each."""
        kinds = self.kinds
        chosen = self.chosen if self.chosen is not None else [0] * len(self.times)
        return ((time_us, kinds[i]) for time_us, i in zip(self.times, chosen, strict=True))


def runs_of(wanted: Sequence[Wanted]) -> list[Run]:
    """Neighbours of the same entry together."""
    runs = []
    for entry, group in groupby(wanted, itemgetter(0)):
        items = list(group)
        numbers: dict[Kind, int] = {}
        chosen = [numbers.setdefault(tuple.__new__(Kind, item[2:]), len(numbers)) for item in items]
        runs.append(Run(entry, [item[1] for item in items], list(numbers), chosen if len(numbers) > 1 else None))
    return runs
