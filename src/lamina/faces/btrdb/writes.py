"""Insert, ArrowInsert, Delete, Flush, Obliterate."""

from __future__ import annotations

from lamina.columns import Times, Values
from lamina.errors import InvalidTimeRange, StreamNotFound
from lamina.faces.btrdb import arrow, wire
from lamina.faces.btrdb.calls import Call, parse, parse_large
from lamina.faces.btrdb.errors import WRONG_ARGS, Refused
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.streams import batch
from lamina.streams.bounds import check_range
from lamina.streams.policy import Policy

POINTS_LIMIT = 2_000_000
"""Points of one Insert or ArrowInsert (architecture section 15); clients send 50,000 at most."""

_POLICIES: tuple[Policy, ...] = ("never", "equal", "retain", "replace")


def insert(call: Call, data: bytes) -> bytes:
    asked = wire.decode_insert(data, POINTS_LIMIT)
    return _insert(call, asked.uuid, asked.times, asked.values, _policy(asked.policy))


def insert_4(call: Call, data: bytes) -> bytes:
    """Version 4 knows no policies; whatever lies in that field is an unknown one."""
    asked = wire.decode_insert(data, POINTS_LIMIT)
    return _insert(call, asked.uuid, asked.times, asked.values, "never")


def arrow_insert(call: Call, data: bytes) -> bytes:
    asked = parse_large(pb.ArrowInsertParams, data)
    times, values = arrow.decode_points(asked.arrowBytes, POINTS_LIMIT)
    return _insert(call, asked.uuid, times, values, _policy(asked.merge_policy))


def _policy(number: int) -> Policy:
    if not 0 <= number < len(_POLICIES):
        raise Refused(WRONG_ARGS, f"merge policy {number} is not within 0..{len(_POLICIES) - 1}")
    return _POLICIES[number]


def _insert(call: Call, uuid: bytes, times: Times, values: Values, policy: Policy) -> bytes:
    try:
        stream = call.stream(uuid, write=True)
    except StreamNotFound:
        batch.checked(times, values)  # bad points come before a missing stream (contract section 1.1)
        raise
    return wire.versions(stream.insert(times, values, policy=policy))


def delete(call: Call, data: bytes) -> bytes:
    asked = parse(pb.DeleteParams, data)
    try:
        check_range(asked.start, asked.end)
    except InvalidTimeRange as error:
        raise InvalidTimeRange(str(error).replace("time range out", "delete time range out")) from None
    return wire.versions(call.stream(asked.uuid, write=True).delete(asked.start, asked.end))


def flush(call: Call, data: bytes) -> bytes:
    asked = parse(pb.FlushParams, data)
    return wire.versions(call.stream(asked.uuid, write=True).flush())


def obliterate(call: Call, data: bytes) -> bytes:
    asked = parse(pb.ObliterateParams, data)
    call.check_full_access("Obliterate")
    call.stream(asked.uuid).obliterate()
    return b""
