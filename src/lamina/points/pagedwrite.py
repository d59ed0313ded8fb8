"""Writes a column of a section: pages, and what is known of them (FORMAT.md, Column)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import pages
from lamina.codecs.times import RAW_POINTS
from lamina.codecs.values import learn
from lamina.points import marks as m
from lamina.storage.crc import crc32c

if TYPE_CHECKING:
    from lamina.storage.segment import SegmentWriter

LINEAR, PCO, RAW = 0, 1, 2
"""Forms. value[i] = base + i * step, nothing is stored; pages of pcodec; pages of 8 bytes a value (few
values, or such as pcodec refuses)."""
INTEGERS, FLOATS = 0, 1

HEAD = struct.Struct("<BBBBH")  # form, integers or floats, marks, log2 of a page's rows, bytes of meta
LINE = struct.Struct("<qq")  # base, step
PLACE = struct.Struct("<QII")  # offset, length, CRC32C

_INT64 = 1 << 63


def write_times(out: SegmentWriter, times: NDArray[np.int64]) -> bytes:
    """Times that ascend; found again by their first values."""
    linear = _linear(times)
    if linear:
        return linear
    few = len(times) < RAW_POINTS
    paged = None if few else pages.encode_integers(times, 1 << m.PAGE_BITS, 1)
    return _write(out, times, paged, m.FIRST, m.firsts(times))


def write_integers(out: SegmentWriter, values: NDArray[np.int64], delta: int | None = None) -> bytes:
    """Any integers; neighbours subtracted `delta` times (None: where that is smaller)."""
    linear = _linear(values)
    if linear:
        return linear
    few = len(values) < RAW_POINTS
    paged = None if few else pages.encode_integers(values, 1 << m.WIDE_BITS, delta)
    return _write(out, values, paged, m.NOTHING, [{}, {}, {}])


def write_numbers(
    out: SegmentWriter, values: NDArray[np.int64] | NDArray[np.float64], are: NDArray[np.bool_] | None
) -> bytes:
    """Numbers of a field with summaries; `are`: rows that have one (None: all), the others hold anything."""
    floats = values.astype(np.float64)
    if are is not None:
        floats[~are] = np.nan
    paged = None if len(values) < RAW_POINTS else _encoded(values)
    return _write(out, values, paged, m.NUMBERS, m.numbers(floats))


def _encoded(values: NDArray[np.int64] | NDArray[np.float64]) -> pages.Paged | None:
    page = 1 << m.PAGE_BITS
    if values.dtype == np.int64:
        return pages.encode_integers(np.asarray(values, np.int64), page)
    numbers = np.asarray(values, np.float64)
    how = learn(numbers)
    return pages.encode_floats(numbers, page, how.mode, how.parameter, how.delta)


def _linear(values: NDArray[np.int64]) -> bytes | None:
    base, last = int(values[0]), int(values[-1])
    step = int(values[1]) - base if len(values) > 1 else 0
    # Differences of int64 wrap: the last value says whether they did.
    if base + step * (len(values) - 1) != last or not -_INT64 <= step < _INT64:
        return None
    if len(values) > 2 and not (np.diff(values) == step).all():
        return None
    return HEAD.pack(LINEAR, INTEGERS, m.NOTHING, m.PAGE_BITS, 0) + LINE.pack(base, step)


def _write(
    out: SegmentWriter,
    values: NDArray[np.int64] | NDArray[np.float64],
    paged: pages.Paged | None,
    marks: int,
    levels: list[dict[str, NDArray[np.generic]]],
) -> bytes:
    n, bits = len(values), m.WIDE_BITS if marks == m.NOTHING else m.PAGE_BITS
    page, quarter, chunk = m.sizes(bits)
    if paged is None:
        raw = values.astype("<i8" if values.dtype == np.int64 else "<f8", copy=False)
        paged = pages.Paged(b"", [raw[at : at + page].tobytes() for at in range(0, n, page)])
    lengths = np.array([len(one) for one in paged.pages], np.uint32)
    assert int(lengths.max()) < 1 << 16, "a length is a u16"
    blob = b"".join(paged.pages)

    quarters = np.zeros(m.units(n, quarter), m.PAGES_OF[marks])
    quarters["length"] = m.grouped(lengths)
    quarters["crc"] = m.grouped(np.array([crc32c(one) for one in paged.pages], np.uint32))
    chunks = np.zeros(m.units(n, chunk), m.QUARTERS_OF[marks])
    sizes = quarters["length"].sum(axis=1, dtype=np.int64)
    chunks["start"] = m.grouped((np.cumsum(sizes) - sizes).astype(np.uint32))
    for name, column in levels[0].items():
        quarters[name] = m.grouped(column)
    for name, column in levels[1].items():
        chunks[name] = m.grouped(column)
    chunks["crc"] = m.grouped(_checksums(quarters))
    top = np.zeros(len(chunks), m.TOP[marks])
    for name, column in levels[2].items():
        top[name] = column
    top["crc"] = _checksums(chunks)

    kind = INTEGERS if values.dtype == np.int64 else FLOATS
    head = HEAD.pack(PCO if paged.meta else RAW, kind, marks, bits, len(paged.meta)) + paged.meta
    parts = (blob, quarters.tobytes(), chunks.tobytes(), top.tobytes())
    return head + b"".join(PLACE.pack(*out.append(part)) for part in parts)


def _checksums(records: m.Records) -> NDArray[np.uint32]:
    raw, size = records.tobytes(), records.dtype.itemsize
    return np.array([crc32c(raw[at : at + size]) for at in range(0, len(raw), size)], np.uint32)
