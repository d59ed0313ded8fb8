"""The columns of a CSV file in a file beside it, so that opening need not parse.

A cache: whoever reads it compares the CRC-32C of the CSV's first `end` bytes with `crc` before using it, and it may be
deleted at any time. Layout: magic, u32 CRC-32C of all that follows, u32 length of the header, the header as JSON padded
with blanks to a multiple of 8, then the arrays (little-endian, each padded to a multiple of 8): the lengths of the
rows, and the columns of shape after shape. Another layout gets another magic; an unknown one is ignored.

An opening costs what it reads and checks, so integers take as few bytes as their values need: the header describes an
array as [dtype, length, dtype it is stored in], or as [dtype, length, first, step] and no bytes if each is the one
before plus `step`, as positions in a file of one shape are.
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

_MAGIC = b"LTFCOL2\n"
_HEAD = struct.Struct("<II")


class Loaded(NamedTuple):
    """What a checkpoint holds: columns of the rows in bytes [0, end) of the CSV, if those have this CRC-32C."""

    columns: Columns
    lengths: NDArray[np.int64]
    end: int
    crc: int


def save(path: str, columns: Columns, starts: NDArray[np.int64], end: int, crc: int) -> None:
    """Writes the checkpoint of the CSV at `path`. OSError: it cannot be written."""
    arrays: list[NDArray[Any]] = [np.diff(starts, append=end)]
    shapes = []
    for shape in columns.shapes.values():
        kinds = [shape.kinds(j) is not None for j in range(len(shape.field_keys))]
        odd = [list(values.items()) for values in shape.odd]
        shapes.append([shape.tag_keys, shape.field_keys, shape.n, shape.ordered, kinds, odd])
        arrays += shape.arrays()
    described, parts = zip(*map(_stored, arrays), strict=True)
    header = {
        "end": end,
        "crc": crc,
        "complete": columns.complete,
        "measurements": columns.measurements.values,
        "tags": [[key, dictionary.values] for key, dictionary in columns.tags.items()],
        "shapes": shapes,
        "arrays": described,
    }
    text = json.dumps(header).encode()
    text += b" " * (-(len(_MAGIC) + _HEAD.size + len(text)) % 8)
    body = b"".join((text, *parts))
    length = struct.pack("<I", len(text))
    write_beside(path, SUFFIX, [_MAGIC, struct.pack("<I", crc32c(body, crc32c(length))), length, body])


def _stored(array: NDArray[Any]) -> tuple[list[Any], bytes]:
    """How the header describes this array, and its bytes."""
    name, n = _little(array.dtype), len(array)
    kept = array
    if array.dtype.kind in "iu" and n:
        low, high = int(array.min()), int(array.max())
        step = int(array[1]) - int(array[0]) if n > 1 else 0
        if array.dtype.kind == "i" and (np.diff(array) == step).all():
            return [name, n, int(array[0]), step], b""
        if low >= 0:
            kept = array.astype(np.min_scalar_type(high))
    stored = _little(kept.dtype)
    data = kept.astype(stored, copy=False).tobytes()
    return [name, n, stored], data + bytes(-len(data) % 8)


def _little(dtype: np.dtype[Any]) -> str:
    return dtype.newbyteorder("<").str


def load(data: bytes) -> Loaded | None:
    """The columns in a checkpoint, views of `data` where they can be; None if it is damaged or of another layout."""
    head = len(_MAGIC) + _HEAD.size
    if data[: len(_MAGIC)] != _MAGIC or len(data) < head:
        return None
    crc, length = _HEAD.unpack_from(data, len(_MAGIC))
    if crc32c(memoryview(data)[len(_MAGIC) + 4 :]) != crc:
        return None
    header = json.loads(data[head : head + length])
    arrays = _arrays(data, head + length, header["arrays"])
    lengths = next(arrays)
    columns = Columns()
    columns.complete = header["complete"]
    columns.measurements = Dictionary(header["measurements"])
    columns.tags = {key: Dictionary(values) for key, values in header["tags"]}
    for tag_keys, field_keys, n, ordered, kinds, odd in header["shapes"]:
        shape = columns.shape(tuple(tag_keys), tuple(field_keys))
        shape.restored(n, ordered, kinds, arrays)
        shape.odd = [dict(map(tuple, values)) for values in odd]
        columns.n += n
    return Loaded(columns, lengths, header["end"], header["crc"])


def _arrays(data: bytes, at: int, described: list[list[Any]]) -> Iterator[NDArray[Any]]:
    array: NDArray[Any]
    for name, n, stored, *step in described:
        if step:
            array = np.arange(n, dtype=name)
            array *= step[0]
            array += stored
            yield array
            continue
        array = np.frombuffer(data, stored, n, at)
        at += array.nbytes + -array.nbytes % 8
        yield array.astype(name, copy=False)
