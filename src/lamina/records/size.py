"""How many bytes the contract counts for a record besides its content (contract reductstore section 4).

The reference keeps a protobuf message per record: its time, where the content begins and ends in its block, labels,
content type. Sizes are compared exactly by its API tests, so they are computed as if we kept it, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamina.records.labels import LabelSet

_VARINTS = np.array([1 << 7 * i for i in range(1, 10)], np.uint64)
"""The smallest number of each length but the first."""


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


def time_lengths(times: NDArray[np.uint64]) -> NDArray[np.int64]:
    """`time_length` of many."""
    seconds, micros = np.divmod(times, np.uint64(1_000_000))
    lengths = np.searchsorted(_VARINTS, seconds, "right") + np.searchsorted(_VARINTS, micros * np.uint64(1000), "right")
    lengths += 6  # the message's tag and length; a tag and a byte for each of its fields
    lengths -= 2 * (seconds == 0)
    lengths -= 2 * (micros == 0)
    return lengths


def base_length(time_us: int, labels: LabelSet, content_type: str) -> int:
    """Everything but the two offsets, which depend on the block (blocks.py)."""
    return time_length(time_us) + described_length(labels, content_type)


LONGEST_OFFSETS = 2 * 11
"""The two offsets take at most so many bytes: what a quota must expect before the block is known."""
