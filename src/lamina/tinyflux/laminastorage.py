"""`LaminaStorage`: points of a Lamina directory instead of a CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Union

from lamina.engine.database import Database
from lamina.engine.shared import SharedDatabase, open_shared
from lamina.points.point import Point as AnyPoint
from lamina.tinyflux.point import Point
from lamina.tinyflux.storages import Storage

if TYPE_CHECKING:
    from lamina.engine.points.measurements import Measurements
    from lamina.settings import Settings

Directory = Union[str, "os.PathLike[str]", Database]


class LaminaStorage(Storage):
    """Points of a Lamina directory: `TinyFlux("data", storage=LaminaStorage)`.

    `directory`: a path, made if missing, ":memory:", or an open `lamina.Database`, which stays open when this is
    closed. Several of one process may name one directory. A point is stored as it is: ints stay ints, and text and
    bools are fields like others if they come in a `lamina.Point`. Every call is durable when it returns, and is done
    whole or not at all. Raises Locked (another process has the directory), and what else `lamina.open` raises.
    """

    point_type = AnyPoint
    makes_points = True

    def __init__(self, directory: Directory, *, settings: Settings | None = None) -> None:
        super().__init__()
        if isinstance(directory, Database):
            self._database: Database | SharedDatabase = directory
        else:
            try:
                self._database = open_shared(directory, settings=settings)
            except NotADirectoryError as error:
                error.add_note("the points of a CSV file get into a directory by `lamina import tinyflux FILE DIR`")
                raise
        self._temporary: list[AnyPoint] | None = None
        self._initially_empty = not self.measurements.count()

    @property
    def database(self) -> Database:
        """The open database. Raises Closed after `close`."""
        held = self._database
        return held if isinstance(held, Database) else held.database

    @property
    def measurements(self) -> Measurements:
        """The points by the native API."""
        return self.database.measurements

    def __iter__(self) -> Iterator[Point]:
        """Points in the order of insertion, as they are when the walk begins."""
        found = self.measurements.search(order="insertion")
        return found.each(Point)

    def __len__(self) -> int:
        return self.measurements.count()

    def append(self, items: list[Any], temporary: bool = False) -> None:
        """Points added at the end, all or none. OSError: no temporary storage."""
        if not temporary:
            self.measurements.insert(items)
        elif self._temporary is None:
            raise OSError("there is no temporary storage: call _init_temp_storage first")
        else:
            self._temporary += items

    def read(self) -> list[Point]:
        """All points, in the order of insertion."""
        return super().read()

    def reset(self) -> None:
        """Removes everything."""
        self.measurements.clear()

    def close(self) -> None:
        """Gives the directory back; a database that was handed in stays open."""
        if isinstance(self._database, SharedDatabase):
            self._database.close()

    def _write(self, items: list[Any]) -> None:
        self.measurements.replace_all(items)

    def _init_temp_storage(self) -> None:
        self._temporary = []

    def _cleanup_temp_storage(self) -> None:
        self._temporary = None

    def _swap_temp_with_primary(self) -> None:
        if self._temporary is not None:
            self._write(self._temporary)

    def _deserialize_measurement(self, item: AnyPoint) -> str:
        return item.measurement

    def _deserialize_timestamp(self, item: AnyPoint) -> datetime:
        if item.time is None:
            raise ValueError("the point has no time")
        return item.time

    def _deserialize_storage_item(self, item: Any) -> Any:
        return item

    def _serialize_point(self, point: Any, *args: Any, **kwargs: Any) -> Any:
        return point
