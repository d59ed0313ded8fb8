"""A drop-in for TinyFlux: change the import line, keep program and files.

    from lamina.tinyflux import Point, TagQuery, TinyFlux

    with TinyFlux("weather.csv") as db:
        db.insert(Point(tags={"city": "LA"}, fields={"temp": 21.5}))
        db.search(TagQuery().city == "LA")

Same names, same CSV byte for byte, same answers where the original (1.2.0) is right, right answers where it is not;
docs/tinyflux.md lists the differences. `TinyFlux("data", storage=LaminaStorage)` keeps the points in a Lamina directory
instead. Importing this loads neither NumPy nor the engine.
"""

from typing import TYPE_CHECKING, Any

from lamina.tinyflux.database import TinyFlux
from lamina.tinyflux.point import Point
from lamina.tinyflux.queries import FieldQuery, MeasurementQuery, TagQuery, TimeQuery
from lamina.tinyflux.storages import CSVStorage, MemoryStorage, Storage

if TYPE_CHECKING:
    # Not in __all__: `import *` loads no engine.
    from lamina.tinyflux.laminastorage import LaminaStorage as LaminaStorage

__all__ = [
    "CSVStorage",
    "FieldQuery",
    "MeasurementQuery",
    "MemoryStorage",
    "Point",
    "Storage",
    "TagQuery",
    "TimeQuery",
    "TinyFlux",
]


def __getattr__(name: str) -> Any:
    """`LaminaStorage`, which loads the engine, when it is first asked for."""
    if name == "LaminaStorage":
        from lamina.tinyflux.laminastorage import LaminaStorage

        return LaminaStorage
    raise AttributeError(f"module 'lamina.tinyflux' has no attribute {name!r}")
