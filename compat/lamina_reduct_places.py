"""Where tests of `lamina.reduct` go, a directory or a server, and what many of them do there."""

import asyncio
import contextlib
from uuid import uuid4

import pytest
from compat.reductserver import API_TOKEN

import lamina
from lamina.access import bootstrap
from lamina.reduct import Batch, Client, ReductError

MODES = ["directory", "server"]


@pytest.fixture(params=MODES)
def url(request, tmp_path):
    """Where clients go; no token is asked for."""
    return request.getfixturevalue("reduct").url if request.param == "server" else str(tmp_path / "data")


@pytest.fixture(params=MODES)
def guarded(request, tmp_path):
    """Where clients go that need API_TOKEN, or one made with it."""
    if request.param == "server":
        return request.getfixturevalue("secured").url
    return guarded_directory(tmp_path)


def guarded_directory(tmp_path):
    with lamina.open(tmp_path / "guarded") as db:
        bootstrap(db, API_TOKEN)
    return str(tmp_path / "guarded")


@contextlib.asynccontextmanager
async def own_bucket(url, **options):
    async with Client(url, **options) as client:
        yield await client.create_bucket(f"own-{uuid4().hex[:12]}")


def with_bucket(test):
    """A test that is given a bucket of its own, on a loop of its own."""

    def run(url):
        async def main():
            async with own_bucket(url) as bucket:
                await test(bucket)

        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def fails(call, error=ReductError):
    with pytest.raises(error) as caught:
        await call
    return (caught.value.status_code, caught.value.message) if error is ReductError else str(caught.value)


async def times(records):
    return [record.timestamp async for record in records]


async def ten(bucket):
    """Records at 10, 20, ..., 100 with label n = 1 ... 10, parity, content the same as n."""
    batch = Batch()
    for n in range(1, 11):
        batch.add(n * 10, b"%d" % n, labels={"n": n, "parity": "even" if n % 2 == 0 else "odd"})
    assert await bucket.write_batch("x", batch) == {}
