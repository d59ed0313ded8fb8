"""A commit, checked and encoded before it touches anything; what all catalogs agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.encoding import Column, Columns, table_named
from lamina.catalog.rows import DatabaseRow, table_of
from lamina.errors import Conflict, InvalidArgument, Unavailable

SEQUENCES = {"object": (1 << 63) - 1, "segment": (1 << 32) - 1, "ordinal": (1 << 63) - 1}
"""Sequence -> largest number: columns are signed 64-bit, segment ids are u32 in addresses."""


class EncodedDelta(NamedTuple):
    """Columns per table, in the order they were put; deletes go first, the later of equal keys wins."""

    epoch: int
    expect_roots: dict[int, int]
    expect_record_states: dict[int, int]
    expect_point_states: dict[int, int]
    deletes: dict[str, list[tuple[Column]]]
    puts: dict[str, list[Columns]]
    rows: list[DatabaseRow]  # at most one matters: the last
    meta_applied_seq: int | None
    last_wall_us: int | None

    def expect_epoch(self, epoch: int) -> None:
        if self.epoch != epoch:
            raise Conflict(
                f"the catalog is at epoch {epoch}, the commit comes from epoch {self.epoch}:"
                " the directory was opened elsewhere"
            )

    def expect_versions(self, found: Mapping[int, int]) -> None:
        for stream, version in self.expect_roots.items():
            if found.get(stream, 0) != version:
                raise Conflict(f"the root of stream {stream} is at version {found.get(stream, 0)}, expected {version}")

    def expect_applied(self, found: Mapping[int, int]) -> None:
        for entry, seq in self.expect_record_states.items():
            if found.get(entry, 0) != seq:
                raise Conflict(f"the sections of entry {entry} go to seq {found.get(entry, 0)}, expected {seq}")

    def expect_points_applied(self, found: Mapping[int, int]) -> None:
        for measurement, seq in self.expect_point_states.items():
            if found.get(measurement, 0) != seq:
                raise Conflict(
                    f"the sections of measurement {measurement} go to seq {found.get(measurement, 0)}, expected {seq}"
                )

    def database(self, row: DatabaseRow) -> DatabaseRow | None:
        """The database row after this commit; None: as it is. epoch and meta_applied_seq never fall."""
        after = row
        if self.rows:
            put = self.rows[-1]
            after = put._replace(
                epoch=max(row.epoch, put.epoch),
                meta_applied_seq=max(row.meta_applied_seq, put.meta_applied_seq),
            )
        if self.meta_applied_seq is not None:
            after = after._replace(meta_applied_seq=max(after.meta_applied_seq, self.meta_applied_seq))
        if self.last_wall_us is not None:
            after = after._replace(last_wall_us=self.last_wall_us)
        return None if after == row else after


def encode(delta: CatalogDelta) -> EncodedDelta:
    """Raises InvalidArgument for a row, key or number that does not fit its table."""
    deletes: dict[str, list[tuple[Column]]] = {}
    puts: dict[str, list[Columns]] = {}
    rows: list[DatabaseRow] = []
    for name, key in delta.deletes:
        if name == "database":
            raise InvalidArgument("the row of table database cannot be deleted")
        deletes.setdefault(name, []).append((table_named(name).encode_key(key),))
    for row in delta.puts:
        name = table_of(row)
        columns = table_named(name).encode(row)
        if isinstance(row, DatabaseRow):
            rows.append(row)
        else:
            puts.setdefault(name, []).append(columns)
    roots = table_named("stream_root")
    for stream in delta.expect_roots:
        roots.encode_key(stream)
    states = table_named("record_state")
    for entry in delta.expect_record_states:
        states.encode_key(entry)
    points = table_named("point_state")
    for measurement in delta.expect_point_states:
        points.encode_key(measurement)
    for label, value in (("meta_applied_seq", delta.meta_applied_seq), ("last_wall_us", delta.last_wall_us)):
        if value is not None and not 0 <= value < 1 << 63:
            raise InvalidArgument(f"{label} is {value!r}, not in 0 .. 2**63 - 1")
    return EncodedDelta(
        delta.epoch,
        dict(delta.expect_roots),
        dict(delta.expect_record_states),
        dict(delta.expect_point_states),
        deletes,
        puts,
        rows,
        delta.meta_applied_seq,
        delta.last_wall_us,
    )


def numbers(sequence: str, next: int, n: int) -> range:
    """The n numbers from `next`. Raises InvalidArgument; Unavailable when the sequence has not so many
    left."""
    if sequence not in SEQUENCES:
        raise InvalidArgument(f"{sequence!r} is no sequence; there are {', '.join(SEQUENCES)}")
    if n < 1:
        raise InvalidArgument(f"{n} numbers of sequence {sequence}: at least 1")
    if next + n - 1 > SEQUENCES[sequence]:
        left = SEQUENCES[sequence] - next + 1
        raise Unavailable(f"{n} numbers of sequence {sequence}: {left} are left")
    return range(next, next + n)
