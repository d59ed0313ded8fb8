"""What can be asked of points: of one measurement, of all, now or as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.engine.points.pointset import OrderBy, Part, PointSet
from lamina.engine.points.times import bound_us
from lamina.errors import InvalidArgument, InvalidWidth
from lamina.points import search
from lamina.points.batch import MAX_TIME_US, MIN_TIME_US, Batch
from lamina.points.point import Point
from lamina.points.queries import in_zone, is_query
from lamina.points.search import Selection
from lamina.points.state import MeasurementState
from lamina.time import TimeLike, WidthLike, to_interval_ns

if TYPE_CHECKING:
    from lamina.engine.points.store import PointStore
    from lamina.points.queries import Query
    from lamina.points.windowtable import WindowTable


class Source(NamedTuple):
    """A measurement as it is read."""

    name: str
    state: MeasurementState


class Reading:
    """Base of the handles. Subclasses say what is read: `_sources` gives states of one moment and the seq they are
    read as of."""

    _store: PointStore

    def _sources(self) -> tuple[list[Source], int]:
        raise NotImplementedError

    @contextmanager
    def _reader(self) -> Iterator[tuple[list[Source], int]]:
        """States, whose files stay while this is open."""
        lease = self._store.readers.leases.take()
        try:
            yield self._sources()
        finally:
            self._store.readers.leases.give_back(lease)

    # -- points ----------------------------------------------------------------------------------------------------

    def search(
        self,
        query: Query | None = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        order: OrderBy = "time",
        limit: int | None = None,
    ) -> PointSet:
        """Points for which `query(point)` is true (None: all), with start <= time < end.

        `order`: by "time" (equal times in the order of insertion) or of "insertion"; `limit`: at most so many of the
        first. What the query needs is read now, the points when the result is looked at; both are as of this call.
        Sections whose times, tags or fields rule the query out are not read. Raises InvalidArgument, Corrupt, Closed,
        and what a function in the query raises.
        """
        check_extent(order, limit)
        query, first, last = asked(query, start, end)
        leases = self._store.readers.leases
        lease = leases.take()
        try:
            sources, seq = self._sources()
            parts = [Part(source.name, self._select(source, seq, query, first, last)) for source in sources]
        except BaseException:
            leases.give_back(lease)
            raise
        return PointSet([part for part in parts if part.found.n], order, limit, lambda: leases.give_back(lease))

    def _select(
        self, source: Source, seq: int, query: Query | None, start_us: int | None, end_us: int | None
    ) -> Selection:
        return search.select(source.state, seq, self._store.open_section, source.name, query, start_us, end_us)

    def get(self, query: Query | None = None) -> Point | None:
        """The point that was inserted first among those for which the query is true; None: there is none."""
        found = self.search(query, order="insertion", limit=1)
        return found[0] if len(found) else None

    def count(self, query: Query | None = None, start: TimeLike | None = None, end: TimeLike | None = None) -> int:
        """How many points `search` would find. Without arguments nothing is read. Raises as `search`."""
        query, first, last = asked(query, start, end)
        with self._reader() as (sources, seq):
            self._store.check_settled([source.state for source in sources])
            return sum(
                search.count(source.state, seq, self._store.open_section, source.name, query, first, last)
                for source in sources
            )

    def contains(self, query: Query | None = None) -> bool:
        """Whether there is a point for which the query is true."""
        return self.count(query) > 0

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Point]:
        """All points in the order of insertion, as they are now."""
        return iter(self.search(order="insertion"))

    def select(self, keys: str | Sequence[str], query: Query | None = None) -> list[Any]:
        """Values of some parts of the points for which the query is true, in the order of insertion: "time",
        "measurement", "tags.KEY" or "fields.KEY"; None where a point lacks the key. With one key given as a str a list
        of values, else of tuples. Raises InvalidArgument for another key."""
        readers = [_part_of(key) for key in keys_of(keys, "keys")]
        points = self.search(query, order="insertion")
        if isinstance(keys, str):
            return [readers[0](point) for point in points]
        return [tuple(read(point) for read in readers) for point in points]

    # -- statistics ------------------------------------------------------------------------------------------------

    def windows(
        self,
        field: str,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        width: WidthLike = "1h",
        by: str | Sequence[str] | None = None,
    ) -> WindowTable:
        """Count, min, mean, max and stddev of a numeric field per window of time, [k * width, (k + 1) * width) since
        the epoch; windows without values are left out. `start` and `end` cut the first and the last window.

        Values that are no numbers (None, text, bools, NaN) do not count. `by`: tag keys; then a row per window and
        combination of their values. Without `by`, statistics kept in the sections settle all but what windows cut: a
        thousand windows over everything read some per cent of the column. Raises InvalidArgument, InvalidWidth,
        Corrupt.
        """
        from lamina.points.windows import windows

        width_us, rest = divmod(to_interval_ns(width), 1000)
        if rest or width_us <= 0:
            raise InvalidArgument(f"width {width!r}: expected a positive number of whole microseconds")
        if width_us > _MAX_WIDTH_US:
            raise InvalidWidth(f"width {width!r}: expected up to {_MAX_WIDTH_US} µs, all the time there is")
        check_key(field, "field")
        keys = () if by is None else keys_of(by, "by")
        _, first, last = asked(None, start, end)
        with self._reader() as (sources, seq):
            return windows(
                [source.state for source in sources], seq, self._store.open_section, field, first, last, width_us, keys
            )

    # -- what there is ---------------------------------------------------------------------------------------------

    def tag_keys(self) -> list[str]:
        """Tag keys of all points, in alphabetical order."""
        return sorted({key for frame in self._frames() for tags in frame.tagsets for key, _ in tags})

    def field_keys(self) -> list[str]:
        """Field keys of all points, in alphabetical order."""
        return sorted({key for frame in self._frames() for keys in frame.orders for key in keys})

    def tag_values(self, keys: str | Sequence[str] | None = None) -> dict[str, list[str | None]]:
        """Tag key -> its distinct values, None first; of all keys, or of these (those that no point has: empty)."""
        wanted = None if keys is None else set(keys_of(keys, "keys"))
        found: dict[str, set[str | None]] = {} if wanted is None else {key: set() for key in sorted(wanted)}
        for frame in self._frames():
            for tags in frame.tagsets:
                for key, value in tags:
                    if wanted is None or key in wanted:
                        found.setdefault(key, set()).add(value)
        return {
            key: sorted(values, key=lambda value: (value is not None, value or ""))
            for key, values in sorted(found.items())
        }

    def field_values(self, key: str) -> list[Any]:
        """Values of a field in the order of insertion, of the points that have it."""
        check_key(key, "key")
        column = self.search(order="insertion").field(key)
        return [value for value in column.list(_ABSENT) if value is not _ABSENT]

    def latest_time(self) -> int | None:
        """The greatest time of all points, µs since the epoch; None: there are none. Reads the times of a section or
        two."""
        with self._reader() as (sources, seq):
            found = [search.latest_time(source.state, seq, self._store.open_section) for source in sources]
        return max((time for time in found if time is not None), default=None)

    def timestamps(self) -> list[int]:
        """Times of all points in the order of insertion, µs since the epoch."""
        times: list[int] = self.search(order="insertion").times().tolist()
        return times

    def _frames(self) -> Iterator[Batch]:
        """Points without fields, and without tag sets and orders that none of them has."""
        with self._reader() as (sources, seq):
            for source in sources:
                yield self._select(source, seq, None, None, None).frames().compact()


_ABSENT = object()

_MAX_WIDTH_US = MAX_TIME_US - MIN_TIME_US + 1


def check_key(key: Any, what: str) -> str:
    """The key. Raises InvalidArgument."""
    if not isinstance(key, str):
        raise InvalidArgument(f"{what} {key!r}: expected a str")
    return key


def keys_of(given: str | Sequence[str], what: str) -> tuple[str, ...]:
    """One key, or several. Raises InvalidArgument."""
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable):
        raise InvalidArgument(f"{what} {given!r}: expected a str or several")
    return tuple(check_key(key, what) for key in given)


def asked(
    query: Query | None, start: TimeLike | None, end: TimeLike | None
) -> tuple[Query | None, int | None, int | None]:
    """The arguments of a question, checked; naive times in the query are UTC. Raises InvalidArgument."""
    import datetime as dt

    if query is not None:
        if not is_query(query):
            raise InvalidArgument(f"query {query!r}: expected a query such as TagQuery().city == 'Rome', or None")
        query = in_zone(query, lambda _: dt.timedelta(0))
    first = None if start is None else bound_us(start)
    last = None if end is None else bound_us(end)
    return query, first, last


def check_extent(order: str, limit: int | None) -> None:
    """Raises InvalidArgument."""
    if order not in ("time", "insertion"):
        raise InvalidArgument(f"order {order!r}: expected 'time' or 'insertion'")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidArgument(f"limit {limit!r}: expected None or an int from 0")


def _part_of(key: str) -> Callable[[Point], Any]:
    if key == "time":
        return lambda point: point.time
    if key == "measurement":
        return lambda point: point.measurement
    kind, dot, name = key.partition(".")
    if dot and kind == "tags":
        return lambda point: point.tags.get(name)
    if dot and kind == "fields":
        return lambda point: point.fields.get(name)
    raise InvalidArgument(f"key {key!r}: expected 'time', 'measurement', 'tags.KEY' or 'fields.KEY'")
