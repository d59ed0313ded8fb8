"""What the face needs of replications and of lifecycle policies: named, managed objects (contract 14 and 15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Jobs(Protocol):
    """The replications, or the lifecycle policies, of a database. Every method may block.

    Names and members are checked here, contract messages included: NotFound (no such job, or its bucket is missing),
    AlreadyExists, InvalidArgument (a setting), Conflict (provisioned). `settings` is the request's JSON object; members
    that are unknown are ignored, missing ones mean the default.
    """

    def list(self) -> Sequence[Mapping[str, Any]]:
        """`info` of every job, by name, in the members of the contract."""
        ...

    def get(self, name: str) -> Mapping[str, Any]:
        """`info`, `settings` and, for replications, `diagnostics`; secrets are null."""
        ...

    def create(self, name: str, settings: Mapping[str, Any]) -> None: ...

    def update(self, name: str, settings: Mapping[str, Any]) -> None:
        """Replace all settings."""
        ...

    def set_mode(self, name: str, mode: str) -> None:
        """Also of a provisioned one."""
        ...

    def remove(self, name: str) -> None: ...
