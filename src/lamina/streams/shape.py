"""What a tree is cut into. A module of its own, so that opening a database does not load the code that writes trees."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Sizes of leaves, nodes and deltas; the reasons are in streams.md sections 1 and 7."""

    leaf_points: int = 2048
    node_rows: int = 64
    delta_points: int = 512

    @property
    def most_points(self) -> int:
        """A leaf is split only above: a steady rate sits exactly at a power of two, where a few late points would
        otherwise split nearly every leaf."""
        return self.leaf_points + self.leaf_points // 4
