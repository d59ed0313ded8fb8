"""`Point`: one observation with its time, measurement, tags and fields.

A Point read from columns is lazy: it remembers where its values are (`_source`, `_row`) and fetches all four when one
of them is first asked for. From then on it is like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from lamina.errors import InvalidArgument

TagSet = dict[str, str | None]
FieldValue = float | int | bool | str | None
FieldSet = dict[str, Any]
"""Of FieldValue; the drop-in narrows it."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_ATTRIBUTES = ("_time", "_measurement", "_tags", "_fields")
_KEYWORDS = frozenset(("time", "measurement", "tags", "fields"))


class Source(Protocol):
    """Where the values of a lazy Point are."""

    def values(self, row: int) -> tuple[timedelta, str, TagSet, FieldSet]:
        """Time since the epoch, measurement, tags and fields; new dicts each time."""
        ...


def validate_tags(tags: Any) -> None:
    """Nothing, or an InvalidArgument unless `tags` maps str to str or None."""
    if not isinstance(tags, Mapping):
        raise InvalidArgument("Tag set must be a mapping.")
    for key in tags:
        if not isinstance(key, str):
            raise InvalidArgument("Tag set must contain only string keys.")
    for value in tags.values():
        if value is not None and not isinstance(value, str):
            raise InvalidArgument("Tag set must contain only string values or None.")


def validate_fields(fields: Any) -> None:
    """Nothing, or an InvalidArgument unless `fields` maps str to float, int, bool, str or None."""
    if not isinstance(fields, Mapping):
        raise InvalidArgument("Field set must be a mapping.")
    for key in fields:
        if not isinstance(key, str):
            raise InvalidArgument("Field set must contain only string keys.")
    for value in fields.values():
        if value is not None and not isinstance(value, (int, float, str)):
            raise InvalidArgument(f"Field set must contain only numbers, bools, strings or None, not {value!r}.")


def _check_time(time: Any) -> None:
    if not isinstance(time, datetime):
        raise InvalidArgument("Time must be datetime object.")


def _check_measurement(measurement: Any) -> None:
    if not isinstance(measurement, str):
        raise InvalidArgument("Measurement must be a string.")


class Point:
    """An observation. `Point()` gets its time when it is inserted; with any keyword given, time defaults to now (UTC).

    Mappings are kept as given, not copied. Raises TypeError for positional and unknown arguments, InvalidArgument for a
    time that is no datetime, a measurement that is no str, and tags or fields of the wrong types.
    """

    __slots__ = ("_fields", "_measurement", "_row", "_source", "_tags", "_time")

    default_measurement_name = "_default"
    _validate_fields = staticmethod(validate_fields)

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
            self._validate_fields(kwargs["fields"])
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
        """What was measured. Changing the mapping itself goes unchecked."""
        return self._fields

    @fields.setter
    def fields(self, value: FieldSet) -> None:
        self._validate_fields(value)
        self._fetch()
        self._fields = value

    def _fetch(self) -> None:
        # A slot that is set before the others were fetched would be overwritten by the fetch.
        _ = self._time

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self.__class__) and alike(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"time={self._time.isoformat() if self._time else None}", f"measurement={self._measurement}"]
        if self._tags:
            parts.append("tags=" + "; ".join(f"{key}:{value}" for key, value in self._tags.items()))
        if self._fields:
            parts.append("fields=" + "; ".join(f"{key}:{value}" for key, value in self._fields.items()))
        return f"Point({', '.join(parts)})"


def alike(a: Point, b: Point) -> bool:
    """Whether all that two points say is equal, whatever their classes."""
    return a._time == b._time and a._measurement == b._measurement and a._tags == b._tags and a._fields == b._fields


def copied(point: Point, into: Point) -> Point:
    """`into`, with equal values of its own; mappings of other types than dict are copied as such."""
    tags, fields = point._tags, point._fields
    into._time = point._time
    into._measurement = point._measurement
    into._tags = dict(tags) if type(tags) is dict else copy.copy(tags)
    into._fields = dict(fields) if type(fields) is dict else copy.copy(fields)
    return into
