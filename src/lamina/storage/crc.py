"""CRC32C, the one checksum of every format here."""

from collections.abc import Sequence
from itertools import accumulate, repeat
from operator import itemgetter
from struct import iter_unpack

import numpy as np
from google_crc32c import extend

from lamina.storage.files import Buffer


def crc32c(data: Buffer, seed: int = 0) -> int:
    """CRC32C of contiguous bytes, 0 <= result < 2**32; no copy.

    `seed` is the CRC of what came before: crc32c(b, crc32c(a)) is the CRC of a + b.
    Cost 0.15 us, and 40 us per MiB.
    """
    if type(data) is bytes:
        return int(extend(seed, data))
    # The C function refuses buffers that must be released; an array over the same bytes need not be.
    return int(extend(seed, np.frombuffer(data, np.uint8)))


def crc32c_each(data: bytes, lengths: Sequence[int]) -> list[int]:
    """CRC32C of each of the pieces of these lengths that follow one another from the start of `data`.

    Cost 0.25 us a piece of 1 KiB, a third less where all are of one length.
    """
    size = lengths[0] if lengths else 0
    if size and size * len(lengths) == len(data) and lengths.count(size) == len(lengths):
        return list(map(extend, repeat(0), map(itemgetter(0), iter_unpack(f"{size}s", data))))
    ends = list(accumulate(lengths))
    pieces = map(data.__getitem__, map(slice, [0, *ends], ends))
    return list(map(extend, repeat(0), pieces))
