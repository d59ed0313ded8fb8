"""How many bytes the contract counts for a record besides its content (contract reductstore section 4).

The reference keeps a protobuf message per record: its time, where the content begins and ends in its block, labels,
content type. Sizes are compared exactly by its API tests, so they are computed as if we kept it, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.records.labels import LabelSet

_VARINT_STEPS = np.uint64(1) << np.arange(7, 64, 7, dtype=np.uint64)
"""The smallest numbers of two bytes, of three, ..., of ten."""


def varint_length(number: int) -> int:
    """Bytes of a protobuf varint."""
    return (number.bit_length() + 6) // 7 or 1


def offset_length(offset: int) -> int:
    """Bytes of a numeric field; zero is left out."""
    return 1 + varint_length(offset) if offset else 0


def _text_length(text: str) -> int:
    length = len(text.encode("utf-8", "surrogatepass"))
    return 1 + varint_length(length) + length


def described_length(labels: LabelSet, content_type: str) -> int:
    """Bytes of labels and content type."""
    total = _text_length(content_type)
    for name, value in labels:
        inner = _text_length(name) + _text_length(value)
        total += 1 + varint_length(inner) + inner
    return total


def time_length(time_us: int) -> int:
    """Bytes of the timestamp message."""
    seconds, micros = divmod(time_us, 1_000_000)
    inner = 2  # tag and length; the message is shorter than 128 bytes
    if seconds:
        inner += 1 + (seconds.bit_length() + 6) // 7
    if micros:
        inner += 1 + ((micros * 1000).bit_length() + 6) // 7
    return inner


def time_lengths(times: NDArray[np.uint64]) -> NDArray[np.int64] | int:
    """`time_length` of ascending times; one number where it is the same for all."""
    if len(times):
        first, last = int(times[0]), int(times[-1])
        length = time_length(first)
        if first // 1_000_000 == last // 1_000_000 and length == time_length(last):
            return length  # within a second it grows with the time
    seconds, micros = np.divmod(times, np.uint64(1_000_000))
    return 2 + _offset_lengths(seconds) + _offset_lengths(micros * np.uint64(1000))


def _offset_lengths(offsets: NDArray[np.uint64]) -> NDArray[np.int64]:
    """`offset_length` of each."""
    return np.where(offsets > 0, _VARINT_STEPS.searchsorted(offsets, side="right") + 2, 0)


def base_length(time_us: int, labels: LabelSet, content_type: str) -> int:
    """Everything but the two offsets, which depend on the block (blocks.py)."""
    return time_length(time_us) + described_length(labels, content_type)


LONGEST_OFFSETS = 2 * 11
"""The two offsets take at most so many bytes: what a quota must expect before the block is known."""
