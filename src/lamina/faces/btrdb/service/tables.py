"""Answers as Arrow tables: the schemas of the contract (section 4.7), and the caller's own instead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lamina.faces.btrdb.service.codes import INVALID_PARAMETER, Refused

TIME = pa.timestamp("ns", tz="UTC")


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


POINTS = _schema(("time", TIME), ("value", pa.float64()))
WINDOWS = _schema(
    ("time", TIME),
    ("min", pa.float64()),
    ("mean", pa.float64()),
    ("max", pa.float64()),
    ("count", pa.uint64()),
    ("stddev", pa.float64()),
)


def joined_schema(uuids: Sequence[UUID]) -> pa.Schema:
    """`time`, then a column per stream, named by its uuid."""
    return _schema(("time", TIME), *((str(uuid), pa.float64()) for uuid in uuids))


def arrays(schema: pa.Schema, columns: Sequence[NDArray[np.generic]]) -> list[pa.Array]:
    """Arrow arrays over the columns' own memory."""
    return [
        pa.Array.from_buffers(field.type, len(column), [None, pa.py_buffer(np.ascontiguousarray(column))])
        for field, column in zip(schema, columns, strict=True)
    ]


def table(schema: pa.Schema, columns: Sequence[NDArray[np.generic]], template: pa.Schema | None = None) -> pa.Table:
    """A table over the columns' own memory; cast where there is a template. Raises Refused (438)."""
    made = arrays(schema, columns)
    if template is None:
        return pa.Table.from_arrays(made, schema=schema)
    check_template(template, schema)
    return pa.Table.from_arrays(
        [cast(array, field) for array, field in zip(made, template, strict=True)], schema=template
    )


_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What an Arrow IPC stream ends with."""

WORDS = 8
"""Rows are a multiple of so many where columns of 8 bytes a row need no padding (to 64 bytes, in pyarrow's streams)."""


@lru_cache(maxsize=16)
def _head(schema: pa.Schema, rows: int) -> bytes:
    """What the IPC stream of one batch of so many rows has before its columns."""
    stream = ipc_stream(schema, [np.zeros(rows, np.int64)] * len(schema)).to_pybytes()
    return stream[: len(stream) - len(_END) - 8 * rows * len(schema)]


def ipc_parts(schema: pa.Schema, columns: Sequence[NDArray[np.generic]]) -> list[bytes | memoryview]:
    """What `ipc_stream` gives, in parts: the columns where they lie. All have 8 bytes a row, and a multiple of WORDS
    rows. What is not a column is made once for each number of rows, of which there must be few."""
    contents = [np.ascontiguousarray(column).data.cast("B") for column in columns]
    return [_head(schema, len(columns[0])), *contents, _END]


def ipc_stream(
    schema: pa.Schema, columns: Sequence[NDArray[np.generic]], template: pa.Schema | None = None
) -> pa.Buffer:
    """A complete Arrow IPC stream of one record batch. Raises Refused (438)."""
    made = arrays(schema, columns)
    target = schema if template is None else template
    if template is not None:
        made = [cast(array, field) for array, field in zip(made, template, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, target) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(made, schema=target))
    return sink.getvalue()


def check_template(template: pa.Schema, schema: pa.Schema) -> None:
    """Whether answers of `schema` can have the template's, column by column. Raises Refused (438)."""
    if len(template) != len(schema):
        text = f"the template has {len(template)} columns, the result has {len(schema)}"
        raise Refused(INVALID_PARAMETER, text)
    for source, target in zip(schema, template, strict=True):
        cast(pa.array([], source.type), target)


def cast(array: pa.Array, field: pa.Field) -> pa.Array:
    """Narrower types may lose digits; what does not fit at all, or has a fraction for an integer, is refused."""
    if array.type == field.type:
        return array
    try:
        options = pc.CastOptions(field.type, allow_time_truncate=True, allow_decimal_truncate=True)
        return pc.cast(array, options=options)
    except (pa.ArrowException, ValueError) as error:
        text = f"column {field.name!r} of the template: {array.type} does not cast to {field.type}: {error}"
        raise Refused(INVALID_PARAMETER, text) from None
