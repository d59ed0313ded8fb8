"""Arrow IPC streams of the wire: answers in the contract's or the caller's schema, inserts out of untrusted bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamina.columns import Columns, Times, Values
from lamina.errors import InvalidArgument, InvalidTimeRange, InvalidValue, LaminaError, TooBig
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.batches import BATCH_BYTES
from lamina.faces.btrdb.calls import MESSAGE_LIMIT
from lamina.faces.btrdb.service import tables
from lamina.faces.btrdb.service.codes import INVALID_PARAMETER, Refused
from lamina.faces.btrdb.service.tables import POINTS, WINDOWS, check_template, joined_schema

__all__ = ["POINTS", "WINDOWS", "Encoder", "decode_points", "joined_schema"]

_INVALID = (pa.ArrowException, OSError, ValueError, struct.error)
"""What pyarrow raises for damaged bytes; ValueError among them where a name or time zone is no UTF-8."""


class Encoder:
    """Columns into messages of one schema: `schema`, or a template's, whose columns are taken by position."""

    def __init__(self, schema: pa.Schema, template: bytes = b"") -> None:
        """`template`: an IPC stream whose schema the result must have; may be empty. Raises Refused (438) for
        bytes that are none, a wrong number of columns, or types that cannot be cast to."""
        self.schema = schema
        self.target = _template(template, schema) if template else schema

    def messages(self, head: bytes, field: int, *columns: NDArray[np.generic]) -> Iterator[bytes]:
        """Responses with `head` and, in bytes field `field`, a complete IPC stream of all rows.

        One message as a rule; more where they would exceed the limit of a message. Raises TooBig where one row does.
        """
        rows = len(columns[0])
        stream = tables.ipc_stream(self.schema, columns, None if self.target is self.schema else self.target)
        prefix = head + wire.length_delimited(field, len(stream))
        if len(prefix) + len(stream) < MESSAGE_LIMIT:
            yield b"".join((prefix, stream))
        elif rows > 1:
            yield from self.messages(head, field, *(column[: rows // 2] for column in columns))
            yield from self.messages(head, field, *(column[rows // 2 :] for column in columns))
        else:
            raise TooBig(
                f"the schema of {len(columns)} columns takes {len(stream)} bytes, below {MESSAGE_LIMIT} are possible"
            )

    def columns(self, head: bytes, bundle: Columns) -> Iterator[bytes]:
        """As messages, of a bundle, in field 4."""
        return self.messages(head, wire.PAYLOAD, *(getattr(bundle, name) for name in bundle.fields))

    def rows_limit(self) -> int:
        """Rows whose values fill BATCH_BYTES."""
        return max(1, BATCH_BYTES // (8 * len(self.schema)))


def _template(data: bytes, schema: pa.Schema) -> pa.Schema:
    try:
        template = pa.ipc.open_stream(data).schema
    except _INVALID as error:
        raise Refused(INVALID_PARAMETER, f"the template is no Arrow IPC stream: {error}") from None
    check_template(template, schema)
    return template


# Inserts


def decode_points(data: bytes, limit: int) -> tuple[Times, Values]:
    """Times and values of an IPC stream with two columns: timestamp of any unit or int64, and any number type.

    Raises TooBig (more than `limit` rows), InvalidArgument, InvalidTimeRange, InvalidValue (null).
    """
    try:
        batches = _batches(data, limit)
        times = [np.empty(0, np.int64), *(_times(batch.column(0)) for batch in batches)]
        values = [np.empty(0, np.float64), *(_values(batch.column(1)) for batch in batches)]
    except LaminaError:
        raise
    except _INVALID as error:
        raise InvalidArgument(f"arrowBytes is no valid Arrow IPC stream: {error}") from None
    return np.concatenate(times), np.concatenate(values)


def _batches(data: bytes, limit: int) -> list[pa.RecordBatch]:
    """Record batches whose buffers are known to hold what their lengths claim.

    Compressed buffers are refused: they announce their own length, and some kilobytes can announce a terabyte.
    """
    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(data))
    first = _next(messages)
    if first is None or first.type != "schema":  # which read_schema takes on trust, and crashes
        raise InvalidArgument("arrowBytes does not begin with a schema: expected an Arrow IPC stream")
    schema = _checked(pa.ipc.read_schema(first))
    batches: list[pa.RecordBatch] = []
    rows = 0
    while (message := _next(messages)) is not None:
        if message.type != "record batch":
            raise InvalidArgument(f"arrowBytes has a message of type {message.type!r}: expected record batches")
        length, compressed = _record_batch_head(message.metadata.to_pybytes())
        if compressed:
            raise InvalidArgument("arrowBytes has compressed buffers: send them uncompressed")
        rows += length
        if rows > limit or length < 0:
            raise TooBig(f"Insert too big: {rows} points or more, one call may carry {limit}")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        batches.append(batch)
    return batches


def _next(messages: pa.ipc.MessageReader) -> pa.ipc.Message | None:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _checked(schema: pa.Schema) -> pa.Schema:
    if len(schema) != 2:
        raise InvalidArgument(f"arrowBytes has {len(schema)} columns {schema.names}: expected time and value")
    time, value = schema.types
    if not (pa.types.is_timestamp(time) or pa.types.is_int64(time)):
        raise InvalidArgument(f"arrowBytes has times of type {time}: expected timestamp or int64")
    if not (pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_decimal(value)):
        raise InvalidArgument(f"arrowBytes has values of type {value}: expected a number type")
    return schema


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


def _times(column: pa.Array) -> Times:
    if column.null_count:
        raise InvalidValue(f"{column.null_count} times are null")
    if pa.types.is_timestamp(column.type):
        try:
            column = column.cast(pa.timestamp("ns", tz=column.type.tz))
        except pa.ArrowInvalid as error:
            raise InvalidTimeRange(f"insert contains points outside valid time interval: {error}") from None
        column = column.view(pa.int64())
    return column.to_numpy(zero_copy_only=False)


def _values(column: pa.Array) -> Values:
    if column.null_count:
        raise InvalidValue(f"{column.null_count} values are null")
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
