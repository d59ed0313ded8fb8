"""Streams and sets of streams in notebooks: inline SVG and tables, no plotting library."""

from __future__ import annotations

from html import escape
from typing import Any

from lamina.btrdb.exceptions import BTrDBError
from lamina.btrdb.utils.timez import ns_to_datetime

_WINDOWS = 240
"""Windows of a plot, one for some three pixels."""

_WIDTH, _HEIGHT, _MARGIN = 720, 140, 4
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
    width = -(-(end - start) // _WINDOWS)
    windows = stream.windows(start, start + width * _WINDOWS, width).columns
    facts += f"<br>{int(windows.count.sum()):,} points, {_text(start)} to {_text(end - 1)}, version {first[1]}"
    return f"<div>{facts}<br>{plot(windows)}</div>"


def streamset_html(streamset: Any) -> str:
    """A row per stream: collection, name, unit, version, first and last point."""
    header = "".join(f"<th>{name}</th>" for name in ("collection", "name", "unit", "version", "first", "last", "uuid"))
    shown = streamset[:_ROWS]
    cells = streamset[0].btrdb._map(_cells, shown)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
    more = f"<p>{len(streamset) - _ROWS} more</p>" if len(streamset) > _ROWS else ""
    caption = f"<caption>{escape(str(streamset))}</caption>"
    return f"<table>{caption}<thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>{more}"


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


def plot(windows: Any) -> str:
    """Means as a line in the band from minimum to maximum; a gap where there are no points. Summaries of windows of one
    width side by side."""
    held = windows.count > 0
    low, high = windows.min[held].min(), windows.max[held].max()
    span = (high - low) or 1.0

    def y(value: float) -> str:
        return f"{_MARGIN + (_HEIGHT - 2 * _MARGIN) * (1 - (value - low) / span if high > low else 0.5):.1f}"

    step = _WIDTH / len(held)
    band, line, begun = [], [], False
    for i, there in enumerate(held.tolist()):
        x = f"{(i + 0.5) * step:.1f}"
        if there:
            band.append(f"M{x} {y(windows.min[i])}V{y(windows.max[i])}")
            line.append(f"{'L' if begun else 'M'}{x} {y(windows.mean[i])}h0")
        begun = there
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        ' role="img" style="max-width:100%">'
        f"<title>{low:.6g} to {high:.6g}</title>"
        f'<path d="{"".join(band)}" stroke="#9ecae1" stroke-width="{max(step, 1):.1f}" fill="none"/>'
        f'<path d="{"".join(line)}" stroke="#08519c" stroke-width="1.2" stroke-linecap="round" fill="none"/>'
        f'<text x="{_MARGIN}" y="12" font-size="11" fill="#555">{high:.6g}</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - _MARGIN}" font-size="11" fill="#555">{low:.6g}</text></svg>'
    )
