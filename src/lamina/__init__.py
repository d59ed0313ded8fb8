"""Lamina: a time-series database for everything a machine emits, in one directory.

    import lamina

    with lamina.open("data") as db:
        s = db.streams.create("plant/pump-3", "vibration", unit="g")
        s.insert(times, values)                          # int64 ns and float64 arrays -> version
        s.windows(start, end, width="1s").to_pandas()    # statistics at any zoom
        s.values(start, end, version=11)                 # any version, as it was

        camera = db.buckets.create("plant").entry("camera-1")
        camera.write(image, time, labels={"ok": False})  # a record: a blob of any size, with labels
        camera.query(start, end, when={"&ok": {"$eq": False}})   # by time and condition

        weather = db.measurements["weather"]
        weather.insert(Point(tags={"city": "Rome"}, fields={"celsius": 31.5}))   # points: tags and fields
        weather.search(TagQuery().city == "Rome", start, end)

    lamina.connect("http://127.0.0.1:8383", token=...)   # the same against a server
    await lamina.aio.open("data")                        # the same for asyncio

`open` gives a `Database`; `db.streams` its streams, `db.buckets` its records, `db.measurements` its points. Errors are
the tree in `lamina.errors`. Names are loaded on first use: `import lamina` itself costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.version import __version__

if TYPE_CHECKING:
    from lamina import aio as aio
    from lamina.columns import Ranges, Samples, Summaries
    from lamina.engine.database import Database
    from lamina.engine.open import open_database as open
    from lamina.engine.points.measurement import Measurement
    from lamina.engine.points.pointset import PointSet
    from lamina.engine.records.arguments import NewRecord
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry import Entry
    from lamina.engine.records.record import Record
    from lamina.engine.records.recordbatch import RecordBatch
    from lamina.engine.records.selection import Selection
    from lamina.engine.snapshot import Snapshot
    from lamina.engine.stream import Stream
    from lamina.engine.view import StreamView
    from lamina.errors import LaminaError
    from lamina.points.point import Point
    from lamina.points.queries import FieldQuery, MeasurementQuery, TagQuery, TimeQuery
    from lamina.remote.connect import connect
    from lamina.settings import Settings

_HOME = {
    "Bucket": "lamina.engine.records.bucket",
    "Database": "lamina.engine.database",
    "Entry": "lamina.engine.records.entry",
    "FieldQuery": "lamina.points.queries",
    "LaminaError": "lamina.errors",
    "Measurement": "lamina.engine.points.measurement",
    "MeasurementQuery": "lamina.points.queries",
    "NewRecord": "lamina.engine.records.arguments",
    "Point": "lamina.points.point",
    "PointSet": "lamina.engine.points.pointset",
    "Ranges": "lamina.columns",
    "Record": "lamina.engine.records.record",
    "RecordBatch": "lamina.engine.records.recordbatch",
    "Selection": "lamina.engine.records.selection",
    "Samples": "lamina.columns",
    "Settings": "lamina.settings",
    "Snapshot": "lamina.engine.snapshot",
    "Stream": "lamina.engine.stream",
    "StreamView": "lamina.engine.view",
    "Summaries": "lamina.columns",
    "TagQuery": "lamina.points.queries",
    "TimeQuery": "lamina.points.queries",
    "connect": "lamina.remote.connect",
    "open": "lamina.engine.open",
}

__all__ = [
    "Bucket",
    "Database",
    "Entry",
    "FieldQuery",
    "LaminaError",
    "Measurement",
    "MeasurementQuery",
    "NewRecord",
    "Point",
    "PointSet",
    "Ranges",
    "Record",
    "RecordBatch",
    "Samples",
    "Selection",
    "Settings",
    "Snapshot",
    "Stream",
    "StreamView",
    "Summaries",
    "TagQuery",
    "TimeQuery",
    "__version__",
    "connect",
    "open",
]


def __getattr__(name: str) -> Any:
    """Names of the public API, imported when they are first asked for (PEP 562)."""
    from importlib import import_module

    if name == "aio":
        return import_module("lamina.aio")
    if name not in _HOME:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), "open_database" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
