"""What an update changes: checked when it is made, applied to one point at a time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from lamina.errors import InvalidArgument, InvalidTimeRange
from lamina.points.point import Point, alike, copied, validate_fields, validate_tags

_NOTHING = (
    "Must include one of time, measurement, tags, or fields if updating point attributes, or one of unset_tags or "
    "unset_fields if removing tags and fields."
)


class Update:
    """New values, or functions from old value to new, for the parts of a point.

    Falsy arguments count as not given. InvalidArgument for a static value of the wrong type, or nothing given at all.
    A naive time is UTC.
    """

    _validate_fields = staticmethod(validate_fields)

    def __init__(self, time: Any, measurement: Any, tags: Any, fields: Any, unset_fields: Any, unset_tags: Any) -> None:
        if not (time or measurement or tags or fields or unset_fields or unset_tags):
            raise InvalidArgument(_NOTHING)
        if time and not callable(time) and not isinstance(time, datetime):
            raise InvalidArgument("Time must be datetime object.")
        if measurement and not callable(measurement) and not isinstance(measurement, str):
            raise InvalidArgument("Measurement must be a string.")
        if tags and not callable(tags):
            validate_tags(tags)
        if fields and not callable(fields):
            self._validate_fields(fields)
        self._unset_tags = _keys(unset_tags, "unset_tags")
        self._unset_fields = _keys(unset_fields, "unset_fields")
        self._time = time
        self._measurement = measurement
        self._tags = tags
        self._fields = fields

    def applied(self, old: Point) -> Point | None:
        """A new point, or None if it equals the old one, which stays as it is.

        InvalidArgument: a function returned something no point may hold, or raised a ValueError. Its other exceptions
        propagate. InvalidTimeRange: a time outside years 1..9999 in UTC.
        """
        new = self._copied(old)
        if self._time:
            if callable(self._time):
                new._time = _result(self._time, old._time, _checked_time, "Time must update to a datetime object.")
            else:
                new._time = self._time
        if self._measurement:
            if callable(self._measurement):
                new._measurement = _result(
                    self._measurement, old._measurement, _checked_name, "Measurement must update to a string."
                )
            else:
                new._measurement = self._measurement
        if self._tags:
            self._merge(new._tags, self._tags, validate_tags, "Tags must update to a valid TagSet.")
        if self._fields:
            self._merge(new._fields, self._fields, self._validate_fields, "Fields must update to a valid FieldSet.")
        for key in self._unset_tags:
            new._tags.pop(key, None)
        for key in self._unset_fields:
            new._fields.pop(key, None)
        if self._alike(new, old):
            return None
        if self._time and new._time is not None:
            new._time = self._utc(new._time)
            if self._alike(new, old):
                return None
        return new

    def _alike(self, new: Point, old: Point) -> bool:
        """Values that Python calls equal and that are kept as different ones, 1 and True, 0.0 and -0.0, are not."""
        return alike(new, old) and all(_kept(value) == _kept(old._fields[key]) for key, value in new._fields.items())

    def _copied(self, point: Point) -> Point:
        return copied(point, Point.__new__(Point))

    def _utc(self, time: datetime) -> datetime:
        try:
            return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        except OverflowError:
            raise InvalidTimeRange(f"time {time}: expected years 1 .. 9999 in UTC") from None

    @staticmethod
    def _merge(into: dict[str, Any], given: Any, validate: Callable[[Any], None], message: str) -> None:
        if not callable(given):
            into.update(given)
            return

        def checked(value: Any) -> dict[str, Any]:
            try:
                merged: dict[str, Any] = {}
                merged.update(value)
            except TypeError as error:
                raise InvalidArgument(str(error)) from error
            validate(merged)
            return merged

        into.update(_result(given, copy.deepcopy(into), checked, message))


def _result(function: Callable[[Any], Any], old: Any, check: Callable[[Any], Any], message: str) -> Any:
    try:
        return check(function(old))
    except ValueError as error:
        raise InvalidArgument(message) from error


def _checked_time(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise InvalidArgument(f"got {value!r}")
    return value


def _checked_name(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"got {value!r}")
    return value


def _kept(value: Any) -> tuple[bool, float]:
    """What tells numbers apart that are equal: whether it is a bool, and the sign of a float; 0 for others."""
    return isinstance(value, bool), math.copysign(1.0, value) if isinstance(value, float) else 0.0


def _keys(given: Any, name: str) -> list[str]:
    """The keys to remove: one str, or any iterable of them, consumed once."""
    if not given:
        return []
    if isinstance(given, str):
        return [given]
    keys = list(given) if isinstance(given, Iterable) else None
    if keys is None or not all(isinstance(key, str) for key in keys):
        raise InvalidArgument(f"{name} must be a string or iterable of strings.")
    return keys
