"""Streams side by side as rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.columns import Times, Values
from lamina.faces.btrdb.batches import POINTS
from lamina.faces.btrdb.service.caller import Call
from lamina.faces.btrdb.service.codes import WRONG_ARGS, Refused
from lamina.streams.bounds import check_exponent, check_range, check_width
from lamina.tables import join

if TYPE_CHECKING:
    from lamina.engine.view import StreamView

_STATISTICS = ("Min", "Mean", "Max", "Count")
_SECOND = 1_000_000_000


ALIGNED_WINDOWS, WINDOWS, RAW = range(3)
"""What the rows are made of, by its number on the wire."""


class Column(NamedTuple):
    """A stream among the columns: its version (0: latest), what the header calls it, its uuid."""

    version: int
    label: str
    uuid: bytes


class Query(NamedTuple):
    """What rows are wanted. `kind`: of the numbers above. `depth` is the point width of aligned windows."""

    kind: int
    start: int
    end: int
    width: int
    depth: int
    include_versions: bool
    columns: Sequence[Column]


def generate_csv(call: Call, asked: Query) -> Iterator[list[str]]:
    """The header, then rows in ascending order of time; "" where a stream has no point at that time."""
    _check(asked)
    with ExitStack() as stack:
        views = [stack.enter_context(call.view(column.uuid, column.version)) for column in asked.columns]
        labels = [
            f"{column.label}, ver. {view.version}" if asked.include_versions else column.label
            for column, view in zip(asked.columns, views, strict=True)
        ]
        raw = asked.kind == RAW
        yield _header(labels, raw)
        tracks = [_track(view, asked) for view in views]
        for times, columns in join.outer_join(tracks, POINTS, 1 if raw else len(_STATISTICS)):
            yield from _rows(times, columns, raw)


def _check(asked: Query) -> None:
    if asked.kind not in (ALIGNED_WINDOWS, WINDOWS, RAW):
        raise Refused(WRONG_ARGS, f"query type {asked.kind} is not within 0..2")
    if asked.kind == WINDOWS:
        check_width(asked.width)
    if asked.kind != RAW:
        check_exponent(asked.depth, "depth")
    check_range(asked.start, asked.end)


def _track(view: StreamView, asked: Query) -> join.Track:
    if asked.kind == RAW:
        return join.points(view.iter_values(asked.start, asked.end))
    if asked.kind == WINDOWS:
        return join.windows(view.iter_windows(asked.start, asked.end, asked.width, asked.depth))
    return join.windows(view.iter_aligned_windows(asked.start, asked.end, asked.depth))


def _header(labels: list[str], raw: bool) -> list[str]:
    columns = labels if raw else [f"{label} ({statistic})" for label in labels for statistic in _STATISTICS]
    return ["Timestamp (ns)", "Human-Readable Time (UTC)", *columns]


def _rows(times: Times, columns: Values, raw: bool) -> Iterator[list[str]]:
    readable = np.datetime_as_string((times // _SECOND).astype("datetime64[s]"), unit="s", timezone="UTC")
    texts = [
        [("" if value != value else form % value) for value in column]
        for column, form in zip(columns.tolist(), _forms(len(columns), raw), strict=True)
    ]
    return map(list, zip(map(str, times.tolist()), readable.tolist(), *texts, strict=True))


def _forms(columns: int, raw: bool) -> list[str]:
    return ["%f"] * columns if raw else ["%f", "%f", "%f", "%d"] * (columns // len(_STATISTICS))
