"""All streams of a database: create, find, write many at once, follow."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import BurntRow, StreamRow
from lamina.engine.metadata import Change
from lamina.engine.publish import ChangeNote
from lamina.engine.stream import Stream
from lamina.errors import AmbiguousStream, InvalidArgument, NotFound, StreamExists, StreamNotFound, TooBig, UuidBurnt
from lamina.storage.log import Op
from lamina.streams import batch, names, ops
from lamina.streams.ops import Insert

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.subscribe import Subscription


SHOWN = 5
"""Streams that an error names."""

IDS = 64
"""Object ids are reserved so many at a time, one durable catalog transaction for 64 streams created; what is left
over at a close is lost."""


class Streams:
    """`db.streams`: create, look up and list streams; write many at once; follow them. Thread-safe.

    `len(db.streams)` is their number, iterating gives all of them by collection and name,
    `db.streams[collection, name]` the one of that name.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ids = iter(range(0))  # reserved object ids; used under the metadata lane
        self.obliterated = 0  # since open: compaction looks for their space

    def __repr__(self) -> str:
        return f"<lamina.Streams of {self._db.path!r}>"

    def create(
        self,
        collection: str,
        name: str | None = None,
        *,
        unit: str | None = None,
        uuid: UUID | None = None,
        tags: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        exist_ok: bool = False,
    ) -> Stream:
        """A new, empty stream at version 10 with property version 1; durable when this returns.

        `name` and `unit` are short for the tags of those names. With `exist_ok` a stream of the same collection and
        identical tags (and uuid, if one is given) is returned as it is. Raises, in this order, InvalidArgument (`name`
        or `unit` and the tag differ), InvalidCollection, InvalidTagKey, InvalidTagValue, AnnotationTooBig, StreamExists
        (uuid in use), UuidBurnt, AmbiguousStream (same collection and identical tags; a tag with an empty value counts
        as absent).
        """
        db = self._db
        db.check_writable()
        all_tags = dict(tags or {})
        for key, value in (("name", name), ("unit", unit)):
            if value is not None and all_tags.setdefault(key, value) != value:
                raise InvalidArgument(f"{key} {value!r} and the tag {key!r}, {all_tags[key]!r}: give one of them")
        names.check_collection(collection)
        names.check_tags(all_tags)
        names.check_annotations(annotations or {})
        identity = uuid if uuid is not None else db.random.uuid4()
        there: list[StreamRow] = []

        def decide(catalog: CatalogSnapshot) -> Change:
            same = catalog.stream_by_tags(collection, all_tags)
            if exist_ok and same is not None and uuid in (None, same.uuid):
                there.append(same)
                return Change()
            if catalog.stream_by_uuid(identity) is not None:
                raise StreamExists(f"a stream already exists with uuid {identity}")
            if catalog.burnt(identity) is not None:
                raise UuidBurnt(f"uuid {identity} belonged to an obliterated stream and is not given again")
            if same is not None:
                raise AmbiguousStream("a stream already exists in that collection with identical tags")
            row = StreamRow(
                self._next_id(),
                identity,
                collection,
                all_tags,
                dict(annotations or {}),
                property_version=1,
                created_us=db.clock.wall_us(),
                oldest_version=0,
                retention=None,
            )
            return Change([row])

        db.metadata.change(decide)
        return self.get(there[0].uuid if there else identity)

    def _next_id(self) -> int:
        id = next(self._ids, None)
        if id is None:
            self._ids = iter(self._db.catalog.reserve("object", IDS))
            id = next(self._ids)
        return id

    def get(self, uuid: UUID) -> Stream:
        """The stream with this uuid. Raises StreamNotFound. One catalog look-up, none for a stream in use."""
        if not isinstance(uuid, UUID):
            raise InvalidArgument(f"uuid {uuid!r}: expected a uuid.UUID")
        self._db.check_open()
        slot = self._db.slots.find(uuid)
        if slot is not None:
            return Stream(self._db, slot)
        with self._db.catalog.snapshot() as catalog:
            row = catalog.stream_by_uuid(uuid)
        if row is None:
            raise StreamNotFound("stream does not exist")
        return self._handle(row)

    def __getitem__(self, key: tuple[str, str]) -> Stream:
        """The stream of a collection with this tag `name`. Raises StreamNotFound if there is none, NotFound if there
        are several (other tags tell them apart: use find or get). Both are LookupErrors."""
        if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(part, str) for part in key):
            raise InvalidArgument(f"streams[{key!r}]: expected streams[collection, name], or streams.get(uuid)")
        collection, name = key
        found = list(self.find(collection, tags={"name": name}))
        if not found:
            text = f"no stream named {name!r} in collection {collection!r}"
            raise StreamNotFound(f"{text}; there {self._named_in(collection)}")
        if len(found) > 1:
            uuids = ", ".join(str(stream.uuid) for stream in found[:SHOWN])
            raise NotFound(
                f"{len(found)} streams are named {name!r} in collection {collection!r}: use get(uuid); "
                f"they are {uuids}{', ...' if len(found) > SHOWN else ''}"
            )
        return found[0]

    def _named_in(self, collection: str) -> str:
        """What a wrong name may have been meant to be."""
        rows = itertools.islice(self.find_rows(collection), SHOWN + 1)
        names = [repr(row.tags.get("name", "")) for row in rows]
        return f"are {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}" if names else "is none at all"

    def __len__(self) -> int:
        self._db.check_open()
        with self._db.catalog.snapshot() as catalog:
            return catalog.stream_count()

    def __iter__(self) -> Iterator[Stream]:
        return self.find()

    def find(
        self,
        collection: str | None = None,
        prefix: bool = False,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> Iterator[Stream]:
        """Streams of a collection (with `prefix`: of every collection that starts with the text) that have all these
        tags and annotations; None as value means "has the key". Ordered by collection and name; lazy."""
        for row in self.find_rows(collection, prefix, tags, annotations):
            yield self._handle(row)

    def find_rows(
        self,
        collection: str | None = None,
        prefix: bool = False,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> Iterator[StreamRow]:
        """As find, but metadata rows, without a handle for each."""
        self._db.check_open()
        with self._db.catalog.snapshot() as catalog:
            yield from catalog.streams(collection, prefix, dict(tags or {}), dict(annotations or {}))

    def rows(self) -> Iterator[StreamRow]:
        """Metadata of every stream; lazy."""
        return self.find_rows()

    def collections(self, prefix: str = "") -> Iterator[str]:
        """Distinct collections of living streams that start with the text, sorted."""
        self._db.check_open()
        with self._db.catalog.snapshot() as catalog:
            yield from catalog.collections(prefix)

    def usage(self, prefix: str = "") -> tuple[dict[str, int], dict[str, int]]:
        """How many streams under a collection prefix have each tag key (with a value) and each annotation key."""
        tag_keys: Counter[str] = Counter()
        annotation_keys: Counter[str] = Counter()
        for row in self.find_rows(prefix, prefix=True):
            tag_keys.update(key for key, value in row.tags.items() if value)
            annotation_keys.update(row.annotations.keys())
        return dict(sorted(tag_keys.items())), dict(sorted(annotation_keys.items()))

    def insert_many(self, batches: Mapping[Stream, tuple[Any, Any]]) -> dict[Stream, int]:
        """Insert into many streams in one commit: all of it is stored or nothing. The new version of each stream, the
        current one of a stream without points; durable and readable when this returns.

        Values are (times, values) as `Stream.insert` takes them, policy "never". Raises what insert raises, TooBig
        above `Settings.max_points` points in all. 36 B of log for one point in each stream.
        """
        db = self._db
        db.check_writable()
        for stream in batches:
            known = isinstance(stream, Stream) and (stream.slot.dead or db.slots.living(stream.id) is stream.slot)
            if not known:
                raise InvalidArgument(f"{stream!r} is no stream of this database")
        checked = {stream: batch.checked(*columns) for stream, columns in batches.items()}
        versions = {stream: stream.version for stream, columns in checked.items() if not len(columns[0])}
        streams = [stream for stream in checked if stream not in versions]
        if not streams:
            return versions
        total = sum(len(checked[stream][0]) for stream in streams)
        if total > db.settings.max_points:
            raise TooBig(f"Insert too big: {total} points in one commit, allowed are {db.settings.max_points}")
        slots = [stream.slot for stream in streams]
        changes = [Insert(0, *checked[stream]) for stream in streams]
        parts = ops.many_parts(
            np.array([slot.id for slot in slots], np.uint64),
            np.zeros(len(slots), np.uint64),
            np.array([len(change.times) for change in changes], np.uint32),
            np.concatenate([change.times for change in changes]),
            np.concatenate([change.values for change in changes]),
        )
        op = Op(ops.KIND, ops.INSERT_MANY, 0, parts, ChangeNote(slots, [*changes]))
        stripes = sorted({db.slots.stripe(slot.id) for slot in slots})
        for stripe in stripes:
            db.slots.lock(stripe).acquire()
        try:
            ticket = db.submit([op])
        finally:
            for stripe in stripes:
                db.slots.lock(stripe).release()
        ticket.wait()
        assert isinstance(ticket.result, list), "the publisher answers a version per stream"
        return versions | dict(zip(streams, ticket.result, strict=True))

    def subscribe(self, uuids: Sequence[UUID] = (), capacity: int = 1024) -> Subscription:
        """Follow inserts: every later insert into one of the streams is delivered as it was committed.

        At most `capacity` undelivered inserts are kept; then the subscription overflows and ends. Raises
        StreamNotFound.
        """
        from lamina.engine.subscribe import Subscription

        subscription = Subscription(self._db, capacity)
        try:
            subscription.add(uuids)
        except BaseException:
            subscription.close()
            raise
        return subscription

    def obliterate(self, stream: Stream) -> None:
        """See Stream.obliterate."""
        db = self._db
        db.check_writable(essential=True)

        def decide(catalog: CatalogSnapshot) -> Change:
            if catalog.stream(stream.id) is None:
                raise StreamNotFound("stream does not exist")
            return Change([BurntRow(stream.uuid, 0)], [("stream", stream.id)])

        slot = stream.slot
        with db.sealer.exclusive(slot):  # a flush in progress would put the root's row back
            db.metadata.change(decide, essential=True)
            db.publisher.obliterated(slot)
        self.obliterated += 1

    def _handle(self, row: StreamRow) -> Stream:
        return Stream(self._db, self._db.slots.get(row))
