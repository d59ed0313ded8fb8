"""What the log holds of points past which it was written, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.catalog.rows import PointSectionRow
from lamina.engine.points.replay import decode_section
from lamina.errors import Corrupt
from lamina.ops.directory import Directory
from lamina.ops.recordlog import ops_of_kind
from lamina.points import ops


def bulk_sections(directory: Directory) -> Iterator[PointSectionRow]:
    """Sections that SECTION ops commit, as far as frames and bodies verify."""
    for op in ops_of_kind(directory, ops.KIND):
        if op.type == ops.SECTION:
            try:
                yield decode_section(bytes(op.body), op.seq)
            except Corrupt:
                continue  # recovery reports it
