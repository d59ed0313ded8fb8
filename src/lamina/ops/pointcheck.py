"""Verification of points: every block of every section that anybody may still read.

Works on a directory in use. What fails is looked at again in the newest state of the catalog: a section that was
rewritten since the check began is no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import SECTION_NUMBERS, PointSectionRow
from lamina.engine.points.store import KIND
from lamina.errors import LaminaError, UnknownFormat
from lamina.ops.directory import Directory
from lamina.ops.finding import Finding
from lamina.points.section import section_of
from lamina.points.sectionread import OpenSection, SectionReader
from lamina.points.tail import FOREVER
from lamina.storage.blocks import BlockReader
from lamina.storage.segment import segment_name
from lamina.streams.node import ROW

Progress = Callable[[int, int], None]
"""(sections done, sections in all)"""


class PointCheck:
    """One pass over the points of a directory."""

    def __init__(self, directory: Directory, snapshot: CatalogSnapshot) -> None:
        self._directory = directory
        self._snapshot = snapshot
        self._names = {row.id: row.name for row in snapshot.measurements()}
        self._applied = {row.measurement: row.applied_seq for row in snapshot.rows("point_state")}
        self._read = BlockReader(directory.blobs, lambda id: segment_name(KIND, id), ROW, 0)

    def findings(self, progress: Progress | None = None) -> Iterator[Finding]:
        """Everything that is wrong. Raises UnknownFormat."""
        rows = list(self._snapshot.rows("point_section"))
        for done, row in enumerate(rows, 1):
            found = list(self._section(row)) if row.measurement in self._names else []
            if found and self._still(row):
                yield from found
            if progress is not None:
                progress(done, len(rows))

    def _still(self, row: PointSectionRow) -> bool:
        """Whether the section is in the catalog now as it was when it was checked."""
        with closing(self._directory.catalog()) as catalog, catalog.snapshot() as now:
            return row in now.point_sections(row.measurement)

    def _section(self, row: PointSectionRow) -> Iterator[Finding]:
        name = self._names[row.measurement]
        where = f"{segment_name(KIND, row.segment)} section {row.id % SECTION_NUMBERS}"
        place = f"measurement {name!r} [{row.t_min}, {row.t_max}] in {where}"
        known = self._snapshot.segment(row.segment)
        if known is None or known.state != "live":
            yield Finding(place, f"the catalog has no live segment {row.segment:08x}")
        applied = self._applied.get(row.measurement, 0)
        if row.max_seq > applied:
            yield Finding(
                place, f"holds seq {row.max_seq}, the measurement's state says {applied} is the last one applied"
            )
        try:
            yield from self._content(row, place)
        except UnknownFormat:
            raise
        except (LaminaError, OSError) as error:
            yield Finding(place, str(error))

    def _content(self, row: PointSectionRow, place: str) -> Iterator[Finding]:
        reader = SectionReader(row, self._read.blocks)
        opened = OpenSection(section_of(row), reader)
        ordinals, time_us = reader.ordinals, reader.times
        for key in reader.fields:
            reader.field(key)
        reader.frame()
        said = (row.points, row.t_min, row.t_max, row.ordinal_min, row.ordinal_max)
        has = (
            len(time_us), int(time_us.min()), int(time_us.max()), int(ordinals.min()), int(ordinals.max()),
        )  # fmt: skip
        if said != has:
            yield Finding(place, f"the catalog says points, times and ordinals {said}, the segment {has}")
        opened.born  # noqa: B018 -- verified by reading
        died = 0 if opened.died is None else int(np.count_nonzero(opened.died != np.uint64(FOREVER)))
        if died != row.died:
            yield Finding(place, f"the catalog says {row.died} points died, the segment {died}")
