"""Law 6: what a damaged catalog file gives is Corrupt or right."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.catalog.encoding import TABLE
from lamina.catalog.rows import TABLES
from lamina.catalog.sqlite import SqliteCatalog
from lamina.errors import Corrupt, Unavailable
from lamina.testing.catalog_contract import ONE_OF_EACH, content, put, root, segment, stream, uuid

STREAMS = 120


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "catalog.sqlite")
    catalog = SqliteCatalog.open(path, create=True)
    catalog.acquire_epoch("me")
    catalog.reserve("object", 500)
    put(catalog, *ONE_OF_EACH)
    catalog.close()
    return path


def cells() -> Iterator[tuple[str, str]]:
    for name, table in TABLE.items():
        for column in table.columns:
            yield name, column


@pytest.mark.parametrize(("table", "column"), list(cells()))
def test_a_changed_column_of_a_row_is_corrupt_and_names_table_and_key(path: str, table: str, column: str):
    key = TABLE[table].key
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        rowid, kind, value = connection.execute(
            f"SELECT {key}, typeof({column}), {column} FROM {table} ORDER BY {key}"
        ).fetchone()
        changed: Any = value + 1000 if kind == "integer" else value + (b"x" if kind == "blob" else "x")
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (changed, rowid))
    connection.close()
    catalog = SqliteCatalog.open_readonly(path)
    with pytest.raises(Corrupt, match=f"table {table}.*rebuild-catalog"):
        content(catalog)
    assert any(f"table {table}" in finding for finding in catalog.check())
    catalog.close()


def test_a_row_under_the_key_of_another_is_corrupt(path: str):
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM stream_root WHERE stream = 2")
        connection.execute("UPDATE stream_root SET stream = 2 WHERE stream = 1")
    connection.close()
    catalog = SqliteCatalog.open_readonly(path)
    with catalog.snapshot() as snapshot:
        for lookup in (lambda: snapshot.root(2), lambda: snapshot.roots([2]), lambda: snapshot.root(1)):
            with pytest.raises(Corrupt, match="stream_root"):
                lookup()
    catalog.close()


def test_a_changed_sequence_is_not_continued(path: str):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE sequence SET next = 7")
    connection.close()
    catalog = SqliteCatalog.open(path, create=False)
    with pytest.raises(Corrupt, match="table sequence"):
        catalog.reserve("object", 1)
    assert any("table sequence" in finding for finding in catalog.check())
    catalog.close()


def test_a_changed_format_is_not_believed(path: str):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE format SET read = 0")
    connection.close()
    with pytest.raises(Corrupt, match="table format"):
        SqliteCatalog.open(path, create=False)
    with pytest.raises(Corrupt, match="table format"):
        SqliteCatalog.open_readonly(path)


def test_a_lost_database_row_is_corrupt(path: str):
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM database")
    connection.close()
    catalog = SqliteCatalog.open(path, create=False)
    for call in (lambda: catalog.snapshot().database(), lambda: catalog.acquire_epoch("x")):
        with pytest.raises(Corrupt, match="only row is missing"):
            call()
    catalog.close()


@pytest.mark.parametrize("damage", ["no file", "empty", "garbage", "cut", "no schema", "header"])
def test_a_file_that_is_no_catalog_is_corrupt_with_advice(path: str, damage: str):
    file = Path(path)
    data = file.read_bytes()
    if damage == "no file":
        file.unlink()
    elif damage == "no schema":
        file.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (x)")
        connection.close()
    else:
        contents = {"empty": b"", "garbage": b"garbage" * 999, "cut": data[:5000], "header": b"x" + data[1:]}
        file.write_bytes(contents[damage])
    with pytest.raises(Corrupt, match="rebuild-catalog"):
        content(SqliteCatalog.open(path, create=False))
    if damage in ("garbage", "cut", "header", "no schema"):  # never taken for a new one
        with pytest.raises(Corrupt, match="rebuild-catalog"):
            content(SqliteCatalog.open(path, create=True))


@pytest.mark.parametrize("index", ["stream_by_uuid", "stream_by_tags", "stream_by_name"])
def test_an_index_entry_that_leads_to_another_row_is_corrupt(path: str, index: str):
    catalog = SqliteCatalog.open(path, create=False)
    rows = [stream(id, "c") for id in range(10, 20)]
    put(catalog, *rows)
    catalog.close()
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    connection.close()
    keys = {"stream_by_uuid": uuid(14).bytes, "stream_by_tags": b'{"name":"s0014"}', "stream_by_name": b"s0014"}
    data = bytearray(Path(path).read_bytes())
    at = data.index(keys[index], (page - 1) * 4096, page * 4096) + len(keys[index])
    assert data[at] == 14  # the id, behind the key
    for other in (12, 13, 15, 17):
        data[at] = other
        Path(path).write_bytes(data)
        catalog = SqliteCatalog.open_readonly(path)
        with catalog.snapshot() as snapshot:
            asks: dict[str, Any] = {
                "stream_by_uuid": lambda s=snapshot: s.stream_by_uuid(uuid(14)),
                "stream_by_tags": lambda s=snapshot: s.stream_by_tags("c", {"name": "s0014"}),
                "stream_by_name": lambda s=snapshot: list(s.streams("c", tags={"name": "s0014"})),
            }
            with pytest.raises(Corrupt):
                asks[index]()
            if index == "stream_by_name":
                with pytest.raises(Corrupt):
                    list(snapshot.streams("c"))
        catalog.close()


def swap_children(path: str, tree: str) -> None:
    """Exchange first and last child of a b-tree's root page: whole leaves out of order, every cell intact."""
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (tree,)).fetchone()
    connection.close()
    data = bytearray(Path(path).read_bytes())
    base = (page - 1) * 4096
    assert data[base] in (2, 5), "an interior page"
    first = base + int.from_bytes(data[base + 12 : base + 14], "big")  # its cell starts with the child's number
    last = base + 8
    data[first : first + 4], data[last : last + 4] = data[last : last + 4], data[first : first + 4]
    Path(path).write_bytes(data)


@pytest.mark.parametrize("tree", ["stream", "stream_root", "stream_by_name"])
def test_scans_notice_leaves_out_of_order(path: str, tree: str):
    catalog = SqliteCatalog.open(path, create=False)
    rows = [stream(id, f"c{id:03}") for id in range(10, 400)]
    put(catalog, *rows, *(root(row.id) for row in rows))
    catalog.close()
    swap_children(path, tree)
    catalog = SqliteCatalog.open_readonly(path)
    with catalog.snapshot() as snapshot:
        if tree == "stream_by_name":
            scans: list[Any] = [
                snapshot.streams,
                lambda: snapshot.streams("c", True),
                lambda: snapshot.streams("", True),
                snapshot.collections,
            ]
        else:
            scans = [lambda: snapshot.rows(tree)]
        for scan in scans:
            with pytest.raises(Corrupt, match="out of order"):
                list(scan())
    assert list(catalog.check()) != []
    catalog.close()


@pytest.mark.parametrize("damaged", range(100, 160, 7))
def test_a_key_that_left_its_place_hides_no_neighbour(path: str, damaged: int):
    catalog = SqliteCatalog.open(path, create=False)
    rows = [stream(id, f"c{id:03}") for id in range(100, 160)]
    put(catalog, *rows)
    catalog.close()
    data = Path(path).read_bytes()
    entry = b"c%03d" % damaged + b"s%04d" % damaged  # the payload of an entry of stream_by_name
    assert data.count(entry) == 1
    for first in (b"a", b"z"):
        Path(path).write_bytes(data.replace(entry, first + entry[1:]))
        catalog = SqliteCatalog.open_readonly(path)
        with catalog.snapshot() as snapshot:
            for row in rows:
                for ask in (
                    lambda r=row: list(snapshot.streams(r.collection)),
                    lambda r=row: list(snapshot.streams(r.collection, tags=dict(r.tags))),
                    lambda r=row: list(snapshot.streams(r.collection, True)),
                ):
                    try:
                        assert ask() == [row]
                    except Corrupt:
                        continue
                    assert row.id != damaged
            with pytest.raises(Corrupt):
                list(snapshot.collections())
        catalog.close()


def flips(path: str, n: int, seed: int) -> Iterator[str | None]:
    """Flip one bit at a time in a catalog of STREAMS streams; what was wrong with an answer, None: nothing."""
    file = Path(path)
    file.unlink()
    catalog = SqliteCatalog.open(path, create=True)
    rows = [
        stream(id, f"c{id % 7}", tags={"name": f"n{id % 30}", "i": str(id)}, annotations={"about": "x" * (id % 50)})
        for id in range(1, STREAMS + 1)
    ]
    put(catalog, *rows, *(root(row.id) for row in rows), *(segment(id) for id in range(1, 40)), *ONE_OF_EACH[5:])
    expected = content(catalog)
    catalog.close()
    data = file.read_bytes()
    rng = random.Random(seed)
    for _ in range(n):
        bit = rng.randrange(len(data) * 8)
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        yield next(wrong_answers(path, expected), None)
        for suffix in ("-wal", "-shm"):
            Path(path + suffix).unlink(missing_ok=True)


def wrong_answers(path: str, expected: dict[str, list[Any]]) -> Iterator[str]:
    try:
        catalog = SqliteCatalog.open_readonly(path)
    except (Corrupt, Unavailable):
        return
    try:
        with catalog.snapshot() as snapshot:
            streams = expected["stream"]
            by_place = sorted(streams, key=lambda row: (row.collection, row.tags["name"], row.id))
            questions: list[tuple[str, Any, Any]] = [
                *((f"rows {table}", lambda t=table: list(snapshot.rows(t)), expected[table]) for table in TABLES),
                ("streams", lambda: list(snapshot.streams()), by_place),
                ("prefix", lambda: list(snapshot.streams("c", True)), by_place),
                ("collections", lambda: list(snapshot.collections()), sorted({r.collection for r in streams})),
                ("roots", lambda: list(snapshot.roots(range(300)).values()), expected["stream_root"]),
            ]
            for row in streams[::3]:
                questions += [
                    (f"root {row.id}", lambda r=row: snapshot.root(r.id), expected["stream_root"][row.id - 1]),
                    (f"stream {row.id}", lambda r=row: snapshot.stream(r.id), row),
                    (f"uuid {row.id}", lambda r=row: snapshot.stream_by_uuid(r.uuid), row),
                    (f"tags {row.id}", lambda r=row: snapshot.stream_by_tags(r.collection, r.tags), row),
                    ("miss", lambda r=row: snapshot.stream_by_uuid(uuid(r.id + 1000)), None),
                ]
            for name, ask, right in questions:
                try:
                    answer = ask()
                except (Corrupt, Unavailable):
                    continue
                if answer != right:
                    yield difference(name, answer, right)
    except (Corrupt, Unavailable):
        return
    finally:
        catalog.close()


def difference(question: str, answer: Any, right: Any) -> str:
    if isinstance(answer, list) and isinstance(right, list):
        lost = [row for row in right if row not in answer]
        wrong = [row for row in answer if row not in right]
        return f"{question}: lost {len(lost)} {lost!r:.90}, wrong {wrong!r:.90}"
    return f"{question}: {answer!r:.200}"


def test_flipped_bits_give_corrupt_or_the_right_answer(path: str):
    wrong = [finding for finding in flips(path, 60, seed=1) if finding is not None]
    assert wrong == []
