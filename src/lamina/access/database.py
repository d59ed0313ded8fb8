"""What tokens need of an open database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lamina.catalog.catalog import Catalog, CatalogSnapshot
from lamina.engine.metadata import Change
from lamina.random import Random
from lamina.time import Clock


class Metadata(Protocol):
    def change(self, decide: Callable[[CatalogSnapshot], Change]) -> object: ...


class Database(Protocol):
    @property
    def catalog(self) -> Catalog: ...

    @property
    def metadata(self) -> Metadata: ...

    @property
    def random(self) -> Random: ...

    @property
    def clock(self) -> Clock: ...
