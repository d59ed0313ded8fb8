"""What these classes need of a place with data: points as `lamina.btrdb.backend` has them, metadata of version 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from lamina.btrdb.backend import Points
from lamina.faces.btrdb.service.metadata_4 import Description

Texts = Mapping[str, bytes]
Conditions = Mapping[str, bytes | None]
"""None: the key must be there (in look-ups), or is to go (in changes)."""


class Proxy(NamedTuple):
    """Addresses that lead to the database."""

    proxyEndpoints: Sequence[str]  # noqa: N815  # the names of the message InfoResponse


class DirectoryInfo(NamedTuple):
    """What a directory says it is, in the form of a server's InfoResponse."""

    majorVersion: int  # noqa: N815
    minorVersion: int  # noqa: N815
    build: str
    proxy: Proxy
    mash: None


class Backend4(Points, Protocol):
    """A database as version 4 has it. Values of tags and annotations are bytes."""

    def server_info(self) -> Any:
        """majorVersion, minorVersion, build, proxy.proxyEndpoints, mash."""
        ...

    def create(self, uuid: bytes, collection: str, tags: Texts, annotations: Texts) -> None:
        """A new, empty stream."""
        ...

    def stream_info(self, uuid: bytes, omit_version: bool, omit_description: bool) -> tuple[int, Description | None]:
        """Version (0 if omitted) and description (None if omitted)."""
        ...

    def set_annotations(self, uuid: bytes, expected: int, changes: Conditions) -> None:
        """Change annotations. `expected` 0: any version."""
        ...

    def lookup(
        self, collection: str, prefix: bool, tags: Conditions, annotations: Conditions
    ) -> Iterator[Sequence[Description]]:
        """Streams that meet all conditions, by collection and name."""
        ...

    def collections(self, prefix: str, start_with: str, limit: int) -> Sequence[str]:
        """At most `limit` collections with the prefix, from `start_with` on, sorted."""
        ...

    def usage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """Streams per tag, and per annotation."""
        ...
