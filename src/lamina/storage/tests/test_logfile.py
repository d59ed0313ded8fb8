"""Bytes of a log file: the format as LOGFORMAT.md shows it, and what a reader does with wrong ones."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import Corrupt, UnknownFormat
from lamina.storage import logfile
from lamina.storage.crc import crc32c
from lamina.storage.log import Op
from lamina.storage.logfile import (
    FRAME_HEADER,
    FRAME_MAGIC,
    HEADER_BYTES,
    LOST,
    MARK,
    OPS,
    FileHeader,
    Frame,
    Framing,
    decode_header,
    decode_ops,
    encode_ops,
    op_length,
    surviving_salt,
    walk_ops,
)

DATABASE = bytes(range(16))
HEADER = FileHeader(epoch=3, base=0x1000, first_seq=41, database_id=DATABASE, salt=b"saltsalt")


def example_file() -> bytes:
    """The file that LOGFORMAT.md shows: one op, and the mark that proves it."""
    framing = Framing(HEADER.salt, HEADER.base)
    body = encode_ops([Op(1, 3, 7, [b"hello"])], HEADER.base + HEADER_BYTES + FRAME_HEADER)
    first = b"".join(framing.encode(HEADER_BYTES, OPS, 41, 40, 3, 1, body))
    mark = b"".join(framing.encode(HEADER_BYTES + len(first), MARK, 42, 41, 3, 0))
    return HEADER.encode() + first + mark


def test_the_format_document_shows_the_bytes_that_are_written() -> None:
    text = (Path(logfile.__file__).parent / "LOGFORMAT.md").read_text()
    dump = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+)", text, re.MULTILINE)
    shown = b"".join(bytes.fromhex(line) for _, line in dump)
    assert [int(offset, 16) for offset, _ in dump] == list(range(0, len(shown), 16))
    assert shown.hex(" ", 8) == example_file().hex(" ", 8)


def test_a_frame_is_the_same_whether_its_parts_are_joined_or_not() -> None:
    framing = Framing(HEADER.salt, HEADER.base)
    body = bytes(range(256)) * 512
    cuts = [0, 8, 24, 24 + logfile.LONG_PART, 32 + logfile.LONG_PART, 40 + 3 * logfile.LONG_PART, len(body)]
    parts: list[bytes | memoryview] = [body[a:b] for a, b in pairwise(cuts)]
    parts[-1] = memoryview(parts[-1])
    whole = framing.encode(64, OPS, 41, 40, 3, 1, [memoryview(body)])
    several = framing.encode(64, OPS, 41, 40, 3, 1, parts)
    assert b"".join(several) == b"".join(whole)
    assert any(part is parts[2] for part in several), "long parts are not copied"
    (frame,) = framing.walk(HEADER.encode() + b"".join(several))
    assert frame.length == len(body)


def test_both_checksums_cover_salt_position_and_their_bytes() -> None:
    data = example_file()
    frame = data[64:136]
    place = HEADER.salt + struct.pack("<Q", 0x1000 + 64)
    assert struct.unpack_from("<I", frame, 12)[0] == crc32c(place + frame[:12])
    assert struct.unpack_from("<I", frame, 64)[0] == crc32c(place + frame[16:64])


def test_walk_finds_the_frames_and_ops() -> None:
    data = example_file()
    frames = list(Framing(HEADER.salt, HEADER.base).walk(data))
    assert frames == [Frame(64, OPS, 24, 41, 40, 3, 1), Frame(136, MARK, 0, 42, 41, 3, 0)]
    (row,) = decode_ops(data, frames[:1]).tolist()
    assert row == (24, 1, 3, 0, 7, 64 + 40 + 16)
    assert data[row[5] : row[5] + 8] == b"hello\0\0\0"


def test_every_flipped_bit_of_a_frame_makes_it_none() -> None:
    """Except in the padding behind the CRC, which nobody reads."""
    data = example_file()
    framing = Framing(HEADER.salt, HEADER.base)
    for bit in range(8 * 64, 8 * 132):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        assert framing.check(bytes(broken), 64) is None, bit
        assert [frame.offset for frame in framing.walk(bytes(broken))] == [136]


@pytest.mark.parametrize("garbage", [8, 65_528, 65_536, 65_544, 200_000])
@pytest.mark.parametrize("body", [8, 4096, 100_000])
def test_frames_behind_damage_are_found_however_long_it_is(garbage: int, body: int) -> None:
    """Among magics that begin no frame, aligned and not, and with bodies that are summed in either way."""
    framing = Framing(HEADER.salt, HEADER.base)
    damage = bytearray(garbage)
    damage[1:5] = damage[-8:-4] = FRAME_MAGIC
    offset = HEADER_BYTES + garbage
    ops = encode_ops([Op(1, 3, 7, [b"x" * body])], HEADER.base + offset + FRAME_HEADER)
    data = bytes(HEADER_BYTES) + damage + b"".join(framing.encode(offset, OPS, 41, 40, 3, 1, ops)) + bytes(garbage)
    assert [frame.offset for frame in framing.walk(data)] == [offset]
    broken = bytearray(data)
    broken[offset + FRAME_HEADER + 16] ^= 1
    assert list(framing.walk(memoryview(broken))) == []


def test_a_frame_counts_only_at_its_position_and_with_its_salt() -> None:
    data = example_file()
    frame = data[64:136]
    framing = Framing(HEADER.salt, HEADER.base)
    assert framing.check(bytes(72) + frame, 72) is None
    assert Framing(HEADER.salt, HEADER.base + 8).check(data, 64) is None
    assert Framing(b"otherone", HEADER.base).check(data, 64) is None


def test_forged_frames_inside_a_damaged_payload_are_not_found() -> None:
    """An attacker who knows everything but the salt, and a copy of a real frame of the same file."""
    framing = Framing(HEADER.salt, HEADER.base)
    real = b"".join(framing.encode(64, OPS, 41, 40, 3, 1, encode_ops([Op(1, 1, 1, [b"realreal"])], 0)))
    offset = 64 + len(real)
    inside = offset + 40 + 16
    guess = Framing(b"guessguy", HEADER.base)
    forged = b"".join(guess.encode(inside, OPS, 42, 40, 3, 1, encode_ops([Op(1, 1, 1, [b"forged!!"])], 0)))
    payload = forged + real + b"LAMf" * 8
    body = encode_ops([Op(1, 1, 1, [payload])], 0)
    data = bytearray(HEADER.encode() + real + b"".join(framing.encode(offset, OPS, 42, 41, 3, 1, body)))
    assert [frame.offset for frame in framing.walk(bytes(data))] == [64, offset]
    data[offset + 5] ^= 1
    assert [frame.offset for frame in framing.walk(bytes(data))] == [64]


def test_the_length_is_not_believed_before_its_checksum() -> None:
    data = bytearray(example_file())
    struct.pack_into("<I", data, 64 + 8, 0xFFFFFFF8)
    assert Framing(HEADER.salt, HEADER.base).check(bytes(data), 64) is None
    huge = b"LAMf" + bytes([1, OPS, 0, 0]) + struct.pack("<I", (64 << 20) + 8)
    place = HEADER.salt + struct.pack("<Q", HEADER.base + 64)
    data[64:80] = huge + struct.pack("<I", crc32c(place + huge))
    assert Framing(HEADER.salt, HEADER.base).check(bytes(data), 64) is None


@pytest.mark.parametrize("version_and_type", [(2, OPS), (1, 9)])
def test_a_valid_frame_of_a_later_format_is_refused(version_and_type: tuple[int, int]) -> None:
    data = bytearray(example_file())
    data[68:70] = bytes(version_and_type)
    place = HEADER.salt + struct.pack("<Q", HEADER.base + 64)
    struct.pack_into("<I", data, 76, crc32c(place + bytes(data[64:76])))
    with pytest.raises(UnknownFormat, match=f"version {version_and_type[0]}, type {version_and_type[1]}"):
        Framing(HEADER.salt, HEADER.base).check(bytes(data), 64)


def test_headers_survive_the_way_and_back() -> None:
    assert decode_header(HEADER.encode(), "log/x") == HEADER
    for bit in range(8 * 64):
        broken = bytearray(HEADER.encode())
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt, match="log/x"):
            decode_header(bytes(broken), "log/x")
    with pytest.raises(Corrupt, match="64 bytes, found 10"):
        decode_header(HEADER.encode()[:10], "log/x")


def test_a_header_for_later_readers_or_writers_is_refused() -> None:
    for offset in (8, 10):
        data = bytearray(HEADER.encode())
        data[offset] = 2
        struct.pack_into("<I", data, 60, crc32c(bytes(data[:60])))
        with pytest.raises(UnknownFormat, match="format"):
            decode_header(bytes(data), "log/x")


def test_the_salt_survives_damage_beside_it_only() -> None:
    data = bytearray(HEADER.encode())
    data[20] ^= 1
    assert surviving_salt(bytes(data), DATABASE) == HEADER.salt
    assert surviving_salt(bytes(64), bytes(16)) is None
    assert surviving_salt(bytes(data), b"another database"[:16]) is None
    assert surviving_salt(bytes(data[:63]), DATABASE) is None


def test_encoding_sets_the_position_of_each_body_and_keeps_to_eight() -> None:
    ops = [Op(1, 1, 1, [b"12345"]), Op(1, 1, 2, []), Op(1, 1, 3, [b"12345678", b"9"])]
    body = b"".join(encode_ops(ops, 1000))
    assert [op.position for op in ops] == [1016, 1040, 1056]
    assert [op_length(op) for op in ops] == [24, 16, 32]
    assert len(body) == 72
    assert body[40:56] == struct.pack("<IBBHQ", 32, 1, 1, 0, 3)[:16] or body[24:28] == struct.pack("<I", 16)


def frames_of(groups: list[list[bytes]]) -> tuple[bytes, list[Frame]]:
    framing = Framing(HEADER.salt, HEADER.base)
    data = HEADER.encode()
    seq = 41
    for number, bodies in enumerate(groups):
        ops = [Op(number % 4, n % 256, 1000 * number + n, [body], flags=n) for n, body in enumerate(bodies)]
        encoded = framing.encode(len(data), OPS, seq, seq - 1, 3, len(ops), encode_ops(ops, 0))
        data += b"".join(encoded)
        seq += len(ops)
    return data, list(framing.walk(data))


bodies = st.one_of(
    st.lists(st.binary(max_size=40), min_size=1, max_size=8),
    st.builds(lambda n, size: [bytes([n]) * size] * n, st.integers(1, 30), st.integers(0, 64)),
)


@given(st.lists(bodies, max_size=6))
def test_ops_read_by_stride_equal_ops_read_one_by_one(groups: list[list[bytes]]) -> None:
    data, frames = frames_of(groups)
    ops = decode_ops(data, frames)
    plain = [start for frame in frames for start in walk_ops(data, frame)]
    assert (ops["offset"] - 16).tolist() == plain
    expected = [struct.unpack_from("<IBBHQ", data, start) for start in plain]
    assert [tuple(row)[:5] for row in ops.tolist()] == expected
    assert ops.dtype.names == ("length", "kind", "type", "flags", "object", "offset")


def test_a_stride_that_only_the_first_op_keeps_is_noticed() -> None:
    """Lengths 24, 16, 32: three times the first is the whole, yet the ops are not of one length."""
    data, frames = frames_of([[b"12345678", b"", b"1234567890123456"]])
    assert decode_ops(data, frames)["length"].tolist() == [24, 16, 32]


@pytest.mark.parametrize("length", [0, 8, 20, 48, 1 << 31])
def test_ops_that_do_not_fill_their_frame_are_corrupt(length: int) -> None:
    framing = Framing(HEADER.salt, HEADER.base)
    body = struct.pack("<IBBHQ", length, 1, 1, 0, 1) + bytes(24)
    data = HEADER.encode() + b"".join(framing.encode(64, OPS, 41, 40, 3, 1, [body]))
    with pytest.raises(Corrupt, match=r"op at file offset|bytes behind its 1 ops"):
        decode_ops(data, list(framing.walk(data)))


def test_no_ops_decode_to_an_empty_table() -> None:
    assert len(decode_ops(HEADER.encode(), [])) == 0
    assert decode_ops(HEADER.encode(), []).dtype["offset"] == np.dtype("<u8")


def test_lost_frames_say_how_many() -> None:
    framing = Framing(HEADER.salt, HEADER.base)
    data = HEADER.encode() + b"".join(framing.encode(64, LOST, 41, 49, 3, 9))
    (frame,) = framing.walk(data)
    assert (frame.type, frame.seqs, frame.next_seq, frame.end) == (LOST, 9, 50, 64 + 48)
