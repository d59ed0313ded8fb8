"""Points on the wire: packed columns, as ops hold them, with their measurement in front."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamina.errors import Corrupt, InvalidArgument, TooBig, UnknownFormat
from lamina.points.batch import Batch, Grouped, check_times
from lamina.points.field import BOOL
from lamina.points.packed import HEAD, pack, unpack
from lamina.points.windowtable import NAMES, WindowTable
from lamina.storage.files import Buffer
from lamina.wire import arrow, frames

U64 = NDArray[np.uint64]

MOST_VALUES = 1 << 26
"""Points times fields of one insert: a column of Nones costs nothing on the wire, and memory on the server."""

WINDOWS = arrow.schema_of(time=pa.int64(), count=pa.int64(), min=arrow.F8, mean=arrow.F8, max=arrow.F8, stddev=arrow.F8)


def encode(measurement: str, batch: Batch, ordinals: U64) -> bytes:
    """A portion of a search."""
    told = json.dumps({"measurement": measurement, "points": batch.n}).encode()
    return b"".join([frames.heading(told), ordinals.astype("<u8", copy=False).tobytes(), *pack(batch)])


def decode(told: memoryview, body: memoryview) -> tuple[str, Batch, U64]:
    """Raises Corrupt."""
    try:
        head = json.loads(bytes(told))
        ordinals = np.frombuffer(body, "<u8", head["points"])
        batch, _ = unpack(body, 8 * len(ordinals))
    except (ValueError, TypeError, LookupError) as error:
        raise Corrupt(f"a portion that is no points: {error}") from None
    return head["measurement"], batch, ordinals


def encode_groups(groups: Sequence[Grouped]) -> tuple[list[list[Any]], list[Buffer]]:
    """[[measurement, bytes] ...], and the bytes: of each places and points."""
    told, parts = [], []
    for group in groups:
        mine: list[Buffer] = [group.places.astype("<i8").tobytes(), *pack(group.batch)]
        told.append([group.measurement, group.batch.n, sum(memoryview(part).nbytes for part in mine)])
        parts += mine
    return told, parts


def received_groups(told: Sequence[Sequence[Any]], payload: memoryview) -> list[Grouped]:
    """What a client sent, with every check. Raises InvalidArgument, InvalidTimeRange, TooBig."""
    groups, at = [], 0
    for measurement, points, size in told:
        if not 0 <= 8 * points <= size <= len(payload) - at:
            raise InvalidArgument(f"measurements/insert: {size} bytes of {points} points in {len(payload) - at} left")
        mine = payload[at : at + size]
        at += size
        groups.append(
            Grouped(measurement, _received(mine, points), np.frombuffer(mine, "<i8", points).astype(np.int64))
        )
    places = np.concatenate([group.places for group in groups] or [np.empty(0, np.int64)])
    if at != len(payload) or not np.array_equal(np.sort(places), np.arange(len(places))):
        raise InvalidArgument("measurements/insert: expected the places 0, 1, ... of all points, and no bytes besides")
    if any((np.diff(group.places) < 0).any() for group in groups):
        raise InvalidArgument("measurements/insert: expected ascending places in each measurement")
    return groups


def _received(body: memoryview, points: int) -> Batch:
    try:
        if len(body) < 8 * points + HEAD.size:
            raise Corrupt("the head is missing")
        n, _, _, fields, _, _ = HEAD.unpack_from(body, 8 * points)
        if n * fields > MOST_VALUES:
            raise TooBig(f"{n} points with {fields} fields: one insert carries {MOST_VALUES} values at most")
        batch, _ = unpack(body, 8 * points)
    except (Corrupt, UnknownFormat) as error:
        raise InvalidArgument(f"the points of the body are none: {error}") from None
    if batch.n != points:
        raise InvalidArgument(f"measurements/insert: {batch.n} points where {points} are announced")
    sets, orders = batch.tagsets, batch.orders
    if len({*sets}) != len(sets) or len({*orders}) != len(orders) or any(len(dict(one)) != len(one) for one in sets):
        raise InvalidArgument("the points of the body have tables that say something twice")
    for key, column in batch.fields.items():
        are = column.of_kind(BOOL)
        bits = column.bits if are is True else column.bits[are] if are is not False else column.bits[:0]
        if len(bits) and not 0 <= int(bits.min()) <= int(bits.max()) <= 1:
            raise InvalidArgument(f"field {key!r}: a bool that is neither 0 nor 1")
    check_times(batch.time_us)
    return batch


def encode_windows(table: WindowTable) -> bytes:
    """The one portion of a window table."""
    told = json.dumps({key: list(values) for key, values in table.by.items()}).encode()
    return frames.joined(told, memoryview(arrow.encode(WINDOWS, [getattr(table, name) for name in NAMES])))


def decode_windows(told: memoryview, body: memoryview) -> WindowTable:
    """Raises Corrupt."""
    time, count, least, mean, greatest, stddev = arrow.decode(WINDOWS, body)
    return WindowTable(time, count, least, mean, greatest, stddev, json.loads(bytes(told)))
