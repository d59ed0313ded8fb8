"""Sections in memory for the tests of the index: written, read back, compared with the plain list of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from lamina.records.index import IndexSection
from lamina.records.indexwrite import Sealed, write_section
from lamina.records.labels import LabelSet
from lamina.records.row import FOREVER, ROW
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentReader, SegmentWriter

_NUMBERS = count()
UNUSED: LabelSet = (("unused", "1"), ("unused too", "2"))


class Record(NamedTuple):
    """One record as the tests think of it."""

    time: int
    labels: LabelSet = ()
    size: int = 5
    where: int = 0
    stored: int = 5
    seq: int = 1
    crc: int = 0
    file: int = 7
    meta: int = 30
    type: str = "text/plain"
    codec: int = 0
    died: int = FOREVER


def label_set(labels: Mapping[str, str]) -> LabelSet:
    return tuple(sorted(labels.items()))


def sealed(records: Sequence[Record], keep_seqs: bool = False) -> Sealed:
    """The tables hold more than the rows use, in another order than the rows use it."""
    sets = [UNUSED, *reversed(dict.fromkeys(record.labels for record in records))]
    types = ["unused", *reversed(dict.fromkeys(record.type for record in records))]
    places = {labels: i for i, labels in enumerate(sets)}
    rows = np.zeros(len(records), ROW)
    for field in ("time", "size", "where", "stored", "seq", "crc", "file", "meta", "codec"):
        rows[field] = [getattr(record, field) for record in records]
    rows["set"] = [places[record.labels] for record in records]
    rows["type"] = [types.index(record.type) for record in records]
    died = np.array([record.died for record in records], np.uint64)
    return Sealed(rows, sets, types, died, keep_seqs)


class Written(NamedTuple):
    blobs: MemoryBlobs
    name: str
    directory: bytes

    def open(self) -> IndexSection:
        return IndexSection(self.blobs, self.name, self.directory)

    @property
    def content(self) -> bytes:
        return self.blobs.read(self.name, [(0, self.blobs.size(self.name))])[0]

    def changed(self, offset: int) -> Written:
        """With one byte another."""
        data = bytearray(self.content)
        data[offset] ^= 0x55
        other = MemoryBlobs()
        writer = other.create(self.name)
        writer.append([data])
        writer.finish()
        return self._replace(blobs=other)


def write(what: Sealed) -> Written:
    blobs = MemoryBlobs()
    name = f"records/00/{next(_NUMBERS):08x}.seg"
    out = SegmentWriter(blobs, name, id=1, kind="records", database_id=bytes(16), epoch=1)
    directory = write_section(out, what)
    rows = what.rows
    out.section(
        object_id=1,
        uuid=b"",
        first_time=0,
        last_time=0,
        min_seq=int(rows["seq"].min()),
        max_seq=int(rows["seq"].max()),
        version=0,
        live=len(rows),
        directory=directory,
    )
    out.finish()
    assert SegmentReader(blobs, name).sections[0].directory == directory
    return Written(blobs, name, directory)


def section_of(records: Sequence[Record], keep_seqs: bool = False) -> IndexSection:
    return write(sealed(records, keep_seqs)).open()


def records_of(section: IndexSection) -> list[Record]:
    """All records, as the section tells them."""
    rows, died = section.rows(0, section.n), section.died
    deaths = [FOREVER] * section.n if died is None else died.tolist()
    labels = section.label_sets(np.arange(section.n))
    fields = [rows[field].tolist() for field in ("size", "where", "stored", "seq", "crc", "file", "meta")]
    types = [section.types[i] for i in rows["type"].tolist()]
    columns = zip(rows["time"].tolist(), labels, *fields, types, rows["codec"].tolist(), deaths, strict=True)
    return [Record(*columns_of) for columns_of in columns]
