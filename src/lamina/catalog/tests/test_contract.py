"""All catalogs under one suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.catalog.catalog import Catalog
from lamina.catalog.memory import MemoryCatalog
from lamina.catalog.rows import PinRow
from lamina.catalog.sqlite import SqliteCatalog
from lamina.errors import Unavailable
from lamina.testing.catalog_contract import CatalogContract, content, put
from lamina.testing.faulty_catalog import FaultyCatalog


class TestSqlite(CatalogContract):
    @pytest.fixture
    def catalog(self, tmp_path: Path) -> Iterator[Catalog]:
        catalog = SqliteCatalog.open(str(tmp_path / "catalog.sqlite"), create=True)
        yield catalog
        catalog.close()


class TestMemory(CatalogContract):
    @pytest.fixture
    def catalog(self) -> Catalog:
        return MemoryCatalog()


class TestFaulty(CatalogContract):
    @pytest.fixture
    def catalog(self) -> Catalog:
        return FaultyCatalog(MemoryCatalog())


def test_a_fault_before_leaves_the_commit_out_and_one_after_keeps_it():
    for when, kept in (("before", []), ("after", [PinRow("p", 1, 1)])):
        catalog = FaultyCatalog(MemoryCatalog())
        catalog.fail(2, when)
        catalog.reserve("object", 1)
        with pytest.raises(Unavailable, match="injected: transaction 2"):
            put(catalog, PinRow("p", 1, 1))
        assert content(catalog)["pin"] == kept
        with pytest.raises(Unavailable, match="no more commits"):
            put(catalog, PinRow("q", 1, 1))
        with pytest.raises(Unavailable, match="no more commits"):
            catalog.acquire_epoch("x")
        assert catalog.transactions == 2
