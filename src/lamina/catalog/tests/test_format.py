"""FORMAT.md says what the code does."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

import lamina.catalog
from lamina.catalog import metafile
from lamina.catalog.encoding import TABLE, row_crc
from lamina.catalog.rows import PinRow, SettingRow
from lamina.catalog.sqlite import MIGRATIONS, SqliteCatalog

HOME = Path(lamina.catalog.__file__).parent
TEXT = (HOME / "FORMAT.md").read_text()


def example(section: str) -> bytes:
    """The bytes of the first hex block after a heading: two digits and a space each."""
    block = TEXT.split(f"\n## {section}")[1].split("```")[1]
    lines = [re.match(r" *((?:[0-9a-f]{2}(?: |$))+)", line) for line in block.splitlines()]
    return b"".join(bytes.fromhex(line[1]) for line in lines if line)


def test_the_worked_row_crc_is_right():
    encoded = example("2.")
    stated = int(re.search(r"row_crc = (\d+)", TEXT)[1])  # type: ignore[index]
    assert crc32c(encoded) == stated == row_crc("pin", ("v1", 40, 1_700_000_000_000_000))
    assert TABLE["pin"].encode(PinRow("v1", 40, 1_700_000_000_000_000))[-1] == stated


def test_the_worked_put_is_right():
    assert example("5.") == metafile.encode_put(SettingRow("r", {"b": 1}))


def test_the_tables_are_those_of_the_file(tmp_path: Path):
    path = str(tmp_path / "catalog.sqlite")
    SqliteCatalog.open(path, create=True).close()
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)`(?: = 0)? \| (.*) \| [^|]* \|$", TEXT, re.MULTILINE)
    assert [name for name, _, _ in listed] == names
    for name, key, others in listed:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        assert columns[0] == key
        assert columns[-1] == "row_crc"
        assert all(f"`{column}`" in others for column in columns[1:-1]), name
        if name in TABLE:
            assert tuple(columns) == TABLE[name].columns
        (strict,) = connection.execute("SELECT strict FROM pragma_table_list WHERE name = ?", (name,)).fetchone()
        assert strict == 1
    assert connection.execute("PRAGMA application_id").fetchone() == (0x4C414D49,)
    connection.close()


def test_migrations_are_numbered_without_gaps_and_all_packaged():
    assert sorted(file.name for file in (HOME / "schema").glob("*.sql")) == list(MIGRATIONS)
    assert [int(name[:4]) for name in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("name", MIGRATIONS)
def test_statements_end_with_their_line(name: str):
    text = (HOME / "schema" / name).read_text()
    assert text.endswith(";\n")
    for statement in text.split(";\n")[:-1]:
        assert sqlite3.complete_statement(statement + ";")
