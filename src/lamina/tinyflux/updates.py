"""What an update changes, by TinyFlux's rules: numbers only as fields, naive times in this machine's zone."""

from __future__ import annotations

from datetime import UTC, datetime

from lamina.points.point import Point as AnyPoint
from lamina.points.point import alike
from lamina.points.updates import Update as AnyUpdate
from lamina.tinyflux.plain import fresh
from lamina.tinyflux.point import Point, validate_fields


class Update(AnyUpdate):
    """New values, or functions from old value to new, for the parts of a point.

    Falsy arguments count as not given. ValueError for a static value of the wrong type, or nothing given at all.
    """

    _validate_fields = staticmethod(validate_fields)

    def applied(self, old: AnyPoint) -> Point | None:
        """A new point, or None if it equals the old one, which stays as it is.

        ValueError: a function returned something no point may hold, or raised a ValueError. Its other exceptions
        propagate. OverflowError: a time outside years 1..9999 in UTC.
        """
        new = super().applied(old)
        assert new is None or isinstance(new, Point), "made by _copied"
        return new

    def _copied(self, point: AnyPoint) -> Point:
        return fresh(point)

    def _alike(self, new: AnyPoint, old: AnyPoint) -> bool:
        return alike(new, old)

    def _utc(self, time: datetime) -> datetime:
        return time.astimezone(UTC)
