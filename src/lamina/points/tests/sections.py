"""Sections in memory, and a count of what is read of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import PointSectionRow
from lamina.points.batch import Batch
from lamina.points.deaths import write_deaths
from lamina.points.section import Section, section_of
from lamina.points.sectionread import OpenSection, SectionReader
from lamina.points.sectionwrite import write_section
from lamina.storage.address import ADDRESS, Addresses
from lamina.storage.blobs import Blobs
from lamina.storage.blocks import BlockReader
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentWriter, segment_name

U64 = NDArray[np.uint64]


def name(segment: int) -> str:
    return segment_name("points", segment)


class Store:
    """Segments 1, 2, ... with one section each."""

    def __init__(self, blobs: Blobs | None = None) -> None:
        self.blobs = blobs or MemoryBlobs()
        self.blocks = BlockReader(self.blobs, name, np.dtype([("unused", "u8")]), 0)
        self.next = 1 + sum(1 for _ in self.blobs.list(""))
        self.directory = b""

    def write(
        self,
        batch: Batch,
        ordinals: U64,
        born: U64 | None = None,
        died: U64 | None = None,
        deaths: tuple[NDArray[np.uint32], U64] | None = None,
    ) -> tuple[Section, NDArray[np.intp]]:
        """The section, and the order in which its rows are."""
        segment, self.next = self.next, self.next + 1
        out = SegmentWriter(self.blobs, name(segment), id=segment, kind="points", database_id=bytes(16), epoch=1)
        self.directory, order = write_section(out, batch, ordinals, born, died)
        place = address(segment, *out.append(self.directory))
        dead = address(segment, *out.append(write_deaths(*deaths))) if deaths else b""
        out.finish()
        seqs = np.array([segment], np.uint64) if born is None else born
        row = PointSectionRow(
            segment << 24,
            1,
            segment,
            place,
            int(batch.time_us.min()),
            int(batch.time_us.max()),
            batch.n,
            int(ordinals.min()),
            int(ordinals.max()),
            int(seqs.min()),
            int(seqs.max()),
            dead,
            len(deaths[0]) if deaths else 0,
            0,
            1,
        )
        return section_of(row), order

    def read(self, addresses: Addresses) -> list[bytes]:
        return self.blocks.blocks(addresses)

    def reader(self, section: Section) -> SectionReader:
        return SectionReader(section.row, self.read)

    def open(self, section: Section) -> OpenSection:
        return OpenSection(section, self.reader(section))

    @property
    def bytes_read(self) -> int:
        return self.blocks.bytes_read


def address(segment: int, offset: int, length: int, crc: int) -> bytes:
    found = np.zeros(1, ADDRESS)
    found["segment"], found["offset"], found["length"], found["crc"] = segment, offset, length, crc
    return found.tobytes()
