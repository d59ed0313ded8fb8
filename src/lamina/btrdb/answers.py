"""Answers of a server as columns: no Python object per point.

What comes is a whole response message: `stat` in field 1 if the call failed, versions in 2 and 3, the payload in 4 (2
in joins). Points in protobuf are read as an array where every element is written out in full, which Lamina does, else
by the generated class, which is right for all of protobuf and costs about 0.5 us per point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lamina.columns import Ranges, Samples, Summaries
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

if TYPE_CHECKING:
    import pyarrow

Answers = Iterator[bytes]
_STAT, _MAJOR, _MINOR = 0x0A, 0x10, 0x18


def check(data: bytes, refused: Callable[[int, str], Exception]) -> bytes:
    """The message, if it is no refusal; else raises what `refused` makes of its code and text."""
    if data[:1] == bytes((_STAT,)):
        stat = pb.StatusResponse.FromString(data).stat
        if stat.code:
            raise refused(stat.code, stat.msg)
    return data


def version_of(data: bytes) -> int:
    """versionMajor of a response to a write."""
    return int(pb.VersionResponse.FromString(data).versionMajor)


def raw_values(messages: Answers) -> Iterator[tuple[int, Samples]]:
    """Version and points of each RawValuesResponse."""
    return _decoded(messages, wire.POINT, pb.RawValuesResponse, "values", ("time", "value"), Samples)


def windows(messages: Answers) -> Iterator[tuple[int, Summaries]]:
    """Version and windows of each response of version 5."""
    return _decoded(messages, wire.SUMMARY, pb.WindowsResponse, "values", Summaries.fields, Summaries)


def windows_4(messages: Answers) -> Iterator[tuple[int, Summaries]]:
    """Version 4 knows no standard deviation: it is NaN."""

    def make(time: Any, low: Any, mean: Any, high: Any, count: Any) -> Summaries:
        return Summaries(time, low, mean, high, count, np.full(len(time), np.nan))

    fields = Summaries.fields[:-1]
    return _decoded(messages, wire.SUMMARY_4, pb4.WindowsResponse, "values", fields, make)


def changes(messages: Answers) -> Iterator[tuple[int, Ranges]]:
    """Version and ranges of each ChangesResponse."""
    return _decoded(messages, wire.CHANGED_RANGE, pb.ChangesResponse, "ranges", ("start", "end"), Ranges)


def _decoded(
    messages: Answers, layout: wire.Layout, kind: Any, field: str, names: Sequence[str], make: Callable[..., Any]
) -> Iterator[tuple[int, Any]]:
    types = [layout.dtype[name] for name in layout.fields]
    for data in messages:
        version, start = _head(data)
        columns = layout.decode(data, start)
        if columns is None:
            message = kind.FromString(data)
            version, elements = message.versionMajor, getattr(message, field)
            columns = [
                np.fromiter((getattr(element, name) for element in elements), dtype, len(elements))
                for name, dtype in zip(names, types, strict=True)
            ]
        yield version, make(*columns)


def _head(data: bytes) -> tuple[int, int]:
    """versionMajor, and where the payload begins."""
    version = at = 0
    while at < len(data) and data[at] in (_MAJOR, _MINOR):
        number, behind = wire.read_varint(data, at + 1)
        if data[at] == _MAJOR:
            version = number
        at = behind
    return version, at


def arrow_columns(messages: Answers, payload: int, types: Sequence[str]) -> Iterator[tuple[int, list[NDArray[Any]]]]:
    """Version and columns of each Arrow response with its IPC stream in field `payload`. `types`: of the columns; the
    last one is that of any more."""
    import pyarrow as pa

    for data in messages:
        version, at = _head(data)
        if not (at < len(data) and data[at] == payload << 3 | 2):
            raise ValueError(f"an Arrow response without field {payload}")
        _, at = wire.read_varint(data, at + 1)
        with pa.ipc.open_stream(pa.py_buffer(data).slice(at)) as reader:
            table = reader.read_all()
        yield version, [_plain(column, types[min(i, len(types) - 1)]) for i, column in enumerate(table.columns)]


def _plain(column: pyarrow.ChunkedArray, dtype: str) -> NDArray[Any]:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    plain: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return plain.view(dtype) if plain.dtype.kind == "M" else plain.astype(dtype, copy=False)
