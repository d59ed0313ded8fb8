from __future__ import annotations

from collections.abc import Iterator

import pytest

from lamina.faces.reduct.tests.asgi import Client


@pytest.fixture
def client() -> Iterator[Client]:
    """A face without authentication over an empty database."""
    client = Client()
    yield client
    client.close()


@pytest.fixture
def guarded() -> Iterator[Client]:
    """A face with authentication; the client holds a token with full access."""
    client = Client(tokens=True)
    assert client.tokens is not None
    client.token = client.tokens.create("admin", {"full_access": True})
    yield client
    client.close()
