"""All measurements of an open database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lamina.engine.points.measurement import Measurement, Writing

if TYPE_CHECKING:
    from lamina.engine.points.incoming import Given
    from lamina.engine.points.slot import MeasurementSlot
    from lamina.engine.points.store import PointStore
    from lamina.points.batch import Grouped


class Measurements(Writing):
    """`db.measurements`: measurements by name, and questions to all of them at once (`search`, `count`, `update`,
    `remove` and so on, as of `Measurement`). A measurement is there while it has points. Thread-safe."""

    def __init__(self, store: PointStore) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Measurement:
        """A handle, whether there are points or not: it comes into being with the first. Raises InvalidArgument for a
        name that cannot be."""
        from lamina.points.names import check_measurement_name

        check_measurement_name(name)
        return Measurement(self._store, name)

    def list(self) -> list[str]:
        """Names in alphabetical order."""
        self._store.check_open()
        return [slot.name for slot in self._store.all() if slot.state.living]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """Names in alphabetical order."""
        return iter(self.list())

    def __len__(self) -> int:
        """How many measurements there are; `count()` says how many points."""
        return len(self.list())

    def __contains__(self, name: object) -> bool:
        self._store.check_open()
        slot = self._store.find(name) if isinstance(name, str) else None
        return slot is not None and slot.state.living > 0

    def drop(self, name: str) -> int:
        """Remove a measurement with all its points; how many it had. Named snapshots keep what they see."""
        return self[name].clear()

    def insert(self, points: Given, *, tags: Sequence[str] | None = None, time: str | None = None) -> int:
        """Insert points of several measurements, all or none; how many. As `Measurement.insert`, each into the
        measurement it names; of tables the column `measurement` does."""
        from lamina.engine.points import write
        from lamina.engine.points.incoming import groups_of

        return write.insert(self._store, groups_of(points, self._store.clock.wall_us(), tags, time))

    def insert_groups(self, groups: Sequence[Grouped]) -> int:
        """Insert columns that somebody made already, all or none; how many points. Each point's place is where it
        stands among all of the call. Raises InvalidArgument (a name), Unavailable, NoSpace, Closed."""
        from lamina.engine.points import write

        return write.insert(self._store, groups)

    def replace_all(self, points: Given, *, tags: Sequence[str] | None = None, time: str | None = None) -> int:
        """Remove all points there are and insert these, at one moment; how many were inserted. As `insert`."""
        from lamina.engine.points import write
        from lamina.engine.points.incoming import groups_of

        return write.replace_all(self._store, groups_of(points, self._store.clock.wall_us(), tags, time))

    def replace_all_groups(self, groups: Sequence[Grouped]) -> int:
        """As `replace_all`, of columns that somebody made already, as `insert_groups` takes them."""
        from lamina.engine.points import write

        return write.replace_all(self._store, groups)

    def _slots(self) -> list[MeasurementSlot]:  # type: ignore[valid-type]  # `list` is a method here
        self._store.check_open()
        return self._store.all()

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<lamina.Measurements of {self._store.database_id.hex()[:8]}>"
