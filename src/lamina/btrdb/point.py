"""A raw point and a summary of points, as programs see them one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class RawPoint:
    """A value at a time: `time` int ns since the epoch, `value` float; `point[0]` and `point[1]` as well."""

    __slots__ = ("_time", "_value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, time: int, value: float) -> None:
        self._time = time
        self._value = value

    @property
    def time(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return self._time

    @property
    def value(self) -> float:
        """The value, float64."""
        return self._value

    @classmethod
    def from_proto(cls, proto: Any) -> RawPoint:
        """Of anything with `time` and `value`."""
        return cls(proto.time, proto.value)

    @classmethod
    def from_proto_list(cls, proto_list: Iterable[Any]) -> list[RawPoint]:
        """Of each."""
        return [cls.from_proto(proto) for proto in proto_list]

    @staticmethod
    def to_proto(point: Any) -> Any:
        """A RawPoint message of a (time, value) pair. Needs protobuf."""
        from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

        return pb.RawPoint(time=point[0], value=point[1])

    @staticmethod
    def to_proto_list(points: Iterable[Any]) -> list[Any]:
        """Of each."""
        return [RawPoint.to_proto(point) for point in points]

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            return self._time
        if index == 1:
            return self._value
        raise IndexError("RawPoint index out of range")

    def __repr__(self) -> str:
        return f"RawPoint({self._time!r}, {self._value!r})"

    def __eq__(self, other: object) -> bool:
        if not (hasattr(other, "time") and hasattr(other, "value")):
            return False
        return bool(self._time == other.time and self._value == other.value)


class StatPoint:
    """Statistics of the points of a window: `time` of its start (int ns), `min`, `mean`, `max`, `count`, `stddev` (of
    the population); also by index in this order. A window without points has count 0 and zeros."""

    __slots__ = ("_count", "_max", "_mean", "_min", "_stddev", "_time")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, time: int, minv: float, meanv: float, maxv: float, count: int, stddev: float) -> None:
        self._time = time
        self._min = minv
        self._mean = meanv
        self._max = maxv
        self._count = count
        self._stddev = stddev

    @classmethod
    def from_proto(cls, proto: Any) -> StatPoint:
        """Of anything with these attributes."""
        return cls(proto.time, proto.min, proto.mean, proto.max, proto.count, proto.stddev)

    @classmethod
    def from_proto_list(cls, proto_list: Iterable[Any]) -> list[StatPoint]:
        """Of each."""
        return [cls.from_proto(proto) for proto in proto_list]

    @property
    def time(self) -> int:
        """Start of the window, nanoseconds since the epoch, UTC."""
        return self._time

    @property
    def min(self) -> float:
        """The smallest value."""
        return self._min

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return self._mean

    @property
    def max(self) -> float:
        """The largest value."""
        return self._max

    @property
    def count(self) -> int:
        """How many points there are."""
        return self._count

    @property
    def stddev(self) -> float:
        """Population standard deviation: one point has 0.0."""
        return self._stddev

    def _fields(self) -> tuple[int, float, float, float, int, float]:
        return self._time, self._min, self._mean, self._max, self._count, self._stddev

    def __getitem__(self, index: int) -> Any:
        if 0 <= index < 6:
            return self._fields()[index]
        raise IndexError("StatPoint index out of range")

    def __repr__(self) -> str:
        return f"StatPoint({', '.join(map(str, self._fields()))})"

    def __eq__(self, other: object) -> bool:
        names = ("time", "min", "mean", "max", "count", "stddev")
        if not all(hasattr(other, name) for name in names):
            return False
        return self._fields() == tuple(getattr(other, name) for name in names)
