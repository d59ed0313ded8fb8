"""Rows of points for a catalog that was lost, from what segments say of themselves (`sections.py`).

Every segment tells of each measurement in it how far it was applied, which sections it has from then on, and the rows
of those written or amended there. Of a measurement the directory with the highest segment id is the newest; the rows of
the sections it names may stand in older ones. Segments of bulk inserts say nothing: their SECTION op does, or whatever
was sealed after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from lamina.catalog.catalog import Catalog, CatalogDelta
from lamina.catalog.rows import SECTION_NUMBERS, PointSectionRow, PointStateRow
from lamina.engine.points.ordinals import RESERVED
from lamina.engine.points.replay import decode_section
from lamina.engine.points.sections import Described, newest_segment, read_description
from lamina.engine.points.store import KIND
from lamina.points import ops
from lamina.storage.log import ReplayFrame
from lamina.storage.segment import SegmentReader, segment_name

MEASUREMENTS_AT_ONCE = 4096
"""Measurements whose rows go into one catalog transaction."""


class MissingPoints(NamedTuple):
    """A part of a measurement that is not there any more."""

    measurement: int
    section: int  # id
    lost: str  # name of the segment; "": of the one that described the section last

    def __str__(self) -> str:
        segment, number = divmod(self.section, SECTION_NUMBERS)
        what = f"measurement {self.measurement}: section {number} of segment {segment:08x}"
        return f"{what} needs {self.lost}, which is lost" if self.lost else f"{what} is in no readable segment"


class LoggedPoints(NamedTuple):
    """What the log says of points."""

    ordinal: int  # the highest in it
    segments: set[int]  # of bulk inserts


class PointsFound:
    """What segments say, before it is written."""

    def __init__(self) -> None:
        self.newest: dict[int, tuple[int, int, tuple[int, ...]]] = {}  # measurement -> (segment, applied, section ids)
        self.rows: dict[int, tuple[int, PointSectionRow]] = {}  # section id -> (segment that says so, row)
        self.segments: dict[int, set[int]] = {0: set()}  # those that are there -> measurements in them; 0: none needed
        self.bulk: set[int] = set()

    def add(self, segment: SegmentReader) -> None:
        """Take in a segment of points. Raises Corrupt; what was readable before that counts."""
        self.segments[segment.id] = {section.object_id for section in segment.sections}
        for section in segment.sections:
            described = read_description(section.directory)
            if described is None:
                self.bulk.add(segment.id)
            else:
                self._describe(section.object_id, segment.id, described)

    def _describe(self, measurement: int, segment: int, described: Described) -> None:
        before = self.newest.get(measurement)
        if before is None or segment > before[0]:
            self.newest[measurement] = segment, described.seq, tuple(described.living)
        for row in described.rows:
            known = self.rows.get(row.id)
            if known is None or segment > known[0]:
                self.rows[row.id] = segment, row

    def strange(self, measurements: Collection[int], logged: LoggedPoints) -> set[int]:
        """Segments of measurements that nobody knows, and of bulk inserts that neither the log nor a later segment
        tells of."""
        told = {row.segment for _, row in self.rows.values()} | logged.segments
        return {
            id
            for id, held in self.segments.items()
            if id and (not held & set(measurements) or (id in self.bulk and id not in told))
        }

    def fill(
        self, catalog: Catalog, measurements: Collection[int], logged: LoggedPoints, epoch: int
    ) -> tuple[int, list[MissingPoints]]:
        """Write states and sections of these measurements, and the sequence of ordinals; how many sections, and what is
        missing."""
        known = sorted(id for id in self.newest if id in measurements)
        missing: list[MissingPoints] = []
        count = 0
        highest = logged.ordinal
        for first in range(0, len(known), MEASUREMENTS_AT_ONCE):
            delta = CatalogDelta(epoch)
            for id in known[first : first + MEASUREMENTS_AT_ONCE]:
                _, seq, living = self.newest[id]
                delta.puts.append(PointStateRow(id, seq, epoch))
                for section in living:
                    if section not in self.rows:
                        missing.append(MissingPoints(id, section, ""))
                        continue
                    row = self.rows[section][1]
                    needed = {row.segment, newest_segment(row)} - self.segments.keys()
                    missing += [MissingPoints(id, section, segment_name(KIND, lost)) for lost in sorted(needed)]
                    highest = max(highest, row.ordinal_max)
                    delta.puts.append(row._replace(epoch=epoch))
                    count += 1
            catalog.commit(delta)
        if highest:
            catalog.reserve("ordinal", (highest // RESERVED + 1) * RESERVED)
        return count, missing


def points_in_log(frames: Iterator[ReplayFrame]) -> LoggedPoints:
    """Raises Corrupt for ops that no Lamina writes."""
    highest = 0
    segments: set[int] = set()
    for frame in frames:
        for op in frame.ops[frame.ops["kind"] == ops.KIND]:
            begin = int(op["offset"])
            body = frame.body[begin : begin + int(op["length"]) - 16]
            if op["type"] == ops.INSERT:
                ordinals = ops.decode_insert(body)[1]
                highest = max(highest, int(ordinals.max()) if len(ordinals) else 0)
            elif op["type"] == ops.SECTION:
                row = decode_section(bytes(body), 0)
                highest = max(highest, row.ordinal_max)
                segments.add(row.segment)
    return LoggedPoints(highest, segments)
