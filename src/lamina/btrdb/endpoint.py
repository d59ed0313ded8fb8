"""The calls of the contract one by one, by the names that BTrDB's own client gives them, over any place of the data.

What that client gives as pages of messages is here a page of points, made when they are looked at: `for page, version
in endpoint.rawValues(...)`, `for point in page`. A uuid is anything with `bytes`. Errors: `exceptions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.btrdb import exceptions, pairs
from lamina.btrdb.backend import Backend, Info
from lamina.btrdb.point import StatPoint
from lamina.btrdb.sequences import PointList, PointTuple, raw_points
from lamina.columns import Times, Values
from lamina.errors import LaminaError
from lamina.faces.btrdb.service.codes import INTERNAL, known
from lamina.faces.btrdb.service.csv import Column, Query
from lamina.faces.btrdb.service.metadata import Description

if TYPE_CHECKING:
    import pyarrow

Uuid = Any


class ChangedRange:
    """A range of time in which something changed: `start` inclusive, `end` exclusive, int ns."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    def __repr__(self) -> str:
        return f"ChangedRange({self.start}, {self.end})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChangedRange) and (self.start, self.end) == (other.start, other.end)

    __hash__ = None  # type: ignore[assignment]


class Endpoint:
    """All calls. Lists of what the arguments mean: contracts/btrdb.md."""

    def __init__(self, channel: Any) -> None:
        """`channel`: what a `Connection` has as `channel`, or a grpc.Channel to a server."""
        self.backend: Backend = channel if hasattr(channel, "raw_values") else _over(channel)

    def info(self) -> Info:
        """major, minor, build, proxies."""
        return self.backend.info()

    # -- points ---------------------------------------------------------------------------------------------------

    def rawValues(self, uu: Uuid, start: int, end: int, version: int = 0) -> Iterator[tuple[PointList, int]]:
        """(points, version): all points of [start, end), ascending."""
        for at, samples in self.backend.raw_values(uu.bytes, start, end, version):
            yield raw_points(samples), at

    def arrowRawValues(
        self, uu: Uuid, start: int, end: int, version: int = 0, schema: pyarrow.Schema | None = None
    ) -> Iterator[tuple[pyarrow.Table, int]]:
        """(table, version): `time` and `value`, or in the columns of `schema`."""
        from lamina.faces.btrdb.service import tables

        with _refusals():
            if schema is not None:
                tables.check_template(schema, tables.POINTS)
        for at, samples in self.backend.raw_values(uu.bytes, start, end, version):
            with _refusals():
                table = tables.table(tables.POINTS, (samples.time, samples.value), schema)
            yield table, at

    def alignedWindows(
        self, uu: Uuid, start: int, end: int, pointwidth: Any, version: int = 0
    ) -> Iterator[tuple[PointTuple, int]]:
        """(windows, version): those of 2**pointwidth ns that hold points."""
        for at, windows in self.backend.aligned_windows(uu.bytes, start, end, int(pointwidth), version):
            yield PointTuple(windows, StatPoint), at

    def arrowAlignedWindows(
        self, uu: Uuid, start: int, end: int, pointwidth: Any, version: int = 0
    ) -> Iterator[tuple[pyarrow.Table, int]]:
        """(table, version) of the same."""
        for at, windows in self.backend.aligned_windows(uu.bytes, start, end, int(pointwidth), version):
            yield _windows_table(windows), at

    def windows(
        self, uu: Uuid, start: int, end: int, width: int, depth: int, version: int = 0
    ) -> Iterator[tuple[PointTuple, int]]:
        """(windows, version): all of `width` ns from start on that end by `end`."""
        for at, windows in self.backend.windows(uu.bytes, start, end, width, depth, version):
            yield PointTuple(windows, StatPoint), at

    def arrowWindows(
        self, uu: Uuid, start: int, end: int, width: int, depth: int, version: int = 0
    ) -> Iterator[tuple[pyarrow.Table, int]]:
        """(table, version) of the same."""
        for at, windows in self.backend.windows(uu.bytes, start, end, width, depth, version):
            yield _windows_table(windows), at

    def arrowMultiValues(
        self,
        uu_list: Sequence[Uuid],
        start: int,
        end: int,
        version_list: Sequence[int],
        snap_periodNS: int | None = None,
        schema: pyarrow.Schema | None = None,
    ) -> Iterator[pyarrow.Table]:
        """At least one table, which may be empty."""
        import numpy as np

        from lamina.faces.btrdb.service import tables

        own = tables.joined_schema([UUID(bytes=uu.bytes) if len(uu.bytes) == 16 else UUID(int=0) for uu in uu_list])
        with _refusals():
            if schema is not None:
                tables.check_template(schema, own)
        uuids = [uu.bytes for uu in uu_list]
        some = False
        for times, columns in self.backend.multi_values(uuids, list(version_list), start, end, int(snap_periodNS or 0)):
            some = True
            with _refusals():
                table = tables.table(own, (times, *columns), schema)
            yield table
        if not some:
            nothing = [np.empty(0, np.int64), *[np.empty(0)] * len(uuids)]
            yield tables.table(own, nothing, schema)

    def nearest(self, uu: Uuid, time: int, version: int, backward: bool) -> tuple[Any, int]:
        """(point, version). Raises NoSuchPoint."""
        from lamina.btrdb.point import RawPoint

        at, value, found = self.backend.nearest(uu.bytes, time, version, backward)
        return RawPoint(at, value), found

    def changes(
        self,
        uu: Uuid,
        fromVersion: int,
        toVersion: int,
        resolution: int,
    ) -> Iterator[tuple[Sequence[ChangedRange], int]]:
        """(ranges, version): what differs after fromVersion, up to and with toVersion (0: the latest)."""
        for value in (fromVersion, toVersion, resolution):
            if not hasattr(value, "__index__"):
                raise exceptions.BTRDBTypeError(f"version or resolution {value!r}: expected an int")
        for at, ranges in self.backend.changes(uu.bytes, fromVersion, toVersion, resolution):
            yield PointList(ranges, ChangedRange), at

    def insert(self, uu: Uuid, values: Any, policy: str) -> int:
        """The new version. `values`: whatever `pairs.columns` takes."""
        return self.backend.insert(uu.bytes, parts_of(values, None), policy)

    def arrowInsertValues(self, uu: Uuid, values: pyarrow.Table, policy: str) -> int:
        """As insert, of a table of times and values."""
        return self.insert(uu, values, policy)

    def deleteRange(self, uu: Uuid, start: int, end: int) -> int:
        """Remove [start, end); the new version."""
        return self.backend.delete(uu.bytes, start, end)

    def flush(self, uu: Uuid) -> None:
        """Put what is buffered into segments."""
        self.backend.flush(uu.bytes)

    def obliterate(self, uu: Uuid) -> None:
        """Remove the stream for good."""
        self.backend.obliterate(uu.bytes)

    # -- metadata -------------------------------------------------------------------------------------------------

    def create(self, uu: Uuid, collection: str, tags: Any, annotations: Any) -> None:
        """A new, empty stream."""
        self.backend.create(uu.bytes, _text(collection or ""), _texts(tags), _texts(annotations))

    def streamInfo(
        self,
        uu: Uuid,
        omitDescriptor: bool,
        omitVersion: bool,
    ) -> tuple[str, int, dict[str, str], dict[str, str], int]:
        """Collection, property version, tags, annotations, version; what was omitted is empty."""
        version, found = self.backend.stream_info(uu.bytes, omitVersion, omitDescriptor)
        if found is None:
            return "", 0, {}, {}, version
        return found.collection, found.property_version, dict(found.tags), dict(found.annotations), version

    def setStreamTags(self, uu: Uuid, expected: int | None, tags: Any, collection: str | None) -> None:
        """Change tags (None: reset), move to a collection ("": stay). `expected` 0: any property version."""
        self.backend.set_tags(uu.bytes, expected or 0, _conditions(tags), collection or "")

    def setStreamAnnotations(self, uu: Uuid, expected: int | None, changes: Any, removals: Sequence[str]) -> None:
        """Change annotations (None: delete), delete those in `removals`. `expected` as above."""
        self.backend.set_annotations(uu.bytes, expected or 0, _conditions(changes), removals)

    def lookupStreams(
        self,
        collection: str | None,
        isCollectionPrefix: bool,
        tags: Any,
        annotations: Any,
    ) -> Iterator[Sequence[Description]]:
        """Pages of descriptions of the streams that meet all conditions (None: has the key)."""
        return self.backend.lookup(
            _text(collection or ""), isCollectionPrefix, _conditions(tags), _conditions(annotations)
        )

    def listCollections(self, prefix: str) -> Iterator[Sequence[str]]:
        """Pages of collections with the prefix, sorted."""
        return self.backend.collections(_text(prefix or ""))

    def getMetadataUsage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """How many streams have each tag, and each annotation."""
        return self.backend.usage(_text(prefix or ""))

    def sql_query(self, stmt: str, params: Sequence[str]) -> Iterator[Sequence[bytes]]:
        """Pages of JSON objects."""
        return self.backend.sql(_text(stmt), [_text(param) for param in params])

    def generateCSV(
        self,
        queryType: Any,
        start: int,
        end: int,
        width: int,
        depth: int,
        includeVersions: bool,
        *streams: tuple[int, str, Uuid],
    ) -> Iterator[Sequence[str]]:
        """The header, then rows. `queryType`: has `to_proto()`, or is its number (0 aligned windows, 1 windows, 2 raw).
        `streams`: (version, label, uuid)."""
        kind = queryType if isinstance(queryType, int) else queryType.to_proto()
        columns = [Column(version, label, uu.bytes) for version, label, uu in streams]
        return self.backend.csv(Query(kind, start, end, width, depth, includeVersions, columns))

    def faultInject(self, typ: int, args: bytes) -> bytes:
        """Refused by Lamina (424)."""
        return self.backend.fault_inject(typ, args)

    def subscribe(self, update_queue: Any) -> Iterator[tuple[UUID, pyarrow.Table]]:
        """(uuid, table of points) of every later insert into the streams followed. The queue gives (uuids to add, uuids
        to remove), and None at the end, which is the end of the iteration too."""
        from lamina.faces.btrdb.service import tables

        updates: Iterator[tuple[Sequence[UUID], Sequence[UUID]]] = iter(update_queue.get, None)
        for uuid, samples in self.backend.subscribe(updates):
            yield uuid, tables.table(tables.POINTS, (samples.time, samples.value))


def parts_of(values: Any, size: int | None) -> Iterator[tuple[Times, Values]]:
    """Columns of points as a caller hands them in, so many at once; None: in one part, which may be empty.

    Raises BTRDBTypeError, BadValue (null)."""
    try:
        with _refusals():
            yield from pairs.parts(values, size)
    except pairs.NotPoints as error:
        raise exceptions.BTRDBTypeError(str(error)) from None


class _refusals:  # noqa: N801  # a context manager
    """What shared code refuses, as an exception of this package."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, LaminaError):
            raise exceptions.refused(*(known(error) or (INTERNAL, str(error)))) from error


def _windows_table(windows: Any) -> pyarrow.Table:
    from lamina.faces.btrdb.service import tables

    return tables.table(tables.WINDOWS, [getattr(windows, name) for name in windows.fields])


def _texts(given: Any) -> dict[str, str]:
    """Values as text; bytes are UTF-8, None is empty."""
    return {key: "" if value is None else _text(value) for key, value in dict(given or {}).items()}


def _conditions(given: Any) -> dict[str, str | None]:
    return {key: None if value is None else _text(value) for key, value in dict(given or {}).items()}


def _text(value: Any) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise exceptions.InvalidTagValue(f"value {value[:64]!r}: expected UTF-8") from None
    if not isinstance(text, str):
        raise exceptions.BTRDBTypeError(f"value {value!r}: expected a string")
    return text


def _over(channel: Any) -> Backend:
    from lamina.btrdb.channel import Channel
    from lamina.btrdb.remote import Remote

    return Remote(channel if isinstance(channel, Channel) else Channel(channel), exceptions)


def lines_of(texts: Iterable[Sequence[str]]) -> list[str]:
    """All texts of some pages."""
    return [text for page in texts for text in page]
