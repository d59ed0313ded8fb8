"""Rows of records for a catalog that was lost, from what index segments say of themselves (FORMAT.md, `sections.py`).

Every index segment tells of each entry in it how far the entry was applied, which sections it has from then on, and
the rows of those written or amended there. Of an entry the directory with the highest segment id is the newest; the
rows of the sections it names may stand in older ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import SECTION_NUMBERS, RecordSectionRow, RecordStateRow, SegmentRow
from lamina.engine.records.sections import Described, read_segment_directory
from lamina.engine.records.store import KIND, deaths_segment, payload_name
from lamina.records import ops
from lamina.records.manifest import decode_files
from lamina.storage.log import ReplayFrame
from lamina.storage.segment import SegmentReader, segment_name

ENTRIES_AT_ONCE = 4096
"""Entries whose rows go into one catalog transaction."""


class Missing(NamedTuple):
    """A part of an entry that is not there any more."""

    entry: int
    section: int  # id
    lost: str  # name of the segment or payload file; "": of the segment that described the section last

    def __str__(self) -> str:
        segment, number = divmod(self.section, SECTION_NUMBERS)
        what = f"entry {self.entry}: section {number} of segment {segment:08x}"
        return f"{what} needs {self.lost}, which is lost" if self.lost else f"{what} is in no readable segment"


class RecordsFound:
    """What index segments say, before it is written."""

    def __init__(self) -> None:
        self.newest: dict[int, tuple[int, int, tuple[int, ...]]] = {}  # entry -> (segment, applied seq, section ids)
        self.rows: dict[int, tuple[int, RecordSectionRow]] = {}  # section id -> (segment that says so, row)
        self.segments: dict[int, set[int]] = {0: set()}  # those that are there -> entries in them; 0: none is needed

    def add(self, segment: SegmentReader) -> None:
        """Take in an index segment. Raises Corrupt; what was readable before that counts."""
        self.segments[segment.id] = {section.object_id for section in segment.sections}
        for section in segment.sections:
            described = read_segment_directory(section.directory)
            self._describe(section.object_id, segment.id, described)

    def _describe(self, entry: int, segment: int, described: Described) -> None:
        before = self.newest.get(entry)
        if before is None or segment > before[0]:
            self.newest[entry] = segment, described.seq, tuple(described.living)
        for row in described.rows:
            known = self.rows.get(row.id)
            if known is None or segment > known[0]:
                self.rows[row.id] = segment, row

    def fill(
        self, catalog: Catalog, entries: Collection[int], payloads: Mapping[int, int], epoch: int
    ) -> tuple[int, set[int], list[Missing]]:
        """Write states and sections of these entries, and rows of the payload files (id -> bytes) they lie in.

        Comes back with the number of sections, the payload files they name, and what is missing. Entries that are not
        among `entries` were removed: their sections are left out."""
        with catalog.snapshot() as snapshot:
            pins = [pin.seq for pin in snapshot.pins()]
        known = sorted(entry for entry in self.newest if entry in entries)
        missing: list[Missing] = []
        files: set[int] = set()
        count = 0
        for first in range(0, len(known), ENTRIES_AT_ONCE):
            delta = CatalogDelta(epoch)
            fresh: set[int] = set()
            for entry in known[first : first + ENTRIES_AT_ONCE]:
                _, seq, living = self.newest[entry]
                delta.puts.append(RecordStateRow(entry, seq, epoch))
                for id in living:
                    if id not in self.rows:
                        missing.append(Missing(entry, id, ""))
                        continue
                    row = self.rows[id][1]
                    if row.dead and not any(row.min_seq <= pin < row.dead for pin in pins):
                        continue  # it was kept for a snapshot that was dropped since
                    named = decode_files(row.files)
                    needed = {row.segment, deaths_segment(row)} - self.segments.keys()
                    missing += [Missing(entry, id, segment_name(KIND, segment)) for segment in sorted(needed)]
                    missing += [Missing(entry, id, payload_name(file)) for file in named if file not in payloads]
                    fresh.update(file for file in named if file in payloads)
                    delta.puts.append(row._replace(epoch=epoch))
                    count += 1
            delta.puts += [_payload_row(file, payloads[file], epoch) for file in sorted(fresh - files)]
            files |= fresh
            catalog.commit(delta)
        return count, files, missing


def _payload_row(file: int, size: int, epoch: int) -> SegmentRow:
    return SegmentRow(file, "payload", payload_name(file), size, size, 0, 0, epoch, "live")


def files_in_log(frames: Iterator[ReplayFrame]) -> set[int]:
    """Payload files that APPEND ops of the log refer to. Raises Corrupt for ops that no Lamina writes."""
    found: set[int] = set()
    for frame in frames:
        chosen = frame.ops[(frame.ops["kind"] == ops.KIND) & (frame.ops["type"] == ops.APPEND)]
        for begin, length in zip(chosen["offset"].tolist(), chosen["length"].tolist(), strict=True):
            rows = ops.decode_append(frame.body[begin : begin + length - 16]).rows
            found.update(np.unique(rows["file"]).tolist())
    found.discard(0)
    return found
