"""What a replication needs of the way to another server. The face that speaks its protocol implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from lamina.records.labels import LabelSet
from lamina.storage.files import Buffer

Compression = Literal["none", "gzip", "zstd"]

CONNECTION_ERROR, TIMEOUT = -2, -3
"""Codes of failures that have no status: ReductStore's own numbers."""


class Destination(NamedTuple):
    """Where records go."""

    host: str  # URL with http or https; its path is put before the API's
    bucket: str
    token: str  # "": none
    compression: Compression


class Outgoing(NamedTuple):
    """A record on its way out. `content` gives its bytes in pieces, read as they are asked for."""

    time_us: int
    size: int
    content_type: str
    labels: LabelSet
    content: Callable[[], Iterator[Buffer]]


class Failure(NamedTuple):
    """Why one record was not taken."""

    status: int
    message: str


class Unreachable(Exception):
    """Nothing was decided about what was sent: keep it and try again later. Never shows a token."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Sender(Protocol):
    """A connection to one destination. Used by one thread at a time; every method blocks and raises Unreachable (no
    connection; answers 429, 502, 503, 504, also for a single record)."""

    def prepare(self) -> None:
        """See that the destination's bucket is there; it is made if it is missing."""
        ...

    def reach(self) -> None:
        """Only see whether the destination answers."""
        ...

    def write(self, entry: str, records: Sequence[Outgoing]) -> Mapping[int, Failure]:
        """Write records of one entry, ascending in time. By time: those that were not taken."""
        ...

    def update(self, entry: str, updates: Sequence[tuple[int, Mapping[str, str]]]) -> Mapping[int, Failure]:
        """Set labels, given as (time, {label: value, "" removes it}). By time: what failed."""
        ...

    def close(self) -> None:
        """Idempotent; also from another thread, which ends a call under way."""
        ...


SenderFactory = Callable[[Destination], Sender]
