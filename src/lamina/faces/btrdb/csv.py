"""GenerateCSV: streams side by side as rows of text, one message a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from lamina.columns import Times, Values
from lamina.faces.btrdb.batches import POINTS
from lamina.faces.btrdb.calls import Call, parse
from lamina.faces.btrdb.errors import WRONG_ARGS, Refused
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.reads import Messages
from lamina.streams.bounds import check_exponent, check_range, check_width
from lamina.tables import join

if TYPE_CHECKING:
    from lamina.engine.view import StreamView

_STATISTICS = ("Min", "Mean", "Max", "Count")
_SECOND = 1_000_000_000


def generate_csv(call: Call, data: bytes) -> Messages:
    """The header, then rows in ascending order of time; nothing where a stream has no point at that time."""
    asked = parse(pb.GenerateCSVParams, data)
    _check(asked)
    with ExitStack() as stack:
        views = [stack.enter_context(call.view(config.uuid, config.version)) for config in asked.streams]
        labels = [
            f"{config.label}, ver. {view.version}" if asked.includeVersions else config.label
            for config, view in zip(asked.streams, views, strict=True)
        ]
        raw = asked.queryType == pb.GenerateCSVParams.RAW_QUERY
        yield _message(_header(labels, raw), header=True)
        tracks = [_track(view, asked) for view in views]
        for times, columns in join.outer_join(tracks, POINTS, 1 if raw else len(_STATISTICS)):
            for row in _rows(times, columns, raw):
                yield _message(row)


def _check(asked: pb.GenerateCSVParams) -> None:
    if asked.queryType not in pb.GenerateCSVParams.QueryType.values():
        raise Refused(WRONG_ARGS, f"query type {asked.queryType} is not within 0..2")
    if asked.queryType == pb.GenerateCSVParams.WINDOWS_QUERY:
        check_width(asked.windowSize)
    if asked.queryType != pb.GenerateCSVParams.RAW_QUERY:
        check_exponent(asked.depth, "depth")
    check_range(asked.startTime, asked.endTime)


def _track(view: StreamView, asked: pb.GenerateCSVParams) -> join.Track:
    start, end = asked.startTime, asked.endTime
    if asked.queryType == pb.GenerateCSVParams.RAW_QUERY:
        return join.points(view.iter_values(start, end))
    if asked.queryType == pb.GenerateCSVParams.WINDOWS_QUERY:
        return join.windows(view.iter_windows(start, end, asked.windowSize, asked.depth))
    return join.windows(view.iter_aligned_windows(start, end, asked.depth))


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


def _message(row: list[str], *, header: bool = False) -> bytes:
    return pb.GenerateCSVResponse(isHeader=header, row=row).SerializeToString()
