"""Who calls, and what they may do; decided elsewhere (`lamina.access`), asked here."""

from __future__ import annotations

from typing import Protocol


class Principal(Protocol):
    """The holder of a token."""

    @property
    def full_access(self) -> bool:
        """May do everything, also what is not bound to a collection: obliterate, configure compaction."""
        ...

    def may_read_stream(self, collection: str) -> bool: ...

    def may_write_stream(self, collection: str) -> bool: ...


class Authenticator(Protocol):
    def authenticate(self, value: str | None) -> Principal | None:
        """The principal of an `authorization` header ("Bearer KEY", the scheme in any case; None: no such header).

        None or PermissionDenied: no valid key. Called once per call, so it must be quick for a key seen before.
        """
        ...


class Everyone:
    """Authenticator and principal of a server without authentication: every caller may do everything."""

    full_access = True

    def authenticate(self, value: str | None) -> Principal:
        return self

    def may_read_stream(self, collection: str) -> bool:
        return True

    def may_write_stream(self, collection: str) -> bool:
        return True
