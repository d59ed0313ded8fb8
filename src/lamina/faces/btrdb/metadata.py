"""Streams and their metadata as version 5 has them: four fixed tags, text values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from uuid import UUID

from lamina.catalog.rows import StreamRow
from lamina.errors import AnnotationTooBig, InvalidArgument, InvalidTagKey
from lamina.faces.btrdb import listing
from lamina.faces.btrdb.calls import Call, parse
from lamina.faces.btrdb.errors import BAD_SQL, WRONG_ARGS, Refused
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.streams import names

TAGS = ("name", "unit", "ingress", "distiller")
"""The tags of version 5. Every stream reports all of them, "" where it has none; other keys are refused, though
reported where version 4 set them."""

ANNOTATIONS_LIMIT = 2 << 20
"""Bytes of all annotations of a stream: its descriptor has to fit one message."""


def create(call: Call, data: bytes) -> bytes:
    asked = parse(pb.CreateParams, data)
    uuid = new_uuid(asked.uuid)
    tags = {tag.key: tag.val.value for tag in asked.tags}
    annotations = {note.key: note.val.value for note in asked.annotations}
    names.check_collection(asked.collection)
    _check_tags(tags)
    names.check_tags(tags)
    check_annotations(annotations)
    call.check(asked.collection, write=True)
    call.db.streams.create(asked.collection, uuid=uuid, tags=tags, annotations=annotations)
    return b""


def new_uuid(raw: bytes) -> UUID:
    """Raises Refused (421)."""
    if len(raw) != 16:
        raise Refused(WRONG_ARGS, f"uuid of {len(raw)} bytes: expected 16")
    return UUID(bytes=raw)


def _check_tags(keys: Iterable[str]) -> None:
    for key in keys:
        if key not in TAGS:
            raise InvalidTagKey(f'tag key "{key}" is invalid')


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Each by itself, and all together. Raises InvalidTagKey, AnnotationTooBig."""
    names.check_annotations(annotations)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_LIMIT:
        raise AnnotationTooBig(f"annotations of {size} bytes in all: a stream may have {ANNOTATIONS_LIMIT}")


def stream_info(call: Call, data: bytes) -> bytes:
    asked = parse(pb.StreamInfoParams, data)
    check_wanted(asked)
    stream = call.stream(asked.uuid)
    version = 0 if asked.omitVersion else stream.version
    found = pb.StreamDescriptor(uuid=asked.uuid) if asked.omitDescriptor else descriptor(stream.row())
    return pb.StreamInfoResponse(versionMajor=version, descriptor=found).SerializeToString()


def check_wanted(asked: pb.StreamInfoParams) -> None:
    """Raises Refused (421)."""
    if asked.omitVersion and asked.omitDescriptor:
        raise Refused(WRONG_ARGS, "omitVersion and omitDescriptor: nothing is left to ask for")


def descriptor(row: StreamRow) -> pb.StreamDescriptor:
    tags = dict.fromkeys(TAGS, "") | row.tags
    return pb.StreamDescriptor(
        uuid=row.uuid.bytes,
        collection=row.collection,
        tags=_pairs(tags),
        annotations=_pairs(row.annotations),
        propertyVersion=row.property_version,
    )


def _pairs(texts: Mapping[str, str]) -> list[pb.KeyOptValue]:
    return [pb.KeyOptValue(key=key, val=pb.OptValue(value=value)) for key, value in texts.items()]


def set_stream_tags(call: Call, data: bytes) -> bytes:
    asked = parse(pb.SetStreamTagsParams, data)
    changes = {tag.key: tag.val.value for tag in asked.tags if tag.HasField("val")}
    resets = [tag.key for tag in asked.tags if not tag.HasField("val")] + list(asked.remove)
    _check_tags([*changes, *resets])
    names.check_tags(changes)
    if asked.collection:
        names.check_collection(asked.collection)
    stream = call.stream(asked.uuid, write=True)
    if asked.collection:
        call.check(asked.collection, write=True)
    stream.set_tags(
        changes,
        collection=asked.collection or None,
        remove=resets,
        expected=asked.expectedPropertyVersion or None,
    )
    return b""


def set_stream_annotations(call: Call, data: bytes) -> bytes:
    asked = parse(pb.SetStreamAnnotationsParams, data)
    changes = {note.key: note.val.value for note in asked.changes if note.HasField("val")}
    removals = [note.key for note in asked.changes if not note.HasField("val")] + list(asked.removals)
    change_annotations(call, asked.uuid, changes, removals, asked.expectedPropertyVersion)
    return b""


def change_annotations(call: Call, uuid: bytes, changes: Mapping[str, str], removals: list[str], expected: int) -> None:
    """`expected` 0: any property version."""
    check_annotations(changes)
    stream = call.stream(uuid, write=True)
    held = {key: value for key, value in stream.annotations.items() if key not in removals}
    check_annotations(held | dict(changes))
    stream.set_annotations(changes, remove=removals, expected=expected or None)


def lookup_streams(call: Call, data: bytes) -> Messages:
    asked = parse(pb.LookupStreamsParams, data)
    tags = [(tag.key, tag.val.value if tag.HasField("val") else None) for tag in asked.tags]
    notes = [(note.key, note.val.value if note.HasField("val") else None) for note in asked.annotations]

    def keep(row: StreamRow) -> bool:
        return all(_meets(dict.fromkeys(TAGS, "") | row.tags, tag) for tag in tags) and all(
            _meets(row.annotations, note) for note in notes
        )

    stored = [(key, value) for key, value in tags if value]  # an empty tag need not be stored
    found = listing.streams(call, asked.collection, asked.isCollectionPrefix, stored, notes, keep)
    yield from listing.packed(descriptor(row).SerializeToString() for row in found)


def _meets(texts: Mapping[str, str], condition: listing.Condition) -> bool:
    key, value = condition
    return key in texts and (value is None or texts[key] == value)


def list_collections(call: Call, data: bytes) -> Messages:
    asked = parse(pb.ListCollectionsParams, data)
    yield from listing.packed(name.encode() for name in listing.collections(call, asked.prefix))


def metadata_usage(call: Call, data: bytes) -> bytes:
    tags, annotations = listing.usage(call, parse(pb.MetadataUsageParams, data).prefix)
    return usage_response(dict.fromkeys(TAGS, 0) | dict(tags), annotations)


def usage_response(tags: Mapping[str, int], annotations: Mapping[str, int]) -> bytes:
    return pb.MetadataUsageResponse(
        tags=[pb.KeyCount(key=key, count=count) for key, count in tags.items()],
        annotations=[pb.KeyCount(key=key, count=count) for key, count in sorted(annotations.items())],
    ).SerializeToString()


def sql_query(call: Call, data: bytes) -> Messages:
    """A JSON object per row. What the statement does wrong is 441, whatever it is."""
    from lamina.tables import sql  # loads DuckDB's translation, which few servers need

    asked = parse(pb.SQLQueryParams, data)
    rows: sql.StreamsTable | Iterator[StreamRow]
    if call.who.full_access:
        rows = sql.streams_table(call.db)
    else:
        rows = (row for row in call.db.streams.rows() if call.who.may_read_stream(row.collection))
    try:
        yield from listing.packed(_json_rows(sql.query(rows, asked.query, list(asked.params))))
    except InvalidArgument as error:
        raise Refused(BAD_SQL, str(error)) from error


def _json_rows(rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str).encode()
