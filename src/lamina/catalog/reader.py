"""What the snapshots of all catalogs share: typed readers over two primitives, get and scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from uuid import UUID

from lamina.catalog.encoding import TABLE, Columns, Table, table_named
from lamina.catalog.rows import (
    BucketRow,
    BurntRow,
    DatabaseRow,
    EntryRow,
    LifecycleRow,
    MeasurementRow,
    PinRow,
    PointStateRow,
    ReplicationRow,
    RootRow,
    SecretRow,
    SegmentRow,
    SettingRow,
    StreamRow,
    TokenRow,
)
from lamina.errors import Closed

S = TypeVar("S", bound="Reader")


def closed() -> Closed:
    return Closed("the catalog or this snapshot of it is closed")


class Reader:
    """Base of the snapshots. Subclasses give `_get`, `_scan` and the queries over many rows of `stream`."""

    __slots__ = ()

    def _get(self, table: Table, key: object) -> Columns | None:
        raise NotImplementedError

    def _scan(self, table: Table) -> Iterator[Columns]:
        """All rows by key."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _row(self, name: str, key: object) -> Any:
        table = TABLE[name]
        columns = self._get(table, key)
        return None if columns is None else table.decode(columns)

    def rows(self, table: str) -> Iterator[Any]:
        """Every row of a table, by key. Raises InvalidArgument for an unknown table."""
        known = table_named(table)
        return (known.decode(columns) for columns in self._scan(known))

    def database(self) -> DatabaseRow:
        row: DatabaseRow = self._row("database", 0)
        return row

    def stream(self, id: int) -> StreamRow | None:
        row: StreamRow | None = self._row("stream", id)
        return row

    def root(self, stream: int) -> RootRow | None:
        row: RootRow | None = self._row("stream_root", stream)
        return row

    def all_roots(self) -> Iterator[RootRow]:
        return self.rows("stream_root")

    def segment(self, id: int) -> SegmentRow | None:
        row: SegmentRow | None = self._row("segment", id)
        return row

    def segments(self) -> Iterator[SegmentRow]:
        return self.rows("segment")

    def burnt(self, uuid: UUID) -> BurntRow | None:
        row: BurntRow | None = self._row("burnt_uuid", uuid)
        return row

    def pin(self, name: str) -> PinRow | None:
        row: PinRow | None = self._row("pin", name)
        return row

    def pins(self) -> Iterator[PinRow]:
        return self.rows("pin")

    def token(self, name: str) -> TokenRow | None:
        row: TokenRow | None = self._row("token", name)
        return row

    def tokens(self) -> Iterator[TokenRow]:
        return self.rows("token")

    def setting(self, name: str) -> SettingRow | None:
        row: SettingRow | None = self._row("setting", name)
        return row

    def secret(self, name: str) -> SecretRow | None:
        row: SecretRow | None = self._row("secret", name)
        return row

    def buckets(self) -> Iterator[BucketRow]:
        return self.rows("bucket")

    def entry(self, id: int) -> EntryRow | None:
        row: EntryRow | None = self._row("entry", id)
        return row

    def measurements(self) -> Iterator[MeasurementRow]:
        return self.rows("measurement")

    def measurement(self, id: int) -> MeasurementRow | None:
        row: MeasurementRow | None = self._row("measurement", id)
        return row

    def point_state(self, measurement: int) -> PointStateRow | None:
        row: PointStateRow | None = self._row("point_state", measurement)
        return row

    def replications(self) -> Iterator[ReplicationRow]:
        return self.rows("replication")

    def lifecycles(self) -> Iterator[LifecycleRow]:
        return self.rows("lifecycle")
