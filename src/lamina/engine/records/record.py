"""Records as they are read: what is said of one, and its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import Corrupt, NotFound
from lamina.records import checksum
from lamina.records.labels import LabelSet
from lamina.records.row import RAW, Place, place_in
from lamina.storage.crc import crc32c

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.found import Found
    from lamina.engine.records.store import RecordStore
    from lamina.records.source import Batch

SMALL = 65_536
"""Contents up to here are read many at a time."""

SPAN_BYTES = 1 << 20
"""Neighbouring contents are read as one range of at most so many bytes."""

GAP_BYTES = 512
"""Between two contents in the log lie a row, a label set, a frame's head: reading them along costs less than a call."""


class Origin:
    """What records that were read together share: where they are from, and what is said of them."""

    __slots__ = ("entry", "labels", "seq", "slot", "store", "types")

    def __init__(
        self,
        store: RecordStore,
        slot: EntrySlot,
        seq: int,
        labels: Sequence[LabelSet] | Callable[[], Sequence[LabelSet]],
        types: str | Sequence[str],
    ) -> None:
        self.store = store
        self.slot = slot
        self.seq = seq  # as of which they were read
        self.entry = slot.name
        self.labels = labels  # of each; replaced by what the call gives once somebody asks
        self.types = types  # of each, or of all


class Record:
    """One record as it was when it was read: later label updates do not show. Contents are read on demand.

    `time_us`: µs since the epoch. `size`: bytes of the content.
    """

    __slots__ = ("_at", "_origin", "_place", "size", "time_us")

    def __init__(self, origin: Origin, at: int, time_us: int, size: int, place: Place) -> None:
        self._origin = origin
        self._at = at  # which of those that were read together
        self._place = place
        self.time_us = time_us
        self.size = size

    @property
    def entry(self) -> str:
        """Name of its entry."""
        return self._origin.entry

    @property
    def labels(self) -> LabelSet:
        """(name, value) pairs sorted by name."""
        found = self._origin.labels
        if callable(found):  # two threads may both put them together: to the same
            found = self._origin.labels = found()
        return found[self._at]

    @property
    def content_type(self) -> str:
        types = self._origin.types
        return types if isinstance(types, str) else types[self._at]

    @property
    def room(self) -> int:
        """Bytes of a buffer that takes the content at once, with its checksums."""
        return self.size + checksum.array_bytes(self.size)

    def read(self) -> bytes:
        """The whole content, verified. Raises Corrupt, NotFound (removed since, and nobody held a snapshot)."""
        if self.size <= SMALL:
            return bytes(read_contents([self])[0])
        return b"".join(self.chunks())

    def chunks(self, start: int = 0, stop: int | None = None, into: memoryview | None = None) -> Iterator[memoryview]:
        """Bytes [start, stop) of the content in verified parts of up to 1 MiB, read as they are asked for.

        `into`: a buffer of 64 KiB at least that the parts may lie in, each overwritten by the next: what is read
        again and again is not paid for by a new page each time."""
        end = self.size if stop is None else min(stop, self.size)
        done = start
        for attempt in range(2):
            file, where, stored, crc, codec = self._place
            store = self._origin.store
            buffer = None if into is None else (store.read_stored_into, into)
            try:
                for part in checksum.chunks(
                    store.read_stored, file, where, self.size, stored, crc, codec, done, end, into=buffer
                ):
                    yield part
                    done += len(part)
                return
            except NotFound:
                if attempt:
                    raise
                self._find_again()
            except Corrupt:
                if not self._went():
                    raise
                raise NotFound(f"Record {self.time_us} not found in entry {self.entry}: it was removed") from None

    def _find_again(self) -> None:
        """Sealing or compaction put the content elsewhere. Raises NotFound."""
        try:
            self._place = self._origin.store.place_of(self._origin.slot, self.time_us, self._origin.seq)
        except NotFound:  # nobody held that moment; the record may live on with other labels
            place = self._living()
            if place is None:
                raise
            self._place = place

    def _went(self) -> bool:
        """Whether it does not live any more: its space may have been given back, and reads as zeros then."""
        return self._living() is None

    def _living(self) -> Place | None:
        """Where the content lies, if the record lives."""
        try:
            place = self._origin.store.place_of(self._origin.slot, self.time_us)
        except NotFound:
            return None
        return place if place[3] == self._place[3] else None

    def __repr__(self) -> str:
        return f"<lamina.Record {self.entry} {self.time_us} {self.size} bytes>"

    def _repr_html_(self) -> str:
        from lamina.notebook import record_html

        return record_html(self)


Mark = tuple[int, int, int, int]
"""entry id, time, seq as of which it was read, checksum: what tells one record from every other, without a place."""


def mark_of(record: Record) -> Mark:
    origin = record._origin
    return origin.slot.id, record.time_us, origin.seq, record._place[3]


def marked(store: RecordStore, slot: EntrySlot, mark: Mark) -> Record:
    """A record that was read before, to read its content; without its labels. Raises NotFound, where it was removed
    since and nobody held a snapshot."""
    _, time_us, seq, crc = mark
    try:
        row = store.row_of(slot, time_us, seq)
    except NotFound:  # nobody held that moment; the record may live on with other labels
        row = store.row_of(slot, time_us)
        if row["crc"] != crc:
            raise
    return Record(Origin(store, slot, seq, [()], ""), 0, time_us, int(row["size"]), place_in(row))


def materialize(store: RecordStore, slot: EntrySlot, seq: int, batch: Batch, names: Set[str] | None) -> list[Record]:
    """Records of rows, as of a seq. `names`: of the labels that are told of; None: all."""
    types = batch.types()
    only = types.values[int(types.codes[0])] if len(types.values) == 1 and len(batch) else None
    origin = Origin(
        store,
        slot,
        seq,
        _told(batch.later_label_sets(), names),
        only if only is not None else [types.values[code] for code in types.codes.tolist()],
    )
    places = zip(*(batch.field(name).tolist() for name in ("file", "where", "stored", "crc", "codec")), strict=True)
    return [
        Record(origin, at, time_us, size, place)
        for at, (time_us, size, place) in enumerate(
            zip(batch.times.tolist(), batch.field("size").tolist(), places, strict=True)
        )
    ]


def _told(later: Callable[[], list[LabelSet]], names: Set[str] | None) -> Callable[[], list[LabelSet]]:
    if names is None:
        return later
    return lambda: [tuple(pair for pair in labels if pair[0] in names) for labels in later()]


def record_of(store: RecordStore, slot: EntrySlot, seq: int, found: Found) -> Record:
    """One record that was looked for, as of a seq."""
    index = np.array([found.at])
    (row,) = found.source.take(index).tolist()
    time_us, size, where, stored, _, crc, file, _, _, type, codec = row
    origin = Origin(store, slot, seq, found.source.label_sets(index), found.source.types()[type])
    return Record(origin, 0, time_us, size, (file, where, stored, crc, codec))


def read_contents(records: Sequence[Record]) -> list[memoryview | bytes]:
    """Contents of many records of at most 64 KiB each, verified, neighbours with one read. Longer ones are read
    whole. Raises Corrupt, NotFound."""
    found: list[memoryview | bytes] = [b""] * len(records)
    inline: list[int] = []
    filed: list[int] = []
    for i, record in enumerate(records):
        if not record.size:
            continue
        file, _, _, _, codec = record._place
        if record.size > SMALL or codec != RAW:
            found[i] = b"".join(record.chunks())
        elif file:
            filed.append(i)
        else:
            inline.append(i)
    if inline:
        _read_inline(records, inline, found)
    if filed:
        _read_filed(records, filed, found)
    return found


def _read_filed(records: Sequence[Record], which: list[int], found: list[memoryview | bytes]) -> None:
    store = records[which[0]]._origin.store
    places = [(records[i]._place[0], records[i]._place[1], records[i].size) for i in which]
    try:
        contents = store.payloads.read_many(places)
    except NotFound:  # one of them moved: each for itself
        for i in which:
            found[i] = b"".join(records[i].chunks())
        return
    for i, content in zip(which, contents, strict=True):
        found[i] = _verified(records[i], content)


def _verified(record: Record, content: memoryview) -> memoryview | bytes:
    """Of at most 64 KiB, which are under one checksum. Raises Corrupt; NotFound where the space was given back."""
    file, where, _, crc, _ = record._place
    if crc32c(content) == crc:
        return content
    try:
        checksum.verify(content, crc, file, where)
    except Corrupt:
        return b"".join(record.chunks())
    return content


def _read_inline(records: Sequence[Record], which: list[int], found: list[memoryview | bytes]) -> None:
    store = records[which[0]]._origin.store
    which.sort(key=lambda i: records[i]._place[1])
    at = 0
    while at < len(which):
        first = start = records[which[at]]._place[1]
        end = start + records[which[at]].size
        last = at + 1
        while last < len(which):
            where, size = records[which[last]]._place[1], records[which[last]].size
            if where > end + GAP_BYTES or where + size - first > SPAN_BYTES:
                break
            end = max(end, where + size)
            last += 1
        try:
            data = memoryview(store.log.read(first, end - first))
        except NotFound:  # sealed meanwhile, or the run crosses into the next file
            for i in which[at:last]:
                found[i] = b"".join(records[i].chunks())
        else:
            for i in which[at:last]:
                where = records[i]._place[1]
                found[i] = _verified(records[i], data[where - first : where - first + records[i].size])
        at = last
