"""The checksum of many pieces."""

from hypothesis import given
from hypothesis import strategies as st

from lamina.storage.crc import crc32c, crc32c_each


@given(st.lists(st.binary(max_size=40)))
def test_each_piece_has_its_own(pieces):
    assert crc32c_each(b"".join(pieces), [len(piece) for piece in pieces]) == [crc32c(piece) for piece in pieces]
