"""The table of calls: everything that a client may ask of a server, with who may, and nothing besides.

A call is named OBJECT/METHOD as in the native API. Parameters of its object come first (`OBJECTS`), then its own. What
answers it, and what its right means for the object, is in `lamina.faces.native`, what asks in `lamina.remote`; tests
hold the three, the native API and its documentation together.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from lamina.columns import Samples, Summaries
from lamina.wire import kinds as k
from lamina.wire import results as r
from lamina.wire.kinds import Kind
from lamina.wire.results import Result

Right = Literal["any", "read", "write", "use", "list", "full"]
"""Who may call. `read`, `write`: of the collection or the bucket in question; `use`: whoever has one of both; `list`:
the holder of any token, who is shown what it may read; `any`: likewise, nothing is shown that tokens protect. What a
handle gives is asked for again with every use of it, by the token that got it."""

Body = Literal["none", "columns", "records", "content"]
"""What follows the JSON of a request."""


class Parameter(NamedTuple):
    name: str
    kind: Kind


class Call(NamedTuple):
    """`safe`: it changes nothing, so that it may be asked again. `slow`: it may take minutes."""

    name: str
    right: Right
    parameters: tuple[Parameter, ...]
    result: Result
    body: Body = "none"
    safe: bool = False
    slow: bool = False


def _parameters(**kinds: Kind) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, kind) for name, kind in kinds.items())


OBJECTS: dict[str, tuple[Parameter, ...]] = {
    "database": (),
    "streams": (),
    "stream": _parameters(stream=k.UUID_KIND),
    "view": _parameters(view=k.HANDLE),
    "snapshot": _parameters(snapshot=k.HANDLE),
    "subscription": _parameters(subscription=k.HANDLE),
    "buckets": (),
    "bucket": _parameters(bucket=k.BUCKET),
    "entry": _parameters(bucket=k.BUCKET, entry=k.TEXT),
    "record": _parameters(bucket=k.BUCKET),
    "measurements": (),
    "measurement": _parameters(name=k.TEXT),
    "measurementview": _parameters(snapshot=k.HANDLE, name=k.TEXT),
    "bucketview": _parameters(bucketview=k.HANDLE),
    "entryview": _parameters(entryview=k.HANDLE),
}
"""What tells which one is meant."""

CALLS: dict[str, Call] = {}

_SLOW = {
    "database/flush",
    "database/compact",
    "buckets/remove",
    "bucket/remove_entry",
    "entry/remove_range",
}


def _call(name: str, right: Right, result: Result, body: Body = "none", /, **kinds: Kind) -> None:
    place = OBJECTS[name.partition("/")[0]]
    CALLS[name] = Call(name, right, (*place, *_parameters(**kinds)), result, body, slow=name in _SLOW)


def _ask(name: str, right: Right, result: Result, /, **kinds: Kind) -> None:
    _call(name, right, result, **kinds)
    CALLS[name] = CALLS[name]._replace(safe=True)


_RANGE = {"start": k.INT, "end": k.INT}
_SELECTION = {"start": k.OPTIONAL_INT, "stop": k.OPTIONAL_INT, "when": k.CONDITION, "strict": k.FLAG}
_COLUMNS = {"contents": k.FLAG, "labels": k.OPTIONAL_TEXTS, "batch_bytes": k.INT}
_FILTER = {
    "collection": k.OPTIONAL_TEXT,
    "prefix": k.FLAG,
    "tags": k.OPTIONAL_FILTERS,
    "annotations": k.OPTIONAL_FILTERS,
}

_ask("database/poisoned", "full", r.OUTCOMES)
_ask("database/degraded", "full", r.PLAIN)
_ask("database/version_gaps", "full", r.PLAIN)
_ask("database/stats", "full", r.PLAIN)
_call("database/flush", "full", r.NOTHING)
_call("database/compact", "full", r.NUMBER)
_call("database/set_retention", "full", r.NOTHING, rule=k.OPTIONAL_MEMBERS)
_call("database/snapshot", "any", r.HANDLE)
_call("database/pin", "full", r.HANDLE, name=k.TEXT)
_call("database/open_snapshot", "any", r.HANDLE, name=k.TEXT)
_ask("database/snapshots", "any", r.PINS)
_call("database/drop_snapshot", "full", r.NOTHING, name=k.TEXT)

_call(
    "streams/create", "write", r.STREAM, collection=k.SCALAR, name=k.OPTIONAL_TEXT, unit=k.OPTIONAL_TEXT,
    uuid=k.OPTIONAL_UUID, tags=k.OPTIONAL_MEMBERS, annotations=k.OPTIONAL_MEMBERS, exist_ok=k.FLAG,
)  # fmt: skip
_ask("streams/get", "use", r.STREAM, uuid=k.UUID_KIND)
_ask("streams/named", "use", r.STREAM, collection=k.TEXT, name=k.TEXT)
_ask("streams/count", "list", r.NUMBER)
_ask("streams/find", "list", r.items(r.STREAM), **_FILTER)
_ask("streams/find_rows", "list", r.items(r.STREAM_ROW), **_FILTER)
_ask("streams/collections", "list", r.items(r.TEXT), prefix=k.TEXT)
_ask("streams/usage", "list", r.USAGE, prefix=k.TEXT)
_call("streams/insert_many", "write", r.NUMBERS, "columns", streams=k.UUIDS, counts=k.INTS)
_call("streams/subscribe", "read", r.HANDLE, uuids=k.UUIDS, capacity=k.CAPACITY)

_call("stream/insert", "write", r.NUMBER, "columns", policy=k.SCALAR)
_call("stream/delete", "write", r.NUMBER, **_RANGE)
_call("stream/flush", "write", r.NUMBER)
_call("stream/obliterate", "full", r.NOTHING)
_ask("stream/version", "use", r.NUMBER)
_ask("stream/oldest_version", "read", r.NUMBER)
_ask("stream/exists", "use", r.FLAG)
_call("stream/at", "read", r.HANDLE, version=k.SCALAR)
_ask("stream/values", "read", r.chunks(Samples), **_RANGE, version=k.SCALAR)
_ask("stream/windows", "read", r.chunks(Summaries), **_RANGE, width=k.INT, depth=k.SCALAR, version=k.SCALAR)
_ask("stream/aligned_windows", "read", r.chunks(Summaries), **_RANGE, pointwidth=k.SCALAR, version=k.SCALAR)
_ask("stream/nearest", "read", r.POINT, time=k.INT, backward=k.FLAG, version=k.SCALAR)
_ask("stream/count", "read", r.NUMBER, **_RANGE, version=k.SCALAR)
_ask("stream/changes", "read", r.RANGES, from_version=k.INT, to_version=k.SCALAR, resolution=k.SCALAR)
_ask("stream/row", "read", r.STREAM_ROW)
_call(
    "stream/set_tags", "write", r.NUMBER, changes=k.MEMBERS, collection=k.OPTIONAL_TEXT, remove=k.TEXTS,
    expected=k.OPTIONAL_INT,
)  # fmt: skip
_call("stream/set_annotations", "write", r.NUMBER, changes=k.MEMBERS, remove=k.TEXTS, expected=k.OPTIONAL_INT)
_call("stream/set_oldest_version", "full", r.NOTHING, version=k.INT)
_call("stream/set_retention", "full", r.NOTHING, rule=k.OPTIONAL_MEMBERS)

_ask("view/values", "read", r.chunks(Samples), **_RANGE)
_ask("view/windows", "read", r.chunks(Summaries), **_RANGE, width=k.INT, depth=k.SCALAR)
_ask("view/aligned_windows", "read", r.chunks(Summaries), **_RANGE, pointwidth=k.SCALAR)
_ask("view/nearest", "read", r.POINT, time=k.INT, backward=k.FLAG)
_ask("view/count", "read", r.NUMBER, **_RANGE)
_ask("view/changes_since", "read", r.RANGES, from_version=k.INT, resolution=k.SCALAR)
_ask("view/close", "any", r.NOTHING)

_call("snapshot/stream", "read", r.HANDLE, stream=k.UUID_KIND)
_ask("snapshot/version", "read", r.NUMBER, stream=k.UUID_KIND)
_call("snapshot/bucket", "read", r.HANDLE, name=k.TEXT)
_ask("snapshot/close", "any", r.NOTHING)
_call("bucketview/entries", "read", r.HANDLES)
_call("bucketview/entry", "read", r.HANDLE, name=k.TEXT)
_ask("entryview/read", "read", r.RECORDS, time=k.OPTIONAL_INT)
_ask("entryview/query", "read", r.RECORDS, **_SELECTION)
_ask("entryview/batches", "read", r.BATCHES, **_SELECTION, **_COLUMNS)
_ask("entryview/content", "read", r.CONTENT, mark=k.MARK, start=k.INT, stop=k.OPTIONAL_INT)
_ask("entryview/contents", "read", r.CONTENTS, marks=k.MARKS)

_call("subscription/add", "read", r.NOTHING, uuids=k.UUIDS)
_call("subscription/remove", "any", r.NOTHING, uuids=k.UUIDS)
_call("subscription/get", "list", r.MAIL, timeout_s=k.SECONDS)
_ask("subscription/overflowed", "any", r.FLAG)
_ask("subscription/close", "any", r.NOTHING)

_call("buckets/create", "full", r.BUCKET, name=k.TEXT, settings=k.OPTIONAL_MEMBERS, exist_ok=k.FLAG, members=k.MEMBERS)
_ask("buckets/get", "use", r.BUCKET, name=k.TEXT)
_ask("buckets/find", "use", r.optional(r.BUCKET), name=k.TEXT)
_ask("buckets/list", "list", r.BUCKETS)
_ask("buckets/defaults", "any", r.SETTINGS)
_call("buckets/update", "full", r.NOTHING, bucket=k.BUCKET, settings=k.MEMBERS)
_call("buckets/rename", "full", r.NOTHING, old=k.TEXT, new=k.TEXT)
_call("buckets/remove", "full", r.NOTHING, name=k.TEXT)

_ask("bucket/names", "read", r.TEXTS)
_ask("bucket/has_entry", "use", r.FLAG, name=k.TEXT)
_ask("bucket/settings", "read", r.SETTINGS)
_ask("bucket/info", "read", r.BUCKET_INFO)
_ask("bucket/entry_infos", "read", r.ENTRY_INFOS)
_ask("bucket/query", "read", r.RECORDS, entries=k.OPTIONAL_TEXTS, **_SELECTION)
_ask("bucket/batches", "read", r.BATCHES, entries=k.OPTIONAL_TEXTS, **_SELECTION, **_COLUMNS)
_call("bucket/ensure_entries", "write", r.NOTHING, names=k.TEXTS)
_call("bucket/remove_entry", "write", r.NOTHING, name=k.TEXT)
_call("bucket/rename_entry", "write", r.NOTHING, old=k.TEXT, new=k.TEXT)
_call("bucket/update_labels", "write", r.OUTCOMES, updates=k.LABEL_CHANGES)
_call("bucket/remove_records", "write", r.OUTCOMES, records=k.PLACES)

_ask("entry/info", "read", r.ENTRY_INFO)
_call(
    "entry/write", "write", r.NOTHING, "content", time=k.OPTIONAL_INT, labels=k.TEXTS_BY_NAME, content_type=k.SCALAR,
    size=k.INT,
)  # fmt: skip
_call(
    "entry/write_many", "write", r.OUTCOMES, "records", labels=k.LABEL_SETS, content_types=k.TEXTS, columns=k.INT,
)  # fmt: skip
_call("entry/remove_range", "write", r.NUMBER, **_SELECTION)
_ask("entry/read", "read", r.RECORDS, time=k.OPTIONAL_INT)
_ask("entry/query", "read", r.RECORDS, **_SELECTION)
_ask("entry/batches", "read", r.BATCHES, **_SELECTION, **_COLUMNS)

_ask("record/content", "read", r.CONTENT, mark=k.MARK, start=k.INT, stop=k.OPTIONAL_INT)
_ask("record/contents", "read", r.CONTENTS, marks=k.MARKS)

_ASKED = {"query": k.OPTIONAL_QUERY, "start": k.OPTIONAL_INT, "end": k.OPTIONAL_INT}
_CHANGE = {
    "query": k.OPTIONAL_QUERY, "time": k.OPTIONAL_INT, "measurement": k.OPTIONAL_TEXT, "tags": k.OPTIONAL_FILTERS,
    "fields": k.OPTIONAL_MEMBERS, "unset_tags": k.TEXTS, "unset_fields": k.TEXTS,
}  # fmt: skip

for _object, _reader, _writer in (
    ("measurements", "list", "full"),
    ("measurement", "read", "write"),
    ("measurementview", "read", None),
):
    _ask(f"{_object}/search", _reader, r.POINTS, **_ASKED, order=k.SCALAR, limit=k.SCALAR)  # type: ignore[arg-type]
    _ask(f"{_object}/count", _reader, r.NUMBER, **_ASKED)  # type: ignore[arg-type]
    _ask(
        f"{_object}/windows", _reader, r.WINDOWS, field=k.TEXT, start=k.OPTIONAL_INT, end=k.OPTIONAL_INT, width=k.INT,  # type: ignore[arg-type]
        by=k.TEXTS,
    )  # fmt: skip
    _ask(f"{_object}/tag_keys", _reader, r.TEXTS)  # type: ignore[arg-type]
    _ask(f"{_object}/field_keys", _reader, r.TEXTS)  # type: ignore[arg-type]
    _ask(f"{_object}/tag_values", _reader, r.PLAIN, keys=k.OPTIONAL_TEXTS)  # type: ignore[arg-type]
    _ask(f"{_object}/latest_time", _reader, r.optional(r.NUMBER))  # type: ignore[arg-type]
    if _writer is not None:
        _call(f"{_object}/update", _writer, r.NUMBER, **_CHANGE)  # type: ignore[arg-type]
        _call(f"{_object}/remove", _writer, r.NUMBER, **_ASKED)  # type: ignore[arg-type]
        _call(f"{_object}/clear", _writer, r.NUMBER)  # type: ignore[arg-type]

_ask("measurements/names", "list", r.TEXTS)
_ask("measurements/has", "list", r.FLAG, name=k.TEXT)
_call("measurements/insert", "write", r.NUMBER, "columns", groups=k.GROUPS)
_call("measurements/replace_all", "full", r.NUMBER, "columns", groups=k.GROUPS)
_ask("snapshot/measurements", "list", r.TEXTS)
