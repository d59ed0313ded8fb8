"""Where the data is: what the classes of BTrDB need of a database, in columns and plain values.

Two things are one: `embedded`, an open directory in this process, and `remote`, a server. Methods and the meaning of
their arguments are those of the contract's calls. Reads are lazy: arguments are checked, and what they fail with is
raised, when the first part is asked for. Each part comes with the version read, the same for all; there is always one,
which may be empty. uuids are 16 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from lamina.columns import Ranges, Samples, Summaries, Times, Values
from lamina.faces.btrdb.service.csv import Query
from lamina.faces.btrdb.service.metadata import Description

Texts = Mapping[str, str]
Conditions = Mapping[str, str | None]
"""None: the key must be there (in look-ups), or is to go (in changes)."""

INSERT_BATCH_SIZE = 50_000
"""Points of one insert in the database: longer ones are several, each with a version of its own."""


class Info(NamedTuple):
    """What a database says it is: the release of BTrDB, and where its proxies are."""

    major: int
    minor: int
    build: str
    proxies: Sequence[str]


class Errors(Protocol):
    """How a generation of BTrDB's classes names what goes wrong."""

    def refused(self, code: int, text: str) -> Exception:
        """For a status code of the contract."""
        ...

    def unreachable(self, status: str, text: str) -> Exception:
        """For a gRPC status, or what comes to the same without gRPC."""
        ...


class Points(Protocol):
    """Reading and writing points: what both generations have."""

    parallel: int
    """Calls worth making at the same time."""

    def raw_values(self, uuid: bytes, start: int, end: int, version: int) -> Iterator[tuple[int, Samples]]:
        """Points with start <= time < end, ascending."""
        ...

    def aligned_windows(
        self, uuid: bytes, start: int, end: int, pointwidth: int, version: int
    ) -> Iterator[tuple[int, Summaries]]:
        """Windows of 2**pointwidth ns that hold points."""
        ...

    def windows(
        self, uuid: bytes, start: int, end: int, width: int, depth: int, version: int
    ) -> Iterator[tuple[int, Summaries]]:
        """All windows of `width` ns from start on that end by `end`."""
        ...

    def nearest(self, uuid: bytes, time: int, version: int, backward: bool) -> tuple[int, float, int]:
        """Time, value, version."""
        ...

    def changes(self, uuid: bytes, from_version: int, to_version: int, resolution: int) -> Iterator[tuple[int, Ranges]]:
        """Ranges that differ between the versions, from exclusive, to inclusive."""
        ...

    def insert(self, uuid: bytes, parts: Iterable[tuple[Times, Values]], policy: str) -> int:
        """An insert for each part, one after the other; the version of the last (0 without parts). A part may be asked
        for while the one before is on its way; that one is waited for also if this raises."""
        ...

    def delete(self, uuid: bytes, start: int, end: int) -> int:
        """Remove [start, end); the new version."""
        ...

    def flush(self, uuid: bytes) -> None:
        """Put what is buffered into segments."""
        ...

    def obliterate(self, uuid: bytes) -> None:
        """Remove the stream for good."""
        ...

    def csv(self, query: Query) -> Iterator[Sequence[str]]:
        """The header, then rows."""
        ...

    def fault_inject(self, kind: int, params: bytes) -> bytes:
        """What the server answers; Lamina refuses."""
        ...

    def info(self) -> Info:
        """What the database says it is."""
        ...

    def close(self) -> None:
        """Every later call fails. Idempotent."""
        ...


class Backend(Points, Protocol):
    """A database as version 5 has it."""

    def multi_values(
        self, uuids: Sequence[bytes], versions: Sequence[int], start: int, end: int, period: int
    ) -> Iterator[tuple[Times, Values]]:
        """Rows of the join: times, and values of shape (streams, n), NaN where a stream has none. May be nothing."""
        ...

    def create(self, uuid: bytes, collection: str, tags: Texts, annotations: Texts) -> None:
        """A new, empty stream."""
        ...

    def stream_info(self, uuid: bytes, omit_version: bool, omit_description: bool) -> tuple[int, Description | None]:
        """Version (0 if omitted) and description (None if omitted)."""
        ...

    def set_tags(self, uuid: bytes, expected: int, changes: Conditions, collection: str) -> None:
        """Change tags, and move to a collection ("": stay). `expected` 0: any property version."""
        ...

    def set_annotations(self, uuid: bytes, expected: int, changes: Conditions, remove: Sequence[str]) -> None:
        """Change annotations and delete those in `remove`. `expected` 0: any property version."""
        ...

    def lookup(
        self, collection: str, prefix: bool, tags: Conditions, annotations: Conditions
    ) -> Iterator[Sequence[Description]]:
        """Streams that meet all conditions, by collection and name."""
        ...

    def collections(self, prefix: str) -> Iterator[Sequence[str]]:
        """Collections with the prefix, sorted."""
        ...

    def usage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """Streams per tag, and per annotation."""
        ...

    def sql(self, statement: str, params: Sequence[str]) -> Iterator[Sequence[bytes]]:
        """A JSON object per row."""
        ...

    def subscribe(self, updates: Iterator[tuple[Sequence[UUID], Sequence[UUID]]]) -> Iterator[tuple[UUID, Samples]]:
        """Later inserts into the streams that `updates` adds and does not remove; ends when `updates` does."""
        ...
