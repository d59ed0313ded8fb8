"""Insert, Delete, Flush, Obliterate."""

from __future__ import annotations

from lamina.columns import Times, Values
from lamina.errors import InvalidTimeRange, StreamNotFound
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import WRONG_ARGS, Refused
from lamina.streams import batch
from lamina.streams.bounds import check_range
from lamina.streams.policy import Policy

POLICIES: tuple[Policy, ...] = ("never", "equal", "retain", "replace")
"""By the numbers they have on the wire."""


def policy(number: int) -> Policy:
    """Raises Refused (421)."""
    if not 0 <= number < len(POLICIES):
        raise Refused(WRONG_ARGS, f"merge policy {number} is not within 0..{len(POLICIES) - 1}")
    return POLICIES[number]


def named(policy: str) -> Policy:
    """Raises Refused (421)."""
    for known in POLICIES:
        if known == policy:
            return known
    raise Refused(WRONG_ARGS, f"merge policy {policy!r}: expected one of {', '.join(POLICIES)}")


def insert(call: Call, uuid: bytes, times: Times, values: Values, policy: Policy) -> int:
    """The new version. Bad points come before a missing stream (contract section 1.1)."""
    try:
        stream = call.stream(uuid, write=True)
    except StreamNotFound:
        batch.checked(times, values)
        raise
    return stream.insert(times, values, policy=policy)


def delete(call: Call, uuid: bytes, start: int, end: int) -> int:
    """The new version."""
    try:
        check_range(start, end)
    except InvalidTimeRange as error:
        raise InvalidTimeRange(str(error).replace("time range out", "delete time range out")) from None
    return call.stream(uuid, write=True).delete(start, end)


def flush(call: Call, uuid: bytes) -> int:
    """The latest version."""
    return call.stream(uuid, write=True).flush()


def obliterate(call: Call, uuid: bytes) -> None:
    """Remove the stream for good, with full access only."""
    call.check_full_access("Obliterate")
    call.stream(uuid).obliterate()
