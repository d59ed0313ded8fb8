"""Typed column bundles: what travels between the floors and what the native API returns.

Each bundle is a set of NumPy arrays of one length. `to_arrow`, `to_pandas` and `to_polars` import their library on
call and name the missing extra; schemas are those of the BTrDB Arrow RPCs (time: timestamp[ns, UTC], not null).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Times = NDArray[np.int64]
Values = NDArray[np.float64]


FIRST_ROOM = 16
"""Parts as long as the first that fit before columns are copied into ones twice as long."""


class Columns:
    """Base of the bundles: `fields` names the columns in order; equality compares all values; conversions."""

    __slots__ = ()
    fields: tuple[str, ...] = ()
    _types = ""  # of the columns, a letter each as NumPy has them
    _last = "time"  # the field whose last entry ends the bundle

    def __init__(self, *columns: NDArray[Any]) -> None:
        for name, column in zip(self.fields, columns, strict=True):
            setattr(self, name, column)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """All parts one behind the other; a single one is returned as it is."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls(*(np.empty(0, letter) for letter in cls._types))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.fields))

    @classmethod
    def gathered(cls, parts: Iterator[Self]) -> Self:
        """As concat, of parts that are still being made: each is copied as it comes, when its memory is warm and
        somebody else may be at work on the next one."""
        few = list(islice(parts, 2))
        if len(few) < 2:
            return cls.concat(few)
        n, room = 0, FIRST_ROOM * max(map(len, few))
        columns = [np.empty(room, letter) for letter in cls._types]
        for part in chain(few, parts):
            end = n + len(part)
            if end > room:
                room = 2 * end
                longer = [np.empty(room, letter) for letter in cls._types]
                for column, old in zip(longer, columns, strict=True):
                    column[:n] = old[:n]
                columns = longer
            for name, column in zip(cls.fields, columns, strict=True):
                column[n:end] = getattr(part, name)
            n = end
        # Room may be memory that was in use before, and a slice would hold all of it.
        return cls(*(column[:n].copy() if 2 * n < room else column[:n] for column in columns))

    def __len__(self) -> int:
        return len(getattr(self, self.fields[0]))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        first, last = getattr(self, self.fields[0]), getattr(self, self._last)
        span = f", {first[0]} .. {last[-1]}" if len(self) else ""
        return f"<{type(self).__name__} n={len(self)}{span}>"

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow.Table over the same buffers (no copy); `time` is timestamp[ns, UTC], nothing is nullable."""
        pa = library("pyarrow", "arrow")
        arrays, fields = [], []
        for name in self.fields:
            column = self._shown(name)
            if column.dtype == np.int64:
                array = pa.array(column).view(pa.timestamp("ns", tz="UTC"))
            else:
                array = pa.array(column)
            arrays.append(array)
            fields.append(pa.field(name, array.type, nullable=False))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas.DataFrame with `time` (UTC) as its index."""
        pd = library("pandas", "pandas")
        data = {name: self._shown(name) for name in self.fields[1:]}
        index = pd.DatetimeIndex(getattr(self, self.fields[0]).view("datetime64[ns]"), tz="UTC", name="time")
        return pd.DataFrame(data, index=index)

    def _shown(self, name: str) -> NDArray[Any]:
        """A column as a table shows it."""
        column: NDArray[Any] = getattr(self, name)
        return column

    def to_polars(self) -> polars.DataFrame:
        """A polars.DataFrame with `time` as Datetime("ns", "UTC")."""
        return library("polars", "polars").from_arrow(self.to_arrow())


class Samples(Columns):
    """Points of a stream: time int64 ns, value float64; ascending time, equal times in insertion order.

    Iterating gives (time, value) pairs of Python numbers.
    """

    __slots__ = ("time", "value")
    fields = ("time", "value")
    _types = "qd"

    def __init__(self, time: Times, value: Values) -> None:
        self.time = time
        self.value = value

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.time.tolist(), self.value.tolist(), strict=True)


class Summaries(Columns):
    """Summaries of windows: time int64 (window start, ns), min, mean, max float64, count uint64, stddev float64.

    stddev is the population standard deviation. An empty window, where it is given at all, has count 0 and 0.0
    in every statistic; tables made of it show NaN there. Iterating gives tuples in the order of the fields.
    """

    __slots__ = ("count", "max", "mean", "min", "stddev", "time")
    fields = ("time", "min", "mean", "max", "count", "stddev")
    _types = "qdddQd"

    def __init__(
        self, time: Times, min: Values, mean: Values, max: Values, count: NDArray[np.uint64], stddev: Values
    ) -> None:
        self.time = time
        self.min = min
        self.mean = mean
        self.max = max
        self.count = count
        self.stddev = stddev

    def __iter__(self) -> Iterator[tuple[int, float, float, float, int, float]]:
        return zip(*(getattr(self, name).tolist() for name in self.fields), strict=True)

    def _repr_html_(self) -> str:
        from lamina.display import plot

        return f"<div>{repr(self).strip('<>')}{'<br>' + plot(self) if self.count.any() else ''}</div>"

    def _shown(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = getattr(self, name)
        if name in ("time", "count") or self.count.all():
            return column
        return np.where(self.count > 0, column, np.nan)


class Ranges(Columns):
    """Disjoint ranges of time in ascending order: start (inclusive) and end (exclusive), int64 ns.

    Iterating gives (start, end) pairs of Python numbers.
    """

    __slots__ = ("end", "start")
    fields = ("start", "end")
    _types = "qq"
    _last = "end"

    def __init__(self, start: Times, end: Times) -> None:
        self.start = start
        self.end = end

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas.DataFrame with the columns `start` and `end` (UTC)."""
        pd = library("pandas", "pandas")
        columns = {name: getattr(self, name).view("datetime64[ns]") for name in self.fields}
        return pd.DataFrame({name: pd.DatetimeIndex(column, tz="UTC") for name, column in columns.items()})

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.start.tolist(), self.end.tolist(), strict=True)


def library(name: str, extra: str) -> Any:
    """An optional library, imported now; ModuleNotFoundError names the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        hint = f"pip install {name}" if name == "pyarrow" else f"pip install {name} pyarrow"
        raise ModuleNotFoundError(f"{name} is not installed: {hint} (the extra lamina[{extra}])", name=name) from None
