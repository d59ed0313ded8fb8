"""Who calls, and the objects of a call as far as its token allows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.access import Principal
from lamina.errors import NotFound, PermissionDenied

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.stream import Stream
    from lamina.faces.native.handles import Handles
    from lamina.wire.calls import Right


class Caller:
    """Of one call. `moved` is what it wrote and read of records, for the observer: (which, bucket, entry, records,
    bytes)."""

    __slots__ = ("db", "handles", "moved", "who")

    def __init__(self, db: Database, who: Principal, handles: Handles) -> None:
        self.db = db
        self.who = who
        self.handles = handles
        self.moved: list[tuple[str, str, str, int, int]] = []

    # -- streams -------------------------------------------------------------------------------------------------

    def stream(self, uuid: UUID, right: Right) -> Stream:
        """Raises StreamNotFound, PermissionDenied."""
        stream = self.db.streams.get(uuid)
        if not self.who.full_access and not self._may(stream.collection, right):
            # without the collection's name, which the caller may not see
            raise PermissionDenied(f"Token '{self.who.name}' doesn't have {_access(right)} to this stream")
        return stream

    def check_collection(self, collection: str, right: Right) -> None:
        """For one that the caller named. Raises PermissionDenied."""
        if not self._may(collection, right):
            what = f"{_access(right)} to streams in collection {collection!r}"
            raise PermissionDenied(f"Token '{self.who.name}' doesn't have {what}")

    def _may(self, collection: str, right: Right) -> bool:
        read, write = self.who.may_read_stream, self.who.may_write_stream
        if right == "full":
            return self.who.full_access
        if right == "use":
            return read(collection) or write(collection)
        return write(collection) if right == "write" else read(collection)

    # -- points --------------------------------------------------------------------------------------------------

    def check_points(self, measurement: str, right: Right) -> None:
        """Raises PermissionDenied, whether there is such a measurement or not."""
        may = self.who.may_write_points if right == "write" else self.who.may_read_points
        if not may(measurement):
            what = f"{_access(right)} to measurement {measurement!r}"
            raise PermissionDenied(f"Token '{self.who.name}' doesn't have {what}")

    # -- buckets -------------------------------------------------------------------------------------------------

    def check_bucket(self, name: str, right: Right) -> None:
        """Raises PermissionDenied, whether there is such a bucket or not."""
        if right == "full":
            self.who.require_full_access()
        elif right == "write":
            self.who.require_write_bucket(name)
        elif right == "read" or not self.who.may_write_bucket(name):
            self.who.require_read_bucket(name)

    def bucket(self, place: tuple[int, str], right: Right) -> Bucket:
        """The bucket of a handle, which goes by the id; the name is the one that the caller knows.

        Raises PermissionDenied, NotFound."""
        id, name = place
        self.check_bucket(name, right)
        bucket = self.db.records.buckets.get(id)
        if bucket is None:
            raise NotFound(f"Bucket '{name}' is not found")
        if bucket.name != name:
            try:
                self.check_bucket(bucket.name, right)
            except PermissionDenied:  # which would tell what the bucket is called now
                raise NotFound(f"Bucket '{name}' is not found") from None
        return bucket

    # -- what is open --------------------------------------------------------------------------------------------

    def held(self, kind: str, id: str) -> Any:
        """Raises Closed."""
        return self.handles.get(kind, self.who.name, id)

    def hold(self, kind: str, value: Any, of: str | None = None) -> str:
        """A handle for something that has `close`, or that goes with another handle. Raises Busy."""
        if of is not None:
            return self.handles.add_part(kind, self.who.name, value, of)
        return self.handles.add(kind, self.who.name, value, value.close)


def _access(right: Right) -> str:
    return {"write": "write access", "use": "access", "full": "full access"}.get(right, "read access")
