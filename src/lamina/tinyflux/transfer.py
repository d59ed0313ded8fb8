"""TinyFlux's CSV files into a Lamina database and back, a stretch of rows at a time."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from warnings import warn

import numpy as np

from lamina.errors import AlreadyExists, InvalidArgument
from lamina.points.batch import Batch, Grouped, Interned, batch_of_points, concat
from lamina.points.field import column_of
from lamina.tinyflux.columnar import groups_of_rows
from lamina.tinyflux.csvfile import beside, sync_folder
from lamina.tinyflux.point import Point
from lamina.tinyflux.rows import Rows, TornRowWarning, at_row, cuttable, parse

if TYPE_CHECKING:
    from lamina.engine.points.measurement import Writing
    from lamina.engine.points.measurements import Measurements
    from lamina.engine.points.pointset import PointSet
    from lamina.points.columns import Group

Progress = Callable[[int, int], object]
"""(done, of all): bytes read, or points written."""

STEP_BYTES = 8 << 20
"""Of a file read at a time: some 100,000 rows, which go past the log into a segment of their own."""

WRITTEN = 4096
"""Points written at a time."""


def import_csv(
    measurements: Measurements, file: str | os.PathLike[str], encoding: str = "utf-8", progress: Progress | None = None
) -> int:
    """Insert the points of a file, each into the measurement it names, behind those that are there; how many.

    Each stretch of 8 MiB is inserted whole or not at all; what was inserted before an error stays, and the message says
    at which row it happened. Half a row at the end, of a program that was stopped, is passed over with a
    TornRowWarning. Raises IndexError, ValueError (a row that is none), InvalidArgument (an int beyond 64 bits),
    UnicodeDecodeError, OSError, and what inserting raises.
    """
    count = 0
    total = os.path.getsize(file)
    for rows in _stretches(Path(file), encoding):
        count += measurements.insert_groups(_grouped(rows, count, str(file)))
        if progress is not None:
            progress(rows.end, total)
    return count


def _stretches(file: Path, encoding: str) -> Iterator[Rows]:
    step = STEP_BYTES if cuttable(encoding) else -1
    with file.open("rb") as source:
        data, end = b"", 0
        while more := source.read(step):
            data += more
            if b'"' in data:  # a line end may be inside of quotes
                break
            # The last whole row stays for the next stretch: half a row is known by the rows before it.
            stop = data.rfind(b"\n", 0, max(0, data.rfind(b"\n"))) + 1
            if stop:
                yield parse(data[:stop], end, encoding)
                data, end = data[stop:], end + stop
        rows = parse(data + source.read(), end, encoding)
    if rows.torn:
        text = f"{file}: the last {len(rows.torn)} bytes, from byte {rows.end}, are half a row: not imported"
        warn(f"{text}: {rows.torn[:200]!r}", TornRowWarning, stacklevel=3)
    yield rows


def _grouped(rows: Rows, before: int, file: str) -> list[Grouped]:
    """The points by measurement; `before` rows precede them in the file."""
    by_name: dict[str, list[tuple[Batch, np.ndarray]]] = {}
    try:
        for group in groups_of_rows(rows, 0, file, before):
            batch = _batch(group)
            names: Interned[str] = Interned()
            numbers = names.all(group.measurements)
            for number, name in enumerate(names.values):
                index = slice(None) if len(names.values) == 1 else np.flatnonzero(numbers == number)
                by_name.setdefault(name, []).append((batch.take(index), group.rows[index]))
    except InvalidArgument:
        _complain(rows, before, file)
        raise
    return [_one(name, parts) for name, parts in by_name.items()]


def _batch(group: Group) -> Batch:
    n = len(group.rows)
    tagsets: Interned[tuple[tuple[str, str | None], ...]] = Interned()
    keys = group.tag_keys
    tagset = tagsets.all(tuple(zip(keys, values, strict=True)) for values in zip(*group.tags, strict=True))
    if not keys:
        tagset, tagsets = np.zeros(n, np.int32), Interned([()])
    fields = {key: column_of(values, key) for key, values in zip(group.field_keys, group.fields, strict=True)}
    return Batch(group.time_us, tagset, tagsets.values, np.zeros(n, np.int32), [group.field_keys], fields)


def _one(name: str, parts: list[tuple[Batch, np.ndarray]]) -> Grouped:
    batch = concat([batch for batch, _ in parts])
    places = np.concatenate([places for _, places in parts])
    if len(parts) == 1:
        return Grouped(name, batch, places)
    order = np.argsort(places)
    return Grouped(name, batch.take(order), places[order])


def _complain(rows: Rows, before: int, file: str) -> None:
    """Raises for the first row that holds what cannot be stored, naming it."""
    for number, (row, start) in enumerate(zip(rows.rows, rows.starts, strict=True), before + 1):
        try:
            batch_of_points([Point()._deserialize_from_list(row)], 0)
        except InvalidArgument as error:
            raise InvalidArgument(str(at_row(error, file, number, start))) from None


def export_csv(
    points: Writing, file: str | os.PathLike[str], encoding: str = "utf-8", progress: Progress | None = None
) -> int:
    """Write points, in the order of insertion, to a new file that TinyFlux reads; how many. As of this call.

    The file is there whole or not at all. Ints become floats, as in every file of TinyFlux. Raises InvalidArgument for
    a field that is text or a bool, which such a file cannot hold, naming the point; AlreadyExists, OSError, Corrupt.
    """
    target = Path(file)
    if target.exists():
        raise AlreadyExists(f"{target} exists: choose another file, or remove it")
    found = points.search(order="insertion")
    part = Path(beside(os.path.abspath(target), ".part"))  # hidden, so that it is nobody's but ours
    try:
        with part.open("w", encoding=encoding, newline="") as out:
            _write(out, found, progress)
            out.flush()
            os.fsync(out.fileno())
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(os.fspath(target))
    return len(found)


def _write(out: TextIO, found: PointSet, progress: Progress | None) -> None:
    writer = csv.writer(out)
    each = found.each(Point)
    done = 0
    while some := list(islice(each, WRITTEN)):
        for at, point in enumerate(some, done):
            _check_numeric(point, at)
        writer.writerows([point._serialize_to_list() for point in some])
        done += len(some)
        if progress is not None:
            progress(done, len(found))


def _check_numeric(point: Point, at: int) -> None:
    for key, value in point._fields.items():
        if isinstance(value, bool | str):
            raise InvalidArgument(
                f"field {key!r} = {value!r} of point {at} ({point!r:.200}): TinyFlux files hold numbers and None only;"
                " export the other points by measurement, or change this one"
            )
