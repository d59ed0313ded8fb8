"""A database of three dicts, for the tests of tokens."""

from __future__ import annotations

import hashlib
import threading

import pytest

from lamina.catalog.rows import SettingRow, TokenRow


class FakeDatabase:
    """Catalog, metadata, clock and random of a database, as far as tokens need them."""

    def __init__(self):
        self.rows = {}
        self.wall = 1_700_000_000_000_000
        self.now = 0
        self.drawn = 0
        self.reads = 0
        self.settings = {}
        self.commits = 0
        self.broken = None
        self.lane = threading.Lock()
        self.catalog = self.metadata = self.random = self.clock = self

    def snapshot(self):
        self.reads += 1
        return self

    def setting(self, name):
        return self.settings.get(name)

    def token(self, name):
        return self.rows.get(name)

    def tokens(self):
        return iter(list(self.rows.values()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def change(self, decide):
        with self.lane:
            if self.broken is not None:
                raise self.broken
            change = decide(self)
            self.commits += bool(change.puts or change.deletes)
            for table, key in change.deletes:
                assert table == "token"
                del self.rows[key]
            for row in change.puts:
                held = {TokenRow: self.rows, SettingRow: self.settings}[type(row)]
                held[row.name] = row

    def wall_us(self):
        return self.wall

    def monotonic_ns(self):
        return self.now

    def token_bytes(self, n):
        self.drawn += 1
        return self.drawn.to_bytes(n, "big")


@pytest.fixture
def db():
    return FakeDatabase()


@pytest.fixture
def stretched(monkeypatch):
    """Counts the scrypt hashes, and makes them cheap."""
    calls = []
    real = hashlib.scrypt

    def scrypt(secret, **options):
        assert (options["n"], options["r"], options["p"]) == (1 << 14, 8, 1)
        calls.append(secret)
        return real(secret, **{**options, "n": 2})

    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    return calls
