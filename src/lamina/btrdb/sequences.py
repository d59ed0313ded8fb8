"""Points as the lists and tuples that programs for BTrDB get, kept as columns: an object is made when one is asked for.

Equality, slices, repetition and repr are those of a list or tuple of the same objects. `columns` has the arrays,
`to_arrow`, `to_pandas` and `to_polars` make tables of them; no object is made for any of these.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from itertools import repeat
from typing import Any, TypeVar, overload

import numpy as np

from lamina.btrdb.point import RawPoint
from lamina.columns import Columns, Samples, Summaries

_BLOCK = 16_384
"""Objects made at once while iterating."""

_SHOWN = 1000
"""Elements that repr shows of a longer sequence."""

S = TypeVar("S", bound="PointTuple")


class PointTuple(Sequence[Any]):
    """An immutable sequence of points, or of (point, version) pairs."""

    __slots__ = ("_columns", "_make", "_version")
    __hash__ = None  # type: ignore[assignment]
    _plain: Callable[[Iterable[Any]], Any] = tuple
    """The builtin it stands for."""

    def __init__(self, columns: Columns, make: Callable[..., Any], version: int | None = None) -> None:
        """`make`: a point of one row of the columns. `version` None: points alone, without a version each."""
        self._columns = columns
        self._make = make
        self._version = version

    @property
    def columns(self) -> Columns:
        """Samples (time, value) or Summaries (time, min, mean, max, count, stddev)."""
        return self._columns

    def to_arrow(self) -> Any:
        """A pyarrow.Table; see `Columns.to_arrow`."""
        return self.columns.to_arrow()

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with `time` (UTC) as its index."""
        return self.columns.to_pandas()

    def to_polars(self) -> Any:
        """A polars.DataFrame."""
        return self.columns.to_polars()

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Any]:
        arrays = [getattr(self._columns, name) for name in self._columns.fields]
        for start in range(0, len(self._columns), _BLOCK):
            points = map(self._make, *(array[start : start + _BLOCK].tolist() for array in arrays))
            yield from points if self._version is None else zip(points, repeat(self._version))

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self: S, index: slice) -> S: ...

    def __getitem__(self, index: Any) -> Any:
        names = self._columns.fields
        if isinstance(index, slice):
            return self.taken(index)
        at = _position(index, len(self._columns), self._plain)
        point = self._make(*(getattr(self._columns, name)[at].item() for name in names))
        return point if self._version is None else (point, self._version)

    def taken(self: S, which: Any) -> S:
        """Some of them: a slice, or a NumPy array of positions."""
        columns = self.columns
        part = type(columns)(*(getattr(columns, name)[which] for name in columns.fields))
        return type(self)(part, self._make, self._version)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PointTuple) and other._plain is self._plain and len(self) == len(other):
            mine, theirs = self._array_parts(), other._array_parts()
            if mine is not None and theirs is not None and mine[1:] == theirs[1:]:
                return bool(mine[0] == theirs[0])
        elif not isinstance(other, self._plain):  # type: ignore[arg-type]
            return False if isinstance(other, PointTuple) else NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))  # type: ignore[arg-type,call-overload]

    def _array_parts(self) -> tuple[Columns, Any, Any] | None:
        """What decides equality without making objects; None: only the objects do."""
        return self._columns, self._make, self._version

    def __add__(self, other: Any) -> Any:
        return self._plain(self) + (other._plain(other) if isinstance(other, PointTuple) else other)

    def __radd__(self, other: Any) -> Any:
        return other + self._plain(self)

    def __mul__(self, times: int) -> Any:
        return self._plain(self) * times

    __rmul__ = __mul__

    def __repr__(self) -> str:
        if len(self) <= _SHOWN:
            return repr(self._plain(self))
        shown = repr(self._plain(self[:_SHOWN]))
        return f"{shown[:-1]}, ... {len(self) - _SHOWN} more{shown[-1]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._plain, (list(self),)


class PointList(PointTuple, MutableSequence[Any]):
    """As a list: it can be changed too. The first change makes all of its objects, and a list of them."""

    __slots__ = ("_items",)
    _plain = list

    def __init__(self, columns: Columns, make: Callable[..., Any], version: int | None = None) -> None:
        super().__init__(columns, make, version)
        self._items: list[Any] | None = None

    @property
    def columns(self) -> Columns:
        """As it is now, also after changes."""
        if self._items is None:
            return self._columns
        points = [item if self._version is None else item[0] for item in self._items]
        fields = self._columns.fields
        arrays = (
            np.array([getattr(point, name) for point in points], getattr(self._columns, name).dtype) for name in fields
        )
        return type(self._columns)(*arrays)

    def _thawed(self) -> list[Any]:
        if self._items is None:
            self._items = list(super().__iter__())
        return self._items

    def __len__(self) -> int:
        return super().__len__() if self._items is None else len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__() if self._items is None else iter(self._items)

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index) if self._items is None else self._items[index]

    def _array_parts(self) -> tuple[Columns, Any, Any] | None:
        return super()._array_parts() if self._items is None else None

    def __setitem__(self, index: Any, value: Any) -> None:
        self._thawed()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._thawed()[index]

    def insert(self, index: int, value: Any) -> None:
        """As list.insert."""
        self._thawed().insert(index, value)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """As list.sort."""
        self._thawed().sort(key=key, reverse=reverse)

    def copy(self) -> PointList:
        """A list of its own."""
        made = PointList(self._columns, self._make, self._version)
        made._items = None if self._items is None else self._items.copy()
        return made


class RowList(Sequence[tuple[Any, ...]]):
    """Rows of a join: a tuple per time with the point of each stream, None where it has none."""

    __slots__ = ("_places", "_points", "time")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, time: Any, points: Sequence[PointTuple], places: Sequence[Any]) -> None:
        """`time` of each row; `places`: for each stream the index of its point in each row, -1 for none."""
        self.time = time
        self._points = points
        self._places = places

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return RowList(self.time[index], self._points, [place[index] for place in self._places])
        at = _position(index, len(self.time), list)
        return tuple(
            points[int(place[at])] if place[at] >= 0 else None
            for points, place in zip(self._points, self._places, strict=True)
        )

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(
            *(_spread(points, place) for points, place in zip(self._points, self._places, strict=True)), strict=True
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowList | list):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __add__(self, other: Any) -> Any:
        return list(self) + list(other)

    def __repr__(self) -> str:
        shown = repr(list(self[:_SHOWN]))
        return shown if len(self) <= _SHOWN else f"{shown[:-1]}, ... {len(self) - _SHOWN} more]"


def _spread(points: PointTuple, place: Any) -> Iterator[Any]:
    """The points of some rows in order, None in the rows that have none."""
    there = place >= 0
    following = iter(points.taken(place[there]))
    return (next(following) if some else None for some in there.tolist())


def _position(index: Any, n: int, plain: Any) -> int:
    at = operator.index(index)
    if not -n <= at < n:
        raise IndexError(f"{plain.__name__} index out of range")
    return int(at)


def raw_points(samples: Samples, version: int | None = None) -> PointList:
    """The list of RawPoints, or of (RawPoint, version)."""
    return PointList(samples, RawPoint, version)


def stat_points(summaries: Summaries, make: Callable[..., Any], version: int | None = None) -> PointTuple:
    """The tuple of StatPoints, or of (StatPoint, version)."""
    return PointTuple(summaries, make, version)
