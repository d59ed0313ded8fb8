"""Op bodies: what is packed is what is read, and nothing malformed gets through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import Corrupt
from lamina.streams import ops

TIMES = np.array([1, 1, 5], np.int64)
VALUES = np.array([1.0, -0.0, 3.0])


def body(parts):
    return b"".join(bytes(part) for part in parts)


def test_delete_is_the_worked_example_of_the_format():
    expected = bytes.fromhex("0b00000000000000 0100000000000000 0200000000000000")
    assert ops.delete_body(11, 1, 2) == expected
    assert ops.decode(ops.DELETE, expected) == ops.Delete(11, 1, 2)


@pytest.mark.parametrize("removed", [None, np.array([4, 9], np.int64)])
def test_insert_and_replace_round_trip(removed):
    type = ops.INSERT if removed is None else ops.REPLACE
    found = ops.decode(type, body(ops.insert_parts(7, TIMES, VALUES, removed)) + bytes(8))
    assert found.version == 7
    assert found.times.tolist() == TIMES.tolist()
    assert found.values.tobytes() == VALUES.tobytes()
    assert removed is None or found.removed.tolist() == removed.tolist()


def test_tail_round_trips_its_runs():
    runs = [
        ops.Run(11, 3, ops.Insert(11, TIMES, VALUES)),
        ops.Run(12, 8, ops.Delete(12, -5, 5)),
        ops.Run(13, 9, ops.Insert(13, TIMES[:1], VALUES[:1], np.array([1], np.int64))),
    ]
    found = ops.decode(ops.TAIL, body(ops.tail_parts(runs)))
    assert [(run.version, run.seq, type(run.change)) for run in found] == [
        (run.version, run.seq, type(run.change)) for run in runs
    ]
    assert found[0].change.times.tolist() == [1, 1, 5]
    assert found[1].change == runs[1].change
    assert found[2].change.removed.tolist() == [1]


def test_insert_many_round_trips():
    parts = ops.many_parts(
        np.array([3, 4, 9], np.uint64), np.array([11, 12, 13], np.uint64), np.array([1, 0, 2], np.uint32), TIMES, VALUES
    )
    found = ops.decode_many(body(parts))
    assert found.streams.tolist() == [3, 4, 9]
    assert found.versions.tolist() == [11, 12, 13]
    assert found.points.tolist() == [1, 0, 2]
    assert found.values.tobytes() == VALUES.tobytes()


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 0]), st.binary(max_size=200))
def test_any_bytes_are_a_change_or_corrupt(type, data):
    try:
        (ops.decode_many if type == ops.INSERT_MANY else lambda b: ops.decode(type, b))(data)
    except Corrupt:
        return


@given(st.integers(0, 100))
def test_a_body_cut_short_is_corrupt(cut):
    whole = body(ops.insert_parts(7, TIMES, VALUES, TIMES[:1]))
    if cut < len(whole):
        with pytest.raises(Corrupt):
            ops.decode(ops.REPLACE, whole[:cut])
