"""Bodies of the stream ops in the log (storage/LOGFORMAT.md has frames and op headers).

Every op carries its effect: merge policies are resolved before it is built, so replay reads nothing and decides
nothing. The version at the head of a body is filled in when the op is numbered. Little-endian, columns 8-aligned,
times unbiased.

| type | body |
|---|---|
| INSERT 1 | u64 version, u32 n, u32 0, i64 time[n], f64 value[n]; sorted by time, ties in arrival order |
| REPLACE 2 | as INSERT, then u32 m, u32 0, i64 removed[m]: all points stored before at these times go |
| DELETE 3 | u64 version, i64 start, i64 end |
| ROOT 4 | u64 version, u32 segment, u32 length of the rest, u64 points, row[104], pointer (state.Flushed.pointer) |
| TAIL 5 | u32 runs, u32 0, per run (u64 version, u64 seq, u32 type, u32 bytes), then the runs' bodies |
| INSERT_MANY 6 | u32 k, u32 n, u64 stream[k], u64 version[k], u32 points[k] (padded to 8), i64 time[n], f64 value[n] |
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Times, Values
from lamina.errors import Corrupt
from lamina.storage.files import Buffer
from lamina.streams.node import ROW, Rows

KIND = 1
INSERT, REPLACE, DELETE, ROOT, TAIL, INSERT_MANY = 1, 2, 3, 4, 5, 6

_INSERT = struct.Struct("<QII")
_REMOVED = struct.Struct("<II")
_DELETE = struct.Struct("<Qqq")
_ROOT = struct.Struct("<QIIQ")
_TAIL = struct.Struct("<II")
_RUN = struct.Struct("<QQII")
_MANY = struct.Struct("<II")


class Insert(NamedTuple):
    """Points added by one change."""

    version: int
    times: Times  # unbiased, sorted
    values: Values
    removed: Times | None = None  # REPLACE: sorted, distinct


class Delete(NamedTuple):
    """A range removed by one change; start inclusive, end exclusive, unbiased."""

    version: int
    start: int
    end: int


class Root(NamedTuple):
    """A bulk insert: its points are in a segment already, this op is the commit."""

    version: int
    segment: int
    points: int
    root: Rows
    pointer: bytes


class Run(NamedTuple):
    """One change inside a TAIL op."""

    version: int
    seq: int
    change: Insert | Delete


def insert_parts(version: int, times: Times, values: Values, removed: Times | None = None) -> list[Buffer]:
    """Body of INSERT, or of REPLACE if `removed` is given. Arrays are contiguous; they are not copied."""
    parts: list[Buffer] = [_INSERT.pack(version, len(times), 0), _bytes(times), _bytes(values)]
    if removed is not None:
        parts += [_REMOVED.pack(len(removed), 0), _bytes(removed)]
    return parts


def insert_head(version: int, n: int) -> bytes:
    """The first part of insert_parts, to put the version in."""
    return _INSERT.pack(version, n, 0)


def delete_body(version: int, start: int, end: int) -> bytes:
    return _DELETE.pack(version, start, end)


def root_body(root: Root) -> bytes:
    return _ROOT.pack(root.version, root.segment, len(root.pointer), root.points) + root.root.tobytes() + root.pointer


def many_parts(
    streams: NDArray[np.uint64],
    versions: NDArray[np.uint64],
    points: NDArray[np.uint32],
    times: Times,
    values: Values,
) -> list[Buffer]:
    """Body of INSERT_MANY; part 2 is the versions."""
    pad = b"\0" * (-4 * len(points) % 8)
    return [
        _MANY.pack(len(streams), len(times)),
        _bytes(streams),
        _bytes(versions),
        points.tobytes() + pad,
        _bytes(times),
        _bytes(values),
    ]


def tail_parts(runs: Sequence[Run]) -> list[Buffer]:
    heads: list[Buffer] = [_TAIL.pack(len(runs), 0)]
    bodies: list[Buffer] = []
    for run in runs:
        change = run.change
        if isinstance(change, Delete):
            body: list[Buffer] = [delete_body(change.version, change.start, change.end)]
            kind = DELETE
        else:
            body = insert_parts(change.version, change.times, change.values, change.removed)
            kind = INSERT if change.removed is None else REPLACE
        heads.append(_RUN.pack(run.version, run.seq, kind, sum(len(part) for part in body)))
        bodies += body
    return heads + bodies


def decode(type: int, body: Buffer) -> Insert | Delete | Root | list[Run]:
    """The change in a body (not INSERT_MANY: see decode_many). Arrays are views of the body, read-only.
    Raises Corrupt for anything that does not add up: a body may carry padding behind it, never less than it says."""
    try:
        if type in (INSERT, REPLACE):
            return _decode_insert(type, body)
        if type == DELETE:
            return Delete(*_DELETE.unpack_from(body))
        if type == ROOT:
            version, segment, length, points = _ROOT.unpack_from(body)
            at = _ROOT.size + ROW.itemsize
            root = np.frombuffer(body, ROW, 1, _ROOT.size)
            pointer = bytes(memoryview(body)[at : at + length])
            if len(pointer) != length:
                raise ValueError(f"pointer of {length} bytes is cut to {len(pointer)}")
            return Root(version, segment, points, root, pointer)
        if type == TAIL:
            return _decode_tail(body)
    except (struct.error, ValueError) as error:
        raise Corrupt(f"stream op of type {type}, {len(body)} bytes: {error}") from None
    raise Corrupt(f"stream op of unknown type {type}: known are 1 to 6")


def _decode_insert(type: int, body: Buffer) -> Insert:
    version, n, _ = _INSERT.unpack_from(body)
    at = _INSERT.size
    times = np.frombuffer(body, "<i8", n, at)
    values = np.frombuffer(body, "<f8", n, at + 8 * n)
    if type == INSERT:
        return Insert(version, times, values)
    at += 16 * n
    (m, _) = _REMOVED.unpack_from(body, at)
    return Insert(version, times, values, np.frombuffer(body, "<i8", m, at + _REMOVED.size))


def _decode_tail(body: Buffer) -> list[Run]:
    count, _ = _TAIL.unpack_from(body)
    at = _TAIL.size
    place = at + count * _RUN.size
    view = memoryview(body)
    runs = []
    for _ in range(count):
        version, seq, type, length = _RUN.unpack_from(body, at)
        at += _RUN.size
        change = decode(type, view[place : place + length])
        if not isinstance(change, Insert | Delete):
            raise ValueError(f"run of type {type}")
        runs.append(Run(version, seq, change))
        place += length
    return runs


class Many(NamedTuple):
    """A decoded INSERT_MANY: the points of streams[i] are the next points[i] rows."""

    streams: NDArray[np.uint64]
    versions: NDArray[np.uint64]
    points: NDArray[np.uint32]
    times: Times
    values: Values


def decode_many(body: Buffer) -> Many:
    """Raises Corrupt."""
    try:
        k, n = _MANY.unpack_from(body)
        at = _MANY.size
        streams = np.frombuffer(body, "<u8", k, at)
        versions = np.frombuffer(body, "<u8", k, at + 8 * k)
        points = np.frombuffer(body, "<u4", k, at + 16 * k)
        at += 16 * k + 4 * k + (-4 * k % 8)
        times = np.frombuffer(body, "<i8", n, at)
        values = np.frombuffer(body, "<f8", n, at + 8 * n)
        if int(points.sum()) != n:
            raise ValueError(f"{n} points, but the streams' shares add up to {int(points.sum())}")
    except (struct.error, ValueError) as error:
        raise Corrupt(f"INSERT_MANY of {len(body)} bytes: {error}") from None
    return Many(streams, versions, points, times, values)


def _bytes(array: NDArray[Any]) -> memoryview:
    """The array's bytes without a copy; an empty array has no castable view."""
    return array.data.cast("B") if array.size else memoryview(b"")
