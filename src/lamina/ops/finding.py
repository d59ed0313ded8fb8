"""What verification finds."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Something that is not as it should be."""

    place: str  # file, table row, stream, or bucket/entry with the time of a record
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"
