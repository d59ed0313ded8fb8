"""The only source of randomness: everything else takes a `Random`, so that a simulation can replay a run."""

import secrets
from typing import Protocol
from uuid import UUID


class Random(Protocol):
    def token_bytes(self, n: int) -> bytes:
        """n unpredictable bytes."""
        ...

    def uuid4(self) -> UUID:
        """A random version 4 uuid."""
        ...


class SystemRandom:
    """Randomness of the operating system, good enough for secrets."""

    def token_bytes(self, n: int) -> bytes:
        return secrets.token_bytes(n)

    def uuid4(self) -> UUID:
        return UUID(bytes=secrets.token_bytes(16), version=4)
