"""The whole database of a server at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.errors import Closed, InvalidArgument
from lamina.remote.record import Record, Source, records, selection
from lamina.remote.selection import Selection
from lamina.remote.stream import Stream, StreamView
from lamina.time import TimeLike, to_us

if TYPE_CHECKING:
    from lamina.remote.database import Database
    from lamina.remote.measurements import MeasurementView


class Snapshot:
    """Made by `db.snapshot` and `db.open_snapshot`; a context manager. As `lamina.Snapshot`. The server closes one that
    was not used for an hour: Closed then; one with a name can be opened again."""

    def __init__(self, db: Database, handle: str, seq: int, name: str | None) -> None:
        self._db = db
        self._link = db._link
        self._handle: str | None = handle
        self.seq = seq
        self.name = name

    def _check(self) -> str:
        if self._handle is None:
            raise Closed("the snapshot is closed")
        return self._handle

    def stream(self, stream: Stream | UUID) -> StreamView:
        """A stream as it was, as a view to be closed; version 10, empty, if it was created later."""
        return StreamView(self._db, *self._link.call("snapshot/stream", snapshot=self._check(), stream=_uuid(stream)))

    def version(self, stream: Stream) -> int:
        """The version of a stream in this snapshot; 10 if it was created later."""
        version: int = self._link.call("snapshot/version", snapshot=self._check(), stream=_uuid(stream))
        return version

    def bucket(self, name: str) -> BucketView:
        """A bucket of records as it was, also one that was removed since. Raises NotFound, Closed."""
        return BucketView(self, *self._link.call("snapshot/bucket", snapshot=self._check(), name=name))

    def measurement(self, name: str) -> MeasurementView:
        """The points of a measurement as they were; empty if there were none. Raises Closed."""
        from lamina.remote.measurements import MeasurementView

        self._check()
        return MeasurementView(self._link, self._check, name)

    def measurements(self) -> list[str]:
        """Names of the measurements that held points, in alphabetical order. Raises Closed."""
        found: list[str] = self._link.call("snapshot/measurements", snapshot=self._check())
        return found

    def streams(self) -> Iterator[Stream]:
        """Every stream there is now; lazy."""
        return self._db.streams.find()

    def close(self) -> None:
        """Let the server have what only this snapshot needs; one with a name stays in the database. Idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None and not self._link.closed:
            self._link.call("snapshot/close", snapshot=handle)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<lamina.remote.Snapshot {self.name or ''} seq={self.seq}>"


def _uuid(stream: Stream | UUID) -> UUID:
    if isinstance(stream, Stream):
        return stream.uuid
    if not isinstance(stream, UUID):
        raise InvalidArgument(f"stream {stream!r}: expected a stream of this database, or a uuid.UUID")
    return stream


class BucketView:
    """Made by `Snapshot.bucket`, as that of a directory."""

    def __init__(self, snapshot: Snapshot, handle: str, name: str) -> None:
        self._snapshot = snapshot
        self._handle = handle
        self.name = name

    def _call(self, method: str, **arguments: Any) -> Any:
        self._snapshot._check()
        return self._snapshot._link.call(f"bucketview/{method}", bucketview=self._handle, **arguments)

    def entries(self) -> list[EntryView]:
        """By name (bytes), attachments too; of those with one name, what was removed first comes first."""
        return [self._entry(*found) for found in self._call("entries")]

    def entry(self, name: str) -> EntryView:
        """Raises NotFound."""
        return self._entry(*self._call("entry", name=name))

    def _entry(self, handle: str, name: str) -> EntryView:
        return EntryView(self._snapshot, handle, name, self.name)

    def __repr__(self) -> str:
        return f"<lamina.remote.BucketView {self.name!r} seq={self._snapshot.seq}>"


class EntryView:
    """An entry as it was; its labels, too. Thread-safe. As that of a directory."""

    def __init__(self, snapshot: Snapshot, handle: str, name: str, bucket: str) -> None:
        self._snapshot = snapshot
        self._source = Source(snapshot._link, "entryview", {"entryview": handle}, bucket)
        self.name = name

    def read(self, time: TimeLike | None = None) -> Record:
        """The record of a time, None: the latest. Raises NotFound, Corrupt, Closed."""
        self._snapshot._check()
        (record,) = records(self._source, "read", time=None if time is None else to_us(time))
        return record

    def query(
        self,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> Selection:
        """See `Entry.query`. Raises InvalidArgument, Closed; while iterating Corrupt."""
        self._snapshot._check()
        return Selection(self._source, **selection(start, stop, when, strict))

    def __repr__(self) -> str:
        return f"<lamina.remote.EntryView {self._source.bucket}/{self.name} seq={self._snapshot.seq}>"
