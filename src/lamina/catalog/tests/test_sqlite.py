"""What only the catalog in a file does: reopening, several openers, formats, failing commits."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lamina.catalog.sqlite as module
from lamina.catalog.catalog import CatalogDelta
from lamina.catalog.encoding import row_crc
from lamina.catalog.rows import BucketRow, DatabaseRow, PinRow, RecordStateRow, TokenRow
from lamina.catalog.sqlite import MIGRATIONS, SqliteCatalog
from lamina.errors import Closed, Conflict, Corrupt, Unavailable, UnknownFormat
from lamina.testing.catalog_contract import content, put
from lamina.testing.catalog_rows import ONE_OF_EACH, root, stream


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "catalog.sqlite")


def test_everything_is_there_after_reopening(path: str):
    catalog = SqliteCatalog.open(path, create=True)
    catalog.acquire_epoch("me")
    catalog.reserve("segment", 5)
    put(catalog, *ONE_OF_EACH, meta_applied_seq=3)
    before = content(catalog)
    catalog.close()
    assert [file.name for file in Path(path).parent.iterdir()] == ["catalog.sqlite"]  # the WAL is folded in
    catalog = SqliteCatalog.open(path, create=True)
    assert content(catalog) == before
    assert catalog.reserve("segment", 1) == range(6, 7)
    assert catalog.acquire_epoch("you") == 2
    catalog.close()


def test_a_commit_survives_a_process_that_dies(path: str):
    program = (
        "import os, sys; sys.path.insert(0, 'src')\n"
        "from lamina.catalog.sqlite import SqliteCatalog\n"
        "from lamina.testing.catalog_contract import put\nfrom lamina.testing.catalog_rows import root\n"
        f"catalog = SqliteCatalog.open({path!r}, create=True)\n"
        "put(catalog, root(1)); os._exit(9)"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=env, timeout=60, check=False)
    assert done.returncode == 9
    catalog = SqliteCatalog.open(path, create=False)
    assert content(catalog)["stream_root"] == [root(1)]
    catalog.close()


def test_commits_are_synced_and_journaled_ahead(path: str):
    catalog = SqliteCatalog.open(path, create=True)
    try:
        connection = catalog._writer
        assert connection is not None
        assert connection.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA cell_size_check").fetchone() == (1,)
    finally:
        catalog.close()
    catalog = SqliteCatalog.open(path, create=False)
    assert catalog._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # type: ignore[union-attr]
    catalog.close()


def test_two_openers_see_each_other_and_the_later_epoch_wins(path: str):
    one = SqliteCatalog.open(path, create=True)
    first = one.acquire_epoch("one")
    put(one, PinRow("a", 1, 1))
    with one.snapshot() as old:
        two = SqliteCatalog.open(path, create=False)
        two.acquire_epoch("two")
        put(two, PinRow("b", 2, 2))
        delta = CatalogDelta(first)
        delta.deletes.append(("pin", "b"))
        with pytest.raises(Conflict, match="opened elsewhere"):
            one.commit(delta)
        assert [row.name for row in old.pins()] == ["a"]
    assert content(one) == content(two)
    assert one.reserve("object", 2) == range(1, 3)
    assert two.reserve("object", 2) == range(3, 5)
    one.close()
    assert len(content(two)["pin"]) == 2
    two.close()


def test_a_reader_beside_the_writer_follows_it_and_cannot_write(path: str):
    writer = SqliteCatalog.open(path, create=True)
    put(writer, root(1))
    reader = SqliteCatalog.open_readonly(path)
    assert content(reader) == content(writer)
    put(writer, root(2), stream(2))
    assert content(reader) == content(writer)
    for write in (
        lambda: reader.commit(CatalogDelta(0)),
        lambda: reader.reserve("object", 1),
        lambda: reader.acquire_epoch("x"),
    ):
        with pytest.raises(Unavailable, match="reading only"):
            write()
    assert len(list(reader.check())) == 1  # the root of stream 1, which does not exist
    reader.close()
    with pytest.raises(Closed):
        reader.acquire_epoch("x")
    writer.close()
    reader = SqliteCatalog.open_readonly(path)  # also when nobody has it open
    assert len(content(reader)["stream_root"]) == 2
    reader.close()


def set_format(path: str, read: int, write: int) -> None:
    row = (0, read, write, "lamina 99")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT OR REPLACE INTO format VALUES (?, ?, ?, ?, ?)", (*row, row_crc("format", row)))
    connection.close()


def test_a_newer_format_is_refused_and_a_readable_one_opens_for_reading(path: str):
    SqliteCatalog.open(path, create=True).close()
    newest = len(MIGRATIONS)
    set_format(path, newest, newest + 1)
    with pytest.raises(UnknownFormat, match=f"writers {newest + 1}"):
        SqliteCatalog.open(path, create=True)
    reader = SqliteCatalog.open_readonly(path)
    assert content(reader)["pin"] == []
    reader.close()
    set_format(path, newest + 1, newest + 1)
    with pytest.raises(UnknownFormat, match=f"readers need format {newest + 1}"):
        SqliteCatalog.open_readonly(path)


def format_1(path: str) -> sqlite3.Connection:
    """A catalog as migration 1 alone makes it, with a token and a pin."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript((Path(module.__file__).parent / "schema" / MIGRATIONS[0]).read_text())
    permissions = '{"full_access":false,"read":["ä"],"write":[]}'
    for table, row in (
        ("format", (0, 1, 1, "lamina 0.1.0")),
        ("database", (0, b"i" * 16, 5, 3, "", 6, 7)),
        ("token", ("ci/ö", "4f", "sha256", b"salt", b"hash", permissions, 1, 2, 1)),
        ("pin", ("p", 1, 2)),
    ):
        connection.execute(f"INSERT INTO {table} VALUES ({'?, ' * len(row)}?)", (*row, row_crc(table, row)))
    connection.commit()
    return connection


def test_a_catalog_of_format_1_is_brought_up_to_date_by_the_first_writer(path: str):
    format_1(path).close()
    with pytest.raises(Unavailable, match=r"format 1.*open the directory for writing once"):
        SqliteCatalog.open_readonly(path)
    catalog = SqliteCatalog.open(path, create=False)
    held = content(catalog)
    assert held["token"] == [
        TokenRow(
            "ci/ö", "4f", "sha256", b"salt", b"hash", {"full_access": False, "read": ["ä"], "write": []},
            1, 2, True, 0, 0, [],
        )
    ]  # fmt: skip
    assert held["database"] == [DatabaseRow(b"i" * 16, 5, 3, "", 6, 7)]
    assert held["pin"] == [PinRow("p", 1, 2)]
    assert list(catalog.check()) == []
    put(catalog, *ONE_OF_EACH)
    before = content(catalog)
    catalog.close()
    reader = SqliteCatalog.open_readonly(path)
    assert content(reader) == before
    reader.close()
    fresh = path + "2"
    SqliteCatalog.open(fresh, create=True).close()
    query = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    schemas = []
    for place in (path, fresh):
        connection = sqlite3.connect(place)
        schemas.append(connection.execute(query).fetchall())
        connection.close()
    assert schemas[0] == schemas[1]


def test_a_catalog_of_format_2_is_brought_up_to_date_by_the_first_writer(path: str):
    connection = format_1(path)
    connection.execute("DROP TABLE token")
    for statement in (Path(module.__file__).parent / "schema" / MIGRATIONS[1]).read_text().split(";\n"):
        if "token_1" not in statement:
            connection.execute(statement)
    rows: list[tuple[str, Any]] = [
        ("format", (0, 2, 2, "lamina 0.1.0")),
        ("bucket", (1, "plant", '{"quota_type":"NONE"}', 0, 5, 0)),
        ("record_state", (2, 9, 1)),
    ]
    for table, row in rows:
        marks = "?, " * len(row)
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks}?)", (*row, row_crc(table, row)))
    connection.commit()
    connection.close()
    with pytest.raises(Unavailable, match=r"format 2.*open the directory for writing once"):
        SqliteCatalog.open_readonly(path)
    catalog = SqliteCatalog.open(path, create=False)
    held = content(catalog)
    assert held["bucket"] == [BucketRow(1, "plant", {"quota_type": "NONE"}, False, 5, 0)]
    assert held["record_state"] == [RecordStateRow(2, 9, 1)]
    assert held["pin"] == [PinRow("p", 1, 2)]
    assert held["measurement"] == held["point_state"] == held["point_section"] == []
    assert list(catalog.check()) == []
    assert catalog.reserve("ordinal", 3) == range(1, 4)
    catalog.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT read, write FROM format").fetchone() == (3, 3)
    connection.close()


def test_a_migration_makes_no_damaged_token_sound(path: str):
    connection = format_1(path)
    connection.execute("UPDATE token SET permissions = replace(permissions, 'false', 'true')")
    connection.commit()
    connection.close()
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"table token.*ci"):
            SqliteCatalog.open(path, create=False)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT write FROM format").fetchone() == (1,)  # nothing was done
    connection.close()


def test_an_interrupted_creation_is_finished_by_the_next(path: str):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert Path(path).stat().st_size > 0
    with pytest.raises(Corrupt):
        SqliteCatalog.open(path, create=False)
    catalog = SqliteCatalog.open(path, create=True)
    assert list(catalog.check()) == []
    catalog.close()


def test_a_migration_is_all_or_nothing(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "0004_missing.sql"))
    with pytest.raises(FileNotFoundError):
        SqliteCatalog.open(path, create=True)
    monkeypatch.undo()
    with pytest.raises(Corrupt):
        SqliteCatalog.open(path, create=False)
    SqliteCatalog.open(path, create=True).close()


def test_a_path_that_cannot_be_made_is_unavailable(tmp_path: Path):
    with pytest.raises(Unavailable, match="cannot be made"):
        SqliteCatalog.open(str(tmp_path / "no folder" / "c"), create=True)


def test_a_busy_file_refuses_the_commit_and_takes_the_next(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BUSY_S", 0.01)
    catalog = SqliteCatalog.open(path, create=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another process"):
        put(catalog, PinRow("p", 1, 1))
    other.execute("ROLLBACK")
    other.close()
    put(catalog, PinRow("p", 1, 1))
    catalog.close()


def test_after_a_failed_commit_no_more_are_taken_but_reads_go_on(path: str):
    catalog = SqliteCatalog.open(path, create=True)
    put(catalog, PinRow("p", 1, 1))
    pages = catalog._writer.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[union-attr]
    catalog._writer.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[union-attr]
    with pytest.raises(Unavailable, match="outcome is unknown: database or disk is full"):
        put(catalog, PinRow("q", 1, 1), *(root(id) for id in range(1, 500)))
    for write in (lambda: put(catalog, PinRow("r", 1, 1)), lambda: catalog.reserve("object", 1)):
        with pytest.raises(Unavailable, match="no more commits since: database or disk is full"):
            write()
    assert content(catalog)["pin"] == [PinRow("p", 1, 1)]
    catalog.close()
    catalog = SqliteCatalog.open(path, create=False)
    put(catalog, PinRow("r", 1, 1))
    assert content(catalog)["stream_root"] == []
    catalog.close()


def test_an_interrupted_transaction_is_rolled_back(path: str, monkeypatch: pytest.MonkeyPatch):
    catalog = SqliteCatalog.open(path, create=True)
    real = module._apply

    def interrupted(connection: sqlite3.Connection, delta: object) -> None:
        real(connection, delta)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(catalog, PinRow("p", 1, 1))
    monkeypatch.undo()
    assert content(catalog)["pin"] == []
    put(catalog, PinRow("q", 1, 1))
    catalog.close()


def test_snapshots_reuse_connections_also_across_threads(path: str):
    catalog = SqliteCatalog.open(path, create=True)
    first = catalog.snapshot()
    connection = first._connection
    thread = threading.Thread(target=first.close)
    thread.start()
    thread.join(10)
    with catalog.snapshot() as second, catalog.snapshot() as third:
        assert second._connection is connection
        assert third._connection is not connection
    catalog.close()


def test_a_snapshot_closed_amid_a_scan_does_not_hold_an_old_state(path: str):
    catalog = SqliteCatalog.open(path, create=True)
    put(catalog, *(root(id) for id in range(1, 1001)))
    snapshot = catalog.snapshot()
    scan = snapshot.all_roots()
    next(scan)
    snapshot.close()
    put(catalog, root(1, 99))
    with catalog.snapshot() as after:
        assert after.root(1) == root(1, 99)
    catalog.close()


def test_sqlite_is_loaded_only_when_a_catalog_is_opened():
    program = (
        "import sys, lamina.catalog.sqlite, lamina.catalog.memory, lamina.catalog.metafile\n"
        "lamina.catalog.memory.MemoryCatalog()\n"
        "assert not {'sqlite3', 'importlib.resources', 'backports.zstd'} & set(sys.modules), sys.modules"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=env, timeout=60, check=True)
