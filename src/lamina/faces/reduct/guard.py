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

    def try_identify(self, scope: Scope, headers: Sequence[Header]) -> Principal | None:
        """Whose token the request carries; None: that takes `identify`. Raises Unauthenticated."""
        return self._tokens.try_identify(_shown(headers), client_ip(scope))

    async def identify(self, scope: Scope, headers: Sequence[Header]) -> Principal:
        """Whose token the request carries. Raises Unauthenticated."""
        principal = self.try_identify(scope, headers)
        if principal is None:  # scrypt takes 50 ms: not on the loop
            principal = await self._threads.run(self._tokens.identify, _shown(headers), client_ip(scope))
        return principal


def _shown(headers: Sequence[Header]) -> str | None:
    """The Authorization header; the first counts."""
    for name, value in headers:
        if name == b"authorization":
            return value.decode("latin-1")
    return None


def check(principal: Principal, right: Right, values: tuple[str, ...]) -> None:
    """Whether the caller has the right that a route demands; `values` are those of its path, the bucket first.

    Raises PermissionDenied."""
    if right == "read" or (right == "query" and not principal.may_write_bucket(values[0])):
        principal.require_read_bucket(values[0])
    elif right == "write":
        principal.require_write_bucket(values[0])
    elif right == "full":
        principal.require_full_access()
