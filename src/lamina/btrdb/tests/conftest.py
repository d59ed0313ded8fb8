"""One database reached both ways: past a server, in its process, and through it."""

from __future__ import annotations

from uuid import uuid4

import pytest

import lamina
from lamina import btrdb
from lamina.faces.btrdb.server import build_server


@pytest.fixture(scope="session")
def db():
    with lamina.open(":memory:") as database:
        yield database


@pytest.fixture(scope="session")
def address(db):
    server = build_server(db)
    port = server.add_port("127.0.0.1", 0)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait(10)


@pytest.fixture(params=["directory", "server"])
def conn(request, db, address):
    with btrdb.connect(db if request.param == "directory" else address) as connected:
        yield connected


@pytest.fixture
def both(db, address):
    """A connection of each kind, to the same database."""
    with btrdb.connect(db) as embedded, btrdb.connect(address) as remote:
        yield embedded, remote


@pytest.fixture
def stream(conn):
    return conn.create(uuid4(), f"test/{uuid4().hex}", {"name": "x", "unit": "V"})
