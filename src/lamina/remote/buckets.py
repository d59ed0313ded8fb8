"""All buckets of a database on a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lamina.engine.records.settings import BucketSettings
from lamina.errors import PermissionDenied
from lamina.remote.bucket import Bucket

if TYPE_CHECKING:
    from lamina.remote.database import Database


class Buckets:
    """`db.buckets` of a server, as that of a directory. Listings show what the token may read; changes of buckets need
    full access."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._link = db._link

    def __repr__(self) -> str:
        return f"<lamina.remote.Buckets of {self._link.url}>"

    @property
    def defaults(self) -> BucketSettings:
        """The settings of new buckets where nothing else is said; the server's configuration sets them."""
        found: BucketSettings = self._link.call("buckets/defaults")
        return found

    def create(
        self, name: str, settings: Mapping[str, Any] | None = None, *, exist_ok: bool = False, **members: Any
    ) -> Bucket:
        """A new, empty bucket; durable when this returns. With `exist_ok` one that exists is returned as it is.

        Settings, as a mapping or by keyword: quota_type, quota_size, max_block_size, max_block_records. Raises
        AlreadyExists, InvalidArgument, Unavailable, NoSpace."""
        given = None if settings is None else dict(settings)
        found = self._link.call("buckets/create", name=name, settings=given, exist_ok=bool(exist_ok), members=members)
        return Bucket(self._db, *found)

    def get(self, name: str) -> Bucket:
        """Raises NotFound."""
        return Bucket(self._db, *self._link.call("buckets/get", name=name))

    __getitem__ = get

    def find(self, name: str) -> Bucket | None:
        """The bucket of a name, None if there is none."""
        found = self._link.call("buckets/find", name=name)
        return None if found is None else Bucket(self._db, *found)

    def __contains__(self, name: str) -> bool:
        try:
            return self.find(name) is not None
        except PermissionDenied:
            return False

    def list(self) -> list[Bucket]:
        """All buckets by name (bytes)."""
        return [Bucket(self._db, *found) for found in self._link.call("buckets/list")]

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self.list())

    def update(self, bucket: Bucket, settings: Mapping[str, Any]) -> None:
        """Change settings of a bucket. Raises Conflict (provisioned), NotFound, InvalidArgument."""
        self._link.call("buckets/update", bucket=bucket._place, settings=dict(settings))

    def rename(self, old: str, new: str) -> None:
        """Give a bucket another name. Raises InvalidArgument (name), AlreadyExists, NotFound, Conflict."""
        self._link.call("buckets/rename", old=old, new=new)

    def remove(self, name: str) -> None:
        """Remove a bucket with all it holds; gone when this returns. Raises NotFound, Conflict (provisioned)."""
        self._link.call("buckets/remove", name=name)
