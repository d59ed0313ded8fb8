"""A catalog row as SQL columns, and the checksum that travels with it (FORMAT.md section 2).

Both catalogs keep rows in this form, so they accept and return exactly the same.
"""

from __future__ import annotations

import json
import operator
import struct
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from google_crc32c import value as crc32c

from lamina.catalog.rows import (
    HINTS,
    SECTION_NUMBERS,
    TABLES,
    PointSectionRow,
    RecordSectionRow,
    Row,
    StreamRow,
    canonical_tags,
)
from lamina.errors import Corrupt, InvalidArgument

Column = int | str | bytes
Columns = tuple[Column, ...]
"""All columns of a table in order, `row_crc` last. SQLite hands texts back as bytes; both are accepted."""

ADVICE = "run `lamina doctor --rebuild-catalog`"

to_json_text: Callable[[object], str] = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False
).encode
"""Canonical JSON of a column; an encoder made once is three times as fast as json.dumps with options."""


_NUMBERS = [struct.Struct(f"<{n}q") for n in range(16)]
"""Packers by number of columns; no table has more than 15 beside row_crc."""


_from_json_text: Callable[[str], Any] = json.JSONDecoder().decode


def row_crc(table: str, columns: Sequence[Column]) -> int:
    """CRC32C over the table's name, NUL, one i64 per column (the integer, or the length of the bytes), then
    the bytes of the text and blob columns. Raises TypeError for anything else, struct.error beyond 64 bits.

    Lengths stand apart from bytes, so no two rows of a table share an encoding; the name keeps a page of one
    table from passing for one of another.
    """
    numbers: list[Any] = []
    pieces: list[Any] = [table.encode(), b"\0", b""]
    for column in columns:  # one pass: opening looks at every row of some tables
        if type(column) is int:
            numbers.append(column)
        else:
            piece = column.encode() if type(column) is str else column
            numbers.append(len(piece))  # type: ignore[arg-type]
            pieces.append(piece)
    pieces[2] = _NUMBERS[len(numbers)].pack(*numbers)
    return int(crc32c(b"".join(pieces)))


def _as_text(text: object) -> str:
    if type(text) is not str:
        raise TypeError(f"{type(text).__name__} is not str")
    text.encode()  # lone surrogates have no UTF-8 form
    return text


def _as_bytes(data: object) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, (bytearray, memoryview)):  # a union type costs a microsecond
        return bytes(data)
    raise TypeError(f"{type(data).__name__} is not bytes")


def _as_json(value: object) -> str:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} is not dict")
    return _as_text(to_json_text(value))


def _as_json_list(value: object) -> str:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} is not list")
    for text in value:
        _as_text(text)
    return to_json_text(value)


def _text(column: Any) -> str:
    return column if type(column) is str else str(column, "utf-8")


def _dict(column: Any) -> dict[str, Any]:
    found = _from_json_text(_text(column))
    if type(found) is not dict:
        raise TypeError(f"{type(found).__name__} is not an object")
    return found


def _list(column: Any) -> list[str]:
    found = _from_json_text(_text(column))
    if type(found) is not list:
        raise TypeError(f"{type(found).__name__} is not an array")
    return found


_TAGS = list(HINTS["stream"]).index("tags")

Convert = Callable[[Any], Any]
_CONVERSIONS: dict[str, tuple[Convert, Convert]] = {
    "int": (operator.index, operator.index),  # also takes NumPy integers
    "bool": (int, bool),
    "str": (_as_text, _text),
    "bytes": (_as_bytes, _as_bytes),
    "UUID": (lambda uuid: _as_bytes(uuid.bytes), lambda column: UUID(bytes=column)),
    "dict[str, str]": (_as_json, _dict),
    "dict[str, Any]": (_as_json, _dict),
    "dict[str, int] | None": (
        lambda value: "" if value is None else _as_json(value),
        lambda column: _dict(column) if column else None,
    ),
    "list[str]": (_as_json_list, _list),
}
"""Annotation of a field -> (to a column, from a column)."""


class Table:
    """How rows of one table become columns and back."""

    __slots__ = ("_from", "_to", "columns", "key", "name", "type")

    def __init__(self, name: str, type: type[Any]) -> None:
        self.name = name
        self.type = type
        fields = list(HINTS[name])
        conversions = [_CONVERSIONS[hint] for hint in HINTS[name].values()]
        self._to = [to for to, _ in conversions]
        self._from = [of for _, of in conversions]
        if name == "database":  # one row; its key is not a field
            fields = ["key", *fields]
        elif name == "stream":  # derived columns that the indexes need
            fields = [*fields, "name", "tags_key"]
        self.key = fields[0]
        self.columns = (*fields, "row_crc")

    def encode(self, row: Row) -> Columns:
        """Columns with row_crc. Raises InvalidArgument for a value that does not fit its column."""
        try:
            columns = [to(value) for to, value in zip(self._to, row, strict=True)]
            if self.name == "database":
                columns.insert(0, 0)
            elif isinstance(row, StreamRow):
                whole = "" not in row.tags.values()  # then the canonical tags are the tags
                columns.append(_as_text(row.tags.get("name", "")))
                columns.append(columns[_TAGS] if whole else to_json_text(canonical_tags(row.tags)))
            elif (
                isinstance(row, (RecordSectionRow, PointSectionRow))  # a union type costs a microsecond
                and row.id // SECTION_NUMBERS != row.segment
            ):
                raise ValueError(f"section {row.id} is not one of segment {row.segment}")
            columns.append(row_crc(self.name, columns))
        except (TypeError, ValueError, AttributeError, struct.error) as error:
            raise InvalidArgument(f"{row!r} does not fit table {self.name}: {error}") from error
        return tuple(columns)

    def encode_key(self, key: object) -> Column:
        """The key as its column. Raises InvalidArgument."""
        try:
            column: Column = self._to[0](key)
            if type(column) is int and not -(1 << 63) <= column < 1 << 63:
                raise ValueError("beyond 64 bits")
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidArgument(f"{key!r} is no key of table {self.name}: {error}") from error
        return column

    def check(self, columns: Sequence[Any]) -> None:
        """Raises Corrupt naming table and key if row_crc does not fit."""
        finding = finding_of(self.name, columns)
        if finding is not None:
            raise Corrupt(f"catalog, {finding}; {ADVICE}")

    def decode(self, columns: Sequence[Any]) -> Any:
        """The row, checked. Raises Corrupt."""
        self.check(columns)
        return self.row(columns)

    def row(self, columns: Sequence[Any]) -> Any:
        """The row of checked columns. Raises Corrupt."""
        try:
            if self.name == "database":
                columns = columns[1:]
            fields = [of(column) for of, column in zip(self._from, columns, strict=False)]
            return self.type._make(fields)
        except (TypeError, ValueError, RecursionError) as error:  # right checksum, wrong type or content
            raise Corrupt(f"catalog, table {self.name}, key {columns[0]!r}: {error}; {ADVICE}") from error


def finding_of(table: str, columns: Sequence[Any]) -> str | None:
    """What is wrong with the columns of a row, row_crc last; None: nothing."""
    try:
        computed = row_crc(table, columns[:-1])
    except (TypeError, ValueError, struct.error) as error:
        return f"table {table}, key {columns[0]!r}: not the column types of this table ({error})"
    if computed != columns[-1]:
        return f"table {table}, key {columns[0]!r}: row_crc is {columns[-1]!r}, its columns give {computed}"
    return None


TABLE: dict[str, Table] = {name: Table(name, type) for name, type in TABLES.items()}
STREAM = TABLE["stream"]
DATABASE = TABLE["database"]


def table_named(name: str) -> Table:
    try:
        return TABLE[name]
    except KeyError:
        raise InvalidArgument(f"{name!r} is no catalog table; there are {', '.join(TABLE)}") from None


def text_argument(text: str) -> str:
    """A text a caller looks for. Raises InvalidArgument if it has no UTF-8 form."""
    try:
        return _as_text(text)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidArgument(f"{text!r} is no text: {error}") from error


def matches(row: StreamRow, tags: dict[str, str | None] | None, annotations: dict[str, str | None] | None) -> bool:
    """Has the stream all of these? None = has the key. A tag with an empty value counts as absent, so "" asks
    for its absence; an annotation may be empty."""
    for key, value in (tags or {}).items():
        held = row.tags.get(key, "")
        if held != value if value is not None else not held:
            return False
    for key, value in (annotations or {}).items():
        if key not in row.annotations or (value is not None and row.annotations[key] != value):
            return False
    return True
