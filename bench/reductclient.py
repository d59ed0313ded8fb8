"""The unmodified reduct-py client against a server, as a process of its own:
`python -m bench.reductclient write|read URL ENTRY SIZE RECORDS` prints records per second."""

from __future__ import annotations

import asyncio
import sys
import time

from reduct import Batch, Bucket, Client

BATCH_RECORDS, BATCH_BYTES = 80, 8_000_000


async def write(bucket: Bucket, entry: str, size: int, count: int) -> None:
    content = bytes(size)
    batch = Batch()
    for i in range(count):
        batch.add(1_000_000 + i, content, labels={"robot": "alpha", "mode": "auto"})
        if len(batch) >= BATCH_RECORDS or batch.size + size > BATCH_BYTES or i == count - 1:
            errors = await bucket.write_batch(entry, batch)
            if errors:
                raise RuntimeError(f"{errors}")
            batch.clear()


async def read(bucket: Bucket, entry: str, size: int, count: int) -> None:
    found = 0
    async for record in bucket.query(entry):
        found += len(await record.read_all()) == size
    if found != count:
        raise RuntimeError(f"{found} records read, {count} written")


async def measure(what: str, url: str, entry: str, size: int, count: int) -> float:
    """Records per second by the clock, the connection included."""
    async with Client(url) as client:
        bucket = await client.get_bucket("bench")
        began = time.perf_counter()
        await (write if what == "write" else read)(bucket, entry, size, count)
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    print(asyncio.run(measure(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))))
