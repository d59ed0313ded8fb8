"""The checksum of many pieces."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.storage.crc import crc32c, crc32c_each


@given(st.lists(st.binary(max_size=40)))
def test_each_piece_has_its_own(pieces):
    assert crc32c_each(b"".join(pieces), [len(piece) for piece in pieces]) == [crc32c(piece) for piece in pieces]


@given(st.integers(0, 5), st.binary(max_size=60))
def test_each_piece_of_one_length_has_its_own(size, data):
    count = len(data) // size if size else 3
    expected = [crc32c(data[at * size : (at + 1) * size]) for at in range(count)]
    assert crc32c_each(data[: count * size], [size] * count) == expected
    assert crc32c_each(data, [size] * count) == expected, "bytes behind the last piece do not count"
