"""A table of points in columns: large stores. The methods of `PlainTable`, the answers too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.points.columns import (
    Columns,
    Found,
    Group,
    Keys,
    Number,
    Shape,
    arranged,
    count,
    located,
    order,
    positions,
)
from lamina.tinyflux.masks import count_where, first_where, rows_where
from lamina.tinyflux.point import EPOCH, FieldValue, Point, field_value, row_keys, tag_value
from lamina.tinyflux.queries import Query, may_raise, runs_user_code
from lamina.tinyflux.rows import Rows, at_row
from lamina.tinyflux.times import microseconds_of

_MICROSECOND = timedelta(microseconds=1)


def lazy_point(shape: Shape, row: int) -> Point:
    """A point that fetches its values when asked for one."""
    point = Point.__new__(Point)
    point._source = shape
    point._row = row
    return point


class ColumnTable:
    """Points in insertion order. `owned`: the caller's own points by position, or None if every read makes new ones."""

    def __init__(self, columns: Columns, owned: list[Point] | None = None) -> None:
        self.columns = columns
        self.owned = owned

    def __len__(self) -> int:
        return self.columns.n

    def found(self, query: Query | None, measurement: str | None) -> Found:
        """The matches, shape by shape."""
        out: Found = []
        for shape in self.columns.shapes.values():
            rows = rows_where(query, shape, measurement)
            if (not isinstance(rows, slice) and len(rows)) or (isinstance(rows, slice) and rows.stop > rows.start):
                out.append((shape, rows))
        return out

    def find(self, query: Query, measurement: str | None) -> NDArray[np.int64]:
        found = self.found(query, measurement)
        return positions(found) if found else np.empty(0, np.int64)

    def count(self, query: Query, measurement: str | None) -> int:
        return sum(count_where(query, shape, measurement) for shape in self.columns.shapes.values())

    def first(self, query: Query, measurement: str | None) -> Point | None:
        """The first match in insertion order. What may raise is asked no more often than needed to find it."""
        if runs_user_code(query) or may_raise(query):
            # Not the point the function saw: it may have changed it.
            for shape, row in zip(*located(self.found(None, measurement), by_time=False), strict=True):
                if query(self._out(shape, row)):
                    return self._out(shape, row)
            return None
        best: tuple[Shape, int] | None = None
        for shape in self.columns.shapes.values():
            at = first_where(query, shape, measurement)
            if at is not None and (best is None or shape.rows[at] < best[0].rows[best[1]]):
                best = shape, at
        return self._out(*best) if best else None

    def _out(self, shape: Shape, row: int) -> Point:
        return lazy_point(shape, row) if self.owned is None else self.owned[int(shape.rows[row])]

    def search(self, query: Query, measurement: str | None, by_time: bool) -> list[Point]:
        return self._points(self.found(query, measurement), by_time)

    def everything(self, measurement: str | None, by_time: bool) -> list[Point]:
        return self._points(self.found(None, measurement), by_time)

    def _points(self, found: Found, by_time: bool) -> list[Point]:
        if self.owned is not None:
            owned = self.owned
            parts = [[owned[position] for position in shape.rows[at].tolist()] for shape, at in found]
            return arranged(found, parts, by_time) if parts else []
        if len(found) == 1 and order(found, by_time) is None:
            shape, at = found[0]
            rows = range(at.start, at.stop) if isinstance(at, slice) else at.tolist()
            return [lazy_point(shape, row) for row in rows]
        return list(map(lazy_point, *located(found, by_time)))

    def each(self, measurement: str | None) -> Iterator[Point]:
        shapes, rows = located(self.found(None, measurement), by_time=False)
        yield from map(self._out, shapes, rows)

    def select(self, keys: Sequence[tuple[str, str]], query: Query, measurement: str | None) -> list[list[Any]]:
        found = self.found(query, measurement)
        if not found:
            return [[] for _ in keys] or [[]]
        if not keys:
            return [[None] * count(found)]
        return [arranged(found, [self._column(shape, at, part, key) for shape, at in found]) for part, key in keys]

    def _column(self, shape: Shape, at: Any, part: str, key: str) -> list[Any]:
        if part == "time":
            return _datetimes(shape.time_us[at])
        if part == "measurement":
            return shape.measurement_list(at)
        j = (shape.tag_at if part == "tags" else shape.field_at).get(key)
        if j is None:
            return [None] * count([(shape, at)])
        if part == "tags":
            return shape.tag_list(j, at)
        return self._numbers(shape, j, at)

    def _numbers(self, shape: Shape, j: int, at: Any) -> list[Any]:
        if self.owned is None:
            return shape.field_list(j, at)
        # Values of the caller's own objects are handed out as they are (a NaN, a numpy.float64).
        key = shape.field_keys[j]
        return [self.owned[position]._fields[key] for position in shape.rows[at].tolist()]

    def tally(self, measurement: str | None) -> int:
        return self.columns.n if measurement is None else count(self.found(None, measurement))

    def measurements(self) -> set[str]:
        names = self.columns.measurements.values
        if self.columns.complete:
            return set(names)
        used = set()
        for shape in self.columns.shapes.values():
            used.update(_occurring(shape.measurement, len(names)))
        return {names[code] for code in used}

    def field_keys(self, measurement: str | None) -> set[str]:
        return {key for shape, _ in self.found(None, measurement) for key in shape.field_keys}

    def tag_keys(self, measurement: str | None) -> set[str]:
        return {key for shape, _ in self.found(None, measurement) for key in shape.tag_keys}

    def field_values(self, key: str, measurement: str | None) -> list[FieldValue]:
        found = [(shape, at) for shape, at in self.found(None, measurement) if key in shape.field_at]
        if not found:
            return []
        return arranged(found, [self._numbers(shape, shape.field_at[key], at) for shape, at in found])

    def tag_values(self, keys: Sequence[str], measurement: str | None) -> dict[str, set[str | None]]:
        if self.columns.complete and measurement is None:
            return {key: set(self._values_of(key)) for key in keys or self.columns.tags}
        out: dict[str, set[str | None]] = {key: set() for key in keys}
        for shape, at in self.found(None, measurement):
            for key, j in shape.tag_at.items():
                if not keys or key in out:
                    values = shape.dictionaries[j].values
                    used = _occurring(shape.tag(j)[at], len(values))
                    out.setdefault(key, set()).update([values[code] for code in used])
        return out

    def _values_of(self, key: str) -> list[str | None]:
        dictionary = self.columns.tags.get(key)
        return dictionary.values if dictionary else []

    def times(self, measurement: str | None) -> list[datetime]:
        found = self.found(None, measurement)
        return arranged(found, [_datetimes(shape.time_us[at]) for shape, at in found]) if found else []

    def latest(self) -> datetime | None:
        newest = max((int(shape.time_us.max()) for shape in self.columns.shapes.values() if shape.n), default=None)
        return None if newest is None else EPOCH + timedelta(microseconds=newest)

    def points_at(self, positions: Sequence[int]) -> list[Point]:
        wanted = np.asarray(positions, np.int64)
        found: Found = []
        for shape in self.columns.shapes.values():
            at = (
                np.flatnonzero(np.isin(shape.rows, wanted, assume_unique=True))
                if len(wanted) > 8
                else _few(shape, wanted)
            )
            if len(at):
                found.append((shape, at))
        return list(map(lazy_point, *located(found, by_time=False)))

    def extend(self, groups: Iterable[Group]) -> None:
        """More points at the end."""
        self.columns.extend(groups)

    def replaced(self, positions: Sequence[int], points: Sequence[Point]) -> ColumnTable:
        at = np.asarray(positions, np.int64)
        return ColumnTable(self.columns.replaced(at, groups_of_points(points, at)), self.owned)

    def removed(self, positions: Sequence[int]) -> ColumnTable:
        at = np.asarray(positions, np.int64)
        owned = self.owned
        if owned is not None:
            gone = set(at.tolist())
            owned = [point for position, point in enumerate(owned) if position not in gone]
        return ColumnTable(self.columns.removed(at), owned)


def _few(shape: Shape, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    at = np.searchsorted(shape.rows, wanted)
    inside = at < shape.n
    at, wanted = at[inside], wanted[inside]
    out: NDArray[np.int64] = at[shape.rows[at] == wanted]
    return out


def _occurring(codes: NDArray[np.int32], size: int) -> list[int]:
    return np.flatnonzero(np.bincount(codes, minlength=size)).tolist()


def _datetimes(times_us: NDArray[np.int64]) -> list[datetime]:
    return list(map(EPOCH.__add__, times_us.view("m8[us]").tolist()))


def groups_of_points(points: Sequence[Point], rows: NDArray[np.int64]) -> list[Group]:
    """Points sorted into shapes. Their times are aware, `rows` are their positions."""
    by_keys: dict[tuple[Keys, Keys], list[int]] = {}
    for at, point in enumerate(points):
        by_keys.setdefault((tuple(point._tags), tuple(point._fields)), []).append(at)
    groups = []
    for (tag_keys, field_keys), members in by_keys.items():
        chosen = [points[at] for at in members]
        times = [((point._time or EPOCH) - EPOCH) // _MICROSECOND for point in chosen]
        groups.append(
            Group(
                tag_keys,
                field_keys,
                rows[members],
                np.array(times, np.int64),
                [point._measurement for point in chosen],
                [[point._tags[key] for point in chosen] for key in tag_keys],
                [[point._fields[key] for point in chosen] for key in field_keys],
            )
        )
    return groups


def groups_of_rows(rows: Rows, first: int, path: str, before: int) -> list[Group]:
    """Rows of a CSV file sorted into shapes; `first`: position of the first. IndexError, ValueError: a bad row.

    `before`: rows ahead of them in the file, for the message.
    """
    by_columns: dict[tuple[str, ...], list[int]] = {}
    for at, row in enumerate(rows.rows):
        by_columns.setdefault(tuple(row[2::2]), []).append(at)
    groups = []
    try:
        for columns, members in by_columns.items():
            chosen = [rows.rows[at] for at in members]
            if any(len(row) != 2 + 2 * len(columns) for row in chosen):
                raise IndexError("key without value")
            groups.append(_group(columns, list(zip(*chosen, strict=True)), np.array(members) + first))
    except (IndexError, ValueError):
        _complain(rows, before, path)
        raise
    return groups


def group_of_text(text: str, ending: str, first: int) -> Group | None:
    """The rows of a text if all have the same key columns, and no quote or torn row is in it; None if not so.

    What a program logs mostly looks like this, and a list per row need not be made.
    """
    width = text.count(",", 0, text.index(ending)) + 1
    # A line feed is in no column (there is no quote), so n of them at these places prove the width of every row.
    flat = text.replace(ending, ",\n,").split(",")
    flat.pop()
    n = len(flat) // (width + 1)
    if width % 2 or n * (width + 1) != len(flat) or flat[width :: width + 1].count("\n") != n:
        return None
    turned = [flat[at :: width + 1] for at in range(width)]
    columns = tuple(column[0] for column in turned[2::2])
    if any(column.count(key) != n for column, key in zip(turned[2::2], columns, strict=True)):
        return None
    try:
        return _group(columns, turned, np.arange(first, first + n))
    except (IndexError, ValueError):
        # The general way knows how to say which row it was.
        return None


def _group(columns: tuple[str, ...], turned: Sequence[Sequence[str]], positions: NDArray[np.int64]) -> Group:
    tag_keys, field_keys = row_keys(columns)
    fields_from = 3 + 2 * len(tag_keys)
    # A repeated key: the last one wins, as in a dict.
    tags = {key: _texts(column) for key, column in zip(tag_keys, turned[3:fields_from:2], strict=True)}
    fields = {key: _numbers(column) for key, column in zip(field_keys, turned[fields_from::2], strict=True)}
    return Group(
        tuple(tags),
        tuple(fields),
        positions,
        microseconds_of(turned[0]),
        turned[1],
        list(tags.values()),
        list(fields.values()),
    )


def _texts(column: Sequence[str]) -> Sequence[str | None]:
    return [tag_value(text) for text in column] if "_none" in column else column


def _numbers(column: Sequence[str]) -> list[Number]:
    # A text with a point in it is no int; if each has one, none is.
    if "".join(column).count(".") == len(column) and all("." in text for text in column):
        try:
            return list(map(float, column))
        except ValueError:
            return list(map(field_value, column))
    return list(map(field_value, column))


def _complain(rows: Rows, before: int, path: str) -> None:
    """Raises what the first bad row deserves."""
    for number, (row, start) in enumerate(zip(rows.rows, rows.starts, strict=True), 1):
        try:
            Point()._deserialize_from_list([] if row == [""] else row)
        except (IndexError, ValueError) as error:
            raise at_row(error, path, before + number, start) from error
