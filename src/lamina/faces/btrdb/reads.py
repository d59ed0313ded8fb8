"""Reading points, windows, changes: both services, protobuf and Arrow from one engine call each."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.columns import Samples, Summaries
from lamina.errors import InvalidVersions
from lamina.faces.btrdb import arrow, batches, wire
from lamina.faces.btrdb.batches import ARROW_ROWS, NO_POINTS, NO_RANGES, NO_WINDOWS, POINTS, RANGES
from lamina.faces.btrdb.calls import Call, parse
from lamina.faces.btrdb.errors import NO_SUCH_POINT, Refused
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.streams.bounds import check_exponent, check_range, check_time, check_width

Messages = Iterator[bytes]

# Arguments are checked before the stream is looked up: clients get 413 and 415 also for streams that do not exist
# (contract section 1.1). The engine checks them again for every caller.


def raw_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.RawValuesParams, data)
    for head, points in _points(call, asked, POINTS):
        yield wire.encode_points(head, points)


def arrow_raw_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ArrowRawValuesParams, data)
    encoder = arrow.Encoder(arrow.POINTS, asked.templateBytes)
    for head, points in _points(call, asked, ARROW_ROWS):
        yield from encoder.columns(head, points)


def aligned_windows(call: Call, data: bytes, *, stddev: bool = True) -> Messages:
    for head, part in _aligned_windows(call, data, POINTS):
        yield wire.encode_summaries(head, part, stddev=stddev)


def arrow_aligned_windows(call: Call, data: bytes) -> Messages:
    for head, part in _aligned_windows(call, data, ARROW_ROWS):
        yield from _WINDOWS.columns(head, part)


def windows(call: Call, data: bytes, *, stddev: bool = True) -> Messages:
    for head, part in _windows(call, data, POINTS):
        yield wire.encode_summaries(head, part, stddev=stddev)


def arrow_windows(call: Call, data: bytes) -> Messages:
    for head, part in _windows(call, data, ARROW_ROWS):
        yield from _WINDOWS.columns(head, part)


_WINDOWS = arrow.Encoder(arrow.WINDOWS)

# Each of these yields the versions as bytes and a batch, at least one. Closing it ends the read and the view.


def _points(
    call: Call, asked: pb.RawValuesParams | pb.ArrowRawValuesParams, rows: int
) -> Iterator[tuple[bytes, Samples]]:
    check_range(asked.start, asked.end)
    with call.view(asked.uuid, asked.versionMajor) as view:
        head = wire.versions(view.version)
        for part in batches.batches(view.iter_values(asked.start, asked.end), rows, NO_POINTS):
            yield head, part


def _aligned_windows(call: Call, data: bytes, rows: int) -> Iterator[tuple[bytes, Summaries]]:
    asked = parse(pb.AlignedWindowsParams, data)
    check_exponent(asked.pointWidth, "point width")
    check_range(asked.start, asked.end)
    with call.view(asked.uuid, asked.versionMajor) as view:
        head = wire.versions(view.version)
        chunks = view.iter_aligned_windows(asked.start, asked.end, asked.pointWidth)
        for part in batches.batches(chunks, rows, NO_WINDOWS):
            yield head, part


def _windows(call: Call, data: bytes, rows: int) -> Iterator[tuple[bytes, Summaries]]:
    asked = parse(pb.WindowsParams, data)
    check_width(asked.width)
    check_exponent(asked.depth, "depth")
    check_range(asked.start, asked.end)
    with call.view(asked.uuid, asked.versionMajor) as view:
        head = wire.versions(view.version)
        chunks = view.iter_windows(asked.start, asked.end, asked.width, asked.depth)
        for part in batches.batches(chunks, rows, NO_WINDOWS):
            yield head, part


def nearest(call: Call, data: bytes) -> bytes:
    asked = parse(pb.NearestParams, data)
    check_time(asked.time)
    with call.view(asked.uuid, asked.versionMajor) as view:
        found = view.nearest(asked.time, asked.backward)
        if found is None:
            raise Refused(NO_SUCH_POINT, "no such point")
        value = pb.RawPoint(time=found[0], value=found[1])
        return pb.NearestResponse(versionMajor=view.version, value=value).SerializeToString()


def changes(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ChangesParams, data)
    check_exponent(asked.resolution, "resolution")
    with call.view(asked.uuid, asked.toMajor) as view:
        if asked.fromMajor > view.version:
            raise InvalidVersions(f"changes from version {asked.fromMajor} to {view.version}: from is above to")
        head = wire.versions(view.version)
        ranges = view.changes_since(asked.fromMajor, asked.resolution)
        for part in batches.batches((ranges,), RANGES, NO_RANGES):
            yield wire.encode_ranges(head, part)
