"""Segments: what is written comes back, damage and newer formats are told apart, the manual's example is true."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

import lamina
from lamina.errors import Corrupt, NotFound, UnknownFormat
from lamina.storage import segment as segment_module
from lamina.storage.crc import crc32c
from lamina.storage.memory import MemoryBlobs
from lamina.storage.segment import SegmentReader, SegmentWriter, segment_name
from lamina.testing.blobs_contract import put

DATABASE = bytes(range(16))


def writer(blobs, name="s", **changes):
    return SegmentWriter(blobs, name, **{"id": 7, "kind": "streams", "database_id": DATABASE, "epoch": 3, **changes})


def section(out, object_id=1, directory=b"root", **changes):
    fields = {
        "uuid": bytes([object_id]) * 16,
        "first_time": -5,
        "last_time": 10,
        "min_seq": 1,
        "max_seq": 2,
        "version": 12,
        "live": 100,
    }
    out.section(object_id=object_id, directory=directory, **{**fields, **changes})


def content_of(blobs, name="s"):
    return blobs.read(name, [(0, blobs.size(name))])[0]


def changed(content, offset, new):
    return content[:offset] + new + content[offset + len(new) :]


def with_header_crc(content):
    return changed(content, 60, struct.pack("<I", crc32c(content[:60])))


def opened(content, name="s"):
    blobs = MemoryBlobs()
    put(blobs, name, content)
    return SegmentReader(blobs, name)


@pytest.fixture
def content():
    blobs = MemoryBlobs()
    out = writer(blobs)
    out.append(b"block of thirteen"[:13])
    section(out, 1)
    section(out, 2, directory=b"")
    out.finish()
    return content_of(blobs)


def test_crc32c_is_castagnoli_seedable_and_takes_every_buffer():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283
    assert crc32c(bytearray(b"123456789")) == crc32c(memoryview(b"x123456789")[1:]) == 0xE3069283
    assert crc32c(b"") == crc32c(memoryview(b"")) == crc32c(bytearray()) == 0


def test_names_spread_over_256_folders():
    assert segment_name("streams", 0x12345) == "streams/45/00012345.seg"
    assert segment_name("meta", 1) == "meta/01/00000001.seg"


def test_blocks_and_sections_come_back():
    blobs = MemoryBlobs()
    out = writer(blobs)
    assert out.id == 7
    data = [b"a", b"bc" * 100, b"", bytes(8), bytearray(b"xyz"), memoryview(bytes(range(24))).cast("Q")]
    addresses = []
    for block in data:
        assert out.offset % 8 == 0
        before = out.offset
        addresses.append(out.append(block))
        assert addresses[-1][0] == before
    section(out, 1, directory=b"first")
    section(out, 2, directory=b"", uuid=b"", first_time=-(1 << 60), last_time=(1 << 62))
    total = out.finish()
    assert total == blobs.size("s")
    for block, (offset, length, crc) in zip(data, addresses, strict=True):
        assert blobs.read("s", [(offset, length)]) == [bytes(block)]
        assert crc == crc32c(bytes(block))
    reader = SegmentReader(blobs, "s")
    assert (reader.id, reader.kind, reader.epoch, reader.database_id) == (7, "streams", 3, DATABASE)
    assert (reader.bytes, reader.name, reader.write_format) == (total, "s", 1)
    assert reader.writer == f"lamina {lamina.__version__}"
    one, two = reader.sections
    assert one.object_id == 1
    assert one.uuid == bytes([1]) * 16
    assert (one.first_time, one.last_time, one.min_seq, one.max_seq) == (-5, 10, 1, 2)
    assert (one.version, one.live, one.directory) == (12, 100, b"first")
    assert two.uuid == bytes(16)
    assert two.directory == b""
    assert (two.first_time, two.last_time) == (-(1 << 60), 1 << 62)


def test_segment_without_blocks_and_sections_is_whole():
    blobs = MemoryBlobs()
    writer(blobs, kind="meta").finish()
    reader = SegmentReader(blobs, "s")
    assert reader.sections == []
    assert reader.kind == "meta"


def test_align_places_the_next_block():
    blobs = MemoryBlobs()
    out = writer(blobs)
    out.align(4096)
    assert out.append(b"page")[0] == 4096
    out.finish()


def test_blocks_are_written_in_large_parts_and_memory_stays_bounded():
    sizes = []

    class Watching(MemoryBlobs):
        def create(self, name):
            inner = super().create(name)

            class Blob:
                finish, abort = inner.finish, inner.abort

                def append(self, parts):
                    sizes.append(sum(map(len, parts)))
                    inner.append(parts)

            return Blob()

    blobs = Watching()
    out = writer(blobs)
    block = bytes(range(256)) * 400
    addresses = [out.append(block) for _ in range(30)]
    out.finish()
    assert len(sizes) == 3
    assert max(sizes) < (1 << 20) + len(block) + 8
    assert all(blobs.read("s", [a[:2]]) == [block] for a in addresses)


def test_abort_leaves_nothing():
    blobs = MemoryBlobs()
    out = writer(blobs)
    out.append(b"x" * 3_000_000)
    out.abort()
    with pytest.raises(NotFound):
        SegmentReader(blobs, "s")


def test_every_flipped_bit_of_the_envelope_is_found(content):
    whole = opened(content)
    directory = whole.sections[0].offset
    block = 80  # behind header and writer's name
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        if block <= position < block + 13:
            opened(bytes(damaged))  # a block: its address knows
            continue
        try:
            reader = opened(bytes(damaged))
            found = [s.directory for s in reader.sections]
        except Corrupt:
            continue
        padding = [*range(block + 13, directory), *range(directory + 4, directory + 8)]
        assert position in padding, f"byte {position} may be changed unseen"
        assert found == [b"root", b""]


def test_every_truncation_and_any_appendix_is_found(content):
    for length in range(len(content)):
        with pytest.raises(Corrupt):
            opened(content[:length])
    with pytest.raises(Corrupt):
        opened(content + b"\0")
    with pytest.raises(Corrupt):
        opened(content + content)


def test_newer_format_is_named_and_not_called_damage(content):
    newer = with_header_crc(changed(content, 8, struct.pack("<HH", 9, 11)))
    with pytest.raises(UnknownFormat, match=r"s: offset 8: .*'lamina .*' in format 9.* up to 1"):
        opened(newer)


def test_newer_format_is_named_even_if_the_rest_is_laid_out_anew(content):
    newer = with_header_crc(changed(content, 8, struct.pack("<HH", 2, 2)))
    with pytest.raises(UnknownFormat, match="an unknown writer"):
        opened(newer[:64] + b"\xff" * (len(newer) - 64))


def test_file_for_newer_writers_only_can_be_read(content):
    newer = with_header_crc(changed(content, 10, struct.pack("<H", 2)))
    reader = opened(newer)
    assert reader.write_format == 2
    assert len(reader.sections) == 2


def test_damage_names_file_offset_expected_and_found(content):
    with pytest.raises(Corrupt, match=r"s: offset 0: magic: expected .*LAMSEG.*, found b'\\x00AMSEG"):
        opened(b"\0" + content[1:])


def test_damaged_directory_leaves_the_others_readable(content):
    offset = opened(content).sections[0].offset
    reader = opened(changed(content, offset, b"ROOT"))
    with pytest.raises(Corrupt, match=f"s: offset {offset}: CRC32C of a directory"):
        _ = reader.sections[0].directory
    assert reader.sections[1].directory == b""


def test_count_that_disagrees_with_the_table_is_damage(content):
    offset, length, _, total, magic = segment_module._FOOTER.unpack(content[-32:])
    table = changed(content[offset : offset + length], 0, struct.pack("<I", 3))
    forged = changed(content, offset, table)
    footer = segment_module._FOOTER.pack(offset, length, crc32c(table), total, magic)
    with pytest.raises(Corrupt, match="number of sections"):
        opened(forged[:-32] + footer)


def test_example_of_the_manual_is_what_is_written(monkeypatch):
    monkeypatch.setattr(lamina, "__version__", "0.1.0")
    manual = Path(segment_module.__file__).with_name("FORMAT.md").read_text()
    shown = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", manual, re.MULTILINE)
    example = b"".join(bytes.fromhex(row) for _, row in shown)
    assert [int(offset, 16) for offset, _ in shown] == list(range(0, len(example), 16))
    blobs = MemoryBlobs()
    out = SegmentWriter(blobs, "s", id=0x12345, kind="streams", database_id=DATABASE, epoch=2)
    out.append(b"hello")
    out.section(
        object_id=7,
        uuid=bytes(range(0x10, 0x20)),
        first_time=-1,
        last_time=1000,
        min_seq=5,
        max_seq=9,
        version=12,
        live=5,
        directory=b"dir",
    )
    out.finish()
    assert example == content_of(blobs)
