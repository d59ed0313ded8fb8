"""All streams of a database on a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from lamina.catalog.rows import StreamRow
from lamina.columns import Samples
from lamina.errors import InvalidArgument
from lamina.remote.stream import Stream
from lamina.remote.subscription import Subscription
from lamina.streams import batch

if TYPE_CHECKING:
    from lamina.remote.database import Database


class Streams:
    """`db.streams` of a server, as that of a directory. Listings show what the token may read."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._link = db._link

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
        """A new, empty stream at version 10 with property version 1; durable when this returns. With `exist_ok` one of
        the same collection and tags is returned as it is. Raises as `lamina.open(...).streams.create`."""
        found = self._link.call(
            "streams/create",
            collection=collection,
            name=name,
            unit=unit,
            uuid=uuid,
            tags=None if tags is None else dict(tags),
            annotations=None if annotations is None else dict(annotations),
            exist_ok=bool(exist_ok),
        )
        return Stream(self._db, *found)

    def get(self, uuid: UUID) -> Stream:
        """The stream with this uuid. Raises StreamNotFound."""
        if not isinstance(uuid, UUID):
            raise InvalidArgument(f"uuid {uuid!r}: expected a uuid.UUID")
        return Stream(self._db, *self._link.call("streams/get", uuid=uuid))

    def __getitem__(self, key: tuple[str, str]) -> Stream:
        """The stream of a collection with this tag `name`. Raises StreamNotFound if there is none, NotFound if there
        are several."""
        if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(part, str) for part in key):
            raise InvalidArgument(f"streams[{key!r}]: expected streams[collection, name], or streams.get(uuid)")
        return Stream(self._db, *self._link.call("streams/named", collection=key[0], name=key[1]))

    def __len__(self) -> int:
        count: int = self._link.call("streams/count")
        return count

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
        for page in self._link.call("streams/find", **_filter(collection, prefix, tags, annotations)):
            for uuid, id in page:
                yield Stream(self._db, uuid, id)

    def find_rows(
        self,
        collection: str | None = None,
        prefix: bool = False,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> Iterator[StreamRow]:
        """As find, but metadata rows."""
        for page in self._link.call("streams/find_rows", **_filter(collection, prefix, tags, annotations)):
            yield from page

    def rows(self) -> Iterator[StreamRow]:
        """Metadata of every stream; lazy."""
        return self.find_rows()

    def collections(self, prefix: str = "") -> Iterator[str]:
        """Distinct collections of living streams that start with the text, sorted."""
        for page in self._link.call("streams/collections", prefix=prefix):
            yield from page

    def usage(self, prefix: str = "") -> tuple[dict[str, int], dict[str, int]]:
        """How many streams under a collection prefix have each tag key (with a value) and each annotation key."""
        found: tuple[dict[str, int], dict[str, int]] = self._link.call("streams/usage", prefix=prefix)
        return found

    def insert_many(self, batches: Mapping[Stream, tuple[Any, Any]]) -> dict[Stream, int]:
        """Insert into many streams in one commit: all of it is stored or nothing. The new version of each stream, the
        current one of a stream without points; durable and readable when this returns."""
        self._db.check_open()
        for stream in batches:
            if not isinstance(stream, Stream) or stream._db is not self._db:
                raise InvalidArgument(f"{stream!r} is no stream of this database")
        checked = [Samples(*batch.checked(*columns)) for columns in batches.values()]
        streams, counts = [stream.uuid for stream in batches], [len(samples) for samples in checked]
        points = Samples.concat(checked)
        payload = encoded(points)
        versions = self._link.send(
            "streams/insert_many", payload, len(payload), streams=[str(uuid) for uuid in streams], counts=counts
        )
        return dict(zip(batches, versions, strict=True))

    def subscribe(self, uuids: Sequence[UUID] = (), capacity: int = 1024) -> Subscription:
        """Follow inserts: every later insert into one of the streams is delivered as it was committed.

        At most `capacity` undelivered inserts (65,536 and less) are kept by the server; then the subscription
        overflows and ends. Raises StreamNotFound."""
        (handle,) = self._link.call("streams/subscribe", uuids=[str(uuid) for uuid in uuids], capacity=capacity)
        return Subscription(self._db, handle)


def encoded(points: Samples) -> memoryview:
    """As the wire takes them."""
    from lamina.wire import arrow

    return memoryview(arrow.encode(arrow.POINTS, [np.asarray(points.time), points.value]))


def _filter(
    collection: str | None,
    prefix: bool,
    tags: Mapping[str, str | None] | None,
    annotations: Mapping[str, str | None] | None,
) -> dict[str, Any]:
    return {
        "collection": collection,
        "prefix": bool(prefix),
        "tags": None if tags is None else dict(tags),
        "annotations": None if annotations is None else dict(annotations),
    }
