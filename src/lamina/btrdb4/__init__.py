"""BTrDB's classes of version 4 on Lamina: what a program has from `btrdb4`, in a directory or on a server.

    from lamina import btrdb4

    db = btrdb4.connect("./data")               # a directory, opened in this process
    db = btrdb4.connect("127.0.0.1:4410")       # a server

Points travel as columns below the generators; tags and annotations have values of bytes, as in the original. `patch`,
`changes`, `isCorrect` and the exports to CSV work, which no release of the original has working.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

from lamina.btrdb.conn import place
from lamina.btrdb4 import utils
from lamina.btrdb4.embedded import Embedded4
from lamina.btrdb4.endpoint import Endpoint
from lamina.btrdb4.stream import Stream
from lamina.btrdb4.utils import (
    DAY,
    HOUR,
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    NANOSECOND,
    SECOND,
    BTrDBError,
    ChangedRange,
    QueryType,
    RawPoint,
    StatPoint,
    date,
    unpackProtoStreamDescriptor,
)
from lamina.time import MAX_TIME, MIN_TIME

if TYPE_CHECKING:
    from lamina.btrdb4.backend import Backend4

__all__ = [
    "BTRDB_API_KEY",
    "BTRDB_ENDPOINTS",
    "DAY",
    "HOUR",
    "MAX_POINTWIDTH",
    "MAX_TIME",
    "MICROSECOND",
    "MILLISECOND",
    "MINUTE",
    "MIN_TIME",
    "NANOSECOND",
    "SECOND",
    "BTrDB",
    "BTrDBError",
    "ChangedRange",
    "Connection",
    "Endpoint",
    "QueryType",
    "RawPoint",
    "StatPoint",
    "Stream",
    "connect",
    "date",
    "isCorrect",
    "unpackProtoStreamDescriptor",
]

BTRDB_ENDPOINTS = "BTRDB_ENDPOINTS"
BTRDB_API_KEY = "BTRDB_API_KEY"
"""Variables of the environment that say where to connect, and with which key."""

MAX_POINTWIDTH = 63

Labelled = tuple[int, str, UUID]
"""Version (0: the latest), label and uuid of a stream."""


def connect(addrportstr: Any = None, apikey: str | None = None) -> BTrDB:
    """The database at HOST:PORT (TLS on port 4411), or in the directory of a path, or an open `lamina.Database`; by
    default what the environment says. A server is called at the first need.

    Raises ValueError (nothing says where, neither address nor path, what cannot be a key), BTrDBError (no database can
    be had there)."""
    if addrportstr is None:
        addrportstr = os.environ.get(BTRDB_ENDPOINTS, "")
    if apikey is None:
        apikey = os.environ.get(BTRDB_API_KEY)
    return Connection(addrportstr, apikey).newContext()


class Connection:
    """Where a database is; arguments as of `connect`. `channel` is what an Endpoint is made of."""

    def __init__(self, addrportstr: Any, apikey: str | None = None) -> None:
        found = place(addrportstr, apikey, utils)
        self.channel: Backend4
        if isinstance(found, tuple):
            self.channel = Embedded4(found, utils)
        else:
            from lamina.btrdb4.remote import Remote4

            self.channel = Remote4(found, utils)

    def newContext(self) -> BTrDB:
        """The database."""
        return BTrDB(Endpoint(self.channel))


class BTrDB:
    """A database; a context manager that closes it. `ep` has the calls one by one."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.ep = endpoint

    def close(self) -> None:
        """Release the directory, or the connection. Never needed for data to be safe. Idempotent."""
        self.ep.backend.close()

    def __enter__(self) -> BTrDB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self) -> Any:
        """majorVersion, minorVersion, build, proxy.proxyEndpoints, mash."""
        return self.ep.info()

    def streamFromUUID(self, uu: UUID) -> Stream:
        """The stream of a uuid, which is not looked up: ask `exists()`."""
        return Stream(self, uu)

    def create(
        self,
        uu: UUID,
        collection: str,
        tags: dict[str, bytes] | None = None,
        annotations: dict[str, bytes] | None = None,
    ) -> Stream:
        """A new, empty stream at version 10; durable when this returns. Values are bytes, or text.

        Raises BTrDBError: 406 (same collection and tags as another), 429 (uuid in use, or of an obliterated stream),
        407, 408, 409 (names that are not allowed)."""
        self.ep.create(uu, collection, tags, annotations)
        return Stream(self, uu, True, collection, _bytes_of(tags), _bytes_of(annotations), 1)

    def lookupStreams(
        self,
        collection: str,
        isCollectionPrefix: bool,
        tags: dict[str, Any] | None = None,
        annotations: dict[str, Any] | None = None,
    ) -> Iterator[Stream]:
        """Streams of a collection, or of all that begin with the text, that have all these tags and annotations; None
        as value: any. By collection and name, with their metadata."""
        for page in self.ep.lookupStreams(collection, isCollectionPrefix, tags or {}, annotations or {}):
            for found in page:
                yield Stream(
                    self,
                    UUID(bytes=found.uuid),
                    True,
                    found.collection,
                    dict(found.tags),
                    dict(found.annotations),
                    found.annotation_version,
                )

    def getMetadataUsage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """How many streams of the collections with this prefix have each tag, and each annotation."""
        return self.ep.getMetadataUsage(prefix)

    def writeCSV(
        self,
        csvWriter: Any,
        queryType: QueryType,
        start: int,
        end: int,
        width: int,
        depth: int,
        includeVersions: bool,
        *streams: Labelled,
    ) -> None:
        """Streams side by side by time, with a header, into a `csv.writer`. `depth` is the point width of aligned
        windows. `includeVersions`: the header says them."""
        for row in self.ep.generateCSV(queryType, start, end, width, depth, includeVersions, *streams):
            csvWriter.writerow(row)

    def windowsToCSV(
        self,
        csvFile: IO[str],
        start: int,
        end: int,
        width: int,
        depth: int,
        includeVersions: bool,
        *streams: Labelled,
    ) -> None:
        """As writeCSV, of windows of `width` ns, into a text file."""
        query = QueryType.WINDOWS_QUERY()
        self.writeCSV(csv.writer(csvFile), query, start, end, width, depth, includeVersions, *streams)

    windowsToCsv = windowsToCSV  # noqa: N815  # the spelling of the release

    def alignedWindowsToCSV(
        self, csvFile: IO[str], start: int, end: int, depth: int, includeVersions: bool, *streams: Labelled
    ) -> None:
        """As writeCSV, of aligned windows of 2**depth ns, into a text file."""
        query = QueryType.ALIGNED_WINDOWS_QUERY()
        self.writeCSV(csv.writer(csvFile), query, start, end, 0, depth, includeVersions, *streams)

    def rawValuesToCSV(
        self,
        csvFile: IO[str],
        start: int,
        end: int,
        width: int,
        depth: int,
        includeVersions: bool,
        *streams: Labelled,
    ) -> None:
        """As writeCSV, of all points, into a text file. `width` and `depth` mean nothing here."""
        query = QueryType.RAW_QUERY()
        self.writeCSV(csv.writer(csvFile), query, start, end, width, depth, includeVersions, *streams)


def _bytes_of(given: dict[str, Any] | None) -> dict[str, bytes]:
    return {key: value.encode() if isinstance(value, str) else value for key, value in (given or {}).items()}


def isCorrect() -> bool:
    """Whether points on the wire are what the generated messages say: written as columns, read as messages. Needs
    protobuf."""
    import numpy as np

    from lamina.columns import Samples
    from lamina.faces.btrdb import wire
    from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

    points = [(MIN_TIME, 0.0), (0, -1.5), (MAX_TIME - 2, 5e-324)]
    times, values = zip(*points, strict=True)
    data = wire.encode_points(wire.versions(11), Samples(np.array(times), np.array(values)))
    read = pb.RawValuesResponse.FromString(data)
    return read.versionMajor == 11 and [(point.time, point.value) for point in read.values] == points
