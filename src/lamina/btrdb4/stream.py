"""One stream as version 4 has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lamina.btrdb4.endpoint import parts_of
from lamina.btrdb4.utils import BTrDBError, ChangedRange, RawPoint, StatPoint

if TYPE_CHECKING:
    from lamina.btrdb4 import BTrDB

INSERT_BATCH = 5_000
"""Points of one insert in the database: longer ones are several, each with a version of its own."""

_NO_SUCH_STREAM = 404

Values = dict[str, bytes]


class Stream:
    """A handle on a stream; cheap. Times are int ns since the epoch, ranges include their start and exclude their end,
    version 0 is the latest. Generators ask when they are iterated. Raises BTrDBError, whose `code` says why."""

    def __init__(
        self,
        btrdb: BTrDB,
        uuid: UUID,
        knownToExist: bool = False,
        collection: str | None = None,
        tags: Values | None = None,
        annotations: Values | None = None,
        annotationVersion: int | None = None,
    ) -> None:
        self.b = btrdb
        self.uu = uuid
        self.knownToExist = knownToExist
        self._collection = collection
        self._tags = tags
        self._annotations = annotations
        self._annotation_version = annotationVersion

    def refreshMeta(self) -> None:
        """Fetch collection, tags and annotations anew."""
        found = self.b.ep.streamInfo(self.uu, False, True)
        self._collection, self._annotation_version, self._tags, self._annotations, _ = found
        self.knownToExist = True

    def exists(self) -> bool:
        """Whether the database has it; asked once."""
        if not self.knownToExist:
            try:
                self.refreshMeta()
            except BTrDBError as error:
                if error.code != _NO_SUCH_STREAM:
                    raise
                return False
        return True

    def uuid(self) -> UUID:
        """Its uuid; nothing is asked."""
        return self.uu

    def tags(self) -> Values:
        """Its tags, values as bytes; as last seen."""
        if self._tags is None:
            self.refreshMeta()
        return self._tags or {}

    def annotations(self) -> tuple[Values, int]:
        """Its annotations, values as bytes, and their version; asked each time."""
        self.refreshMeta()
        return self.cachedAnnotations()

    def cachedAnnotations(self) -> tuple[Values, int]:
        """As annotations, as last seen."""
        if self._annotations is None:
            self.refreshMeta()
        return self._annotations or {}, self._annotation_version or 0

    def collection(self) -> str:
        """Its collection, as last seen."""
        if self._collection is None:
            self.refreshMeta()
        return self._collection or ""

    def version(self) -> int:
        """The latest version: 10 when created, one more per insert and delete. Asked each time."""
        return self.b.ep.streamInfo(self.uu, True, False)[4]

    def insert(self, vals: Any) -> int:
        """Add (time, value) pairs, in any order, or columns of them (Samples, an Arrow table, a DataFrame); the new
        version (0 without points). More than INSERT_BATCH points are several inserts, each all or nothing."""
        return self._insert(vals, "never")

    def patch(self, vals: Any) -> int:
        """As insert, but a point replaces what is stored at its time; of several at one time in `vals` the last
        stays."""
        return self._insert(vals, "replace")

    def _insert(self, vals: Any, policy: str) -> int:
        return self.b.ep.backend.insert(self.uu.bytes, parts_of(vals, INSERT_BATCH), policy)

    def rawValues(self, start: int, end: int, version: int = 0) -> Iterator[tuple[RawPoint, int]]:
        """(point, version) of all points of a range, ascending, equal times in insertion order."""
        for points, at in self.b.ep.rawValues(self.uu, start, end, version):
            for point in points:
                yield point, at

    def alignedWindows(
        self, start: int, end: int, pointwidth: int, version: int = 0
    ) -> Iterator[tuple[StatPoint, int]]:
        """(statistics, version) of the windows of 2**pointwidth ns that hold points; start and end are rounded down."""
        for points, at in self.b.ep.alignedWindows(self.uu, start, end, pointwidth, version):
            for point in points:
                yield point, at

    def windows(
        self, start: int, end: int, width: int, depth: int = 0, version: int = 0
    ) -> Iterator[tuple[StatPoint, int]]:
        """(statistics, version) of the windows of `width` ns from start on that end by `end`, empty ones with count 0.
        `depth` allows edges to be off by up to 2**depth ns."""
        for points, at in self.b.ep.windows(self.uu, start, end, width, depth, version):
            for point in points:
                yield point, at

    def changes(self, fromVersion: int, toVersion: int, resolution: int) -> Iterator[tuple[ChangedRange, int]]:
        """(range, version) of the ranges that hold every change after `fromVersion`, up to and with `toVersion` (0: the
        latest, which `version` then is). Ascending and disjoint; edges are multiples of 2**resolution ns."""
        for ranges, at in self.b.ep.changes(self.uu, fromVersion, toVersion, resolution):
            for each in ranges:
                yield each, at

    def nearest(self, time: int, version: int, backward: bool) -> tuple[RawPoint, int]:
        """(point, version) of the first point at or after `time`, or with `backward` of the last strictly before it.
        Raises BTrDBError (401) if there is none."""
        return self.b.ep.nearest(self.uu, time, version, backward)

    def deleteRange(self, start: int, end: int) -> int:
        """Remove the points of a range in a new version, which is returned; older versions keep them."""
        return self.b.ep.deleteRange(self.uu, start, end)

    def flush(self) -> None:
        """Put what is buffered into segments. Never needed for durability or visibility."""
        self.b.ep.flush(self.uu)
