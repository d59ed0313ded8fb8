"""New inputs out of old ones: bytes flipped, cut, doubled, spliced, and words of the format put in."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

LONGEST = 4096
"""Bytes: what breaks a reader is seldom long, and long inputs are slow."""

_EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def mutated(random: Random, pool: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the pool after one to eight changes."""
    data = bytearray(random.choice(pool)[:LONGEST])
    for _ in range(random.choice((1, 1, 2, 3, 5, 8))):
        _change(random, data, pool, words)
    return bytes(data[:LONGEST])


def _change(random: Random, data: bytearray, pool: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((1, 1, 2, 4, 8, random.randrange(1, 200))))
    kind = random.randrange(9)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << random.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = random.choice((*_EDGES, random.randrange(256)))
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end] * random.choice((1, 1, 2, 30))
    elif kind == 4:
        data[at:at] = random.randbytes(end - at)
    elif kind == 5:
        other = random.choice(pool)
        start = random.randrange(len(other) + 1)
        data[at:] = other[start:]
    elif kind == 6:
        width = random.choice((2, 4, 8))
        number = random.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), random.getrandbits(8 * width)))
        data[at : at + width] = number.to_bytes(width, "little")
    elif words:
        data[at : at if kind == 7 else end] = random.choice(words)
