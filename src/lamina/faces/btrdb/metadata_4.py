"""Streams and their metadata on the wire of version 4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamina.catalog.rows import StreamRow
from lamina.faces.btrdb import listing
from lamina.faces.btrdb.calls import parse
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.metadata import usage_response
from lamina.faces.btrdb.reads import Messages
from lamina.faces.btrdb.service import metadata, metadata_4
from lamina.faces.btrdb.service.caller import Call


def create(call: Call, data: bytes) -> bytes:
    asked = parse(pb4.CreateParams, data)
    tags = {tag.key: tag.value for tag in asked.tags}
    annotations = {note.key: note.value for note in asked.annotations}
    metadata_4.create(call, asked.uuid, asked.collection, tags, annotations)
    return b""


def stream_info(call: Call, data: bytes) -> bytes:
    asked = parse(pb.StreamInfoParams, data)
    version, row = metadata.stream_info(call, asked.uuid, asked.omitVersion, asked.omitDescriptor)
    found = pb4.StreamDescriptor(uuid=asked.uuid) if row is None else _descriptor(row)
    return pb4.StreamInfoResponse(versionMajor=version, descriptor=found).SerializeToString()


def _descriptor(row: StreamRow) -> pb4.StreamDescriptor:
    found = metadata_4.described(row)
    return pb4.StreamDescriptor(
        uuid=found.uuid,
        collection=found.collection,
        tags=_pairs(found.tags),
        annotations=_pairs(found.annotations),
        annotationVersion=found.annotation_version,
    )


def _pairs(values: Mapping[str, bytes]) -> list[pb4.KeyValue]:
    return [pb4.KeyValue(key=key, value=value) for key, value in values.items()]


def _optional(pairs: Iterable[pb4.KeyOptValue]) -> dict[str, bytes | None]:
    return {pair.key: pair.val.value if pair.HasField("val") else None for pair in pairs}


def set_stream_annotations(call: Call, data: bytes) -> bytes:
    asked = parse(pb4.SetStreamAnnotationsParams, data)
    expected = asked.expectedAnnotationVersion
    metadata_4.set_stream_annotations(call, asked.uuid, _optional(asked.annotations), expected)
    return b""


def lookup_streams(call: Call, data: bytes) -> Messages:
    asked = parse(pb4.LookupStreamsParams, data)
    tags, notes = _optional(asked.tags), _optional(asked.annotations)
    found = metadata_4.lookup_streams(call, asked.collection, asked.isCollectionPrefix, tags, notes)
    yield from listing.packed(_descriptor(row).SerializeToString() for row in found)


def list_collections(call: Call, data: bytes) -> bytes:
    asked = parse(pb4.ListCollectionsParams, data)
    page = metadata_4.list_collections(call, asked.prefix, asked.startWith, asked.limit)
    return pb.ListCollectionsResponse(collections=page).SerializeToString()


def metadata_usage(call: Call, data: bytes) -> bytes:
    return usage_response(*metadata_4.metadata_usage(call, parse(pb.MetadataUsageParams, data).prefix))
