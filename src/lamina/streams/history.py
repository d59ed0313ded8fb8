"""The older roots of a stream: a persistent 16-ary array over its flushes, oldest first.

Appending copies one path (about 1 KB) into the segment of the flush; everything else is shared with the array before.
The array is named by its **pointer**, 28 bytes: address of the top node, number of entries. b"" is the empty array.
Version and seq ascend, so both are searched. FORMAT.md has the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import integers
from lamina.errors import Corrupt
from lamina.streams.node import ADDRESS, NO_ROWS, ROOT_PW, ROW, Addresses, Rows

if TYPE_CHECKING:
    from lamina.storage.blocks import BlockReader
    from lamina.storage.segment import SegmentWriter

FANOUT = 16
"""Children of a node. A path of n entries is log16(n) nodes; wider nodes make the copy larger, narrower ones the
search longer."""

ENTRY = np.dtype(
    [
        ("version", "<u8"),
        ("seq", "<u8"),
        ("time_us", "<i8"),
        ("points", "<u8"),
        ("root", ROW),  # pw 0 = no root (nothing was stored)
        ("runs", ADDRESS),
        ("zero", "<u4"),
    ]
)
CHILD = np.dtype([("address", ADDRESS), ("zero", "<u4"), ("version", "<u8"), ("seq", "<u8")])
POINTER = np.dtype([("address", ADDRESS), ("count", "<u8")])
assert (ENTRY.itemsize, CHILD.itemsize, POINTER.itemsize) == (160, 40, 28), "these are formats"

Records = NDArray[np.void]  # dtype ENTRY
_Node = NDArray[np.void]  # dtype ENTRY at height 0, CHILD above
_Field = Literal["version", "seq"]


class Entry(NamedTuple):
    """One root of the past."""

    version: int
    seq: int  # of the last op inside
    time_us: int
    points: int
    root: Rows  # length 0 or 1
    runs: Addresses  # length 1: block of `encode_runs`; its length 0 = none


def append(history: bytes, entry: Entry, out: SegmentWriter, read: BlockReader) -> bytes:
    """The pointer of the array with one entry more; version and seq are not below those of the last."""
    node: _Node = to_records([entry])
    if not history:
        return _pointer(_write(node, out), 1)
    top, count = _parse(history)
    spine = _spine(top, count, read)  # top first
    grown = True  # whether `node` is a new sibling on its level, or replaces the last one
    for level in reversed(spine):
        if len(level) < FANOUT or not grown:
            node = np.concatenate([level if grown else level[:-1], node])
            grown = False
        node = _write(node, out)
    if grown:
        node = _write(np.concatenate([_child(top, spine[0]), node]), out)
    return _pointer(node, count + 1)


def build(records: Records, out: SegmentWriter) -> bytes:
    """The pointer of a new array of these entries."""
    level: _Node = records
    if not len(level):
        return b""
    while True:
        level = np.concatenate([_write(level[i : i + FANOUT], out) for i in range(0, len(level), FANOUT)])
        if len(level) == 1:
            return _pointer(level, len(records))


def find_version(history: bytes, version: int, read: BlockReader) -> Entry | None:
    """The entry with the smallest version at or above the given one."""
    return _at(history, _search(history, "version", version, "left", read), read)


def find_seq(history: bytes, seq: int, read: BlockReader) -> tuple[Entry | None, Entry | None]:
    """The entry with the largest seq at or below the given one, and the entry behind it."""
    behind = _search(history, "seq", seq, "right", read)
    return _at(history, behind - 1, read), _at(history, behind, read)


def entries(history: bytes, read: BlockReader) -> Iterator[Entry]:
    """All entries, oldest first."""
    for node, _ in nodes(history, read):
        if node.dtype == ENTRY:
            for i in range(len(node)):
                yield _entry(node, i)


def nodes(history: bytes, read: BlockReader) -> Iterator[tuple[_Node, np.void]]:
    """Every node with its address: a node before those below it, entries (dtype ENTRY) oldest first."""
    if not history:
        return
    top, count = _parse(history)
    stack = [(top, _height(count))]
    while stack:
        address, height = stack.pop()
        node = _read(address, height, read)
        yield node, address
        if height:
            stack += [(child, height - 1) for child in node["address"][::-1]]


def to_records(entries: list[Entry]) -> Records:
    """The entries as they are stored."""
    records = np.zeros(len(entries), ENTRY)
    for record, entry in zip(records, entries, strict=True):
        for name in ("version", "seq", "time_us", "points"):
            record[name] = getattr(entry, name)
        if len(entry.root):
            record["root"] = entry.root[0]
        record["runs"] = entry.runs[0]
    return records


def encode_runs(versions: NDArray[np.uint64], seqs: NDArray[np.uint64]) -> bytes:
    """The versions inside one flush and the seq of the op that made each, ascending."""
    return integers.pack([versions, seqs])


def decode_runs(block: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The inverse of `encode_runs`. Raises Corrupt, UnknownFormat."""
    versions, seqs = integers.unpack(block, 2)
    return versions, seqs


def _parse(history: bytes) -> tuple[np.void, int]:
    if len(history) != POINTER.itemsize:
        raise Corrupt(f"pointer of a history: expected {POINTER.itemsize} bytes, found {len(history)}")
    [pointer] = np.frombuffer(history, POINTER)
    return pointer["address"], int(pointer["count"])


def _pointer(top: _Node, count: int) -> bytes:
    pointer = np.zeros(1, POINTER)
    pointer["address"], pointer["count"] = top["address"], count
    return pointer.tobytes()


def _height(count: int) -> int:
    """Levels above the entries' own nodes."""
    height, room = 0, FANOUT
    while room < count:
        height, room = height + 1, room * FANOUT
    return height


def _write(node: _Node, out: SegmentWriter) -> _Node:
    """Append a node; the CHILD that refers to it."""
    out.align(8)
    offset, length, crc = out.append(node.tobytes())
    return _child(np.array([(out.id, length, offset, crc)], ADDRESS), node)


def _child(address: np.void | Addresses, node: _Node) -> _Node:
    child = np.zeros(1, CHILD)
    child["address"] = address
    child["version"], child["seq"] = node["version"][-1], node["seq"][-1]
    return child


def _read(address: np.void, height: int, read: BlockReader) -> _Node:
    segment, length, offset, crc = address.item()
    block = read.block(segment, offset, length, crc)
    dtype = CHILD if height else ENTRY
    if not block or len(block) % dtype.itemsize or len(block) > FANOUT * dtype.itemsize:
        raise Corrupt(f"segment {segment}, offset {offset}: a history node of {len(block)} bytes")
    return np.frombuffer(block, dtype)


def _spine(top: np.void, count: int, read: BlockReader) -> list[_Node]:
    """The nodes on the way to the last entry."""
    found: list[_Node] = []
    for height in range(_height(count), -1, -1):
        found.append(_read(top, height, read))
        if height:
            top = found[-1]["address"][-1]
    return found


def _search(history: bytes, field: _Field, value: int, side: Literal["left", "right"], read: BlockReader) -> int:
    """The ordinal of the first entry whose field is >= (left) or > (right) value; their number if there is none."""
    if not history:
        return 0
    address, count = _parse(history)
    ordinal = 0
    for height in range(_height(count), -1, -1):
        node = _read(address, height, read)
        i = int(np.searchsorted(node[field], np.uint64(value), side))
        ordinal = ordinal * FANOUT + i
        if i == len(node):
            return count  # only possible at the top: a child's field is that of its last entry
        if height:
            address = node["address"][i]
    return ordinal


def _at(history: bytes, ordinal: int, read: BlockReader) -> Entry | None:
    if not history:
        return None
    address, count = _parse(history)
    if not 0 <= ordinal < count:
        return None
    for height in range(_height(count), 0, -1):
        address = _read(address, height, read)["address"][ordinal // FANOUT**height % FANOUT]
    return _entry(_read(address, 0, read), ordinal % FANOUT)


def _entry(node: Records, i: int) -> Entry:
    record = node[i]
    root = node["root"][i : i + 1] if record["root"]["pw"] == ROOT_PW else NO_ROWS
    version, seq, time_us, points = (int(record[name]) for name in ("version", "seq", "time_us", "points"))
    return Entry(version, seq, time_us, points, root, node["runs"][i : i + 1])
