"""Who is calling: the identity a token proved, with what it may do."""

from __future__ import annotations

from typing import NamedTuple

from lamina.access.permissions import Permissions, covers_bucket, covers_collection, covers_measurement
from lamina.errors import PermissionDenied


class Principal(NamedTuple):
    """The owner of a token. Holds no secret."""

    name: str
    permissions: Permissions

    @property
    def full_access(self) -> bool:
        return self.permissions.full_access

    def may_read_stream(self, collection: str) -> bool:
        """Read the data and metadata of the collection's streams, and see them in listings and SQL."""
        return self.full_access or covers_collection(self.permissions.read, collection)

    def may_write_stream(self, collection: str) -> bool:
        """Create, insert, delete, flush, set tags and annotations; not obliterate, which needs full access."""
        return self.full_access or covers_collection(self.permissions.write, collection)

    def may_read_points(self, measurement: str) -> bool:
        """Read the points of a measurement, and see its name in listings."""
        return self.full_access or covers_measurement(self.permissions.read, measurement)

    def may_write_points(self, measurement: str) -> bool:
        """Insert, update and remove points. Does not include reading."""
        return self.full_access or covers_measurement(self.permissions.write, measurement)

    def may_read_bucket(self, bucket: str) -> bool:
        """See the bucket in listings, read its settings, entries and records, make links to them."""
        return self.permissions.full_access or covers_bucket(self.permissions.read, bucket)

    def may_write_bucket(self, bucket: str) -> bool:
        """Write, update and remove records, remove and rename entries. Does not include reading."""
        return self.permissions.full_access or covers_bucket(self.permissions.write, bucket)

    def require_full_access(self) -> None:
        """Raises PermissionDenied (message: contract reductstore 1.4, here and below)."""
        if not self.permissions.full_access:
            raise PermissionDenied(f"Token '{self.name}' doesn't have full access")

    def require_read_bucket(self, bucket: str) -> None:
        """Raises PermissionDenied, whether there is such a bucket or not."""
        if not self.may_read_bucket(bucket):
            raise PermissionDenied(f"Token '{self.name}' doesn't have read access to bucket '{bucket}'")

    def require_write_bucket(self, bucket: str) -> None:
        """Raises PermissionDenied, whether there is such a bucket or not."""
        if not self.may_write_bucket(bucket):
            raise PermissionDenied(f"Token '{self.name}' doesn't have write access to bucket '{bucket}'")


ANONYMOUS_FULL = Principal("AUTHENTICATION-DISABLED", Permissions(full_access=True))
"""Everybody, on a server without authentication (the name is what ReductStore's /me answers there)."""
