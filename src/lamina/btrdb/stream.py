"""One stream: its points and statistics at any version, its metadata. Constants and names of `btrdb.stream` too."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from lamina.btrdb.backend import INSERT_BATCH_SIZE as INSERT_BATCH_SIZE
from lamina.btrdb.described import Described
from lamina.btrdb.endpoint import parts_of
from lamina.btrdb.exceptions import BTRDBTypeError, NoSuchPoint, retry
from lamina.btrdb.point import RawPoint, StatPoint
from lamina.btrdb.sequences import PointList, PointTuple, raw_points
from lamina.btrdb.utils.general import pointwidth as pw
from lamina.btrdb.utils.timez import currently_as_ns, to_nanoseconds
from lamina.columns import Columns, Samples, Summaries
from lamina.time import MAX_TIME, MIN_TIME

if TYPE_CHECKING:
    import pyarrow

MINIMUM_TIME = MIN_TIME
MAXIMUM_TIME = MAX_TIME - 1

C = TypeVar("C", bound=Columns)


class Stream(Described):
    """A handle on a stream; cheap. Times are int ns since the epoch (also datetime, datetime64, text: see
    `utils.timez.to_nanoseconds`), ranges include their start and exclude their end. Version 0 is the latest.

    Reads raise StreamNotFoundError, VersionNotAvailable, InvalidTimeRange. `auto_retry` and what belongs to it:
    `exceptions.retry`.
    """

    # -- writing --------------------------------------------------------------------------------------------------

    def insert(self, data: Any, merge: str = "never") -> int:
        """Add points; the new version, durable and readable when this returns (0 without points).

        `data`: (time, value) pairs, or columns without a Python object per point: Samples, what `values` gave, an
        Arrow table, a pandas or polars DataFrame. Any order. `merge` says what becomes of points at equal times:
        "never" keeps all, "equal" drops exact repetitions, "retain" keeps the old, "replace" the new. More than
        INSERT_BATCH_SIZE points are several inserts, each all or nothing. Raises BadValue, InvalidTimeRange,
        BTRDBTypeError.
        """
        return self._btrdb.ep.backend.insert(self._uuid.bytes, parts_of(data, INSERT_BATCH_SIZE), merge)

    def arrow_insert(self, data: pyarrow.Table, merge: str = "never") -> int:
        """As insert, of a table with a column of times and one of values, in this order. Without rows: the current
        version."""
        import pyarrow as pa

        from lamina.faces.btrdb.service import tables

        if not isinstance(data, pa.Table):
            raise BTRDBTypeError(f"{type(data).__name__}: expected a pyarrow.Table")
        nullable = pa.schema([field.with_nullable(True) for field in tables.POINTS])
        table = data.rename_columns(["time", "value"]).cast(nullable)
        size = INSERT_BATCH_SIZE if table.num_rows else None
        return self._btrdb.ep.backend.insert(self._uuid.bytes, parts_of(table, size), merge)

    @retry
    def delete(
        self,
        start: Any,
        end: Any,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> int:
        """Remove the points of a range in a new version, which is returned; older versions keep them."""
        return self._btrdb.ep.deleteRange(self._uuid, _ns(start), _ns(end))

    @retry
    def flush(self, auto_retry: bool = False, retries: int = 5, retry_delay: int = 3, retry_backoff: int = 4) -> None:
        """Put what is buffered into segments. Never needed for durability or visibility."""
        self._btrdb.ep.flush(self._uuid)

    # -- reading --------------------------------------------------------------------------------------------------

    @retry
    def values(
        self,
        start: Any,
        end: Any,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> PointList:
        """All points of a range: a list of (RawPoint, version), ascending, equal times in insertion order.

        16 B a point until objects are asked for. `.columns.time` and `.columns.value` are the arrays."""
        parts = self._btrdb.ep.backend.raw_values(self._uuid.bytes, _ns(start), _ns(end), version)
        return raw_points(*_gathered(parts, Samples))

    @retry
    def arrow_values(
        self,
        start: Any,
        end: Any,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
        schema: pyarrow.Schema | None = None,
    ) -> pyarrow.Table:
        """As values, a table with `time` timestamp[ns, UTC] and `value` float64; in the caller's `schema` instead,
        whose columns are taken by position."""
        self._check_arrow("arrow_values")
        tables = self._btrdb.ep.arrowRawValues(self._uuid, _ns(start), _ns(end), version, schema)
        return _joined(tables)

    @retry
    def aligned_windows(
        self,
        start: Any,
        end: Any,
        pointwidth: Any,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> PointTuple:
        """Statistics of the windows of 2**pointwidth ns that hold points: a tuple of (StatPoint, version).

        start and end are rounded down to a window: points before start inside the first window count, those of the
        window that contains end do not. Raises InvalidPointWidth (0..63)."""
        parts = self._btrdb.ep.backend.aligned_windows(self._uuid.bytes, _ns(start), _ns(end), int(pointwidth), version)
        return _stat_points(parts)

    @retry
    def arrow_aligned_windows(
        self,
        start: int,
        end: int,
        pointwidth: int,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> pyarrow.Table:
        """As aligned_windows, a table of time, min, mean, max, count, stddev."""
        self._check_arrow("arrow_aligned_windows")
        return _joined(self._btrdb.ep.arrowAlignedWindows(self._uuid, _ns(start), _ns(end), pointwidth, version))

    @retry
    def windows(
        self,
        start: Any,
        end: Any,
        width: int,
        depth: int = 0,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> PointTuple:
        """Statistics of the windows of `width` ns from start on, as many as end by `end`: a tuple of (StatPoint,
        version). Empty windows are given with count 0 and zeros. `depth` allows edges to be off by up to 2**depth ns.
        Raises InvalidPointWidth (width, depth)."""
        parts = self._btrdb.ep.backend.windows(
            self._uuid.bytes, _ns(start), _ns(end), _whole(width, "width"), _whole(depth, "depth"), version
        )
        return _stat_points(parts)

    @retry
    def arrow_windows(
        self,
        start: int,
        end: int,
        width: int,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> pyarrow.Table:
        """As windows, a table of time, min, mean, max, count, stddev."""
        self._check_arrow("arrow_windows")
        return _joined(
            self._btrdb.ep.arrowWindows(self._uuid, _ns(start), _ns(end), _whole(width, "width"), 0, version)
        )

    def count(
        self,
        start: Any = MINIMUM_TIME,
        end: Any = MAXIMUM_TIME,
        pointwidth: int = 62,
        precise: bool = False,
        version: int = 0,
    ) -> int:
        """How many points there are in a range.

        Unless `precise`, of the aligned windows of at most 2**pointwidth ns and half the range: those of the window
        that contains `end` are left out, those before `start` in its window are counted."""
        first, last = _ns(start), _ns(end)
        if precise:
            counted = self.windows(first, last, last - first, 0, version)
        else:
            width = min(int(pointwidth), max(int(pw.from_nanoseconds(last - first)) - 1, 0))
            counted = self.aligned_windows(first, last, width, version)
        windows = counted.columns
        return int(windows.count.sum()) if isinstance(windows, Summaries) else 0

    @retry
    def nearest(
        self,
        time: Any,
        version: int,
        backward: bool = False,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """(point, version) of the first point at or after `time`, or with `backward` of the last strictly before it;
        None if there is none."""
        try:
            return self._btrdb.ep.nearest(self._uuid, _ns(time), version, backward)
        except NoSuchPoint:
            return None

    @retry
    def earliest(
        self,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """(point, version) of the first point; None without points."""
        return self.nearest(MINIMUM_TIME, version)

    @retry
    def latest(
        self,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """(point, version) of the last point in time; None without points."""
        return self.nearest(MAXIMUM_TIME, version, backward=True)

    @retry
    def current(
        self,
        version: int = 0,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[RawPoint, int] | None:
        """(point, version) of the last point before now; None without such."""
        return self.nearest(currently_as_ns(), version, backward=True)

    def _check_arrow(self, method: str) -> None:
        if not self._btrdb._ARROW_ENABLED:
            raise NotImplementedError(f"The BTrDB server you are using does not support {method}.")

    def __repr__(self) -> str:
        return f"<Stream collection={self.collection} name={self.name}>"

    def _repr_html_(self) -> str:
        """A plot of all points with a few facts, for notebooks."""
        from lamina.btrdb.display import stream_html

        return stream_html(self)


def _ns(time: Any) -> int:
    """Nanoseconds of a bound. Raises BTRDBTypeError for None, ValueError, TypeError."""
    if time is None:
        raise BTRDBTypeError("time None: expected int nanoseconds, datetime, datetime64 or text")
    return int(to_nanoseconds(time))


def _whole(number: Any, name: str) -> int:
    """Raises BTRDBTypeError for what is no integer."""
    try:
        return operator.index(number)
    except TypeError:
        raise BTRDBTypeError(f"{name} {number!r}: expected an integer") from None


def _gathered(parts: Iterator[tuple[int, C]], kind: type[C]) -> tuple[C, int]:
    """All parts as one bundle, and the version they have."""
    version = 0

    def bundles() -> Iterator[C]:
        nonlocal version
        for version, bundle in parts:  # noqa: B007
            yield bundle

    return kind.gathered(bundles()), version


def _stat_points(parts: Iterator[tuple[int, Summaries]]) -> PointTuple:
    windows, version = _gathered(parts, Summaries)
    return PointTuple(windows, StatPoint, version)


def _joined(tables: Iterable[tuple[pyarrow.Table, int]]) -> pyarrow.Table:
    import pyarrow as pa

    return pa.concat_tables([table for table, _ in tables])


def __getattr__(name: str) -> Any:
    """`btrdb.stream` has the sets of streams as well."""
    if name in ("StreamSet", "StreamSetBase", "StreamFilter"):
        from lamina.btrdb import streamset

        return getattr(streamset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
