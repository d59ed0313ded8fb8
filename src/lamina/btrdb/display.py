"""Streams and sets of streams in notebooks: inline SVG and tables, no plotting library."""

from __future__ import annotations

from html import escape
from typing import Any

from lamina.btrdb.exceptions import BTrDBError
from lamina.btrdb.utils.timez import ns_to_datetime
from lamina.display import WINDOWS, plot, table

_ROWS = 50
"""Streams that a table shows of a longer set."""


def stream_html(stream: Any) -> str:
    """Name, unit, collection, uuid, number of points, range, and a plot of min, mean and max over time."""
    try:
        tags = stream.tags()
        first, last = stream.earliest(), stream.latest()
    except BTrDBError as error:
        return f"<p>Stream <code>{stream.uuid}</code>: {escape(str(error))}</p>"
    unit = f" [{escape(tags['unit'])}]" if tags.get("unit") else ""
    title = f"<b>{escape(tags.get('name', ''))}</b>{unit} in {escape(stream.collection)}"
    facts = f"{title}<br><code>{stream.uuid}</code>"
    if first is None or last is None:
        return f"<div>{facts}<br>no points</div>"
    start, end = first[0].time, last[0].time + 1
    width = -(-(end - start) // WINDOWS)
    windows = stream.windows(start, start + width * WINDOWS, width).columns
    facts += f"<br>{int(windows.count.sum()):,} points, {_text(start)} to {_text(end - 1)}, version {first[1]}"
    return f"<div>{facts}<br>{plot(windows)}</div>"


def streamset_html(streamset: Any) -> str:
    """A row per stream: collection, name, unit, version, first and last point."""
    columns = ("collection", "name", "unit", "version", "first", "last", "uuid")
    shown = streamset[:_ROWS]
    rows = streamset[0].btrdb._map(_cells, shown)
    return table(str(streamset), columns, rows, max(0, len(streamset) - _ROWS))


def _cells(stream: Any) -> list[str]:
    try:
        tags = stream.tags()
        first, last = stream.earliest(), stream.latest()
        edges = ["" if point is None else _text(point[0].time) for point in (first, last)]
        return [stream.collection, tags["name"], tags["unit"], str(stream.version()), *edges, str(stream.uuid)]
    except BTrDBError as error:
        return [str(error), "", "", "", "", "", str(stream.uuid)]


def _text(time: int) -> str:
    try:
        return ns_to_datetime(time).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return f"{time} ns"
