"""Streams and their metadata on the wire of version 5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamina.catalog.rows import StreamRow
from lamina.faces.btrdb import listing
from lamina.faces.btrdb.calls import parse
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.faces.btrdb.service import listing as listings
from lamina.faces.btrdb.service import metadata
from lamina.faces.btrdb.service.caller import Call


def create(call: Call, data: bytes) -> bytes:
    asked = parse(pb.CreateParams, data)
    tags = {tag.key: tag.val.value for tag in asked.tags}
    annotations = {note.key: note.val.value for note in asked.annotations}
    metadata.create(call, asked.uuid, asked.collection, tags, annotations)
    return b""


def stream_info(call: Call, data: bytes) -> bytes:
    asked = parse(pb.StreamInfoParams, data)
    version, row = metadata.stream_info(call, asked.uuid, asked.omitVersion, asked.omitDescriptor)
    found = pb.StreamDescriptor(uuid=asked.uuid) if row is None else descriptor(row)
    return pb.StreamInfoResponse(versionMajor=version, descriptor=found).SerializeToString()


def descriptor(row: StreamRow) -> pb.StreamDescriptor:
    found = metadata.described(row)
    return pb.StreamDescriptor(
        uuid=found.uuid,
        collection=found.collection,
        tags=_pairs(found.tags),
        annotations=_pairs(found.annotations),
        propertyVersion=found.property_version,
    )


def _pairs(texts: Mapping[str, str]) -> list[pb.KeyOptValue]:
    return [pb.KeyOptValue(key=key, val=pb.OptValue(value=value)) for key, value in texts.items()]


def _optional(pairs: Iterable[pb.KeyOptValue]) -> dict[str, str | None]:
    return {pair.key: pair.val.value if pair.HasField("val") else None for pair in pairs}


def set_stream_tags(call: Call, data: bytes) -> bytes:
    asked = parse(pb.SetStreamTagsParams, data)
    expected = asked.expectedPropertyVersion
    metadata.set_stream_tags(call, asked.uuid, _optional(asked.tags), asked.remove, asked.collection, expected)
    return b""


def set_stream_annotations(call: Call, data: bytes) -> bytes:
    asked = parse(pb.SetStreamAnnotationsParams, data)
    changes, expected = _optional(asked.changes), asked.expectedPropertyVersion
    metadata.set_stream_annotations(call, asked.uuid, changes, asked.removals, expected)
    return b""


def lookup_streams(call: Call, data: bytes) -> Messages:
    asked = parse(pb.LookupStreamsParams, data)
    tags, notes = _optional(asked.tags), _optional(asked.annotations)
    found = metadata.lookup_streams(call, asked.collection, asked.isCollectionPrefix, tags, notes)
    yield from listing.packed(descriptor(row).SerializeToString() for row in found)


def list_collections(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ListCollectionsParams, data)
    yield from listing.packed(name.encode() for name in listings.collections(call, asked.prefix))


def metadata_usage(call: Call, data: bytes) -> bytes:
    return usage_response(*metadata.metadata_usage(call, parse(pb.MetadataUsageParams, data).prefix))


def usage_response(tags: Mapping[str, int], annotations: Mapping[str, int]) -> bytes:
    return pb.MetadataUsageResponse(
        tags=[pb.KeyCount(key=key, count=count) for key, count in tags.items()],
        annotations=[pb.KeyCount(key=key, count=count) for key, count in annotations.items()],
    ).SerializeToString()


def sql_query(call: Call, data: bytes) -> Messages:
    asked = parse(pb.SQLQueryParams, data)
    yield from listing.packed(metadata.sql_query(call, asked.query, asked.params))
