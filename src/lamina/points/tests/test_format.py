"""The worked bytes of FORMAT.md are what the code writes, and sections written by older releases are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lamina.points import field, marks, ops, pagedwrite, sectionwrite, stored
from lamina.points.batch import Batch
from lamina.points.deaths import read_deaths, write_deaths
from lamina.points.pagedread import Descent
from lamina.points.point import EPOCH, MICROSECOND, Point
from lamina.points.section import section_of
from lamina.points.sectionread import OpenSection, SectionReader
from lamina.points.tail import FOREVER
from lamina.points.tests.sections import Store, address, name
from lamina.points.tests.strategies import batch_of, described
from lamina.points.tests.test_section import large
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentReader

TEXT = (Path(sectionwrite.__file__).parent / "FORMAT.md").read_text()
GOLDEN = Path(__file__).parent / "golden" / "points-1.seg"

FIRST = EPOCH + 1_700_000_000_000_000 * MICROSECOND
POINTS = [
    Point(time=FIRST, measurement="m", tags={"host": "a"}, fields={"temp": 20.5}),
    Point(time=FIRST + 1_500_000 * MICROSECOND, measurement="m", tags={"host": "b"}, fields={"temp": 21.25}),
]
THIRD = Point(
    time=FIRST + 1_500_000 * MICROSECOND, measurement="m", tags={"host": "b"}, fields={"state": "on", "temp": None}
)


def written() -> tuple[Store, Any]:
    store = Store()
    section, _ = store.write(batch_of(POINTS), np.array([7, 8], np.uint64))
    return store, section


def worked() -> dict[str, bytes]:
    """The dumps of FORMAT.md."""
    store, section = written()
    numbers = store.reader(section).fields["temp"].numbers
    assert numbers is not None
    descent = Descent(numbers)
    descent.chunks(np.array([0]))
    newer = Point(time=FIRST, tags={"host": "a"}, fields={"temp": 20.75})
    return {
        "directory": store.directory,
        "quarter": descent.quarters(np.array([0])).tobytes(),
        "deaths": write_deaths(np.array([9, 3, 4], np.uint32), np.array([31, 20, 20], np.uint64)),
        "insert": body(ops.insert_parts(batch_of([*POINTS, THIRD]), 7)),
        "update": body(ops.update_parts(batch_of([newer]), np.array([7], np.uint64))),
        "remove": ops.remove_body(np.array([7, 8], np.uint64)),
    }


def body(parts: list[Any]) -> bytes:
    return b"".join(bytes(part) for part in parts)


def shown(name: str) -> bytes:
    [dump] = re.findall(rf"<!-- {name} -->\n```\n(.*?)```", TEXT, re.DOTALL)
    return b"".join(bytes.fromhex(line.split("  ")[1]) for line in dump.splitlines())


def test_the_worked_bytes_are_what_is_written() -> None:
    for what, data in worked().items():
        assert data == shown(what), what


def test_the_worked_bytes_are_read() -> None:
    store, section = written()
    reader = SectionReader(section.row, lambda addresses: [shown("directory")])
    assert reader.times.tolist() == [1_700_000_000_000_000, 1_700_000_001_500_000]
    assert reader.ordinals.tolist() == [7, 8]
    assert list(reader.fields) == ["temp"]
    assert described(store.reader(section).batch().points("m")) == described(POINTS)
    batch, ordinals = ops.decode_insert(shown("insert"))
    assert described(batch.points("m")) == described([*POINTS, THIRD])
    assert ordinals.tolist() == [7, 8, 9]
    batch, ordinals = ops.decode_update(shown("update"))
    assert (batch.fields["temp"].list(), ordinals.tolist()) == ([20.75], [7])
    assert ops.decode_remove(shown("remove")).tolist() == [7, 8]
    rows, seqs = read_deaths(shown("deaths"))
    assert (rows.tolist(), seqs.tolist()) == ([3, 4, 9], [20, 20, 31])


def table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [row for row in rows if not set(row[0]) <= set("-")]


def test_numbers_of_kinds_forms_and_flags_are_those_of_the_code() -> None:
    kinds = dict(re.findall(r"\| (\d) \| (\w+) \|", TEXT.split("## Section")[0]))
    assert {text: int(number) for number, text in kinds.items()} == {
        text: getattr(field, text) for text in ("ABSENT", "NULL", "FLOAT", "INT", "BOOL", "TEXT", "MIXED")
    }
    forms = {row[1]: int(row[0]) for row in table("Column") if row[0].isdigit()}
    assert forms == {text: getattr(pagedwrite, text) for text in ("LINEAR", "PCO", "RAW")}
    for row in table("Column"):
        number, _, text = row[0].partition(" ")
        if text and number.isdigit():
            assert getattr(marks, text) == int(number)
            for key in marks.TOP[int(number)].names or ():
                assert f"`{key}`" in TEXT
    flags = {row[1]: int(row[0]) for row in table("Section") if row[0].isdigit() and row[1].isalpha()}
    assert flags == {text.lower(): getattr(sectionwrite, text) for text in ("KINDS", "NUMBERS", "INTS", "CODES")}
    assert (stored.PLAIN, stored.ZSTD, sectionwrite.BORN, sectionwrite.DIED) == (0, 1, 1, 2)
    numbered = {int(number): text for number, text in re.findall(r"\*\*(\d) ([A-Z]+)\*\*", TEXT)}
    assert numbered == {getattr(ops, text): text for text in ("INSERT", "UPDATE", "REMOVE", "CLEAR", "SECTION")}


def golden() -> tuple[Batch, np.ndarray, np.ndarray, np.ndarray]:
    """What points-1.seg was written from: batch, ordinals, born, died."""
    n = 1500
    batch = large(n, seed=7)
    died = np.full(n, FOREVER, np.uint64)
    died[::50] = 500
    return batch, np.arange(n, dtype=np.uint64)[::-1] * 2 + 5, np.repeat(np.arange(3, 18), 100).astype(np.uint64), died


def test_sections_of_this_release_stay_readable() -> None:
    data = GOLDEN.read_bytes()
    blobs = MemoryBlobs()
    out = blobs.create(name(1))
    out.append([data])
    out.finish()
    store = Store(blobs)
    [entry] = SegmentReader(blobs, name(1)).sections
    batch, ordinals, born, died = golden()
    at = int.from_bytes(entry.directory[:8], "little"), int.from_bytes(entry.directory[8:12], "little")
    row = store.write(batch, ordinals, born, died)[0].row
    place = address(1, at[0], at[1], int.from_bytes(entry.directory[12:16], "little"))
    reader = SectionReader(row._replace(segment=1, place=place), store.read)
    assert described(reader.batch().points("m")) == described(batch.points("m"))
    assert reader.ordinals.tolist() == ordinals.tolist()
    opened = OpenSection(section_of(row), reader)
    assert opened.born is not None
    assert opened.born.tolist() == born.tolist()
    assert opened.died is not None
    assert opened.died.tolist() == died.tolist()
