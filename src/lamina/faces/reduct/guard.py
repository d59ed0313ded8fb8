"""Who calls, and whether the token allows it (contract 1.4, 13). Checked before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.access import Permissions, Principal, Tokens
from lamina.faces.reduct.headers import Header
from lamina.faces.reduct.threads import Threads

if TYPE_CHECKING:
    from lamina.faces.reduct.config import Scope
    from lamina.faces.reduct.routes import Right


def client_ip(scope: Scope) -> str | None:
    """The address a request came from, as the server found it (contract 1.8); None where there is none."""
    client = scope.get("client")
    return client[0] if client else None


NOBODY = Principal("unauthorized", Permissions())
"""Whoever has not shown a token, where tokens are asked for (the name is what audit records have, contract 16)."""


class Guard:
    """Of a server with authentication."""

    def __init__(self, tokens: Tokens, threads: Threads) -> None:
        self._tokens = tokens
        self._threads = threads

    async def identify(self, scope: Scope, headers: Sequence[Header]) -> Principal:
        """Whose token the request carries. Raises Unauthenticated."""
        value = None
        for name, found in headers:
            if name == b"authorization":
                value = found.decode("latin-1")
                break
        ip = client_ip(scope)
        principal = self._tokens.try_identify(value, ip)
        if principal is None:  # scrypt takes 50 ms: not on the loop
            principal = await self._threads.run(self._tokens.identify, value, ip)
        return principal


def check(principal: Principal, right: Right, values: tuple[str, ...]) -> None:
    """Whether the caller has the right that a route demands; `values` are those of its path, the bucket first.

    Raises PermissionDenied."""
    if right == "read" or (right == "query" and not principal.may_write_bucket(values[0])):
        principal.require_read_bucket(values[0])
    elif right == "write":
        principal.require_write_bucket(values[0])
    elif right == "full":
        principal.require_full_access()
