"""Columns as Arrow IPC streams: written by either side; read on trust by a client, with every check by a server."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamina.columns import Columns, Ranges, Samples, Summaries
from lamina.errors import Corrupt, InvalidArgument, LaminaError, TooBig

C = TypeVar("C", bound=Columns)

TIME = pa.timestamp("ns", tz="UTC")

INVALID = (pa.ArrowException, OSError, ValueError, struct.error)
"""What pyarrow raises for damaged bytes; ValueError among them where a name or time zone is no UTF-8."""


def schema_of(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


F8 = pa.float64()
POINTS = schema_of(time=TIME, value=F8)
SCHEMAS: dict[type[Columns], pa.Schema] = {
    Samples: POINTS,
    Summaries: schema_of(time=TIME, min=F8, mean=F8, max=F8, count=pa.uint64(), stddev=F8),
    Ranges: schema_of(start=TIME, end=TIME),
}

FOUND = schema_of(
    time=pa.uint64(), size=pa.uint64(), seq=pa.uint64(), crc=pa.uint32(),
    entry=pa.uint32(), labels=pa.uint32(), type=pa.uint32(),
)  # fmt: skip
"""Records of an answer; the last three number what the JSON beside them lists."""

NEW = schema_of(time=pa.uint64(), size=pa.uint64(), labels=pa.uint32(), type=pa.uint32())
"""Records to be written, likewise; their contents follow."""

I4 = pa.int32()
"""Codes of a dictionary column, whose texts are in JSON beside it."""

_DTYPES: dict[Any, np.dtype[Any]] = {
    TIME: np.dtype(np.int64), F8: np.dtype(np.float64), pa.uint64(): np.dtype(np.uint64),
    pa.uint32(): np.dtype(np.uint32), I4: np.dtype(np.int32),
    pa.int64(): np.dtype(np.int64),
}  # fmt: skip


def encode(schema: pa.Schema, columns: Sequence[NDArray[Any]]) -> pa.Buffer:
    """A stream of one batch."""
    arrays = [
        pa.Array.from_buffers(field.type, len(column), [None, pa.py_buffer(_plain(column, field.type))])
        for field, column in zip(schema, columns, strict=True)
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return sink.getvalue()


def _plain(column: NDArray[Any], kind: pa.DataType) -> NDArray[Any]:
    return np.ascontiguousarray(column, _DTYPES[kind])


def encode_bundle(bundle: Columns) -> pa.Buffer:
    return encode(SCHEMAS[type(bundle)], [getattr(bundle, name) for name in bundle.fields])


def decode_bundle(kind: type[C], data: bytes | bytearray | memoryview) -> C:
    """The columns that a server wrote, over the bytes themselves. Raises Corrupt."""
    return kind(*decode(SCHEMAS[kind], data))


def decode(schema: pa.Schema, data: bytes | bytearray | memoryview) -> list[NDArray[Any]]:
    """As decode_bundle."""
    try:
        table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        if table.schema != schema:
            raise Corrupt(f"an Arrow stream with the columns {table.schema.names}: expected {schema.names}")
        columns = [_array(column.chunks, field.type) for column, field in zip(table.columns, schema, strict=True)]
    except INVALID as error:
        raise Corrupt(f"the answer is no valid Arrow stream: {error}") from None
    return [_writable(column, data) for column in columns] if isinstance(data, bytearray) else columns


def _writable(column: NDArray[Any], data: bytearray) -> NDArray[Any]:
    """The same column over the bytes themselves: Arrow gives them out for reading only."""
    offset = column.ctypes.data - np.frombuffer(data, np.uint8).ctypes.data if len(column) else 0
    if not 0 <= offset <= len(data) - column.nbytes:
        return column.copy() if not column.flags.writeable else column
    return np.frombuffer(data, column.dtype, len(column), offset)


def _array(chunks: Sequence[pa.Array], kind: pa.DataType) -> NDArray[Any]:
    """Fixed-width values without nulls as NumPy, not copied where they are in one piece."""
    dtype = _DTYPES[kind]
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize) for chunk in chunks if chunk
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


# Out of untrusted bytes


def received(schema: pa.Schema, data: memoryview, what: str, limit: int) -> list[NDArray[Any]]:
    """Columns that a client sent, of exactly this schema. Raises InvalidArgument, TooBig (more than `limit` rows)."""
    try:
        batches = batches_of(data, what, limit, lambda found: _expect(found, schema, what))
        for batch in batches:
            if any(column.null_count for column in batch.columns):
                raise InvalidArgument(f"{what} holds nulls")
        return [_array([batch.column(i) for batch in batches], field.type) for i, field in enumerate(schema)]
    except LaminaError:
        raise
    except INVALID as error:
        raise InvalidArgument(f"{what} is no valid Arrow IPC stream: {error}") from None


def _expect(found: pa.Schema, schema: pa.Schema, what: str) -> None:
    if found != schema:
        raise InvalidArgument(f"{what} has the columns {_shown(found)}: expected {_shown(schema)}")


def _shown(schema: pa.Schema) -> Mapping[str, str]:
    return {field.name: str(field.type) for field in schema}


def batches_of(
    data: bytes | memoryview, what: str, limit: int, check: Callable[[pa.Schema], None]
) -> list[pa.RecordBatch]:
    """Record batches of which the buffers are known to hold what their lengths claim; `check` sees the schema first.

    Compressed buffers are refused: they announce their own length, and some kilobytes can announce a terabyte. Raises
    InvalidArgument, TooBig, and what is in INVALID.
    """
    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(data))
    first = _next(messages)
    if first is None or first.type != "schema":  # which read_schema takes on trust, and crashes
        raise InvalidArgument(f"{what} does not begin with a schema: expected an Arrow IPC stream")
    schema = pa.ipc.read_schema(first)
    check(schema)
    return list(_batches(messages, schema, what, limit))


def _batches(messages: pa.ipc.MessageReader, schema: pa.Schema, what: str, limit: int) -> Iterator[pa.RecordBatch]:
    rows = 0
    while (message := _next(messages)) is not None:
        if message.type != "record batch":
            raise InvalidArgument(f"{what} has a message of type {message.type!r}: expected record batches")
        length, compressed = _record_batch_head(message.metadata.to_pybytes())
        if compressed:
            raise InvalidArgument(f"{what} has compressed buffers: send them uncompressed")
        rows += length
        if rows > limit or length < 0:
            raise TooBig(f"Insert too big: {rows} points or more, one call may carry {limit}")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        yield batch


def _next(messages: pa.ipc.MessageReader) -> pa.ipc.Message | None:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _record_batch_head(metadata: bytes) -> tuple[int, bool]:
    """Rows a record batch claims, and whether its buffers are compressed; from the flatbuffer, which pyarrow has
    verified but does not show (Message.fbs: Message.header is slot 2; RecordBatch: length 0, compression 3)."""
    message = struct.unpack_from("<I", metadata)[0]
    slot = _slot(metadata, message, 2)
    batch = slot + struct.unpack_from("<I", metadata, slot)[0]
    length = _slot(metadata, batch, 0)
    rows = struct.unpack_from("<q", metadata, length)[0] if length else 0
    return rows, _slot(metadata, batch, 3) != 0


def _slot(data: bytes, table: int, slot: int) -> int:
    """Where a field of a flatbuffer table lies, 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    if 4 + 2 * slot >= size:
        return 0
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * slot)[0]
    return table + offset if offset else 0
