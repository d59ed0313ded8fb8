"""Insert, ArrowInsert, Delete, Flush, Obliterate."""

from __future__ import annotations

from lamina.faces.btrdb import arrow, wire
from lamina.faces.btrdb.calls import parse, parse_large
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service import writes
from lamina.faces.btrdb.service.caller import Call

POINTS_LIMIT = 2_000_000
"""Points of one Insert or ArrowInsert (architecture section 15); clients send 50,000 at most."""


def insert(call: Call, data: bytes) -> bytes:
    asked = wire.decode_insert(data, POINTS_LIMIT)
    policy = writes.policy(asked.policy)
    return wire.versions(writes.insert(call, asked.uuid, asked.times, asked.values, policy))


def insert_4(call: Call, data: bytes) -> bytes:
    """Version 4 knows no policies; whatever lies in that field is an unknown one."""
    asked = wire.decode_insert(data, POINTS_LIMIT)
    return wire.versions(writes.insert(call, asked.uuid, asked.times, asked.values, "never"))


def arrow_insert(call: Call, data: bytes) -> bytes:
    asked = parse_large(pb.ArrowInsertParams, data)
    times, values = arrow.decode_points(asked.arrowBytes, POINTS_LIMIT)
    return wire.versions(writes.insert(call, asked.uuid, times, values, writes.policy(asked.merge_policy)))


def delete(call: Call, data: bytes) -> bytes:
    asked = parse(pb.DeleteParams, data)
    return wire.versions(writes.delete(call, asked.uuid, asked.start, asked.end))


def flush(call: Call, data: bytes) -> bytes:
    return wire.versions(writes.flush(call, parse(pb.FlushParams, data).uuid))


def obliterate(call: Call, data: bytes) -> bytes:
    writes.obliterate(call, parse(pb.ObliterateParams, data).uuid)
    return b""
