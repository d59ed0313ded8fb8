"""The seam to immutable objects: written once under a name that is never used again, read in ranges.

Embedded: files under segments/ (`FileBlobs`). In a cluster: an object store; nothing here supposes a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from lamina.storage.files import Buffer


class BlobInfo(NamedTuple):
    name: str
    size: int


class BlobWriter(Protocol):
    def append(self, parts: Sequence[Buffer]) -> None:
        """Add bytes at the end."""
        ...

    def finish(self) -> None:
        """Durable under its name when this returns (law 2)."""
        ...

    def abort(self) -> None:
        """Leave nothing under the name. Also right after a failed append or finish."""
        ...


class Blobs(Protocol):
    def create(self, name: str) -> BlobWriter: ...

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length) range, as one parallel batch. Raises NotFound; Corrupt if the object
        ends inside a range."""
        ...

    def size(self, name: str) -> int:
        """Raises NotFound."""
        ...

    def delete(self, name: str) -> None:
        """Gone for later reads; an absent one is fine."""
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Every finished object whose name starts with the prefix, in name order."""
        ...
