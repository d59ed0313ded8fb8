"""Who is calling: the identity a token proved, with what it may do."""

from __future__ import annotations

from typing import NamedTuple

from lamina.access.permissions import Permissions, covers_collection


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


ANONYMOUS_FULL = Principal("AUTHENTICATION-DISABLED", Permissions(full_access=True))
"""Everybody, on a server without authentication (the name is what ReductStore's /me answers there)."""
