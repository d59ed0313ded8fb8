"""Arrow IPC streams of the wire: answers in the contract's or the caller's schema, inserts out of untrusted bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamina.columns import Columns, Times, Values
from lamina.errors import InvalidArgument, InvalidTimeRange, InvalidValue, LaminaError, TooBig
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.batches import ARROW_ROWS, BATCH_BYTES
from lamina.faces.btrdb.calls import MESSAGE_LIMIT
from lamina.faces.btrdb.service import tables
from lamina.faces.btrdb.service.codes import INVALID_PARAMETER, Refused
from lamina.faces.btrdb.service.tables import POINTS, WINDOWS, check_template, joined_schema
from lamina.wire.arrow import INVALID, batches_of

__all__ = ["POINTS", "WINDOWS", "Encoder", "decode_points", "joined_schema"]


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
        stream: list[bytes | memoryview]
        if rows == ARROW_ROWS and (self.target is POINTS or self.target is WINDOWS):
            stream = tables.ipc_parts(self.schema, columns)
        else:
            target = None if self.target is self.schema else self.target
            stream = [memoryview(tables.ipc_stream(self.schema, columns, target))]
        size = sum(map(len, stream))
        prefix = head + wire.length_delimited(field, size)
        if len(prefix) + size < MESSAGE_LIMIT:
            yield b"".join((prefix, *stream))
        elif rows > 1:
            yield from self.messages(head, field, *(column[: rows // 2] for column in columns))
            yield from self.messages(head, field, *(column[rows // 2 :] for column in columns))
        else:
            raise TooBig(f"the schema of {len(columns)} columns takes {size} bytes, below {MESSAGE_LIMIT} are possible")

    def columns(self, head: bytes, bundle: Columns) -> Iterator[bytes]:
        """As messages, of a bundle, in field 4."""
        return self.messages(head, wire.PAYLOAD, *(getattr(bundle, name) for name in bundle.fields))

    def rows_limit(self) -> int:
        """Rows whose values fill BATCH_BYTES."""
        return max(1, BATCH_BYTES // (8 * len(self.schema)))


def _template(data: bytes, schema: pa.Schema) -> pa.Schema:
    try:
        template = pa.ipc.open_stream(data).schema
    except INVALID as error:
        raise Refused(INVALID_PARAMETER, f"the template is no Arrow IPC stream: {error}") from None
    check_template(template, schema)
    return template


# Inserts


def decode_points(data: bytes, limit: int) -> tuple[Times, Values]:
    """Times and values of an IPC stream with two columns: timestamp of any unit or int64, and any number type.

    Raises TooBig (more than `limit` rows), InvalidArgument, InvalidTimeRange, InvalidValue (null).
    """
    try:
        batches = batches_of(data, "arrowBytes", limit, _check)
        times = [np.empty(0, np.int64), *(_times(batch.column(0)) for batch in batches)]
        values = [np.empty(0, np.float64), *(_values(batch.column(1)) for batch in batches)]
    except LaminaError:
        raise
    except INVALID as error:
        raise InvalidArgument(f"arrowBytes is no valid Arrow IPC stream: {error}") from None
    return np.concatenate(times), np.concatenate(values)


def _check(schema: pa.Schema) -> None:
    if len(schema) != 2:
        raise InvalidArgument(f"arrowBytes has {len(schema)} columns {schema.names}: expected time and value")
    time, value = schema.types
    if not (pa.types.is_timestamp(time) or pa.types.is_int64(time)):
        raise InvalidArgument(f"arrowBytes has times of type {time}: expected timestamp or int64")
    if not (pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_decimal(value)):
        raise InvalidArgument(f"arrowBytes has values of type {value}: expected a number type")


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
