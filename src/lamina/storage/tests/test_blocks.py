"""BlockReader: what it reads, what it keeps, and that it never gives out a block it has not verified."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from lamina.errors import Corrupt, NotFound
from lamina.storage.blocks import EXTENT_BYTES, BlockReader
from lamina.storage.crc import crc32c
from lamina.storage.memory import MemoryBlobs
from lamina.streams.node import ADDRESS, ROW


class Segments:
    """Objects "1", "2", ... in memory and the addresses of the blocks put into them."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.content: dict[int, bytearray] = {}

    def put(self, segment: int, block: bytes, gap: int = 0) -> np.void:
        content = self.content.setdefault(segment, bytearray())
        content += bytes(gap)
        offset = len(content)
        content += block
        return np.array((segment, len(block), offset, crc32c(block)), ADDRESS)[()]

    def put_node(self, segment: int, first: int, n: int) -> np.void:
        rows = np.zeros(n, ROW)
        rows["t0"] = np.arange(first, first + n)
        return self.put(segment, rows.tobytes())

    def reader(self, cache_bytes: int = 1 << 20) -> BlockReader:
        for segment, content in self.content.items():
            self.blobs.delete(str(segment))
            writer = self.blobs.create(str(segment))
            writer.append([bytes(content)])
            writer.finish()
        return BlockReader(self.blobs, str, ROW, cache_bytes)


def addresses(*items: np.void) -> np.ndarray:
    return np.array(list(items), ADDRESS)


@pytest.fixture
def segments() -> Segments:
    return Segments()


def test_neighbouring_blocks_come_with_one_read_in_the_order_asked(segments: Segments) -> None:
    a, b = segments.put(1, b"first"), segments.put(1, b"second", gap=3)
    far = segments.put(1, b"far", gap=5000)
    other = segments.put(2, b"other")
    read = segments.reader()
    assert read.blocks(addresses(b, other, a, far)) == [b"second", b"other", b"first", b"far"]
    assert read.reads == 3  # first + second, far, other
    assert read.bytes_read == 14 + 3 + 5


def test_many_blocks_at_once_are_those_read_one_by_one(segments: Segments) -> None:
    rng = random.Random(1)
    every = [
        segments.put(rng.choice((1, 2, 2**32 - 1)), rng.randbytes(rng.randrange(1, 900)), gap=rng.choice((0, 0, 700)))
        for _ in range(60)
    ]
    read = segments.reader(cache_bytes=0)
    for _ in range(20):
        asked = addresses(*(rng.choice([*every, np.zeros((), ADDRESS)[()]]) for _ in range(rng.randrange(2, 40))))
        single = [read.blocks(asked[i : i + 1])[0] for i in range(len(asked))]
        assert read.blocks(asked) == single
        assert [len(block) for block in single] == asked["length"].tolist()


def test_no_address_and_absent_blocks_read_nothing(segments: Segments) -> None:
    a = segments.put(1, b"x")
    read = segments.reader()
    assert read.blocks(addresses()) == []
    assert len(read.nodes(addresses())) == 0
    assert read.blocks(np.array([np.zeros((), ADDRESS)[()], a], ADDRESS)) == [b"", b"x"]
    assert read.reads == 1


def test_a_damaged_block_is_corrupt_with_place_and_both_checksums(segments: Segments) -> None:
    good, bad = segments.put(7, b"good block"), segments.put(7, b"bad block")
    segments.content[7][int(bad["offset"]) + 4] ^= 1
    read = segments.reader()
    with pytest.raises(Corrupt) as caught:
        read.blocks(addresses(good, bad))
    found = crc32c(bytes(segments.content[7][10:]))
    for part in ("7: ", "offset 10", f"expected CRC32C {int(bad['crc']):08x}", f"found {found:08x}"):
        assert part in str(caught.value)
    assert read.blocks(addresses(good)) == [b"good block"]


def test_blocks_are_verified_at_every_read(segments: Segments) -> None:
    a = segments.put(1, b"leaf")
    read = segments.reader()
    assert read.blocks(addresses(a)) == [b"leaf"]
    segments.content[1][0] ^= 1
    segments.reader()  # publishes the damage
    with pytest.raises(Corrupt):
        read.blocks(addresses(a))


def test_an_absent_segment_is_not_found(segments: Segments) -> None:
    a = segments.put(1, b"leaf")
    read = segments.reader()
    segments.blobs.delete("1")
    with pytest.raises(NotFound):
        read.blocks(addresses(a))
    with pytest.raises(NotFound):
        read.block(1, 0, 4, int(a["crc"]))


def test_nodes_are_read_once_and_verified_on_entry(segments: Segments) -> None:
    nodes = [segments.put_node(1, 10 * i, 10) for i in range(5)]
    read = segments.reader()
    rows = read.nodes(addresses(*nodes))
    assert rows["t0"].tolist() == list(range(50))
    assert read.reads == 1
    segments.blobs.delete("1")
    assert read.nodes(addresses(*nodes[1:4]))["t0"].tolist() == list(range(10, 40))
    assert read.nodes(addresses(nodes[4], nodes[0]))["t0"].tolist() == [*range(40, 50), *range(10)]
    assert read.reads == 1


def test_only_nodes_that_are_not_cached_are_read(segments: Segments) -> None:
    nodes = [segments.put_node(1, 10 * i, 10) for i in range(6)]
    read = segments.reader()
    read.nodes(addresses(nodes[1]))
    read.nodes(addresses(nodes[3], nodes[4]))
    before = read.bytes_read
    assert read.nodes(addresses(*nodes))["t0"].tolist() == list(range(60))
    assert read.bytes_read - before == 3 * 10 * ROW.itemsize
    assert read.nodes(addresses(*nodes))["t0"].tolist() == list(range(60))
    assert read.bytes_read - before == 3 * 10 * ROW.itemsize


def test_a_damaged_node_is_never_cached(segments: Segments) -> None:
    nodes = [segments.put_node(1, 10 * i, 10) for i in range(3)]
    segments.content[1][15 * ROW.itemsize] ^= 0x80
    read = segments.reader()
    for _ in range(2):
        with pytest.raises(Corrupt, match=f"offset {10 * ROW.itemsize}:"):
            read.nodes(addresses(*nodes))
    assert len(read.nodes(addresses(nodes[0]))) == 10


def test_cache_holds_no_more_than_its_limit_and_drops_the_least_recently_used(segments: Segments) -> None:
    nodes = [segments.put_node(i, 0, 10) for i in range(1, 4)]
    size = 10 * ROW.itemsize + 400
    read = segments.reader(cache_bytes=2 * size)
    read.nodes(addresses(nodes[0]))
    read.nodes(addresses(nodes[1]))
    read.nodes(addresses(nodes[0]))
    read.nodes(addresses(nodes[2]))  # pushes out nodes[1]
    assert read.reads == 3
    read.nodes(addresses(nodes[0], nodes[2]))
    assert read.reads == 3
    read.nodes(addresses(nodes[1]))
    assert read.reads == 4


def test_a_cache_of_nothing_still_answers(segments: Segments) -> None:
    nodes = [segments.put_node(1, 10 * i, 10) for i in range(3)]
    read = segments.reader(cache_bytes=0)
    for _ in range(2):
        assert read.nodes(addresses(*nodes))["t0"].tolist() == list(range(30))
    assert read.reads == 2


def test_long_runs_are_cut_into_extents(segments: Segments) -> None:
    n = EXTENT_BYTES // (100 * ROW.itemsize) + 5
    nodes = [segments.put_node(1, 100 * i, 100) for i in range(n)]
    read = segments.reader(cache_bytes=EXTENT_BYTES + EXTENT_BYTES // 8)
    expected = list(range(100 * n))
    assert read.nodes(addresses(*nodes))["t0"].tolist() == expected
    assert read.reads == 2
    assert read.nodes(addresses(*nodes[-2:]))["t0"].tolist() == expected[-200:]
    assert read.reads == 2  # the second extent survived, the first was evicted


def test_single_blocks_are_cached_and_forgotten_with_their_segment(segments: Segments) -> None:
    a = segments.put(1, b"history")
    read = segments.reader()
    place = (1, int(a["offset"]), 7, int(a["crc"]))
    assert read.block(*place) == b"history"
    assert read.block(*place) == b"history"
    assert read.reads == 1
    read.drop(1)
    read.drop(1)
    assert read.block(*place) == b"history"
    assert read.reads == 2
    with pytest.raises(Corrupt):
        segments.reader().block(1, 0, 7, 1)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_lookups_gives_the_same_rows(segments: Segments, seed: int) -> None:
    rng = random.Random(seed)
    nodes, expected, first = [], [], 0
    for _ in range(40):
        n = rng.randrange(1, 6)
        nodes.append(segments.put_node(rng.randrange(1, 3), first, n))
        expected.append(range(first, first + n))
        first += n
    read = segments.reader(cache_bytes=rng.choice([0, 3000, 1 << 20]))
    for _ in range(60):
        i = rng.randrange(40)
        picks = sorted(rng.sample(range(40), rng.randrange(1, 40))) if rng.random() < 0.5 else range(i, 40)
        rows = read.nodes(addresses(*(nodes[p] for p in picks)))
        assert rows["t0"].tolist() == [t for p in picks for t in expected[p]]


def test_threads_share_one_cache(segments: Segments) -> None:
    nodes = [segments.put_node(1 + i % 2, 10 * i, 10) for i in range(64)]
    read = segments.reader(cache_bytes=20_000)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(200):
                i = rng.randrange(64)
                j = rng.randrange(i, 65)
                rows = read.nodes(addresses(*nodes[i:j]))
                if rows["t0"].tolist() != list(range(10 * i, 10 * j)):
                    wrong.append((i, j))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
