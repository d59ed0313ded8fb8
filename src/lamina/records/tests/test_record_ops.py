"""Bodies of the log's ops of records: worked bytes, round trips, and that garbage is told, not believed."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamina.errors import Corrupt
from lamina.records import ops
from lamina.records.blocks import BlockLimits
from lamina.records.row import ROW

LIMITS = BlockLimits(64_000_000, 1024)
texts = st.text(max_size=20)
label_sets = st.dictionaries(texts, texts, max_size=4).map(lambda labels: tuple(sorted(labels.items())))


def test_an_append_byte_by_byte():
    tables = ops.encode_tables([(("k", "v"),)], ["t/p"])
    row = ops.ONE.pack(7, 3, 0, 3, 0, 0xDEADBEEF, 0, 29, 0, 0, 0)
    body = b"".join(bytes(part) for part in ops.append_parts(row, 1, 1, 1, tables, LIMITS, [b"abc"]))
    text = b"\x01\0\0\0" + b"\x01\0\0\0k" + b"\x01\0\0\0v" + b"\x03\0\0\0t/p"
    expected = struct.pack("<4IQII", 1, 1, 1, 24, 64_000_000, 1024, 0)
    expected += struct.pack("<5Q6I", 7, 3, 0, 3, 0, 0xDEADBEEF, 0, 29, 0, 0, 0)
    expected += text + bytes(-len(text) % 8) + b"abc"
    assert body == expected
    assert body[ops.contents_offset(1, len(tables)) :] == b"abc"


def test_the_others_byte_by_byte():
    times = np.array([1, (1 << 64) - 1], np.uint64)
    assert ops.remove_body(times) == struct.pack("<3Q", 2, 1, (1 << 64) - 1)
    assert ops.evict_body(9) == struct.pack("<Q", 9)
    body = ops.labels_body(times, [(("a", "b"),), (("a", "b"),)])
    text = b"\x01\0\0\0" + b"\x01\0\0\0a" + b"\x01\0\0\0b"
    assert body == struct.pack("<IIQQ", 2, 1, 1, (1 << 64) - 1) + text + bytes(-len(text) % 8) + bytes(8)


@given(st.lists(label_sets, min_size=1, max_size=5), st.lists(texts, min_size=1, max_size=3), st.binary(max_size=50))
def test_an_append_comes_back(sets, types, content):
    rows = np.zeros(len(sets), ROW)
    rows["time"] = np.arange(len(sets)) + 5
    rows["set"] = np.arange(len(sets))[::-1]
    rows["type"] = np.arange(len(sets)) % len(types)
    tables = ops.encode_tables(sets, types)
    body = b"".join(
        bytes(part)
        for part in ops.append_parts(rows.tobytes(), len(rows), len(sets), len(types), tables, LIMITS, [content])
    )
    found = ops.decode_append(body)
    assert found.rows.tolist() == rows.tolist()
    assert (list(found.sets), list(found.types), found.limits) == (sets, types, LIMITS)
    assert body[found.contents :] == content


@given(
    st.lists(
        st.tuples(st.integers(0, (1 << 64) - 1), label_sets, st.lists(st.text(max_size=3), max_size=3)), max_size=8
    ),
    st.integers(0, 7),
)
def test_labels_and_removals_come_back(updates, padding):
    times = np.array([time for time, _, _ in updates], np.uint64)
    sets, gone = [labels for _, labels, _ in updates], [tuple(names) for *_, names in updates]
    for names in (gone, []):
        body = ops.labels_body(times, sets, names) + bytes(padding)  # as the log pads them
        found = ops.decode_labels(body)
        assert (found.times.tolist(), found.sets) == (times.tolist(), sets)
        assert found.gone == (names or [()] * len(sets))
    assert ops.decode_remove(ops.remove_body(times)).tolist() == times.tolist()


def test_an_eviction_comes_back():
    assert ops.decode_evict(ops.evict_body((1 << 64) - 1)) == (1 << 64) - 1


def bodies() -> list[bytes]:
    rows = np.zeros(2, ROW)
    rows["set"] = [1, 0]
    tables = ops.encode_tables([(("k", "v"),), ()], ["t"])
    append = b"".join(bytes(p) for p in ops.append_parts(rows.tobytes(), 2, 2, 1, tables, LIMITS, [b"abc"]))
    times = np.array([1, 2], np.uint64)
    return [
        append,
        ops.labels_body(times, [(("a", "b"),), ()], [(), ("c", "dd")]),
        ops.remove_body(times),
        ops.evict_body(4),
    ]


DECODERS = (ops.decode_append, ops.decode_labels, ops.decode_remove, ops.decode_evict)


@given(
    st.integers(0, 3), st.integers(0, 400), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)
)
@example(0, 400, [(4, 0), (8, 0)])
def test_what_is_cut_or_changed_is_corrupt_or_reads_as_something(which, length, changes):
    body = bytearray(bodies()[which][:length])
    for at, value in changes:
        if at < len(body):
            body[at] = value
    with suppress(Corrupt):
        DECODERS[which](bytes(body))


@given(st.integers(0, 3), st.binary(max_size=200))
def test_garbage_is_corrupt_or_reads_as_something(which, data):
    with suppress(Corrupt):
        DECODERS[which](data)


@pytest.mark.parametrize("which", range(4))
def test_every_prefix_that_lacks_something_is_corrupt(which):
    body = bodies()[which]
    needed = len(body) - 3 if which == 0 else len(body)  # contents are not looked at here
    early = len(ops.labels_body(np.array([1, 2], np.uint64), [(("a", "b"),), ()]))  # what is behind need not be there
    for length in range(needed):
        if which == 1 and early <= length < early + 4:
            continue
        with pytest.raises(Corrupt):
            DECODERS[which](body[:length])


def test_rows_that_name_what_is_not_there_are_corrupt():
    append, labels, *_ = bodies()
    at = ops.HEAD.size + ROW.fields["set"][1]
    with pytest.raises(Corrupt, match="not in it"):
        ops.decode_append(append[:at] + b"\x09" + append[at + 1 :])
    with pytest.raises(Corrupt, match="not in it"):
        ops.decode_labels(ops.labels_body(np.array([1], np.uint64), [(("a", "b"),)])[:-1] + b"\x09")
    with pytest.raises(Corrupt, match="took off"):
        ops.decode_labels(labels[:-1] + b"\x09")
