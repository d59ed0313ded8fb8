"""Streams and their metadata as version 4 has them: free tags that are never empty, values of bytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lamina.catalog.rows import StreamRow
from lamina.errors import AlreadyExists, InvalidCollection, InvalidTagValue
from lamina.faces.btrdb.service import listing, metadata
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import REUSED_UUID, STREAM_EXISTS_4, WRONG_ARGS, Refused
from lamina.streams import names

LIST_LIMIT = 10_000
"""Collections of one answer, which is a single message."""

_TAG_BYTES = 255


class Description(NamedTuple):
    """What is known of a stream besides its points."""

    uuid: bytes
    collection: str
    tags: Mapping[str, bytes]
    annotations: Mapping[str, bytes]
    annotation_version: int


def described(row: StreamRow) -> Description:
    """The row as version 4 shows it: no empty tags, values of bytes."""
    tags = {key: value.encode() for key, value in row.tags.items() if value}
    annotations = {key: value.encode() for key, value in row.annotations.items()}
    return Description(row.uuid.bytes, row.collection, tags, annotations, row.property_version)


def create(
    call: Call, uuid: bytes, collection: str, tags: Mapping[str, bytes], annotations: Mapping[str, bytes]
) -> None:
    """A new stream. Raises as version 5 does, but Refused (406, 429) for what is taken, the tags first."""
    identity = metadata.new_uuid(uuid)
    names.check_collection(collection)
    tag_texts = _texts(tags)
    for key, value in tag_texts.items():
        if not 1 <= len(value.encode()) <= _TAG_BYTES:
            raise InvalidTagValue(f'value of tag "{key}" is invalid: expected 1 to {_TAG_BYTES} bytes without NUL')
    names.check_tags(tag_texts)
    annotation_texts = _texts(annotations)
    metadata.check_annotations(annotation_texts)
    call.check(collection, write=True)
    try:
        call.db.streams.create(collection, uuid=identity, tags=tag_texts, annotations=annotation_texts)
    except AlreadyExists as error:
        with call.db.catalog.snapshot() as catalog:
            same = catalog.stream_by_tags(collection, tag_texts)
        if same is not None:  # comes before the uuid here
            text = "a stream already exists in that collection with identical tags"
            raise Refused(STREAM_EXISTS_4, text) from error
        raise Refused(REUSED_UUID, str(error)) from error


def _texts(pairs: Mapping[str, bytes]) -> dict[str, str]:
    """Values as text. Raises InvalidTagValue: version 5 has no way to carry other bytes."""
    texts = {}
    for key, value in pairs.items():
        try:
            texts[key] = value.decode()
        except UnicodeDecodeError:
            raise InvalidTagValue(f'value {value[:64]!r} of "{key}" is invalid: expected UTF-8') from None
    return texts


def set_stream_annotations(call: Call, uuid: bytes, changes: Mapping[str, bytes | None], expected: int) -> None:
    """A change to None removes the annotation. `expected` 0: any version."""
    texts = _texts({key: value for key, value in changes.items() if value is not None})
    removals = [key for key, value in changes.items() if value is None]
    metadata.set_stream_annotations(call, uuid, texts, removals, expected)


def lookup_streams(
    call: Call, collection: str, prefix: bool, tags: Mapping[str, bytes | None], annotations: Mapping[str, bytes | None]
) -> Iterator[StreamRow]:
    """Readable streams that meet all conditions, by collection and name; None as value: has the key."""

    def keep(row: StreamRow) -> bool:
        return all(row.tags.get(key) and _equal(row.tags[key], value) for key, value in tags.items()) and all(
            key in row.annotations and _equal(row.annotations[key], value) for key, value in annotations.items()
        )

    has_tags = [(key, None) for key in tags]
    has_notes = [(key, None) for key in annotations]
    return listing.streams(call, collection, prefix, has_tags, has_notes, keep)


def _equal(text: str, value: bytes | None) -> bool:
    return value is None or text.encode() == value


def list_collections(call: Call, prefix: str, start_with: str, limit: int) -> Sequence[str]:
    """At most `limit` names from start_with on, which is included: clients page with the last name they have."""
    if prefix:
        _check_prefix(prefix)
    if not 1 <= limit <= LIST_LIMIT:
        raise Refused(WRONG_ARGS, f"limit {limit} is not within 1..{LIST_LIMIT}")
    if start_with and not start_with.startswith(prefix):
        raise Refused(WRONG_ARGS, f"startWith {start_with!r} does not begin with prefix {prefix!r}")
    found = listing.collections(call, prefix)
    first = bisect_left(found, start_with)
    return found[first : first + limit]


def _check_prefix(prefix: str) -> None:
    if len(prefix.encode()) > names.MAX_COLLECTION_BYTES or "\0" in prefix:
        raise InvalidCollection(
            f"prefix of {len(prefix.encode())} bytes: expected up to {names.MAX_COLLECTION_BYTES} without NUL"
        )


def metadata_usage(call: Call, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
    """Streams per tag key and per annotation key."""
    tags, annotations = listing.usage(call, prefix)
    return dict(sorted(tags.items())), dict(sorted(annotations.items()))
