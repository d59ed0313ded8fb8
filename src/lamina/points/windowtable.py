"""Statistics of a field per window of time, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamina.columns import library

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

F64 = NDArray[np.float64]

NAMES = ("time", "count", "min", "mean", "max", "stddev")


class WindowTable:
    """Windows that hold at least one number: by group, where there are groups, then by time.

    time int64 (start of the window, µs since 1970, UTC), count int64, min, mean, max, stddev float64 (of the
    population; NaN where an infinity is among the numbers). `by`: tag key -> its value in each row, None where the
    points lack it.
    Iterating gives tuples in this order, tag values first.
    """

    __slots__ = ("by", "count", "max", "mean", "min", "stddev", "time")

    def __init__(
        self,
        time: NDArray[np.int64],
        count: NDArray[np.int64],
        min: F64,
        mean: F64,
        max: F64,
        stddev: F64,
        by: Mapping[str, Sequence[str | None]],
    ) -> None:
        self.time = time
        self.count = count
        self.min = min
        self.mean = mean
        self.max = max
        self.stddev = stddev
        self.by = by

    def __len__(self) -> int:
        return len(self.time)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        columns = [getattr(self, name).tolist() for name in NAMES]
        return zip(*self.by.values(), *columns, strict=True)

    def __repr__(self) -> str:
        span = f", {self.time[0]} .. {self.time[-1]}" if len(self) else ""
        return f"<lamina.WindowTable n={len(self)}{span}{''.join(f', by {key}' for key in self.by)}>"

    def to_arrow(self) -> pyarrow.Table:
        """Tag values, then time as timestamp[us, UTC] and the statistics. Needs pyarrow (`lamina[arrow]`).

        A tag that is called like one of these columns gets a leading underscore."""
        pa = library("pyarrow", "arrow")
        columns: dict[str, Any] = {
            f"_{key}" if key in NAMES else key: pa.array(values, pa.string()) for key, values in self.by.items()
        }
        columns["time"] = pa.array(self.time).view(pa.timestamp("us", tz="UTC"))
        return pa.table(columns | {name: pa.array(getattr(self, name)) for name in NAMES[1:]})

    def to_pandas(self) -> pandas.DataFrame:
        """As `to_arrow`, with `time` as index."""
        library("pandas", "pandas")
        return self.to_arrow().to_pandas().set_index("time")

    def to_polars(self) -> polars.DataFrame:
        """As `to_arrow`."""
        return library("polars", "polars").from_arrow(self.to_arrow())
