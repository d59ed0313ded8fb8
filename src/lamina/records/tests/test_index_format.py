"""The worked bytes of FORMAT.md are what the code writes, and sections written by older releases are read."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from lamina.records import column, indexwrite, labelread, labelwrite, manifest, stats, stored, texts
from lamina.records.index import IndexSection
from lamina.records.tests.index_sections import Record, Written, label_set, records_of, sealed, write
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentReader

TEXT = (Path(indexwrite.__file__).parent / "FORMAT.md").read_text()
GOLDEN = Path(__file__).parent / "golden"


def example() -> Written:
    """The section of FORMAT.md: three records, the last one 70,000 bytes long and without the label `ok`."""
    first = 1_700_000_000_000_000
    both = label_set({"cam": "12", "ok": "true"})
    return write(
        sealed(
            [
                Record(first, both, 5, 64, 5, 9, 0x11111111, 7, 40),
                Record(first + 1000, both, 5, 69, 5, 10, 0x22222222, 7, 40),
                Record(first + 2500, label_set({"cam": "7.5"}), 70_000, 74, 70_000, 10, 0x33333333, 7, 33),
            ]
        )
    )


def shown(name: str) -> bytes:
    [dump] = re.findall(rf"<!-- {name} -->\n```\n(.*?)```", TEXT, re.DOTALL)
    return b"".join(bytes.fromhex(line.split("  ")[1]) for line in dump.splitlines())


def u64(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def test_the_worked_directory_is_what_is_written():
    assert example().directory == shown("directory")


def test_the_worked_directory_is_read():
    section = IndexSection(MemoryBlobs(), "nothing is in blocks", shown("directory"))
    rows = section.rows(0, 3)
    assert section.times.tolist() == [1_700_000_000_000_000, 1_700_000_000_001_000, 1_700_000_000_002_500]
    assert rows["size"].tolist() == [5, 5, 70_000]
    assert rows["where"].tolist() == [64, 69, 74]
    assert rows["crc"].tolist() == [0x11111111, 0x22222222, 0x33333333]
    assert rows["meta"].tolist() == [40, 40, 33]
    assert list(section.types) == ["text/plain"]
    both = (("cam", "12"), ("ok", "true"))
    assert section.label_sets(np.arange(3)) == [both, both, (("cam", "7.5"),)]
    assert section.label("cam").numbers.tolist() == [12, 7.5]
    assert section.stats("cam") == (True, {"12", "7.5"}, 7.5, 12.0, True)
    assert section.stats("ok") == (False, {"true"}, 0.0, 0.0, False)


def test_the_worked_rows_of_the_catalog_are_what_is_written():
    deaths = manifest.encode_deaths(np.array([3, 4, 9], np.uint32), u64(20, 20, 31))
    assert deaths == shown("deaths")
    blocks = manifest.encode_blocks(u64(1000, 5000), np.array([2, 1], np.uint32), u64(10, 70_000), u64(90, 70_033))
    assert blocks == shown("blocks")
    assert manifest.encode_files({8: 70_008, 7: 10}) == shown("files")
    assert manifest.decode_deaths(shown("deaths"))[0].tolist() == [3, 4, 9]
    assert manifest.decode_blocks(shown("blocks"))[3].tolist() == [90, 70_033]
    assert manifest.decode_files(shown("files")) == {7: 10, 8: 70_008}


def table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def test_the_head_is_as_long_as_its_table():
    rows = table("Section")
    offset = 0
    for at, size, *_ in rows:
        assert int(at) == offset
        offset += int(size)
    assert offset == indexwrite.HEAD.size


@pytest.mark.parametrize(
    ("heading", "module", "names"),
    [
        ("Stored bytes", stored, ("INLINE", "PLAIN", "ZSTD")),
        ("Column", column, ("NARROW", "STEPS")),
        ("Texts", texts, ("SEPARATED", "MEASURED")),
        ("Numbers", labelwrite, ("NO_NUMBERS", "FLOATS", "DECIMALS")),
    ],
)
def test_every_number_of_a_form_is_in_its_table(heading, module, names):
    described = {int(row[0]): row[1] for row in table(heading)}
    assert described == {getattr(module, name): name for name in names}


def test_limits_are_those_of_the_text():
    for number in (
        f"at most {indexwrite.MOST_ROWS:,} rows",
        f"at most {stats.LIMIT:,} bytes",
        f"one row in {labelwrite.SHARE}",
        f"more than {labelwrite.MOST_COLUMNS:,}",
        f"{labelwrite.GROUP_PAIRS:,} pairs",
        f"up to {stored.FEW} bytes",
        f"0 to {labelread.MOST_DIGITS}",
    ):
        assert number in TEXT


def golden_records() -> list[Record]:
    """What golden/index-1.seg was written from. Never change it: a new format gets a new file."""
    rng = random.Random(7)
    found, time, ends = [], 2**63 - 500_000, {3: 64, 4: 4096}
    for i in range(700):
        time += rng.choice((1000, 1000, 1003, 990))
        labels = {"cam": str(i % 16), "score": f"{rng.randrange(1000) / 1000:.3f}", "id": f"{rng.getrandbits(40):010x}"}
        labels["note"] = "" if i % 3 else "naïve\0text"
        if i % 5:
            labels["ok"] = "true" if rng.random() < 0.5 else "false"
        if i % 100 == 42:
            labels[f"rare-{i}"] = str(i * 1.5)
        size = 70_000 if i % 90 == 11 else rng.randrange(500, 1500)
        file = 4 if size > 65_536 else 3
        codec = int(i % 200 == 150)
        kept = size - 100 * codec
        died = 1000 + i if i % 70 == 5 else 2**64 - 1
        crc = rng.getrandbits(32)
        type = "image/png" if i % 7 == 0 else "text/plain"
        found.append(
            Record(time, label_set(labels), size, ends[file], kept, 40 + i // 8, crc, file, 60, type, codec, died)
        )
        ends[file] += kept + (8 if size > 65_536 else 0)
    return found


def golden_section() -> IndexSection:
    blobs = MemoryBlobs()
    writer = blobs.create("index-1.seg")
    writer.append([(GOLDEN / "index-1.seg").read_bytes()])
    writer.finish()
    [section] = SegmentReader(blobs, "index-1.seg").sections
    return IndexSection(blobs, "index-1.seg", section.directory)


def test_a_section_of_format_1_is_read():
    section = golden_section()
    records = golden_records()
    assert struct.unpack_from("<HH", example().directory) == (indexwrite.READ_FORMAT, indexwrite.WRITE_FORMAT)
    assert records_of(section) == records
    for name in ("cam", "score", "id", "note", "ok", "rare-142"):
        column = section.label(name)
        values = [column.values[code] if code >= 0 else None for code in column.codes.tolist()]
        assert values == [dict(record.labels).get(name) for record in records]
    assert section.label("rare-142").numbers.tolist() == [213.0]
    assert section.stats("cam").high == 15
