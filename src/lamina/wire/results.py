"""What a call gives and how it travels: `write` makes JSON of it on the server, `read` the value again on a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from uuid import UUID

from lamina.catalog.rows import PinRow, StreamRow
from lamina.columns import Columns, Ranges, Samples, Summaries
from lamina.engine.records.settings import BucketInfo, BucketSettings, EntryInfo
from lamina.errors import LaminaError
from lamina.wire import failures

Form = Literal[
    "json", "columns", "content", "items", "chunks", "records", "contents", "batches", "points", "windows", "mail"
]
"""Of the answer: JSON; columns; bytes; or frames: with lists of JSON values, with columns, with rows of records, with
contents, with records as columns, with points, with a table of windows, with inserts."""


class Result(NamedTuple):
    shown: str  # in the reference
    form: Form
    write: Callable[[Any], Any] = lambda value: value
    read: Callable[[Any], Any] = lambda value: value
    columns: type[Columns] | None = None


def _row(kind: Any) -> Result:
    """A named tuple as the list of its members."""
    return Result(kind.__name__, "json", list, lambda value: kind(*value))


def _stream_row(value: list[Any]) -> StreamRow:
    row = StreamRow(*value)
    return row._replace(uuid=UUID(str(row.uuid)))


def _plain_row(row: StreamRow) -> list[Any]:
    return list(row._replace(uuid=str(row.uuid)))  # type: ignore[arg-type]


def _outcomes(values: list[LaminaError | None]) -> list[Any]:
    return [None if value is None else failures.plain(value) for value in values]


def _revived(values: list[Any]) -> list[LaminaError | None]:
    return [None if value is None else failures.revived(value) for value in values]


def _many(item: Result) -> Result:
    return Result(
        f"[{item.shown}]",
        "json",
        lambda values: [item.write(value) for value in values],
        lambda values: [item.read(value) for value in values],
    )


def items(item: Result) -> Result:
    """An iteration of them."""
    return Result(f"{item.shown} ...", "items", item.write, item.read)


def optional(item: Result) -> Result:
    return Result(
        f"{item.shown} or null",
        "json",
        lambda value: None if value is None else item.write(value),
        lambda value: None if value is None else item.read(value),
    )


def whole(kind: type[Columns]) -> Result:
    return Result(kind.__name__, "columns", columns=kind)


def chunks(kind: type[Columns]) -> Result:
    return Result(f"{kind.__name__} ...", "chunks", columns=kind)


NOTHING = Result("null", "json", lambda value: None)
NUMBER = Result("int", "json")
TEXT = Result("text", "json")
FLAG = Result("bool", "json")
NUMBERS = Result("[int]", "json")
TEXTS = Result("[text]", "json")
PLAIN = Result("object", "json")
POINT = Result(
    "[time, value] or null", "json", lambda value: value, lambda value: None if value is None else tuple(value)
)
USAGE = Result("[{tag: int}, {annotation: int}]", "json", list, tuple)
OUTCOMES = Result("[null or error]", "json", _outcomes, _revived)
STREAM = Result("[uuid, id]", "json", lambda stream: [str(stream.uuid), stream.id], lambda v: (UUID(v[0]), v[1]))
BUCKET = Result("[id, name, created_us]", "json", lambda b: [b.id, b.name, b.created_us], tuple)
HANDLE = Result("[handle, what is known of it ...]", "json")
HANDLES = _many(HANDLE)
STREAM_ROW = Result("StreamRow", "json", _plain_row, _stream_row)
PINS = _many(_row(PinRow))
BUCKETS = _many(BUCKET)
SETTINGS, BUCKET_INFO, ENTRY_INFO = _row(BucketSettings), _row(BucketInfo), _row(EntryInfo)
ENTRY_INFOS = _many(ENTRY_INFO)
SAMPLES, SUMMARIES, RANGES = whole(Samples), whole(Summaries), whole(Ranges)
RECORDS = Result("Record ...", "records")
CONTENT = Result("bytes", "content")
CONTENTS = Result("bytes or error ...", "contents")
BATCHES = Result("RecordBatch ...", "batches")
POINTS = Result("Point ...", "points")
WINDOWS = Result("WindowTable", "windows")
MAIL = Result("(uuid, Samples) ...", "mail")
