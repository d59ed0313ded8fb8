"""Cross-origin requests (contract reductstore 1.5)."""

from __future__ import annotations

from dataclasses import dataclass

Header = tuple[bytes, bytes]

PREFLIGHT: list[Header] = [
    (b"access-control-allow-methods", b"*"),
    (b"access-control-allow-headers", b"*"),
]
"""On the answer to any OPTIONS request."""


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins whose pages may read answers."""

    origins: frozenset[bytes] = frozenset()  # b"*": all

    @classmethod
    def parse(cls, text: str) -> Cors:
        """Of a comma-separated list; spaces do not count, empty means none."""
        return cls(frozenset(item.strip().encode() for item in text.split(",") if item.strip()))

    def __bool__(self) -> bool:
        return bool(self.origins)

    def allows(self, origin: bytes) -> bool:
        """Origins compare byte for byte, as browsers write them."""
        return b"*" in self.origins or origin in self.origins

    def headers(self, origin: bytes | None) -> list[Header]:
        """What an answer to a request of this origin carries; nothing for a foreign one or none."""
        if origin is None or not self.allows(origin):
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"origin"),  # else a cache would hand one origin's answer to another
        ]
