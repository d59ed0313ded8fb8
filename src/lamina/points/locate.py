"""Where times begin in a section: by the first times of chunks, quarters and pages, then in one page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.points import marks as m
from lamina.points.pagedread import Descent, PagedColumn


def locate(times: PagedColumn, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of some times, how many rows are earlier. Reads a record of each level and a page per time, at most."""
    if times.line is not None:
        return _on_line(*times.line, times.n, edges)
    rows = np.zeros(len(edges), np.int64)
    size = times.sizes.page
    descent = Descent(times)
    # The last chunk that begins earlier; where there is none, no row is earlier.
    chunk = np.searchsorted(descent.top["first"], edges, "left") - 1
    inside = np.flatnonzero(chunk >= 0)
    if not len(inside):
        return rows
    edges, chunk = edges[inside], chunk[inside]
    quarter = _down(chunk, descent.chunks, edges, m.units(times.n, times.sizes.quarter))
    page = _down(quarter, descent.quarters, edges, times.pages)
    ids = np.unique(page)
    values = descent.pages(ids)[np.searchsorted(ids, page)]
    real = np.arange(size) < (times.n - page * size)[:, None]
    rows[inside] = page * size + np.count_nonzero((values < edges[:, None]) & real, axis=1)
    return rows


def _down(parents: NDArray[np.int64], records: Any, edges: NDArray[np.int64], units: int) -> NDArray[np.int64]:
    """Of each edge, the last child of its parent that begins earlier; the first does, as the parent did."""
    ids = np.unique(parents)
    first = records(ids)["first"][np.searchsorted(ids, parents)]
    children = parents[:, None] * m.FAN + np.arange(m.FAN)
    earlier = (first < edges[:, None]) & (children < units)
    found: NDArray[np.int64] = parents * m.FAN + np.count_nonzero(earlier, axis=1) - 1
    return found


def _on_line(base: int, step: int, n: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    if step <= 0:
        return np.where(edges > base, n, 0)
    found: NDArray[np.int64] = np.clip(-(-(edges - base) // step), 0, n)
    return found
