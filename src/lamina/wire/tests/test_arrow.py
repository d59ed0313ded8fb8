import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.columns import Ranges, Samples, Summaries
from lamina.errors import Corrupt, InvalidArgument, TooBig
from lamina.wire import arrow

F8, U8, I8 = np.float64, np.uint64, np.int64


def bundles(n):
    ticks = np.arange(n)
    f8 = ticks.astype(F8)
    return (
        Samples(ticks - 5, f8),
        Summaries(ticks, f8, -f8, f8 / 3, ticks.astype(U8), f8 * 0),
        Ranges(ticks * 2, ticks * 2 + 1),
    )


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_columns_come_back_as_they_were_and_may_be_written_to(n):
    for bundle in bundles(n):
        found = arrow.decode_bundle(type(bundle), bytearray(arrow.encode_bundle(bundle)))
        assert found == bundle
        for name in bundle.fields:
            column = getattr(found, name)
            assert column.dtype == getattr(bundle, name).dtype
            column[:] = 0


def test_columns_with_strides_are_gathered():
    ticks = np.arange(20)[::2]
    found = arrow.decode_bundle(Samples, bytearray(arrow.encode_bundle(Samples(ticks, ticks.astype(F8)))))
    assert found.time.tolist() == ticks.tolist()


def test_an_answer_of_several_batches_is_one():
    batch = pa.RecordBatch.from_arrays([pa.array([1, 2]).view(arrow.TIME), pa.array([1.0, 2.0])], schema=arrow.POINTS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, arrow.POINTS) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(1))
    assert list(arrow.decode_bundle(Samples, sink.getvalue().to_pybytes())) == [(1, 1.0), (2, 2.0), (2, 2.0)]


@given(st.binary(max_size=400))
def test_bytes_that_are_no_columns_are_refused(data):
    with pytest.raises(Corrupt):
        arrow.decode_bundle(Samples, bytearray(data))
    with pytest.raises(InvalidArgument):
        arrow.received(arrow.POINTS, memoryview(data), "the body", 10)


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_byte_that_changed_is_never_worse_than_an_error(place, byte):
    """The size of the columns that come out is what the bytes hold."""
    data = bytearray(arrow.encode_bundle(bundles(10)[0]))
    data[place % len(data)] = byte
    try:
        times, values = arrow.received(arrow.POINTS, memoryview(data), "the body", 10)
    except (InvalidArgument, TooBig):
        return
    assert len(times) == len(values) <= 10


def test_what_is_sent_must_have_exactly_these_columns():
    wrong = memoryview(arrow.encode(arrow.NEW, [np.ones(1)] * 4))
    with pytest.raises(InvalidArgument, match=r"^the body has the columns .*: expected "):
        arrow.received(arrow.POINTS, wrong, "the body", 10)
    with pytest.raises(TooBig):
        arrow.received(arrow.POINTS, memoryview(arrow.encode_bundle(bundles(11)[0])), "the body", 10)
