"""Points of a server: one measurement, all of them, and one as it was."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lamina.engine.points.incoming import batch_of, groups_of
from lamina.engine.points.pointset import OrderBy, Part, PointSet
from lamina.engine.points.reading import Reading, asked, check_extent, check_key, keys_of
from lamina.errors import InvalidArgument
from lamina.points.batch import Batch, Grouped, concat
from lamina.points.field import ABSENT, FieldColumn, constant
from lamina.points.masks import choose
from lamina.points.names import check_measurement_name
from lamina.points.point import EPOCH, MICROSECOND, Point
from lamina.points.search import TailColumns
from lamina.points.updates import Update
from lamina.time import SystemClock, TimeLike, WidthLike, to_interval_ns
from lamina.wire import points as wire
from lamina.wire.queries import told, tree_of

if TYPE_CHECKING:
    from lamina.engine.points.incoming import Given
    from lamina.points.queries import Query
    from lamina.points.windowtable import WindowTable
    from lamina.remote.link import Link

FUNCTIONS = "a function is not run by a server: search for the points, and insert or update what it makes of them"


class _Received:
    """Points of one measurement, as a PointSet takes what was found."""

    def __init__(self, batch: Batch, ordinals: NDArray[np.uint64]) -> None:
        self._batch = batch
        self._ordinals = ordinals
        self.n = batch.n

    def ordinals(self) -> NDArray[np.uint64]:
        return self._ordinals

    def times(self) -> NDArray[np.int64]:
        return self._batch.time_us

    def batch(self) -> Batch:
        return self._batch

    def field(self, key: str) -> FieldColumn:
        return self._batch.fields.get(key) or constant(ABSENT, self.n)

    def keep(self, chosen: NDArray[np.bool_]) -> _Received:
        return _Received(self._batch.take(np.flatnonzero(chosen)), self._ordinals[chosen])


class _Asking(Reading):
    """What is asked of a server; the rest of `Reading` follows from it."""

    _link: Link
    _object: str
    _place: dict[str, Any]

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._link.call(f"{self._object}/{method}", **self._place, **arguments)

    def search(
        self,
        query: Query | None = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        order: OrderBy = "time",
        limit: int | None = None,
    ) -> PointSet:
        """As `lamina.Measurement.search`; the points come with the call. Functions and patterns of the query (`test`,
        `map`, `matches`, `search`) are run here: what the rest of it selects comes over the wire, and only that do
        they see."""
        check_extent(order, limit)
        query, first, last = asked(query, start, end)
        sent = None if query is None else told(query)
        rest = None if sent is query else query
        portions = self._call(
            "search",
            query=_tree(sent),
            start=first,
            end=last,
            order=order,
            limit=limit if rest is None else None,
        )
        found: dict[str, list[tuple[Batch, NDArray[np.uint64]]]] = {}
        with closing(portions):
            for portion in portions:
                measurement, batch, ordinals = wire.decode(*portion)
                if rest is not None:
                    batch, ordinals = _chosen(rest, measurement, batch, ordinals)
                if batch.n:
                    found.setdefault(measurement, []).append((batch, ordinals))
        parts = [
            Part(name, _Received(concat([one for one, _ in some]), np.concatenate([other for _, other in some])))  # type: ignore[arg-type]
            for name, some in found.items()
        ]
        return PointSet(parts, order, None if rest is None else limit, lambda: None)

    def count(self, query: Query | None = None, start: TimeLike | None = None, end: TimeLike | None = None) -> int:
        """How many points `search` would find; with functions and patterns by that search."""
        checked, first, last = asked(query, start, end)
        if checked is not None and told(checked) is not checked:
            return len(self.search(query, start, end))
        count: int = self._call("count", query=_tree(checked), start=first, end=last)
        return count

    def windows(
        self,
        field: str,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        width: WidthLike = "1h",
        by: str | Sequence[str] | None = None,
    ) -> WindowTable:
        """Statistics of a numeric field per window of time; see `lamina.Measurement.windows`."""
        _, first, last = asked(None, start, end)
        check_key(field, "field")
        keys = [] if by is None else list(keys_of(by, "by"))
        (portion,) = self._call("windows", field=field, start=first, end=last, width=to_interval_ns(width), by=keys)
        return wire.decode_windows(*portion)

    def tag_keys(self) -> list[str]:
        """Tag keys of all points, in alphabetical order."""
        found: list[str] = self._call("tag_keys")
        return found

    def field_keys(self) -> list[str]:
        """Field keys of all points, in alphabetical order."""
        found: list[str] = self._call("field_keys")
        return found

    def tag_values(self, keys: str | Sequence[str] | None = None) -> dict[str, list[str | None]]:
        """Tag key -> its distinct values, None first; of all keys, or of these."""
        wanted = None if keys is None else list(keys_of(keys, "keys"))
        found: dict[str, list[str | None]] = self._call("tag_values", keys=wanted)
        return found

    def latest_time(self) -> int | None:
        """The greatest time of all points, µs since the epoch; None: there are none."""
        found: int | None = self._call("latest_time")
        return found

    def __bool__(self) -> bool:
        return True


class _Changing(_Asking):
    def update(
        self,
        query: Query | None = None,
        *,
        time: Any = None,
        measurement: Any = None,
        tags: Any = None,
        fields: Any = None,
        unset_tags: str | Iterable[str] | None = None,
        unset_fields: str | Iterable[str] | None = None,
    ) -> int:
        """Change the points for which the query is true (None: all); how many are another than before. As
        `lamina.Measurement.update`, with new values; a function, also in the query, and a pattern are refused
        (InvalidArgument)."""
        if any(callable(value) for value in (time, measurement, tags, fields)):
            raise InvalidArgument(FUNCTIONS)
        checked = Update(time, measurement, tags, fields, unset_fields, unset_tags)
        changed: int = self._call(
            "update",
            query=_asked(query, None, None)["query"],
            time=(checked._utc(time) - EPOCH) // MICROSECOND if time else None,
            measurement=measurement or None,
            tags=dict(tags) if tags else None,
            fields=dict(fields) if fields else None,
            unset_tags=checked._unset_tags,
            unset_fields=checked._unset_fields,
        )
        return changed

    def replace(self, change: Callable[[Point], Point | None], query: Query | None = None) -> NoReturn:
        """Refused: InvalidArgument. A server runs no function."""
        raise InvalidArgument(FUNCTIONS)

    def remove(self, query: Query | None = None, start: TimeLike | None = None, end: TimeLike | None = None) -> int:
        """Remove the points for which the query is true (None: all) with start <= time < end; how many. Functions and
        patterns are refused (InvalidArgument)."""
        removed: int = self._call("remove", **_asked(query, start, end))
        return removed

    def clear(self) -> int:
        """Remove all points; how many."""
        removed: int = self._call("clear")
        return removed


class Measurement(_Changing):
    """One measurement of a server, as `lamina.Measurement`."""

    _object = "measurement"

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._place = {"name": name}
        self.name = name

    def insert(self, points: Given, *, tags: Sequence[str] | None = None, time: str | None = None) -> int:
        """Insert points, all or none; how many. As `lamina.Measurement.insert`; points without a time have that of this
        machine."""
        batch = batch_of(points, SystemClock().wall_us(), tags, time)
        return _send(self._link, "insert", [Grouped(self.name, batch, np.arange(batch.n))])

    def __repr__(self) -> str:
        return f"<lamina.remote.Measurement {self.name!r}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import measurement_html

        return measurement_html(self)


class Measurements(_Changing):
    """`db.measurements` of a server, as that of a directory. What asks all measurements asks those that the token may
    read; what changes all of them needs full access."""

    _object = "measurements"

    def __init__(self, link: Link) -> None:
        self._link = link
        self._place = {}

    def __getitem__(self, name: str) -> Measurement:
        """A handle, whether there are points or not. Raises InvalidArgument for a name that cannot be."""
        return Measurement(self._link, check_measurement_name(name))

    def list(self) -> list[str]:
        """Names in alphabetical order."""
        found: builtins.list[str] = self._call("names")
        return found

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """Names in alphabetical order."""
        return iter(self.list())

    def __len__(self) -> int:
        """How many measurements there are; `count()` says how many points."""
        return len(self.list())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._call("has", name=name))

    def drop(self, name: str) -> int:
        """Remove a measurement with all its points; how many it had."""
        return self[name].clear()

    def insert(self, points: Given, *, tags: Sequence[str] | None = None, time: str | None = None) -> int:
        """Insert points of several measurements, all or none; how many. Each goes into the measurement it names."""
        return self.insert_groups(groups_of(points, SystemClock().wall_us(), tags, time))

    def insert_groups(self, groups: Sequence[Grouped]) -> int:
        """Insert columns that somebody made already, all or none; how many points."""
        return _send(self._link, "insert", groups)

    def replace_all(self, points: Given, *, tags: Sequence[str] | None = None, time: str | None = None) -> int:
        """Remove all points there are and insert these, at one moment; how many were inserted. Full access."""
        return self.replace_all_groups(groups_of(points, SystemClock().wall_us(), tags, time))

    def replace_all_groups(self, groups: Sequence[Grouped]) -> int:
        """As `replace_all`, of columns that somebody made already."""
        return _send(self._link, "replace_all", groups)

    def __repr__(self) -> str:
        return "<lamina.remote.Measurements>"


class MeasurementView(_Asking):
    """Made by `Snapshot.measurement`; answers what a `Measurement` does, as of then."""

    _object = "measurementview"

    def __init__(self, link: Link, check: Callable[[], str], name: str) -> None:
        self._link = link
        self._check = check
        self.name = name

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._link.call(f"measurementview/{method}", snapshot=self._check(), name=self.name, **arguments)

    def __repr__(self) -> str:
        return f"<lamina.remote.MeasurementView {self.name!r}>"


def _chosen(
    query: Query, measurement: str, batch: Batch, ordinals: NDArray[np.uint64]
) -> tuple[Batch, NDArray[np.uint64]]:
    """The points for which the query is true."""
    choice = choose(query, TailColumns(batch, None, measurement))
    if choice is True:
        return batch, ordinals
    rows = np.flatnonzero(np.zeros(batch.n, np.bool_) if choice is False else choice)
    return batch.take(rows), ordinals[rows]


def _asked(query: Query | None, start: TimeLike | None, end: TimeLike | None) -> dict[str, Any]:
    query, first, last = asked(query, start, end)
    return {"query": _tree(query), "start": first, "end": last}


def _tree(query: Query | None) -> list[Any] | None:
    return None if query is None else tree_of(query)


def _send(link: Link, method: str, groups: Sequence[Grouped]) -> int:
    told, parts = wire.encode_groups([group for group in groups if group.batch.n])
    sent: int = link.send(f"measurements/{method}", parts, sum(size for _, _, size in told), groups=told)
    return sent
