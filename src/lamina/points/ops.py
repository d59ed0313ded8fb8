"""Bodies of the ops of kind `points` (FORMAT.md, Ops; storage/LOGFORMAT.md has frames and op headers).

INSERT  new points under new ordinals. UPDATE: complete new points under the ordinals of old ones. REMOVE: ordinals.
CLEAR: all points of the measurement. Effects only: what a query selected and a function computed was resolved before
the op was built, so replay decides nothing. An ordinal that no living point of the measurement has means nothing.
SECTION  points that lie in a segment already; its body is the engine's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.errors import Corrupt, UnknownFormat
from lamina.points.batch import Batch
from lamina.points.packed import pack, unpack, unpack_all
from lamina.storage.files import Buffer

KIND = 3
INSERT, UPDATE, REMOVE, CLEAR, SECTION = 1, 2, 3, 4, 6

Ordinals = NDArray[np.uint64]
"""Who a point is, and its place in insertion order over all measurements of a database."""

_HEAD = struct.Struct("<QII")  # first ordinal, flags, 0
_COUNT = struct.Struct("<II")  # points, 0
_SCATTERED = 1
"""Flag of INSERT: places of the points among those of the call follow; else they are 0, 1, ..."""


def insert_head(first: int, *, scattered: bool) -> bytes:
    """The first part of an INSERT: what is known only when the op is numbered."""
    return _HEAD.pack(first, _SCATTERED if scattered else 0, 0)


def insert_parts(batch: Batch, first: int = 0, places: NDArray[np.int64] | None = None) -> list[Buffer]:
    """The body of an INSERT in pieces, the first being `insert_head(first, scattered=places is not None)`.

    The point i gets the ordinal `first + places[i]`, or `first + i`: a call that inserts into several measurements
    numbers its points over all of them.
    """
    parts = [insert_head(first, scattered=places is not None), *pack(batch)]
    if places is not None:
        parts.append(places.astype("<u8").tobytes())
    return parts


def decode_insert(body: bytes | memoryview) -> tuple[Batch, Ordinals]:
    """Points and their ordinals. Raises Corrupt, UnknownFormat."""
    first, scattered = _insert_head(body)
    batch, at = unpack(body, _HEAD.size)
    return batch, _ordinals(body, batch.n, first, scattered, at)


def decode_inserts(bodies: Sequence[bytes | memoryview]) -> tuple[Batch, Ordinals, NDArray[np.int64]]:
    """Points and ordinals of many INSERTs, one behind the other, and how many points each has.

    Costs 2 µs an op where they are alike (same tags, fields and kinds), 30 µs where they are not. Raises Corrupt,
    UnknownFormat.
    """
    heads = [_insert_head(body) for body in bodies]
    batch = unpack_all(bodies, _HEAD.size)
    counts = np.array([_COUNT.unpack_from(body, _HEAD.size)[0] for body in bodies], np.int64)
    starts = np.cumsum(counts) - counts
    ordinals = np.repeat(np.array([first for first, _ in heads], np.uint64), counts)
    ordinals += (np.arange(batch.n) - np.repeat(starts, counts)).astype(np.uint64)
    for i, (first, scattered) in enumerate(heads):
        if scattered:
            end = int(starts[i] + counts[i])
            # The places are what the body ends with.
            at = len(bodies[i]) - 8 * int(counts[i])
            ordinals[starts[i] : end] = _ordinals(bodies[i], int(counts[i]), first, True, at)
    return batch, ordinals, counts


def _insert_head(body: bytes | memoryview) -> tuple[int, bool]:
    if len(body) < _HEAD.size + _COUNT.size:
        raise Corrupt(f"INSERT op of {len(body)} bytes: expected at least {_HEAD.size + _COUNT.size}")
    first, flags, zero = _HEAD.unpack_from(body)
    if flags > _SCATTERED or zero:
        raise UnknownFormat(f"INSERT op of points: flags {flags}, {zero}: this version reads 0..{_SCATTERED}, 0")
    return first, bool(flags)


def _ordinals(body: bytes | memoryview, n: int, first: int, scattered: bool, at: int) -> Ordinals:
    if not scattered:
        return np.arange(first, first + n, dtype=np.uint64)
    if at + 8 * n > len(body):
        raise Corrupt(f"INSERT op of {len(body)} bytes ends before its {n} places at {at}")
    return np.frombuffer(body, "<u8", n, at) + np.uint64(first)


def update_parts(batch: Batch, ordinals: Ordinals) -> list[Buffer]:
    """The body of an UPDATE in pieces: the points as they are from now on, and whose places they take."""
    return [remove_body(ordinals), *pack(batch)]


def decode_update(body: bytes | memoryview) -> tuple[Batch, Ordinals]:
    """Raises Corrupt, UnknownFormat."""
    ordinals = decode_remove(body)
    batch, _ = unpack(body, _COUNT.size + 8 * len(ordinals))
    if batch.n != len(ordinals):
        raise Corrupt(f"UPDATE op with {batch.n} points for {len(ordinals)} ordinals")
    return batch, ordinals


def remove_body(ordinals: Ordinals) -> bytes:
    """The body of a REMOVE: points that go, by their ordinals."""
    return _COUNT.pack(len(ordinals), 0) + ordinals.astype("<u8", copy=False).tobytes()


def decode_remove(body: bytes | memoryview) -> Ordinals:
    """Raises Corrupt."""
    if len(body) < _COUNT.size or len(body) < _COUNT.size + 8 * _COUNT.unpack_from(body)[0]:
        raise Corrupt(f"op of {len(body)} bytes announces more ordinals than it holds")
    return np.frombuffer(body, "<u8", _COUNT.unpack_from(body)[0], _COUNT.size)
