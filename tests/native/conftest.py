from __future__ import annotations

import numpy as np
import pytest

import lamina
from tests.native.served import served

SECOND = 1_000_000_000
T0 = 1_500_000_000 * SECOND
SMALL = lamina.Settings(leaf_points=16, node_rows=4, flush_points=64, bulk_points=200, background=False)


@pytest.fixture(params=["directory", "memory", "server"])
def db(request, tmp_path):
    """The native API three times: on a directory, in memory, and on a server."""
    if request.param == "server":
        with served(":memory:", settings=SMALL) as server, lamina.connect(server.url) as database:
            yield database
        return
    path = ":memory:" if request.param == "memory" else tmp_path / "db"
    with lamina.open(path, settings=SMALL) as database:
        yield database


@pytest.fixture
def stream(db):
    return db.streams.create("plant/pump-3", "vibration", unit="g")


@pytest.fixture
def bucket(db):
    return db.buckets.create("b")


@pytest.fixture
def entry(bucket):
    return bucket.entry("e")


def columns(n, start=0, step=SECOND):
    times = T0 + (start + np.arange(n)) * step
    return times, np.arange(start, start + n, dtype=float)
