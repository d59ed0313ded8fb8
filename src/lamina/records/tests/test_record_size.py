"""What the contract counts for a record (section 4): its own numbers, and a protobuf message spelled out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamina.records import size
from lamina.records.blocks import BlockLimits, Blocks

TYPE = "application/octet-stream"
WIDE = BlockLimits(64_000_000, 1024)


def reported(*records: tuple[int, int, dict[str, str]]) -> int:
    """Of an entry with records of (seconds, bytes, labels)."""
    blocks = Blocks()
    times = [seconds * 1_000_000 for seconds, _, _ in records]
    bases = [
        size.base_length(time, tuple(labels.items()), TYPE) for time, (_, _, labels) in zip(times, records, strict=True)
    ]
    return blocks.plan_add(times, [length for _, length, _ in records], bases, WIDE).size


def test_the_examples_of_the_contract():
    one = {"number": "1"}
    assert reported((5, 11, {}), (6, 11, {})) == 88
    assert reported((1, 11, one), (2, 11, one)) == 114
    assert reported((3, 11, one), (4, 11, one), (5, 11, one)) == 172
    assert reported((1, 8, {})) == 40
    assert reported((2, 11, {})) == 43


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = number >> 7, number & 127
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def number_field(number: int, value: int) -> bytes:
    return bytes([number << 3]) + varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def message(time_us: int, begin: int, end: int, labels, content_type: str) -> bytes:
    """The record message of the contract."""
    time = number_field(1, time_us // 1_000_000) + number_field(2, time_us % 1_000_000 * 1000)
    out = bytes_field(1, time) + number_field(2, begin) + number_field(3, end)
    for name, value in labels:
        out += bytes_field(5, bytes_field(1, name.encode()) + bytes_field(2, value.encode()))
    return out + bytes_field(6, content_type.encode())


@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 40),
    st.lists(st.tuples(st.text(max_size=200), st.text(max_size=200)), max_size=4),
    st.text(max_size=140),
)
def test_lengths_are_those_of_the_message(time_us, begin, length, labels, content_type):
    expected = len(message(time_us, begin, begin + length, labels, content_type))
    base = size.base_length(time_us, tuple(labels), content_type)
    assert base + size.offset_length(begin) + size.offset_length(begin + length) == expected
    assert size.offset_length(begin) * 2 <= size.LONGEST_OFFSETS


@given(
    st.lists(
        st.integers(0, 2**64 - 1) | st.integers(0, 300_000_000) | st.sampled_from([n * 10**6 for n in (0, 1, 127, 128)])
    )
)
def test_lengths_of_many_times_are_those_of_each(times):
    times.sort()
    found = np.broadcast_to(size.time_lengths(np.array(times, np.uint64)), len(times))
    assert found.tolist() == [size.time_length(time_us) for time_us in times]
