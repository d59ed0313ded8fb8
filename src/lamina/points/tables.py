"""Points out of tables and into them: Arrow, pandas, polars, and plain columns. A column at a time.

A table has a column of times, and one per tag or field; a null means that the point does not have the key. Text and
categorical columns are tags, numbers and booleans fields, unless `tags` says which are tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamina.columns import library
from lamina.errors import InvalidArgument
from lamina.points.batch import Batch, Grouped, Interned, Numbers, Order, TagSet, check_times
from lamina.points.field import ABSENT, BOOL, FLOAT, INT, NULL, TEXT, FieldColumn, Kinds, column_of, constant, uniform

if TYPE_CHECKING:
    import pyarrow

_T = TypeVar("_T")

_DENSE = 1 << 20
"""Combinations that are counted in a table; more are sorted, at twenty times the cost a row."""
_MEASUREMENT = "measurement"


class _Texts(NamedTuple):
    """A column of text: -1 where there is none."""

    codes: NDArray[np.int64]
    values: Sequence[str]


def batch_of_table(given: Any, now_us: int, *, tags: Sequence[str] | None = None, time: str | None = None) -> Batch:
    """Points of one measurement out of a table; a column `measurement` is left out.

    `given`: an Arrow table or record batch, a pandas or polars DataFrame, or a mapping of columns. `time`: its column
    of timestamps (naive ones are UTC; cut to µs) or of integers (µs), default `time`; of pandas also the index. Nulls
    among them are `now_us`. Costs 0.1 µs a value. Raises InvalidArgument, InvalidTimeRange.
    """
    return _batch(_columns(given), now_us, tags, time)


def groups_of_table(
    given: Any, now_us: int, *, tags: Sequence[str] | None = None, time: str | None = None
) -> list[Grouped]:
    """Points of several measurements: the column `measurement`, of text, says of which. See `batch_of_table`."""
    columns = _columns(given)
    if _MEASUREMENT not in columns:
        raise InvalidArgument(f"table with the columns {', '.join(columns)}: expected a column {_MEASUREMENT!r}")
    names = _texts(columns[_MEASUREMENT], _MEASUREMENT)
    if (names.codes < 0).any():
        raise InvalidArgument(f"column {_MEASUREMENT!r}: a null: expected a name for every point")
    batch = _batch(columns, now_us, tags, time)
    out = []
    for code in np.flatnonzero(np.bincount(names.codes, minlength=len(names.values))).tolist():
        places = np.flatnonzero(names.codes == code)
        out.append(Grouped(names.values[code], batch.take(places) if len(places) < batch.n else batch, places))
    return sorted(out, key=lambda group: int(group.places[0]))


def _columns(given: Any) -> dict[str, Any]:
    """Columns by name: Arrow arrays, or what a mapping holds."""
    if isinstance(given, Mapping):
        found = {name: _sequence(name, value) for name, value in given.items()}
        lengths = {name: len(column) for name, column in found.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidArgument(f"columns of lengths {lengths}: expected one length")
        if any(isinstance(column, np.ndarray) and column.ndim != 1 for column in found.values()):
            raise InvalidArgument("columns: expected arrays of one dimension")
    else:
        table = _arrow_table(given)
        if len(set(table.column_names)) < len(table.column_names):
            raise InvalidArgument(f"table with the columns {', '.join(table.column_names)}: expected each name once")
        found = {name: table.column(name).combine_chunks() for name in table.column_names}
    bad = [name for name in found if not isinstance(name, str)]
    if bad:
        raise InvalidArgument(f"column {bad[0]!r}: expected a name that is a str")
    return found


def _sequence(name: object, value: Any) -> Any:
    """A column of a mapping. A single value is none, and of a text the characters are not what was meant."""
    if isinstance(value, np.ma.MaskedArray):
        return value.filled(np.datetime64("NaT")) if value.dtype.kind == "M" else value.tolist()
    if isinstance(value, np.ndarray):
        return value
    if type(value).__module__.partition(".")[0] == "pyarrow":
        pa = library("pyarrow", "arrow")
        if isinstance(value, (pa.Array, pa.ChunkedArray)):
            return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidArgument(f"column {name!r}, {value!r:.100}: expected a list or array, one value for each point")
    return list(value)


def _arrow_table(given: Any) -> pyarrow.Table:
    pa = library("pyarrow", "arrow")
    if type(given).__module__.partition(".")[0] == "pandas":
        try:
            if given.index.dtype.kind == "M":
                given = given.rename_axis(given.index.name or "time").reset_index()
            return pa.Table.from_pandas(given, preserve_index=False)
        # ValueError: a column name twice, TypeError: a column that Arrow has no type for.
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise InvalidArgument(f"pandas DataFrame: {error}") from None
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if isinstance(given, pa.Table):
        return given
    if hasattr(given, "__arrow_c_stream__"):
        try:
            return pa.table(given)
        except pa.ArrowException as error:
            raise InvalidArgument(f"table {given!r:.100}: {error}") from None
    raise InvalidArgument(f"table {given!r:.100}: expected an Arrow table, a DataFrame or a mapping of columns")


def _batch(columns: dict[str, Any], now_us: int, tags: Sequence[str] | None, time: str | None) -> Batch:
    time = time or "time"
    if tags is not None and not isinstance(tags, Iterable):
        raise InvalidArgument(f"tags {tags!r}: expected names of columns, or None")
    given = [tags] if isinstance(tags, str) else None if tags is None else list(tags)
    for name in (time, *(given or ())):
        if name not in columns:
            raise InvalidArgument(f"table with the columns {', '.join(columns)}: expected a column {name!r}")
    times = _times(columns[time], time, now_us)
    rest = {name: column for name, column in columns.items() if name not in (time, _MEASUREMENT)}
    tag_keys = [name for name in rest if (name in given if given is not None else _is_text(rest[name]))]
    tagset, tagsets = _tag_sets({name: _texts(rest[name], name) for name in tag_keys}, len(times))
    fields = {name: _field(column, name) for name, column in rest.items() if name not in tag_keys}
    fields = {key: column for key, column in fields.items() if column.kinds is not None or column.kind != ABSENT}
    order, orders = _orders(fields, len(times))
    return Batch(times, tagset, tagsets, order, orders, fields)


def _is_text(column: Any) -> bool:
    if isinstance(column, list):
        return any(isinstance(value, str) for value in column)
    if isinstance(column, np.ndarray):
        return column.dtype.kind in "UT" or (column.dtype.kind == "O" and _is_text(column.tolist()))
    types = library("pyarrow", "arrow").types
    form = column.type.value_type if types.is_dictionary(column.type) else column.type
    return bool(types.is_string(form) or types.is_large_string(form) or types.is_string_view(form))


def _times(column: Any, name: str, now_us: int) -> NDArray[np.int64]:
    if not len(column):  # no frame says of what type its times would be
        return np.empty(0, np.int64)
    if not isinstance(column, (list, np.ndarray)):
        pa = library("pyarrow", "arrow")
        if pa.types.is_null(column.type):
            column = np.full(len(column), now_us)
        elif pa.types.is_timestamp(column.type):
            valid = column.is_valid().to_numpy(zero_copy_only=False)
            column = column.cast(pa.int64()).fill_null(0).to_numpy().view(f"M8[{column.type.unit}]")
            column = _microseconds(column, name)
            column[~valid] = now_us
        elif pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
            column = column.cast(pa.int64()).fill_null(now_us).to_numpy()
        else:
            raise InvalidArgument(f"column {name!r} of type {column.type}: expected timestamps, or integers (µs)")
    array = np.asarray(column)
    if array.dtype.kind == "O":
        array = np.array([np.datetime64(_naive(value)) for value in array.tolist()], "M8[us]")
    if array.dtype.kind == "M":
        missing = np.isnat(array)
        array = _microseconds(array, name)
        array[missing] = now_us
    elif array.dtype.kind not in "iu":
        raise InvalidArgument(f"column {name!r} of type {array.dtype}: expected timestamps, or integers (µs)")
    if array.dtype.kind == "u" and int(array.max()) >= 1 << 63:
        raise InvalidArgument(f"column {name!r}: time {int(array.max())}: expected µs of years 1 .. 9999")
    return check_times(array.astype(np.int64, copy=False))


def _naive(value: Any) -> Any:
    """A datetime in UTC without its zone."""
    if getattr(value, "tzinfo", None) is None:
        return value
    offset = value.utcoffset()
    return value.replace(tzinfo=None) - offset


def _microseconds(times: NDArray[np.datetime64], name: str) -> NDArray[np.int64]:
    found, given = times.astype("M8[us]"), ~np.isnat(times)
    if (found.astype("M8[s]") != times.astype("M8[s]"))[given].any():
        raise InvalidArgument(f"column {name!r}: a time beyond years 1 .. 9999")
    return found.astype(np.int64)


def _texts(column: Any, name: str) -> _Texts:
    """Raises InvalidArgument: something else than text or null in it."""
    if isinstance(column, (list, np.ndarray)):
        numbers: Interned[str] = Interned()
        values = column.tolist() if isinstance(column, np.ndarray) else column
        for value in values:
            if value is not None and not isinstance(value, str):
                raise InvalidArgument(f"column {name!r}: {value!r}: expected text or None")
        codes = np.array([-1 if value is None else numbers.number(value) for value in values], np.int64)
        return _Texts(codes, numbers.values)
    pa = library("pyarrow", "arrow")
    if pa.types.is_null(column.type):
        return _Texts(np.full(len(column), -1), [])
    if not _is_text(column):
        raise InvalidArgument(f"column {name!r} of type {column.type}: expected text")
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    numbers = Interned()
    # A dictionary may hold a text twice, or a null.
    place = [-1 if value is None else numbers.number(value) for value in encoded.dictionary.to_pylist()]
    return _Texts(np.array([*place, -1], np.int64)[codes], numbers.values)


def _combined(columns: Sequence[NDArray[np.int64]], sizes: Sequence[int], n: int) -> tuple[Numbers, NDArray[np.intp]]:
    """Numbers of the distinct rows of some columns of numbers below `sizes`, and a row of each."""
    together, size = np.zeros(n, np.int64), 1
    for column, more in zip(columns, sizes, strict=True):
        if size * more >= 1 << 62:
            together, rows = _distinct(together, size)
            size = len(rows)
        together = together * more + column
        size *= more
    numbers, rows = _distinct(together, size)
    return numbers.astype(np.int32), rows


def _distinct(values: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    if size > _DENSE:
        _, rows, numbers = np.unique(values, return_index=True, return_inverse=True)
        return numbers.astype(np.int64), rows
    first = np.full(size, -1)
    first[values[::-1]] = np.arange(len(values) - 1, -1, -1)
    used = first >= 0
    return (np.cumsum(used) - 1)[values], first[used]


def _tag_sets(tags: dict[str, _Texts], n: int) -> tuple[Numbers, list[TagSet]]:
    texts = list(tags.values())
    tagset, rows = _combined([text.codes + 1 for text in texts], [len(text.values) + 1 for text in texts], n)
    columns = [[None if c < 0 else text.values[c] for c in text.codes[rows].tolist()] for text in texts]
    if not columns:
        return tagset, [()] if n else []
    keys = list(tags)
    return tagset, [
        tuple((key, value) for key, value in zip(keys, values, strict=True) if value is not None)
        for values in zip(*columns, strict=True)
    ]


def _orders(fields: dict[str, FieldColumn], n: int) -> tuple[Numbers, list[Order]]:
    partial = {key: column.kinds for key, column in fields.items() if column.kinds is not None}
    has = {key: (kinds != ABSENT).astype(np.int64) for key, kinds in partial.items()}
    order, rows = _combined(list(has.values()), [2] * len(has), n)
    return order, [tuple(key for key in fields if key not in has or has[key][row]) for row in rows.tolist()]


def _field(column: Any, name: str) -> FieldColumn:
    if isinstance(column, list):
        return _field_of_values(column, name)
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "f" and column.dtype.itemsize <= 8:
            return FieldColumn(FLOAT, None, column.astype(np.float64).view(np.int64))
        if column.dtype.kind in "iu":
            if len(column) and int(column.max()) >= 1 << 63:
                raise InvalidArgument(f"field {name!r}: int {int(column.max())}: expected -2**63 .. 2**63 - 1")
            return FieldColumn(INT, None, column.astype(np.int64))
        if column.dtype.kind == "b":
            return FieldColumn(BOOL, None, column.astype(np.int64))
        if column.dtype.kind in "OUT":
            return _field_of_values(column.tolist(), name)
        raise InvalidArgument(f"column {name!r} of type {column.dtype}: expected numbers, booleans or text")
    pa = library("pyarrow", "arrow")
    form = column.type
    if pa.types.is_null(form):
        return constant(ABSENT, len(column))
    if _is_text(column):
        texts = _texts(column, name)
        return _sparse(TEXT, texts.codes, texts.codes >= 0, texts.values)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(form):
        return _sparse(BOOL, column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.int64), valid)
    if pa.types.is_floating(form):
        return _sparse(FLOAT, column.cast(pa.float64()).fill_null(0.0).to_numpy().view(np.int64), valid)
    if pa.types.is_integer(form):
        try:
            ints = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise InvalidArgument(f"field {name!r}: expected ints of -2**63 .. 2**63 - 1: {error}") from None
        return _sparse(INT, ints.fill_null(0).to_numpy(), valid)
    raise InvalidArgument(f"column {name!r} of type {form}: expected numbers, booleans or text")


def _sparse(kind: int, bits: NDArray[np.int64], valid: NDArray[np.bool_], texts: Sequence[str] = ()) -> FieldColumn:
    if valid.all():
        return FieldColumn(kind, None, bits, texts)
    return uniform(np.where(valid, kind, ABSENT).astype(np.uint8), np.where(valid, bits, 0), texts)


def _field_of_values(values: list[Any], name: str) -> FieldColumn:
    column = column_of(values, name)
    if column.kinds is None:
        return column if column.kind != NULL else constant(ABSENT, len(values))
    return uniform(np.where(column.kinds == NULL, ABSENT, column.kinds).astype(np.uint8), column.bits, column.texts)


def arrow_of_batch(batch: Batch, measurements: Sequence[str]) -> pyarrow.Table:
    """time timestamp[us, UTC], measurement, a column of text per tag key, a column per field key, in order of
    appearance; null where a point lacks the key or has None.

    Floats, ints, booleans and texts are float64, int64, bool and string; ints among floats become floats, any other
    mixture becomes text. Raises InvalidArgument: two columns would have one name, or a text has no UTF-8.
    """
    pa = library("pyarrow", "arrow")
    batch = batch.compact()
    columns: dict[str, Any] = {
        "time": pa.array(batch.time_us).view(pa.timestamp("us", tz="UTC")),
        _MEASUREMENT: _text_array(pa, measurements, _MEASUREMENT),
    }
    tag_keys = dict.fromkeys(key for tags in batch.tagsets for key, _ in tags)
    field_keys = dict.fromkeys(key for order in batch.orders for key in order)
    for key in tag_keys:
        values = [dict(tags).get(key) for tags in batch.tagsets]
        _add(columns, key, _text_array(pa, values, key).take(pa.array(batch.tagset)))
    for key in field_keys:
        _add(columns, key, _field_array(pa, batch.fields[key], key))
    return pa.table(columns)


def _add(columns: dict[str, Any], key: str, column: Any) -> None:
    if key in columns:
        raise InvalidArgument(f"key {key!r}: a table cannot have two columns of one name; rename one of them")
    columns[key] = column


def _field_array(pa: Any, column: FieldColumn, key: str) -> Any:
    kinds: Kinds = column.row_kinds()
    found = set(np.flatnonzero(np.bincount(kinds, minlength=1)).tolist()) - {ABSENT, NULL}
    missing = kinds <= NULL
    if found == {INT}:
        return pa.array(column.bits, mask=missing)
    if found and found <= {FLOAT, INT}:
        return pa.array(column.numbers()[0], mask=missing)
    if found == {BOOL}:
        return pa.array(column.bits != 0, mask=missing)
    if found == {TEXT}:
        return _text_array(pa, column.texts, key).take(pa.array(column.bits, mask=missing))
    if not found:
        return pa.nulls(len(kinds))
    return _text_array(pa, [None if value is None else str(value) for value in column.list()], key)


def _text_array(pa: Any, values: Sequence[str | None], key: str) -> Any:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"column {key!r}: a text that has no UTF-8: {error}") from None
