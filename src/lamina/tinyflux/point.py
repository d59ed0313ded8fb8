"""TinyFlux's `Point`: numbers only as fields, and a row in a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lamina.points.point import EPOCH, Source, TagSet, validate_tags
from lamina.points.point import Point as AnyPoint

__all__ = ["EPOCH", "FieldSet", "FieldValue", "Point", "Source", "TagSet", "validate_fields", "validate_tags"]

FieldValue = int | float | None
FieldSet = dict[str, FieldValue]


def validate_fields(fields: Any) -> None:
    """Nothing, or a ValueError unless `fields` maps str to int, float or None (a bool is no number here)."""
    if not isinstance(fields, Mapping):
        raise ValueError("Field set must be a mapping.")
    for key in fields:
        if not isinstance(key, str):
            raise ValueError("Field set must contain only string keys.")
    for value in fields.values():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError("Field set must contain only numeric values or None.")


class Point(AnyPoint):
    """An observation. `Point()` gets its time when it is inserted; with any keyword given, time defaults to now (UTC).

    Mappings are kept as given, not copied. Raises TypeError for positional and unknown arguments, ValueError for a
    time that is no datetime, a measurement that is no str, and tags or fields of the wrong types.
    """

    __slots__ = ()

    _validate_fields = staticmethod(validate_fields)
    _none_str = "_none"
    _default_tag_key_prefix = "_tag_"
    _default_field_key_prefix = "_field_"
    _compact_tag_key_prefix = "t_"
    _compact_field_key_prefix = "f_"

    def _serialize_to_list(self, compact_key_prefixes: bool = False) -> tuple[str, ...]:
        """The columns of this point's CSV row. OverflowError for an int no float can hold."""
        tag, field = ("t_", "f_") if compact_key_prefixes else ("_tag_", "_field_")
        time = self._time
        if time is None:
            when = "_none"
        elif time.tzinfo is UTC:
            when = time.isoformat()[:-6]
        else:
            when = time.replace(tzinfo=None).isoformat()
        row = [when, str(self._measurement or "_none")]
        for key, text in self._tags.items():
            row.append(f"{tag}{key}")
            row.append("_none" if text is None else str(text))
        for key, number in self._fields.items():
            row.append(f"{field}{key}")
            row.append("_none" if number is None else repr(float(number)))
        return tuple(row)

    def _deserialize_from_list(self, row: Sequence[str]) -> Point:
        """This point, filled from the columns of a CSV row; its offset, if any, is discarded.

        IndexError: a column is missing or too short. ValueError: bad time, or an integer Python cannot read.
        """
        time = datetime.fromisoformat(row[0]).replace(tzinfo=UTC)
        measurement = row[1]
        keys = row_keys(row[2::2])
        if len(row) % 2:
            raise IndexError(f"key without value: {row[-1]!r}")
        values = row[3::2]
        split = len(keys[0])
        self._tags = dict(zip(keys[0], map(tag_value, values[:split]), strict=True))
        self._fields = dict(zip(keys[1], map(field_value, values[split:]), strict=True))
        self._time = time
        self._measurement = measurement
        return self


def row_keys(columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tag keys and field keys from the key columns of a row, prefixes stripped by length.

    Tags end at the first column that does not look like one: its second character is no `t`, nor its first.
    IndexError for a column of fewer than two characters.
    """
    tags: list[str] = []
    for column in columns:
        if column[1] == "t":
            tags.append(column[5:])
        elif column[0] == "t":
            tags.append(column[2:])
        else:
            break
    fields = [column[7:] if column[1] == "f" else column[2:] for column in columns[len(tags) :]]
    return tuple(tags), tuple(fields)


def tag_value(text: str) -> str | None:
    """The tag value a column holds."""
    return None if text == "_none" else text


def field_value(text: str) -> FieldValue:
    """The field value a column holds; None for what is no number. IndexError if it is empty."""
    if text.isdigit() or (text[0] == "-" and text[1:].isdigit()):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return None
