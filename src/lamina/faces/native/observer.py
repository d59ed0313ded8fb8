"""Who wants to know of every call, as in `lamina.faces.reduct.observer`: audit and usage records are made from this."""

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
    ) -> None: ...

    def wrote(self, bucket: str, entry: str, records: int, content_bytes: int) -> None: ...

    def read(self, bucket: str, entry: str, records: int, content_bytes: int) -> None: ...
