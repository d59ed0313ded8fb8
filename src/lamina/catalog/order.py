"""The orders in which a SQLite catalog is scanned, and the queries that keep to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.catalog.encoding import STREAM, TABLE, Column, Columns, Table

SELECT = {name: f"SELECT {', '.join(table.columns)} FROM {name}" for name, table in TABLE.items()}
SECTION = TABLE["record_section"]


class Order:
    """The order of an index, or of the key: the columns compared, the last of them unique."""

    __slots__ = ("at", "columns", "down", "query", "table", "up")

    def __init__(self, table: Table, index: str | None, *columns: str) -> None:
        self.table = table
        self.columns = columns
        self.at = [table.columns.index(column) for column in columns]
        self.query = SELECT[table.name] + (f" INDEXED BY {index}" if index else "")
        self.up = f"ORDER BY {', '.join(columns)}"
        self.down = f"ORDER BY {', '.join(f'{column} DESC' for column in columns)}"

    def place(self, columns: Columns) -> tuple[Any, ...]:
        """Where a row stands; texts as UTF-8: their order by bytes is that by code point."""
        return tuple([columns[i] for i in self.at])

    def compare(self, sign: str, key: Sequence[Any]) -> tuple[str, list[Column]]:
        """The condition that the first columns stand so to a key, and its arguments."""
        left = ", ".join(self.columns[: len(key)])
        arguments = [part.decode() if isinstance(part, bytes) else part for part in key]
        return f"WHERE ({left}) {sign} ({', '.join('?' * len(key))})", arguments


BY_NAME = Order(STREAM, "stream_by_name", "collection", "name", "id")
ENTRIES = Order(TABLE["entry"], "entry_by_bucket", "bucket", "id")
SECTIONS = Order(SECTION, "record_section_by_entry", "entry", "t_min", "id")
SECTION_IDS = Order(SECTION, None, "id")
POINT_SECTIONS = Order(TABLE["point_section"], "point_section_by_measurement", "measurement", "t_min", "id")
POINT_SECTION_IDS = Order(TABLE["point_section"], None, "id")

OF_ENTRIES = f"{SECTIONS.query} WHERE entry IN (SELECT value FROM json_each(?)) {SECTIONS.up}"
AROUND = (
    "SELECT value,"
    " (SELECT id FROM record_section INDEXED BY record_section_by_entry"
    f" WHERE entry < value {SECTIONS.down} LIMIT 1),"
    " (SELECT id FROM record_section INDEXED BY record_section_by_entry"
    f" WHERE entry > value {SECTIONS.up} LIMIT 1)"
    " FROM json_each(?)"
)
"""Entry, id of the last section before its range, id of the first behind it."""
BESIDE = (
    "SELECT at.id,"
    " (SELECT id FROM record_section INDEXED BY record_section_by_entry"
    f" WHERE (entry, t_min, id) < (at.entry, at.t_min, at.id) {SECTIONS.down} LIMIT 1),"
    " (SELECT id FROM record_section INDEXED BY record_section_by_entry"
    f" WHERE (entry, t_min, id) > (at.entry, at.t_min, at.id) {SECTIONS.up} LIMIT 1)"
    " FROM json_each(?) JOIN record_section AS at ON at.id = value"
)
"""Id of a section, id of the one before it, id of the one behind it."""
