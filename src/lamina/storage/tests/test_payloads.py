"""Payload files: what is written comes back, where it lies, which files there are, and who may still need them."""

from __future__ import annotations

import itertools
import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import Closed, Corrupt, InvalidArgument, NotFound, UnknownFormat
from lamina.storage import payloadfile, payloads, upload
from lamina.storage.checksums import CHUNK, array_bytes
from lamina.storage.crc import crc32c
from lamina.storage.local import LocalFiles
from lamina.storage.memory import MemoryFiles
from lamina.storage.payloadfile import FIRST, payload_path
from lamina.storage.payloads import FILE_BYTES, OWN_FILE, PayloadFiles

DATABASE = b"0123456789abcdef"
NOISE = random.Random(7).randbytes(3 << 20)


class Counting(MemoryFiles):
    """Counts descriptors and writes."""

    def __init__(self):
        super().__init__()
        self.handles = []
        self.writes = []

    def open(self, path, mode):
        file = super().open(path, mode)
        self.handles.append(file)
        outer = self

        class Counted(type(file)):
            __slots__ = ()

            def write_at(self, offset, parts):
                outer.writes.append((offset, [bytes(part) for part in parts]))
                super().write_at(offset, parts)

            def start_writeback(self, offset, length):
                outer.writes.append(("writeback", offset, length))

        file.__class__ = Counted
        return file

    @property
    def still_open(self):
        return sum(file._node is not None for file in self.handles)


def opened(files=None, first_id=1, **more):
    ids = itertools.count(first_id)
    return PayloadFiles(
        MemoryFiles() if files is None else files,
        database_id=DATABASE,
        epoch=3,
        segment_id=lambda: next(ids),
        **more,
    )


def put(payloads, content, bucket=1, **more):
    """Upload, durable and referred to: (file, where, crc)."""
    one = payloads.open_upload(bucket, len(content), **more)
    one.write(content)
    crc = one.finish()
    one.sync()
    one.release()
    return one.file, one.where, crc


def array_of(content):
    return np.array([crc32c(content[at : at + CHUNK]) for at in range(0, len(content), CHUNK)], "<u4").tobytes()


# Uploads


@settings(max_examples=60, deadline=None)
@given(
    size=st.one_of(st.integers(0, 300), st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 300_001])),
    cuts=st.lists(st.integers(0, 300_001), max_size=12),
    kind=st.sampled_from([bytes, bytearray, memoryview]),
)
def test_content_comes_back_however_it_was_cut(size, cuts, kind):
    payloads = opened()
    put(payloads, b"neighbour")
    content = NOISE[:size]
    one = payloads.open_upload(1, size)
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    for start, stop in itertools.pairwise(edges):
        chunk = bytearray(content[start:stop])
        one.write(kind(chunk))
        chunk[:] = bytes(len(chunk))  # a receive buffer is used again
    crc = one.finish()
    put(payloads, b"another")
    assert one.where % 8 == 0
    assert payloads.read(one.file, one.where, size) == content
    array = payloads.read(one.file, one.where + size, array_bytes(size))
    assert array == (array_of(content) if size > CHUNK else b"")
    assert crc == crc32c(array if size > CHUNK else content)


def test_long_chunks_go_to_the_disk_as_they_are_and_short_ones_together(monkeypatch):
    files = Counting()
    payloads = opened(files)
    one = payloads.open_upload(1, 1_000_000)
    files.writes.clear()
    one.write(NOISE[:100_000])
    assert files.writes == [(FIRST, [NOISE[:100_000]])]
    files.writes.clear()
    for at in range(100_000, 500_000, 1000):
        one.write(NOISE[at : at + 1000])
    (first,) = files.writes
    assert first == (FIRST + 100_000, [NOISE[at : at + 1000] for at in range(100_000, 363_000, 1000)])
    files.writes.clear()
    monkeypatch.setattr(upload, "PARTS", 3)
    one.write(b"")
    one.write(NOISE[500_000:500_001])
    assert len(files.writes) == 1, "not more buffers than one call takes"


def test_writing_back_starts_early():
    files = Counting()
    one = opened(files).open_upload(1, 10 << 20)
    files.writes.clear()
    for _ in range(10):
        one.write(NOISE[: 1 << 20])
    assert [call for call in files.writes if call[0] == "writeback"] == [("writeback", FIRST, 8 << 20)]


def test_more_or_fewer_bytes_than_announced_are_refused():
    payloads = opened()
    one = payloads.open_upload(1, 5)
    one.write(b"abcd")
    with pytest.raises(InvalidArgument, match=r"^Content is bigger than in content-length$"):
        one.write(b"ef")
    with pytest.raises(InvalidArgument, match=r"^Content is smaller than in content-length$"):
        one.finish()
    one.write(b"e")
    one.finish()
    assert payloads.read(one.file, one.where, 5) == b"abcde"


# Where contents lie


def test_header_is_durable_before_the_first_extent_and_says_whose_file_it_is():
    files = MemoryFiles()
    payloads = opened(files, first_id=0x12345)
    one = payloads.open_upload(1, 3)
    assert (one.file, one.where) == (0x12345, FIRST)
    head = files.open("segments/payload/45/00012345.dat", "read").read_at(0, FIRST)
    assert len(head) == FIRST
    assert head[:16] == b"LAMSEG\r\n" + bytes([1, 0, 1, 0]) + (0x12345).to_bytes(4, "little")
    assert head[16:24] == b"payload\0"
    assert head[24:40] == DATABASE
    assert int.from_bytes(head[40:44], "little") == 3
    assert int.from_bytes(head[60:64], "little") == crc32c(head[:60])
    length = int.from_bytes(head[64:68], "little")
    assert head[68 : 68 + length].startswith(b"lamina ")
    assert int.from_bytes(head[44:48], "little") == crc32c(head[64 : 68 + length])


def test_a_bucket_has_at_most_four_files_and_the_idlest_is_taken():
    payloads = opened()
    uploads = [payloads.open_upload(1, 5 << 20) for _ in range(8)]
    assert sorted(one.file for one in uploads) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert payloads.open_files(1) == [1, 2, 3, 4]
    uploads[2].abort()
    assert payloads.open_upload(1, 5 << 20).file == uploads[2].file
    assert payloads.open_upload(2, 10).file == 5, "no bucket writes into another's file"


def test_small_uploads_share_a_file_and_thereby_a_sync():
    payloads = opened()
    assert {payloads.open_upload(1, 100_000).file for _ in range(40)} == {1}


def test_a_file_that_is_full_is_followed_by_another():
    payloads = opened()
    places = [put(payloads, NOISE[:100_000], file_bytes=1 << 20)[:2] for _ in range(25)]
    assert [file for file, _ in places] == [1] * 10 + [2] * 10 + [3] * 5
    assert payloads.open_files(1) == [3], "full ones are closed for good"
    ends = [where + 100_000 + 8 for file, where in places if file == 1]
    assert max(ends) <= 1 << 20
    assert put(payloads, NOISE[: 2 << 20], file_bytes=1 << 20)[1] == FIRST, "one that never fits has one for itself"


def test_four_files_with_too_little_room_make_place_for_one():
    payloads = opened()
    many = [payloads.open_upload(1, 6 << 20, file_bytes=8 << 20) for _ in range(4)]
    for one in many:
        one.write(NOISE[: 3 << 20])
        one.write(NOISE[: 3 << 20])
        one.finish()
        one.sync()
        one.release()
    assert payloads.open_files(1) == [1, 2, 3, 4]
    five = payloads.open_upload(1, 6 << 20, file_bytes=8 << 20)
    assert five.file == 5
    assert len(payloads.open_files(1)) == 4


def test_a_long_content_has_a_file_of_its_own():
    payloads = opened()
    small = payloads.open_upload(1, 10)
    long = payloads.open_upload(1, OWN_FILE + 1)
    assert long.file != small.file
    assert payloads.open_upload(1, 10).file == small.file
    assert long.file in payloads.open_files(1)
    for at in range(0, OWN_FILE + 1, 1 << 20):
        long.write(NOISE[: min(1 << 20, OWN_FILE + 1 - at)])
    long.finish()
    long.sync()
    long.release()
    assert payloads.open_files(1) == [small.file], "it is complete"


# Which files may still be needed


def test_a_closed_file_counts_as_open_until_its_uploads_are_referred_to():
    payloads = opened()
    one = payloads.open_upload(1, 3)
    payloads.close_file(one.file)
    one.write(b"abc")
    one.finish()
    one.sync()
    assert payloads.open_files(1) == [one.file], "the op may be on its way"
    one.release()
    one.release()
    one.abort()
    assert payloads.open_files(1) == []
    assert payloads.read(one.file, one.where, 3) == b"abc"
    assert payloads.open_upload(1, 3).file != one.file


def test_a_file_whose_uploads_are_not_durable_counts_as_open():
    payloads = opened()
    one = payloads.open_upload(1, 3)
    payloads.close_file(one.file)
    one.write(b"abc")
    one.finish()
    one.release()
    assert payloads.open_files(1) == [one.file]
    payloads.sync_dirty()
    assert payloads.open_files(1) == []


def test_an_aborted_upload_leaves_a_dead_extent_that_is_not_used_again():
    payloads = opened()
    first = payloads.open_upload(1, 100)
    first.write(b"x")
    first.abort()
    first.abort()
    second = payloads.open_upload(1, 100)
    second.write(NOISE[:100])
    second.finish()
    second.abort()
    third = payloads.open_upload(1, 100)
    assert first.where < second.where < third.where
    payloads.close_file(1)
    third.abort()
    assert payloads.open_files(1) == [], "what is dead need not become durable"


@pytest.mark.parametrize("finished", [True, False])
def test_an_aborted_long_upload_leaves_no_file(finished):
    files = Counting()
    payloads = opened(files)
    one = payloads.open_upload(1, OWN_FILE + 1)
    for at in range(0, OWN_FILE + 1, 1 << 20):
        one.write(NOISE[: min(1 << 20, OWN_FILE + 1 - at)])
    if finished:
        one.finish()
        one.sync()
    one.abort()
    assert list(payloads.list()) == []
    assert payloads.open_files(1) == []
    assert files.still_open == 0


def test_a_restart_appends_to_no_old_file():
    files = MemoryFiles()
    before = opened(files)
    file, where, _ = put(before, b"abc")
    before.close()
    after = opened(files, first_id=2)
    assert after.open_files(1) == []
    assert after.open_upload(1, 3).file == 2
    assert after.read(file, where, 3) == b"abc"
    assert [id for id, _ in after.list()] == [1, 2]


# Many at once


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 2000), max_size=60),
    file_bytes=st.integers(FIRST, FIRST + 20_000),
    long=st.booleans(),
)
def test_many_contents_lie_in_order_and_come_back(sizes, file_bytes, long):
    payloads = opened()
    contents = [NOISE[at : at + size] for at, size in enumerate(sizes)]
    parts = [content if n % 2 else [content[:10], content[10:]] for n, content in enumerate(contents)]
    if long:
        contents.append(NOISE[:200_000] + array_of(NOISE[:200_000]))
        parts.append([memoryview(NOISE)[:200_000], array_of(NOISE[:200_000])])
    files, wheres = payloads.append_many(1, iter(parts), file_bytes)
    assert (files.dtype, wheres.dtype) == (np.uint32, np.uint64)
    payloads.sync(files)
    payloads.release(files)
    places = list(zip(files.tolist(), wheres.tolist(), map(len, contents), strict=True))
    assert [payloads.read(*place) for place in places] == contents
    assert [bytes(view) for view in payloads.read_many(places)] == contents
    mixed = random.Random(1).sample(range(len(places)), len(places))
    assert [bytes(view) for view in payloads.read_many([places[i] for i in mixed])] == [contents[i] for i in mixed]
    for (file, where, size), (next_file, next_where, _) in itertools.pairwise(places):
        assert next_where == where + -(-size // 8) * 8 if next_file == file else next_where == FIRST
    for file, where, size in places:
        assert where == FIRST or where + size <= file_bytes, f"file {file} is too long"


def test_nothing_comes_between_contents_that_are_laid_down_together():
    payloads = opened()
    others = []

    def contents():
        for n in range(3000):
            if n % 100 == 0:
                others.append(payloads.open_upload(1, 1000))
            yield NOISE[n : n + 1000]

    put(payloads, b"abc")
    files, wheres = payloads.append_many(1, contents())
    assert set(files.tolist()) == {1}, "the file there is goes on"
    assert set(np.diff(wheres).tolist()) == {1000}
    assert [one.file for one in others] == [1] + [2] * 29


def test_many_small_contents_are_written_with_few_calls():
    files = Counting()
    payloads = opened(files)
    payloads.append_many(1, [NOISE[:1000]] * 5000)
    assert len([call for call in files.writes if call[0] != "writeback"]) <= 7
    files.writes.clear()
    payloads.append_many(1, [NOISE[: 1 << 20]] * 9)
    assert len([call for call in files.writes if call[0] == "writeback"]) == 1


def test_files_that_were_filled_count_as_open_until_released():
    payloads = opened()
    files, _ = payloads.append_many(1, [NOISE[:1000]] * 300, file_bytes=100_000)
    ids = sorted(set(files.tolist()))
    assert len(ids) == 4
    payloads.sync(files)
    assert payloads.open_files(1) == ids
    payloads.release(files)
    assert payloads.open_files(1) == ids[-1:], "the last one has room"


def test_files_written_by_several_calls_are_released_once_by_the_set_they_share():
    payloads = opened()
    held = set()
    for _ in range(5):
        payloads.append_many(1, [NOISE[:1000]] * 50, 200_000, held)
    assert held == {1, 2}
    payloads.sync(held)
    others = set()
    files, _ = payloads.append_many(1, [NOISE[:1000]], 200_000, others)
    assert set(files.tolist()) == others == {2}
    payloads.sync(others)
    payloads.close_file(2)
    payloads.release(held)
    assert payloads.open_files(1) == [2], "the other one's"
    payloads.release(others)
    assert payloads.open_files(1) == []

    def broken():
        yield from [NOISE[:1000]] * 400
        raise RuntimeError("the source broke")

    held = set()
    payloads.append_many(1, [NOISE[:1000]], 200_000, held)
    with pytest.raises(RuntimeError):
        payloads.append_many(1, broken(), 200_000, held)
    assert held == {3}, "what a failed call held is not held"


def test_a_bucket_keeps_at_most_four_files_though_more_were_written_at_once():
    payloads = opened()

    def contents():
        yield b"x"
        for _ in range(4):
            payloads.open_upload(1, 5 << 20)
        yield b"y"

    files, _ = payloads.append_many(1, contents())
    assert len(payloads.open_files(1)) == 5
    payloads.sync(files)
    payloads.release(files)
    assert len(payloads.open_files(1)) <= 5
    assert len(payloads.shared[1]) == 4


def test_contents_that_fail_on_the_way_leave_nothing_held():
    payloads = opened()

    def contents():
        yield from [NOISE[:1000]] * 300
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        payloads.append_many(1, contents(), file_bytes=100_000)
    for id in payloads.open_files(1):
        payloads.close_file(id)
    assert payloads.open_files(1) == []


# Reading


def test_neighbours_are_read_by_one_call():
    files = MemoryFiles()
    payloads = opened(files)
    found, wheres = payloads.append_many(1, [NOISE[n : n + 1001] for n in range(80)])
    gap = put(payloads, NOISE[:5000])
    far = put(payloads, NOISE[:1000])
    calls = []
    payloads.read(1, FIRST, 1)  # opens it
    node_type = type(files.open(payload_path(1), "read"))
    real = node_type.read_at
    node_type.read_at = lambda self, offset, length: calls.append((offset, length)) or real(self, offset, length)
    try:
        places = [(1, where, 1001) for where in wheres.tolist()]
        got = payloads.read_many([(far[0], far[1], 1000), *places])
    finally:
        node_type.read_at = real
    assert calls == [(FIRST, 79 * 1008 + 1001), (far[1], 1000)]
    assert gap[1] < far[1]
    assert [bytes(view) for view in got] == [NOISE[:1000], *(NOISE[n : n + 1001] for n in range(80))]
    assert found.tolist() == [1] * 80


def test_ranges_read_at_once_stay_within_their_limit():
    payloads = opened()
    files, wheres = payloads.append_many(1, [NOISE[n : n + 60_000] for n in range(40)])
    places = [(file, where, 60_000) for file, where in zip(files.tolist(), wheres.tolist(), strict=True)]
    views = payloads.read_many([*places, places[3], (1, FIRST, 2_000_000)])
    assert [bytes(view) for view in views[:40]] == [NOISE[n : n + 60_000] for n in range(40)]
    assert bytes(views[40]) == NOISE[3:60_003]
    assert max(len(view.obj) for view in views[1:40]) <= 2_000_000
    assert len(views[41]) == 2_000_000


def test_places_outside_of_a_file_are_told_and_ask_for_no_memory():
    payloads = opened()
    file, where, _ = put(payloads, b"abc")
    with pytest.raises(Corrupt, match=r"payload/01/00000001\.dat: expected \d+ bytes at offset 4096"):
        payloads.read(file, where, 1 << 50)
    with pytest.raises(Corrupt, match="offset 4097"):
        payloads.read(file, where + 1, 3)
    with pytest.raises(Corrupt, match="offset 4097"):
        payloads.read_into(file, where + 1, memoryview(bytearray(3)))
    with pytest.raises(NotFound, match=r"payload/63/00000063\.dat"):
        payloads.read(99, FIRST, 1)
    with pytest.raises(NotFound, match=r"payload/63/00000063\.dat"):
        payloads.read_into(99, FIRST, memoryview(bytearray(1)))
    with pytest.raises(NotFound):
        payloads.size(99)
    assert payloads.size(file) == FIRST + 3


def test_a_file_is_read_while_it_grows():
    payloads = opened()
    for n in range(5):
        file, where, _ = put(payloads, NOISE[n : n + 100])
        assert payloads.read(file, where, 100) == NOISE[n : n + 100]
        buffer = bytearray(100)
        payloads.read_into(file, where, memoryview(buffer))
        assert buffer == NOISE[n : n + 100]


def test_a_newer_format_is_refused_and_a_damaged_header_is_not():
    files = MemoryFiles()
    file, where, _ = put(opened(files), b"abc")
    handle = files.open(payload_path(file), "append")
    head = bytearray(handle.read_at(0, 60))
    head[8] = 2
    handle.write_at(0, [head])
    assert opened(files).read(file, where, 3) == b"abc", "its CRC is wrong: damage, which the contents outlive"
    handle.write_at(0, [head, crc32c(head).to_bytes(4, "little")])
    with pytest.raises(UnknownFormat, match=r"offset 8: written by 'lamina .*' in format 2"):
        opened(files).read(file, where, 3)


def test_idle_descriptors_stay_within_the_limits(monkeypatch):
    monkeypatch.setattr(payloads, "WRITERS", 5)
    files = Counting()
    many = opened(files, open_limit=3)
    many._rest_above = 5
    places = [put(many, b"abc", bucket=n)[:2] for n in range(50)]
    assert files.still_open <= 6
    for file, where in places:
        assert many.read(file, where, 3) == b"abc"
    assert files.still_open <= 9
    again = [put(many, b"def", bucket=n)[:2] for n in range(50)]
    assert [file for file, _ in again] == [file for file, _ in places], "a file that rested is appended to again"
    assert [many.read(file, where, 3) for file, where in again] == [b"def"] * 50
    many.close()
    assert files.still_open == 0


def test_close_is_final():
    files = Counting()
    payloads = opened(files)
    one = payloads.open_upload(1, 3)
    place = put(payloads, b"abc")[:2]
    payloads.close()
    payloads.close()
    with pytest.raises(Closed):
        payloads.read(*place, 3)
    with pytest.raises(Closed):
        payloads.open_upload(1, 3)
    with pytest.raises(Closed):
        payloads.sync_dirty()
    one.write(b"abc")
    one.finish()
    with pytest.raises(Closed):
        one.sync()
    assert files.still_open == 0


# Deleting and punching


def test_a_deleted_file_is_gone_and_absent_ones_are_fine():
    files = Counting()
    payloads = opened(files)
    file, where, _ = put(payloads, b"abc")
    payloads.read(file, where, 3)
    payloads.delete(file)
    payloads.delete(file)
    assert files.still_open == 0, "an open descriptor would keep its space"
    with pytest.raises(NotFound):
        payloads.read(file, where, 3)
    assert payloads.open_files(1) == []
    assert payloads.open_upload(1, 3).file == 2


def test_an_upload_into_a_deleted_file_goes_nowhere():
    files = Counting()
    payloads = opened(files)
    one = payloads.open_upload(1, 3)
    payloads.delete(one.file)
    one.write(b"abc")
    one.finish()
    one.sync()
    one.release()
    assert files.still_open == 0
    assert list(payloads.list()) == []


def test_a_read_that_began_ends_well_although_its_file_is_deleted():
    files = Counting()
    payloads = opened(files)
    file, where, _ = put(payloads, b"abc")
    payloads.read(file, where, 1)
    payloads.close_file(file)
    reader = files.handles[-1]
    real = type(reader).read_at

    def deleting(self, offset, length):
        del type(self).read_at
        payloads.delete(file)
        return real(self, offset, length)

    type(reader).read_at = deleting
    assert payloads.read(file, where, 3) == b"abc"
    assert files.still_open == 0


def test_a_descriptor_opened_while_its_file_is_deleted_is_not_kept():
    files = Counting()
    payloads = opened(files)
    file, where, _ = put(payloads, b"abc")
    payloads.close_file(file)
    real = files.open

    def open_then_delete(path, mode):
        found = real(path, mode)
        files.open = real
        payloads.delete(file)
        return found

    files.open = open_then_delete
    assert payloads.read(file, where, 3) == b"abc"
    assert files.still_open == 0


def test_punching_takes_whole_pages_inside_only():
    payloads = opened()
    file, where, _ = put(payloads, NOISE[:20_000])
    assert payloads.punch(file, where + 1, 4096) is False, "no whole page"
    assert payloads.punch(file, 0, 5000) is False, "not the header"
    assert payloads.punch(file, where + 1, 10_000)
    assert payloads.read(file, where, 20_000) == NOISE[:4096] + bytes(4096) + NOISE[8192:20_000]
    with pytest.raises(NotFound):
        payloads.punch(99, FIRST, 10_000)


def test_listing_passes_over_what_is_not_ours():
    files = MemoryFiles()
    payloads = opened(files, first_id=255)
    put(payloads, b"abc")
    payloads.close_file(255)
    put(payloads, b"abcd")
    for name in ("segments/payload/00/00000101.dat", "segments/payload/00/zz.dat", "segments/payload/00/00000300.seg"):
        files.open(name, "create")
    assert list(payloads.list()) == [(256, FIRST + 4), (255, FIRST + 3)]
    assert list(opened().list()) == []


# On a disk


def test_reserved_space_is_given_back_when_a_file_is_through(tmp_path):
    files = LocalFiles(str(tmp_path))
    payloads = opened(files)
    file, where, _ = put(payloads, NOISE[:100_000])
    place = tmp_path / payload_path(file)
    reserved = place.stat().st_blocks * 512
    tail = payloads.open_upload(1, 50_000)
    tail.write(NOISE[:50_000])
    payloads.close_file(file)
    tail.abort()
    assert place.stat().st_size == where + 100_000 + array_bytes(100_000)
    assert place.stat().st_blocks * 512 <= min(reserved, 128 * 1024)
    assert payloads.read(file, where, 100_000) == NOISE[:100_000]


def test_many_threads_write_beside_each_other(tmp_path):
    payloads = opened(LocalFiles(str(tmp_path)))
    found, failures = [], []

    def work(seed):
        rng = random.Random(seed)
        try:
            for _ in range(12):
                size = rng.choice([100, 70_000, 300_000])
                at = rng.randrange(1 << 20)
                one = payloads.open_upload(seed % 2, size, file_bytes=2 << 20)
                for start in range(0, size, 50_000):
                    one.write(memoryview(NOISE)[at + start : at + min(start + 50_000, size)])
                if rng.random() < 0.2:
                    one.abort()
                    continue
                one.finish()
                one.sync()
                assert one.file in payloads.open_files(seed % 2)
                one.release()
                found.append((one.file, one.where, size, at))
                if rng.random() < 0.3:
                    files, wheres = payloads.append_many(seed % 2, [NOISE[at : at + 500]] * 30, 2 << 20)
                    payloads.sync(files)
                    payloads.release(files)
                    found.extend((*place, 500, at) for place in zip(files.tolist(), wheres.tolist(), strict=True))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for file, where, size, at in found:
        assert payloads.read(file, where, size) == NOISE[at : at + size]
    extents = sorted((file, where, where + size + array_bytes(size)) for file, where, size, _ in found)
    for (file, _, end), (next_file, where, _) in itertools.pairwise(extents):
        assert file != next_file or end <= where
    for bucket in (0, 1):
        assert len(payloads.open_files(bucket)) <= payloadfile.OPEN_FILES
    payloads.close()
    assert FILE_BYTES == 64 << 20
