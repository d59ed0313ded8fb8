"""The columns of a CSV file in a file beside it, so that opening need not parse.

A cache: whoever reads it compares the CRC-32C of the CSV's first `end` bytes with `crc` before using it, and it may be
deleted at any time. Layout: magic, u32 CRC-32C of all that follows, u32 length of the header, the header as JSON padded
with blanks to a multiple of 8, then the arrays (little-endian, each padded to a multiple of 8): the row starts, and the
columns of shape after shape. Another layout gets another magic; an unknown one is ignored.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.points.columns import Columns, Dictionary
from lamina.storage.crc import crc32c
from lamina.tinyflux.csvfile import write_beside
from lamina.tinyflux.stores import SUFFIX

_MAGIC = b"LTFCOL1\n"
_HEAD = struct.Struct("<II")


class Loaded(NamedTuple):
    """What a checkpoint holds: columns of the rows in bytes [0, end) of the CSV, if those have this CRC-32C."""

    columns: Columns
    starts: NDArray[np.int64]
    end: int
    crc: int


def save(path: str, columns: Columns, starts: NDArray[np.int64], end: int, crc: int) -> None:
    """Writes the checkpoint of the CSV at `path`. OSError: it cannot be written."""
    arrays: list[NDArray[Any]] = [starts]
    shapes = []
    for shape in columns.shapes.values():
        kinds = [shape.kinds(j) is not None for j in range(len(shape.field_keys))]
        odd = [list(values.items()) for values in shape.odd]
        shapes.append([shape.tag_keys, shape.field_keys, shape.n, shape.ordered, kinds, odd])
        arrays += shape.arrays()
    header = {
        "end": end,
        "crc": crc,
        "complete": columns.complete,
        "measurements": columns.measurements.values,
        "tags": [[key, dictionary.values] for key, dictionary in columns.tags.items()],
        "shapes": shapes,
        "arrays": [[array.dtype.str, len(array)] for array in arrays],
    }
    text = json.dumps(header).encode()
    text += b" " * (-(len(_MAGIC) + _HEAD.size + len(text)) % 8)
    body = b"".join((text, *_padded(arrays)))
    length = struct.pack("<I", len(text))
    write_beside(path, SUFFIX, [_MAGIC, struct.pack("<I", crc32c(body, crc32c(length))), length, body])


def _padded(arrays: list[NDArray[Any]]) -> Iterator[bytes]:
    for array in arrays:
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        yield data
        yield bytes(-len(data) % 8)


def load(data: bytes) -> Loaded | None:
    """The columns in a checkpoint, as views of `data`; None if it is damaged or of another layout."""
    head = len(_MAGIC) + _HEAD.size
    if data[: len(_MAGIC)] != _MAGIC or len(data) < head:
        return None
    crc, length = _HEAD.unpack_from(data, len(_MAGIC))
    if crc32c(memoryview(data)[len(_MAGIC) + 4 :]) != crc:
        return None
    header = json.loads(data[head : head + length])
    arrays = _arrays(data, head + length, header["arrays"])
    starts = next(arrays)
    columns = Columns()
    columns.complete = header["complete"]
    columns.measurements = Dictionary(header["measurements"])
    columns.tags = {key: Dictionary(values) for key, values in header["tags"]}
    for tag_keys, field_keys, n, ordered, kinds, odd in header["shapes"]:
        shape = columns.shape(tuple(tag_keys), tuple(field_keys))
        shape.restored(n, ordered, kinds, arrays)
        shape.odd = [dict(map(tuple, values)) for values in odd]
        columns.n += n
    return Loaded(columns, starts, header["end"], header["crc"])


def _arrays(data: bytes, at: int, described: list[tuple[str, int]]) -> Iterator[NDArray[Any]]:
    for dtype, length in described:
        array = np.frombuffer(data, dtype, length, at)
        at += array.nbytes + -array.nbytes % 8
        yield array
