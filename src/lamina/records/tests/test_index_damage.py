"""Damage of a section is Corrupt, names the object, and leaves the other columns readable."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import Corrupt, UnknownFormat
from lamina.records import labelread, labelwrite
from lamina.records.index import IndexSection
from lamina.records.stored import Cursor
from lamina.records.tests.index_sections import Record, Written, label_set, sealed, write
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentWriter


def example(n: int = 300) -> Written:
    rng = random.Random(1)
    records, time = [], 10
    for i in range(n):
        time += rng.randrange(1, 1000)
        labels = {"cam": str(rng.randrange(100)), "id": f"{rng.random():.5f}", "text": "x" * rng.randrange(9)}
        if i % 50 == 7:
            labels[f"rare{i}"] = "\0" + str(i)
        size = rng.randrange(100_000)
        died = 50 + i if i % 9 == 0 else 2**64 - 1
        file, where, crc, type = rng.randrange(3), rng.randrange(2**40), rng.randrange(2**32), rng.choice("abc")
        records.append(
            Record(time, label_set(labels), size, where, size, 5 + i * i, crc, file, i % 77, type, i % 2, died)
        )
    return write(sealed(records, keep_seqs=True))


EXAMPLE = example()


def codes(section: IndexSection, name: str) -> list[int] | None:
    column = section.label(name)
    return None if column is None else column.codes.tolist()


def everything(section: IndexSection) -> dict[str, object]:
    """Each part that can be read alone, or the error it raised."""
    parts = {
        "times": lambda: section.times.tolist(),
        "born": lambda: section.born.tolist(),
        "died": lambda: section.died.tolist(),
        "types": lambda: list(section.types),
        "rows": lambda: section.rows(0, section.n).tobytes(),
        "names": lambda: list(section.label_names),
        "sets": lambda: section.label_sets(np.arange(section.n)),
        **{name: lambda name=name: codes(section, name) for name in ("cam", "id", "text")},
    }
    found = {}
    for name, read in parts.items():
        try:
            found[name] = read()
        except Corrupt as error:
            found[name] = error
    return found


WHOLE = everything(EXAMPLE.open())


def places() -> list[int]:
    """One byte in every block."""
    section = EXAMPLE.open()
    stored = [column.stored for column in section._columns.values()]
    for entry in section._table.dense.values():
        stored += [entry.values.stored, entry.codes.stored]
        if entry.numbers is not None:
            stored.append(getattr(entry.numbers, "stored", entry.numbers))
    for group in section._table.groups:
        stored += [group.names.stored, group.values.stored, group.rows.stored, group.codes.stored]
    return sorted({each.offset for each in stored if each.inline is None})


def test_the_example_has_what_can_be_damaged():
    assert not [part for part in WHOLE.values() if isinstance(part, Corrupt)]
    assert len(places()) > 15


@pytest.mark.parametrize("offset", places())
def test_damage_of_a_block_leaves_the_others_readable(offset):
    found = everything(EXAMPLE.changed(offset).open())
    damaged = {name: error for name, error in found.items() if isinstance(error, Corrupt)}
    assert damaged
    assert len(damaged) <= 3
    for error in damaged.values():
        assert str(error).startswith(f"{EXAMPLE.name}: offset {offset}: CRC32C: expected ")
    assert all(found[name] == WHOLE[name] for name in found if name not in damaged)


def exercise(directory: bytes) -> None:
    """Read all that a directory leads to; anything but Corrupt is a failure."""
    try:
        section = EXAMPLE._replace(directory=directory).open()
    except Corrupt:
        return
    everything(section)
    for name in ("rare7", "cam", "zz"):
        section.stats(name)
        with suppress(Corrupt):
            section.label(name)


def test_a_directory_cut_anywhere_is_corrupt():
    for end in range(len(EXAMPLE.directory)):
        with pytest.raises(Corrupt, match="directory of a section"):
            EXAMPLE._replace(directory=EXAMPLE.directory[:end]).open()
    with pytest.raises(Corrupt, match="the end"):
        EXAMPLE._replace(directory=EXAMPLE.directory + b"\0").open()


@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE.directory) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_changed_directory_is_read_or_refused(changes):
    data = bytearray(EXAMPLE.directory)
    for at, value in changes:
        data[at] = value
    exercise(bytes(data))


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data):
    exercise(data)
    exercise(EXAMPLE.directory[:49] + data)


def test_a_newer_section_is_not_called_damaged():
    with pytest.raises(UnknownFormat, match="format 2, this Lamina reads up to 1"):
        EXAMPLE._replace(directory=b"\2\0" + EXAMPLE.directory[2:]).open()
    section = EXAMPLE._replace(directory=EXAMPLE.directory[:2] + b"\5\0" + EXAMPLE.directory[4:]).open()
    assert section.write_format == 5
    flags = bytearray(EXAMPLE.directory)
    flags[40] |= 16
    with pytest.raises(UnknownFormat, match="flags"):
        EXAMPLE._replace(directory=bytes(flags)).open()


def test_codes_beyond_the_values_are_corrupt():
    written = write(sealed([Record(i, label_set({"a": "xyz"[i % 3]})) for i in range(13)]))
    data = bytearray(written.directory)
    codes = data.index(bytes((0x79, 0x9E, 0xE7, 0x01)))  # 1, 2, 3, 1, ... of two bits each
    data[codes - 3 - 8] = 1  # the base
    with pytest.raises(Corrupt, match=r"codes of label 'a': expected -1\.\.2, found 1\.\.3"):
        written._replace(directory=bytes(data)).open().label("a")


@pytest.mark.parametrize(
    ("names", "counts", "rows", "expected"),
    [
        (["a", "b"], [2, 1], [0, 9, 3], None),
        (["a", "b"], [2, 2], [0, 9, 3], "expected 3 rows in all"),
        (["a", "b"], [4, 0], [0, 9, 3], "expected 3 rows in all"),
        (["a", "b"], [2, 1], [0, 10, 3], "expected rows below 10, found a column up to 10"),
        (["b", "a"], [2, 1], [0, 9, 3], "names of a group that do not ascend"),
    ],
)
def test_groups_that_do_not_add_up_are_corrupt(names, counts, rows, expected):
    blobs = MemoryBlobs()
    out = SegmentWriter(blobs, "x", id=1, kind="records", database_id=bytes(16), epoch=1)
    labels = np.zeros(len(rows), np.int64)
    description = labelwrite._group(out, names, np.array(counts), np.array(rows), labels, [("a", "1")])
    out.finish()
    shared = labelread._read_shared(Cursor(description, "x"), 10)
    if expected is None:
        assert shared.read(blobs, "x", 10).find("a").rows.tolist() == [0, 9]
    else:
        with pytest.raises(Corrupt, match=expected):
            shared.read(blobs, "x", 10)


def test_types_beyond_the_texts_are_corrupt():
    data = bytearray(write(sealed([Record(1)])).directory)
    data[data.index(b"text/plain") - 8 - 8] = 1  # base of the column in front of the texts
    section = EXAMPLE._replace(directory=bytes(data)).open()
    with pytest.raises(Corrupt, match="column type: expected types below 1, found 1"):
        section.rows(0, 1)


def test_times_that_are_not_those_of_the_directory_are_corrupt():
    data = bytearray(EXAMPLE.directory)
    data[8] ^= 1  # t_min
    section = EXAMPLE._replace(directory=bytes(data)).open()
    with pytest.raises(Corrupt, match="column time: expected times that ascend"):
        section.times  # noqa: B018
    assert section.label("cam").codes.tolist() == WHOLE["cam"]
