"""What a stream is besides its points: uuid, collection, tags, annotations, versions."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.btrdb.exceptions import BTRDBTypeError, BTRDBValueError, InvalidCollection, StreamNotFoundError, retry
from lamina.btrdb.utils.conversion import AnnotationDecoder, AnnotationEncoder

if TYPE_CHECKING:
    from lamina.btrdb.conn import BTrDB

_METADATA = ("known_to_exist", "collection", "tags", "annotations", "property_version")


class Described:
    """A stream's metadata, as last seen until `refresh_metadata`."""

    def __init__(self, btrdb: BTrDB, uuid: UUID, **db_values: Any) -> None:
        """`db_values`: what is known already of known_to_exist, collection, tags, annotations, property_version."""
        unknown = [name for name in db_values if name not in _METADATA]
        if unknown:
            raise BTRDBTypeError(f"got unexpected db_values argument(s) '{', '.join(unknown)}'")
        self._btrdb = btrdb
        self._uuid = uuid
        self._known_to_exist: bool | None = db_values.get("known_to_exist")
        self._collection: str | None = db_values.get("collection")
        self._tags: dict[str, str] | None = db_values.get("tags")
        self._annotations: dict[str, Any] | None = db_values.get("annotations")
        self._property_version: int | None = db_values.get("property_version")

    @property
    def btrdb(self) -> BTrDB:
        """The connection."""
        return self._btrdb

    @property
    def uuid(self) -> UUID:
        """Its identity; given once and never again."""
        return self._uuid

    @property
    def name(self) -> str:
        """The tag `name`."""
        return self._described()["name"]

    @property
    def unit(self) -> str:
        """The tag `unit`."""
        return self._described()["unit"]

    @property
    def collection(self) -> str:
        """Its collection, as last seen."""
        if self._collection is None:
            self.refresh_metadata()
        return self._collection or ""

    def _described(self) -> dict[str, str]:
        if self._tags is None:
            self.refresh_metadata()
        return self._tags or {}

    def refresh_metadata(self) -> None:
        """Fetch collection, tags, annotations and property version anew. Raises StreamNotFoundError."""
        collection, version, tags, annotations, _ = self._btrdb.ep.streamInfo(self._uuid, False, True)
        self._collection, self._property_version, self._tags = collection, version, tags
        self._annotations = {key: json.loads(text, cls=AnnotationDecoder) for key, text in annotations.items()}
        self._known_to_exist = True

    def exists(self) -> bool:
        """Whether the database has it; asked once."""
        if not self._known_to_exist:
            try:
                self.refresh_metadata()
            except StreamNotFoundError:
                return False
        return True

    @retry
    def tags(
        self,
        refresh: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> dict[str, str]:
        """All tags, a copy; as last seen unless `refresh`."""
        if refresh or self._tags is None:
            self.refresh_metadata()
        return dict(self._tags or {})

    @retry
    def annotations(
        self,
        refresh: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[dict[str, Any], int]:
        """All annotations, a copy, and the property version; as last seen unless `refresh`."""
        if refresh or self._annotations is None:
            self.refresh_metadata()
        return deepcopy(self._annotations or {}), self._property_version or 0

    @retry
    def version(self, auto_retry: bool = False, retries: int = 5, retry_delay: int = 3, retry_backoff: int = 4) -> int:
        """The latest version: 10 when created, one more per insert and delete. Asked each time."""
        return self._btrdb.ep.streamInfo(self._uuid, True, False)[4]

    @retry
    def update(
        self,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        collection: str | None = None,
        encoder: type[json.JSONEncoder] | None = AnnotationEncoder,
        replace: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> int:
        """Set tags, annotations and collection; the new property version.

        What is not named stays; with `replace` other annotations go. `encoder` makes text of annotations, None: they
        are text. Raises BTRDBServerError (423) if somebody else changed the metadata since they were seen,
        AmbiguousStream.
        """
        if tags is None and annotations is None and collection is None:
            raise BTRDBValueError("you must supply a tags, annotations, or collection argument")
        if tags is not None and not isinstance(tags, dict):
            raise BTRDBTypeError(f"tags must be of type dict, are {type(tags).__name__}")
        if annotations is not None and not isinstance(annotations, dict):
            raise BTRDBTypeError(f"annotations must be of type dict, are {type(annotations).__name__}")
        if collection is not None and not isinstance(collection, str):
            raise InvalidCollection(f"collection must be of type string, is {type(collection).__name__}")
        ep = self._btrdb.ep
        if tags is not None or collection is not None:
            home = self.collection if collection is None else collection
            ep.setStreamTags(self._uuid, self._property_version, tags or {}, home)
            self.refresh_metadata()
        if annotations is not None:
            if replace and self._annotations is None:
                self.refresh_metadata()
            texts = annotations if encoder is None else {k: json.dumps(v, cls=encoder) for k, v in annotations.items()}
            gone = [key for key in self._annotations or {} if key not in annotations] if replace else []
            ep.setStreamAnnotations(self._uuid, self._property_version, texts, gone)
            self.refresh_metadata()
        return self._property_version or 0

    @retry
    def obliterate(
        self, auto_retry: bool = False, retries: int = 5, retry_delay: int = 3, retry_backoff: int = 4
    ) -> None:
        """Remove the stream with all versions, at once and for good; its uuid is never given again."""
        self._btrdb.ep.obliterate(self._uuid)
