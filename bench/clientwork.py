"""One piece of work through one client, as a process of its own:
`python -m bench.clientwork reduct|lamina URL|PATH single|batch|read ENTRY SIZE RECORDS` prints records per second by
the clock and CPU seconds of this process per record."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from typing import Any

BATCH_RECORDS, BATCH_BYTES = 80, 8_000_000
LABELS = {"robot": "alpha", "mode": "auto"}
UNDER_WAY = 16
"""Single writes at a time, as a program has them that writes as things happen."""


async def single(_: Any, bucket: Any, entry: str, size: int, count: int) -> None:
    content = bytes(size)
    times = iter(range(1_000_000, 1_000_000 + count))

    async def write() -> None:
        for time_us in times:
            await bucket.write(entry, content, time_us, labels=LABELS)

    await asyncio.gather(*(write() for _ in range(UNDER_WAY)))


async def batch(package: Any, bucket: Any, entry: str, size: int, count: int) -> None:
    content = bytes(size)
    records = package.Batch()
    for i in range(count):
        records.add(1_000_000 + i, content, labels=LABELS)
        if len(records) >= BATCH_RECORDS or records.size + size > BATCH_BYTES or i == count - 1:
            errors = await bucket.write_batch(entry, records)
            if errors:
                raise RuntimeError(f"{errors}")
            records.clear()


async def read(_: Any, bucket: Any, entry: str, size: int, count: int) -> None:
    found = 0
    async for record in bucket.query(entry):
        found += len(await record.read_all()) == size
    if found != count:
        raise RuntimeError(f"{found} records read, {count} written")


def client(name: str, where: str) -> tuple[Any, Any]:
    """A package and its client; a directory acknowledges as the benchmark's server does."""
    if name == "reduct":
        package = importlib.import_module("reduct")
        return package, package.Client(where)
    package = importlib.import_module("lamina.reduct")
    if "://" in where:
        return package, package.Client(where)
    from lamina import Settings

    return package, package.Client(where, settings=Settings(durability="os"))


async def measure(name: str, where: str, what: str, entry: str, size: int, count: int) -> tuple[float, float]:
    package, made = client(name, where)
    async with made as connected:
        bucket = await connected.create_bucket("bench", exist_ok=True)
        began, spent = time.perf_counter(), time.process_time()
        await {"single": single, "batch": batch, "read": read}[what](package, bucket, entry, size, count)
        return count / (time.perf_counter() - began), (time.process_time() - spent) / count


if __name__ == "__main__":
    print(*asyncio.run(measure(*sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6]))))  # type: ignore[arg-type]
