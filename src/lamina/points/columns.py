"""Points as columns, one table per *shape*: the tag keys and field keys a point has, in its order.

Positions are those of insertion order, 0 .. n-1, over all shapes. Texts are dictionary-coded; times are int64
microseconds since 1970, which covers years 1..9999; field values are float64, with a kind per value where a shape
holds anything but floats. A Shape only ever grows: updates and removals build new ones, so whoever holds a Shape and
a row number may read it later (that is what makes points lazy).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Number = int | float | None
Keys = tuple[str, ...]

# Kinds of a field value. An int up to 2**53 is exact in float64; ODD ones (longer ints) are kept beside the column.
FLOAT, INT, NULL, ODD = range(4)
_EXACT = 2**53
# Rows decoded together for whoever reads point after point: few enough not to matter if only one more is read.
_BLOCK_BITS = 7
_BLOCK_MASK = (1 << _BLOCK_BITS) - 1
# First room of a column: most shapes of a store with many are small.
_FIRST_ROOM = 16


class Dictionary:
    """Values of one text column, numbered as they come. Never shrinks, so a code keeps its meaning."""

    __slots__ = ("codes", "values")

    def __init__(self, values: Iterable[str | None] = ()) -> None:
        self.values: list[Any] = list(values)
        self.codes: dict[Any, int] = {value: code for code, value in enumerate(self.values)}

    def encode(self, values: Sequence[str | None]) -> NDArray[np.int32]:
        """Codes of the values, new ones numbered."""
        codes = self.codes
        try:
            return np.fromiter(map(codes.__getitem__, values), np.int32, len(values))
        except KeyError:
            for value in values:
                if value not in codes:
                    codes[value] = len(self.values)
                    self.values.append(value)
        return np.fromiter(map(codes.__getitem__, values), np.int32, len(values))


class Group(NamedTuple):
    """Points of one shape on their way into columns: parallel lists, `rows` ascending positions."""

    tag_keys: Keys
    field_keys: Keys
    rows: NDArray[np.int64]
    time_us: NDArray[np.int64]
    measurements: Sequence[str]
    tags: Sequence[Sequence[str | None]]
    fields: Sequence[Sequence[Number]]


class Shape:
    """All points that have just these tag keys and field keys, in insertion order.

    `ordered`: times never step back. `odd[j]`: values of field j that float64 cannot hold, by row.
    """

    __slots__ = (
        "_block",
        "_kinds",
        "_measurement",
        "_rows",
        "_seen",
        "_tags",
        "_time",
        "_values",
        "dictionaries",
        "field_at",
        "field_keys",
        "n",
        "names",
        "odd",
        "ordered",
        "tag_at",
        "tag_keys",
    )

    def __init__(self, tag_keys: Keys, field_keys: Keys, names: Dictionary, dictionaries: list[Dictionary]) -> None:
        self.tag_keys = tag_keys
        self.field_keys = field_keys
        self.tag_at = {key: j for j, key in enumerate(tag_keys)}
        self.field_at = {key: j for j, key in enumerate(field_keys)}
        self.names = names
        self.dictionaries = dictionaries
        self.n = 0
        self.ordered = True
        self._seen = -1
        self._block: tuple[int, list[Any], list[Any], list[Any], list[Any]] = (-1, [], [], [], [])
        self._rows = np.empty(0, np.int64)
        self._time = np.empty(0, np.int64)
        self._measurement = np.empty(0, np.int32)
        self._tags = [np.empty(0, np.int32) for _ in tag_keys]
        self._values = [np.empty(0, np.float64) for _ in field_keys]
        self._kinds: list[NDArray[np.uint8] | None] = [None for _ in field_keys]
        self.odd: list[dict[int, Any]] = [{} for _ in field_keys]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Positions, ascending."""
        return self._rows[: self.n]

    @property
    def time_us(self) -> NDArray[np.int64]:
        return self._time[: self.n]

    @property
    def measurement(self) -> NDArray[np.int32]:
        """Codes in `names`."""
        return self._measurement[: self.n]

    def tag(self, j: int) -> NDArray[np.int32]:
        """Codes of tag j in `dictionaries[j]`."""
        return self._tags[j][: self.n]

    def field(self, j: int) -> NDArray[np.float64]:
        """Values of field j; NaN where the kind is NULL or ODD."""
        return self._values[j][: self.n]

    def kinds(self, j: int) -> NDArray[np.uint8] | None:
        """Kinds of the values of field j, or None if all are floats."""
        kinds = self._kinds[j]
        return None if kinds is None else kinds[: self.n]

    def values(self, row: int) -> tuple[timedelta, str, dict[str, str | None], dict[str, Number]]:
        """Time since 1970, measurement, tags and fields of one row; new dicts."""
        number = row >> _BLOCK_BITS
        first, times, names, tag_rows, field_rows = self._block
        if number != first or row & _BLOCK_MASK >= len(times):
            if number != self._seen:
                self._seen = number
                return self._one(row)
            # The second row asked for near the first: somebody walks.
            self._block = self._decoded(number)
            first, times, names, tag_rows, field_rows = self._block
        at = row & _BLOCK_MASK
        tags = dict(zip(self.tag_keys, tag_rows[at], strict=True))
        return times[at], names[at], tags, dict(zip(self.field_keys, field_rows[at], strict=True))

    def _decoded(self, number: int) -> tuple[int, list[Any], list[Any], list[Any], list[Any]]:
        at = slice(number << _BLOCK_BITS, min((number + 1) << _BLOCK_BITS, self.n))
        tags = [self.tag_list(j, at) for j in range(len(self.tag_keys))]
        fields = [self.field_list(j, at) for j in range(len(self.field_keys))]
        nothing: list[Any] = [()] * (at.stop - at.start)
        return (
            number,
            self.time_us[at].view("m8[us]").tolist(),
            self.measurement_list(at),
            list(zip(*tags, strict=True)) if tags else nothing,
            list(zip(*fields, strict=True)) if fields else nothing,
        )

    def _one(self, row: int) -> tuple[timedelta, str, dict[str, str | None], dict[str, Number]]:
        tags = {
            key: dictionary.values[codes.item(row)]
            for key, dictionary, codes in zip(self.tag_keys, self.dictionaries, self._tags, strict=True)
        }
        fields: dict[str, Number] = {
            key: values.item(row) for key, values in zip(self.field_keys, self._values, strict=True)
        }
        for j, kinds in enumerate(self._kinds):
            if kinds is not None and kinds[row]:
                fields[self.field_keys[j]] = self._exact(j, row, int(kinds[row]))
        time = timedelta(microseconds=self._time.item(row))
        return time, self.names.values[self._measurement.item(row)], tags, fields

    def _exact(self, j: int, row: int, kind: int) -> Any:
        if kind == INT:
            return int(self._values[j][row])
        return None if kind == NULL else self.odd[j][row]

    def tag_list(self, j: int, at: Any) -> list[str | None]:
        """Values of tag j at these rows (an index array or a slice)."""
        values = self.dictionaries[j].values
        return [values[code] for code in self.tag(j)[at].tolist()]

    def measurement_list(self, at: Any) -> list[str]:
        """Measurements at these rows."""
        values = self.names.values
        return [values[code] for code in self.measurement[at].tolist()]

    def field_list(self, j: int, at: Any) -> list[Any]:
        """Values of field j at these rows, as they were: ints as ints, None as None."""
        out: list[Any] = self.field(j)[at].tolist()
        kinds = self.kinds(j)
        if kinds is not None:
            chosen = kinds[at]
            special = np.flatnonzero(chosen)
            rows = np.arange(at.start, at.stop) if isinstance(at, slice) else at
            for k in special.tolist():
                out[k] = self._exact(j, int(rows[k]), int(chosen[k]))
        return out

    def extend(self, group: Group) -> None:
        """More points at the end; their positions must lie above all there are."""
        n, extra = self.n, len(group.rows)
        self._rows = extended(self._rows, n, group.rows)
        self._time = extended(self._time, n, group.time_us)
        self._measurement = extended(self._measurement, n, self.names.encode(group.measurements))
        for j, texts in enumerate(group.tags):
            self._tags[j] = extended(self._tags[j], n, self.dictionaries[j].encode(texts))
        for j, numbers in enumerate(group.fields):
            values, kinds, odd = _numbers(numbers)
            self._values[j] = extended(self._values[j], n, values)
            old = self._kinds[j]
            if kinds is not None or old is not None:
                if old is None:
                    old = np.zeros(n, np.uint8)
                self._kinds[j] = extended(old, n, np.zeros(extra, np.uint8) if kinds is None else kinds)
            for row, value in odd.items():
                self.odd[j][n + row] = value
        self.n = n + extra
        if self.ordered:
            self.ordered = bool((np.diff(self._time[max(n - 1, 0) : self.n]) >= 0).all())

    def arrays(self) -> list[NDArray[Any]]:
        """All columns, in the order `restored` wants them: kinds last, of the fields that have them."""
        kinds = [kinds[: self.n] for kinds in self._kinds if kinds is not None]
        tags = [self.tag(j) for j in range(len(self.tag_keys))]
        fields = [self.field(j) for j in range(len(self.field_keys))]
        return [self.rows, self.time_us, self.measurement, *tags, *fields, *kinds]

    def restored(self, n: int, ordered: bool, with_kinds: Sequence[bool], arrays: Iterable[NDArray[Any]]) -> None:
        """Takes over columns `arrays` gave; they may be read-only."""
        columns = iter(arrays)
        self.n, self.ordered = n, ordered
        self._rows, self._time, self._measurement = next(columns), next(columns), next(columns)
        self._tags = [next(columns) for _ in self.tag_keys]
        self._values = [next(columns) for _ in self.field_keys]
        self._kinds = [next(columns) if has else None for has in with_kinds]

    def kept(self, keep: NDArray[np.bool_], rows: NDArray[np.int64]) -> Shape:
        """A new shape of the rows to keep; `rows` are their new positions."""
        out = Shape(self.tag_keys, self.field_keys, self.names, self.dictionaries)
        out.n = len(rows)
        out._rows = rows
        out._time = self.time_us[keep]
        out._measurement = self.measurement[keep]
        out._tags = [codes[: self.n][keep] for codes in self._tags]
        out._values = [values[: self.n][keep] for values in self._values]
        out._kinds = [None if kinds is None else kinds[: self.n][keep] for kinds in self._kinds]
        if any(self.odd):
            new_row = np.cumsum(keep) - 1
            out.odd = [{int(new_row[row]): v for row, v in odd.items() if keep[row]} for odd in self.odd]
        out.ordered = self.ordered or bool((np.diff(out._time) >= 0).all())
        return out

    def merged(self, group: Group) -> Shape:
        """A new shape with the group's points inserted where their positions belong."""
        added = Shape(self.tag_keys, self.field_keys, self.names, self.dictionaries)
        added.extend(group)
        at = np.searchsorted(self.rows, group.rows)
        out = Shape(self.tag_keys, self.field_keys, self.names, self.dictionaries)
        out.n = self.n + added.n
        out._rows = np.insert(self.rows, at, added.rows)
        out._time = np.insert(self.time_us, at, added.time_us)
        out._measurement = np.insert(self.measurement, at, added.measurement)
        for j in range(len(self.tag_keys)):
            out._tags[j] = np.insert(self.tag(j), at, added.tag(j))
        for j in range(len(self.field_keys)):
            out._values[j] = np.insert(self.field(j), at, added.field(j))
            mine, theirs = self.kinds(j), added.kinds(j)
            if mine is not None or theirs is not None:
                mine = np.zeros(self.n, np.uint8) if mine is None else mine
                theirs = np.zeros(added.n, np.uint8) if theirs is None else theirs
                out._kinds[j] = np.insert(mine, at, theirs)
        if any(self.odd) or any(added.odd):
            mine_at = np.searchsorted(out._rows, self.rows)
            theirs_at = np.searchsorted(out._rows, added.rows)
            for j, odd in enumerate(out.odd):
                odd.update((int(mine_at[row]), value) for row, value in self.odd[j].items())
                odd.update((int(theirs_at[row]), value) for row, value in added.odd[j].items())
        out.ordered = bool((np.diff(out._time) >= 0).all())
        return out


def extended(column: NDArray[Any], n: int, more: NDArray[Any]) -> NDArray[Any]:
    """The column with `more` at [n:]; a longer one when there is no room, grown by half so that appends stay cheap."""
    total = n + len(more)
    # What came from a checkpoint is a read-only view of its bytes.
    if total > len(column) or not column.flags.writeable:
        room = np.empty(max(total, n + n // 2 if n else total, _FIRST_ROOM), column.dtype)
        room[:n] = column[:n]
        column = room
    column[n:total] = more
    return column


def _numbers(
    numbers: Sequence[Number],
) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None, dict[int, Any]]:
    """Values, kinds (None: all floats) and the odd ones by row."""
    if set(map(type, numbers)) <= {float}:
        return np.array(numbers, np.float64), None, {}
    n = len(numbers)
    values = np.full(n, np.nan)
    kinds = np.zeros(n, np.uint8)
    odd: dict[int, Any] = {}
    for row, value in enumerate(numbers):
        if type(value) is float:
            values[row] = value
        elif value is None:
            kinds[row] = NULL
        elif type(value) is int and -_EXACT <= value <= _EXACT:
            values[row] = value
            kinds[row] = INT
        else:
            kinds[row] = ODD
            odd[row] = value
    return values, kinds, odd


# The points a query found, by shape: rows ascending. A slice stands for a run of rows.
Found = list[tuple[Shape, slice | NDArray[np.int64]]]


class Columns:
    """All points of a store. `measurements` and `tags` are its dictionaries; `shapes` in order of appearance."""

    def __init__(self) -> None:
        self.n = 0
        # Whether every value in the dictionaries still occurs: nothing was taken out yet.
        self.complete = True
        self.measurements = Dictionary()
        self.tags: dict[str, Dictionary] = {}
        self.shapes: dict[tuple[Keys, Keys], Shape] = {}

    def shape(self, tag_keys: Keys, field_keys: Keys) -> Shape:
        """The shape with these keys, made if there is none."""
        shape = self.shapes.get((tag_keys, field_keys))
        if shape is None:
            dictionaries = [self.tags.setdefault(key, Dictionary()) for key in tag_keys]
            shape = self.shapes[tag_keys, field_keys] = Shape(tag_keys, field_keys, self.measurements, dictionaries)
        return shape

    def extend(self, groups: Iterable[Group]) -> None:
        """More points at the end: groups whose rows together are n, n+1, ...; several may have one shape."""
        for group in groups:
            shape = self.shape(group.tag_keys, group.field_keys)
            if shape.n and group.rows[0] < shape.rows[-1]:
                self.shapes[group.tag_keys, group.field_keys] = shape.merged(group)
            else:
                shape.extend(group)
            self.n += len(group.rows)

    def removed(self, positions: NDArray[np.int64]) -> Columns:
        """New columns without these positions (ascending); what follows moves up."""
        out = self._twin(self.n - len(positions))
        for keys, shape in self.shapes.items():
            keep = ~np.isin(shape.rows, positions, assume_unique=True)
            rows = shape.rows[keep]
            if len(rows):
                out.shapes[keys] = shape.kept(keep, rows - np.searchsorted(positions, rows))
        return out

    def replaced(self, positions: NDArray[np.int64], groups: Iterable[Group]) -> Columns:
        """New columns with the points at these positions (ascending) replaced by the groups'."""
        out = self._twin(self.n)
        for keys, shape in self.shapes.items():
            keep = ~np.isin(shape.rows, positions, assume_unique=True)
            if keep.all():
                out.shapes[keys] = shape
            elif keep.any():
                out.shapes[keys] = shape.kept(keep, shape.rows[keep])
        for group in groups:
            shape = out.shape(group.tag_keys, group.field_keys)
            out.shapes[group.tag_keys, group.field_keys] = shape.merged(group)
        return out

    def _twin(self, n: int) -> Columns:
        out = Columns()
        out.n, out.measurements, out.tags = n, self.measurements, self.tags
        out.complete = False
        return out

    def everything(self) -> Found:
        """All points."""
        return [(shape, slice(0, shape.n)) for shape in self.shapes.values()]


def count(found: Found) -> int:
    """How many points."""
    return sum(at.stop - at.start if isinstance(at, slice) else len(at) for _, at in found)


def positions(found: Found) -> NDArray[np.int64]:
    """Their positions, ascending."""
    if len(found) == 1:
        return found[0][0].rows[found[0][1]]
    return np.sort(_joined([shape.rows[at] for shape, at in found]))


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def order(found: Found, by_time: bool) -> NDArray[np.int64] | None:
    """How to rearrange values listed shape after shape: into insertion order, or by time with ties in that order.

    None: they are in order as they are.
    """
    if len(found) <= 1:
        if not by_time or not found or found[0][0].ordered:
            return None
        return np.argsort(found[0][0].time_us[found[0][1]], kind="stable")
    rows = _joined([shape.rows[at] for shape, at in found])
    by_row = np.argsort(rows, kind="stable")
    if not by_time:
        return by_row
    times = _joined([shape.time_us[at] for shape, at in found])
    return by_row[np.argsort(times[by_row], kind="stable")]


def located(found: Found, by_time: bool) -> tuple[list[Shape], list[int]]:
    """Shape and row of each point, in order."""
    shapes: list[Shape] = []
    rows: list[int] = []
    for shape, at in found:
        here = list(range(at.start, at.stop)) if isinstance(at, slice) else at.tolist()
        shapes += [shape] * len(here)
        rows += here
    ranks = order(found, by_time)
    if ranks is None:
        return shapes, rows
    turn = ranks.tolist()
    return [shapes[k] for k in turn], [rows[k] for k in turn]


def arranged(found: Found, parts: Sequence[list[Any]], by_time: bool = False) -> list[Any]:
    """Lists of values, one per shape found, joined in order."""
    joined = parts[0] if len(parts) == 1 else [value for part in parts for value in part]
    ranks = order(found, by_time)
    return joined if ranks is None else [joined[k] for k in ranks.tolist()]
