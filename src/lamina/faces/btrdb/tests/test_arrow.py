"""Arrow messages out, untrusted Arrow bytes in."""

import contextlib
import io
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.columns import Samples
from lamina.errors import InvalidArgument, InvalidTimeRange, InvalidValue, LaminaError, TooBig
from lamina.faces.btrdb import arrow
from lamina.faces.btrdb.calls import MESSAGE_LIMIT
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service.codes import Refused
from lamina.faces.btrdb.service.tables import WORDS, ipc_parts, ipc_stream

NS = pa.timestamp("ns", tz="UTC")
TIMES = np.array([-1, 0, 1_500_000_000_123_456_789])
VALUES = np.array([1.5, -0.0, 3.0])


def stream(schema, *batches, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch, schema=schema))
    return sink.getvalue()


def tables(messages):
    return [pa.ipc.open_stream(pb.ArrowResponse.FromString(m).arrowBytes).read_all() for m in messages]


def test_points_have_the_contracts_schema_and_no_metadata():
    (table,) = tables(arrow.Encoder(arrow.POINTS).columns(b"", Samples(TIMES, VALUES)))
    assert table.schema.equals(
        pa.schema([pa.field("time", NS, nullable=False), pa.field("value", pa.float64(), nullable=False)]),
        check_metadata=True,
    )
    assert table["time"].cast(pa.int64()).to_pylist() == TIMES.tolist()
    assert table["value"].to_pylist() == VALUES.tolist()


@pytest.mark.parametrize("rows", [WORDS, 3 * WORDS, 16_384])
@pytest.mark.parametrize("schema", [arrow.POINTS, arrow.WINDOWS], ids=["points", "windows"])
def test_parts_are_the_stream(schema, rows):
    kinds = {pa.float64(): np.float64, pa.uint64(): np.uint64}
    columns = [np.arange(2 * rows, dtype=kinds.get(field.type, np.int64))[::2] for field in schema]
    assert b"".join(ipc_parts(schema, columns)) == ipc_stream(schema, columns).to_pybytes()


def test_nothing_is_a_table_without_rows():
    (table,) = tables(arrow.Encoder(arrow.POINTS).columns(b"", Samples(TIMES[:0], VALUES[:0])))
    assert table.num_rows == 0
    assert table.schema == arrow.POINTS


@pytest.mark.parametrize(
    "fields",
    [
        [("t", pa.int64()), ("v", pa.float32())],
        [("a b", pa.timestamp("us")), ("", pa.float16())],
        [("time", pa.timestamp("s", tz="Europe/Berlin")), ("value", pa.string())],
    ],
)
def test_a_template_gives_names_types_and_nullability(fields):
    template = pa.schema([pa.field(name, kind, nullable=i == 0) for i, (name, kind) in enumerate(fields)])
    (table,) = tables(arrow.Encoder(arrow.POINTS, stream(template)).columns(b"", Samples(TIMES, VALUES)))
    assert table.schema.equals(template)
    assert table.num_rows == 3


def test_narrowing_of_times_cuts_digits_off():
    template = pa.schema([("t", pa.timestamp("us", tz="UTC")), ("v", pa.float32())])
    (table,) = tables(arrow.Encoder(arrow.POINTS, stream(template)).columns(b"", Samples(TIMES, VALUES)))
    assert table["t"].cast(pa.int64()).to_pylist()[2] == 1_500_000_000_123_456


@pytest.mark.parametrize(
    "template",
    [
        b"no arrow",
        stream(pa.schema([("t", pa.int64())])),
        stream(pa.schema([("t", pa.int32()), ("v", pa.float64())])),
        stream(pa.schema([("t", pa.int64()), ("v", pa.list_(pa.float64()))])),
        stream(pa.schema([("t", pa.struct([])), ("v", pa.float64())])),
    ],
)
def test_a_template_that_cannot_be_met_is_refused_before_any_row(template):
    with pytest.raises(Refused) as refused:
        arrow.Encoder(arrow.POINTS, template)
    assert refused.value.code == 438


def test_values_that_do_not_fit_the_template_are_refused():
    encoder = arrow.Encoder(arrow.POINTS, stream(pa.schema([("t", pa.int64()), ("v", pa.int64())])))
    with pytest.raises(Refused) as refused:
        list(encoder.columns(b"", Samples(TIMES, VALUES)))
    assert refused.value.code == 438


def test_messages_stay_below_the_limit_however_wide_the_template():
    template = pa.schema([("t", pa.int64()), ("v", pa.decimal256(76, 10))])
    times = np.arange(200_000)
    messages = list(arrow.Encoder(arrow.POINTS, stream(template)).columns(b"", Samples(times, times * 1.0)))
    assert max(map(len, messages)) < MESSAGE_LIMIT
    assert sum(table.num_rows for table in tables(messages)) == len(times)


def test_a_schema_that_fills_a_message_is_refused():
    schema = arrow.joined_schema([UUID(int=i) for i in range(40_000)])
    nothing = np.empty(0)
    with pytest.raises(TooBig):
        list(arrow.Encoder(schema).messages(b"", 2, nothing.astype(np.int64), *[nothing] * 40_000))


# Inserts


@pytest.mark.parametrize(
    ("time", "value"),
    [
        (pa.array(TIMES, NS), pa.array(VALUES)),
        (pa.array(TIMES), pa.array(VALUES, pa.float32())),
        (pa.array([-1, 0, 3], pa.timestamp("us", tz="America/New_York")), pa.array([1, 2, 3], pa.int8())),
        (pa.array([-1, 0, 3], pa.timestamp("s")), pa.array([1, 2, 2**64 - 1], pa.uint64())),
        (pa.array([], NS), pa.array([], pa.float64())),
    ],
)
def test_any_timestamp_and_any_number_is_read_by_position(time, value):
    schema = pa.schema([("value", time.type), ("time", value.type)])
    times, values = arrow.decode_points(stream(schema, [time, value], [time, value]), 100)
    scale = {"s": 10**9, "us": 1000}.get(getattr(time.type, "unit", "ns"), 1)
    assert times.tolist() == [t * scale for t in time.cast(pa.int64()).to_pylist()] * 2
    assert values.tolist() == [float(v) for v in value.to_pylist()] * 2
    assert (times.dtype, values.dtype) == (np.int64, np.float64)


def test_nulls_are_bad_values():
    schema = pa.schema([("time", pa.int64()), ("value", pa.float64())])
    for columns in ([pa.array([1, None]), pa.array([1.0, 2.0])], [pa.array([1, 2]), pa.array([1.0, None])]):
        with pytest.raises(InvalidValue):
            arrow.decode_points(stream(schema, columns), 100)


def test_times_beyond_int64_nanoseconds_are_out_of_bounds():
    schema = pa.schema([("time", pa.timestamp("s")), ("value", pa.float64())])
    columns = [pa.array([10**12], pa.timestamp("s")), pa.array([1.0])]
    with pytest.raises(InvalidTimeRange, match="outside valid time interval"):
        arrow.decode_points(stream(schema, columns), 100)


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("time", NS)]),
        pa.schema([("time", NS), ("value", pa.float64()), ("more", pa.float64())]),
        pa.schema([("time", pa.float64()), ("value", pa.float64())]),
        pa.schema([("time", NS), ("value", pa.string())]),
        pa.schema([("time", NS), ("value", pa.dictionary(pa.int8(), pa.float64()))]),
        pa.schema([("time", NS), ("value", pa.null())]),
    ],
)
def test_other_columns_are_refused(schema):
    with pytest.raises(InvalidArgument):
        arrow.decode_points(stream(schema), 100)


def test_compressed_buffers_are_refused_before_they_are_inflated():
    schema = pa.schema([("time", pa.int64()), ("value", pa.float64())])
    batch = [pa.array(np.zeros(100_000, np.int64)), pa.array(np.zeros(100_000))]
    with pytest.raises(InvalidArgument, match="compressed"):
        arrow.decode_points(stream(schema, batch, compression="zstd"), 1_000_000)


def test_more_rows_than_allowed_are_too_big():
    schema = pa.schema([("time", pa.int64()), ("value", pa.float64())])
    batch = [pa.array([1, 2]), pa.array([1.0, 2.0])]
    assert len(arrow.decode_points(stream(schema, batch, batch), 4)[0]) == 4
    with pytest.raises(TooBig):
        arrow.decode_points(stream(schema, batch, batch), 3)


VALID = stream(pa.schema([("time", NS), ("value", pa.float64())]), [pa.array(TIMES, NS), pa.array(VALUES)])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_an_error_and_nothing_worse(data):
    damaged = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        times, values = arrow.decode_points(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), 100)
    except LaminaError:
        times = values = ()
    with contextlib.suppress(LaminaError):
        list(arrow.Encoder(arrow.POINTS, bytes(damaged)).columns(b"", Samples(TIMES, VALUES)))
    assert len(times) == len(values)


def test_a_stream_that_does_not_begin_with_its_schema_is_invalid():
    first = pa.ipc.MessageReader.open_stream(pa.py_buffer(VALID)).read_next_message().serialize().size
    with pytest.raises(InvalidArgument, match="does not begin with a schema"):
        arrow.decode_points(VALID[first:], 100)


def test_lengths_that_the_buffers_do_not_hold_are_invalid():
    at = VALID.index((3).to_bytes(8, "little"))  # the length of the record batch
    with pytest.raises(InvalidArgument):
        arrow.decode_points(VALID[:at] + (90).to_bytes(8, "little") + VALID[at + 8 :], 100)
