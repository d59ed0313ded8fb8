"""One call of one caller: the database, and what of it the caller may read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from lamina.errors import PermissionDenied, StreamNotFound
from lamina.faces.btrdb.auth import Principal

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.stream import Stream
    from lamina.engine.view import StreamView


class Call(NamedTuple):
    """One call: the database, who asks, and under which HOST:PORT clients find this server."""

    db: Database
    who: Principal
    address: str

    def stream(self, uuid: bytes, *, write: bool = False) -> Stream:
        """The stream, if the caller may read (or write) it. Raises StreamNotFound, PermissionDenied."""
        if len(uuid) != 16:
            raise StreamNotFound("stream does not exist")
        stream = self.db.streams.get(UUID(bytes=uuid))
        if not self.who.full_access and not self._may(stream.collection, write):
            # without the collection's name, which the caller may not see
            raise PermissionDenied(f"the key may not {'write to' if write else 'read'} this stream")
        return stream

    def view(self, uuid: bytes, version: int) -> StreamView:
        """The stream at a version (0: latest); close it. Raises as `stream`, and VersionNotAvailable."""
        return self.stream(uuid).at(version)

    def check(self, collection: str, *, write: bool) -> None:
        """For a collection that the caller named. Raises PermissionDenied."""
        if not self._may(collection, write):
            what = "write to" if write else "read"
            raise PermissionDenied(f"the key may not {what} streams in collection {collection!r}")

    def _may(self, collection: str, write: bool) -> bool:
        return self.who.may_write_stream(collection) if write else self.who.may_read_stream(collection)

    def check_full_access(self, what: str) -> None:
        """Raises PermissionDenied."""
        if not self.who.full_access:
            raise PermissionDenied(f"{what} needs a key with full access")
