"""Points that a search found, as objects, as columns or as a table."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, SupportsIndex, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lamina.points.batch import Batch, concat
from lamina.points.field import ABSENT, FieldColumn, constant, joined
from lamina.points.point import Point
from lamina.points.search import Selection

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

P = TypeVar("P", bound=Point)
U64 = NDArray[np.uint64]
OrderBy = Literal["time", "insertion"]

ITERATED = 4096
"""Points made at a time while one iterates: a loop that ends early pays for no more."""


class Part(NamedTuple):
    """What was found in one measurement."""

    measurement: str
    found: Selection


_T = TypeVar("_T", bound=np.generic)


def _together(columns: Sequence[NDArray[_T]], dtype: type[_T]) -> NDArray[_T]:
    return np.concatenate(columns) if columns else np.empty(0, dtype)


class PointSet:
    """Result of a search: a sequence of points that never changes, whatever is written afterwards.

    What it holds is read when it is first looked at, and kept. `len` reads nothing. Iterating gives `Point` objects of
    their own, times in UTC; `to_arrow`, `to_pandas` and `to_polars` give tables with a column `time`, a column
    `measurement`, one per tag key (text) and one per field key. Thread-safe.
    """

    def __init__(self, parts: Sequence[Part], order: OrderBy, limit: int | None, release: Callable[[], None]) -> None:
        """`release` is called once nothing more will be read."""
        self._parts = list(parts)
        self._order = order
        found = sum(part.found.n for part in parts)
        self._n = found if limit is None else min(found, limit)
        self._loaded: tuple[Batch, U64, NDArray[np.intp]] | None = None
        self._release = weakref.finalize(self, release)
        if not self._n:
            self._release()

    def __len__(self) -> int:
        return self._n

    def _load(self) -> tuple[Batch, U64, NDArray[np.intp]]:
        """Points in order, their ordinals, and the part that each is of. Raises Corrupt, NotFound."""
        loaded = self._loaded
        if loaded is None:
            parts, order = self._in_order()
            ordinals = _together([found.ordinals() for found in parts], np.uint64)
            which = np.repeat(np.arange(len(parts)), [found.n for found in parts])
            batch = concat([found.batch() for found in parts]).take(order)
            loaded = self._loaded = batch, ordinals[order], which[order]
            self._release()
        return loaded

    def _selections(self) -> list[tuple[str, Selection]]:
        """What was found of each measurement, less what is beyond the limit, in no order."""
        whole = self._n == sum(part.found.n for part in self._parts)
        found = [part.found for part in self._parts] if whole else self._in_order()[0]
        return list(zip([part.measurement for part in self._parts], found, strict=True))

    def _in_order(self) -> tuple[list[Selection], NDArray[np.intp]]:
        """What was found of each part, less what is beyond the limit, and the order of all of it."""
        parts = [part.found for part in self._parts]
        order = self._sorted(parts)
        if self._n == len(order):
            return parts, order
        chosen = np.zeros(len(order), np.bool_)
        chosen[order[: self._n]] = True
        ends = np.cumsum([found.n for found in parts])
        few = [found.keep(mask) for found, mask in zip(parts, np.split(chosen, ends[:-1]), strict=True)]
        return few, self._sorted(few)

    def _sorted(self, parts: Sequence[Selection]) -> NDArray[np.intp]:
        ordinals = _together([found.ordinals() for found in parts], np.uint64)
        if self._order == "insertion":
            return np.argsort(ordinals, kind="stable")
        return np.lexsort((ordinals, _together([found.times() for found in parts], np.int64)))

    @property
    def batch(self) -> Batch:
        """The points as columns, without their measurements."""
        return self._load()[0]

    @property
    def ordinals(self) -> U64:
        """Place of each point among all points of the database, in the order in which they were inserted."""
        return self._load()[1]

    def measurements(self) -> list[str]:
        """The measurement of each point."""
        names = [part.measurement for part in self._parts]
        return [names[number] for number in self._load()[2].tolist()]

    def times(self) -> NDArray[np.int64]:
        """Times in µs since the epoch. Reads no more than it needs."""
        if self._loaded is not None:
            return self._loaded[0].time_us
        parts, order = self._in_order()
        return _together([found.times() for found in parts], np.int64)[order]

    def field(self, key: str) -> FieldColumn:
        """One field as a column. Reads no more than it needs."""
        if self._loaded is not None:
            column = self._loaded[0].fields.get(key)
            return constant(ABSENT, self._n) if column is None else column
        parts, order = self._in_order()
        return joined([found.field(key) for found in parts] or [constant(ABSENT, 0)]).take(order)

    def __iter__(self) -> Iterator[Point]:
        return self.each(Point)

    def each(self, make: Callable[[], P]) -> Iterator[P]:
        """As iterating gives them; `make` gives empty points of another class, to be filled."""
        for first in range(0, self._n, ITERATED):
            yield from self._points(slice(first, first + ITERATED), make)

    def _points(self, rows: slice, make: Callable[[], P]) -> list[P]:
        batch, _, which = self._load()
        some = batch.take(rows)
        if len(self._parts) == 1:
            return some.points(self._parts[0].measurement, make)
        points = some.points("", make)
        for point, number in zip(points, which[rows].tolist(), strict=True):
            point._measurement = self._parts[number].measurement
        return points

    def points(self) -> list[Point]:
        """All of them as objects. Costs 2 µs each."""
        return self._points(slice(0, self._n), Point)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> list[Point]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Point | list[Point]:
        """One point, or a list of some. Raises IndexError."""
        if isinstance(index, slice):
            return self._points(index, Point)
        return self.point(index, Point)

    def point(self, index: SupportsIndex, make: Callable[[], P]) -> P:
        """One of them, as `each` gives it. Raises IndexError."""
        place = range(self._n)[index]  # as of any sequence
        (point,) = self._points(slice(place, place + 1), make)
        return point

    def to_arrow(self) -> pyarrow.Table:
        """A table: time timestamp[us, UTC], measurement, tags and fields; null where a point lacks a key or has None.

        A field that has values of several kinds becomes text, one of ints and floats becomes float64. Raises
        InvalidArgument if a tag and a field have one key, ImportError without pyarrow.
        """
        from lamina.points.tables import arrow_of_batch

        return arrow_of_batch(self.batch, self.measurements())

    def to_pandas(self) -> pandas.DataFrame:
        """As `to_arrow`, with `time` as index."""
        from lamina.columns import library

        library("pandas", "pandas")
        return self.to_arrow().to_pandas().set_index("time")

    def to_polars(self) -> polars.DataFrame:
        """As `to_arrow`."""
        from lamina.columns import library

        return library("polars", "polars").from_arrow(self.to_arrow())

    def __repr__(self) -> str:
        names = ", ".join(part.measurement for part in self._parts[:3])
        return f"<lamina.PointSet n={self._n}{f' of {names}' if names else ''}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import points_html

        return points_html(self)
