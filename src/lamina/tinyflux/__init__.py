"""A drop-in for TinyFlux: change the import line, keep program and files.

    from lamina.tinyflux import Point, TagQuery, TinyFlux

    with TinyFlux("weather.csv") as db:
        db.insert(Point(tags={"city": "LA"}, fields={"temp": 21.5}))
        db.search(TagQuery().city == "LA")

Same names, same CSV byte for byte, same answers where the original (1.2.0) is right, right answers where it is not;
docs/tinyflux.md lists the differences. Importing this loads neither NumPy nor the engine.
"""

from lamina.tinyflux.database import TinyFlux
from lamina.tinyflux.point import Point
from lamina.tinyflux.queries import FieldQuery, MeasurementQuery, TagQuery, TimeQuery
from lamina.tinyflux.storages import CSVStorage, MemoryStorage, Storage

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
