"""Law 6: what a damaged catalog file gives is Corrupt or right."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamina.catalog.encoding import TABLE
from lamina.catalog.rows import TABLES, RecordStateRow
from lamina.catalog.sqlite import SqliteCatalog
from lamina.errors import Corrupt, Unavailable
from lamina.testing.catalog_contract import content, put
from lamina.testing.catalog_rows import ONE_OF_EACH, entry, root, section, segment, stream, uuid

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
        changed: Any = (
            value + (1000 if value < 1 << 62 else -1000)
            if kind == "integer"
            else value + (b"x" if kind == "blob" else "x")
        )
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


@pytest.mark.parametrize("index", ["entry_by_bucket", "record_section_by_entry"])
def test_an_index_entry_of_records_that_leads_to_another_row_is_corrupt(path: str, index: str):
    catalog = SqliteCatalog.open(path, create=False)
    put(catalog, *(entry(n, 70 + n // 50) for n in range(20, 120)))
    put(catalog, *(section(1, n, 70 + n // 50, t_min=1000 + n) for n in range(20, 120)), segment(1))
    catalog.close()
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    connection.close()
    # a record of SQLite: length of the head, types, then bucket 71 and id 85; entry 71, time 1085, id 2**24 + 85
    record = bytes.fromhex("03 01 01 47 55" if index == "entry_by_bucket" else "04 01 02 04 47 043d 01000055")
    data = bytearray(Path(path).read_bytes())
    at = data.index(record, (page - 1) * 4096, page * 4096) + len(record) - 1
    for other in (84, 86, 30, 110, 125):
        data[at] = other
        Path(path).write_bytes(data)
        catalog = SqliteCatalog.open_readonly(path)
        with catalog.snapshot() as snapshot:
            asks: list[Any] = [lambda s=snapshot: list(s.entries(71))]
            if index == "record_section_by_entry":
                asks = [lambda s=snapshot: s.record_sections([71]), lambda s=snapshot: s.record_sections(range(99))]
            for ask in asks:
                with pytest.raises(Corrupt):
                    ask()
        catalog.close()


@pytest.mark.parametrize("damaged", range(100, 160, 7))
def test_a_section_that_left_its_place_in_the_index_hides_no_neighbour(path: str, damaged: int):
    catalog = SqliteCatalog.open(path, create=False)
    rows = [section(1, n, 16_000 + n, t_min=5) for n in range(100, 160)]
    put(catalog, segment(1), *rows)
    catalog.close()
    data = Path(path).read_bytes()
    record = (
        bytes.fromhex("04 02 01 04")
        + (16_000 + damaged).to_bytes(2, "big")
        + b"\5"
        + rows[damaged - 100].id.to_bytes(4, "big")
    )
    assert data.count(record) == 1
    for high in (b"\0", b"\x7f"):
        Path(path).write_bytes(data.replace(record, record[:4] + high + record[5:]))
        catalog = SqliteCatalog.open_readonly(path)
        with catalog.snapshot() as snapshot:
            for row in rows:
                try:
                    assert snapshot.record_sections([row.entry]) == {row.entry: [row]}
                except Corrupt:
                    continue
                assert row.id != rows[damaged - 100].id
            with pytest.raises(Corrupt):
                snapshot.record_sections(range(16_000, 17_000))
        catalog.close()


@pytest.mark.parametrize("index", ["entry_by_bucket", "record_section_by_entry", "stream_by_name"])
def test_a_cell_that_stands_in_for_another_hides_no_row(path: str, index: str):
    Path(path).unlink()
    catalog = SqliteCatalog.open(path, create=True)
    entries = [entry(n, 10 + n // 3) for n in range(9)]
    sections = [section(1, n, 10 + n // 3, t_min=n) for n in range(9)]
    streams = [stream(n, f"c{10 + n // 3}") for n in range(9)]
    put(catalog, *entries, *sections, *streams)
    catalog.close()
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    connection.close()
    asks: dict[str, Any] = {
        "entry_by_bucket": lambda s, n: list(s.entries(n)),
        "record_section_by_entry": lambda s, n: s.record_sections([n]).get(n, []),
        "stream_by_name": lambda s, n: list(s.streams(f"c{n}")),
    }
    rows: Any = {"entry_by_bucket": entries, "record_section_by_entry": sections, "stream_by_name": streams}[index]
    data = Path(path).read_bytes()
    at = (page - 1) * 4096 + 8  # the pointers to the cells of a leaf
    unseen = []
    for one, other in itertools.permutations(range(9), 2):
        if abs(one - other) == 1 and one // 3 != other // 3:
            continue  # the neighbours of the gap are sound and follow each other: only `check` can tell
        damaged = bytearray(data)
        damaged[at + 2 * one : at + 2 * one + 2] = data[at + 2 * other : at + 2 * other + 2]
        Path(path).write_bytes(damaged)
        catalog = SqliteCatalog.open_readonly(path)
        with catalog.snapshot() as snapshot:
            for n in range(9, 14):
                try:
                    if asks[index](snapshot, n) != rows[max(0, 3 * n - 30) : max(0, 3 * n - 27)]:
                        unseen.append((one, other, n))
                except Corrupt:
                    pass
        assert any("index" in finding for finding in catalog.check())
        catalog.close()
    assert unseen == []


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


@pytest.mark.parametrize("tree", ["entry_by_bucket", "record_section_by_entry", "record_section"])
def test_scans_of_records_notice_leaves_out_of_order(path: str, tree: str):
    catalog = SqliteCatalog.open(path, create=False)
    put(catalog, segment(1), *(entry(n, 7 + n // 600) for n in range(10, 1200)))
    put(catalog, *(section(1, n, 7 + n // 600, t_min=n) for n in range(10, 1200)))
    catalog.close()
    swap_children(path, tree)
    catalog = SqliteCatalog.open_readonly(path)
    with catalog.snapshot() as snapshot:
        asks: dict[str, list[Any]] = {
            "entry_by_bucket": [lambda: list(snapshot.entries(7)), lambda: list(snapshot.entries(8))],
            "record_section_by_entry": [lambda: snapshot.record_sections([7]), lambda: snapshot.record_sections([8])],
            "record_section": [lambda: list(snapshot.sections_of_segment(1)), lambda: snapshot.record_sections([7, 8])],
        }
        for ask in asks[tree]:
            with pytest.raises(Corrupt):
                ask()
    assert list(catalog.check()) != []
    catalog.close()


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
    put(catalog, *(entry(id, 2 + id % 3, dead=id % 2) for id in range(10, STREAMS)))
    put(catalog, *(RecordStateRow(id, 5, 1) for id in range(10, STREAMS)))
    put(catalog, *(section(5, id, 10 + id // 3, t_min=(id * 7) % 11, blocks=bytes(id % 90)) for id in range(STREAMS)))
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
            entries, sections = expected["entry"], expected["record_section"]
            by_time = sorted(sections, key=lambda row: (row.entry, row.t_min, row.id))
            lists = {id: [row for row in by_time if row.entry == id] for id in sorted({row.entry for row in sections})}
            states = {row.entry: row for row in expected["record_state"]}
            questions += [
                *(
                    (f"entries {id}", lambda id=id: list(snapshot.entries(id)), [e for e in entries if e.bucket == id])
                    for id in range(6)
                ),
                ("states", lambda: snapshot.record_states(range(300)), states),
                ("sections", lambda: snapshot.record_sections(range(300)), lists),
                ("segment", lambda: list(snapshot.sections_of_segment(5)), [r for r in sections if r.segment == 5]),
                ("no segment", lambda: list(snapshot.sections_of_segment(4)), []),
            ]
            for id in range(1, 60, 3):
                alone = {id: lists[id]} if id in lists else {}
                questions.append((f"sections {id}", lambda id=id: snapshot.record_sections([id]), alone))
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
