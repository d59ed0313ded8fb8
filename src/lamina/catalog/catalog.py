"""The seam to the catalog: names and pointers, changed atomically. The one mutable thing of a database.

SQLite embedded (`sqlite.py`), a plain-Python one for tests and `":memory:"` (`memory.py`), PostgreSQL in a
cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol
from uuid import UUID

from lamina.catalog.rows import (
    BucketRow,
    BurntRow,
    DatabaseRow,
    EntryRow,
    LifecycleRow,
    MeasurementRow,
    PinRow,
    PointSectionRow,
    PointStateRow,
    RecordSectionRow,
    RecordStateRow,
    ReplicationRow,
    RootRow,
    Row,
    SecretRow,
    SegmentRow,
    SettingRow,
    StreamRow,
    TokenRow,
)

Sequence_ = Literal["object", "segment", "ordinal"]


class CatalogDelta:
    """One transaction: all of it or nothing.

    `deletes` are (table, key), absent rows are fine, and go first; `puts` then insert or replace by key, the
    later of equal keys wins. A put that would give two streams one uuid, or one collection and equal tags,
    two living buckets one name, two living entries of a bucket one name, or two measurements one name, raises
    Conflict. `expect_roots` maps a stream id to the RootRow.version it must still have (0: no root row) or the
    commit raises Conflict; `expect_record_states` likewise an entry id to its RecordStateRow.applied_seq, and
    `expect_point_states` a measurement id to its PointStateRow.applied_seq. `epoch` must still be the catalog's,
    or Conflict: a writer that lost the directory cannot publish. A DatabaseRow among the puts never lowers epoch
    or meta_applied_seq. `meta_applied_seq`, if given, is stored in the database row in the same transaction
    (never lowered).
    """

    __slots__ = (
        "deletes",
        "epoch",
        "expect_point_states",
        "expect_record_states",
        "expect_roots",
        "last_wall_us",
        "meta_applied_seq",
        "puts",
    )

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.puts: list[Row] = []
        self.deletes: list[tuple[str, Any]] = []
        self.expect_roots: dict[int, int] = {}
        self.expect_record_states: dict[int, int] = {}
        self.expect_point_states: dict[int, int] = {}
        self.meta_applied_seq: int | None = None
        self.last_wall_us: int | None = None


class CatalogSnapshot(Protocol):
    """One consistent state; a context manager. Every row that locates data had its row CRC checked (law 6):
    a wrong one raises Corrupt naming table and key."""

    def database(self) -> DatabaseRow: ...

    def stream(self, id: int) -> StreamRow | None: ...

    def stream_by_uuid(self, uuid: UUID) -> StreamRow | None: ...

    def stream_by_tags(self, collection: str, tags: dict[str, str]) -> StreamRow | None:
        """The live stream with this collection and identical tags. Tags with an empty value count as
        absent."""
        ...

    def streams(
        self,
        collection: str | None = None,
        prefix: bool = False,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, str | None] | None = None,
    ) -> Iterator[StreamRow]:
        """Streams whose collection equals (or starts with: raw string prefix, case-sensitive) `collection`,
        None = any, that have all tags and annotations given (None = has the key, with any value; a tag with
        an empty value counts as absent, so "" asks for its absence). Order: collection, then tag "name",
        then id. Lazy."""
        ...

    def collections(self, prefix: str = "") -> Iterator[str]:
        """Distinct collections with the string prefix, sorted by code point."""
        ...

    def stream_count(self) -> int: ...

    def root(self, stream: int) -> RootRow | None: ...

    def roots(self, streams: Sequence[int]) -> dict[int, RootRow]:
        """Root rows of many streams; absent ones are left out. Cost: a few queries, not one per stream."""
        ...

    def all_roots(self) -> Iterator[RootRow]: ...

    def segment(self, id: int) -> SegmentRow | None: ...

    def segments(self) -> Iterator[SegmentRow]: ...

    def burnt(self, uuid: UUID) -> BurntRow | None: ...

    def pin(self, name: str) -> PinRow | None: ...

    def pins(self) -> Iterator[PinRow]: ...

    def token(self, name: str) -> TokenRow | None: ...

    def tokens(self) -> Iterator[TokenRow]: ...

    def setting(self, name: str) -> SettingRow | None: ...

    def secret(self, name: str) -> SecretRow | None: ...

    def buckets(self) -> Iterator[BucketRow]:
        """All, dead ones too, by id."""
        ...

    def entries(self, bucket: int) -> Iterator[EntryRow]:
        """All of a bucket, dead ones too, by id. Lazy; cost: a range of an index."""
        ...

    def entry(self, id: int) -> EntryRow | None: ...

    def record_states(self, entries: Sequence[int]) -> dict[int, RecordStateRow]:
        """As `roots`."""
        ...

    def record_sections(self, entries: Sequence[int]) -> dict[int, list[RecordSectionRow]]:
        """Sections of many entries, dead ones too, each list by t_min and id; entries without any are left out.
        Cost: a few queries, not one per entry."""
        ...

    def sections_of_segment(self, segment: int) -> Iterator[RecordSectionRow]:
        """By id. Lazy."""
        ...

    def measurements(self) -> Iterator[MeasurementRow]: ...

    def measurement(self, id: int) -> MeasurementRow | None: ...

    def point_state(self, measurement: int) -> PointStateRow | None: ...

    def point_sections(self, measurement: int) -> Iterator[PointSectionRow]:
        """Of one measurement, dead ones too, by t_min and id. Lazy; cost: a range of an index."""
        ...

    def point_sections_of_segment(self, segment: int) -> Iterator[PointSectionRow]:
        """By id. Lazy."""
        ...

    def replications(self) -> Iterator[ReplicationRow]: ...

    def lifecycles(self) -> Iterator[LifecycleRow]: ...

    def rows(self, table: str) -> Iterator[Any]:
        """Every row of a table, by key."""
        ...

    def close(self) -> None:
        """Idempotent; on any thread. Iterators that are still running raise Closed."""
        ...

    def __enter__(self) -> CatalogSnapshot: ...

    def __exit__(self, *_: object) -> None: ...


class Catalog(Protocol):
    """Thread-safe. Errors: Conflict, Corrupt, Unavailable (I/O error; the outcome of a failed commit is
    unknown and the catalog refuses further commits), InvalidArgument (a row or key that does not fit its
    table), Closed, UnknownFormat (written by a newer Lamina). A catalog just made has a DatabaseRow with an
    empty id and epoch 0."""

    def snapshot(self) -> CatalogSnapshot: ...

    def commit(self, delta: CatalogDelta) -> None:
        """Durable when it returns."""
        ...

    def reserve(self, sequence: Sequence_, n: int) -> range:
        """n numbers never given before, durably taken. The first ever is 1."""
        ...

    def acquire_epoch(self, instance: str) -> int:
        """Take the catalog for writing: epoch + 1, durably; earlier holders' commits now raise Conflict."""
        ...

    def check(self) -> Iterator[str]:
        """Every row and page verified; a line per finding."""
        ...

    def backup(self, target_path: str) -> None:
        """A consistent copy at an absolute path, while writers go on."""
        ...

    def close(self) -> None:
        """Closes the open snapshots too. Idempotent."""
        ...
