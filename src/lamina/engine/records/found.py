"""What looking for one record gives."""

from __future__ import annotations

from typing import NamedTuple

from lamina.records.section import Section
from lamina.records.source import Source


class Pending(Exception):
    """The answer needs a read from disk, which the caller did not want to wait for."""


class Found(NamedTuple):
    section: Section | None  # None: in the tail
    at: int  # row in its source
    source: Source
