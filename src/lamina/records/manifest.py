"""What the catalog keeps of a section besides its range: who died, what it holds of blocks and of payload files
(FORMAT.md, Deaths, Blocks, Files)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lamina.codecs import integers
from lamina.errors import Corrupt

U64 = NDArray[np.uint64]

_LIVING = struct.Struct("<QQ")
_U32 = np.uint64((1 << 32) - 1)


def encode_deaths(index: NDArray[np.uint32], seqs: NDArray[np.uint64]) -> bytes:
    """Rows of a section that died, each once, ascending; and the seq at which each died. 0.3 to 2 bytes a row."""
    assert (index[1:] > index[:-1]).all(), "a row dies once"
    return integers.pack([index.astype(np.uint64), seqs])


def decode_deaths(data: bytes) -> tuple[NDArray[np.uint32], U64]:
    """What encode_deaths was given. Raises Corrupt, UnknownFormat."""
    index, seqs = integers.unpack(data, 2)
    if not _ascends(index) or (len(index) and index[-1] > _U32):
        raise Corrupt(f"deaths: expected {len(index)} rows that ascend below 2**32")
    return index.astype(np.uint32), seqs


def encode_blocks(begins: U64, records: NDArray[np.uint32], content: U64, size: U64) -> bytes:
    """What a section holds of each of the contract's blocks: its begin (µs, ascending), living records, bytes ever put
    in, reported size."""
    assert (begins[1:] > begins[:-1]).all(), "a block begins once"
    return integers.pack([begins, records.astype(np.uint64), content, size], plain=True)  # zstd saves a fifth


def decode_blocks(data: bytes) -> tuple[U64, NDArray[np.uint32], U64, U64]:
    """What encode_blocks was given. Raises Corrupt, UnknownFormat."""
    return decode_all_blocks([data])


def decode_all_blocks(parts: Sequence[bytes]) -> tuple[U64, NDArray[np.uint32], U64, U64]:
    """What several calls of encode_blocks were given, one behind the other. Raises Corrupt, UnknownFormat."""
    (begins, records, content, size), rows = integers.unpack_many(parts, 4)
    rises = np.append(True, begins[1:] > begins[:-1]) if len(begins) else np.empty(0, np.bool_)
    rises[(np.cumsum(rows) - rows)[rows > 0]] = True  # the first of each
    if not rises.all() or (records > _U32).any():
        raise Corrupt(f"blocks: expected {len(begins)} begins that ascend, with less than 2**32 records each")
    return begins, records.astype(np.uint32), content, size


def encode_files(living: Mapping[int, int]) -> bytes:
    """Bytes of living contents per payload file."""
    return b"".join(_LIVING.pack(file, living[file]) for file in sorted(living))


def decode_files(data: bytes) -> dict[int, int]:
    """What encode_files was given. Raises Corrupt."""
    if len(data) % _LIVING.size:
        raise Corrupt(f"payload files: expected pairs of {_LIVING.size} bytes, found {len(data)} bytes")
    pairs = list(_LIVING.iter_unpack(data))
    files = [file for file, _ in pairs]
    if files != sorted(set(files)):
        raise Corrupt(f"payload files: expected numbers that ascend, found {files[:8]}")
    return dict(pairs)


def _ascends(numbers: U64) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())
