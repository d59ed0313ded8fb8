"""What the headers of a batch say of one record."""

from __future__ import annotations

from typing import NamedTuple


class Head(NamedTuple):
    entry: str
    time_us: int
    size: int
    content_type: str
    labels: dict[str, str]
