import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import Corrupt
from lamina.wire import frames

PORTIONS = st.lists(st.tuples(st.sampled_from([frames.DATA, frames.END, frames.FAILED]), st.binary(max_size=300)))


def written(portions):
    return b"".join(frames.head(kind, len(body)) + body for kind, body in portions)


def cut(data, places):
    """The data in chunks that end at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if b > a]


@given(PORTIONS, st.lists(st.integers(0, 10_000), max_size=20))
def test_frames_are_read_however_they_are_cut(portions, places):
    found = list(frames.frames(iter(cut(written(portions), places))))
    assert [(kind, bytes(body)) for kind, body in found] == portions


@given(st.lists(st.integers(0, 400_000), max_size=6))
def test_large_frames_stay_where_they_are_put_and_may_be_written_to(places):
    portions = [(0, b"a" * 100_000), (0, b"b"), (0, b"c" * 200_000), (1, b"")]
    found = list(frames.frames(iter(cut(written(portions), places))))
    assert [(kind, bytes(body)) for kind, body in found] == portions
    assert all(isinstance(body, bytearray) for _, body in found)


@given(PORTIONS, st.integers(0, 10_000))
def test_what_is_cut_off_gives_the_frames_before(portions, length):
    data = written(portions)
    found = list(frames.frames(iter([data[: length % (len(data) + 1)]])))
    assert [(kind, bytes(body)) for kind, body in found] == portions[: len(found)]


def test_a_large_frame_that_does_not_come_is_none():
    assert list(frames.frames(iter([frames.head(0, 1 << 20), b"x" * 1000]))) == []


@pytest.mark.parametrize("data", [b"\x09\0\0\0\0", b"\0\xff\xff\xff\xff", b"<html><body>"])
def test_what_are_no_frames_is_said(data):
    with pytest.raises(Corrupt, match="a frame of kind"):
        list(frames.frames(iter([data])))


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_json_and_payload_come_apart_as_they_went_together(json, payload):
    portion = frames.joined(json, payload)
    text, rest = frames.split(portion)
    assert (bytes(text).rstrip(b" "), bytes(rest)) == (json.rstrip(b" "), payload)
    assert (len(portion) - len(payload)) % 64 == 0


@pytest.mark.parametrize("portion", [b"", b"\0\0\0", b"\x05\0\0\0abc"])
def test_a_portion_that_ends_too_soon_is_said(portion):
    with pytest.raises(Corrupt, match="a portion of"):
        frames.split(portion)
