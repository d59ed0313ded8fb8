"""Who we are: Info for both services, and what the server refuses to be asked."""

from __future__ import annotations

from lamina.faces.btrdb.calls import parse
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service import info as release
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import NOT_IMPLEMENTED, Refused

_HASHES = 1 << 32  # a client routes by the hash of the uuid, over members that share [0, 2**32)


def info(call: Call, data: bytes) -> bytes:
    """Version 5. An empty proxy says: stay on the address you have."""
    major, minor, build = release.VERSION_5
    return pb.InfoResponse(
        majorVersion=major, minorVersion=minor, build=build, proxy=pb.ProxyInfo()
    ).SerializeToString()


def info_4(call: Call, data: bytes) -> bytes:
    """Version 4. Its Go client connects to what is listed, as proxy or, in older releases, as the one member."""
    member = pb.Member(
        nodename="lamina",
        up=True,
        enabled=True,
        end=_HASHES,
        weight=1,
        readPreference=1.0,
        grpcEndpoints=call.address,
    )
    setattr(member, "in", True)  # a keyword of Python
    mash = pb.Mash(revision=1, leader="lamina", leaderRevision=1, totalWeight=1, healthy=True, members=[member])
    major, minor, build = release.VERSION_4
    return pb.InfoResponse(
        majorVersion=major,
        minorVersion=minor,
        build=build,
        proxy=pb.ProxyInfo(proxyEndpoints=[call.address]),
        mash=mash,
    ).SerializeToString()


def fault_inject(call: Call, data: bytes) -> bytes:
    release.fault_inject()
    raise AssertionError("it is always refused")


def set_compaction_config(call: Call, data: bytes) -> bytes:
    """Versions below CompactedVersion are given up; nothing else of the message is supported."""
    asked = parse(pb.SetCompactionConfigParams, data)
    if asked.reducedResolutionRanges or asked.targetArchiveHorizon:
        text = "only CompactedVersion can be set: points are kept at full resolution and are not archived"
        raise Refused(NOT_IMPLEMENTED, text)
    call.check_full_access("SetCompactionConfig")
    call.stream(asked.uuid).set_oldest_version(asked.CompactedVersion)
    return b""


def get_compaction_config(call: Call, data: bytes) -> bytes:
    asked = parse(pb.GetCompactionConfigParams, data)
    call.check_full_access("GetCompactionConfig")
    stream = call.stream(asked.uuid)
    return pb.GetCompactionConfigResponse(
        LatestMajorVersion=stream.version, CompactedVersion=stream.oldest_version
    ).SerializeToString()
