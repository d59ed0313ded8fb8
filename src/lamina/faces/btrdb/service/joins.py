"""Many streams in one table, as stored or snapped to a grid of times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lamina.columns import Times, Values
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import INVALID_PARAMETER, WRONG_ARGS, Refused
from lamina.streams.bounds import check_range
from lamina.tables import join

if TYPE_CHECKING:
    from lamina.engine.view import StreamView

_WIDE = 16
"""Streams that are joined without more ado: each holds a chunk of 2 MiB."""

_SLICE_POINTS = 4_000_000
"""Points of all streams of a slice of time in a wider join: 64 MB, however many streams share them."""


def check(start: int, end: int, period: int) -> None:
    """Raises InvalidTimeRange, Refused (438)."""
    check_range(start, end)
    if period < 0:
        raise Refused(INVALID_PARAMETER, f"snap period {period} ns is below 0")


def checked_versions(uuids: Sequence[bytes], versions: Sequence[int]) -> Sequence[int]:
    """A version for each stream, the latest where none are given. Raises Refused (421)."""
    if versions and len(versions) != len(uuids):
        raise Refused(WRONG_ARGS, f"{len(uuids)} uuids and {len(versions)} versions: expected one for each")
    return versions or [0] * len(uuids)


def multi_values(
    call: Call, uuids: Sequence[bytes], versions: Sequence[int], start: int, end: int, period: int, rows: int
) -> Iterator[tuple[Times, Values]]:
    """Rows of the join, `rows` at once: times, and values of shape (streams, n), NaN where a stream has none."""
    check(start, end, period)
    given = checked_versions(uuids, versions)
    with ExitStack() as stack:
        yield from table(views(call, stack, uuids, given), start, end, period, rows)


def views(call: Call, stack: ExitStack, uuids: Sequence[bytes], versions: Sequence[int]) -> list[StreamView]:
    """All streams at their versions, closed with the stack; an unknown one fails the whole call."""
    return [stack.enter_context(call.view(uuid, version)) for uuid, version in zip(uuids, versions, strict=True)]


def table(views: Sequence[StreamView], start: int, end: int, period: int, rows: int) -> Iterator[tuple[Times, Values]]:
    """Rows of the join of some views, `rows` at once."""
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
