"""A directory in this process as version 4 has a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamina.btrdb.embedded import EmbeddedPoints
from lamina.btrdb4.backend import Conditions, DirectoryInfo, Proxy, Texts
from lamina.faces.btrdb.service import info, metadata, metadata_4
from lamina.faces.btrdb.service.metadata_4 import Description


class Embedded4(EmbeddedPoints):
    """See `backend.Backend4`."""

    release = info.VERSION_4

    def server_info(self) -> DirectoryInfo:
        return DirectoryInfo(*self.info()[:3], Proxy(()), None)

    def create(self, uuid: bytes, collection: str, tags: Texts, annotations: Texts) -> None:
        with self._call() as call:
            metadata_4.create(call, uuid, collection, tags, annotations)

    def stream_info(self, uuid: bytes, omit_version: bool, omit_description: bool) -> tuple[int, Description | None]:
        with self._call() as call:
            version, row = metadata.stream_info(call, uuid, omit_version, omit_description)
            return version, None if row is None else metadata_4.described(row)

    def set_annotations(self, uuid: bytes, expected: int, changes: Conditions) -> None:
        with self._call() as call:
            metadata_4.set_stream_annotations(call, uuid, changes, expected)

    def lookup(
        self, collection: str, prefix: bool, tags: Conditions, annotations: Conditions
    ) -> Iterator[Sequence[Description]]:
        with self._call() as call:
            for row in metadata_4.lookup_streams(call, collection, prefix, tags, annotations):
                yield (metadata_4.described(row),)

    def collections(self, prefix: str, start_with: str, limit: int) -> Sequence[str]:
        with self._call() as call:
            return metadata_4.list_collections(call, prefix, start_with, limit)

    def usage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        with self._call() as call:
            return metadata_4.metadata_usage(call, prefix)
