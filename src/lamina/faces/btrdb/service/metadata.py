"""Streams and their metadata as version 5 has them: four fixed tags, text values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from lamina.catalog.rows import StreamRow
from lamina.errors import AnnotationTooBig, InvalidArgument, InvalidTagKey
from lamina.faces.btrdb.service import listing
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import BAD_SQL, WRONG_ARGS, Refused
from lamina.streams import names

TAGS = ("name", "unit", "ingress", "distiller")
"""The tags of version 5. Every stream reports all of them, "" where it has none; other keys are refused, though
reported where version 4 set them."""

ANNOTATIONS_LIMIT = 2 << 20
"""Bytes of all annotations of a stream: its descriptor has to fit one message."""


class Description(NamedTuple):
    """What is known of a stream besides its points."""

    uuid: bytes
    collection: str
    tags: Mapping[str, str]
    annotations: Mapping[str, str]
    property_version: int


def described(row: StreamRow) -> Description:
    """The row as version 5 shows it: the four tags always."""
    tags = dict.fromkeys(TAGS, "") | row.tags
    return Description(row.uuid.bytes, row.collection, tags, row.annotations, row.property_version)


def create(call: Call, uuid: bytes, collection: str, tags: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """A new stream. Raises in this order Refused (421), InvalidCollection, InvalidTagKey, InvalidTagValue,
    AnnotationTooBig, PermissionDenied, and what `Streams.create` raises."""
    identity = new_uuid(uuid)
    names.check_collection(collection)
    _check_tags(tags)
    names.check_tags(tags)
    check_annotations(annotations)
    call.check(collection, write=True)
    call.db.streams.create(collection, uuid=identity, tags=tags, annotations=annotations)


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


def stream_info(call: Call, uuid: bytes, omit_version: bool, omit_description: bool) -> tuple[int, StreamRow | None]:
    """The version (0 if omitted) and the row (None if omitted)."""
    if omit_version and omit_description:
        raise Refused(WRONG_ARGS, "omitVersion and omitDescriptor: nothing is left to ask for")
    stream = call.stream(uuid)
    version = 0 if omit_version else stream.version
    return version, None if omit_description else stream.row()


def set_stream_tags(
    call: Call, uuid: bytes, changes: Mapping[str, str | None], remove: Sequence[str], collection: str, expected: int
) -> None:
    """A change to None resets the tag, as one in `remove`. `collection` "": the stream stays where it is. `expected` 0:
    any property version."""
    values = {key: value for key, value in changes.items() if value is not None}
    resets = [key for key, value in changes.items() if value is None] + list(remove)
    _check_tags([*values, *resets])
    names.check_tags(values)
    if collection:
        names.check_collection(collection)
    stream = call.stream(uuid, write=True)
    if collection:
        call.check(collection, write=True)
    stream.set_tags(values, collection=collection or None, remove=resets, expected=expected or None)


def set_stream_annotations(
    call: Call, uuid: bytes, changes: Mapping[str, str | None], remove: Sequence[str], expected: int
) -> None:
    """A change to None removes the annotation, as one in `remove`. `expected` 0: any property version."""
    values = {key: value for key, value in changes.items() if value is not None}
    removals = [key for key, value in changes.items() if value is None] + list(remove)
    check_annotations(values)
    stream = call.stream(uuid, write=True)
    held = {key: value for key, value in stream.annotations.items() if key not in removals}
    check_annotations(held | values)
    stream.set_annotations(values, remove=removals, expected=expected or None)


def lookup_streams(
    call: Call, collection: str, prefix: bool, tags: Mapping[str, str | None], annotations: Mapping[str, str | None]
) -> Iterator[StreamRow]:
    """Readable streams that meet all conditions, by collection and name; None as value: has the key."""

    def keep(row: StreamRow) -> bool:
        return _meets(dict.fromkeys(TAGS, "") | row.tags, tags) and _meets(row.annotations, annotations)

    stored = [(key, value) for key, value in tags.items() if value]  # an empty tag need not be stored
    return listing.streams(call, collection, prefix, stored, annotations.items(), keep)


def _meets(texts: Mapping[str, str], conditions: Mapping[str, str | None]) -> bool:
    return all(key in texts and (value is None or texts[key] == value) for key, value in conditions.items())


def metadata_usage(call: Call, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
    """Streams per tag key, the four always, and per annotation key."""
    tags, annotations = listing.usage(call, prefix)
    return dict.fromkeys(TAGS, 0) | dict(tags), dict(sorted(annotations.items()))


def sql_query(call: Call, statement: str, params: Sequence[str]) -> Iterator[bytes]:
    """A JSON object per row. What the statement does wrong is 441, whatever it is."""
    from lamina.tables import sql  # loads DuckDB's translation, which few callers need

    rows: sql.StreamsTable | Iterator[StreamRow]
    if call.who.full_access:
        rows = sql.streams_table(call.db)
    else:
        rows = (row for row in call.db.streams.rows() if call.who.may_read_stream(row.collection))
    try:
        for row in sql.query(rows, statement, list(params)):
            yield json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str).encode()
    except InvalidArgument as error:
        raise Refused(BAD_SQL, str(error)) from error
