"""The only source of randomness: everything else takes a `Random`, so that a simulation can replay a run."""

import os
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
    """Randomness of the operating system, good enough for secrets (the module of that name takes 5 ms to import)."""

    def token_bytes(self, n: int) -> bytes:
        return os.urandom(n)

    def uuid4(self) -> UUID:
        return UUID(bytes=os.urandom(16), version=4)
