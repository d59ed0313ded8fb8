"""Catalog rows of sections of points: made when one is written, amended when something in it died."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import PointSectionRow, from_fields, to_json
from lamina.errors import Corrupt
from lamina.points.batch import Batch
from lamina.points.deaths import write_deaths
from lamina.points.section import Section
from lamina.points.sectionwrite import write_section
from lamina.points.tail import FOREVER
from lamina.storage.address import ADDRESS
from lamina.storage.segment import SegmentWriter

if TYPE_CHECKING:
    from lamina.engine.points.store import PointStore

U64 = NDArray[np.uint64]


class Sorted(NamedTuple):
    """Rows by (time, ordinal), to be written."""

    batch: Batch
    ordinals: U64
    born: U64
    died: U64  # FOREVER: alive

    def part(self, rows: slice) -> Sorted:
        return Sorted(self.batch.take(rows), self.ordinals[rows], self.born[rows], self.died[rows])


def visible_dead(born: U64, died: U64, pins: Sequence[int]) -> NDArray[np.bool_]:
    """Rows that are dead for everybody: now, and as of every pin."""
    gone: NDArray[np.bool_] = died != np.uint64(FOREVER)
    for pin in pins:
        if not gone.any():
            break
        gone &= ~((born <= np.uint64(pin)) & (died > np.uint64(pin)))
    return gone


def address_bytes(segment: int, placed: tuple[int, int, int]) -> bytes:
    """The address of a block just appended to a segment."""
    offset, length, crc = placed
    return np.array([(segment, length, offset, crc)], ADDRESS).tobytes()


def write(
    writer: SegmentWriter, id: int, measurement: int, rows: Sorted, pins: Sequence[int], epoch: int
) -> PointSectionRow:
    """Write rows as a section; its catalog row. At least one row."""
    low, high = int(rows.born.min()), int(rows.born.max())
    alive = rows.died == np.uint64(FOREVER)
    dying = not alive.all()
    keep_born = dying or any(low <= pin < high for pin in pins)
    directory, _ = write_section(
        writer, rows.batch, rows.ordinals, rows.born if keep_born else None, rows.died if dying else None
    )
    return PointSectionRow(
        id=id,
        measurement=measurement,
        segment=writer.id,
        place=address_bytes(writer.id, writer.append(directory)),
        t_min=int(rows.batch.time_us[0]),
        t_max=int(rows.batch.time_us[-1]),
        points=rows.batch.n,
        ordinal_min=int(rows.ordinals.min()),
        ordinal_max=int(rows.ordinals.max()),
        min_seq=low,
        max_seq=high,
        deaths=b"",
        died=int(len(alive) - np.count_nonzero(alive)),
        dead=0 if alive.any() else int(rows.died.max()),
        epoch=epoch,
    )


def amend(store: PointStore, section: Section, pins: Sequence[int], writer: SegmentWriter) -> PointSectionRow | None:
    """The row of a section with everything that died in it; None: nothing in it lives, and nobody looks back. Writes a
    block of deaths. Reads those known before, and the section itself only where somebody looks back at a dead one."""
    row = section.row
    if section.cleared and not any(row.min_seq <= pin < section.cleared for pin in pins):
        return None
    if not len(section.fresh) and not section.cleared:
        return row._replace(epoch=store.epoch)
    if section.living:
        known, seqs = store.deaths(row)
        rows = np.concatenate((known, section.fresh))
        seqs = np.concatenate((seqs, section.fresh_seqs))
        return _with_deaths(store, writer, row, rows, seqs, row.points - section.living, 0)
    if not pins:
        return None
    born, died = lives(store, section)
    if visible_dead(born, died, pins).all():
        return None
    return _with_deaths(store, writer, row, np.arange(row.points), died, row.points, int(died.max()))


def _with_deaths(
    store: PointStore, writer: SegmentWriter, row: PointSectionRow, rows: NDArray[Any], seqs: U64, died: int, dead: int
) -> PointSectionRow:
    block = write_deaths(rows.astype(np.uint32), seqs)
    deaths = address_bytes(writer.id, writer.append(block))
    return row._replace(deaths=deaths, died=died, dead=dead, epoch=store.epoch)


def lives(store: PointStore, section: Section) -> tuple[U64, U64]:
    """The seq at which each row of a section was born, and died: FOREVER, if it lives. Where no snapshot needed to tell
    them apart, all were born with the last."""
    row, reader = section.row, store.open_section(section)
    born = np.full(row.points, row.max_seq, np.uint64) if reader.born is None else reader.born
    died = np.full(row.points, FOREVER, np.uint64) if reader.died is None else reader.died
    return born, died


def newest_segment(row: PointSectionRow) -> int:
    """The newer of the segments that a section and its deaths lie in."""
    return max(row.segment, int(np.frombuffer(row.deaths, ADDRESS)["segment"][0]) if row.deaths else 0)


def describe(
    writer: SegmentWriter,
    measurement: int,
    seq: int,
    made: Sequence[PointSectionRow],
    amended: Mapping[int, PointSectionRow | None],
    known: Iterable[int],
) -> None:
    """What a rebuild of the catalog needs: the rows written here, and which sections the measurement has from now on;
    `known`: ids of those the catalog had before. Every segment says so of each measurement in it, also where nothing
    lives on."""
    rows = [*made, *(row for row in amended.values() if row is not None)]
    gone = {id for id, row in amended.items() if row is None}
    living = [id for id in known if id not in gone]
    living += [row.id for row in made]
    writer.section(
        object_id=measurement,
        uuid=b"",
        first_time=min((row.t_min for row in rows), default=0),
        last_time=max((row.t_max for row in rows), default=0),
        min_seq=min((row.min_seq for row in rows), default=seq),
        max_seq=seq,
        version=0,
        live=sum(row.points for row in made),
        directory=json.dumps(
            {"seq": seq, "rows": [json.loads(to_json(row)) for row in rows], "living": living}, separators=(",", ":")
        ).encode(),
    )


def describe_bulk(writer: SegmentWriter, measurement: int) -> None:
    """That a segment holds sections of a measurement which a SECTION op commits. Whoever is sealed next describes
    them."""
    writer.section(
        object_id=measurement,
        uuid=b"",
        first_time=0,
        last_time=0,
        min_seq=0,
        max_seq=0,
        version=0,
        live=0,
        directory=BULK,
    )


class Described(NamedTuple):
    seq: int
    rows: list[PointSectionRow]
    living: list[int]


def read_description(data: bytes) -> Described | None:
    """None: of points whose SECTION op describes them. Raises Corrupt."""
    if data == BULK:
        return None
    try:
        members = json.loads(data)
        rows = [from_fields("point_section", fields) for fields in members["rows"]]
        return Described(int(members["seq"]), rows, [int(id) for id in members["living"]])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"directory of a measurement in a segment of points: {error}") from None


BULK = b"{}"
"""In place of a description: the op that commits these sections has no seq yet."""
