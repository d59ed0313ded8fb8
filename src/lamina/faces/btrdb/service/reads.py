"""Reading points, windows, changes.

Arguments are checked before the stream is looked up: clients get 413 and 415 also for streams that do not exist
(contract section 1.1). The engine checks them again for every caller. The generators yield the version read and a
part of the answer, at least one; closing one ends the read and the view. Parts have `rows` rows each, the last one
fewer; None: as the engine makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from lamina.columns import Columns, Ranges, Samples, Summaries
from lamina.errors import InvalidVersions
from lamina.faces.btrdb.batches import NO_POINTS, NO_RANGES, NO_WINDOWS, batches
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import NO_SUCH_POINT, Refused
from lamina.streams.bounds import check_exponent, check_range, check_time, check_width

C = TypeVar("C", bound=Columns)


def raw_values(
    call: Call, uuid: bytes, start: int, end: int, version: int, rows: int | None = None
) -> Iterator[tuple[int, Samples]]:
    """Points with start <= time < end."""
    check_range(start, end)
    with call.view(uuid, version) as view:
        for part in _parts(view.iter_values(start, end), rows, NO_POINTS):
            yield view.version, part


def aligned_windows(
    call: Call, uuid: bytes, start: int, end: int, pointwidth: int, version: int, rows: int | None = None
) -> Iterator[tuple[int, Summaries]]:
    """Windows of 2**pointwidth ns that hold points."""
    check_exponent(pointwidth, "point width")
    check_range(start, end)
    with call.view(uuid, version) as view:
        for part in _parts(view.iter_aligned_windows(start, end, pointwidth), rows, NO_WINDOWS):
            yield view.version, part


def windows(
    call: Call, uuid: bytes, start: int, end: int, width: int, depth: int, version: int, rows: int | None = None
) -> Iterator[tuple[int, Summaries]]:
    """All windows of `width` ns from start on that end by `end`."""
    check_width(width)
    check_exponent(depth, "depth")
    check_range(start, end)
    with call.view(uuid, version) as view:
        for part in _parts(view.iter_windows(start, end, width, depth), rows, NO_WINDOWS):
            yield view.version, part


def changes(
    call: Call, uuid: bytes, from_version: int, to_version: int, resolution: int, rows: int | None = None
) -> Iterator[tuple[int, Ranges]]:
    """Ranges that differ between the versions, from exclusive, to inclusive."""
    check_exponent(resolution, "resolution")
    with call.view(uuid, to_version) as view:
        if from_version > view.version:
            raise InvalidVersions(f"changes from version {from_version} to {view.version}: from is above to")
        for part in _parts((view.changes_since(from_version, resolution),), rows, NO_RANGES):
            yield view.version, part


def nearest(call: Call, uuid: bytes, time: int, version: int, backward: bool) -> tuple[int, float, int]:
    """Time, value, version. Raises Refused (401) where there is no point."""
    check_time(time)
    with call.view(uuid, version) as view:
        found = view.nearest(time, backward)
        if found is None:
            raise Refused(NO_SUCH_POINT, "no such point")
        return *found, view.version


def _parts(chunks: Iterator[C] | tuple[C, ...], rows: int | None, empty: C) -> Iterator[C]:
    if rows is not None:
        yield from batches(chunks, rows, empty)
        return
    some = False
    for chunk in chunks:
        some = True
        yield chunk
    if not some:
        yield empty
