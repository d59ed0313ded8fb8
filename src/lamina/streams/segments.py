"""What a segment says about each stream in it, so that a lost catalog can be rebuilt (reliability law 6)."""

from __future__ import annotations

import json
import struct

import numpy as np

from lamina.codecs import values as value_codecs
from lamina.errors import Corrupt
from lamina.streams.node import NO_ROWS, ROW
from lamina.streams.state import Flushed, split_pointer

_HEAD = struct.Struct("<QQQIIII")


def directory(flushed: Flushed) -> bytes:
    """The section's own directory: the stream's root as this segment left it. FORMAT.md has the table."""
    root = flushed.root.tobytes()
    pointer = flushed.pointer()
    codec = json.dumps(flushed.codec.to_json() if flushed.codec else {}, sort_keys=True).encode()
    head = _HEAD.pack(flushed.version, flushed.seq, flushed.points, len(root), len(pointer), len(codec), 0)
    return head + root + pointer + codec


def read_directory(data: bytes) -> Flushed:
    """The root that `directory` wrote. Raises Corrupt."""
    try:
        version, seq, points, root_bytes, pointer_bytes, codec_bytes, _ = _HEAD.unpack_from(data)
        at = _HEAD.size
        if len(data) != at + root_bytes + pointer_bytes + codec_bytes or root_bytes not in (0, ROW.itemsize):
            raise ValueError(f"{len(data)} bytes, {root_bytes} + {pointer_bytes} + {codec_bytes} announced")
        root = np.frombuffer(data, ROW, root_bytes // ROW.itemsize, at) if root_bytes else NO_ROWS
        at += root_bytes
        time_us, runs, history = split_pointer(data[at : at + pointer_bytes])
        fields = json.loads(data[at + pointer_bytes :])
        codec = value_codecs.from_json(fields) if fields else None
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"directory of a stream section: {error}") from None
    return Flushed(root, version, seq, time_us, points, history, runs, codec)
