"""Catalog rows of sections: made when one is written, amended when something in it died."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.rows import RecordSectionRow, from_fields, to_json
from lamina.errors import Corrupt
from lamina.records.manifest import encode_blocks, encode_deaths, encode_files
from lamina.records.row import FOREVER, Rows
from lamina.records.section import TIME_BIAS, Cut, Section, encode_cuts
from lamina.records.source import LAST_TIME
from lamina.storage.checksums import CHUNK

if TYPE_CHECKING:
    from lamina.engine.records.store import RecordStore
    from lamina.storage.segment import SegmentWriter

U64 = NDArray[np.uint64]


FEW_ROWS = 64
"""Rows up to which Python's integers are faster than calls of NumPy."""


class Amended(NamedTuple):
    row: RecordSectionRow | None  # None: nothing in it lives, and nobody looks back
    cuts: tuple[Cut, ...]  # as the row has them


def visible_dead(born: U64, died: U64, pins: Sequence[int]) -> NDArray[np.bool_]:
    """Rows that are dead for everybody: now, and as of every pin."""
    gone: NDArray[np.bool_] = died != np.uint64(FOREVER)
    for pin in pins:
        if not gone.any():
            break
        gone &= ~((born <= np.uint64(pin)) & (died > np.uint64(pin)))
    return gone


def footprint(rows: Rows) -> U64:
    """Bytes that each content takes in its file, checksum array included."""
    chunks = (rows["size"] + np.uint64(CHUNK - 1)) // np.uint64(CHUNK)
    arrays = np.where(rows["size"] > CHUNK, chunks * np.uint64(4), np.uint64(0))
    total: U64 = rows["stored"] + arrays
    return total


def living_files(rows: Rows) -> dict[int, int]:
    """Bytes of these rows per payload file."""
    sizes = footprint(rows)
    if len(rows) <= FEW_ROWS:
        living: dict[int, int] = {}
        for file, size in zip(rows["file"].tolist(), sizes.tolist(), strict=True):
            if file:
                living[file] = living.get(file, 0) + size
        return living
    return {file: int(sizes[rows["file"] == file].sum()) for file in np.unique(rows["file"]).tolist() if file}


def blocks_of_rows(rows: Rows, begins: U64) -> bytes:
    """What rows, sorted by time, contribute to each of the contract's blocks."""
    if not len(rows):
        none = np.empty(0, np.uint64)
        return encode_blocks(none, np.empty(0, np.uint32), none, none)
    times: U64 = rows["time"]
    if len(rows) <= FEW_ROWS:
        return _blocks_of_few(rows, begins)
    at = begins.searchsorted(times, side="right")
    known = np.append(begins, np.uint64(0))  # at == 0: a block that was emptied meanwhile; its first record stands in
    starts = np.where(at > 0, known[at - 1], times[0])
    firsts = np.flatnonzero(np.append(True, starts[1:] != starts[:-1]))
    records = np.diff(np.append(firsts, len(rows))).astype(np.uint32)
    content = np.add.reduceat(rows["size"], firsts)
    meta = np.add.reduceat(rows["meta"].astype(np.uint64), firsts)
    return encode_blocks(starts[firsts].astype(np.uint64), records, content, content + meta)


def _blocks_of_few(rows: Rows, begins: U64) -> bytes:
    """The same by Python's integers: a third of the time for the dozen rows of a small tail."""
    known = begins.tolist()
    held: dict[int, list[int]] = {}
    oldest = int(rows["time"][0])
    for time, size, meta in rows[["time", "size", "meta"]].tolist():
        at = bisect_right(known, time)
        sums = held.setdefault(known[at - 1] if at else oldest, [0, 0, 0])
        sums[0] += 1
        sums[1] += size
        sums[2] += size + meta
    columns = zip(*held.values(), strict=True)
    records, content, sizes = (np.array(column, np.uint64) for column in columns)
    return encode_blocks(np.array(list(held), np.uint64), records.astype(np.uint32), content, sizes)


def make_row(
    id: int, entry: int, segment: int, place: bytes, rows: Rows, died: U64, begins: U64, epoch: int
) -> RecordSectionRow:
    """Of a section just written; rows sorted by (time, seq)."""
    alive = rows[died == np.uint64(FOREVER)]
    return RecordSectionRow(
        id=id,
        entry=entry,
        segment=segment,
        place=place,
        t_min=int(rows["time"][0]) - TIME_BIAS,
        t_max=int(rows["time"][-1]) - TIME_BIAS,
        records=len(rows),
        min_seq=int(rows["seq"].min()),
        max_seq=int(rows["seq"].max()),
        deaths=b"",
        cuts=b"",
        blocks=blocks_of_rows(alive, begins),
        files=encode_files(living_files(rows)),
        dead=0 if len(alive) else int(died.max()),
        epoch=epoch,
    )


def amend(store: RecordStore, section: Section, pins: Sequence[int], begins: U64, writer: SegmentWriter) -> Amended:
    """The row of a section with everything that died in it. Reads its index; writes a block of deaths."""
    from lamina.engine.records.seal import place_bytes

    loaded = store.loaded(section)
    assert loaded is not None, "it was waited for"
    index = loaded.columns
    row = section.row
    dead, seqs = loaded.deaths if loaded.deaths is not None else (np.empty(0, np.uint32), np.empty(0, np.uint64))
    dead, seqs = np.concatenate((dead, section.fresh)), np.concatenate((seqs, section.fresh_seqs))
    dead, first = np.unique(dead, return_index=True)
    seqs = seqs[first]
    died = np.full(index.n, FOREVER, np.uint64) if index.died is None else index.died.copy()
    died[dead] = np.minimum(died[dead], seqs)
    for cut in section.cuts:
        under = index.times <= np.uint64(cut.through)
        died[under] = np.minimum(died[under], np.uint64(cut.seq))
    born = index.born if index.born is not None else np.full(index.n, row.max_seq, np.uint64)
    gone = visible_dead(born, died, pins)
    if gone.all():
        return Amended(None, ())
    rows = index.rows(0, index.n)
    alive = rows[died == np.uint64(FOREVER)]
    cuts = tuple(cut for cut in section.cuts if cut.through <= LAST_TIME)
    deaths = place_bytes(writer.id, writer.append(encode_deaths(dead.astype(np.uint32), seqs))) if len(dead) else b""
    new = row._replace(
        deaths=deaths,
        cuts=encode_cuts(cuts),
        blocks=blocks_of_rows(alive, begins),
        files=encode_files(living_files(rows[~gone])),
        dead=0 if len(alive) else int(died.max()),
        epoch=store.epoch,
    )
    return Amended(new, cuts)


def segment_directory(seq: int, rows: Sequence[RecordSectionRow], living: Sequence[int]) -> bytes:
    """What an index segment says of one entry, for a rebuild of the catalog."""
    return json.dumps(
        {"seq": seq, "rows": [json.loads(to_json(row)) for row in rows], "living": list(living)},
        separators=(",", ":"),
    ).encode()


class Described(NamedTuple):
    seq: int
    rows: list[RecordSectionRow]
    living: list[int]


def read_segment_directory(data: bytes) -> Described:
    """Raises Corrupt."""
    try:
        members = json.loads(data)
        rows = [from_fields("record_section", fields) for fields in members["rows"]]
        return Described(int(members["seq"]), rows, [int(id) for id in members["living"]])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"directory of an entry in an index segment: {error}") from None
