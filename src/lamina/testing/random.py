"""Randomness that a seed repeats."""

import random
import threading
from uuid import UUID


class SeededRandom:
    """The same bytes in the same order for the same seed. Thread-safe; not for secrets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()  # guards _random: a draw takes several steps

    def token_bytes(self, n: int) -> bytes:
        with self._lock:
            return self._random.randbytes(n)

    def uuid4(self) -> UUID:
        return UUID(bytes=self.token_bytes(16), version=4)
