"""Every way a database finds its points: lists, columns, and the methods of a storage somebody else wrote."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.tinyflux import CSVStorage, LaminaStorage, MemoryStorage, TinyFlux, stores


class TheirCSV(CSVStorage):
    """A subclass that overrides something is served through its methods alone."""

    def append(self, items: Any, temporary: bool = False) -> None:
        super().append(items, temporary)


class TheirMemory(MemoryStorage):
    def append(self, items: Any, temporary: bool = False) -> None:
        super().append(items, temporary)


class TheirLamina(LaminaStorage):
    def append(self, items: Any, temporary: bool = False) -> None:
        super().append(items, temporary)


WAYS = {
    "csv list": (CSVStorage, 10**9),
    "csv columns": (CSVStorage, 0),
    "csv by methods": (TheirCSV, 10**9),
    "memory list": (MemoryStorage, 10**9),
    "memory columns": (MemoryStorage, 0),
    "memory by methods": (TheirMemory, 10**9),
    "directory": (LaminaStorage, 10**9),
    "directory by methods": (TheirLamina, 10**9),
}


@pytest.fixture(params=WAYS)
def new_db(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., TinyFlux]]:
    """Makes an empty database, one for each way."""
    storage, large = WAYS[request.param]
    monkeypatch.setattr(stores, "LARGE", large)
    # So that small files, too, go through what was made for large ones.
    monkeypatch.setattr(stores, "_MANY", 0)
    made: list[TinyFlux] = []

    def make(**kwargs: Any) -> TinyFlux:
        args = (tmp_path / f"{len(made)}.csv",) if issubclass(storage, CSVStorage) else ()
        if issubclass(storage, LaminaStorage):
            args = (":memory:",)
        made.append(TinyFlux(*args, storage=storage, **kwargs))
        return made[-1]

    yield make
    for db in made:
        db.close()
