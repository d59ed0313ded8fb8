"""Reads a column of a section: whole, or the pages of some rows, by the way down from the top (FORMAT.md, Column)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lamina.codecs.pages import PageDecoder
from lamina.errors import Corrupt, UnknownFormat
from lamina.points import marks as m
from lamina.points.packedtables import TableReader
from lamina.points.pagedwrite import FLOATS, HEAD, LINE, LINEAR, PCO, PLACE, RAW
from lamina.storage.address import ADDRESS, Addresses

Read: TypeAlias = Callable[[Addresses], list[bytes]]
"""`BlockReader.blocks`: the verified bytes of each block, in one batch."""
Ids: TypeAlias = NDArray[np.int64]
"""Numbers of pages, quarters or chunks; ascending, each once."""


class Place(NamedTuple):
    """Where a block of this segment lies."""

    offset: int
    length: int
    crc: int


class Source(NamedTuple):
    """The blocks of one segment."""

    segment: int
    read: Read

    def block(self, place: Place) -> bytes:
        """Raises Corrupt, NotFound."""
        [found] = self.blocks([place.offset], [place.length], [place.crc])
        return found

    def blocks(self, offsets: Any, lengths: Any, crcs: Any) -> list[bytes]:
        """In one batch."""
        addresses = np.empty(len(offsets), ADDRESS)
        addresses["segment"] = self.segment
        addresses["offset"], addresses["length"], addresses["crc"] = offsets, lengths, crcs
        return self.read(addresses)


class PagedColumn:
    """One column of n rows. Immutable and thread-safe; every read goes to the source again, but for the table of
    pages once most of it was asked for. Reading raises Corrupt (object, offset) and NotFound (the object is gone)."""

    __slots__ = ("_base", "_decoder", "_marks", "_places", "_quarters", "_source", "_step", "dtype", "form", "n")

    def __init__(self, reader: TableReader, n: int, source: Source) -> None:
        """From its description. Raises Corrupt, UnknownFormat."""
        form, floats, marks, zero, size = reader.unpack(HEAD)
        if form > RAW or floats > FLOATS or marks > m.NUMBERS or zero:
            raise UnknownFormat(
                f"{reader.what}: byte {reader.at}: column of form {form}, {floats}, {marks}, {zero}: "
                f"this version reads 0..{RAW}, 0..{FLOATS}, 0..{m.NUMBERS}, 0"
            )
        self.n = n
        self.form: int = form
        self.dtype = np.dtype(np.float64 if floats else np.int64)
        self._marks: int = marks
        self._source = source
        self._decoder: PageDecoder | None = None
        self._quarters: m.Records | None = None
        self._base = self._step = 0
        self._places: Sequence[Place] = ()
        if form == LINEAR:
            self._base, self._step = reader.unpack(LINE)
            if not -(1 << 63) <= self._base + self._step * (n - 1) < 1 << 63:
                raise reader.corrupt(f"a line of {n} integers of 64 bits from {self._base} by {self._step}")
            return
        meta = reader.bytes(size)
        if form == PCO:
            self._decoder = PageDecoder(meta, bool(floats))
        self._places = [Place(*reader.unpack(PLACE)) for _ in range(4)]
        records = ((m.QUARTER, m.PAGES_OF), (m.CHUNK, m.QUARTERS_OF), (m.CHUNK, m.TOP))
        for place, (rows, forms) in zip(self._places[1:], records, strict=True):
            expected = m.units(n, rows) * forms[marks].itemsize
            if place.length != expected:
                raise reader.corrupt(f"{expected} bytes of records of {n} rows, not {place.length}")

    @property
    def pages(self) -> int:
        return m.units(self.n, m.PAGE)

    @property
    def stored_bytes(self) -> int:
        """Of pages and records."""
        return sum(place.length for place in self._places)

    @property
    def line(self) -> tuple[int, int] | None:
        """(base, step) of a column that needs no reading."""
        return (self._base, self._step) if self.form == LINEAR else None

    def all(self) -> NDArray[Any]:
        """Every value; the caller's own. Costs 1 ms and two reads for 65,536."""
        if self.form == LINEAR:
            return np.arange(self.n, dtype=np.int64) * self._step + self._base
        quarters = self._all_quarters()
        blob = self._source.block(self._places[0])
        lengths = quarters["length"].ravel()[: self.pages].astype(np.int64)
        ends = np.cumsum(lengths).tolist()
        if ends[-1] != len(blob):
            raise self._corrupt(f"pages of {ends[-1]} bytes altogether, found {len(blob)}")
        out = np.empty(self.n, self.dtype)
        start = 0
        for page, end in enumerate(ends):
            self._decode(blob[start:end], out[page * m.PAGE : (page + 1) * m.PAGE])
            start = end
        return out

    def take(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """The values of these rows, in their order. Reads the pages they are in."""
        if self.form == LINEAR:
            return rows.astype(np.int64) * self._step + self._base
        page_of = rows // m.PAGE
        wanted = np.zeros(self.pages, np.bool_)
        wanted[page_of] = True
        ids = np.flatnonzero(wanted)
        if 2 * len(ids) > self.pages:
            found: NDArray[Any] = self.all()[rows]
            return found
        place = np.cumsum(wanted) - 1
        some: NDArray[Any] = self.read_pages(ids)[place[page_of], rows % m.PAGE]
        return some

    def read_pages(self, ids: Ids) -> NDArray[Any]:
        """[len(ids), PAGE]; zeros behind the last row. Reads these pages and the records on the way to them."""
        out = np.zeros((len(ids), m.PAGE), self.dtype)
        if self.form == LINEAR:
            return (ids[:, None] * m.PAGE + np.arange(m.PAGE)) * self._step + self._base
        quarter_ids = np.unique(ids // m.FAN)
        quarters, starts = self.quarter_records(quarter_ids)
        lengths = quarters["length"].astype(np.int64)
        offsets = starts[:, None] + np.cumsum(lengths, axis=1) - lengths
        at = np.searchsorted(quarter_ids, ids // m.FAN), ids % m.FAN
        blocks = self._blocks(0, offsets[at], lengths[at], quarters["crc"][at])
        for i, (page, block) in enumerate(zip(ids.tolist(), blocks, strict=True)):
            self._decode(block, out[i, : min(m.PAGE, self.n - page * m.PAGE)])
        return out

    def top(self) -> m.Records:
        """Marks of all chunks."""
        return np.frombuffer(self._source.block(self._places[3]), m.TOP[self._marks])

    def chunk_records(self, ids: Ids) -> m.Records:
        """What is known of the quarters of these chunks."""
        if 2 * len(ids) > m.units(self.n, m.CHUNK):
            return self._whole(2, m.QUARTERS_OF)[ids]
        return self._some(2, m.QUARTERS_OF, ids, self.top()["crc"][ids])

    def quarter_records(self, ids: Ids) -> tuple[m.Records, NDArray[np.int64]]:
        """What is known of the pages of these quarters, and where in the pages' block theirs begin."""
        if self._quarters is not None or 2 * len(ids) > m.units(self.n, m.QUARTER):
            quarters = self._all_quarters()
            sizes = quarters["length"].sum(axis=1, dtype=np.int64)
            return quarters[ids], (np.cumsum(sizes) - sizes)[ids]
        chunk_ids = np.unique(ids // m.FAN)
        chunks = self.chunk_records(chunk_ids)
        at = np.searchsorted(chunk_ids, ids // m.FAN), ids % m.FAN
        return self._some(1, m.PAGES_OF, ids, chunks["crc"][at]), chunks["start"][at].astype(np.int64)

    def _all_quarters(self) -> m.Records:
        if self._quarters is None:
            self._quarters = self._whole(1, m.PAGES_OF)
        return self._quarters

    def _whole(self, region: int, forms: dict[int, np.dtype[np.void]]) -> m.Records:
        return np.frombuffer(self._source.block(self._places[region]), forms[self._marks])

    def _some(self, region: int, forms: dict[int, np.dtype[np.void]], ids: Ids, crcs: Any) -> m.Records:
        form = forms[self._marks]
        blocks = self._blocks(region, ids * form.itemsize, np.full(len(ids), form.itemsize), crcs)
        return np.frombuffer(b"".join(blocks), form)

    def _blocks(self, region: int, offsets: NDArray[np.int64], lengths: NDArray[np.int64], crcs: Any) -> list[bytes]:
        place = self._places[region]
        if len(offsets) and int((offsets + lengths).max()) > place.length:
            raise self._corrupt(f"blocks inside {place.length} bytes at {place.offset}")
        return self._source.blocks(offsets + place.offset, lengths, crcs)

    def _decode(self, block: bytes, out: NDArray[Any]) -> None:
        if self._decoder is not None:
            self._decoder.decode_into(block, out)
        elif len(block) != out.nbytes:
            raise self._corrupt(f"a page of {out.nbytes} bytes, found {len(block)}")
        else:
            out[:] = np.frombuffer(block, out.dtype)

    def _corrupt(self, expected: str) -> Corrupt:
        offset = self._places[0].offset
        return Corrupt(f"segment {self._source.segment}: column at offset {offset}: expected {expected}")
