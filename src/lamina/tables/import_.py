"""Points out of CSV, Parquet and Arrow, as (times, values) chunks for `Stream.insert`.

`for times, values in from_parquet("day.parquet"): stream.insert(times, values)` keeps one chunk in memory. Chunks
hold CHUNK points where the format allows it, so that each insert takes the bulk path (one flush, no log).

Times: integers are ns since the epoch; timestamps of any unit and dates are converted exactly, without a zone they
mean UTC; in CSV also ISO 8601 text (needs pyarrow). Values: any number that float64 holds exactly. Whether a time
or value may be stored is for `insert` to say; nulls are refused here, because a column of numbers cannot carry them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from lamina.columns import Times, Values, library
from lamina.errors import InvalidArgument, InvalidValue

Source: TypeAlias = str | PathLike[str] | IO[bytes]

CHUNK = 1 << 16
"""Points: from here on an insert goes past the log (settings, bulk_points)."""

_BLOCK = 4 << 20  # bytes of CSV parsed at a time: about CHUNK lines of a time and a value


def from_csv(source: Source, *, time: str = "time", value: str = "value") -> Iterator[tuple[Times, Values]]:
    """Points of a CSV file with a header line; other columns are skipped.

    Raises InvalidArgument (no such column, a cell that is no number or time), InvalidValue (an empty cell).
    Without pyarrow times must be integers.
    """
    try:
        pa, csv = library("pyarrow", "arrow"), library("pyarrow.csv", "arrow")
    except ModuleNotFoundError:
        yield from _plain_csv(source, time, value)
        return
    convert = csv.ConvertOptions(column_types={value: pa.float64()})
    read = csv.ReadOptions(block_size=_BLOCK)
    try:
        with csv.open_csv(_argument(source), read_options=read, convert_options=convert) as reader:
            _require(reader.schema.names, time, value)
            yield from _points(reader, time, value)
    except pa.ArrowInvalid as error:
        raise InvalidArgument(f"CSV cannot be read: {_first_line(error)}") from None


def from_parquet(source: Source, *, time: str = "time", value: str = "value") -> Iterator[tuple[Times, Values]]:
    """Points of a Parquet file; only the two columns are read. Needs pyarrow (`lamina[arrow]`).

    Raises InvalidArgument (no such column, not Parquet, types), InvalidValue (nulls)."""
    pa, parquet = library("pyarrow", "arrow"), library("pyarrow.parquet", "arrow")
    try:
        with parquet.ParquetFile(_argument(source)) as file:
            _require(file.schema_arrow.names, time, value)
            yield from _points(file.iter_batches(CHUNK, columns=[time, value]), time, value)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidArgument(f"Parquet cannot be read: {_first_line(error)}") from None


def from_arrow(source: Any, *, time: str = "time", value: str = "value") -> Iterator[tuple[Times, Values]]:
    """Points of a pyarrow Table, RecordBatch, RecordBatchReader, or of an Arrow IPC file or stream (path or file).

    Raises InvalidArgument (no such column, not Arrow, types), InvalidValue (nulls)."""
    pa = library("pyarrow", "arrow")
    try:
        if isinstance(source, pa.RecordBatch):
            yield from _points([source], time, value)
        elif isinstance(source, pa.Table):
            yield from _points(source.to_batches(CHUNK), time, value)
        elif isinstance(source, pa.RecordBatchReader):
            yield from _points(source, time, value)
        else:
            yield from _ipc(source, time, value)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidArgument(f"Arrow data cannot be read: {_first_line(error)}") from None


def _ipc(source: Source, time: str, value: str) -> Iterator[tuple[Times, Values]]:
    pa, ipc = library("pyarrow", "arrow"), library("pyarrow.ipc", "arrow")
    with pa.input_stream(_argument(source)) as peek:
        magic = peek.read(6)
        if isinstance(source, str | PathLike):
            stream = pa.OSFile(str(source))
        else:
            stream = pa.BufferReader(magic + peek.read())  # a file object may not seek
    with stream:
        if magic == b"ARROW1":
            with ipc.open_file(stream) as file:
                batches = (file.get_batch(index) for index in range(file.num_record_batches))
                yield from _points(batches, time, value)
        else:
            with ipc.open_stream(stream) as reader:
                yield from _points(reader, time, value)


def _points(batches: Iterable[Any], time: str, value: str) -> Iterator[tuple[Times, Values]]:
    """Arrow record batches as NumPy pairs; empty batches are left out."""
    for batch in batches:
        _require(batch.schema.names, time, value)
        times, values = batch.column(time), batch.column(value)
        for name, column in ((time, times), (value, values)):
            if column.null_count:
                raise InvalidValue(f"column {name!r} holds {column.null_count} nulls; a point needs a time and a value")
        if len(times):
            yield _times(times), _values(values, value)


def _times(column: Any) -> Times:
    pa = library("pyarrow", "arrow")
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s"))
    elif not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise InvalidArgument(f"a time column of type {kind}: expected integers (ns), timestamps or dates")
    if not pa.types.is_integer(kind):
        column = column.cast(pa.timestamp("ns")).view(pa.int64())
    array: Times = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return array


def _values(column: Any, name: str) -> Values:
    pa = library("pyarrow", "arrow")
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise InvalidArgument(f"column {name!r} of type {kind}: expected numbers")
    array: Values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return array


def _plain_csv(source: Source, time: str, value: str) -> Iterator[tuple[Times, Values]]:
    """The same with NumPy's reader."""
    path = Path(source) if isinstance(source, str | PathLike) else None
    file: Any = source if path is None else path.open("rb")
    try:
        names = file.readline().decode("utf-8-sig").strip("\r\n").replace('"', "").split(",")
        _require(names, time, value)
        columns = [names.index(time), names.index(value)]
        kinds = np.dtype([("time", np.int64), ("value", np.float64)])
        while lines := file.readlines(_BLOCK):
            try:
                points = np.loadtxt(lines, kinds, delimiter=",", usecols=columns, comments=None, ndmin=1, quotechar='"')
            except ValueError as error:
                raise InvalidArgument(f"CSV cannot be read (times must be integers without pyarrow): {error}") from None
            if len(points):
                yield points["time"].copy(), points["value"].copy()
    finally:
        if path is not None:
            file.close()


def _argument(source: Source) -> Any:
    return str(source) if isinstance(source, str | PathLike) else source


def _require(names: list[str], time: str, value: str) -> None:
    for name in (time, value):
        if name not in names:
            raise InvalidArgument(f"there is no column {name!r}; there are {', '.join(names)}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
