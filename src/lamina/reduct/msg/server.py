"""The server itself."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from lamina.reduct.msg.bucket import BucketInfo, BucketSettings


class Defaults(BaseModel):
    """What new buckets get."""

    bucket: BucketSettings


class LicenseInfo(BaseModel):
    """Of a licensed ReductStore; Lamina has none."""

    licensee: str
    invoice: str
    expiry_date: datetime
    plan: str
    device_number: int
    disk_quota: int  # TB
    fingerprint: str


class ServerInfo(BaseModel):
    """Version of the API and figures of all buckets. Times of records in µs, 0 without any."""

    version: str
    bucket_count: int
    usage: int  # bytes
    uptime: int  # s
    oldest_record: int
    latest_record: int
    license: LicenseInfo | None = None
    defaults: Defaults


class BucketList(BaseModel):
    """What `Client.list` is made of."""

    buckets: list[BucketInfo]
