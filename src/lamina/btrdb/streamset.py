"""Several streams read together: filtered, windowed, side by side by time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import numpy as np

from lamina.btrdb.exceptions import BTRDBTypeError, BTRDBValueError, InvalidOperation
from lamina.btrdb.point import RawPoint, StatPoint
from lamina.btrdb.sequences import PointList, RowList
from lamina.btrdb.stream import MAXIMUM_TIME, MINIMUM_TIME, Stream
from lamina.btrdb.transformers import StreamSetTransformer
from lamina.btrdb.utils.timez import currently_as_ns, to_nanoseconds
from lamina.columns import Samples
from lamina.tables import join

if TYPE_CHECKING:
    import pyarrow

    from lamina.btrdb.conn import BTrDB

R = TypeVar("R")
Self = TypeVar("Self", bound="StreamSetBase")


class StreamFilter:
    """A range of time, and what else narrows a read: a frequency (Hz) to snap to, an Arrow schema."""

    def __init__(
        self, start: Any = None, end: Any = None, sampling_frequency: float | None = None, schema: Any = None
    ) -> None:
        """Raises BTRDBValueError without start and end, and where start is not before end."""
        self.start = None if start is None else to_nanoseconds(start)
        self.end = None if end is None else to_nanoseconds(end)
        self.sampling_frequency = sampling_frequency or None
        self.schema = schema
        if self.start is None and self.end is None:
            raise BTRDBValueError("A valid `start` or `end` must be supplied")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise BTRDBValueError("`start` must be strictly less than `end` argument")


class StreamSetBase(Sequence[Stream]):
    """A sequence of streams, also by uuid (UUID or text). `filter` gives a narrower set; `windows` and
    `aligned_windows` make this one answer with statistics instead of points."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        """Raises BTRDBTypeError (no streams), ValueError (none at all)."""
        self._streams: list[Stream] = []
        for stream in streams:
            if not isinstance(stream, Stream):
                raise BTRDBTypeError(f"streams must be of type Stream {stream}, {type(stream)}")
            self._streams.append(stream)
        if not self._streams:
            raise ValueError("Trying to create streamset with an empty list of streams []")
        self._btrdb: BTrDB = self._streams[0].btrdb
        self._pinned_versions: dict[UUID, int] | None = None
        self.filters: list[StreamFilter] = []
        self.pointwidth: int | None = None
        self.width: int | None = None
        self.depth = 0

    # -- versions -------------------------------------------------------------------------------------------------

    def pin_versions(self: Self, versions: dict[UUID, int] | None = None) -> Self:
        """Read every stream at its version of these, or at its latest of now, from here on; this set."""
        if versions is not None and not isinstance(versions, dict):
            raise BTRDBTypeError(f"`versions` argument must be dict, is {type(versions).__name__}")
        for key in versions or {}:
            if not isinstance(key, UUID):
                raise BTRDBTypeError(f"version keys must be type UUID, one is {key!r}")
        self._pinned_versions = versions or self._latest_versions()
        return self

    def versions(self) -> dict[UUID, int]:
        """The pinned versions, or the latest."""
        return self._pinned_versions or self._latest_versions()

    def _latest_versions(self) -> dict[UUID, int]:
        return dict(self._each(lambda stream: (stream.uuid, stream.version())))

    def _each(self, do: Callable[[Stream], R]) -> list[R]:
        return self._btrdb._map(do, self._streams)

    # -- edges ----------------------------------------------------------------------------------------------------

    def count(self, precise: bool = False) -> int:
        """Points of all streams within the filtered range; see `Stream.count`."""
        start, end = self._range()
        versions = self.versions()
        return sum(self._each(lambda s: s.count(start, end, version=versions.get(s.uuid, 0), precise=precise)))

    def earliest(self) -> tuple[RawPoint | None, ...]:
        """The first point of each stream at or after the filtered start; None where there is none."""
        return self._nearest(self._range()[0], backward=False)

    def latest(self) -> tuple[RawPoint | None, ...]:
        """The last point of each stream before the filtered end; None where there is none."""
        return self._nearest(self._range()[1], backward=True)

    def current(self) -> tuple[RawPoint | None, ...]:
        """The last point of each stream before now. Raises BTRDBValueError if now is not within the filtered range."""
        start, end = self._range()
        now = currently_as_ns()
        if not start <= now < end:
            raise BTRDBValueError("current time is not included in filtered stream range")
        return self._nearest(now, backward=True)

    def _nearest(self, time: int, backward: bool) -> tuple[RawPoint | None, ...]:
        versions = self.versions()
        found = self._each(lambda s: s.nearest(time, versions.get(s.uuid, 0), backward=backward))
        return tuple(None if hit is None else hit[0] for hit in found)

    def _range(self) -> tuple[int, int]:
        params = self._params_from_filters()
        return params.get("start", MINIMUM_TIME), params.get("end", MAXIMUM_TIME)

    # -- narrower sets --------------------------------------------------------------------------------------------

    def filter(
        self: Self,
        start: Any = None,
        end: Any = None,
        collection: str | re.Pattern[str] | None = None,
        name: str | re.Pattern[str] | None = None,
        unit: str | re.Pattern[str] | None = None,
        tags: dict[str, str] | None = None,
        annotations: dict[str, Any] | None = None,
        sampling_frequency: float | None = None,
        schema: Any = None,
    ) -> Self:
        """A set with a narrower range of time, or of fewer streams: those whose collection, name, unit equals a text,
        in any case, or is matched by a regular expression, and that have all these tags and annotations.

        Of several filters the last one that says something counts. `sampling_frequency` (Hz) and `schema` are for
        `arrow_values`."""
        made = self.clone()
        if any(value is not None for value in (start, end, sampling_frequency, schema)):
            made.filters.append(StreamFilter(start, end, sampling_frequency, schema))
        for what, wanted in (("collection", collection), ("name", name), ("unit", unit)):
            if wanted is not None:
                made._streams = [s for s in made._streams if _matches(what, wanted, getattr(s, what))]
        if tags:
            made._streams = [s for s in made._streams if tags.items() <= s.tags().items()]
        if annotations:
            made._streams = [s for s in made._streams if _has(s.annotations()[0], annotations)]
        return made

    def clone(self: Self) -> Self:
        """A set of the same streams with filters and windows of its own."""
        made = self.__class__(self._streams)
        for name, value in self.__dict__.items():
            if name not in ("_streams", "_btrdb"):
                setattr(made, name, deepcopy(value))
        return made

    @property
    def allow_window(self) -> bool:
        """Whether no windows are asked for yet."""
        return not (self.pointwidth or (self.width and self.depth == 0))

    def windows(self: Self, width: int, depth: int = 0) -> Self:
        """Answer with statistics of windows of `width` ns from here on; this set. `depth` other than 0 is not taken:
        windows are exact. Raises InvalidOperation where windows are asked for already."""
        self._check_window()
        self.width = int(width)
        if depth != 0:
            warnings.warn(f"`depth` {depth} is taken as 0: windows of a StreamSet are exact", stacklevel=2)
        return self

    def aligned_windows(self: Self, pointwidth: Any) -> Self:
        """Likewise of aligned windows of 2**pointwidth ns."""
        self._check_window()
        self.pointwidth = int(pointwidth)
        return self

    def _check_window(self) -> None:
        if not self.allow_window:
            raise InvalidOperation("A window operation is already requested")

    def _params_from_filters(self) -> dict[str, Any]:
        """What the filters say: of start, end, sampling_frequency, schema."""
        return {
            name: value
            for each in self.filters
            for name in ("start", "end", "sampling_frequency", "schema")
            if (value := getattr(each, name)) is not None
        }

    # -- points ---------------------------------------------------------------------------------------------------

    def values(self) -> list[PointList]:
        """The points (or windows) of each stream within the filtered range: a list of lists, kept as columns.

        Raises TypeError without a start and an end."""
        make = RawPoint if self._raw else StatPoint
        return [PointList(columns, make) for columns in self._columns()]

    def values_iter(self) -> Iterator[Any]:
        """Not there in the original either: raises NotImplementedError."""
        raise NotImplementedError("values_iter: use values(), which makes objects as they are asked for")

    def rows(self) -> RowList:
        """The points (or windows) of all streams side by side, by time: tuples with None where a stream has none. The
        i-th of several points of a stream at one time is in the i-th row of that time."""
        return self._aligned()

    @property
    def _raw(self) -> bool:
        return self.pointwidth is None and self.width is None

    def _columns(self) -> list[Any]:
        """Samples or Summaries of each stream. Raw points are the latest, as the original has it."""
        params = self._params_from_filters()
        missing = [name for name in ("start", "end") if name not in params]
        if missing:
            raise TypeError(f"missing {' and '.join(missing)}: filter(start=..., end=...) first")
        start, end = params["start"], params["end"]
        pinned = self._pinned_versions or {}
        if self.pointwidth is not None:
            pointwidth = self.pointwidth
            return self._each(lambda s: s.aligned_windows(start, end, pointwidth, pinned.get(s.uuid, 0)).columns)
        if self.width is not None:
            width = self.width
            return self._each(lambda s: s.windows(start, end, width, 0, pinned.get(s.uuid, 0)).columns)
        return self._each(lambda s: s.values(start, end).columns)

    def _aligned(self) -> RowList:
        """The join as positions: which point of each stream belongs to which row."""
        bundles = self._columns()
        tracks = [iter(((each.time, np.arange(len(each), dtype=np.float64)[np.newaxis]),)) for each in bundles]
        blocks = list(join.outer_join(tracks, _EVERY_ROW))
        time = np.concatenate([times for times, _ in blocks]) if blocks else np.empty(0, np.int64)
        places = np.concatenate([block for _, block in blocks], 1) if blocks else np.empty((len(bundles), 0))
        make = RawPoint if self._raw else StatPoint
        return RowList(
            time, [PointList(each, make) for each in bundles], np.nan_to_num(places, nan=-1).astype(np.int64)
        )

    def arrow_values(self) -> pyarrow.Table:
        """All streams in one table by time, ascending.

        Of points: `time`, then a column per stream named by its uuid, NaN where it has none; snapped to multiples of
        1/sampling_frequency if filtered so, in the filtered `schema` if there is one. Of windows: `time`, then
        UUID/min, UUID/mean, UUID/max, UUID/count, UUID/stddev for each stream, null where it has no window.
        """
        import pyarrow as pa

        params = self._params_from_filters()
        schema = params.get("schema")
        if not self._raw:
            if schema is not None:
                kind = "windows" if self.pointwidth is None else "aligned windows"
                raise NotImplementedError(f"{kind} queries do not yet support an arrow schema")
            return self._arrow_windows()
        missing = [name for name in ("start", "end") if name not in params]
        if missing:
            raise TypeError(f"missing {' and '.join(missing)}: filter(start=..., end=...) first")
        frequency = params.get("sampling_frequency", 0)
        period = int(1e9 / frequency) if frequency > 0 else 0
        pinned = self._pinned_versions or {}
        versions = [pinned.get(stream.uuid, 0) for stream in self._streams]
        uuids = [stream.uuid for stream in self._streams]
        tables = self._btrdb.ep.arrowMultiValues(uuids, params["start"], params["end"], versions, period, schema)
        return pa.concat_tables(list(tables))

    def _arrow_windows(self) -> pyarrow.Table:
        from lamina.btrdb.wide import windows_table

        return windows_table([str(stream.uuid) for stream in self._streams], self._columns())

    # -- writing --------------------------------------------------------------------------------------------------

    def insert(self, data_map: Mapping[UUID, Any], merge: str = "never") -> dict[UUID, int]:
        """Insert into each stream the columns `time` (int ns) and `value` of its DataFrame; uuid -> new version. Raises
        KeyError where a stream has no entry."""
        frames = {
            stream.uuid: Samples(
                np.ascontiguousarray(data_map[stream.uuid]["time"].astype("int64").to_numpy()),
                np.ascontiguousarray(data_map[stream.uuid]["value"].astype("float64").to_numpy()),
            )
            for stream in self._streams
        }
        return dict(self._each(lambda s: (s.uuid, s.insert(frames[s.uuid], merge))))

    def arrow_insert(self, data_map: Mapping[UUID, pyarrow.Table], merge: str = "never") -> dict[UUID, int]:
        """Likewise of tables; see `Stream.arrow_insert`."""
        tables = {stream.uuid: data_map[stream.uuid] for stream in self._streams}
        return dict(self._each(lambda s: (s.uuid, s.arrow_insert(tables[s.uuid], merge))))

    # -- a sequence -----------------------------------------------------------------------------------------------

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            item = UUID(item)
        if not isinstance(item, UUID):
            return self._streams[item]
        for stream in self._streams:
            if stream.uuid == item:
                return stream
        raise KeyError(f"Stream with uuid `{item}` not found.")

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str | UUID):
            return any(str(stream.uuid) == str(item) for stream in self._streams)
        return item in self._streams

    def __len__(self) -> int:
        return len(self._streams)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._number()})>"

    def __str__(self) -> str:
        return f"{type(self).__name__} with {self._number()}"

    def _number(self) -> str:
        return f"{len(self)} stream{'' if len(self) == 1 else 's'}"

    def _repr_html_(self) -> str:
        """A table of the streams, for notebooks."""
        from lamina.btrdb.display import streamset_html

        return streamset_html(self)


class StreamSet(StreamSetBase, StreamSetTransformer):
    """Streams read together, and as NumPy, Arrow, pandas, polars, dicts and CSV."""


_EVERY_ROW = 1 << 62


def _has(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether all entries are there; values may be lists and dicts."""
    return all(key in held and held[key] == value for key, value in wanted.items())


def _matches(what: str, wanted: Any, text: str) -> bool:
    if isinstance(wanted, re.Pattern):
        return wanted.search(text) is not None
    if isinstance(wanted, str):
        return text.lower() == wanted.lower()
    raise BTRDBTypeError(f"{what} must be string or compiled regex, is {wanted!r}")
