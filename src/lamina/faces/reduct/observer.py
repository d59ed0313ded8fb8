"""Who wants to know of every call: audit and usage records are made from this (contract 16)."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called on the event loop, for every request; must neither block nor raise."""

    def call(
        self,
        token_name: str,
        method: str,
        path: str,
        client_ip: str | None,
        status: int,
        message: str,
        duration_us: int,
    ) -> None:
        """A request was answered. `token_name`: "unauthorized" where no token was shown, or none that is valid; of a
        link its issuer's. `status`: 0 where the client went away first. `message`: of an error, else empty."""
        ...

    def wrote(self, bucket: str, entry: str, records: int, content_bytes: int) -> None:
        """Records became durable in an entry."""
        ...

    def read(self, bucket: str, entry: str, records: int, content_bytes: int) -> None:
        """Records of an entry were sent; no bytes for HEAD."""
        ...
