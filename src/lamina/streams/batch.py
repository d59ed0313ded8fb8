"""A batch of points as it comes from a caller: checked in full before anything is logged, sorted once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Times, Values
from lamina.errors import InvalidArgument, InvalidTimeRange, InvalidValue
from lamina.time import LAST_TIME, MIN_TIME, to_ns

_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)


def checked(times: Any, values: Any = None) -> tuple[Times, Values]:
    """Contiguous int64 times, ascending (equal ones in the order given), and their float64 values.

    `times` may be integers (ns), datetime64 of any unit, or a list of what `to_ns` takes (a Python call each); or a
    table of two columns (Arrow table or record batch, pandas or polars DataFrame, Samples) with `values` left out.
    Input arrays are not copied where they fit already, nor kept beyond the call that logs them.
    Raises InvalidArgument (shapes, types), InvalidTimeRange (outside [MIN_TIME, MAX_TIME - 1)), InvalidValue (NaN,
    infinity, null).
    """
    if values is None:
        times, values = _columns(times)
    # What fits already is taken as it is: the general way would hand back the same array, at 2 µs of a small insert.
    time_column = times if _fits(times, _INT64) else _times(times)
    value_column = values if _fits(values, _FLOAT64) else _values(values)
    if time_column.ndim != 1 or time_column.shape != value_column.shape:
        raise InvalidArgument(
            f"times of shape {time_column.shape} and values of shape {value_column.shape}: "
            "expected two columns of one length"
        )
    if len(time_column):
        descents = np.count_nonzero(time_column[1:] < time_column[:-1])
        if descents:
            _check_range(int(time_column.min()), int(time_column.max()))
        else:
            _check_range(time_column.item(0), time_column.item(-1))
        if np.count_nonzero(np.isfinite(value_column)) < len(value_column):
            bad = int(np.flatnonzero(~np.isfinite(value_column))[0])
            raise InvalidValue(f"value {value_column[bad]} at position {bad}: only finite numbers are stored")
        if descents:
            order = np.argsort(time_column, kind="stable")
            time_column, value_column = time_column[order], value_column[order]
    return time_column, value_column


def as_given(table: Any) -> tuple[Times, Values]:
    """The columns of a table that `checked` takes, in its order; times and values are not checked for their ranges.

    Raises InvalidArgument (shapes, types), InvalidValue (null)."""
    times, values = _columns(table)
    return _times(times), _values(values)


def _fits(column: Any, dtype: np.dtype[Any]) -> bool:
    return type(column) is np.ndarray and column.dtype == dtype and column.flags.c_contiguous and column.flags.aligned


def _check_mask(column: Any) -> None:
    mask = getattr(column, "mask", None)
    if isinstance(mask, np.ndarray | np.bool_) and mask.any():
        raise InvalidValue("masked entries cannot be stored: every point has a time and a value")


def _check_range(low: int, high: int) -> None:
    if low < MIN_TIME or high > LAST_TIME:
        bad = low if low < MIN_TIME else high
        raise InvalidTimeRange(
            f"insert contains points outside valid time interval: time {bad}, allowed {MIN_TIME} .. {LAST_TIME}"
        )


def _times(times: Any) -> Times:
    _check_mask(times)
    if hasattr(times, "dt") and hasattr(times, "to_numpy"):  # a pandas series
        times = _naive(times)
    array = np.asarray(times)
    if array.dtype.kind in "OU" and array.ndim == 1:  # datetimes or ISO text: a Python call per point
        array = np.array([to_ns(time) for time in array.tolist()], np.int64)
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            raise InvalidValue("NaT is not a time")
        return _exact_ns(array)
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise InvalidTimeRange(f"insert contains points outside valid time interval: time {array.max()}")
    if array.dtype.kind not in "iu" and array.size:
        raise InvalidArgument(f"times of type {array.dtype}: expected integers (ns) or datetime64")
    return np.require(array, np.int64, ("C", "A"))


def _exact_ns(array: NDArray[Any]) -> Times:
    scaled = array.astype("datetime64[ns]")
    if (scaled.astype(array.dtype) != array).any():
        raise InvalidTimeRange(f"times of type {array.dtype} reach beyond int64 nanoseconds")
    return np.ascontiguousarray(scaled).view(np.int64)


def _values(values: Any) -> Values:
    _check_mask(values)
    array = np.asarray(values)
    if array.dtype == object:
        raise InvalidArgument("values of mixed types: expected numbers")
    if array.dtype.kind not in "fiub" and array.size:
        raise InvalidArgument(f"values of type {array.dtype}: expected numbers")
    return np.require(array, np.float64, ("C", "A"))


def _columns(table: Any) -> tuple[Any, Any]:
    """The two columns of a table; by name (time, value) where it has them, else by position."""
    if hasattr(table, "time") and hasattr(table, "value") and not hasattr(table, "columns"):
        return table.time, table.value  # Samples
    if hasattr(table, "to_batches") or type(table).__module__.startswith("pyarrow"):
        return _arrow_columns(table)
    if hasattr(table, "to_arrow"):  # polars
        return _arrow_columns(table.to_arrow())
    if hasattr(table, "to_numpy") and hasattr(table, "index"):  # pandas
        return _pandas_columns(table)
    raise InvalidArgument(
        f"{type(table).__name__}: expected times and values, or a table with a time and a value column"
    )


def _arrow_columns(table: Any) -> tuple[Any, Any]:
    names = list(table.schema.names)
    if len(names) < 2:
        raise InvalidArgument(f"table with columns {names}: expected a time and a value column")
    time_name, value_name = ("time", "value") if {"time", "value"} <= set(names) else names[:2]
    columns = []
    for name in (time_name, value_name):
        column = table.column(name)
        if column.null_count:
            raise InvalidValue(f"column {name!r} holds {column.null_count} nulls: every point has a time and a value")
        columns.append(column.to_numpy())
    return columns[0], columns[1]


def _pandas_columns(frame: Any) -> tuple[Any, Any]:
    """Time: the column `time`, or an index that holds times, or the first column. Value: the column `value`, or the one
    that is left."""
    if getattr(frame, "ndim", 1) == 1:
        return _naive(frame.index), frame.to_numpy()
    names = list(frame.columns)
    if "time" in names:
        times = frame["time"]
        names.remove("time")
    elif frame.index.name == "time" or hasattr(frame.index, "tz"):
        times = frame.index
    elif names:
        times = frame[names.pop(0)]
    else:
        raise InvalidArgument("DataFrame without columns: expected a time and a value column")
    if "value" in names:
        names = ["value"]
    if len(names) != 1:
        raise InvalidArgument(f"DataFrame with value columns {names}: expected one, or one called 'value'")
    return _naive(times), frame[names[0]].to_numpy()


def _naive(times: Any) -> NDArray[Any]:
    """A pandas index or series as NumPy; a time zone is turned into UTC."""
    if getattr(times, "tz", None) is not None:
        times = times.tz_convert("UTC").tz_localize(None)
    elif hasattr(times, "dt") and getattr(times.dt, "tz", None) is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    array: NDArray[Any] = times.to_numpy()
    return array
