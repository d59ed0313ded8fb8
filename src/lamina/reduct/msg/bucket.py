"""Buckets, entries and queries."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel


class QuotaType(Enum):
    """What happens when a bucket is full."""

    NONE = "NONE"  # it is never full
    FIFO = "FIFO"  # the oldest records go
    HARD = "HARD"  # writing is refused


class Status(Enum):
    """Of a bucket or an entry."""

    READY = "READY"
    DELETING = "DELETING"


class BucketSettings(BaseModel):
    """None: the default on creation, unchanged in an update."""

    max_block_size: int | None = None  # bytes
    max_block_records: int | None = None
    quota_type: QuotaType | None = None
    quota_size: int | None = None  # bytes


class BucketInfo(BaseModel):
    """A bucket's name and figures. Times in µs, 0 without records."""

    name: str
    entry_count: int
    size: int  # bytes, metadata included
    oldest_record: int
    latest_record: int
    is_provisioned: bool = False
    status: Status = Status.READY


class EntryInfo(BaseModel):
    """An entry's name and figures. Times in µs, 0 without records."""

    name: str
    size: int  # bytes, metadata included
    block_count: int
    record_count: int
    oldest_record: int
    latest_record: int
    status: Status = Status.READY


class BucketFullInfo(BaseModel):
    """All that is known of a bucket; entries by name."""

    info: BucketInfo
    settings: BucketSettings
    entries: list[EntryInfo]


class QueryType(Enum):
    """Whether records are read or removed."""

    QUERY = "QUERY"
    REMOVE = "REMOVE"


class QueryEntry(BaseModel):
    """A query. Times in µs, [start, stop)."""

    query_type: QueryType
    entries: list[str]  # names and patterns
    start: int | None = None
    stop: int | None = None
    ttl: int | None = None  # s
    only_metadata: bool | None = None
    continuous: bool | None = None
    when: dict[str, Any] | None = None
    strict: bool | None = None
    ext: dict[str, dict[str, Any]] | None = None
    # what `when` replaced, and the documentation of queries still names
    include: dict[str, Any] | None = None
    exclude: dict[str, Any] | None = None
    each_s: float | None = None
    each_n: int | None = None
    limit: int | None = None


class CreateQueryLinkRequest(BaseModel):
    """A link to one record of a query's result."""

    bucket: str
    entry: str
    index: int | None = None  # before API 1.19
    record_entry: str | None = None
    record_timestamp: int | None = None  # µs
    query: QueryEntry
    expire_at: int  # s since the epoch
    base_url: str | None = None


class CreateQueryLinkResponse(BaseModel):
    link: str
