import numpy as np
import pytest

from lamina.errors import Corrupt
from lamina.streams import history
from lamina.streams.history import Entry
from lamina.streams.node import ADDRESS, INNER, NO_ROWS, ROOT_PW, ROW
from lamina.testing.blocks import MemoryBlocks


def entry(i):
    """Entry number i: versions 10, 13, 16, ..., seqs 5, 12, 19, ..."""
    root = np.zeros(1, ROW)
    root["pw"], root["kind"], root["count"], root["version"] = ROOT_PW, INNER, i, 10 + 3 * i
    runs = np.array([(i, 7, 8 * i, 99)], ADDRESS)
    return Entry(10 + 3 * i, 5 + 7 * i, 1_000_000 + i, i, root if i else NO_ROWS, runs)


def same(a, b):
    assert a[:4] == b[:4]
    np.testing.assert_array_equal(a.root, b.root)
    np.testing.assert_array_equal(a.runs, b.runs)


def made(n, read):
    pointer = b""
    for i in range(n):
        out = read.segment()
        pointer = history.append(pointer, entry(i), out, read)
        out.finish()
    return pointer


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 31, 255, 256, 257, 300])
def test_every_entry_is_found_by_version_and_by_seq(n):
    read = MemoryBlocks()
    pointer = made(n, read)
    for found, i in zip(history.entries(pointer, read), range(n), strict=True):
        same(found, entry(i))
    numbers = set(range(n)) if n < 40 else {0, 1, 14, 15, 16, 17, 240, 254, n - 2, n - 1}
    for i in numbers:
        for version in (8 + 3 * i, 9 + 3 * i, 10 + 3 * i):
            same(history.find_version(pointer, version, read), entry(i))
        for seq in (5 + 7 * i, 11 + 7 * i):
            before, after = history.find_seq(pointer, seq, read)
            same(before, entry(i))
            assert (after is None) == (i == n - 1)
            same(after, entry(i + 1)) if after else None
    assert history.find_version(pointer, 10 + 3 * n, read) is None
    first, second = history.find_seq(pointer, 4, read)
    assert first is None
    assert (second is None) == (n == 0)


def test_older_pointers_stay_valid():
    read = MemoryBlocks()
    pointers = [b""]
    for i in range(40):
        out = read.segment()
        pointers.append(history.append(pointers[-1], entry(i), out, read))
        out.finish()
    for n, pointer in enumerate(pointers):
        assert [e.version for e in history.entries(pointer, read)] == [10 + 3 * i for i in range(n)]


def test_appending_costs_one_path():
    read = MemoryBlocks()
    pointer = made(1000, read)
    out = read.segment()
    history.append(pointer, entry(1000), out, read)
    assert out.offset - 64 <= 16 * 160 + 2 * 16 * 40


def test_built_at_once_it_answers_as_if_appended():
    for n in (1, 16, 17, 257):
        read = MemoryBlocks()
        out = read.segment()
        pointer = history.build(history.to_records([entry(i) for i in range(n)]), out)
        out.finish()
        for i, found in enumerate(history.entries(pointer, read)):
            same(found, entry(i))
        out = read.segment()
        longer = history.append(pointer, entry(n), out, read)
        out.finish()
        same(history.find_version(longer, 10 + 3 * n, read), entry(n))
        same(history.find_version(longer, 10 + 3 * (n // 2), read), entry(n // 2))


def test_runs_of_a_flush_come_back():
    versions = np.array([11, 12, 13, 20], np.uint64)
    seqs = np.array([100, 105, 106, 2**40], np.uint64)
    block = history.encode_runs(versions, seqs)
    assert len(block) < 40 + 26
    for found, expected in zip(history.decode_runs(block), (versions, seqs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_thousand_runs_take_a_few_bytes_each():
    n = np.arange(1000, dtype=np.uint64)
    assert len(history.encode_runs(n + 50, 3 * n + 1000)) < 100


def test_a_damaged_pointer_is_corrupt():
    with pytest.raises(Corrupt, match="28 bytes, found 5"):
        history.find_version(b"short", 1, MemoryBlocks())
