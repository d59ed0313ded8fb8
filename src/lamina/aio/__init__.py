"""The native API for asyncio: `await lamina.aio.open("data")`, `await lamina.aio.connect(url)`.

Every object is the twin of one of the native API, every method of which is awaited here, every iterator iterated with
`async for`, every property that costs a look-up awaited, too. The work is done by the native object on a thread, so
that the loop never waits for a disk or a server; what it means is written there alone (`twin`).

    async with await lamina.aio.connect("http://127.0.0.1:8383") as db:
        stream = await db.streams["plant/pump-3", "vibration"]
        await stream.insert(times, values)
        async for chunk in stream.iter_values():
            ...

Where a name of Python's own cannot be awaited: `await streams.length()` for `len(streams)`, `await buckets.has(name)`
for `name in buckets`. The stub beside this file has every signature.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lamina.aio.twin import (
    Bucket,
    Buckets,
    BucketView,
    Database,
    Entry,
    EntryView,
    Measurement,
    Measurements,
    MeasurementView,
    Record,
    Selection,
    Snapshot,
    Stream,
    Streams,
    StreamView,
    Subscription,
    Threads,
)

__all__ = [
    "Bucket",
    "BucketView",
    "Buckets",
    "Database",
    "Entry",
    "EntryView",
    "Measurement",
    "Measurements",
    "MeasurementView",
    "Record",
    "Selection",
    "Snapshot",
    "Stream",
    "StreamView",
    "Streams",
    "Subscription",
    "connect",
    "open",
]

THREADS = 64
"""Calls at a time of one database; the others wait. A thread is made when it is needed."""


async def open(path: Any, **options: Any) -> Database:
    """As `lamina.open`; close what comes back, or use `async with`."""
    from lamina.engine.open import open_database

    return await _opened(open_database, path, options)


async def connect(url: str, token: str | None = None, **options: Any) -> Database:
    """As `lamina.connect`."""
    from lamina.remote.connect import connect

    return await _opened(connect, url, {"token": token, **options})


async def _opened(function: Any, place: Any, options: dict[str, Any]) -> Database:
    threads = Threads(ThreadPoolExecutor(THREADS, "lamina-aio"))
    try:
        native = await threads.run(function, place, **options)
    except BaseException:
        threads.close()
        raise
    return Database(native, threads)
