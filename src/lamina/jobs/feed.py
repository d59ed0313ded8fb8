"""What is published in the buckets that are replicated: on the fly, and after a crash from the log."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.engine.records.publish import AppendNote, LabelsNote
from lamina.records import ops
from lamina.records.labels import LabelSet
from lamina.records.row import ROW
from lamina.storage.log import Op

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore, Replayed

HEAD_BYTES = 4096
"""Read of an op at first: rows and labels of some records; the contents behind them are not needed."""


class Published(NamedTuple):
    """One op: records that were written, or whose labels were changed. Columns of one length."""

    seq: int
    kind: int  # ops.APPEND or ops.LABELS
    entry: EntrySlot
    times: Sequence[int]
    labels: Sequence[LabelSet]
    gone: Sequence[
        tuple[str, ...]
    ]  # names of labels that were taken off; empty where an early version did not log them


class Feed:
    """Hears of every group that is published, and keeps what concerns `sources`, names of buckets, until drained.

    What is not drained is in the log, which is kept for it.
    """

    def __init__(self) -> None:
        self.sources: frozenset[str] = frozenset()
        self.filled = threading.Event()
        self._box: deque[tuple[int, AppendNote | LabelsNote]] = deque()

    def __call__(self, first_seq: int, group: Sequence[Op]) -> None:
        """Under the commit role, maybe twice for a group."""
        sources = self.sources
        if not sources:
            return
        for seq, op in enumerate(group, first_seq):
            note = op.note
            if isinstance(note, AppendNote | LabelsNote) and note.entry.bucket.name in sources:
                self._box.append((seq, note))
                if not self.filled.is_set():
                    self.filled.set()

    def drain(self) -> list[Published]:
        """In the order of the log; an op may be there twice."""
        self.filled.clear()
        found = []
        while self._box:
            seq, note = self._box.popleft()
            if isinstance(note, LabelsNote):
                gone = note.gone or [()] * len(note.times)
                found.append(Published(seq, ops.LABELS, note.entry, note.times, note.sets, gone))
            else:
                found.append(Published(seq, ops.APPEND, note.entry, note.times, _labels(note), [()] * len(note.times)))
        return found


def _labels(note: AppendNote) -> Sequence[LabelSet]:
    if len(note.times) == 1 or len(note.sets) == 1:
        return [note.sets[0]] * len(note.times)
    return [note.sets[number] for number in np.frombuffer(note.rows, ROW)["set"].tolist()]


def read_again(store: RecordStore, replayed: Sequence[Replayed], after: int) -> Iterator[Published]:
    """Ops with a larger seq that recovery met, of entries that still live. Raises Corrupt, NotFound, Unavailable."""
    for columns in replayed:
        chosen = np.flatnonzero(columns.seqs > np.uint64(after))
        picked = (column[chosen].tolist() for column in columns)
        for id, kind, seq, position, length in zip(*picked, strict=True):
            entry = store.slots.get(id)
            if entry is None:
                continue
            if kind == ops.LABELS:
                times, sets, gone = ops.decode_labels(store.log.read(position, length))
                yield Published(seq, kind, entry, times.tolist(), sets, gone)
                continue
            body = store.log.read(position, min(length, HEAD_BYTES))
            count, _, _, tables, *_ = ops.HEAD.unpack_from(body)
            needed = ops.contents_offset(count, tables)
            if needed > len(body):
                body = store.log.read(position, min(needed, length))
            found = ops.decode_append(body)
            labels = [found.sets[number] for number in found.rows["set"].tolist()]
            yield Published(seq, kind, entry, found.rows["time"].tolist(), labels, [()] * count)
