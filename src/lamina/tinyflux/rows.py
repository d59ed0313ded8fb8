"""CSV text into rows, with the byte where each row begins.

Rows end at CRLF, LF or CR outside quotes. Reading is as lenient as the csv module's `excel` dialect; columns may be
of any length.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

from lamina.tinyflux.point import Point

# Encodings in which the bytes of CR, LF and the quote mean nothing else, so that files can be cut at row ends.
_CUTTABLE = {"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "cp1250", "cp1251", "koi8-r", "mac-roman"}


class TornRowWarning(UserWarning):
    """The last row of a file has no line end: somebody was stopped while writing it, or simply left it out."""


class Rows(NamedTuple):
    """Rows of a stretch of a file. `starts`: byte of each row; `end`: byte after the last one, its line end included.

    `cut`: the stretch ends without a line end. `torn`: and the piece after `end` is no row. `open`: a quote of the last
    row was never closed, so that what follows would belong to it.
    """

    rows: list[list[str]]
    starts: list[int]
    end: int
    cut: bool
    torn: bytes
    open: bool = False


def cuttable(encoding: str) -> bool:
    """Whether files of this encoding can be cut at row ends."""
    import codecs

    return codecs.lookup(encoding).name in _CUTTABLE


def parse(data: bytes, offset: int, encoding: str) -> Rows:
    """Rows of `data`, which begins at byte `offset` of its file and at the start of a row.

    UnicodeDecodeError: bytes that are no text in this encoding; the note says where.
    """
    if not data:
        return Rows([], [], offset, False, b"")
    text = decoded(data, offset, encoding)
    ending = one_ending(data)
    if ending and b'"' not in data:
        return _split(data, text, ending, offset)
    return _read(data, text, offset, encoding)


def decoded(data: bytes, offset: int, encoding: str) -> str:
    """The text; a UnicodeDecodeError carries a note that says where in the file."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        error.add_note(
            f"byte {offset + error.start} of the file, in the line after {data.count(10, 0, error.start)} others"
        )
        raise


def one_ending(data: bytes) -> str:
    """The line end if there is just one kind (or none: then LF), else an empty string."""
    feeds, returns = data.count(b"\n"), data.count(b"\r")
    if not returns:
        return "\n"
    return "\r\n" if feeds == returns == data.count(b"\r\n") else ""


def _split(data: bytes, text: str, ending: str, offset: int) -> Rows:
    lines = text.split(ending)
    lengths: Iterable[int] = map(len, lines if len(text) == len(data) else data.split(ending.encode()))
    step = len(ending)
    starts = list(accumulate((length + step for length in lengths), initial=offset))
    last = lines.pop()
    rows = [line.split(",") for line in lines]
    if not last:
        return Rows(rows, starts[: len(rows)], offset + len(data), False, b"")
    torn = _is_torn(last.split(","), last, rows, ending)
    if torn:
        cut_at = starts[len(rows)]
        return Rows(rows, starts[: len(rows)], cut_at, True, data[cut_at - offset :])
    rows.append(last.split(","))
    return Rows(rows, starts[: len(rows)], offset + len(data), True, b"")


def _read(data: bytes, text: str, offset: int, encoding: str) -> Rows:
    lines = list(io.StringIO(text, newline=""))
    ascii_only = len(text) == len(data)
    ends = list(accumulate((len(line) if ascii_only else len(line.encode(encoding)) for line in lines), initial=offset))
    rows: list[list[str]] = []
    starts: list[int] = []
    with unlimited_columns():
        reader = csv.reader(lines)
        begin = 0
        for row in reader:
            rows.append(row)
            starts.append(ends[begin])
            begin, last = reader.line_num, begin
        # A quote may be a letter like others, so they are not counted: what follows an open one belongs to the row.
        unclosed = len(list(csv.reader([*lines[last:], "x"]))) == 1
    if lines[-1][-1] in "\r\n" and not unclosed:
        return Rows(rows, starts, offset + len(data), False, b"")
    ending = "\r\n" if last and lines[last - 1].endswith("\r\n") else ""
    if _is_torn(rows[-1], "".join(lines[last:]), rows[:-1], ending, unclosed):
        end = starts.pop()
        rows.pop()
        return Rows(rows, starts, end, True, data[end - offset :])
    return Rows(rows, starts, offset + len(data), True, b"", unclosed)


def _is_torn(row: Sequence[str], line: str, before: Sequence[Any], ending: str, unclosed: bool = False) -> bool:
    """Whether a last row without line end is half of one.

    Only in a file whose rows end as TinyFlux ends them; elsewhere what cannot be read is an error like any other. But
    what ends in NUL is no row anywhere: it is room that a file was given before power was lost.
    """
    if line.endswith("\0"):
        return True
    if not before or ending != "\r\n":
        return False
    if unclosed:
        return True
    try:
        Point()._deserialize_from_list(row)
    except (IndexError, ValueError):
        return True
    return False


def may_be_open(tail: bytes) -> bool:
    """Whether a quoted column may be open at the end of a file with this tail. False for what TinyFlux and its like
    write, but for values that end in a comma, a quote or a line end; only reading the file can tell then."""
    end = tail.rfind(b'"') + 1
    if not end:
        return False
    before = tail[:end].rstrip(b'"')
    closes = (end - len(before)) % 2 == 1 and before[-1:] not in b",\r\n" and tail[end : end + 1] in b",\r\n"
    return not closes


@contextmanager
def unlimited_columns() -> Iterator[None]:
    """csv reads columns of any length (its limit is a setting of the process, 131072 at first)."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def at_row(error: Exception, path: str, number: int, offset: int) -> Exception:
    """The same kind of error, telling the row (from 1) and byte it happened at."""
    kind = IndexError if isinstance(error, IndexError) else ValueError
    return kind(f"{error} (row {number} at byte {offset} of {path})")


def points_of(rows: Rows, path: str, before: int) -> list[Point]:
    """A Point for each row; `before` rows precede them in the file. IndexError, ValueError as `at_row` words them."""
    points = []
    for row, start in zip(rows.rows, rows.starts, strict=True):
        try:
            points.append(Point()._deserialize_from_list([] if row == [""] else row))
        except (IndexError, ValueError) as error:
            raise at_row(error, path, before + len(points) + 1, start) from error
    return points
