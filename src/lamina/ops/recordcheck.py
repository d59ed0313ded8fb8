"""Verification of records: every column of every index section, and every content that anybody may still read.

Works on a directory in use. What fails is looked at again in the newest state of catalog and log: a section that was
rewritten, or a record that was evicted, since the check began is no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import SECTION_NUMBERS, EntryRow, RecordSectionRow, SegmentRow
from lamina.engine.records.sections import living_files, visible_dead
from lamina.engine.records.store import KIND
from lamina.errors import Corrupt, LaminaError, NotFound, UnknownFormat
from lamina.ops.directory import Directory
from lamina.ops.finding import Finding
from lamina.ops.recordlog import Unsealed
from lamina.records import checksum
from lamina.records.index import IndexSection
from lamina.records.manifest import decode_blocks, decode_deaths, decode_files
from lamina.records.row import FOREVER, RAW, Rows
from lamina.records.section import section_of
from lamina.storage.address import ADDRESS
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer
from lamina.storage.payloadfile import FIRST, verify_head
from lamina.storage.payloadread import PayloadReader
from lamina.storage.segment import segment_name

Progress = Callable[[int, int], None]
"""(sections done, sections in all)"""

ROWS = 65_536
"""Rows whose labels are decoded at a time."""

BATCH_BYTES = 4 << 20
"""Short contents read at a time."""

SHOWN = 20
"""Damaged contents of one section that are told one by one."""


class RecordCheck:
    """One pass over the records of a directory."""

    def __init__(self, directory: Directory, snapshot: CatalogSnapshot) -> None:
        self._directory = directory
        self._snapshot = snapshot
        self._contents = PayloadReader(directory.files, directory.identity(), 64)
        self._buckets = {row.id: row.name for row in snapshot.buckets()}
        self._pins = sorted(pin.seq for pin in snapshot.pins())
        self._applied = {row.entry: row.applied_seq for row in snapshot.rows("record_state")}
        self._unsealed = Unsealed(directory, self._applied)

    def findings(self, progress: Progress | None = None) -> Iterator[Finding]:
        """Everything that is wrong. Raises UnknownFormat."""
        try:
            yield from self._files()
            total = sum(1 for _ in self._snapshot.rows("record_section")) if progress is not None else 0
            for done, row in enumerate(self._snapshot.rows("record_section"), 1):
                yield from self._section(row)
                if progress is not None:
                    progress(done, total)
            for entry in sorted(self._unsealed.rows):
                yield from self._tail(entry)
        finally:
            self._contents.close()

    # Payload files

    def _files(self) -> Iterator[Finding]:
        for row in self._snapshot.segments():
            if row.kind == "payload" and row.state == "live":
                wrong = self._file(row)
                if wrong and self._is_live(row.id):
                    yield Finding(f"segments/{row.name}", wrong)

    def _file(self, row: SegmentRow) -> str:
        try:
            file = self._directory.files.open(f"segments/{row.name}", "read")
        except FileNotFoundError:
            return "is missing"
        try:
            head = file.read_at(0, FIRST)
        finally:
            file.close()
        try:
            verify_head(f"segments/{row.name}", head, row.id, self._directory.identity())
        except Corrupt as error:
            return str(error)
        return ""

    def _is_live(self, segment: int) -> bool:
        with closing(self._directory.catalog()) as catalog, catalog.snapshot() as now:
            row = now.segment(segment)
            return row is not None and row.state == "live"

    # Sections

    def _section(self, row: RecordSectionRow) -> Iterator[Finding]:
        entry = self._snapshot.entry(row.entry)
        if entry is None:
            return  # nobody can ask for it; compaction drops it
        found = list(self._check(row, entry))
        if found and self._still(row):
            yield from found

    def _still(self, row: RecordSectionRow) -> bool:
        """Whether the section is in the catalog now as it was when it was checked."""
        with closing(self._directory.catalog()) as catalog, catalog.snapshot() as now:
            return row in now.record_sections([row.entry]).get(row.entry, [])

    def _check(self, row: RecordSectionRow, entry: EntryRow) -> Iterator[Finding]:
        place = self._place(row, entry)
        try:
            index = IndexSection(self._directory.blobs, segment_name(KIND, row.segment), self._block(row.place))
            yield from self._agrees(row, index, place)
            died = self._died(row, index)
        except UnknownFormat:
            raise
        except (LaminaError, OSError) as error:
            yield Finding(place, str(error))
            return
        readers: list[tuple[str, Callable[[], object]]] = [
            ("content types", lambda: index.types),
            ("labels", lambda: _all_labels(index)),
        ]
        for what, read in readers:
            try:
                read()
            except (LaminaError, OSError) as error:
                yield Finding(place, f"{what}: {error}")
        try:
            rows = index.rows(0, index.n)
        except (LaminaError, OSError) as error:
            yield Finding(place, str(error))
            return
        for cut in self._unsealed.cuts.get(row.entry, ()):  # their space may have been given back already
            under = rows["time"] <= np.uint64(cut.through)
            died[under] = np.minimum(died[under], np.uint64(cut.seq))
        for seq in (entry.dead, row.dead):
            if seq:
                died = np.minimum(died, np.uint64(seq))
        rows = rows[~visible_dead(rows["seq"], died, self._pins)]
        try:
            yield from self._manifest(row, rows, place)
        except (LaminaError, OSError) as error:
            yield Finding(place, str(error))
        yield from self._verify(rows, entry, place)

    def _place(self, row: RecordSectionRow, entry: EntryRow) -> str:
        section = section_of(row)
        where = f"{segment_name(KIND, row.segment)} section {row.id % SECTION_NUMBERS}"
        return f"{self._name(entry)} [{section.t_min}, {section.t_max}] in {where}"

    def _name(self, entry: EntryRow) -> str:
        return f"{self._buckets.get(entry.bucket, entry.bucket)}/{entry.name}"

    def _block(self, address: bytes) -> bytes:
        if len(address) != ADDRESS.itemsize:
            raise Corrupt(f"catalog: record_section: address of {len(address)} bytes: expected {ADDRESS.itemsize}")
        segment, length, offset, crc = np.frombuffer(address, ADDRESS)[0].item()
        name = segment_name(KIND, segment)
        (data,) = self._directory.blobs.read(name, [(offset, length)])
        if crc32c(data) != crc:
            raise Corrupt(f"{name}: offset {offset}: CRC32C: expected {crc:08x}, found {crc32c(data):08x}")
        return data

    def _agrees(self, row: RecordSectionRow, index: IndexSection, place: str) -> Iterator[Finding]:
        section = section_of(row)
        said = (row.records, section.t_min, section.t_max, row.min_seq, row.max_seq)
        has = (index.n, index.t_min, index.t_max, index.min_seq, index.max_seq)
        if said != has:
            yield Finding(place, f"the catalog says rows, times and seqs {said}, the segment {has}")
        known = self._snapshot.segment(row.segment)
        if known is None or known.state != "live":
            yield Finding(place, f"the catalog has no live segment {row.segment:08x}")
        if row.max_seq > self._applied.get(row.entry, 0):
            applied = self._applied.get(row.entry, 0)
            yield Finding(place, f"holds seq {row.max_seq}, the entry's state says {applied} is the last one applied")

    def _died(self, row: RecordSectionRow, index: IndexSection) -> NDArray[np.uint64]:
        """The seq at which each row died, as the catalog and the segment say."""
        died = np.full(index.n, FOREVER, np.uint64) if index.died is None else index.died.copy()
        if row.deaths:
            dead, seqs = decode_deaths(self._block(row.deaths))
            if len(dead) and int(dead[-1]) >= index.n:
                raise Corrupt(f"deaths: expected rows below {index.n}, found {int(dead[-1])}")
            died[dead] = np.minimum(died[dead], seqs)
        for cut in section_of(row).cuts:
            under = index.times <= np.uint64(cut.through)
            died[under] = np.minimum(died[under], np.uint64(cut.seq))
        return died

    def _manifest(self, row: RecordSectionRow, readable: Rows, place: str) -> Iterator[Finding]:
        decode_blocks(row.blocks)
        files = decode_files(row.files)
        needed = living_files(readable)
        lacking = sorted(needed.keys() - files.keys())
        if lacking:
            yield Finding(place, f"the catalog's row names payload files {sorted(files)}, it needs {lacking} too")
        for file in sorted(needed):
            known = self._snapshot.segment(file)
            if known is None or known.state != "live":
                yield Finding(place, f"the catalog has no live payload file {file:08x}")

    # Contents

    def _tail(self, entry_id: int) -> Iterator[Finding]:
        """Long contents of records that only the log has."""
        entry = self._snapshot.entry(entry_id)
        if entry is None or entry.dead or not self._unsealed.rows[entry_id]:
            return
        rows = np.concatenate(list(self._unsealed.rows[entry_id].values()))
        yield from self._verify(rows, entry, f"{self._name(entry)} in the log")

    def _verify(self, rows: Rows, entry: EntryRow, place: str) -> Iterator[Finding]:
        rows = rows[rows["size"] > 0]
        if not len(rows):
            return
        damaged = 0
        is_gone: Callable[[int], bool] | None = None
        for time_us, text in self._damaged(rows):
            if is_gone is None:
                is_gone = self._gone(entry)
            if is_gone(time_us):
                continue
            damaged += 1
            if damaged <= SHOWN:
                yield Finding(f"{self._name(entry)} {time_us}", text)
        if damaged > SHOWN:
            yield Finding(place, f"{damaged} damaged contents, of which {SHOWN} are told")

    def _gone(self, entry: EntryRow) -> Callable[[int], bool]:
        """Whether a record was removed, evicted or sealed elsewhere since the check began. Reads the log."""
        with closing(self._directory.catalog()) as catalog, catalog.snapshot() as now:
            row = now.entry(entry.id)
            state = now.record_states([entry.id]).get(entry.id)
        applied = state.applied_seq if state is not None else 0
        if row is None or row.dead != entry.dead or applied != self._applied.get(entry.id, 0):
            return lambda _: True  # what a seal wrote is checked by the next run
        known = len(self._unsealed.cuts.get(entry.id, ()))
        fresh = Unsealed(self._directory, self._applied).cuts.get(entry.id, [])[known:]
        return lambda time_us: any(time_us <= cut.through for cut in fresh)

    def _damaged(self, rows: Rows) -> Iterator[tuple[int, str]]:
        """(time, what is wrong) of each content that does not verify."""
        order = np.lexsort((rows["where"], rows["file"]))
        rows = rows[order]
        short = (rows["size"] <= checksum.CHUNK) & (rows["codec"] == RAW) & (rows["file"] > 0)
        for part in _portions(rows[short]):
            yield from self._many(part)
        for i in np.flatnonzero(~short).tolist():
            wrong = self._one(rows[i])
            if wrong:
                yield int(rows["time"][i]), wrong

    def _many(self, rows: Rows) -> Iterator[tuple[int, str]]:
        places = list(zip(rows["file"].tolist(), rows["where"].tolist(), rows["size"].tolist(), strict=True))
        try:
            contents: Sequence[Buffer | None] = self._contents.read_many(places)
        except (LaminaError, OSError):
            contents = [None] * len(rows)  # each for itself: one missing file must not hide the others
        for row, content in zip(rows, contents, strict=True):
            if content is None or crc32c(content) != int(row["crc"]):
                wrong = self._one(row)
                if wrong:
                    yield int(row["time"]), wrong

    def _one(self, row: np.void) -> str:
        file = int(row["file"])
        if not file:
            return f"{int(row['size'])} bytes without a payload file, though the record is sealed"
        fields = ("where", "size", "stored", "crc", "codec")
        where, size, stored, crc, codec = (int(row[field]) for field in fields)
        try:
            for _ in checksum.chunks(self._contents.read, file, where, size, stored, crc, codec):
                pass
        except UnknownFormat:
            raise
        except (Corrupt, NotFound, OSError) as error:
            return str(error)
        return ""


def _all_labels(index: IndexSection) -> None:
    for first in range(0, index.n, ROWS):
        index.label_sets(np.arange(first, min(first + ROWS, index.n)))
    for name in index.label_names:
        column = index.label(name)
        assert column is not None, "a name that is listed is in some row"


def _portions(rows: Rows) -> Iterator[Rows]:
    if not len(rows):
        return
    ends = np.cumsum(rows["size"])
    at = 0
    while at < len(rows):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(ends.searchsorted(np.uint64(before + BATCH_BYTES), side="right")))
        yield rows[at:stop]
        at = stop
