"""ArrowMultiValues and MultiRawValues: many streams in one table, as stored or snapped to a grid of times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from lamina.columns import Times, Values
from lamina.errors import TooBig
from lamina.faces.btrdb import arrow, wire
from lamina.faces.btrdb.batches import ARROW_ROWS, BATCH_BYTES, POINTS
from lamina.faces.btrdb.calls import MESSAGE_LIMIT, Call, parse
from lamina.faces.btrdb.errors import INVALID_PARAMETER, WRONG_ARGS, Refused
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.streams.bounds import check_range
from lamina.tables import join

if TYPE_CHECKING:
    from lamina.engine.view import StreamView

_WIDE = 16
"""Streams that are joined without more ado: each holds a chunk of 2 MiB."""

_SLICE_POINTS = 4_000_000
"""Points of all streams of a slice of time in a wider join: 64 MB, however many streams share them."""


def arrow_multi_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ArrowMultiValuesParams, data)
    _check(asked.start, asked.end, asked.snapPeriodNs)
    versions = list(asked.versionMajor) or [0] * len(asked.uuid)
    if len(versions) != len(asked.uuid):
        raise Refused(WRONG_ARGS, f"{len(asked.uuid)} uuids and {len(versions)} versions: expected one for each")
    template = asked.templateBytes
    if template:  # its columns can be judged before any uuid is
        arrow.Encoder(arrow.joined_schema([UUID(int=0)] * len(asked.uuid)), template)
    with ExitStack() as stack:
        views = _views(call, stack, asked.uuid, versions)
        uuids = [UUID(bytes=uuid) for uuid in asked.uuid]
        encoder = arrow.Encoder(arrow.joined_schema(uuids), template)
        rows = min(ARROW_ROWS, encoder.rows_limit())
        empty = True
        for times, columns in _table(views, asked.start, asked.end, asked.snapPeriodNs, rows):
            empty = False
            yield from encoder.messages(b"", 2, times, *columns)
        if empty:
            nothing = np.empty(0)
            yield from encoder.messages(b"", 2, nothing.astype(np.int64), *[nothing] * len(views))


def multi_raw_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.MultiRawValuesParams, data)
    _check(asked.start, asked.end, asked.periodNs)
    with ExitStack() as stack:
        views = _views(call, stack, asked.uuid, [asked.versionMajor] * len(asked.uuid))
        head = pb.MultiRawValuesResponse(
            versionMajor=[view.version for view in views], versionMinor=[0] * len(views)
        ).SerializeToString()
        row_bytes = 32 + 8 * len(views)
        if len(head) + row_bytes >= MESSAGE_LIMIT:
            raise TooBig(f"a row of {len(views)} streams does not fit a message of {MESSAGE_LIMIT} bytes")
        rows = max(1, min(POINTS, (BATCH_BYTES - len(head)) // row_bytes))
        empty = True
        for times, columns in _table(views, asked.start, asked.end, asked.periodNs, rows):
            empty = False
            yield wire.encode_rows(head, times, columns)
        if empty:
            yield head


def _check(start: int, end: int, period: int) -> None:
    """Raises InvalidTimeRange, Refused."""
    check_range(start, end)
    if period < 0:
        raise Refused(INVALID_PARAMETER, f"snap period {period} ns is below 0")


def _views(call: Call, stack: ExitStack, uuids: Sequence[bytes], versions: Sequence[int]) -> list[StreamView]:
    """All streams at their versions, closed with the stack; an unknown one fails the whole call."""
    return [stack.enter_context(call.view(uuid, version)) for uuid, version in zip(uuids, versions, strict=True)]


def _table(views: Sequence[StreamView], start: int, end: int, period: int, rows: int) -> Iterator[tuple[Times, Values]]:
    for low, high in _slices(views, start, end):
        tracks = [_track(view, low, high, period) for view in views]
        yield from join.outer_join(tracks, rows)


def _track(view: StreamView, start: int, end: int, period: int) -> join.Track:
    if not period:
        return join.points(view.iter_values(start, end))
    reach = join.snap_range(start, end, period)
    if reach is None:
        return iter(())
    return join.snapped(view.iter_values(*reach), start, end, period)


def _slices(views: Sequence[StreamView], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The range in slices that the streams can hold side by side in memory, in ascending order."""
    if len(views) <= _WIDE:
        yield start, end
        return
    waiting = [(start, end)]
    while waiting:
        low, high = waiting.pop()
        if high - low > 1 and sum(view.count(low, high) for view in views) > _SLICE_POINTS:
            middle = (low + high) // 2
            waiting += [(middle, high), (low, middle)]
        else:
            yield low, high
