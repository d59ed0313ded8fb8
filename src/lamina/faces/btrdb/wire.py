"""Point arrays on protobuf wire bytes: columns in, columns out, no Python object per point.

A repeated message whose fields all have fixed width is an array of fixed-width records once zeros are written out,
which proto3 allows. So an encoder is a packed NumPy dtype with the tags and lengths filled in beforehand. The
decoder cannot assume that: writers leave zero fields out, so an element of RawPoint takes 20, 11 or 2 bytes, and a
payload may hold bytes that look like the head of an element.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from lamina.columns import Ranges, Samples, Summaries, Times, Values
from lamina.errors import InvalidArgument, TooBig
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

PAYLOAD = 4
"""Field of the payload in every data response; 2 and 3 are the versions (contract section 2.1)."""


def varint(value: int) -> bytes:
    """The value (>= 0) in base 128, least significant group first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at an offset and the offset behind it. Raises ValueError if it is cut off or has over 10 bytes."""
    value = 0
    for shift, byte in zip(range(0, 70, 7), data[at : at + 10], strict=False):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + shift // 7 + 1
    raise ValueError(f"no varint at offset {at}")


def length_delimited(field: int, payload_bytes: int) -> bytes:
    """Tag and length in front of a payload of so many bytes."""
    return varint(field << 3 | 2) + varint(payload_bytes)


def versions(major: int) -> bytes:
    """Fields 2 and 3 of a data response; the minor version is always 0 and therefore absent."""
    return b"\x10" + varint(major)


# Encoding


class Layout:
    """How one kind of element lies on the wire: tag, length, then a one-byte tag before each 8-byte column."""

    def __init__(self, formats: Sequence[str], field: int = PAYLOAD) -> None:
        """`formats`: NumPy types of the columns, in field order from 1. `field`: of the repeated message."""
        self.field = field
        self.fields = [f"c{i}" for i in range(len(formats))]
        record: list[tuple[str, str]] = [("tag", "u1"), ("length", "u1")]
        for i, code in enumerate(formats):
            record += [(f"t{i}", "u1"), (f"c{i}", f"<{code}")]
        self.dtype = np.dtype(record)
        self._scratch = threading.local()

    def rows(self, n: int) -> NDArray[np.void]:
        """n records with tags and lengths filled in; the thread's own, valid until its next call."""
        held = getattr(self._scratch, "rows", None)
        if held is None or len(held) < n:
            held = np.empty(n, self.dtype)
            held["tag"] = self.field << 3 | 2
            held["length"] = self.dtype.itemsize - 2
            for i in range(len(self.fields)):
                held[f"t{i}"] = (i + 1) << 3 | 1
            self._scratch.rows = held
        return held[:n]

    def encode(self, head: bytes, *columns: NDArray[np.generic]) -> bytes:
        """`head`, then one element per row of the columns (all of one length)."""
        rows = self.rows(len(columns[0]))
        for name, column in zip(self.fields, columns, strict=True):
            rows[name] = column
        return b"".join((head, rows.view(np.uint8).data))

    def decode(self, data: bytes, start: int) -> list[NDArray[Any]] | None:
        """The columns of a message that consists of elements from `start` on; None if any of them has another form
        (a zero left out, which other writers do), or is none at all."""
        n, rest = divmod(len(data) - start, self.dtype.itemsize)
        if rest:
            return None
        rows = np.frombuffer(data, self.dtype, n, start)
        expected = {"tag": self.field << 3 | 2, "length": self.dtype.itemsize - 2}
        expected |= {f"t{i}": (i + 1) << 3 | 1 for i in range(len(self.fields))}
        if not all((rows[name] == value).all() for name, value in expected.items()):
            return None
        return [np.ascontiguousarray(rows[name]) for name in self.fields]


POINT = Layout(("i8", "f8"))
_DELIVERED = Layout(("i8", "f8"), 2)
CHANGED_RANGE = Layout(("i8", "i8"))
SUMMARY = Layout(("i8", "f8", "f8", "f8", "u8", "f8"))
SUMMARY_4 = Layout(("i8", "f8", "f8", "f8", "u8"))
_INSERTED = Layout(("i8", "f8"), 3)


def encode_points(head: bytes, points: Samples) -> bytes:
    """`head`, then every point as a RawPoint in field 4 (20 bytes each)."""
    return POINT.encode(head, points.time, points.value)


def encode_delivered(head: bytes, points: Samples) -> bytes:
    """As encode_points, in field 2: what Subscribe delivers to the Go client."""
    return _DELIVERED.encode(head, points.time, points.value)


def encode_inserted(head: bytes, times: Times, values: Values) -> bytes:
    """`head`, then every point as a RawPoint in field 3: the points of InsertParams."""
    return _INSERTED.encode(head, times, values)


def encode_ranges(head: bytes, ranges: Ranges) -> bytes:
    """`head`, then every range as a ChangedRange in field 4 (20 bytes each)."""
    return CHANGED_RANGE.encode(head, ranges.start, ranges.end)


def encode_summaries(head: bytes, windows: Summaries, *, stddev: bool = True) -> bytes:
    """`head`, then every window as a StatPoint in field 4 (56 bytes each; 47 without stddev, for version 4)."""
    columns = (windows.time, windows.min, windows.mean, windows.max, windows.count)
    if stddev:
        return SUMMARY.encode(head, *columns, windows.stddev)
    return SUMMARY_4.encode(head, *columns)


def encode_rows(head: bytes, times: Times, columns: Values) -> bytes:
    """`head`, then every row of a join as a RawPointVec in field 4. `columns` is of shape (streams, rows)."""
    streams = len(columns)
    packed = length_delimited(2, 8 * streams) if streams else b""
    before = length_delimited(PAYLOAD, 9 + len(packed) + 8 * streams) + b"\x09"
    dtype = np.dtype(
        [
            ("before", f"V{len(before)}"),
            ("time", "<i8"),
            ("packed", f"V{len(packed)}"),
            ("values", "<f8", (streams,)),
        ]
    )
    rows = np.empty(len(times), dtype)
    rows["before"] = np.void(before)
    rows["time"] = times
    if streams:
        rows["packed"] = np.void(packed)
        rows["values"] = columns.T
    return head + rows.tobytes()


# Decoding


class Insert(NamedTuple):
    """InsertParams. `sync` and `rounding` have no effect and are not kept."""

    uuid: bytes
    policy: int
    times: Times
    values: Values


_POINT, _TIME, _VALUE = 0x1A, 0x09, 0x11
_RUNS_LIMIT = 16  # stretches of points with other fields between them; every writer known makes one
_OTHERS_LIMIT = 64  # fields that are no points: there are four, and writers give each once
_FALSE_HEADS = 64  # the chain repairs one false head per so many candidates; more are left to the parser


def decode_insert(data: bytes, limit: int) -> Insert:
    """InsertParams from its bytes, as the generated class would read them.

    Elements in the forms that writers produce are gathered column-wise; a message with anything else in it goes
    through the generated class, which is right for all of protobuf and costs about 0.5 us per point.
    Raises TooBig for more than `limit` points, InvalidArgument if the bytes are no such message.
    """
    insert = _gather(data) or _parse(data, limit)
    if len(insert.times) > limit:
        raise TooBig(_too_big(len(insert.times), limit))
    return insert


def _too_big(points: int, limit: int) -> str:
    return f"Insert too big: {points} points, one call may carry {limit}"


def _gather(data: bytes) -> Insert | None:
    """The message, if it consists of the plain forms only; None says nothing about its validity."""
    at, end, uuid, policy = 0, len(data), b"", 0
    runs: list[tuple[Times, Values]] = []
    others = 0
    while at < end:
        tag = data[at]
        if tag == _POINT:
            run = _dense(data, at) or _mixed(data, at) if len(runs) < _RUNS_LIMIT else None
            if run is None:
                return None
            times, values, at = run
            runs.append((times, values))
            continue
        others += 1
        if at + 1 >= end or data[at + 1] > 0x7F or others > _OTHERS_LIMIT:
            return None
        if tag == 0x0A and at + 2 + data[at + 1] <= end:
            uuid = data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + data[at + 1]
        elif tag == 0x10:
            at += 2
        elif tag == 0x20:
            policy = data[at + 1]
            at += 2
        else:
            return None
    if len(runs) == 1:
        return Insert(uuid, policy, *runs[0])
    return Insert(
        uuid,
        policy,
        np.concatenate([np.empty(0, np.int64), *(times for times, _ in runs)]),
        np.concatenate([np.empty(0, np.float64), *(values for _, values in runs)]),
    )


def _dense(data: bytes, start: int) -> tuple[Times, Values, int] | None:
    """The points at `start` if none of them leaves a field out: 20 bytes each, nothing between them."""
    n = (len(data) - start) // 20
    if n == 0:
        return None
    heads = np.ndarray(n, "<u4", data, start, (20,)) << 8  # drops the first byte of the time
    plain = heads == (_TIME << 16 | 18 << 8 | _POINT) << 8
    plain &= np.ndarray(n, np.uint8, data, start + 11, (20,)) == _VALUE
    if not plain.all():
        n = int(plain.argmin())
    end = start + 20 * n
    if n == 0 or (end < len(data) and data[end] == _POINT):
        return None
    times = np.ndarray(n, "<i8", data, start + 3, (20,)).copy()
    return times, np.ndarray(n, "<f8", data, start + 12, (20,)).copy(), end


def _mixed(data: bytes, start: int) -> tuple[Times, Values, int] | None:
    """The points at `start` where zero fields may be left out: elements of 20, 11 and 2 bytes."""
    octets = np.frombuffer(data, np.uint8)
    last = len(data) - 1
    heads = np.flatnonzero(octets[start:last] == _POINT) + start
    lengths = octets[heads + 1]
    first = octets[np.minimum(heads + 2, last)]
    second = octets[np.minimum(heads + 11, last)]
    both = (lengths == 18) & (first == _TIME) & (second == _VALUE)
    one = (lengths == 9) & ((first == _TIME) | (first == _VALUE))
    candidates = both | one | (lengths == 0)
    heads = heads[candidates]
    ends = heads + 2 + lengths[candidates]
    chain = _chain(heads, ends, start)
    if chain is None:
        return None
    heads = chain
    lengths = octets[heads + 1]
    first = octets[np.minimum(heads + 2, last)]
    end = int(heads[-1]) + 2 + int(lengths[-1])
    if end > len(data) or (end < len(data) and data[end] == _POINT):
        return None
    if len(data) < 8:  # every element is empty
        return np.zeros(len(heads), np.int64), np.zeros(len(heads), np.float64), end
    # A time starts 3 bytes into its element and a value ends it. Both are read everywhere and multiplied by whether
    # they are there: selecting with a random mask costs three times as much.
    eights = np.ndarray(len(data) - 7, "<i8", data, 0, (1,))
    times = eights[np.minimum(heads + 3, len(eights) - 1)]
    times *= (lengths != 0) & (first == _TIME)
    values = eights[np.maximum(heads + lengths - 6, 0)]
    values *= (lengths == 18) | ((lengths == 9) & (first == _VALUE))
    return times, values.view(np.float64), end


def _chain(heads: NDArray[np.int64], ends: NDArray[np.int64], start: int) -> NDArray[np.int64] | None:
    """Those candidates that follow one another from `start`; the others lie inside an element.

    Where a candidate does not end at the next one, the next ones up to its end are false. Between two such breaks
    nothing needs to be looked at.
    """
    if not len(heads) or heads[0] != start:
        return None
    breaks = np.flatnonzero(ends[:-1] != heads[1:])
    if not len(breaks):
        return heads
    if len(breaks) * _FALSE_HEADS > len(heads) + _FALSE_HEADS * _FALSE_HEADS:
        return None
    true = np.ones(len(heads), np.bool_)
    position = 0
    while (i := int(breaks.searchsorted(position))) < len(breaks):
        broken = int(breaks[i])
        position = int(heads.searchsorted(ends[broken]))
        true[broken + 1 : position] = False
        if position == len(heads) or heads[position] != ends[broken]:
            true[position:] = False
            break
    return heads[true]


def _parse(data: bytes, limit: int) -> Insert:
    """The message by way of the generated class. Fields are counted first: points as objects take 20 times their
    bytes, and a message of 64 MiB can hold 32 million fields, which are half a minute to walk."""
    most = limit + _OTHERS_LIMIT
    if _count_fields(data, most) > most:
        raise TooBig(f"Insert too big: more than {most} fields, one call may carry {limit} points")
    try:
        message = pb.InsertParams.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(f"not an InsertParams message ({len(data)} bytes): {error}") from None
    n = len(message.values)
    return Insert(
        message.uuid,
        message.merge_policy,
        np.fromiter((point.time for point in message.values), np.int64, n),
        np.fromiter((point.value for point in message.values), np.float64, n),
    )


def _count_fields(data: bytes, most: int) -> int:
    """Fields of a message, at most `most` + 1; where the bytes are malformed, those before."""
    at = count = 0
    try:
        while at < len(data) and count <= most:
            key, at = read_varint(data, at)
            if key & 7 == 0:
                _, at = read_varint(data, at)
            elif key & 7 == 1:
                at += 8
            elif key & 7 == 2:
                size, at = read_varint(data, at)
                at += size
            elif key & 7 == 5:
                at += 4
            count += 1
    except ValueError:
        return count
    return count
