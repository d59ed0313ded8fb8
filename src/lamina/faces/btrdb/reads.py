"""Reading points, windows, changes: both services, protobuf and Arrow from one call of `service.reads` each."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.columns import Samples, Summaries
from lamina.faces.btrdb import arrow, wire
from lamina.faces.btrdb.batches import ARROW_ROWS, POINTS, RANGES
from lamina.faces.btrdb.calls import parse
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service import reads
from lamina.faces.btrdb.service.caller import Call

Messages = Iterator[bytes]


def raw_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.RawValuesParams, data)
    for version, points in _points(call, asked, POINTS):
        yield wire.encode_points(wire.versions(version), points)


def arrow_raw_values(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ArrowRawValuesParams, data)
    encoder = arrow.Encoder(arrow.POINTS, asked.templateBytes)
    for version, points in _points(call, asked, ARROW_ROWS):
        yield from encoder.columns(wire.versions(version), points)


def aligned_windows(call: Call, data: bytes, *, stddev: bool = True) -> Messages:
    for version, part in _aligned_windows(call, data, POINTS):
        yield wire.encode_summaries(wire.versions(version), part, stddev=stddev)


def arrow_aligned_windows(call: Call, data: bytes) -> Messages:
    for version, part in _aligned_windows(call, data, ARROW_ROWS):
        yield from _WINDOWS.columns(wire.versions(version), part)


def windows(call: Call, data: bytes, *, stddev: bool = True) -> Messages:
    for version, part in _windows(call, data, POINTS):
        yield wire.encode_summaries(wire.versions(version), part, stddev=stddev)


def arrow_windows(call: Call, data: bytes) -> Messages:
    for version, part in _windows(call, data, ARROW_ROWS):
        yield from _WINDOWS.columns(wire.versions(version), part)


_WINDOWS = arrow.Encoder(arrow.WINDOWS)


def _points(
    call: Call, asked: pb.RawValuesParams | pb.ArrowRawValuesParams, rows: int
) -> Iterator[tuple[int, Samples]]:
    return reads.raw_values(call, asked.uuid, asked.start, asked.end, asked.versionMajor, rows)


def _aligned_windows(call: Call, data: bytes, rows: int) -> Iterator[tuple[int, Summaries]]:
    asked = parse(pb.AlignedWindowsParams, data)
    return reads.aligned_windows(call, asked.uuid, asked.start, asked.end, asked.pointWidth, asked.versionMajor, rows)


def _windows(call: Call, data: bytes, rows: int) -> Iterator[tuple[int, Summaries]]:
    asked = parse(pb.WindowsParams, data)
    return reads.windows(call, asked.uuid, asked.start, asked.end, asked.width, asked.depth, asked.versionMajor, rows)


def nearest(call: Call, data: bytes) -> bytes:
    asked = parse(pb.NearestParams, data)
    time, value, version = reads.nearest(call, asked.uuid, asked.time, asked.versionMajor, asked.backward)
    return pb.NearestResponse(versionMajor=version, value=pb.RawPoint(time=time, value=value)).SerializeToString()


def changes(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ChangesParams, data)
    for version, part in reads.changes(call, asked.uuid, asked.fromMajor, asked.toMajor, asked.resolution, RANGES):
        yield wire.encode_ranges(wire.versions(version), part)
