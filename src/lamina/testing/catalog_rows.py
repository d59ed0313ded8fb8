"""Rows of every table of a catalog, to be put into one: what tests do not say of them has some value or other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from lamina.catalog.rows import (
    SECTION_NUMBERS,
    BucketRow,
    BurntRow,
    EntryRow,
    LifecycleRow,
    MeasurementRow,
    PinRow,
    PointSectionRow,
    PointStateRow,
    RecordSectionRow,
    RecordStateRow,
    ReplicationRow,
    RootRow,
    SecretRow,
    SegmentRow,
    SettingRow,
    StreamRow,
    TokenRow,
)


def uuid(n: int) -> UUID:
    return UUID(int=n << 64 | n)


def stream(id: int, collection: str = "plant/a", **fields: Any) -> StreamRow:
    """A stream that differs from those of other ids in everything that must be unique."""
    row = StreamRow(id, uuid(id), collection, {"name": f"s{id:04}"}, {}, 1, 1_700_000_000_000_000, 0, None)
    return row._replace(**fields)


def root(id: int, version: int = 11, **fields: Any) -> RootRow:
    row = RootRow(id, version, bytes(range(104)), b"history", 5, 7, {"kind": "pco", "level": 8}, 1)
    return row._replace(**fields)


def segment(id: int, **fields: Any) -> SegmentRow:
    row = SegmentRow(id, "streams", f"streams/{id:02x}/{id:08x}.seg", 4096, 4000, 1, 9, 1, "live")
    return row._replace(**fields)


def bucket(id: int, **fields: Any) -> BucketRow:
    return BucketRow(id, f"b{id}", {"quota_type": "NONE"}, False, 3, 0)._replace(**fields)


def entry(id: int, bucket: int, name: str = "", **fields: Any) -> EntryRow:
    return EntryRow(id, bucket, name or f"e{id}", 3, 0)._replace(**fields)


def section(segment: int, number: int, entry: int, **fields: Any) -> RecordSectionRow:
    """Section `number` of a segment."""
    id = segment * SECTION_NUMBERS + number
    row = RecordSectionRow(
        id, entry, segment, bytes(range(20)), 10, 20, 5, 1, 9, b"", b"\xff", b"blocks", b"files", 0, 1
    )
    return row._replace(**fields)


def points(segment: int, number: int, measurement: int, **fields: Any) -> PointSectionRow:
    """Section `number` of points in a segment."""
    id = segment * SECTION_NUMBERS + number
    row = PointSectionRow(id, measurement, segment, bytes(range(20)), -10, 20, 5, 1, 9, 2, 8, b"", 0, 0, 1)
    return row._replace(**fields)


ONE_OF_EACH: list[Any] = [
    segment(3),
    stream(1, tags={"name": "x", "unit": "V", "note": 'quo"te'}, annotations={"k": "", "ä": "😀\0"}),
    stream(2, retention={"versions": 7}, oldest_version=12),
    root(1),
    root(2, root=b"", history=b"", codec={}),
    BurntRow(uuid(99), 17),
    PinRow("before/upgrade", 40, 1),
    TokenRow(
        "ci",
        "4f",
        "scrypt",
        b"\0salt",
        b"\xffhash",
        {"full_access": True, "read": ["*"]},
        1,
        0,
        True,
        60,
        5,
        ["::1", "x"],
    ),
    SettingRow("retention", {"keep": 1.5, "deep": {"list": [1, None, "x"]}}),
    SecretRow("cache", b"\0\1\2"),
    bucket(1, settings={"quota_type": "FIFO", "quota_size": (1 << 64) - 1}),
    entry(2, 1, "a/b"),
    RecordStateRow(2, 9, 1),
    section(3, 0, 2, t_min=-(1 << 63), t_max=(1 << 63) - 1),
    ReplicationRow("mirror", {"src_bucket": "b", "when": {"&x": {"$gt": 1}}}, False, 4),
    LifecycleRow("purge", {"older_than": "1d"}, True, 0),
    MeasurementRow(4, "wetter/ä", 3),
    PointStateRow(4, 9, 1),
    points(3, 1, 4, t_min=-(1 << 63), t_max=(1 << 63) - 1, deaths=b"\xff", died=2, dead=8),
]
