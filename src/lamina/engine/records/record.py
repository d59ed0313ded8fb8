"""Records as they are read: what is said of one, and its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lamina.errors import Corrupt, NotFound
from lamina.records import checksum
from lamina.records.labels import LabelSet
from lamina.records.row import RAW, Place, Rows, place_in
from lamina.storage.crc import crc32c

if TYPE_CHECKING:
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore

SMALL = 65_536
"""Contents up to here are read many at a time."""

SPAN_BYTES = 1 << 20
"""Neighbouring contents are read as one range of at most so many bytes."""

GAP_BYTES = 512
"""Between two contents in the log lie a row, a label set, a frame's head: reading them along costs less than a call."""


class Record:
    """One record as it was when it was read: later label updates do not show. Contents are read on demand.

    `time_us`: µs since the epoch. `labels`: (name, value) pairs sorted by name.
    """

    __slots__ = ("_place", "_seq", "_slot", "_store", "content_type", "entry", "labels", "size", "time_us")

    def __init__(
        self,
        store: RecordStore,
        slot: EntrySlot,
        seq: int,
        time_us: int,
        size: int,
        labels: LabelSet,
        content_type: str,
        place: Place,
    ) -> None:
        self._store = store
        self._slot = slot
        self._seq = seq  # as of which it was read
        self._place = place
        self.entry = slot.name
        self.time_us = time_us
        self.size = size
        self.labels = labels
        self.content_type = content_type

    def read(self) -> bytes:
        """The whole content, verified. Raises Corrupt, NotFound (removed since, and nobody held a snapshot)."""
        if self.size <= SMALL:
            return bytes(read_contents([self])[0])
        return b"".join(self.chunks())

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Bytes [start, stop) of the content in verified parts of up to 1 MiB, read as they are asked for."""
        end = self.size if stop is None else min(stop, self.size)
        done = start
        for attempt in range(2):
            file, where, stored, crc, codec = self._place
            try:
                for part in checksum.chunks(
                    self._store.read_stored, file, where, self.size, stored, crc, codec, done, end
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
            self._place = self._store.place_of(self._slot, self.time_us, self._seq)
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
            place = self._store.place_of(self._slot, self.time_us)
        except NotFound:
            return None
        return place if place[3] == self._place[3] else None

    def __repr__(self) -> str:
        return f"<lamina.Record {self.entry} {self.time_us} {self.size} bytes>"


Mark = tuple[int, int, int, int]
"""entry id, time, seq as of which it was read, checksum: what tells one record from every other, without a place."""


def mark_of(record: Record) -> Mark:
    return record._slot.id, record.time_us, record._seq, record._place[3]


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
    return Record(store, slot, seq, time_us, int(row["size"]), (), "", place_in(row))


def materialize(
    store: RecordStore,
    slot: EntrySlot,
    seq: int,
    rows: Rows,
    labels: Sequence[LabelSet],
    types: Sequence[str],
) -> list[Record]:
    """Records of rows."""
    return [
        Record(store, slot, seq, time_us, size, labels[i], types[i], (file, where, stored, crc, codec))
        for i, (time_us, size, where, stored, _, crc, file, _, _, _, codec) in enumerate(rows.tolist())
    ]


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
    store = records[which[0]]._store
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
    store = records[which[0]]._store
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
