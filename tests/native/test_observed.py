"""What a server tells of the calls of this API: audit and usage are made from it."""

from __future__ import annotations

import pytest

import lamina
from lamina import NewRecord, errors
from tests.native.served import served


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.moved: list[tuple[str, str, str, int, int]] = []

    def call(self, token_name, method, path, client_ip, status, message, duration_us):
        assert (method, client_ip) in (("POST", "127.0.0.1"), ("GET", "127.0.0.1"))
        assert duration_us >= 0
        self.calls.append((token_name, path.removeprefix("/api/lamina/v1/"), status))
        assert bool(message) == (status >= 400)

    def wrote(self, *what):
        self.moved.append(("wrote", *what))

    def read(self, *what):
        self.moved.append(("read", *what))


def test_every_call_is_heard_of_and_every_record_counted():
    with served(":memory:", tokens=True) as server:
        heard = server.face.observer = Heard()
        value = server.tokens.create("me", {"full_access": True})
        with pytest.raises(errors.Unauthenticated):
            lamina.connect(server.url, "me-wrong")
        with lamina.connect(server.url, value) as db:
            entry = db.buckets.create("b").entry("e")
            entry.write(b"12345", 1)
            entry.write_many([NewRecord(1, b"x"), NewRecord(2, b"yz")])
            assert [record.read() for record in entry.query()] == [b"12345", b"yz"]
            with pytest.raises(errors.NotFound):
                entry.read(7)
    assert heard.calls[:4] == [("unauthorized", "", 401), ("me", "", 200), ("me", "buckets/create", 200),
                               ("me", "entry/write", 200)]  # fmt: skip
    assert heard.calls[-1] == ("me", "entry/read", 404)
    assert heard.moved[:2] == [("wrote", "b", "e", 1, 5), ("wrote", "b", "e", 1, 2)]
    read = [what for what in heard.moved if what[0] == "read"]
    assert (sum(what[3] for what in read), sum(what[4] for what in read)) == (2, 7)
