"""The calls of version 4 one by one, by the names of its client, over any place of the data.

Pages are sequences of points that are made when they are looked at. A uuid is a UUID.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import index
from typing import Any
from uuid import UUID

from lamina.btrdb import pairs
from lamina.btrdb.sequences import PointList, PointTuple
from lamina.btrdb4 import utils
from lamina.btrdb4.backend import Backend4
from lamina.btrdb4.utils import ChangedRange, RawPoint, StatPoint
from lamina.columns import Times, Values
from lamina.errors import LaminaError
from lamina.faces.btrdb.service.codes import INTERNAL, known
from lamina.faces.btrdb.service.csv import Column, Query
from lamina.faces.btrdb.service.metadata_4 import Description


class Endpoint:
    """All calls."""

    def __init__(self, channel: Any) -> None:
        """`channel`: what a `Connection` has as `channel`, or a grpc.Channel to a server."""
        self.backend: Backend4 = channel if hasattr(channel, "raw_values") else _over(channel)

    def info(self) -> Any:
        """majorVersion, minorVersion, build, proxy.proxyEndpoints, mash."""
        return self.backend.server_info()

    def rawValues(self, uu: UUID, start: int, end: int, version: int = 0) -> Iterator[tuple[PointList, int]]:
        """(points, version): all points of [start, end), ascending."""
        start, end, version = _ints(start=start, end=end, version=version)
        for at, samples in self.backend.raw_values(uu.bytes, start, end, version):
            yield PointList(samples, RawPoint), at

    def alignedWindows(
        self, uu: UUID, start: int, end: int, pointwidth: int, version: int = 0
    ) -> Iterator[tuple[PointTuple, int]]:
        """(windows, version): those of 2**pointwidth ns that hold points."""
        start, end, pointwidth, version = _ints(start=start, end=end, pointwidth=pointwidth, version=version)
        for at, windows in self.backend.aligned_windows(uu.bytes, start, end, pointwidth, version):
            yield PointTuple(windows, _stat_point), at

    def windows(
        self, uu: UUID, start: int, end: int, width: int, depth: int, version: int = 0
    ) -> Iterator[tuple[PointTuple, int]]:
        """(windows, version): all of `width` ns from start on that end by `end`."""
        start, end, width, depth, version = _ints(start=start, end=end, width=width, depth=depth, version=version)
        for at, windows in self.backend.windows(uu.bytes, start, end, width, depth, version):
            yield PointTuple(windows, _stat_point), at

    def nearest(self, uu: UUID, time: int, version: int, backward: bool) -> tuple[RawPoint, int]:
        """(point, version). Raises BTrDBError (401)."""
        time, version = _ints(time=time, version=version)
        at, value, found = self.backend.nearest(uu.bytes, time, version, backward)
        return RawPoint(at, value), found

    def changes(self, uu: UUID, fromVersion: int, toVersion: int, resolution: int) -> Iterator[tuple[PointList, int]]:
        """(ranges, version): what differs after fromVersion, up to and with toVersion (0: the latest)."""
        asked = _ints(fromVersion=fromVersion, toVersion=toVersion, resolution=resolution)
        for at, ranges in self.backend.changes(uu.bytes, *asked):
            yield PointList(ranges, ChangedRange), at

    def insert(self, uu: UUID, values: Any) -> int:
        """The new version. `values`: whatever `lamina.btrdb.pairs.columns` takes."""
        return self.backend.insert(uu.bytes, parts_of(values, None), "never")

    def deleteRange(self, uu: UUID, start: int, end: int) -> int:
        """Remove [start, end); the new version."""
        start, end = _ints(start=start, end=end)
        return self.backend.delete(uu.bytes, start, end)

    def flush(self, uu: UUID) -> None:
        """Put what is buffered into segments."""
        self.backend.flush(uu.bytes)

    def create(self, uu: UUID, collection: str, tags: Any, annotations: Any) -> None:
        """A new, empty stream."""
        self.backend.create(uu.bytes, collection, _bytes_of(tags), _bytes_of(annotations))

    def streamInfo(
        self, uu: UUID, omitDescriptor: bool, omitVersion: bool
    ) -> tuple[str, int, dict[str, bytes], dict[str, bytes], int]:
        """Collection, annotation version, tags, annotations, version; what was omitted is empty."""
        version, found = self.backend.stream_info(uu.bytes, omitVersion, omitDescriptor)
        if found is None:
            return "", 0, {}, {}, version
        return found.collection, found.annotation_version, dict(found.tags), dict(found.annotations), version

    def setStreamAnnotations(self, uu: UUID, expected: int, changes: Any) -> None:
        """A change to None removes the annotation. `expected` 0: any version."""
        self.backend.set_annotations(uu.bytes, expected, _conditions(changes))

    def lookupStreams(
        self, collection: str, isCollectionPrefix: bool, tags: Any, annotations: Any
    ) -> Iterator[Sequence[Description]]:
        """Pages of descriptions of the streams that meet all conditions (None: has the key)."""
        return self.backend.lookup(collection or "", isCollectionPrefix, _conditions(tags), _conditions(annotations))

    def listCollections(self, prefix: str, startingAt: str, limit: int) -> Sequence[str]:
        """At most `limit` (10,000) collections with the prefix, from `startingAt` on, sorted."""
        return self.backend.collections(prefix, startingAt, limit)

    def getMetadataUsage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """Streams per tag, and per annotation."""
        return self.backend.usage(prefix)

    def generateCSV(
        self,
        queryType: Any,
        start: int,
        end: int,
        width: int,
        depth: int,
        includeVersions: bool,
        *streams: tuple[int, str, UUID],
    ) -> Iterator[Sequence[str]]:
        """The header, then rows. `streams`: (version, label, uuid)."""
        start, end, width, depth = _ints(start=start, end=end, width=width, depth=depth)
        columns = [Column(version, label, uu.bytes) for version, label, uu in streams]
        return self.backend.csv(Query(queryType.toProto(), start, end, width, depth, includeVersions, columns))

    def faultInject(self, typ: int, args: bytes) -> bytes:
        """Refused by Lamina (424)."""
        return self.backend.fault_inject(typ, args)


def parts_of(values: Any, size: int | None) -> Iterator[tuple[Times, Values]]:
    """Columns of points as a caller hands them in, so many at once; None: in one part, which may be empty.

    Raises TypeError, BTrDBError (null)."""
    try:
        yield from pairs.parts(values, size)
    except LaminaError as error:
        raise utils.refused(*(known(error) or (INTERNAL, str(error)))) from error


def _stat_point(time: int, low: float, mean: float, high: float, count: int, stddev: float) -> StatPoint:
    """Version 4 has no standard deviation."""
    return StatPoint(time, low, mean, high, count)


def _ints(**given: Any) -> list[int]:
    """The values, as ints. Raises TypeError."""
    for name, value in given.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} {value!r}: expected an int")
    return [index(value) for value in given.values()]


def _bytes_of(given: Any) -> dict[str, bytes]:
    """Values as bytes; text is UTF-8."""
    return {key: _bytes(value) for key, value in dict(given or {}).items()}


def _conditions(given: Any) -> dict[str, bytes | None]:
    return {key: None if value is None else _bytes(value) for key, value in dict(given or {}).items()}


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise TypeError(f"value {value!r}: expected bytes or a string")
    return value


def _over(channel: Any) -> Backend4:
    from lamina.btrdb.channel import Channel
    from lamina.btrdb4.remote import Remote4

    return Remote4(channel if isinstance(channel, Channel) else Channel(channel), utils)
