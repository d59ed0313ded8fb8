"""A bucket as it was at one moment: the entries it had, and their records.

Entries and buckets that were removed since are in the catalog as long as somebody looks back; sections that died since
are there, too, but no longer in the published state of their entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import BucketRow, EntryRow
from lamina.engine.records.arguments import condition_of
from lamina.engine.records.bucket import Bucket
from lamina.engine.records.cursor import Cursor
from lamina.engine.records.entry_slot import EntrySlot
from lamina.engine.records.record import Mark, Record, marked, record_of
from lamina.engine.records.runs import Run
from lamina.engine.records.selection import Selection
from lamina.errors import NotFound
from lamina.records.names import is_meta
from lamina.records.section import section_of
from lamina.records.source import LAST_TIME, Batch, SectionSource, TailSource
from lamina.records.state import EntryState, empty_state
from lamina.time import TimeLike, to_us

if TYPE_CHECKING:
    from lamina.engine.records.store import RecordStore
    from lamina.records.condition import Condition


def bucket_view(store: RecordStore, name: str, seq: int, check: Callable[[], None]) -> BucketView:
    """The bucket of a name as of a seq. `check` raises Closed once nobody holds that moment. Raises NotFound."""
    with store.catalog.snapshot() as snapshot:
        row = _oldest([row for row in snapshot.buckets() if row.name == name], seq)
    if row is None:
        raise NotFound(f"Bucket '{name}' is not found")
    return BucketView(store, row, seq, check)


def _oldest(rows: list[Any], seq: int) -> Any:
    """Of rows with one name the one that had it at a seq: those alive are younger than those that died since."""
    found = [row for row in rows if not row.dead or row.dead > seq]
    return min(found, key=lambda row: row.dead or 1 << 64, default=None)


class BucketView:
    """Made by `Snapshot.bucket`. Names are those of now, or the last ones of what was removed since; entries that were
    made since are there without records."""

    def __init__(self, store: RecordStore, row: BucketRow, seq: int, check: Callable[[], None]) -> None:
        self._store = store
        self._row = row
        self._seq = seq
        self._check = check
        self.name = row.name

    def entries(self) -> list[EntryView]:
        """By name (bytes), attachments too; of those with one name, what was removed first comes first."""
        self._check()
        with self._store.catalog.snapshot() as snapshot:
            rows = [row for row in self._rows(snapshot) if not row.dead or row.dead > self._seq]
        rows.sort(key=lambda row: (row.name.encode(), row.dead or 1 << 64))
        return [self._view(row) for row in rows]

    def entry(self, name: str) -> EntryView:
        """Raises NotFound."""
        self._check()
        with self._store.catalog.snapshot() as snapshot:
            row = _oldest([row for row in self._rows(snapshot) if row.name == name], self._seq)
        if row is None:
            raise NotFound(f"Entry '{name}' not found in bucket '{self.name}'")
        return self._view(row)

    def _rows(self, snapshot: CatalogSnapshot) -> Iterator[EntryRow]:
        return snapshot.entries(self._row.id)

    def _view(self, row: EntryRow) -> EntryView:
        store = self._store
        bucket = store.buckets.get(self._row.id)
        if bucket is not None and not row.dead:
            slot = bucket.slots.get(row.name)
            if slot is not None and slot.id == row.id:
                with slot.sealing:  # catalog and state say the same meanwhile
                    return EntryView(store, slot, _state_of(store, slot, slot.state, self._seq), self._seq, self._check)
        removed = Bucket(store, self._row) if bucket is None else bucket
        slot = EntrySlot(row.id, removed, row.name, is_meta(row.name), row.created_us, empty_state(seq=LAST_TIME))
        slot.dead = True
        return EntryView(store, slot, _state_of(store, slot, slot.state, self._seq), self._seq, self._check)

    def __repr__(self) -> str:
        return f"<lamina.BucketView {self.name!r} seq={self._seq}>"


def _state_of(store: RecordStore, slot: EntrySlot, state: EntryState, seq: int) -> EntryState:
    """The state with the sections that died after a seq."""
    with store.catalog.snapshot() as snapshot:
        rows = snapshot.record_sections([slot.id]).get(slot.id, [])
    known = {section.row.id for section in state.sections}
    rows = [row for row in rows if row.id not in known and row.segment not in store.doubtful]
    lost = [section_of(row) for row in rows if slot.dead or row.dead > seq]
    sections = sorted((*state.sections, *lost), key=lambda section: (section.t_min, section.row.id))
    return state._replace(sections=tuple(sections))


class EntryView:
    """An entry as it was; its labels, too. Thread-safe."""

    def __init__(
        self, store: RecordStore, slot: EntrySlot, state: EntryState, seq: int, check: Callable[[], None]
    ) -> None:
        self._store = store
        self._slot = slot
        self._state = state
        self._seq = min(seq, state.seq)
        self._check = check
        self.name = slot.name

    def read(self, time: TimeLike | None = None) -> Record:
        """The record of a time, None: the latest. Raises NotFound, Corrupt, Closed."""
        self._check()
        at = self._latest() if time is None else to_us(time)
        found = self._store.find(self._slot, self._state, at, self._seq) if at is not None else None
        if found is None:
            what = "No records" if at is None else f"Record {at} not"
            raise NotFound(f"{what} found in entry {self._slot.bucket.name}/{self.name}")
        return record_of(self._store, self._slot, self._seq, found)

    def marked(self, mark: Mark) -> Record:
        """A record that was read from here before, to read its content. Raises NotFound, Closed."""
        self._check()
        return marked(self._store, self._slot, mark)

    def _latest(self) -> int | None:
        latest = -1
        sources: list[TailSource | SectionSource] = [TailSource(self._state, self._seq)] if self._state.n else []
        for section in sorted(self._state.sections, key=lambda section: section.t_max, reverse=True):
            if section.t_max > latest and section.row.min_seq <= self._seq:
                sources.append(self._store.open_section(section, self._seq))
        for source in sources:
            index = source.select(0, LAST_TIME + 1)
            if len(index):
                latest = max(latest, int(source.times(index[-1:])[0]))
        return None if latest < 0 else latest

    def query(
        self,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> Selection:
        """See `Entry.query`. Raises InvalidArgument, Closed; while iterating Corrupt."""
        self._check()
        condition = condition_of(when)
        first, last = (None if time is None else to_us(time) for time in (start, stop))

        return Selection(_Runs(self._store, self._slot, first, last, condition, strict, self._state, self._seq))

    def __repr__(self) -> str:
        return f"<lamina.EntryView {self._slot.bucket.name}/{self.name} seq={self._seq}>"


class _Runs:
    """An open query of an entry as it was."""

    def __init__(
        self,
        store: RecordStore,
        slot: EntrySlot,
        start: int | None,
        stop: int | None,
        condition: Condition,
        strict: bool,
        state: EntryState,
        seq: int,
    ) -> None:
        self.store = store
        self.names = condition.directives.select_labels
        self._seq = seq
        self._cursor = Cursor(store, slot, start, stop, condition, strict, state, seq)
        self._rows: Batch | None = None
        self._at = 0

    def next_runs(self, wanted: int) -> list[Run]:
        if self._rows is None or self._at == len(self._rows):
            self._rows, self._at = next(self._cursor, None), 0
        if self._rows is None:
            return []
        first, self._at = self._at, min(self._at + wanted, len(self._rows))
        return [Run(self._cursor.slot, self._seq, self._rows, first, self._at)]

    def close(self) -> None:
        self._cursor.close()
