"""A set of streams as NumPy, Arrow, pandas, polars, dicts, CSV and a text table: made of columns, without an object per
point.

`agg`: which statistic of windows is meant, "all" for each of them where that is possible; for points it does nothing.
`name_callable(stream)`: the name of its column, by default COLLECTION/NAME. The functions with `arrow_` in their names
give columns of Arrow types, and of windows as many statistics as `agg` (a list) names.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.btrdb.optional import needed
from lamina.columns import library

if TYPE_CHECKING:
    import pandas
    import pyarrow

STATISTICS = ("min", "mean", "max", "count", "stddev")

Name = Callable[[Any], str]


def _names(streamset: Any, name_callable: Name | None) -> list[str]:
    name = name_callable if callable(name_callable) else _full_name
    return [name(stream) for stream in streamset]


def _full_name(stream: Any) -> str:
    return f"{stream.collection}/{stream.name}"


def _refuse_all(agg: Any) -> None:
    if agg == "all":
        raise AttributeError("cannot use 'all' as aggregate at this time")


def _column(streamset: Any, columns: Any, agg: str) -> Any:
    """The values of points, or one statistic of windows."""
    if streamset._raw:
        return columns.value
    if agg not in STATISTICS:
        raise AttributeError(f"aggregate {agg!r}: expected one of {', '.join(STATISTICS)}")
    column = getattr(columns, agg)
    return column.astype(np.int64) if agg == "count" else column


def _side_by_side(streamset: Any, agg: str) -> tuple[Any, list[tuple[int, str, Any, Any]]]:
    """Times of the rows; then stream, statistic ("" of points), values of each column, and where they are present."""
    rows = streamset._aligned()
    statistics = [""] if streamset._raw else list(STATISTICS) if agg == "all" else [agg]
    columns = []
    for i, (points, place) in enumerate(zip(rows._points, rows._places, strict=True)):
        present = place >= 0
        for statistic in statistics:
            values = _column(streamset, points.columns, statistic)
            spread = values[place] if len(values) else np.zeros(len(place), values.dtype)
            columns.append((i, statistic, spread, present))
    return rows.time, columns


def to_dict(streamset: Any, agg: str = "mean", name_callable: Name | None = None) -> list[OrderedDict[str, Any]]:
    """A dict per time: `time` (int ns) and a value per stream, None where it has none; with agg "all" one per stream
    and statistic, called NAME-STATISTIC."""
    names = _names(streamset, name_callable)
    times, columns = _side_by_side(streamset, agg)
    labels = [f"{names[i]}-{statistic}" if statistic and agg == "all" else names[i] for i, statistic, _, _ in columns]
    keys = ("time", *labels)
    lists = [_with_none(values, present) for _, _, values, present in columns]
    return [OrderedDict(zip(keys, row, strict=True)) for row in zip(times.tolist(), *lists, strict=True)]


def _with_none(values: Any, present: Any) -> list[Any]:
    if present.all():
        return list(values.tolist())
    return [value if there else None for value, there in zip(values.tolist(), present.tolist(), strict=True)]


def to_array(streamset: Any, agg: str = "mean") -> Any:
    """A NumPy array of one array of values per stream."""
    _refuse_all(agg)
    arrays = [_column(streamset, columns, agg) for columns in streamset._columns()]
    if len({len(array) for array in arrays}) == 1:
        return np.array(arrays, dtype=object)
    made = np.empty(len(arrays), dtype=object)
    made[:] = arrays
    return made


def to_series(
    streamset: Any, datetime64_index: bool = True, agg: str = "mean", name_callable: Name | None = None
) -> list[pandas.Series]:
    """A pandas.Series per stream, by time: datetime64[ns] without time zone, or int ns."""
    _refuse_all(agg)
    pd = library("pandas", "pandas")
    made = []
    for name, columns in zip(_names(streamset, name_callable), streamset._columns(), strict=True):
        index = pd.Index(columns.time, dtype="datetime64[ns]", name="time") if datetime64_index else columns.time
        made.append(pd.Series(_column(streamset, columns, agg), index=index, name=name))
    return made


def to_dataframe(streamset: Any, agg: str = "mean", name_callable: Name | None = None) -> pandas.DataFrame:
    """A DataFrame by `time` (int ns) with a column per stream, NaN where it has nothing; with agg "all" of windows,
    columns (COLLECTION, NAME, STATISTIC)."""
    pd = library("pandas", "pandas")
    if agg == "all" and name_callable is not None:
        raise AttributeError("cannot provide name_callable when using 'all' as aggregate at this time")
    times, columns = _side_by_side(streamset, agg)
    if not len(times):
        return pd.DataFrame()
    arrays = [values if present.all() else np.where(present, values, np.nan) for _, _, values, present in columns]
    frame = pd.DataFrame(dict(enumerate(arrays)), index=pd.Index(times, name="time"))
    if agg == "all" and not streamset._raw:
        labels = [(streamset[i].collection, streamset[i].name, statistic) for i, statistic, _, _ in columns]
        frame.columns = pd.MultiIndex.from_tuples(labels)
    else:
        frame.columns = _names(streamset, name_callable)
    return frame


def to_polars(streamset: Any, agg: str = "mean", name_callable: Name | None = None) -> Any:
    """As to_dataframe, a polars.DataFrame with `time` as Datetime("ns", "UTC") and NaN as it is; with agg "all" of
    windows, columns called ('COLLECTION', 'NAME', 'STATISTIC')."""
    pl = library("polars", "polars")
    pd = library("pandas", "pandas")
    frame = to_dataframe(streamset, agg, name_callable)
    if not frame.empty:
        frame.index = pd.DatetimeIndex(frame.index, tz="UTC", name="time")
        frame.columns = [str(label) for label in frame.columns]
    return pl.from_pandas(frame, nan_to_null=False, include_index=True)


def to_csv(
    streamset: Any,
    fobj: Any,
    dialect: Any = None,
    fieldnames: Sequence[str] | None = None,
    agg: str = "mean",
    name_callable: Name | None = None,
) -> None:
    """CSV with a header and a line per time into a file or the file of this path. `fieldnames`: the columns wanted, in
    this order, `time` among them. `dialect`: as `csv.writer` takes it, by default Excel's."""
    _refuse_all(agg)
    names = ["time", *_names(streamset, name_callable)]
    wanted = list(fieldnames) if fieldnames else names
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f"columns {unknown}: expected some of {names}")
    times, columns = _side_by_side(streamset, agg)
    lists = dict(zip(names, (times.tolist(), *(_with_none(c[2], c[3]) for c in columns)), strict=True))
    with _writable(fobj) as file:
        writer = csv.writer(file) if dialect is None else csv.writer(file, dialect)
        writer.writerow(wanted)
        writer.writerows(zip(*(lists[name] for name in wanted), strict=True))


@contextmanager
def _writable(target: Any) -> Iterator[Any]:
    if hasattr(target, "write"):
        yield target
        return
    with open(target, "w", newline="") as file:
        yield file


def to_table(streamset: Any, agg: str = "mean", name_callable: Name | None = None) -> str:
    """A table of text, as `tabulate` prints it."""
    _refuse_all(agg)
    rows = to_dict(streamset, agg, name_callable)
    return str(needed("tabulate", "tabulate", "to_table").tabulate(rows, headers="keys"))


# Arrow


def _wanted(streamset: Any, agg: Any) -> list[str]:
    """The statistics named by the list `agg`."""
    if agg is None:
        agg = ["mean"]
    if not isinstance(agg, list):
        raise ValueError(f"Argument 'agg' not provided as a list of strings was provided type - {type(agg)}, {agg!r}")
    return list(STATISTICS) if "all" in agg else agg


def arrow_to_arrow_table(streamset: Any) -> pyarrow.Table:
    """`StreamSet.arrow_values()`."""
    _check_arrow(streamset, "arrow_to_arrow_table")
    return streamset.arrow_values()


def arrow_to_dataframe(
    streamset: Any, agg: list[str] | None = None, name_callable: Name | None = None
) -> pandas.DataFrame:
    """A DataFrame of Arrow-backed columns by time, named as to_dataframe names them; of windows NAME/STATISTIC for each
    that the list `agg` names (["all"]: all five; by default ["mean"])."""
    _check_arrow(streamset, "arrow_to_dataframe")
    pd = library("pandas", "pandas")
    statistics = _wanted(streamset, agg)
    table = streamset.arrow_values()
    time, *rest = table.column_names
    names = {str(stream.uuid): name for stream, name in zip(streamset, _names(streamset, name_callable), strict=True)}
    if streamset._raw and len(rest) == len(names):
        # by place: the caller's schema may have called the columns otherwise
        labels = {column: names.get(column, column) for column in rest}
    else:
        labels = {
            column: f"{names[uuid]}/{statistic}"
            for column in rest
            for uuid, _, statistic in (column.partition("/"),)
            if statistic in statistics
        }
    frame: pandas.DataFrame = table.select([time, *labels]).to_pandas(types_mapper=pd.ArrowDtype)
    frame = frame.set_index(time)
    frame.columns = list(labels.values())
    return frame


def arrow_to_series(
    streamset: Any, agg: list[str] | None = None, name_callable: Name | None = None
) -> list[pandas.Series]:
    """The columns of arrow_to_dataframe."""
    frame = arrow_to_dataframe(streamset, agg, name_callable)
    return [frame[column] for column in frame]


def arrow_to_polars(streamset: Any, agg: list[str] | None = None, name_callable: Name | None = None) -> Any:
    """As arrow_to_dataframe, a polars.DataFrame."""
    frame = arrow_to_dataframe(streamset, agg, name_callable)
    return library("polars", "polars").from_pandas(frame, include_index=True, nan_to_null=False)


def arrow_to_numpy(streamset: Any, agg: list[str] | None = None) -> Any:
    """The values of arrow_to_dataframe, of shape (rows, columns)."""
    return arrow_to_dataframe(streamset, agg).values


def arrow_to_dict(
    streamset: Any, agg: list[str] | None = None, name_callable: Name | None = None
) -> dict[Any, dict[str, Any]]:
    """time (pandas.Timestamp) -> {column: value} of arrow_to_dataframe."""
    made: dict[Any, dict[str, Any]] = arrow_to_dataframe(streamset, agg, name_callable).to_dict(orient="index")
    return made


def _check_arrow(streamset: Any, what: str) -> None:
    if not streamset._btrdb._ARROW_ENABLED:
        raise NotImplementedError(f"{what} requires an arrow-enabled BTrDB server.")


class StreamSetTransformer:
    """The functions of this module as methods."""

    to_dict = to_dict
    to_array = to_array
    to_series = to_series
    to_dataframe = to_dataframe
    to_polars = to_polars
    to_csv = to_csv
    to_table = to_table
    arrow_to_dict = arrow_to_dict
    arrow_to_numpy = arrow_to_numpy
    arrow_to_series = arrow_to_series
    arrow_to_dataframe = arrow_to_dataframe
    arrow_to_polars = arrow_to_polars
    arrow_to_arrow_table = arrow_to_arrow_table
