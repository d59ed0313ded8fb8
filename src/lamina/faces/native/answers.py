"""What answers each call of the table: the object that is meant, as far as the caller's token allows it, and the
method of the engine. Nothing is looked up by a name that came over the wire but in these tables."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from lamina.catalog.rows import StreamRow
from lamina.engine.database import Database
from lamina.engine.points.measurement import Writing
from lamina.engine.points.reading import Reading
from lamina.engine.records.bucket import Bucket
from lamina.engine.records.entry import Entry
from lamina.engine.records.recordbatch import RecordBatch
from lamina.engine.records.view import BucketView, EntryView
from lamina.engine.snapshot import Snapshot
from lamina.engine.stream import Stream
from lamina.engine.subscribe import Subscription
from lamina.engine.view import StreamView
from lamina.errors import InvalidArgument, LaminaError, Unavailable
from lamina.faces.native import contents, points
from lamina.faces.native.caller import Caller
from lamina.faces.native.contents import batches as batches_of
from lamina.faces.native.mail import Mailbox
from lamina.wire import arrow
from lamina.wire.calls import CALLS, Call, Right

POINTS_LIMIT = 16_777_216
"""Points of one insert: 256 MiB of body, which the server holds."""

PAGE = 1000
"""Metadata rows fetched at a time."""

Arguments = dict[str, Any]
Method = Callable[..., Any]


class ViewOf(NamedTuple):
    """What a handle on a view stands for: the view, and the stream whose collection says who may read it."""

    view: StreamView
    stream: UUID

    def close(self) -> None:
        self.view.close()


class PartOf(NamedTuple):
    """Of a snapshot: a bucket or an entry as it was, and the bucket's name, which says who may read it."""

    view: Any
    bucket: str


# -- which object is meant


def _stream(caller: Caller, right: Right, arguments: Arguments) -> Stream:
    return caller.stream(arguments.pop("stream"), right)


def _view(caller: Caller, right: Right, arguments: Arguments) -> StreamView:
    view, uuid = caller.held("view", arguments.pop("view"))
    caller.stream(uuid, right)
    return view


def _snapshot(caller: Caller, right: Right, arguments: Arguments) -> Snapshot:
    return caller.held("snapshot", arguments["snapshot"])


def _subscription(caller: Caller, right: Right, arguments: Arguments) -> Mailbox:
    return caller.held("subscription", arguments.pop("subscription"))


def _bucket(caller: Caller, right: Right, arguments: Arguments) -> Bucket:
    return caller.bucket(arguments.pop("bucket"), right)


def _entry(caller: Caller, right: Right, arguments: Arguments) -> Entry:
    return _bucket(caller, right, arguments).entry(arguments.pop("entry"))


def _part(kind: str) -> Callable[[Caller, Right, Arguments], Any]:
    def find(caller: Caller, right: Right, arguments: Arguments) -> PartOf:
        part: PartOf = caller.held(kind, arguments[kind])
        caller.check_bucket(part.bucket, right)
        return part

    return find


def _whole(caller: Caller, right: Right, arguments: Arguments) -> Database:
    if right == "full":
        caller.who.require_full_access()
    return caller.db


_OBJECTS: dict[str, Callable[[Caller, Right, Arguments], Any]] = {
    "database": _whole,
    "streams": _whole,
    "buckets": _whole,
    "stream": _stream,
    "view": _view,
    "snapshot": _snapshot,
    "subscription": _subscription,
    "bucket": _bucket,
    "entry": _entry,
    "record": _bucket,
    "measurements": points.of_all,
    "measurement": points.of_measurement,
    "measurementview": points.of_view,
    "bucketview": _part("bucketview"),
    "entryview": _part("entryview"),
}

_CLOSING = {"view/close", "snapshot/close", "subscription/close"}
"""Which are done also where the handle is not known any more."""


def allow(call: Call, caller: Caller, arguments: Arguments) -> None:
    """Whether the call's object is there, and the caller may have it. Raises as `prepare`."""
    _OBJECTS[call.name.partition("/")[0]](caller, call.right, dict(arguments))


def prepare(call: Call, caller: Caller, arguments: Arguments) -> Callable[[], Any]:
    """The call, allowed and ready to be made. Raises PermissionDenied, NotFound, Closed. May block, and so may the
    call."""
    method = METHODS[call.name]
    if call.name in _CLOSING:
        (handle,) = arguments.values()
        return lambda: caller.handles.drop(caller.who.name, handle)
    target = _OBJECTS[call.name.partition("/")[0]](caller, call.right, arguments)
    return lambda: method(caller, target, **arguments)


# -- methods that are more than the engine's own


def _plain(method: Method) -> Method:
    """A method of the engine as it is."""
    return lambda caller, target, **arguments: method(target, **arguments)


def _value(read: Callable[[Any], Any]) -> Method:
    return lambda caller, target: read(target)


def _poisoned(caller: Caller, db: Database) -> list[LaminaError | None]:
    stopped = db.poisoned is not None
    return [Unavailable("writing stopped after a failure; the server's log tells more") if stopped else None]


def _degraded(caller: Caller, db: Database) -> list[list[Any]]:
    """The files by their names only: paths stay here."""
    return [[one.path.rpartition("/")[2], one.first_missing, one.last_missing] for one in db.degraded]


def _gaps(caller: Caller, db: Database) -> list[list[int]]:
    return [[id, *versions] for id, versions in db.version_gaps.items()]


def _hold_snapshot(caller: Caller, snapshot: Snapshot) -> list[Any]:
    return [caller.hold("snapshot", snapshot), snapshot.seq, snapshot.name]


def _hold_view(caller: Caller, view: StreamView, uuid: UUID) -> list[Any]:
    return [caller.hold("view", ViewOf(view, uuid)), view.version]


def _create_stream(caller: Caller, db: Database, collection: Any, **arguments: Any) -> Stream:
    if isinstance(collection, str):  # else the engine says what is wrong with it
        caller.check_collection(collection, "write")
    return db.streams.create(collection, **arguments)


def _stream_named(caller: Caller, db: Database, collection: str, name: str) -> Stream:
    caller.check_collection(collection, "use")
    return db.streams[collection, name]


def _visible(caller: Caller, db: Database, collection: str | None = None, prefix: bool = False,
             tags: Any = None, annotations: Any = None) -> Iterator[StreamRow]:  # fmt: skip
    """Ids first, rows by pages: the reader may be slow, and a catalog snapshot kept open would pin its log."""
    found = db.streams.find_rows(collection, prefix, tags, annotations)
    ids = array("Q", (row.id for row in found if caller.who.may_read_stream(row.collection)))
    for start in range(0, len(ids), PAGE):
        with db.catalog.snapshot() as catalog:
            page = [catalog.stream(id) for id in ids[start : start + PAGE]]
        yield from (row for row in page if row is not None)  # None: obliterated meanwhile


def _count_streams(caller: Caller, db: Database) -> int:
    if caller.who.full_access:
        return len(db.streams)
    return sum(caller.who.may_read_stream(row.collection) for row in db.streams.rows())


def _collections(caller: Caller, db: Database, prefix: str) -> Iterator[str]:
    return iter([name for name in db.streams.collections(prefix) if caller.who.may_read_stream(name)])


def _usage(caller: Caller, db: Database, prefix: str) -> Any:
    if caller.who.full_access:
        return db.streams.usage(prefix)
    tags: Counter[str] = Counter()
    annotations: Counter[str] = Counter()
    for row in db.streams.find_rows(prefix, prefix=True):
        if caller.who.may_read_stream(row.collection):
            tags.update(key for key, value in row.tags.items() if value)
            annotations.update(row.annotations.keys())
    return dict(sorted(tags.items())), dict(sorted(annotations.items()))


def _insert(caller: Caller, stream: Stream, policy: Any, payload: memoryview) -> int:
    return stream.insert(*arrow.received(arrow.POINTS, payload, "the body", POINTS_LIMIT), policy=policy)


def _insert_many(
    caller: Caller, db: Database, streams: list[UUID], counts: list[int], payload: memoryview
) -> list[int]:
    handles = [caller.stream(uuid, "write") for uuid in streams]
    times, values = arrow.received(arrow.POINTS, payload, "the body", POINTS_LIMIT)
    ends = np.cumsum([0, *counts])
    if len(set(handles)) != len(counts) or len(handles) != len(counts) or min(counts, default=0) < 0 or (
        int(ends[-1]) != len(times)
    ):  # fmt: skip
        raise InvalidArgument("streams/insert_many: expected distinct streams, with a count of points of the body each")
    batches = {
        stream: (times[ends[i] : ends[i + 1]], values[ends[i] : ends[i + 1]]) for i, stream in enumerate(handles)
    }
    versions = db.streams.insert_many(batches)
    return [versions[stream] for stream in handles]


def _subscribe(caller: Caller, db: Database, uuids: list[UUID], capacity: int) -> list[Any]:
    for uuid in uuids:
        caller.stream(uuid, "read")
    return [caller.hold("subscription", Mailbox(db.streams.subscribe(uuids, capacity)))]


def _follow(caller: Caller, mailbox: Mailbox, uuids: list[UUID]) -> None:
    for uuid in uuids:
        caller.stream(uuid, "read")
    mailbox.subscription.add(uuids)


def _set_tags(caller: Caller, stream: Stream, collection: str | None, **arguments: Any) -> int:
    if collection is not None:
        caller.check_collection(collection, "write")
    return stream.set_tags(collection=collection, **arguments)


def _snapshot_stream(caller: Caller, snap: Snapshot, snapshot: str, stream: UUID) -> list[Any]:
    handle = caller.stream(stream, "read")
    return _hold_view(caller, snap.stream(handle), stream)


def _snapshot_version(caller: Caller, snap: Snapshot, snapshot: str, stream: UUID) -> int:
    return snap.version(caller.stream(stream, "read"))


def _snapshot_bucket(caller: Caller, snap: Snapshot, snapshot: str, name: str) -> list[Any]:
    caller.check_bucket(name, "read")
    view = snap.bucket(name)
    return [caller.hold("bucketview", PartOf(view, name), snapshot), view.name]


def _hold_entry(caller: Caller, part: PartOf, bucketview: str, view: EntryView) -> list[Any]:
    return [caller.hold("entryview", PartOf(view, part.bucket), bucketview), view.name]


def _view_entries(caller: Caller, part: PartOf, bucketview: str) -> list[Any]:
    bucket: BucketView = part.view
    return [_hold_entry(caller, part, bucketview, view) for view in bucket.entries()]


def _view_entry(caller: Caller, part: PartOf, bucketview: str, name: str) -> list[Any]:
    return _hold_entry(caller, part, bucketview, part.view.entry(name))


def _of_entryview(method: Method) -> Method:
    return lambda caller, part, entryview, **arguments: method(part.view, **arguments)


def _bucket_batches(
    caller: Caller, bucket: Bucket, contents: bool, labels: Any, batch_bytes: int, **asked: Any
) -> Iterator[RecordBatch]:
    return batches_of(caller, bucket.name, bucket.query(**asked), contents, labels, batch_bytes)


def _entry_batches(
    caller: Caller, entry: Entry, contents: bool, labels: Any, batch_bytes: int, **asked: Any
) -> Iterator[RecordBatch]:
    return batches_of(caller, entry.bucket.name, entry.query(**asked), contents, labels, batch_bytes)


def _view_batches(
    caller: Caller, part: PartOf, entryview: str, contents: bool, labels: Any, batch_bytes: int, **asked: Any
) -> Iterator[RecordBatch]:
    return batches_of(caller, part.bucket, part.view.query(**asked), contents, labels, batch_bytes)


def _create_bucket(
    caller: Caller, db: Database, name: str, settings: Any, exist_ok: bool, members: dict[str, Any]
) -> Bucket:
    taken = sorted(members.keys() & {"name", "settings", "exist_ok", "provisioned", "system"})
    if taken:
        raise InvalidArgument(f"buckets/create: {taken[0]!r} is no setting of a bucket")
    return db.buckets.create(name, settings, exist_ok=exist_ok, **members)


def _get_bucket(caller: Caller, db: Database, name: str) -> Bucket:
    caller.check_bucket(name, "use")
    return db.buckets.get(name)


def _find_bucket(caller: Caller, db: Database, name: str) -> Bucket | None:
    caller.check_bucket(name, "use")
    return db.buckets.find(name)


def _buckets(caller: Caller, db: Database) -> list[Bucket]:
    return [bucket for bucket in db.buckets.list() if caller.who.may_read_bucket(bucket.name)]


def _update_bucket(caller: Caller, db: Database, bucket: tuple[int, str], settings: dict[str, Any]) -> None:
    db.buckets.update(caller.bucket(bucket, "full"), settings)


_METHODS: dict[str, Method] = {
    "database/poisoned": _poisoned,
    "database/degraded": _degraded,
    "database/version_gaps": _gaps,
    "database/stats": _plain(Database.stats),
    "database/flush": _plain(Database.flush),
    "database/compact": _plain(Database.compact),
    "database/set_retention": _plain(Database.set_retention),
    "database/snapshot": lambda caller, db: _hold_snapshot(caller, db.snapshot()),
    "database/pin": lambda caller, db, name: _hold_snapshot(caller, db.snapshot(name)),
    "database/open_snapshot": lambda caller, db, name: _hold_snapshot(caller, db.open_snapshot(name)),
    "database/snapshots": _plain(Database.snapshots),
    "database/drop_snapshot": _plain(Database.drop_snapshot),
    "streams/create": _create_stream,
    "streams/get": lambda caller, db, uuid: caller.stream(uuid, "use"),
    "streams/named": _stream_named,
    "streams/count": _count_streams,
    "streams/find": _visible,
    "streams/find_rows": _visible,
    "streams/collections": _collections,
    "streams/usage": _usage,
    "streams/insert_many": _insert_many,
    "streams/subscribe": _subscribe,
    "stream/insert": _insert,
    "stream/delete": _plain(Stream.delete),
    "stream/flush": _plain(Stream.flush),
    "stream/obliterate": _plain(Stream.obliterate),
    "stream/version": _value(lambda stream: stream.version),
    "stream/oldest_version": _value(lambda stream: stream.oldest_version),
    "stream/exists": _plain(Stream.exists),
    "stream/at": lambda caller, stream, version: _hold_view(caller, stream.at(version), stream.uuid),
    "stream/values": _plain(Stream.iter_values),
    "stream/windows": _plain(Stream.iter_windows),
    "stream/aligned_windows": _plain(Stream.iter_aligned_windows),
    "stream/nearest": _plain(Stream.nearest),
    "stream/count": _plain(Stream.count),
    "stream/changes": _plain(Stream.changes),
    "stream/row": _plain(Stream.row),
    "stream/set_tags": _set_tags,
    "stream/set_annotations": _plain(Stream.set_annotations),
    "stream/set_oldest_version": _plain(Stream.set_oldest_version),
    "stream/set_retention": _plain(Stream.set_retention),
    "view/values": _plain(StreamView.iter_values),
    "view/windows": _plain(StreamView.iter_windows),
    "view/aligned_windows": _plain(StreamView.iter_aligned_windows),
    "view/nearest": _plain(StreamView.nearest),
    "view/count": _plain(StreamView.count),
    "view/changes_since": _plain(StreamView.changes_since),
    "view/close": _plain(StreamView.close),
    "snapshot/stream": _snapshot_stream,
    "snapshot/version": _snapshot_version,
    "snapshot/bucket": _snapshot_bucket,
    "snapshot/close": _plain(Snapshot.close),
    "bucketview/entries": _view_entries,
    "bucketview/entry": _view_entry,
    "entryview/read": _of_entryview(lambda view, time: iter([view.read(time)])),
    "entryview/query": _of_entryview(EntryView.query),
    "entryview/batches": _view_batches,
    "entryview/content": contents.of_view,
    "entryview/contents": contents.many_of_view,
    "subscription/add": _follow,
    "subscription/remove": lambda caller, mailbox, uuids: mailbox.subscription.remove(uuids),
    "subscription/get": lambda caller, mailbox, timeout_s: mailbox.ask(caller, timeout_s),
    "subscription/overflowed": _value(lambda mailbox: mailbox.subscription.overflowed),
    "subscription/close": _plain(Subscription.close),
    "buckets/create": _create_bucket,
    "buckets/get": _get_bucket,
    "buckets/find": _find_bucket,
    "buckets/list": _buckets,
    "buckets/defaults": _value(lambda db: db.buckets.defaults),
    "buckets/update": _update_bucket,
    "buckets/rename": lambda caller, db, old, new: db.buckets.rename(old, new),
    "buckets/remove": lambda caller, db, name: db.buckets.remove(name),
    "bucket/names": _plain(Bucket.names),
    "bucket/has_entry": lambda caller, bucket, name: bucket.find_entry(name) is not None,
    "bucket/settings": _value(lambda bucket: bucket.settings),
    "bucket/info": _plain(Bucket.info),
    "bucket/entry_infos": _plain(Bucket.entry_infos),
    "bucket/query": _plain(Bucket.query),
    "bucket/batches": _bucket_batches,
    "bucket/ensure_entries": _plain(Bucket.ensure_entries),
    "bucket/remove_entry": _plain(Bucket.remove_entry),
    "bucket/rename_entry": _plain(Bucket.rename_entry),
    "bucket/update_labels": _plain(Bucket.update_labels),
    "bucket/remove_records": _plain(Bucket.remove_records),
    "entry/info": _plain(Entry.info),
    "entry/write": contents.write,
    "entry/write_many": contents.write_many,
    "entry/remove_range": _plain(Entry.remove_range),
    "entry/read": lambda caller, entry, time: iter([entry.read(time)]),
    "entry/query": _plain(Entry.query),
    "entry/batches": _entry_batches,
    "record/content": contents.of_record,
    "record/contents": contents.many_of_record,
}

for _object in ("measurements", "measurement", "measurementview"):
    _METHODS |= {
        f"{_object}/search": points.search,
        f"{_object}/count": _plain(Reading.count),
        f"{_object}/windows": points.windows,
        f"{_object}/tag_keys": _plain(Reading.tag_keys),
        f"{_object}/field_keys": _plain(Reading.field_keys),
        f"{_object}/tag_values": _plain(Reading.tag_values),
        f"{_object}/latest_time": _plain(Reading.latest_time),
    }
for _object in ("measurements", "measurement"):
    _METHODS |= {
        f"{_object}/update": points.update,
        f"{_object}/remove": _plain(Writing.remove),
        f"{_object}/clear": _plain(Writing.clear),
    }
_METHODS |= {
    "measurements/names": _plain(points.Readable.list),
    "measurements/has": lambda caller, readable, name: name in readable,
    "measurements/insert": points.insert,
    "measurements/replace_all": points.replace_all,
    "snapshot/measurements": points.names_in,
}


METHODS: dict[str, Method] = {name: _METHODS[name] for name in CALLS}
"""By name of the call; a call without a method, as without a right, does not get as far as being served."""

assert METHODS.keys() == _METHODS.keys(), "what no call asks for is not served"
