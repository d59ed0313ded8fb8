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


_MOST_BITS = 16
"""Of a page's rows: what could still be allocated."""


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

    __slots__ = (
        "_base",
        "_decoder",
        "_marks",
        "_places",
        "_quarters",
        "_source",
        "_step",
        "dtype",
        "form",
        "n",
        "sizes",
    )

    def __init__(self, reader: TableReader, n: int, source: Source) -> None:
        """From its description. Raises Corrupt, UnknownFormat."""
        form, floats, marks, bits, size = reader.unpack(HEAD)
        if form > RAW or floats > FLOATS or marks > m.NUMBERS or not 0 < bits <= _MOST_BITS:
            raise UnknownFormat(
                f"{reader.what}: byte {reader.at}: column of form {form}, {floats}, {marks}, {bits}: "
                f"this version reads 0..{RAW}, 0..{FLOATS}, 0..{m.NUMBERS}, 1..{_MOST_BITS}"
            )
        self.n = n
        self.sizes = m.sizes(bits)
        """Rows of a page, a quarter, a chunk."""
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
        _, quarter, chunk = self.sizes
        records = ((quarter, m.PAGES_OF), (chunk, m.QUARTERS_OF), (chunk, m.TOP))
        for place, (rows, forms) in zip(self._places[1:], records, strict=True):
            expected = m.units(n, rows) * forms[marks].itemsize
            if place.length != expected:
                raise reader.corrupt(f"{expected} bytes of records of {n} rows, not {place.length}")

    @property
    def pages(self) -> int:
        return m.units(self.n, self.sizes.page)

    @property
    def summarised(self) -> bool:
        """Whether summaries of numbers are kept."""
        return self._marks == m.NUMBERS

    @property
    def ascends(self) -> bool:
        """Whether it is one of times: a line, or with first values."""
        return self._marks == m.FIRST or self.form == LINEAR

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
        if self._decoder is None:
            if len(blob) != self.n * self.dtype.itemsize:
                raise self._corrupt(f"pages of {self.n * self.dtype.itemsize} bytes, found {len(blob)}")
            return np.frombuffer(blob, self.dtype).copy()
        out = np.empty(self.n, self.dtype)
        self._decoder.decode_all(blob, ends, self.sizes.page, out)
        return out

    def take(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """The values of these rows, in their order. Reads the pages they are in."""
        if self.form == LINEAR:
            return rows.astype(np.int64) * self._step + self._base
        page_of = rows // self.sizes.page
        wanted = np.zeros(self.pages, np.bool_)
        wanted[page_of] = True
        ids = np.flatnonzero(wanted)
        if 2 * len(ids) > self.pages:
            found: NDArray[Any] = self.all()[rows]
            return found
        place = np.cumsum(wanted) - 1
        some: NDArray[Any] = self.read_pages(ids)[place[page_of], rows % self.sizes.page]
        return some

    def read_pages(self, ids: Ids) -> NDArray[Any]:
        """[len(ids), rows of a page]; anything behind the last row. Reads these pages and the records on their way."""
        if self.form == LINEAR:
            rows = self.sizes.page
            return (ids[:, None] * rows + np.arange(rows)) * self._step + self._base
        quarter_ids = np.unique(ids // m.FAN)
        if self._quarters is not None or 2 * len(quarter_ids) > m.units(self.n, self.sizes.quarter):
            quarters = self._all_quarters()
            sizes = quarters["length"].sum(axis=1, dtype=np.int64)
            starts = (np.cumsum(sizes) - sizes)[quarter_ids]
            return self.pages_in(ids, quarter_ids, quarters[quarter_ids], starts)
        descent = Descent(self)
        descent.chunks(np.unique(quarter_ids // m.FAN))
        descent.quarters(quarter_ids)
        return descent.pages(ids)

    def pages_in(self, ids: Ids, quarter_ids: Ids, quarters: m.Records, starts: NDArray[np.int64]) -> NDArray[Any]:
        """Pages of quarters whose records, and places in the pages' block, are known."""
        lengths = quarters["length"].astype(np.int64)
        offsets = starts[:, None] + np.cumsum(lengths, axis=1) - lengths
        at = np.searchsorted(quarter_ids, ids // m.FAN), ids % m.FAN
        blocks = self._blocks(0, offsets[at], lengths[at], quarters["crc"][at])
        rows = self.sizes.page
        out = np.zeros((len(ids), rows), self.dtype)
        for i, (page, block) in enumerate(zip(ids.tolist(), blocks, strict=True)):
            self._decode(block, out[i, : min(rows, self.n - page * rows)])
        return out

    def top(self) -> m.Records:
        """Marks of all chunks."""
        return np.frombuffer(self._source.block(self._places[3]), m.TOP[self._marks])

    def chunk_records(self, ids: Ids, crcs: NDArray[np.uint32]) -> m.Records:
        """What is known of the quarters of these chunks."""
        return self._some(2, m.QUARTERS_OF, ids, crcs)

    def quarter_records(self, ids: Ids, crcs: NDArray[np.uint32]) -> m.Records:
        """What is known of the pages of these quarters."""
        return self._some(1, m.PAGES_OF, ids, crcs)

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


class Descent:
    """One way down a column, a level at a time: nothing is read twice. Each level's ids lie under those of the level
    above."""

    __slots__ = ("_chunk_ids", "_chunks", "_column", "_quarter_ids", "_quarters", "_starts", "top")

    def __init__(self, column: PagedColumn) -> None:
        self._column = column
        self.top = column.top()
        """Marks of all chunks."""

    def chunks(self, ids: Ids) -> m.Records:
        """Records of these chunks: of each quarter, what is known."""
        self._chunk_ids = ids
        self._chunks = self._column.chunk_records(ids, self.top["crc"][ids])
        return self._chunks

    def quarters(self, ids: Ids) -> m.Records:
        """Records of these quarters: of each page, what is known."""
        at = np.searchsorted(self._chunk_ids, ids // m.FAN), ids % m.FAN
        self._quarter_ids = ids
        self._quarters = self._column.quarter_records(ids, self._chunks["crc"][at])
        self._starts = self._chunks["start"][at].astype(np.int64)
        return self._quarters

    def pages(self, ids: Ids) -> NDArray[Any]:
        """The values of these pages, [len(ids), rows of a page]; anything behind the last row."""
        return self._column.pages_in(ids, self._quarter_ids, self._quarters, self._starts)
