"""How things look in a notebook: small plots and tables as HTML of its own, no plotting library.

Everything that is shown is escaped: names, labels and contents come from whoever wrote them.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.columns import Summaries

WINDOWS = 240
"""Of a plot: one for some three pixels."""

ROWS = 10
"""Of a table."""

PREVIEW_BYTES = 64 << 10
"""Longer contents are not read for a preview."""

_WIDTH, _HEIGHT, _MARGIN = 720, 140, 4
_TEXT_CHARACTERS = 200
_HEX_BYTES = 24
_IMAGES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml")


def plot(windows: Summaries) -> str:
    """Means as a line in the band from minimum to maximum; a gap where there are no points. Summaries of windows of one
    width side by side, at least one with points."""
    held = windows.count > 0
    low, high = windows.min[held].min(), windows.max[held].max()
    half = float(high) / 2 - float(low) / 2  # of the span, which may be more than a float holds

    def y(value: float) -> str:
        return f"{_MARGIN + (_HEIGHT - 2 * _MARGIN) * (1 - (value / 2 - low / 2) / half if half > 0 else 0.5):.1f}"

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


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], more: int = 0) -> str:
    """Rows under the names of their columns; `more`: how many are not shown. A cell that is Html is taken as it is."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    rest = f"<p>{more:,} more</p>" if more else ""
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"
    )


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _cell(value: object) -> str:
    return value if isinstance(value, Html) else escape("" if value is None else str(value))


def preview(content_type: str, content: bytes | memoryview) -> Html:
    """A short content: as image, as the beginning of a text, or as the first bytes."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _IMAGES:
        data = base64.b64encode(content).decode()
        return Html(f'<img src="data:{kind};base64,{data}" style="max-height:96px;max-width:240px"/>')
    if kind.startswith(_TEXTS):
        text = bytes(content[: 4 * _TEXT_CHARACTERS]).decode("utf-8", "replace")
        return Html(f"<code>{escape(text[:_TEXT_CHARACTERS])}{'…' if len(text) > _TEXT_CHARACTERS else ''}</code>")
    shown = bytes(content[:_HEX_BYTES]).hex(" ")
    return Html(f"<code>{shown}{' …' if len(content) > _HEX_BYTES else ''}</code>")


def moment(us: int) -> str:
    """A time in µs since the epoch as people read it; as the number where the calendar ends."""
    try:
        when = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)
    except OverflowError:
        return f"{us} µs"
    return when.isoformat(" ", "auto")
