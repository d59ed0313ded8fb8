"""What buckets and entries tell of themselves, and what a bucket can be set to (contract reductstore section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lamina.errors import InvalidArgument

QUOTA_TYPES = ("NONE", "FIFO", "HARD")

MIB = 1 << 20
SEAL_BYTES, LEAST_SEAL_BYTES = 64 * MIB, MIB
"""A tail is sealed, and a payload file full, at 64 MiB or a 64th of the quota: what is evicted bit by bit must come in
small pieces."""


class BucketSettings(NamedTuple):
    quota_type: str = "NONE"  # "FIFO": the oldest go; "HARD": writes are refused
    quota_size: int = 0  # bytes as reported
    max_block_size: int = 64_000_000  # bytes of content
    max_block_records: int = 1024

    def changed(self, given: Mapping[str, Any]) -> BucketSettings:
        """With the given members; None and absent ones stay. Raises InvalidArgument."""
        members = {name: value for name, value in given.items() if value is not None and name in self._fields}
        quota = members.get("quota_type", self.quota_type)
        if quota not in QUOTA_TYPES:
            raise InvalidArgument(f"quota_type {quota!r}: expected one of {', '.join(QUOTA_TYPES)}")
        for name, least in (("quota_size", 0), ("max_block_size", 1), ("max_block_records", 1)):
            value = members.get(name, least)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 63:
                raise InvalidArgument(f"{name} {value!r}: expected a whole number, {least} .. 2**63 - 1")
        return self._replace(**members)

    @property
    def seal_bytes(self) -> int:
        if self.quota_type == "NONE" or not self.quota_size:
            return SEAL_BYTES
        return min(max(self.quota_size // 64, LEAST_SEAL_BYTES), SEAL_BYTES)


class BucketInfo(NamedTuple):
    name: str
    entry_count: int
    size: int  # bytes of contents and metadata
    oldest_record: int  # µs; 0 without records
    latest_record: int
    is_provisioned: bool
    status: str


class EntryInfo(NamedTuple):
    name: str
    size: int
    block_count: int
    record_count: int
    oldest_record: int  # µs; 0 without records
    latest_record: int
    status: str
