"""Runs of rows that a query takes from its entries, as records and as columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.engine.records.ranges import Placed, Ranges
from lamina.engine.records.record import Origin, Record, materialize
from lamina.engine.records.recordbatch import RecordBatch
from lamina.errors import TooBig
from lamina.records.labels import LabelColumn
from lamina.records.source import Batch, stack
from lamina.storage.files import Buffer

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore


class Run(NamedTuple):
    """Rows of one entry that follow each other in a query."""

    slot: EntrySlot
    seq: int  # as of which they are read
    rows: Batch
    first: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.first


class Part(NamedTuple):
    """Rows of one entry that are read together."""

    slot: EntrySlot
    seq: int
    rows: Batch


def records(store: RecordStore, runs: Sequence[Run], names: Set[str] | None) -> list[Record]:
    """The rows as records, in order. `names`: of the labels that are told of; None: all."""
    found: dict[int, list[Record]] = {}
    for part in _parts(runs):
        found.setdefault(part.slot.id, []).extend(materialize(store, part.slot, part.seq, part.rows, names))
    if len(found) == 1:
        return next(iter(found.values()))
    left = {id: iter(mine) for id, mine in found.items()}
    return [record for run in runs for record in islice(left[run.slot.id], run.length)]


def columns(store: RecordStore, runs: Sequence[Run], names: Collection[str] | None) -> Columns:
    """The rows, one at least, as columns, in order. `names`: labels that become columns; None: all."""
    return Columns(store, _parts(runs), _order(runs), names)


def _parts(runs: Sequence[Run]) -> list[Part]:
    """What the runs take of each entry, in their order within it; runs that continue one another are one part."""
    taken: dict[int, list[Run]] = {}
    for run in runs:
        mine = taken.setdefault(run.slot.id, [])
        if mine and mine[-1].rows is run.rows and mine[-1].stop == run.first:
            mine[-1] = mine[-1]._replace(stop=run.stop)
        else:
            mine.append(run)
    return [
        Part(run.slot, run.seq, run.rows if run.length == len(run.rows) else run.rows.part(slice(run.first, run.stop)))
        for mine in taken.values()
        for run in mine
    ]


def _order(runs: Sequence[Run]) -> NDArray[np.intp] | None:
    """Where each row is among those of all parts; None: they are in order."""
    counts: dict[int, int] = {}
    for run in runs:
        counts[run.slot.id] = counts.get(run.slot.id, 0) + run.length
    if len(counts) == 1:
        return None
    begins = np.cumsum([0, *counts.values()])
    at = dict(zip(counts, begins.tolist(), strict=False))
    pieces = []
    for run in runs:
        pieces.append(np.arange(at[run.slot.id], at[run.slot.id] + run.length))
        at[run.slot.id] += run.length
    return np.concatenate(pieces)


class Columns:
    """Rows of parts, put in order, as columns; what is read of indexes is read when it is made."""

    def __init__(
        self, store: RecordStore, parts: Sequence[Part], order: NDArray[np.intp] | None, names: Collection[str] | None
    ) -> None:
        self._store = store
        self._parts = parts
        self._order = order
        lengths = [len(part.rows) for part in parts]
        self._part = self._ordered(np.repeat(np.arange(len(parts), dtype=np.int32), lengths))
        self._times = self._together([part.rows.times for part in parts])
        self._sizes = self._field("size")
        entries = {part.slot.name: None for part in parts}
        number = {name: i for i, name in enumerate(entries)}
        of_part = np.array([number[part.slot.name] for part in parts], np.int32)
        self._entry = LabelColumn(of_part[self._part], list(entries))
        self._type = self._stacked([part.rows.types() for part in parts], lengths)
        if names is None:
            names = sorted({name for part in parts for name in part.rows.label_names})
        self._labels = {name: self._stacked([part.rows.label(name) for part in parts], lengths) for name in names}

    def _ordered(self, column: NDArray[Any]) -> NDArray[Any]:
        return column if self._order is None else column[self._order]

    def _together(self, columns: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
        return columns[0] if len(columns) == 1 else self._ordered(np.concatenate(columns))

    def _field(self, name: str) -> NDArray[np.uint64]:
        return self._together([part.rows.field(name) for part in self._parts])

    def _stacked(self, parts: Sequence[LabelColumn | None], lengths: Sequence[int]) -> LabelColumn:
        if len(parts) == 1 and parts[0] is not None:
            return LabelColumn(parts[0].codes.astype(np.int32, copy=False), parts[0].values)
        column = stack(parts, lengths)
        return LabelColumn(self._ordered(column.codes), column.values)

    def check(self, longest: int) -> None:
        """Raises TooBig if a content has more bytes."""
        size = int(self._sizes.max())
        if size > longest:
            raise TooBig(
                f"a content of {size} bytes: batches carry contents of {longest} at most, iterate over the records"
            )

    def batches(self, contents: bool, batch_bytes: int) -> Iterator[RecordBatch]:
        """Of up to so many bytes of contents each, or one record. Raises as `Ranges.read`."""
        if not contents:
            yield self._batch(0, len(self._times), None, None)
            return
        ends = np.cumsum(self._sizes, dtype=np.int64)
        cuts = [0]
        while cuts[-1] < len(ends):
            done = int(ends[cuts[-1] - 1]) if cuts[-1] else 0
            cuts.append(max(int(ends.searchsorted(done + batch_bytes, side="right")), cuts[-1] + 1))
        ranges = Ranges(self._store, self._placed(), np.array(cuts[:-1]))
        for first, stop in pairwise(cuts):
            offsets = np.zeros(stop - first + 1, np.int64)
            offsets[1:] = ends[first:stop] - (ends[first - 1] if first else 0)
            yield self._batch(first, stop, offsets, ranges.read(first, stop))

    def _batch(self, first: int, stop: int, offsets: NDArray[np.int64] | None, contents: Buffer | None) -> RecordBatch:
        def cut(column: LabelColumn) -> LabelColumn:
            return LabelColumn(column.codes[first:stop], column.values)

        return RecordBatch(
            self._times[first:stop],
            self._sizes[first:stop],
            cut(self._entry),
            cut(self._type),
            {name: cut(column) for name, column in self._labels.items()},
            offsets,
            contents,
        )

    def _placed(self) -> Placed:
        origins = [Origin(self._store, part.slot, part.seq, (), "") for part in self._parts]
        files, wheres, stored, crcs, codecs = map(self._field, ("file", "where", "stored", "crc", "codec"))
        return Placed(self._times, self._sizes, files, wheres, stored, crcs, codecs, self._part, origins)
