"""Bodies of the ops of kind `records` (FORMAT.md, Ops; storage/LOGFORMAT.md has frames and op headers).

APPEND  new records: rows, the label sets and content types they number, contents up to 64 KiB. LABELS: complete new
        label sets of records. REMOVE: times. EVICT: everything up to a time. Effects only: what a query or a policy
        selected was resolved before the op was built, so replay decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt
from lamina.records.blocks import BlockLimits
from lamina.records.labels import LabelSet
from lamina.records.row import ROW, Rows
from lamina.storage.files import Buffer

KIND = 2
APPEND, LABELS, REMOVE, EVICT = 1, 2, 3, 4

HEAD = struct.Struct("<IIIIQII")  # rows, sets, types, bytes of the tables; limits of blocks: bytes, records; 0
ONE = struct.Struct("<QQQQQIIIIII")  # a ROW, in the order of its fields
assert (HEAD.size, ONE.size) == (32, ROW.itemsize), "parts of the log's format"

_PAIR = struct.Struct("<II")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Appended(NamedTuple):
    """A decoded APPEND."""

    rows: Rows  # `set` and `type` index the tables; `where` of inline contents counts from `contents`
    sets: Sequence[LabelSet]
    types: Sequence[str]
    limits: BlockLimits
    contents: int  # where contents begin in the body


def encode_tables(sets: Sequence[LabelSet], types: Sequence[str]) -> bytes:
    """Label sets, then content types, padded to 8 bytes."""
    parts: list[bytes] = []
    for labels in sets:
        parts.append(_U32.pack(len(labels)))
        for pair in labels:
            for text in pair:
                data = text.encode("utf-8", "surrogatepass")
                parts += (_U32.pack(len(data)), data)
    for type in types:
        data = type.encode("utf-8", "surrogatepass")
        parts += (_U32.pack(len(data)), data)
    tables = b"".join(parts)
    return tables + bytes(-len(tables) % 8)


def decode_tables(data: bytes, sets: int, types: int) -> tuple[list[LabelSet], list[str]]:
    """Raises Corrupt."""
    found_sets, found_types, _ = _decode_tables(data, sets, types)
    return found_sets, found_types


def _decode_tables(data: bytes, sets: int, types: int) -> tuple[list[LabelSet], list[str], int]:
    at = 0

    def text() -> str:
        nonlocal at
        (length,) = _U32.unpack_from(data, at)
        end = at + 4 + length
        if end > len(data):
            raise ValueError(f"text of {length} bytes at {at} ends behind the tables")
        found = data[at + 4 : end].decode("utf-8", "surrogatepass")
        at = end
        return found

    try:
        found_sets: list[LabelSet] = []
        for _ in range(sets):
            (pairs,) = _U32.unpack_from(data, at)
            at += 4
            if pairs * 8 > len(data):
                raise ValueError(f"{pairs} labels in {len(data)} bytes")
            found_sets.append(tuple((text(), text()) for _ in range(pairs)))
        return found_sets, [text() for _ in range(types)], at
    except (struct.error, ValueError) as error:
        raise Corrupt(f"tables of a records op: {error}") from None


def append_parts(
    rows: bytes, count: int, sets: int, types: int, tables: bytes, limits: BlockLimits, contents: Sequence[Buffer]
) -> list[Buffer]:
    """The body of an APPEND op; contents are not copied."""
    head = HEAD.pack(count, sets, types, len(tables), limits.size, limits.records, 0)
    return [head + rows + tables, *contents]


def contents_offset(count: int, tables: int) -> int:
    return HEAD.size + count * ROW.itemsize + tables


def decode_append(body: bytes | memoryview) -> Appended:
    """Raises Corrupt."""
    if len(body) < HEAD.size:
        raise Corrupt(f"APPEND op of {len(body)} bytes: at least {HEAD.size}")
    count, sets, types, tables, size, records, _ = HEAD.unpack_from(body)
    at = HEAD.size + count * ROW.itemsize
    if at + tables > len(body):
        raise Corrupt(f"APPEND op of {len(body)} bytes announces {count} rows and {tables} bytes of tables")
    rows = np.frombuffer(body, ROW, count, HEAD.size)
    found_sets, found_types = decode_tables(bytes(body[at : at + tables]), sets, types)
    if count and (int(rows["set"].max()) >= sets or int(rows["type"].max()) >= types):
        raise Corrupt("APPEND op whose rows name label sets or content types that are not in it")
    return Appended(rows, found_sets, found_types, BlockLimits(size, records), at + tables)


def labels_body(times: NDArray[np.uint64], sets: Sequence[LabelSet], gone: Sequence[tuple[str, ...]] = ()) -> bytes:
    """New label sets of the records at these times, one each; and the names of labels that were taken off each."""
    distinct: dict[LabelSet, int] = {}
    numbers = np.array([distinct.setdefault(labels, len(distinct)) for labels in sets], "<u4")
    tables = encode_tables(list(distinct), ())
    head = _PAIR.pack(len(times), len(distinct))
    body = head + np.ascontiguousarray(times, "<u8").tobytes() + tables + numbers.tobytes()
    return body + _encode_gone(gone) if any(gone) else body


class Relabelled(NamedTuple):
    """A decoded LABELS: columns of one length."""

    times: NDArray[np.uint64]
    sets: list[LabelSet]
    gone: list[tuple[str, ...]]  # names of labels that were taken off; () throughout in ops of early versions


def decode_labels(body: bytes | memoryview) -> Relabelled:
    """Raises Corrupt."""
    if len(body) < _PAIR.size:
        raise Corrupt(f"LABELS op of {len(body)} bytes: at least {_PAIR.size}")
    count, distinct = _PAIR.unpack_from(body)
    tables = _PAIR.size + 8 * count
    if tables + 4 * count > len(body):
        raise Corrupt(f"LABELS op of {len(body)} bytes announces {count} records")
    sets, _, length = _decode_tables(bytes(body[tables:]), distinct, 0)
    at = tables + length + (-length % 8)
    if at + 4 * count > len(body):
        raise Corrupt(f"LABELS op of {len(body)} bytes ends before its {count} numbers")
    numbers = np.frombuffer(body, "<u4", count, at).tolist()
    if numbers and max(numbers) >= distinct:
        raise Corrupt("LABELS op whose records name label sets that are not in it")
    gone = _decode_gone(bytes(body[at + 4 * count :]), count)
    return Relabelled(np.frombuffer(body, "<u8", count, _PAIR.size), [sets[number] for number in numbers], gone)


def _encode_gone(gone: Sequence[tuple[str, ...]]) -> bytes:
    """Distinct lists of names, then the number of each record's, from 1; 0: none."""
    distinct: dict[tuple[str, ...], int] = {(): 0}
    numbers = np.array([distinct.setdefault(tuple(names), len(distinct)) for names in gone], "<u4")
    parts = [_U32.pack(len(distinct) - 1)]
    for names in list(distinct)[1:]:
        parts.append(_U32.pack(len(names)))
        for name in names:
            data = name.encode("utf-8", "surrogatepass")
            parts += (_U32.pack(len(data)), data)
    return b"".join(parts) + numbers.tobytes()


def _decode_gone(data: bytes, count: int) -> list[tuple[str, ...]]:
    if len(data) < 4:  # none, or an op of an early version; the log pads bodies
        return [()] * count
    try:
        (lists,) = _U32.unpack_from(data)
        if lists > len(data):
            raise ValueError(f"{lists} lists in {len(data)} bytes")
        found: list[tuple[str, ...]] = [()]
        at = 4
        for _ in range(lists):
            (names,) = _U32.unpack_from(data, at)
            at += 4
            if 4 * names > len(data):
                raise ValueError(f"{names} names in {len(data)} bytes")
            mine = []
            for _ in range(names):
                (length,) = _U32.unpack_from(data, at)
                at += 4 + length
                if at > len(data):
                    raise ValueError(f"a name of {length} bytes ends behind the op")
                mine.append(data[at - length : at].decode("utf-8", "surrogatepass"))
            found.append(tuple(mine))
        if not lists:
            return [()] * count
        return [found[number] for number in np.frombuffer(data, "<u4", count, at).tolist()]
    except (struct.error, ValueError, IndexError) as error:
        raise Corrupt(f"names of labels that a LABELS op took off: {error}") from None


def remove_body(times: NDArray[np.uint64]) -> bytes:
    return _U64.pack(len(times)) + np.ascontiguousarray(times, "<u8").tobytes()


def decode_remove(body: bytes | memoryview) -> NDArray[np.uint64]:
    """Raises Corrupt."""
    if len(body) < 8 or len(body) < 8 + 8 * _U64.unpack_from(body)[0]:
        raise Corrupt(f"REMOVE op of {len(body)} bytes announces more times than it holds")
    return np.frombuffer(body, "<u8", _U64.unpack_from(body)[0], 8)


def evict_body(through: int) -> bytes:
    """Everything up to this time, inclusive."""
    return _U64.pack(through)


def decode_evict(body: bytes | memoryview) -> int:
    """Raises Corrupt."""
    if len(body) < 8:
        raise Corrupt(f"EVICT op of {len(body)} bytes: 8")
    through: int = _U64.unpack_from(body)[0]
    return through
