"""One measurement of an open database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.engine.points import changes, write
from lamina.engine.points.changes import Asked
from lamina.engine.points.incoming import batch_of
from lamina.engine.points.reading import Reading, Source, asked
from lamina.points.batch import Grouped
from lamina.points.point import Point
from lamina.time import TimeLike

if TYPE_CHECKING:
    from lamina.engine.points.incoming import Given
    from lamina.engine.points.slot import MeasurementSlot
    from lamina.engine.points.store import PointStore
    from lamina.points.queries import Query


class Writing(Reading):
    """What changes points of one measurement, or of all. Subclasses say which: `_slots`."""

    def _slots(self) -> list[MeasurementSlot]:
        raise NotImplementedError

    def _sources(self) -> tuple[list[Source], int]:
        slots = self._slots()
        states, seq = self._store.states(slots)
        return [Source(slot.name, state) for slot, state in zip(slots, states, strict=True)], seq

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
        """Change the points for which the query is true (None: all); how many are another than before.

        Each argument is a new value or a function from the old value to the new one: `time` a datetime (naive: UTC),
        `measurement` a name, `tags` and `fields` mappings that are merged into the old ones. `unset_tags` and
        `unset_fields` name keys that go. Points keep their place in the order of insertion, also where they move to
        another measurement. All change at once or none does, in all measurements that are asked.

        Raises InvalidArgument for what a point cannot hold, ValueError for what a function returned, and what a
        function raises; Corrupt, Unavailable, NoSpace. Costs some microseconds a point.
        """
        from lamina.points.updates import Update

        update = Update(time, measurement, tags, fields, unset_fields, unset_tags)
        return self.replace(update.applied, query)

    def replace(self, change: Callable[[Point], Point | None], query: Query | None = None) -> int:
        """Put `change(point)` in the place of each point for which the query is true (None: all), None leaving it as
        it is; how many were replaced. As `update` otherwise. `change` must not write to what it is given, and may
        insert points but not change others."""
        return changes.update(self._store, self._slots(), change, Asked(*asked(query, None, None)))

    def remove(self, query: Query | None = None, start: TimeLike | None = None, end: TimeLike | None = None) -> int:
        """Remove the points for which the query is true (None: all) with start <= time < end; how many. Possible on a
        full disk. Raises as `search`, Unavailable."""
        return changes.remove(self._store, self._slots(), Asked(*asked(query, start, end)))

    def clear(self) -> int:
        """Remove all points; how many, where a damaged section hides it at most so many. Costs the same whatever their
        number, and is possible on a full disk."""
        return changes.remove(self._store, self._slots())


class Measurement(Writing):
    """Made by `db.measurements[name]`; exists for others while it has points. Thread-safe, costs nothing to make."""

    def __init__(self, store: PointStore, name: str) -> None:
        self._store = store
        self.name = name

    def _slots(self) -> list[MeasurementSlot]:
        self._store.check_open()
        slot = self._store.find(self.name)
        return [] if slot is None else [slot]

    def insert(self, points: Given, *, tags: Sequence[str] | None = None, time: str | None = None) -> int:
        """Insert points, all or none; how many. Durable and visible when it returns.

        `points`: a `Point` or an iterable of them (their measurement does not count), a mapping of columns, a pyarrow
        Table or RecordBatch, a pandas or polars DataFrame. Of tables `time` names the column of times (default "time",
        or a DatetimeIndex; timestamps, or int µs), `tags` the columns that are tags; without it text and categorical
        columns are. The others are fields. Null is: no such key. Naive times are UTC, points without a time have the
        time of the call. 65,536 points and more go straight into a segment.

        Raises InvalidArgument for what cannot be stored, naming it; Unavailable, NoSpace, Closed.
        """
        batch = batch_of(points, self._store.clock.wall_us(), tags, time)
        return write.insert(self._store, [Grouped(self.name, batch, np.arange(batch.n))])

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<lamina.Measurement {self.name!r}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import measurement_html

        return measurement_html(self)
