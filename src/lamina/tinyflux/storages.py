"""Storages: where points are kept. `CSVStorage` (the default), `MemoryStorage`, and `Storage` to write one's own.

These methods are what a user's subclass may override or call. For the two classes as they are, the database goes past
them (`stores`): that way is faster, and answers the same.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from lamina.points.point import Point as AnyPoint
from lamina.tinyflux import csvfile
from lamina.tinyflux.csvfile import CSVFile, Stamp
from lamina.tinyflux.point import Point
from lamina.tinyflux.rows import cuttable, may_be_open, parse, unlimited_columns

MemStorageItem = Point
CSVStorageItem = Sequence[str]

# Bytes at the end of a file in which a quote that was left open is looked for: a column would have to be longer.
_TAIL = 1 << 18

_READ_MODES = ("r", "r+", "w+", "a+")
_APPEND_MODES = ("r+", "w", "w+", "a", "a+")
_WRITE_MODES = ("r+", "w", "w+")


def create_file(path: str | os.PathLike[str], create_dirs: bool) -> None:
    """An empty file at `path` unless there is one; with `create_dirs` its missing parents too."""
    csvfile.create_file(path, create_dirs)


class Storage(ABC):
    """What a database needs of a storage. Items are whatever `_serialize_point` makes of a point.

    A constructor sets `_initially_empty`. A rewrite calls `_init_temp_storage`, `append([item], temporary=True)` for
    every point that stays, `_swap_temp_with_primary` and, whatever happened, `_cleanup_temp_storage`.
    """

    _initially_empty: bool

    point_type: type[AnyPoint] = Point
    """What may be inserted."""

    makes_points = False
    """Whether reading makes new points; else they may be the caller's own."""

    @property
    def can_append(self) -> bool:
        """Whether points may be inserted."""
        return True

    @property
    def can_read(self) -> bool:
        """Whether points may be read."""
        return True

    @property
    def can_write(self) -> bool:
        """Whether points may be changed and removed."""
        return True

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """All items, in insertion order."""

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are."""

    @abstractmethod
    def append(self, items: list[Any], temporary: bool = False) -> None:
        """Items added at the end, of the temporary storage if so asked."""

    def close(self) -> None:
        """Gives back what the storage holds; nothing by default."""
        return

    @abstractmethod
    def read(self) -> list[Point]:
        """All points, in insertion order."""
        return [self._deserialize_storage_item(item) for item in self]

    @abstractmethod
    def reset(self) -> None:
        """Removes everything."""

    @abstractmethod
    def _deserialize_measurement(self, item: Any) -> str:
        """The measurement of an item."""

    @abstractmethod
    def _deserialize_timestamp(self, item: Any) -> datetime:
        """The time of an item."""

    @abstractmethod
    def _deserialize_storage_item(self, item: Any) -> Point:
        """The point an item stands for."""

    @abstractmethod
    def _serialize_point(self, point: Point, *args: Any, **kwargs: Any) -> Any:
        """The item for a point."""

    @abstractmethod
    def _swap_temp_with_primary(self) -> None:
        """Makes the temporary storage the storage."""

    @abstractmethod
    def _write(self, items: list[Any]) -> None:
        """Replaces everything by these items."""

    def _init_temp_storage(self) -> None:
        """Called before a rewrite."""
        return

    def _cleanup_temp_storage(self) -> None:
        """Called after a rewrite, also one that failed."""
        return


class CSVStorage(Storage):
    """Points in a CSV file, one row each; the file alone is always the whole truth.

    `path` is created if missing and the mode allows to write (its folders too with `create_dirs`). `access_mode`:
    "r" reads, "r+" and "w+" do everything, "a" inserts, "a+" reads and inserts, "w" inserts and clears; "w" and "w+"
    empty the file. `flush_on_insert`: every insert is on disk when it returns. Other keywords go to the csv module.
    `checkpoint`: keep the columns in a hidden file beside the CSV, so that a large file opens fast; it may be deleted
    at any time. Raises FileNotFoundError, ValueError (mode), LookupError (encoding).
    """

    makes_points = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        create_dirs: bool = False,
        encoding: str | None = None,
        access_mode: str = "r+",
        flush_on_insert: bool = True,
        newline: str | None = "",
        checkpoint: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._path = path
        self._encoding = encoding
        self._mode = access_mode
        self._flush_on_insert = flush_on_insert
        self._newline = newline
        self._checkpoint = checkpoint
        self.kwargs = kwargs
        # What `open` would take; asked of it, because importing locale costs more than the answer.
        self._codec = encoding or io.TextIOWrapper(io.BytesIO()).encoding
        codecs.lookup(self._codec)
        if newline not in (None, "", "\n", "\r", "\r\n"):
            raise ValueError(f"illegal newline value: {newline!r}")
        if any(letter in access_mode for letter in "+wa"):
            create_file(path, create_dirs)
        self._file = CSVFile(os.fspath(path), access_mode)
        # No cycle: a database that is dropped writes out what waits, and closes, at once.
        this = weakref.ref(self)
        self._file.seam = lambda stamp: b"" if (storage := this()) is None else storage._seam(stamp)
        self._sound = -1
        self._temporary: list[bytes] | None = None
        self._initially_empty = not self._file.stamp().size

    @property
    def plain(self) -> bool:
        """Whether the file can be read and rewritten row by row as bytes: usual dialect, encoding and line ends."""
        return not self.kwargs and self._newline == "" and cuttable(self._codec)

    @property
    def can_append(self) -> bool:
        return self._allowed(_APPEND_MODES)

    @property
    def can_read(self) -> bool:
        return self._allowed(_READ_MODES)

    @property
    def can_write(self) -> bool:
        return self._allowed(_WRITE_MODES)

    def _allowed(self, modes: Iterable[str]) -> bool:
        if self._mode not in modes:
            raise OSError(f'Cannot update the database. Access mode is "{self._mode}"')
        return True

    def __iter__(self) -> Iterator[list[str]]:
        """The rows, each iterator on its own; rows appended meanwhile may or may not come."""
        self._file.check_readable()
        self._file.flush()
        return self._rows()

    def _rows(self) -> Iterator[list[str]]:
        fd = csvfile.CALLS.open(self._file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        with open(fd, encoding=self._codec, newline=self._newline) as text:
            reader = csv.reader(text, **self.kwargs)
            while True:
                with unlimited_columns():
                    row = next(reader, None)
                if row is None:
                    return
                yield row

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def append(self, items: list[CSVStorageItem], temporary: bool = False) -> None:
        """Rows added at the end in one write and, with `flush_on_insert`, one sync. OSError: no temporary storage."""
        if temporary:
            if self._temporary is None:
                raise OSError("there is no temporary storage: call _init_temp_storage first")
            self._temporary.append(self.encoded(items, at_start=not self._temporary))
            return
        self._file.check_writable()
        at_start = not self.plain and not self._file.stamp().size
        self._file.append(self.encoded(items, at_start), bool(self._flush_on_insert))

    def encoded(self, items: Iterable[CSVStorageItem], at_start: bool = True) -> bytes:
        """Rows as bytes of the file; UnicodeEncodeError if its encoding has no such character."""
        text = io.StringIO()
        csv.writer(text, **self.kwargs).writerows(items)
        return self._encoded_text(text.getvalue(), at_start)

    def joined(self, rows: list[tuple[str, ...]]) -> bytes:
        """As `encoded`, of rows of a `plain` file: in one step if no column needs quotes."""
        text = "\r\n".join([",".join(row) for row in rows]) + "\r\n"
        n = len(rows)
        columns = sum(map(len, rows))
        if '"' in text or text.count("\n") != n or text.count("\r") != n or text.count(",") != columns - n:
            return self.encoded(rows)
        return text.encode(self._codec)

    def _encoded_text(self, text: str, at_start: bool) -> bytes:
        if self._newline not in ("", "\n"):
            text = text.replace("\n", self._newline or os.linesep)
        encoder = codecs.getincrementalencoder(self._codec)()
        if not at_start:
            # As Python's own files do: no second byte order mark in the middle.
            encoder.setstate(0)
        return encoder.encode(text, final=True)

    def _seam(self, stamp: Stamp) -> bytes:
        """What must precede an append: a line end, if the last row has none, and the quote that it leaves open. Half a
        row is cut off instead."""
        if self._sound == self._file.generation or not stamp.size:
            self._sound = self._file.generation
            return b""
        ends = [self._encoded_text(end, at_start=False) for end in "\n\r"]
        tail = self._file.tail(_TAIL)
        ended = tail.endswith(tuple(ends))
        seam = b""
        if self.plain and self._file.readable and (not ended or may_be_open(tail)):
            rows = parse(self._file.read(0, stamp.size), 0, self._codec)
            if rows.torn:
                self._file.truncate(stamp.size - len(rows.torn))
            elif rows.cut:
                seam = b'"\r\n' if rows.open else b"\r\n"
        elif tail and not ended:
            seam = self._encoded_text("\r\n", at_start=False)
        self._sound = self._file.generation
        return seam

    def close(self) -> None:
        """Writes out what waits and closes the file."""
        self._file.close()

    def read(self) -> list[Point]:
        """All points, in insertion order."""
        return super().read()

    def reset(self) -> None:
        """Empties the file; it stays."""
        self._write([])

    def _write(self, items: list[CSVStorageItem]) -> None:
        data = self.encoded(items) if items else b""
        with self._file.locked():
            if data and self._file.readable:
                self._file.rewrite([data])
            else:
                self._file.truncate(0)
        if data and not self._file.readable:
            self._file.append(data, True)

    def _init_temp_storage(self) -> None:
        self._temporary = []

    def _cleanup_temp_storage(self) -> None:
        self._temporary = None

    def _swap_temp_with_primary(self) -> None:
        if self._temporary is not None:
            with self._file.locked():
                self._file.rewrite(self._temporary)

    def _deserialize_measurement(self, item: CSVStorageItem) -> str:
        return item[1]

    def _deserialize_timestamp(self, item: CSVStorageItem) -> datetime:
        """Naive, as it stands in the row."""
        return datetime.fromisoformat(item[0])

    def _deserialize_storage_item(self, item: CSVStorageItem) -> Point:
        return Point()._deserialize_from_list(item)

    def _serialize_point(self, point: Point, *args: Any, **kwargs: Any) -> CSVStorageItem:
        return point._serialize_to_list(compact_key_prefixes=kwargs.pop("compact_key_prefixes", False))


class MemoryStorage(Storage):
    """Points in a list: the caller's own objects, gone with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._initially_empty = True
        self._memory: list[Point] = []
        self._temp_memory: list[Point] = []

    def __repr__(self) -> str:
        # Programs written for the original print, and its tests match, the original's module path.
        return f"<tinyflux.storages.{type(self).__name__} object at {id(self):#x}>"

    def __iter__(self) -> Iterator[Point]:
        yield from self._memory

    def __len__(self) -> int:
        return len(self._memory)

    def append(self, items: list[Point], temporary: bool = False) -> None:
        (self._temp_memory if temporary else self._memory).extend(items)

    def read(self) -> list[Point]:
        """All points, in insertion order."""
        return super().read()

    def reset(self) -> None:
        self._write([])

    def _write(self, items: list[Point]) -> None:
        self._memory = items

    def _init_temp_storage(self) -> None:
        self._temp_memory = []

    def _cleanup_temp_storage(self) -> None:
        self._temp_memory = []

    def _swap_temp_with_primary(self) -> None:
        self._memory = self._temp_memory

    def _deserialize_measurement(self, item: Point) -> str:
        return item.measurement

    def _deserialize_timestamp(self, item: Point) -> datetime:
        if not item.time:
            raise ValueError("the point has no time")
        return item.time

    def _deserialize_storage_item(self, item: Point) -> Point:
        return item

    def _serialize_point(self, point: Point, *args: Any, **kwargs: Any) -> Point:
        return point
