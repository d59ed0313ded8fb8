"""Frozen settings of an open database; each default is argued here and nowhere else."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal, NamedTuple

from lamina.errors import InvalidArgument

MIB = 1 << 20
GIB = 1 << 30

Durability = Literal["group", "os", "strict"]
DURABILITIES = ("group", "os", "strict")

_LEAST = {"sync_interval_s": 0, "tails_limit": 0, "log_limit": 0, "cache_limit": 0, "min_free": -1, "node_rows": 2}
"""Of settings that may be less, or must be more, than 1."""


@cache
def _ram_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Settings(NamedTuple):
    """How one open database behaves. Sizes in bytes, times in the unit of the name.

    `durability`: "group" (default) acknowledges after the sync of the commit group; "os" after the write to the page
    cache, synced within `sync_interval_s`; "strict" as group, one submission per sync.
    """

    durability: Durability = "group"
    sync_interval_s: float = 0.1  # "os" only: what a power loss may take
    tails_limit: int = 0  # unflushed points; 0: 25 % of RAM, at least 64 MiB, at most 2 GiB
    log_limit: int = 0  # log kept for recovery; 0: twice the tails, at least 512 MiB, at most 2 GiB
    log_ops_limit: int = 2_500_000  # 2.4 to 3.5 µs each (bench.recovery): recovery in 10 s
    log_file_bytes: int = 64 * MIB  # rotation; small enough to trim early, large enough that rotation is rare
    cache_limit: int = 0  # inner nodes and dictionaries; 0: 25 % of RAM, at most 2 GiB
    open_segments: int = 256  # descriptors
    min_free: int = -1  # refuse writes below; -1: the smaller of 1 GiB and 2 % of the volume; 0: never
    queue_bytes: int = 64 * MIB  # submitted, not yet committed
    queue_ops: int = 20_000
    flush_points: int = 32_768  # per stream; write amplification 1.07 (streams.md section 4)
    bulk_points: int = 65_536  # an insert of so many points goes past the log
    max_points: int = 2_000_000  # per op that travels through the log
    leaf_points: int = 2048  # C
    node_rows: int = 64  # K
    seal_records: int = 65_536  # per entry; an index section of so many rows decodes in a millisecond a column
    seal_bytes: int = 64 * MIB  # of contents, per entry; also where a payload file is full. Small quotas lower it
    seal_points: int = 65_536  # per measurement; 16 chunks of a section, which a scan decodes one by one
    background: bool = True  # upkeep thread; tests run upkeep by hand

    def check(self) -> None:
        """Raises InvalidArgument for a value that no database can be run with, naming it."""
        if self.durability not in DURABILITIES:
            raise InvalidArgument(f"durability {self.durability!r}: expected 'group', 'os' or 'strict'")
        for name, value in self._asdict().items():
            least = _LEAST.get(name, 1)
            if name not in ("durability", "background") and (not isinstance(value, int | float) or not value >= least):
                raise InvalidArgument(f"settings: {name} {value!r}: expected a number from {least}")

    def reserve(self, total: int) -> int:
        """Free bytes below which a volume of so many takes no more writes (`min_free`); 0: always takes them."""
        return self.min_free if self.min_free >= 0 else min(GIB, total // 50)

    @property
    def tails_bytes(self) -> int:
        return self.tails_limit or max(64 * MIB, min(_ram_bytes() // 4, 2 * GIB))

    @property
    def log_bytes(self) -> int:
        return self.log_limit or max(512 * MIB, min(2 * self.tails_bytes, 2 * GIB))

    @property
    def cache_bytes(self) -> int:
        return self.cache_limit or min(_ram_bytes() // 4, 2 * GIB)
