"""`Point`: one observation with its time, measurement, tags and fields, and its row in a CSV file.

A Point read from a large store is lazy: it remembers where its values are (`_source`, `_row`) and fetches all four
when one of them is first asked for. From then on it is like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

TagSet = dict[str, str | None]
FieldValue = int | float | None
FieldSet = dict[str, FieldValue]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ATTRIBUTES = ("_time", "_measurement", "_tags", "_fields")
_KEYWORDS = frozenset(("time", "measurement", "tags", "fields"))


class Source(Protocol):
    """Where the values of a lazy Point are."""

    def values(self, row: int) -> tuple[timedelta, str, TagSet, FieldSet]:
        """Time since the epoch, measurement, tags and fields; new dicts each time."""
        ...


def validate_tags(tags: Any) -> None:
    """Nothing, or a ValueError unless `tags` maps str to str or None."""
    if not isinstance(tags, Mapping):
        raise ValueError("Tag set must be a mapping.")
    for key in tags:
        if not isinstance(key, str):
            raise ValueError("Tag set must contain only string keys.")
    for value in tags.values():
        if value is not None and not isinstance(value, str):
            raise ValueError("Tag set must contain only string values or None.")


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


def _check_time(time: Any) -> None:
    if not isinstance(time, datetime):
        raise ValueError("Time must be datetime object.")


def _check_measurement(measurement: Any) -> None:
    if not isinstance(measurement, str):
        raise ValueError("Measurement must be a string.")


class Point:
    """An observation. `Point()` gets its time when it is inserted; with any keyword given, time defaults to now (UTC).

    Mappings are kept as given, not copied. Raises TypeError for positional and unknown arguments, ValueError for a
    time that is no datetime, a measurement that is no str, and tags or fields of the wrong types.
    """

    __slots__ = ("_fields", "_measurement", "_row", "_source", "_tags", "_time")

    default_measurement_name = "_default"
    _none_str = "_none"
    _default_tag_key_prefix = "_tag_"
    _default_field_key_prefix = "_field_"
    _compact_tag_key_prefix = "t_"
    _compact_field_key_prefix = "f_"

    _time: datetime | None
    _measurement: str
    _tags: TagSet
    _fields: FieldSet
    _source: Source
    _row: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args:
            raise TypeError("Point may contain keyword args for time, measurement, tags, and fields only.")
        self._measurement = self.default_measurement_name
        if not kwargs:
            self._time = None
            self._tags = {}
            self._fields = {}
            return
        unexpected = kwargs.keys() - _KEYWORDS
        if unexpected:
            raise TypeError(f"Unexpected kwargs {', '.join(sorted(unexpected))}")
        if "time" in kwargs:
            _check_time(kwargs["time"])
            self._time = kwargs["time"]
        else:
            self._time = datetime.now(UTC)
        if "measurement" in kwargs:
            _check_measurement(kwargs["measurement"])
            self._measurement = kwargs["measurement"]
        if "tags" in kwargs:
            validate_tags(kwargs["tags"])
        self._tags = kwargs.get("tags", {})
        if "fields" in kwargs:
            validate_fields(kwargs["fields"])
        self._fields = kwargs.get("fields", {})

    def __getattr__(self, name: str) -> Any:
        """The values of a lazy point, on first use. Python comes here only for slots that are not set."""
        if name not in _ATTRIBUTES:
            raise AttributeError(f"'Point' object has no attribute {name!r}")
        since, self._measurement, self._tags, self._fields = self._source.values(self._row)
        self._time = EPOCH + since
        # The columns must not live as long as the points read from them.
        del self._source
        return getattr(self, name)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        return None, {name: getattr(self, name) for name in _ATTRIBUTES}

    @property
    def time(self) -> datetime | None:
        """When; None until a `Point()` is inserted."""
        return self._time

    @time.setter
    def time(self, value: datetime) -> None:
        _check_time(value)
        self._fetch()
        self._time = value

    @property
    def measurement(self) -> str:
        """The name of what was measured."""
        return self._measurement

    @measurement.setter
    def measurement(self, value: str) -> None:
        _check_measurement(value)
        self._fetch()
        self._measurement = value

    @property
    def tags(self) -> TagSet:
        """Text that tells series apart. Changing the mapping itself goes unchecked."""
        return self._tags

    @tags.setter
    def tags(self, value: TagSet) -> None:
        validate_tags(value)
        self._fetch()
        self._tags = value

    @property
    def fields(self) -> FieldSet:
        """Numbers measured. Changing the mapping itself goes unchecked."""
        return self._fields

    @fields.setter
    def fields(self, value: FieldSet) -> None:
        validate_fields(value)
        self._fetch()
        self._fields = value

    def _fetch(self) -> None:
        # A slot that is set before the others were fetched would be overwritten by the fetch.
        _ = self._time

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, self.__class__):
            return False
        return (
            self._time == other._time
            and self._measurement == other._measurement
            and self._tags == other._tags
            and self._fields == other._fields
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"time={self._time.isoformat() if self._time else None}", f"measurement={self._measurement}"]
        if self._tags:
            parts.append("tags=" + "; ".join(f"{key}:{value}" for key, value in self._tags.items()))
        if self._fields:
            parts.append("fields=" + "; ".join(f"{key}:{value}" for key, value in self._fields.items()))
        return f"Point({', '.join(parts)})"

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
