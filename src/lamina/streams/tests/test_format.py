"""The worked bytes of FORMAT.md are what the code writes, and the code reads them."""

import re
from pathlib import Path

import numpy as np
import pytest

from lamina.codecs import leaf, registry
from lamina.codecs.values import ValueCodec
from lamina.streams import history
from lamina.streams.node import ADDRESS, BIAS, NO_ROWS, ROW
from lamina.streams.tree import Shape, merge
from lamina.testing.blocks import MemoryBlocks

TEXT = (Path(history.__file__).parent / "FORMAT.md").read_text()


def example() -> dict[str, bytes]:
    """The stream of FORMAT.md: three points, two of version 11 and one of version 12, flushed into segment 1."""
    read = MemoryBlocks()
    out = read.segment()
    times, values = np.array([0, 10, 20]) + BIAS, np.array([1.5, 1.5, -3.0])
    versions = np.array([11, 11, 12], np.uint64)
    root = merge(NO_ROWS, times, values, versions, [], out=out, read=read, shape=Shape(), codec=ValueCodec())
    out.finish()
    later = read.segment()
    entry = history.Entry(12, 7, 1_700_000_000_000_000, 3, root, np.zeros(1, ADDRESS))
    pointer = history.append(b"", entry, later, read)
    return {"leaf": read.segments[1][64], "row": root.tobytes(), "pointer": pointer}


def shown(name: str) -> bytes:
    [dump] = re.findall(rf"<!-- {name} -->\n```\n(.*?)```", TEXT, re.DOTALL)
    return b"".join(bytes.fromhex(line.split("  ")[1]) for line in dump.splitlines())


@pytest.mark.parametrize("name", ["leaf", "row", "pointer"])
def test_worked_bytes_are_what_is_written(name):
    assert example()[name] == shown(name)


def test_the_worked_leaf_is_read():
    times, values = np.empty(3, np.int64), np.empty(3)
    leaf.decode_into(shown("leaf"), times, values)
    assert (times - BIAS).tolist() == [0, 10, 20]
    assert values.tolist() == [1.5, 1.5, -3.0]
    assert leaf.versions(shown("leaf"), 3).tolist() == [11, 11, 12]


def table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


@pytest.mark.parametrize(
    ("heading", "dtype"),
    [("Address", ADDRESS), ("Row", ROW), ("History entry", history.ENTRY), ("History child", history.CHILD)],
)
def test_tables_name_every_field_at_its_offset(heading, dtype):
    described = [(int(row[0]), int(row[1]), row[2]) for row in table(heading)]
    assert described == [(dtype.fields[n][1], dtype.fields[n][0].itemsize, n) for n in dtype.names]


def test_every_codec_id_is_in_the_table():
    described = {int(row[0]): row[1] for row in table("Column codecs")}
    names = ("RAW", "PCO", "ZSTD", "GRID", "REPEATS")
    assert described == {getattr(registry, name): name for name in names}
