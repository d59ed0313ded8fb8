"""The whole database at one moment: streams at the version, records and points as they were when op `seq` was
published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from lamina.engine.view import StreamView
from lamina.errors import Closed
from lamina.streams.versions import version_at_seq

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.points.view import MeasurementView
    from lamina.engine.records.view import BucketView
    from lamina.engine.stream import Stream


class Snapshot:
    """Made by `db.snapshot` and `db.open_snapshot`; a context manager. `seq` is the last change inside, `name` the
    name it is kept under (None: until closed).

    Metadata is not versioned: `streams` and names are those of now, data those of then. Opening a stream costs no copy;
    views are independent reads, each to be closed on its own.
    """

    def __init__(self, db: Database, seq: int | None, name: str | None) -> None:
        """`seq`: None for now."""
        self._db = db
        self.name = name
        self._held = db.readers.begin(seq)
        self.seq = self._held[0]
        self._open = True

    def stream(self, stream: Stream | UUID) -> StreamView:
        """A stream as it was, as a view to be closed; version 10, empty, if it was created later. Raises
        StreamNotFound (obliterated since), VersionNotAvailable (pruned since, only where the snapshot has no name),
        Closed."""
        self._check()
        handle = self._db.streams.get(stream) if isinstance(stream, UUID) else stream
        return handle.at(self.version(handle))

    def version(self, stream: Stream) -> int:
        """The version of a stream in this snapshot; 10 if it was created later. Reads O(log16 flushes) blocks."""
        return version_at_seq(stream.slot.state, self.seq, self._db.read)

    def bucket(self, name: str) -> BucketView:
        """A bucket of records as it was, also one that was removed since. Raises NotFound, Closed."""
        from lamina.engine.records.view import bucket_view

        self._check()
        return bucket_view(self._db.records, name, self.seq, self._check)

    def measurement(self, name: str) -> MeasurementView:
        """The points of a measurement as they were; empty if there were none. Raises Closed."""
        from lamina.engine.points.view import MeasurementView

        self._check()
        return MeasurementView(self._db.points, name, self.seq, self._check)

    def measurements(self) -> list[str]:
        """Names of the measurements that held points, in alphabetical order. Raises Closed."""
        from lamina.engine.points.view import names_at

        self._check()
        return names_at(self._db.points, self.seq)

    def streams(self) -> Iterator[Stream]:
        """Every stream there is now; lazy."""
        return self._db.streams.find()

    def _check(self) -> None:
        if not self._open:
            raise Closed("the snapshot is closed")

    def close(self) -> None:
        """Let compaction have what only this snapshot needs; one with a name stays in the database. Idempotent."""
        if self._open:
            self._open = False
            self._db.readers.end(self._held)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<lamina.Snapshot {self.name or ''} seq={self.seq}>"
