"""Going through one entry in time order, a stretch at a time, keeping what a condition selects.

What is read is decided when the cursor begins; it holds the columns of one stretch of sections, never contents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from lamina.records.labels import LabelStats
from lamina.records.section import Section
from lamina.records.source import LAST_TIME, Batch, Cluster, SectionSource, Source, TailSource, clusters, merged
from lamina.records.state import EntryState

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore
    from lamina.records.condition import Condition

FIRST_ROWS, GROWTH, MOST_ROWS = 128, 4, 131_072
"""The first rows come soon; then ever larger pieces, so that a long search costs few calls; none so large that a
condition without columns keeps others waiting for more than a third of a second."""


class Cursor:
    """Selected rows of an entry as of one moment, as Batches; `seq` is that moment. To be closed.

    Raises in strict mode what the condition raises, after what it selected before.
    """

    def __init__(
        self,
        store: RecordStore,
        slot: EntrySlot,
        start: int | None,
        stop: int | None,
        condition: Condition,
        strict: bool,
        state: EntryState | None = None,
        seq: int | None = None,
    ) -> None:
        self._store = store
        self.slot = slot
        # As of now, not as of the entry's last change: what died between the two may be gone from the disk. And before
        # the state is taken, or a seal in between could drop what the state still shows.
        held = store.begin_read(seq)
        self.state = slot.state if state is None else state
        if seq is None:
            seq = self.state.seq
            if state is None:
                seq = min(seq, held[0])
            elif seq > held[0]:  # it was published a moment ago
                store.end_read(held)
                held = store.begin_read(seq)
        self.seq = seq
        self._held: tuple[int, int] | None = held
        self._start = 0 if start is None else start
        self._stop = LAST_TIME + 1 if stop is None else stop
        self._condition = condition
        self._evaluation = condition.start(strict)
        self._strict = strict
        self._recent: list[Batch] = []  # rows that a match to come may want as its context
        self.ended = False
        self._batches = self._run()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def _run(self) -> Iterator[Batch]:
        state = self.state
        sections = [section for section in state.sections if section.row.min_seq <= self.seq]
        size = FIRST_ROWS
        for cluster in clusters(sections, _reach(state), self._start, self._stop):
            batch = self._read(cluster)
            if self.slot.meta and len(batch):
                batch = _without_removed(batch)
            at = 0
            while at < len(batch):
                part = batch.part(slice(at, at + size))
                at += size
                size = min(size * GROWTH, MOST_ROWS)
                yield from self.feed(part)
                if self.ended:
                    return

    def _read(self, cluster: Cluster) -> Batch:
        """The tail is looked at only when it is its turn: until then thousands of cursors hold nothing of it."""
        sources: list[Source] = []
        for member in cluster.members:
            if member is None:
                sources.append(TailSource(self.state, self.seq))
            else:
                source = self._store.open_section(member, self.seq)
                if self._may_match(member, source):
                    sources.append(source)
        return merged(sources, self._start, self._stop) if sources else _NOTHING

    def _may_match(self, section: Section, source: SectionSource) -> bool:
        stats = _stats(source)
        return self._condition.may_match(stats, section.t_min, section.t_max, strict=self._strict)

    def feed(self, part: Batch) -> Iterator[Batch]:
        """What the condition makes of rows; `ended` is set when nothing may follow."""
        if not len(part):
            return
        selected = self._evaluation.feed(part)
        if selected.earlier is not None:
            for batch in self._recent:
                context = batch.part(slice(int(batch.times.searchsorted(np.uint64(selected.earlier))), None))
                if len(context):
                    yield context
        self._remember(part, selected.keep)
        if len(selected.rows):
            yield part if len(selected.rows) == len(part) else part.part(selected.rows)
        if selected.error is not None:
            raise selected.error
        self.ended = selected.ended

    def _remember(self, part: Batch, keep: int) -> None:
        if keep > int(part.times[-1]):
            self._recent = []
            return
        least = np.uint64(keep)
        trimmed = [batch.part(slice(int(batch.times.searchsorted(least)), None)) for batch in (*self._recent, part)]
        self._recent = [batch for batch in trimmed if len(batch)]

    def close(self) -> None:
        """Let go of what was held. Idempotent."""
        held, self._held = self._held, None
        if held is not None:
            self._batches.close()  # type: ignore[attr-defined]
            self._store.end_read(held)


def _reach(state: EntryState) -> tuple[int, int] | None:
    """First and last time of the tail's rows, dead ones included; None: it has none."""
    if not state.n:
        return None
    times = state.tail.rows["time"][: state.n]
    if state.ordered:
        return int(times[0]), int(times[-1])
    return int(times.min()), int(times.max())


def _without_removed(batch: Batch) -> Batch:
    """Attachments marked as removed are no part of queries (contract section 11)."""
    column = batch.label("remove")
    if column is None:
        return batch
    gone = np.array([value == "true" for value in column.values] + [False])
    return batch.part(np.flatnonzero(~gone[column.codes]))


_UNKNOWN = LabelStats(False, None, -math.inf, math.inf, False)


def _stats(source: SectionSource) -> Callable[[str], LabelStats | None]:
    """What a condition asks of a section; None: none of its rows has the label."""

    def of(name: str) -> LabelStats | None:
        found = source.index.stats(name)
        if found is None:
            return _UNKNOWN
        return None if found.values is not None and not found.values else found

    return of


_NOTHING = Batch(np.empty(0, np.uint64), (), None, np.empty(0, np.intp))
