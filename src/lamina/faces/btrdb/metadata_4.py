"""Streams and their metadata as version 4 has them: free tags that are never empty, values of bytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from lamina.catalog.rows import StreamRow
from lamina.errors import AlreadyExists, InvalidCollection, InvalidTagValue
from lamina.faces.btrdb import listing, metadata
from lamina.faces.btrdb.calls import Call, parse
from lamina.faces.btrdb.errors import REUSED_UUID, STREAM_EXISTS_4, WRONG_ARGS, Refused
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.streams import names

_LIST_LIMIT = 10_000
"""Collections of one answer, which is a single message."""

_TAG_BYTES = 255


def create(call: Call, data: bytes) -> bytes:
    asked = parse(pb4.CreateParams, data)
    uuid = metadata.new_uuid(asked.uuid)
    names.check_collection(asked.collection)
    tags = _texts((tag.key, tag.value) for tag in asked.tags)
    for key, value in tags.items():
        if not 1 <= len(value.encode()) <= _TAG_BYTES:
            raise InvalidTagValue(f'value of tag "{key}" is invalid: expected 1 to {_TAG_BYTES} bytes without NUL')
    names.check_tags(tags)
    annotations = _texts((note.key, note.value) for note in asked.annotations)
    metadata.check_annotations(annotations)
    call.check(asked.collection, write=True)
    try:
        call.db.streams.create(asked.collection, uuid=uuid, tags=tags, annotations=annotations)
    except AlreadyExists as error:
        with call.db.catalog.snapshot() as catalog:
            same = catalog.stream_by_tags(asked.collection, tags)
        if same is not None:  # comes before the uuid here
            text = "a stream already exists in that collection with identical tags"
            raise Refused(STREAM_EXISTS_4, text) from error
        raise Refused(REUSED_UUID, str(error)) from error
    return b""


def _texts(pairs: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Values as text. Raises InvalidTagValue: version 5 has no way to carry other bytes."""
    texts = {}
    for key, value in pairs:
        try:
            texts[key] = value.decode()
        except UnicodeDecodeError:
            raise InvalidTagValue(f'value {value[:64]!r} of "{key}" is invalid: expected UTF-8') from None
    return texts


def stream_info(call: Call, data: bytes) -> bytes:
    asked = parse(pb.StreamInfoParams, data)
    metadata.check_wanted(asked)
    stream = call.stream(asked.uuid)
    version = 0 if asked.omitVersion else stream.version
    found = pb4.StreamDescriptor(uuid=asked.uuid) if asked.omitDescriptor else _descriptor(stream.row())
    return pb4.StreamInfoResponse(versionMajor=version, descriptor=found).SerializeToString()


def _descriptor(row: StreamRow) -> pb4.StreamDescriptor:
    return pb4.StreamDescriptor(
        uuid=row.uuid.bytes,
        collection=row.collection,
        tags=_pairs({key: value for key, value in row.tags.items() if value}),
        annotations=_pairs(row.annotations),
        annotationVersion=row.property_version,
    )


def _pairs(texts: Mapping[str, str]) -> list[pb4.KeyValue]:
    return [pb4.KeyValue(key=key, value=value.encode()) for key, value in texts.items()]


def set_stream_annotations(call: Call, data: bytes) -> bytes:
    asked = parse(pb4.SetStreamAnnotationsParams, data)
    changes = _texts((note.key, note.val.value) for note in asked.annotations if note.HasField("val"))
    removals = [note.key for note in asked.annotations if not note.HasField("val")]
    metadata.change_annotations(call, asked.uuid, changes, removals, asked.expectedAnnotationVersion)
    return b""


def lookup_streams(call: Call, data: bytes) -> Messages:
    asked = parse(pb4.LookupStreamsParams, data)
    tags = [(tag.key, tag.val.value if tag.HasField("val") else None) for tag in asked.tags]
    notes = [(note.key, note.val.value if note.HasField("val") else None) for note in asked.annotations]

    def keep(row: StreamRow) -> bool:
        return all(row.tags.get(key) and _equal(row.tags[key], value) for key, value in tags) and all(
            key in row.annotations and _equal(row.annotations[key], value) for key, value in notes
        )

    has_tags = [(key, None) for key, _ in tags]
    has_notes = [(key, None) for key, _ in notes]
    found = listing.streams(call, asked.collection, asked.isCollectionPrefix, has_tags, has_notes, keep)
    yield from listing.packed(_descriptor(row).SerializeToString() for row in found)


def _equal(text: str, value: bytes | None) -> bool:
    return value is None or text.encode() == value


def list_collections(call: Call, data: bytes) -> bytes:
    """At most `limit` names from startWith on, which is included: clients page with the last name they have."""
    asked = parse(pb4.ListCollectionsParams, data)
    if asked.prefix:
        _check_prefix(asked.prefix)
    if not 1 <= asked.limit <= _LIST_LIMIT:
        raise Refused(WRONG_ARGS, f"limit {asked.limit} is not within 1..{_LIST_LIMIT}")
    if asked.startWith and not asked.startWith.startswith(asked.prefix):
        raise Refused(WRONG_ARGS, f"startWith {asked.startWith!r} does not begin with prefix {asked.prefix!r}")
    found = listing.collections(call, asked.prefix)
    first = bisect_left(found, asked.startWith)
    page = found[first : first + asked.limit]
    return pb.ListCollectionsResponse(collections=page).SerializeToString()


def _check_prefix(prefix: str) -> None:
    if len(prefix.encode()) > names.MAX_COLLECTION_BYTES or "\0" in prefix:
        raise InvalidCollection(
            f"prefix of {len(prefix.encode())} bytes: expected up to {names.MAX_COLLECTION_BYTES} without NUL"
        )


def metadata_usage(call: Call, data: bytes) -> bytes:
    tags, annotations = listing.usage(call, parse(pb.MetadataUsageParams, data).prefix)
    return metadata.usage_response(dict(sorted(tags.items())), annotations)
