"""What a notebook shows of streams, records and points; the same of those in a directory and those on a server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from html import escape
from itertools import islice
from typing import Any

from lamina.display import PREVIEW_BYTES, ROWS, WINDOWS, Html, moment, plot, preview, table
from lamina.errors import NotFound

RECORD_COLUMNS = ("time", "entry", "size", "content type", "labels", "content")


def stream_html(stream: Any) -> str:
    """Name, unit, number of points and their range, and a plot of all of them."""
    unit = f" [{escape(stream.unit)}]" if stream.unit else ""
    title = f"<b>{escape(stream.name)}</b>{unit} in {escape(stream.collection)}<br><code>{stream.uuid}</code>"
    first, last = stream.earliest(), stream.latest()
    if first is None or last is None:
        return f"<div>{title}<br>no points</div>"
    start, end = first[0], last[0] + 1
    width = -(-(end - start) // WINDOWS)
    windows = stream.windows(start, start + width * WINDOWS, width)
    count, version = int(windows.count.sum()), stream.version
    span = f"{moment(start // 1000)} to {moment(last[0] // 1000)}"
    return f"<div>{title}<br>{count:,} points, {span}, version {version}<br>{plot(windows)}</div>"


def points_html(points: Any) -> str:
    """The first points as a table: time, measurement, tags, fields."""
    return _points(f"{len(points):,} points", islice(points, ROWS), len(points))


def measurement_html(measurement: Any) -> str:
    """How many points a measurement has, and the first of them."""
    count = len(measurement)
    if not count:
        return f"<div><b>{escape(measurement.name)}</b>: no points</div>"
    latest = moment(measurement.latest_time())
    caption = f"{measurement.name}: {count:,} points, the latest at {latest}"
    return _points(caption, measurement.search(limit=ROWS), count)


def _points(caption: str, points: Iterable[Any], count: int) -> str:
    shown = list(points)
    tags = list(dict.fromkeys(key for point in shown for key in point.tags))
    fields = list(dict.fromkeys(key for point in shown for key in point.fields))
    rows = [
        (
            point.time.replace(tzinfo=None).isoformat(" "),
            point.measurement,
            *(point.tags.get(key) for key in tags),
            *(point.fields.get(key) for key in fields),
        )
        for point in shown
    ]
    columns = ("time", "measurement", *tags, *fields)
    return table(caption, columns, rows, count - len(shown))


def record_html(record: Any) -> str:
    """A record with a preview of its content."""
    return table("", RECORD_COLUMNS, [_record_row(record)])


def bucket_html(bucket: Any) -> str:
    """The first entries of a bucket as a table: how much is in them, and from when to when."""
    infos = bucket.entry_infos()
    rows = [
        (
            info.name,
            f"{info.record_count:,}",
            f"{info.size:,}",
            *(moment(time) if info.record_count else None for time in (info.oldest_record, info.latest_record)),
        )
        for info in infos[:ROWS]
    ]
    caption = f"{bucket.name}: {len(infos):,} entries, {bucket.size:,} bytes"
    return table(caption, ("entry", "records", "bytes", "oldest", "latest"), rows, max(0, len(infos) - ROWS))


def entry_html(entry: Any) -> str:
    """How much is in an entry, and its latest records with a preview of each content."""
    name = f"{entry.bucket.name}/{entry.name}"
    try:
        info = entry.info()
    except NotFound:
        return f"<div><b>{escape(name)}</b>: no records</div>"
    shown = _latest(entry, info)
    span = f"{moment(info.oldest_record)} to {moment(info.latest_record)}"
    caption = f"{name}: {info.record_count:,} records, {info.size:,} bytes, {span}"
    return table(caption, RECORD_COLUMNS, map(_record_row, shown), max(0, info.record_count - len(shown)))


def _latest(entry: Any, info: Any) -> list[Any]:
    """The last records, newest first: sought where they would be if all lay evenly, and further back if not."""
    whole = info.latest_record - info.oldest_record + 1
    span = whole * ROWS // max(info.record_count, 1) + 1
    while True:
        found = deque(entry.query(max(info.oldest_record, info.latest_record + 1 - span)), ROWS)
        if len(found) == ROWS or span >= whole:
            return list(found)[::-1]
        span *= 16


def _record_row(record: Any) -> tuple[object, ...]:
    labels = Html("<br>".join(f"{escape(key)}: {escape(value)}" for key, value in record.labels))
    shown: object = "" if record.size > PREVIEW_BYTES else preview(record.content_type, record.read())
    return moment(record.time_us), record.entry, f"{record.size:,}", record.content_type, labels, shown
