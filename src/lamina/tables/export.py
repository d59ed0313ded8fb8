"""Points and summaries of a stream into CSV and Parquet files, chunk by chunk: memory holds one chunk at a time.

These are files of the user's, outside any database directory, so the `Files` seam is not involved. A target given
as a path appears complete or not at all: it is written under another name beside it and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lamina.columns import Samples, Summaries, library
from lamina.random import SystemRandom

if TYPE_CHECKING:
    import pyarrow

Chunk: TypeAlias = Samples | Summaries
Target: TypeAlias = str | PathLike[str] | IO[bytes]
Progress: TypeAlias = Callable[[int], object]
"""Called after each chunk with the number of rows written so far."""


def to_csv(
    chunks: Iterable[Chunk] | Chunk,
    target: Target,
    *,
    iso: bool = False,
    kind: type[Samples] | type[Summaries] = Samples,
    progress: Progress | None = None,
) -> int:
    """Write chunks, or one of them, as CSV (UTF-8, comma, "\\n", header line); the number of rows.

    Columns are the fields of the chunks: `time` is int ns since the epoch, numbers are the shortest text that reads
    back as the same float64. With `iso` a column `time_iso` (RFC 3339, UTC, nine digits) follows `time`.
    All chunks are of one type; `kind` is the type if there may be no chunk at all. About 0.3 us a point with pyarrow
    installed, 1 us without; the text differs in notation only.
    """
    chunks, fields = _first(chunks, kind)
    names = (*fields[:1], "time_iso", *fields[1:]) if iso else fields
    rows = 0
    with _open(target) as file:
        file.write((",".join(names) + "\n").encode())
        write = _csv_writer(file)
        for chunk in chunks:
            columns: list[Any] = [getattr(chunk, name) for name in fields]
            if iso:
                columns.insert(1, np.datetime_as_string(columns[0].view("datetime64[ns]"), timezone="UTC"))
            if len(chunk):
                write(names, columns)
            rows += len(chunk)
            if progress is not None:
                progress(rows)
    return rows


def to_parquet(
    chunks: Iterable[Chunk] | Chunk,
    target: Target,
    *,
    kind: type[Samples] | type[Summaries] = Samples,
    progress: Progress | None = None,
) -> int:
    """Write chunks, or one of them, as Parquet (zstd; `time` is timestamp[ns, UTC]); the number of rows.

    Small chunks are joined to row groups of ROW_GROUP rows. Needs pyarrow (`lamina[arrow]`).
    """
    library("pyarrow", "arrow")
    parquet = library("pyarrow.parquet", "arrow")
    chunks, _ = _first(chunks, kind)
    schema = kind.concat([]).to_arrow().schema
    first = next(chunks, None)
    if first is not None:
        schema = first.to_arrow().schema
        chunks = itertools.chain([first], chunks)
    rows = 0
    with (
        _open(target) as file,
        parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer,
    ):
        for group in _groups(chunks):
            writer.write_table(group, row_group_size=ROW_GROUP)
            rows += group.num_rows
            if progress is not None:
                progress(rows)
    return rows


ROW_GROUP = 1 << 18
"""Rows of a Parquet row group: 4 MiB of points, large enough to compress, small enough to hold."""


def _groups(chunks: Iterator[Chunk]) -> Iterator[pyarrow.Table]:
    pa = library("pyarrow", "arrow")
    pending: list[Any] = []
    rows = 0
    for chunk in chunks:
        pending.append(chunk.to_arrow())
        rows += len(chunk)
        if rows >= ROW_GROUP:
            yield pa.concat_tables(pending)
            pending, rows = [], 0
    if rows:
        yield pa.concat_tables(pending)


def _first(chunks: Iterable[Chunk] | Chunk, kind: type[Chunk]) -> tuple[Iterator[Chunk], tuple[str, ...]]:
    """The chunks again, and the fields of the first one (of `kind` if there is none). A chunk alone is one of one."""
    source = iter([chunks] if isinstance(chunks, Samples | Summaries) else chunks)
    first = next(source, None)
    if first is None:
        return iter(()), kind.fields
    return itertools.chain([first], source), first.fields


def _csv_writer(file: IO[bytes]) -> Callable[[tuple[str, ...], list[Any]], None]:
    try:
        pa, csv = library("pyarrow", "arrow"), library("pyarrow.csv", "arrow")
    except ModuleNotFoundError:
        return lambda names, columns: _write_plain(file, columns)
    options = csv.WriteOptions(include_header=False, quoting_style="none")

    def write(names: tuple[str, ...], columns: list[Any]) -> None:
        table = pa.table([pa.array(column) for column in columns], names=list(names))
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink, options)
        file.write(sink.getvalue())

    return write


def _write_plain(file: IO[bytes], columns: list[Any]) -> None:
    """Rows joined by C loops of the interpreter; repr of a float is its shortest exact text."""
    texts = [map(repr if column.dtype.kind == "f" else str, column.tolist()) for column in columns]
    file.write(("\n".join(map(",".join, zip(*texts, strict=True))) + "\n").encode())


@contextlib.contextmanager
def _open(target: Target) -> Iterator[IO[bytes]]:
    """The file to write; a path gets its content at the end of the block, and none if that raises."""
    if not isinstance(target, str | PathLike):
        yield target
        return
    path = Path(target)
    if not path.parent.is_dir():  # or the name of the file beside it would be complained of
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    part = path.with_name(f".{path.name[:200]}.{SystemRandom().token_bytes(4).hex()}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
