"""Contents verified as they are read: whole, in ranges, compressed, and damaged in every way."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.codecs import zstd
from lamina.errors import Corrupt, InvalidArgument, NotFound, UnknownFormat
from lamina.records.checksum import CHUNK, array_bytes, checksum, chunks, verify
from lamina.records.row import RAW, ZSTD
from lamina.storage.checksums import RunningChecksum
from lamina.storage.crc import crc32c

WORDS = random.Random(1).randbytes(700) * 3  # so that something can be compressed
NOISE = random.Random(2).randbytes(300_000)
LONG = (NOISE + WORDS * 200)[:600_001]


class Store:
    """One content, stored at an odd place of file 7 (or the log)."""

    def __init__(self, content, codec=RAW, file=7):
        self.content = content
        self.codec = codec
        self.file = file
        self.where = 4096 + 24
        stored = zstd.encode(content) if codec == ZSTD else content
        running = RunningChecksum(len(content))
        running.add(memoryview(content))
        self.crc, array = running.finish()
        self.stored = len(stored)
        self.data = bytearray(self.where) + stored + array + b"behind"
        self.calls = []

    def read(self, file, where, length):
        if file != self.file:
            raise NotFound("no such file")
        assert where + length <= len(self.data) - 6, "behind the content"
        self.calls.append((where - self.where, length))
        return bytes(self.data[where : where + length])

    def read_into(self, file, where, buffer):
        buffer[:] = self.read(file, where, len(buffer))

    def get_into(self, room, *range):
        """What comes piece by piece through a buffer of so many bytes, which is spoilt before each."""
        buffer = memoryview(bytearray(room))
        pieces = self.chunks(*range, into=(self.read_into, buffer))
        found = b""
        while True:
            buffer[:] = bytes(room)
            piece = next(pieces, None)
            if piece is None:
                return found
            found += piece

    def chunks(self, *range, **more):
        row = (self.file, self.where, len(self.content), self.stored, self.crc, self.codec)
        return chunks(self.read, *row, *range, **more)

    def get(self, *range, **more):
        return b"".join(self.chunks(*range, **more))


sizes = st.one_of(st.integers(0, 100), st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 600_001]))


@settings(max_examples=80, deadline=None)
@given(
    size=sizes,
    codec=st.sampled_from([RAW, ZSTD]),
    edges=st.tuples(st.integers(0, 600_001), st.integers(0, 600_001)),
    part=st.sampled_from([1, CHUNK, 2 * CHUNK + 5, 1 << 20]),
)
def test_any_range_is_the_slice_of_the_content(size, codec, edges, part):
    store = Store(LONG[:size], codec)
    start, stop = sorted(min(edge, size) for edge in edges)
    pieces = list(store.chunks(start, stop, part=part))
    assert b"".join(pieces) == store.content[start:stop]
    assert all(0 < len(piece) <= max(part, CHUNK) for piece in pieces)
    assert store.get() == store.content
    assert store.get(start) == store.content[start:]


@settings(max_examples=60, deadline=None)
@given(
    size=sizes,
    codec=st.sampled_from([RAW, ZSTD]),
    edges=st.tuples(st.integers(0, 600_001), st.integers(0, 600_001)),
    room=st.sampled_from([CHUNK, 3 * CHUNK + 12, 3 * CHUNK + 13, 1 << 20]),
)
def test_through_a_buffer_come_the_same_bytes(size, codec, edges, room):
    store = Store(LONG[:size], codec)
    start, stop = sorted(min(edge, size) for edge in edges)
    assert store.get_into(room, start, stop) == store.get(start, stop)
    assert store.get_into(room) == store.content


def test_a_range_reads_only_the_chunks_it_touches():
    store = Store(LONG)
    array = (600_001, array_bytes(600_001))
    assert store.get(CHUNK + 5, CHUNK + 6) == LONG[CHUNK + 5 : CHUNK + 6]
    assert store.calls == [array, (CHUNK, CHUNK)]
    store.calls.clear()
    store.get(2 * CHUNK - 1, 5 * CHUNK + 1, part=2 * CHUNK)
    assert store.calls == [array, (CHUNK, 2 * CHUNK), (3 * CHUNK, 2 * CHUNK), (5 * CHUNK, CHUNK)]
    store.calls.clear()
    store.get()
    assert store.calls == [(0, 600_001 + array_bytes(600_001))], "content and array together"
    store.calls.clear()
    assert store.get(5, 5) == b""
    assert store.calls == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 11), (11, 11)])
def test_ranges_outside_are_refused(start, stop):
    with pytest.raises(InvalidArgument, match=rf"bytes \[{start}, {stop}\) of a content of 10 bytes"):
        Store(b"0123456789").chunks(start, stop)


def test_what_is_read_is_given_out_part_by_part():
    store = Store(LONG)
    pieces = store.chunks(part=CHUNK)
    assert bytes(next(pieces)) == LONG[:CHUNK]
    assert len(store.calls) == 2, "the array and one chunk"
    store = Store(LONG, ZSTD)
    pieces = store.chunks(part=CHUNK)
    assert bytes(next(pieces)) == LONG[:CHUNK]
    assert sum(length for _, length in store.calls) <= 262_144 + array_bytes(len(LONG))


@pytest.mark.parametrize("size", [10, CHUNK, CHUNK + 1, 600_001])
@pytest.mark.parametrize("file", [0, 7])
def test_every_flipped_bit_of_the_stored_content_is_found(size, file):
    store = Store(LONG[:size], file=file)
    rng = random.Random(size)
    ends = len(store.data) - 6
    spots = [store.where, store.where + size - 1, ends - 1] + [rng.randrange(store.where, ends) for _ in range(20)]
    for spot in spots:
        store.data[spot] ^= 1 << rng.randrange(8)
        for part in (CHUNK, 1 << 20):
            name = "log: offset" if file == 0 else r"segments/payload/07/00000007\.dat: offset"
            with pytest.raises(Corrupt, match=name):
                store.get(part=part)
            with pytest.raises(Corrupt, match=name):
                store.get_into(part + 64)
        store.data[spot] = (bytes(store.where) + LONG[:size] + array(LONG[:size]))[spot]
    assert store.get() == LONG[:size]


def array(content):
    if len(content) <= CHUNK:
        return b""
    return b"".join(crc32c(content[at : at + CHUNK]).to_bytes(4, "little") for at in range(0, len(content), CHUNK))


def test_damage_names_the_chunk_and_leaves_the_others_readable():
    store = Store(LONG)
    store.data[store.where + 3 * CHUNK + 17] ^= 4
    with pytest.raises(Corrupt, match=rf"offset {store.where + 3 * CHUNK}: CRC32C of byte {3 * CHUNK} on"):
        store.get()
    assert store.get(0, 3 * CHUNK) == LONG[: 3 * CHUNK]
    assert store.get(4 * CHUNK) == LONG[4 * CHUNK :]
    pieces = store.chunks(part=CHUNK)
    assert [bytes(next(pieces)) for _ in range(3)] == [LONG[at : at + CHUNK] for at in range(0, 3 * CHUNK, CHUNK)]
    with pytest.raises(Corrupt):
        next(pieces)


@pytest.mark.parametrize("codec", [RAW, ZSTD])
def test_another_content_with_its_own_array_does_not_pass(codec):
    store, other = Store(LONG, codec), Store(LONG[::-1], codec)
    store.data, store.stored = other.data, other.stored
    with pytest.raises(Corrupt, match=f"offset {store.where + store.stored}: CRC32C of the checksum array"):
        store.get()
    with pytest.raises(Corrupt):
        store.get(CHUNK, CHUNK + 1)


@pytest.mark.parametrize("size", [5000, 600_001])
def test_no_damage_of_a_compressed_content_passes(size):
    content = (WORDS * 400)[:size]
    store = Store(content, ZSTD)
    whole = bytes(store.data)
    rng = random.Random(size)
    for _ in range(150):
        spot = rng.randrange(store.where, len(whole) - 6)
        store.data[:] = whole
        store.data[spot] ^= 1 << rng.randrange(8)
        try:
            found = store.get(part=CHUNK)
        except Corrupt:
            continue
        assert found == content, "a bit that means nothing to the frame may be flipped"


def test_a_compressed_content_that_is_longer_or_shorter_than_its_row_is_corrupt():
    for size, more in ((5000, b""), (2 * CHUNK, b""), (5000, b"x")):
        store = Store((WORDS * 400)[:size], ZSTD)
        bomb = zstd.encode((WORDS * 400)[: size + 1 - 2 * len(more)])
        store.data[store.where :] = bomb + array(store.content) + b"behind"
        store.stored = len(bomb)
        with pytest.raises(Corrupt, match=r"offset 4120: (zstd frame|CRC32C)"):
            store.get()
    store = Store(WORDS, ZSTD)
    store.stored -= 1
    with pytest.raises(Corrupt, match="cut off"):
        store.get()
    store = Store(WORDS, ZSTD)
    store.stored += 1
    store.data += b"more"
    with pytest.raises(Corrupt, match="bytes behind"):
        store.get()


def test_a_bomb_is_not_inflated():
    store = Store(bytes(1000), ZSTD)
    bomb = zstd.encode(bytes(200 << 20))
    store.data[store.where :] = bomb + b"behind"
    store.stored = len(bomb)
    tracemalloc.start()
    with pytest.raises(Corrupt, match="more than 1000 bytes inside"):
        store.get()
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_long_compressed_content_streams_in_bounded_memory():
    content = bytes(48 << 20)
    store = Store(content, ZSTD)
    tracemalloc.start()
    total = sum(len(piece) for piece in store.chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == len(content)
    assert peak < 8 << 20


def test_an_unknown_codec_is_told():
    store = Store(b"abc")
    store.codec = 9
    with pytest.raises(UnknownFormat, match=r"00000007\.dat: offset 4120: codec 9"):
        store.chunks()


def test_what_reading_raises_goes_through():
    store = Store(b"abc")
    store.data = store.data[:0]
    with pytest.raises(NotFound):
        next(chunks(store.read, 8, 0, 3, 3, 0, RAW))


@given(size=sizes, kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_a_whole_content_is_verified_without_its_array(size, kind):
    store = Store(LONG[:size])
    content = kind(store.content)
    assert checksum(content) == store.crc
    verify(content, store.crc, 7, 4096)
    if size:
        damaged = bytearray(content)
        damaged[size // 2] ^= 1
        with pytest.raises(Corrupt, match=r"00000007\.dat: offset 4096: checksum: expected [0-9a-f]{8}, found"):
            verify(kind(damaged), store.crc, 7, 4096)
