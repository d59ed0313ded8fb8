"""Points, ranges, errors, kinds of queries and units of time, by the names that `btrdb4.utils` gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamina.faces.btrdb.service import csv
from lamina.time import to_ns

NANOSECOND = 1
MICROSECOND = 1000 * NANOSECOND
MILLISECOND = 1000 * MICROSECOND
SECOND = 1000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def date(dst: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 text, UTC, with up to nine digits of a second. Raises ValueError."""
    return to_ns(dst)


class BTrDBError(Exception):
    """What the database refuses: `code` of the contract, `msg`, and `mash`, which Lamina has none of."""

    def __init__(self, code: int, msg: str, mash: Any) -> None:
        super().__init__(code, msg, mash)
        self.code = code
        self.msg = msg
        self.mash = mash

    @staticmethod
    def fromProtoStat(protoStatus: Any) -> BTrDBError:
        """Of anything with code, msg and mash."""
        return BTrDBError(protoStatus.code, protoStatus.msg, protoStatus.mash)

    @staticmethod
    def checkProtoStat(protoStatus: Any) -> None:
        """Raise it unless its code is 0."""
        error = BTrDBError.fromProtoStat(protoStatus)
        if error.isError():
            raise error

    def isError(self) -> bool:
        """Whether the code is not 0."""
        return self.code != 0

    def __repr__(self) -> str:
        return f"BTrDBError({self.code!r}, {self.msg!r}, {self.mash!r})"

    def __str__(self) -> str:
        return f"[{self.code}] {self.msg}" if self.isError() else "<success>"


_STATUSES = {"PERMISSION_DENIED": 437, "UNAUTHENTICATED": 437, "UNAVAILABLE": 402, "CANCELLED": 402}


def refused(code: int, text: str) -> BTrDBError:
    """The exception for a status code and its text."""
    return BTrDBError(code, text, None)


def unreachable(status: str, text: str) -> BTrDBError:
    """The exception for a gRPC status: 437 for keys and permissions, 402 for a lost connection, else 500."""
    return BTrDBError(_STATUSES.get(status, 500), text, None)


class RawPoint:
    """A value at a time: `time` int ns since the epoch, `value` float; `point[0]` and `point[1]` as well."""

    def __init__(self, time: int, value: float) -> None:
        self.time = time
        self.value = value

    @staticmethod
    def fromProto(proto: Any) -> RawPoint:
        """Of anything with time and value."""
        return RawPoint(proto.time, proto.value)

    @staticmethod
    def fromProtoList(protoList: Iterable[Any]) -> list[RawPoint]:
        """Of each."""
        return [RawPoint.fromProto(proto) for proto in protoList]

    @staticmethod
    def toProto(rp: Any) -> Any:
        """A RawPoint message of a (time, value) pair. Needs protobuf."""
        from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

        return pb.RawPoint(time=rp[0], value=rp[1])

    @staticmethod
    def toProtoList(rplist: Iterable[Any]) -> list[Any]:
        """Of each."""
        return [RawPoint.toProto(point) for point in rplist]

    def __getitem__(self, index: int) -> Any:
        return _item(self, index, self.time, self.value)

    def __repr__(self) -> str:
        return f"RawPoint({self.time!r}, {self.value!r})"


class StatPoint:
    """Statistics of the points of a window: `time` of its start (int ns), `min`, `mean`, `max`, `count`; also by index
    in this order."""

    def __init__(self, time: int, minv: float, meanv: float, maxv: float, count: int) -> None:
        self.time = time
        self.min = minv
        self.mean = meanv
        self.max = maxv
        self.count = count

    @staticmethod
    def fromProto(proto: Any) -> StatPoint:
        """Of anything with these attributes."""
        return StatPoint(proto.time, proto.min, proto.mean, proto.max, proto.count)

    @staticmethod
    def fromProtoList(protoList: Iterable[Any]) -> list[StatPoint]:
        """Of each."""
        return [StatPoint.fromProto(proto) for proto in protoList]

    def __getitem__(self, index: int) -> Any:
        return _item(self, index, self.time, self.min, self.mean, self.max, self.count)

    def __repr__(self) -> str:
        return f"StatPoint({self.time!r}, {self.min!r}, {self.mean!r}, {self.max!r}, {self.count!r})"


class ChangedRange:
    """A range of time in which something changed: `start` inclusive, `end` exclusive, int ns; also by index."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    @staticmethod
    def fromProto(proto: Any) -> ChangedRange:
        """Of anything with start and end."""
        return ChangedRange(proto.start, proto.end)

    @staticmethod
    def fromProtoList(protoList: Iterable[Any]) -> list[ChangedRange]:
        """Of each."""
        return [ChangedRange.fromProto(proto) for proto in protoList]

    def __getitem__(self, index: int) -> Any:
        return _item(self, index, self.start, self.end)

    def __repr__(self) -> str:
        return f"ChangedRange({self.start!r}, {self.end!r})"


def _item(owner: object, index: int, *fields: Any) -> Any:
    if 0 <= index < len(fields):
        return fields[index]
    raise IndexError(f"{type(owner).__name__} index out of range")


class QueryType:
    """What rows of CSV are made of."""

    def __init__(self, protoEnum: int) -> None:
        self.enum = protoEnum

    @staticmethod
    def ALIGNED_WINDOWS_QUERY() -> QueryType:
        """Windows of 2**depth ns."""
        return QueryType(csv.ALIGNED_WINDOWS)

    @staticmethod
    def WINDOWS_QUERY() -> QueryType:
        """Windows of any width."""
        return QueryType(csv.WINDOWS)

    @staticmethod
    def RAW_QUERY() -> QueryType:
        """The points themselves."""
        return QueryType(csv.RAW)

    def toProto(self) -> int:
        """Its number on the wire."""
        return self.enum


def unpackProtoStreamDescriptor(desc: Any) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Tags and annotations of a StreamDescriptor message."""
    return {tag.key: tag.value for tag in desc.tags}, {note.key: note.value for note in desc.annotations}
