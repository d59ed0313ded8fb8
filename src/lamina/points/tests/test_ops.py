"""Ops of points: whatever goes in comes out, and damaged bytes are Corrupt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import Corrupt, UnknownFormat
from lamina.points import ops
from lamina.points.packed import _alike as unpacked_alike
from lamina.points.point import EPOCH, MICROSECOND, Point
from lamina.points.tests.strategies import LISTS, batch_of, described


def body_of(parts: list[bytes]) -> bytes:
    return b"".join(bytes(part) for part in parts)


@settings(deadline=None)
@given(LISTS, st.integers(0, 2**40), st.booleans())
def test_an_insert_comes_back_with_its_ordinals(listed: list[Point], first: int, scattered: bool) -> None:
    places = np.arange(len(listed)) * 3 + 1 if scattered else None
    parts = ops.insert_parts(batch_of(listed), 0, places)
    parts[0] = ops.insert_head(first, scattered=scattered)
    body = body_of(parts)
    assert len(body) % 8 == 0
    batch, ordinals = ops.decode_insert(memoryview(body))
    assert described(batch.points("m")) == described(listed)
    assert ordinals.tolist() == [first + (3 * i + 1 if scattered else i) for i in range(len(listed))]


@settings(deadline=None)
@given(LISTS)
def test_updates_and_removals_come_back(listed: list[Point]) -> None:
    ordinals = np.arange(len(listed), dtype=np.uint64) * 7 + 2
    batch, found = ops.decode_update(body_of(ops.update_parts(batch_of(listed), ordinals)))
    assert described(batch.points("m")) == described(listed)
    assert found.tolist() == ordinals.tolist()
    assert ops.decode_remove(ops.remove_body(ordinals)).tolist() == ordinals.tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(LISTS, st.integers(1, 3), st.booleans()), max_size=5))
def test_many_inserts_read_at_once_are_each_read_by_itself(calls: list[tuple[list[Point], int, bool]]) -> None:
    bodies, expected, numbers, sizes = [], [], [], []
    for listed, times, scattered in calls:
        for again in range(times):  # ops that are alike are read together
            places = np.arange(len(listed))[::-1] if scattered else None
            first = 1000 * len(bodies)
            bodies.append(body_of(ops.insert_parts(batch_of(listed), first, places)))
            expected += listed
            numbers += [first + i for i in (range(len(listed))[::-1] if scattered else range(len(listed)))]
            sizes.append(len(listed))
            assert again < times
    order = sorted(range(len(bodies)), key=lambda i: i % 2)  # alike ones apart from each other
    batch, ordinals, counts = ops.decode_inserts(bodies)
    assert described(batch.points("m")) == described(expected)
    assert ordinals.tolist() == numbers
    assert counts.tolist() == sizes
    mixed, _, _ = ops.decode_inserts([bodies[i] for i in order])
    apart = [point for i in order for point in ops.decode_insert(bodies[i])[0].points("m")]
    assert described(mixed.points("m")) == described(apart)


EXAMPLE = body_of(
    ops.insert_parts(
        batch_of(
            [
                Point(tags={"a": "x", "b": None}, fields={"f": 1.5, "i": 3, "t": "x", "n": None, "m": 1}),
                Point(tags={}, fields={"m": "y", "b": True, "f": 2.5}),
            ]
        ),
        5,
        np.array([1, 0]),
    )
)


def test_every_cut_is_corrupt() -> None:
    for end in range(len(EXAMPLE)):
        with pytest.raises(Corrupt):
            ops.decode_insert(EXAMPLE[:end])


@settings(deadline=None, max_examples=300)
@given(st.integers(16, len(EXAMPLE) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_corrupt_or_another_batch_but_no_other_error(at: int, flip: int) -> None:
    damaged = bytearray(EXAMPLE)
    damaged[at] ^= flip
    try:
        batch, _ = ops.decode_insert(bytes(damaged))
        batch._replace(time_us=np.zeros(batch.n, np.int64)).points("m")
    except Corrupt:
        pass


def test_what_a_newer_version_wrote_is_an_unknown_format() -> None:
    for at, what in ((8, "flags"), (12, "flags"), (16 + 20, "flags")):
        newer = bytearray(EXAMPLE)
        newer[at] = 8
        with pytest.raises(UnknownFormat, match=what):
            ops.decode_insert(bytes(newer))


def test_lying_counts_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="announces more ordinals"):
        ops.decode_remove(b"\xff\0\0\0\0\0\0\0")
    body = ops.remove_body(np.zeros(3, np.uint64)) + EXAMPLE[16:]
    with pytest.raises(Corrupt, match="2 points for 3 ordinals"):
        ops.decode_update(body)


def test_ops_of_every_kind_of_field_are_read_as_one_where_they_are_alike() -> None:
    def call(at: int) -> list[Point]:
        return [
            Point(
                time=EPOCH + (at + i) * MICROSECOND,
                measurement="m",
                tags={"host": "ab"[i % 2]},
                fields={"f": float(at * i), "i": at - i, "ok": i == at, "t": "xyz"[i], "none": None},
            )
            for i in range(3)
        ]

    bodies = [body_of(ops.insert_parts(batch_of(call(at)), 10 * at)) for at in range(5)]
    assert unpacked_alike(bodies, 16) is not None
    batch, ordinals, _ = ops.decode_inserts(bodies)
    assert described(batch.points("m")) == described([point for at in range(5) for point in call(at)])
    assert ordinals.tolist() == [10 * at + i for at in range(5) for i in range(3)]
    short = [body[:-8] for body in bodies[:1] * 2]
    with pytest.raises(Corrupt):
        ops.decode_inserts(short)
    tagset = 16 + 24 + int.from_bytes(bodies[0][32:36], "little") + 3 * 8
    text = tagset + 16 + 24 + 24 + 8  # behind the tag sets (padded), f, i and ok (padded)
    for at in (tagset, text):
        broken = bytearray(bodies[0])
        broken[at] = 0xFF
        with pytest.raises(Corrupt, match="not in it"):
            ops.decode_inserts([bytes(broken)] * 2)


def test_ops_with_a_mixed_field_are_each_read_by_itself() -> None:
    listed = [Point(time=EPOCH, measurement="m", fields={"m": value}) for value in (1, None, "x", 2.5)]
    bodies = [body_of(ops.insert_parts(batch_of(some), 0)) for some in (listed, listed[::-1])]
    assert unpacked_alike(bodies, 16) is None
    assert described(ops.decode_inserts(bodies)[0].points("m")) == described([*listed, *listed[::-1]])
