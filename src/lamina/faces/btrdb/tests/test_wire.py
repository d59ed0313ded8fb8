"""Point arrays against the generated classes: whatever those accept means the same here."""

import struct

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.columns import Ranges, Samples, Summaries
from lamina.errors import InvalidArgument, TooBig
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

LIMIT = 10_000

IMITATIONS = [  # payloads that look like heads of elements
    b"\x1a\x12\x09\x1a\x12\x09\x1a\x12",
    b"\x1a\x00\x1a\x00\x1a\x00\x1a\x00",
    b"\x1a\x09\x09\x1a\x00\x1a\x00\x1a",
    b"\x11\x1a\x12\x09\x00\x1a\x09\x11",
    b"\x00\x00\x00\x00\x00\x00\x1a\x12",
    b"\x00\x00\x00\x00\x00\x00\x00\x1a",
]
TIMES = st.one_of(
    st.just(0),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([struct.unpack("<q", raw)[0] for raw in IMITATIONS]),
)
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, float("inf"), float("-inf"), 1.5]),
    st.floats(allow_nan=False),
    st.sampled_from([struct.unpack("<d", raw)[0] for raw in IMITATIONS]),
)


def message_of(points, uuid=b"\x1a\x12\x09u" * 4, policy=3, **more):
    values = [pb.RawPoint(time=time, value=value) for time, value in points]
    return pb.InsertParams(uuid=uuid, values=values, merge_policy=policy, **more)


def same_as_generated(data: bytes) -> None:
    expected = pb.InsertParams.FromString(data)
    insert = wire.decode_insert(data, LIMIT)
    assert insert.uuid == expected.uuid
    assert insert.policy == expected.merge_policy
    assert insert.times.tolist() == [point.time for point in expected.values]
    bits = np.array([point.value for point in expected.values], np.float64).view(np.int64)
    assert insert.values.view(np.int64).tolist() == bits.tolist()  # tells -0.0 from 0.0
    assert insert.times.dtype == np.int64
    assert insert.values.dtype == np.float64


@given(st.lists(st.tuples(TIMES, VALUES), max_size=60))
@settings(max_examples=300, deadline=None)
def test_insert_reads_as_the_generated_class_does(points):
    same_as_generated(message_of(points).SerializeToString())


@given(st.lists(st.tuples(TIMES, VALUES), min_size=1, max_size=20), st.data())
@settings(max_examples=300, deadline=None)
def test_insert_cut_anywhere_reads_or_fails_as_the_generated_class_does(points, data):
    whole = message_of(points).SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        pb.InsertParams.FromString(cut)
    except DecodeError:
        with pytest.raises(InvalidArgument):
            wire.decode_insert(cut, LIMIT)
    else:
        same_as_generated(cut)


@given(st.binary(max_size=80) | st.lists(st.sampled_from(IMITATIONS)).map(b"".join))
@settings(max_examples=500, deadline=None)
def test_any_bytes_read_or_fail_as_the_generated_class_does(data):
    try:
        pb.InsertParams.FromString(data)
    except DecodeError:
        with pytest.raises(InvalidArgument):
            wire.decode_insert(data, LIMIT)
    else:
        same_as_generated(data)


def test_insert_in_pieces_any_order_and_with_unknown_fields():
    one = message_of([(1, 1.0), (0, 2.0)]).SerializeToString()
    two = message_of([(3, 0.0), (4, 4.0)], uuid=b"v" * 16, policy=1).SerializeToString()
    unknown = b"\x52\x03abc\x58\x07\x61" + bytes(8) + b"\x6d" + bytes(4)
    for data in (one + two, two + unknown + one, unknown + one + unknown, unknown):
        same_as_generated(data)


def test_elements_in_forms_no_writer_produces():
    time, value = struct.pack("<q", 7), struct.pack("<d", 2.5)
    swapped = b"\x1a\x12\x11" + value + b"\x09" + time
    twice = b"\x1a\x1b\x09" + time + b"\x11" + value + b"\x11" + struct.pack("<d", 3.5)
    long_length = b"\x1a\x92\x00\x09" + time + b"\x11" + value
    unknown = b"\x1a\x14\x09" + time + b"\x11" + value + b"\x18\x01"
    plain = message_of([(1, 1.0), (2, 0.0), (0, 0.0)]).SerializeToString()
    for odd in (swapped, twice, long_length, unknown):
        for data in (odd, plain + odd, odd + plain, plain + odd + plain, odd + odd):
            same_as_generated(data)


def test_rounding_and_sync_are_ignored():
    same_as_generated(message_of([(1, 1.0)], sync=True, rounding=pb.RoundSpec(bits=5)).SerializeToString())


def test_many_false_heads_take_the_plain_way_and_stay_right():
    value = struct.unpack("<d", IMITATIONS[1])[0]
    same_as_generated(message_of([(t, value) for t in range(9_000)]).SerializeToString())


def test_a_large_mix_of_zeros_reads_right():
    random = np.random.default_rng(1)
    for share in (0.0, 0.001, 0.5, 1.0):
        values = np.where(random.random(5000) < share, 0.0, random.normal(size=5000))
        same_as_generated(message_of(list(enumerate(values.tolist()))).SerializeToString())


def test_more_points_than_allowed_are_refused_before_they_become_objects():
    dense = message_of([(1, 1.0)] * 11).SerializeToString()
    empty = b"\x1a\x00" * 11
    odd = b"\x52\x00" + b"\x1a\x00" * 11
    for data in (dense, empty, odd):
        assert len(wire.decode_insert(data, 11).times) == 11
        with pytest.raises(TooBig, match="Insert too big"):
            wire.decode_insert(data, 10)


@pytest.mark.parametrize(
    "field", [b"\x10\x01", b"\x78\x00", b"\x52\x00"], ids=["sync", "unknown number", "unknown bytes"]
)
def test_a_flood_of_small_fields_is_refused_before_all_of_it_is_walked(field, monkeypatch):
    walked = []
    read_varint = wire.read_varint
    monkeypatch.setattr(wire, "read_varint", lambda *arguments: walked.append(1) or read_varint(*arguments))
    with pytest.raises(TooBig, match="fields"):
        wire.decode_insert(field * 20_000, 100)
    assert len(walked) < 1000
    assert wire.decode_insert(field * 100, 100).times.size == 0


def test_endless_varint_is_malformed():
    with pytest.raises(InvalidArgument):
        wire.decode_insert(b"\x80" * 100_000, LIMIT)


@pytest.mark.parametrize("n", [0, 1, 3, 6000])
def test_points_encode_as_the_generated_class_reads(n):
    points = Samples(np.arange(-1, n - 1), np.linspace(-1, 1, n))
    message = pb.RawValuesResponse.FromString(wire.encode_points(wire.versions(300), points))
    assert [(p.time, p.value) for p in message.values] == list(points)
    assert message.versionMajor == 300
    assert not message.HasField("stat")


def test_summaries_encode_as_the_generated_classes_read():
    windows = Summaries(
        np.array([-5, 0]),
        np.array([-1.0, 0.0]),
        np.array([0.5, 0.0]),
        np.array([2.0, 0.0]),
        np.array([1 << 63, 0], np.uint64),
        np.array([0.25, 0.0]),
    )
    five = pb.WindowsResponse.FromString(wire.encode_summaries(wire.versions(11), windows)).values
    assert [(p.time, p.min, p.mean, p.max, p.count, p.stddev) for p in five] == list(windows)
    four = pb4.WindowsResponse.FromString(wire.encode_summaries(b"", windows, stddev=False)).values
    assert [(p.time, p.min, p.mean, p.max, p.count) for p in four] == [row[:5] for row in windows]


def test_ranges_encode_as_the_generated_class_reads():
    ranges = Ranges(np.array([-8, 16]), np.array([8, 32]))
    message = pb.ChangesResponse.FromString(wire.encode_ranges(wire.versions(12), ranges))
    assert [(r.start, r.end) for r in message.ranges] == [(-8, 8), (16, 32)]


@pytest.mark.parametrize("streams", [0, 1, 2, 20])
def test_rows_encode_as_the_generated_class_reads(streams):
    times = np.array([1, 5, 9])
    columns = np.arange(3.0 * streams).reshape(streams, 3)
    rows = pb.MultiRawValuesResponse.FromString(wire.encode_rows(b"", times, columns)).values
    assert [row.time for row in rows] == [1, 5, 9]
    assert [list(row.value) for row in rows] == columns.T.tolist()


@given(st.integers(0, (1 << 64) - 1))
def test_varints_read_back(value):
    assert wire.read_varint(b"\xff" + wire.varint(value) + b"\xff", 1) == (value, 1 + len(wire.varint(value)))


# Answers, read back


@given(st.lists(st.tuples(TIMES, VALUES), max_size=9))
def test_points_that_are_written_out_are_read_back(points):
    times = np.array([time for time, _ in points], np.int64)
    values = np.array([value for _, value in points], np.float64)
    head = wire.versions(11)
    columns = wire.POINT.decode(wire.encode_points(head, Samples(times, values)), len(head))
    assert columns is not None
    assert columns[0].tobytes() == times.tobytes()
    assert columns[1].tobytes() == values.tobytes()


@given(st.lists(st.tuples(TIMES, VALUES), max_size=9))
def test_points_in_another_form_are_left_to_the_generated_class(points):
    """As protobuf writes them, without zeros: never other points, at most none."""
    data = pb.RawValuesResponse(values=[pb.RawPoint(time=t, value=v) for t, v in points]).SerializeToString()
    columns = wire.POINT.decode(data, 0)
    full = all(time != 0 and (value != 0 or np.signbit(value)) for time, value in points)
    assert (columns is not None) == (full or not data)
    if columns is not None:
        assert columns[0].tolist() == [time for time, _ in points][: len(columns[0])]


def test_windows_are_read_back():
    f8 = np.array([1.5, 0.0])
    windows = Summaries(np.array([0, 7]), f8, f8 + 1, f8 + 2, np.array([3, 0], np.uint64), f8 / 2)
    for layout, stddev in ((wire.SUMMARY, True), (wire.SUMMARY_4, False)):
        columns = layout.decode(wire.encode_summaries(b"", windows, stddev=stddev), 0)
        expected = [getattr(windows, name) for name in Summaries.fields]
        assert [column.tolist() for column in columns] == [column.tolist() for column in expected[: len(columns)]]
        assert layout.decode(wire.encode_summaries(b"", windows, stddev=not stddev), 0) is None


def test_inserted_points_are_those_of_insert_params():
    data = wire.encode_inserted(
        pb.InsertParams(uuid=b"u" * 16).SerializeToString(), np.array([0, 5]), np.array([1.5, 0.0])
    )
    message = pb.InsertParams.FromString(data)
    assert [(point.time, point.value) for point in message.values] == [(0, 1.5), (5, 0.0)]
    assert message.uuid == b"u" * 16
