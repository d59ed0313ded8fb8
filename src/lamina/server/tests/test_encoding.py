"""Compressed bodies, undone while they come."""

import asyncio
import gzip
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.server.encoding import PIECE_BYTES, WINDOW_LOG, Inflated, _zstd, coding_of, plain_headers
from lamina.server.limits import HttpLimits

MIB = 1 << 20


def zstd(data, level=3):
    return _zstd().compress(data, level)


PACK = {b"gzip": gzip.compress, b"zstd": zstd}


def cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


def inflate(coding, pieces, announced=None, encoded=None, **limits):
    """(body, whether it ended well, error, the longest piece)"""
    pieces = list(pieces)

    async def receive():
        if not pieces:
            return {"type": "http.disconnect"}
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def main():
        inflated = Inflated(receive, coding, announced, encoded, HttpLimits(**limits))
        found = []
        while True:
            message = await inflated.receive()
            if message["type"] == "http.disconnect":
                assert (await inflated.receive())["type"] == "http.disconnect"
                return b"".join(found), False, inflated.error, max(map(len, found), default=0)
            found.append(message["body"])
            if not message["more_body"]:
                return b"".join(found), True, inflated.error, max(map(len, found))

    return asyncio.run(main())


@given(st.binary(max_size=2000), st.integers(1, 50), st.sampled_from([b"gzip", b"zstd"]), st.integers(1, 3))
def test_what_was_compressed_comes_back_however_it_is_cut(data, size, coding, members):
    packed = PACK[coding](data) * members
    whole = data * members
    assert inflate(coding, cut(packed, size), announced=len(whole))[:3] == (whole, True, "")


@pytest.mark.parametrize("coding", PACK)
def test_pieces_are_bounded_however_well_they_compress(coding):
    data = bytes(10 * MIB)
    body, ended, error, longest = inflate(coding, [PACK[coding](data)], announced=len(data))
    assert (body == data, ended, error, longest) == (True, True, "", PIECE_BYTES)


@pytest.mark.parametrize("coding", PACK)
def test_more_than_announced_is_refused_at_the_first_byte_beyond(coding):
    packed = PACK[coding](bytes(5000))
    assert inflate(coding, [packed], announced=5000)[1:3] == (True, "")
    _, ended, error, _ = inflate(coding, [packed], announced=4999)
    assert (ended, "4999" in error) == (False, True)


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize("chunked", [False, True])
def test_without_an_announced_size_a_body_may_inflate_100_times(coding, chunked):
    noise = os.urandom(4000)
    for zeros, ok in ((100_000, True), (1_000_000, False)):
        packed = PACK[coding](noise + bytes(zeros))
        assert (len(noise) + zeros <= 100 * len(packed)) is ok
        _, ended, error, _ = inflate(coding, [packed], encoded=None if chunked else len(packed))
        assert (ended, error == "") == (ok, ok)


@pytest.mark.parametrize(("size", "ok"), [(100_000, True), (100_001, False)])
def test_without_an_announced_size_a_body_may_inflate_to_the_limit(size, ok):
    packed = gzip.compress(os.urandom(size))
    assert inflate(b"gzip", [packed], encoded=len(packed), inflated_bytes=100_000)[1] is ok


def test_an_announced_size_lifts_the_limits_of_others():
    data = bytes(2 * MIB)
    assert inflate(b"zstd", [zstd(data)], announced=len(data), inflated_bytes=1000)[:2] == (data, True)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(b"abc" * 100, mtime=0)[:-1]),
        (b"gzip", b"no gzip at all"),
        (b"gzip", zlib.compress(b"abc")),
        (b"gzip", gzip.compress(b"abc", mtime=0) + b"rubbish"),
        (b"zstd", zstd(b"abc" * 100)[:-1]),
        (b"zstd", b"no zstd at all"),
        (b"zstd", zstd(b"abc") + b"rubbish"),
    ],
)
def test_a_body_that_is_cut_off_or_something_else_is_an_error(coding, body):
    for size in (1, 1000):
        _, ended, error, _ = inflate(coding, cut(body, size), announced=10_000)
        assert not ended
        assert coding.decode() in error


def test_a_zstd_body_may_not_ask_for_a_large_window():
    parameter = _zstd().CompressionParameter
    noise = os.urandom(4096)

    def packed(window_log):
        compressor = _zstd().ZstdCompressor(options={parameter.window_log: window_log})
        return compressor.compress(noise) + compressor.flush()

    assert inflate(b"zstd", [packed(WINDOW_LOG)], announced=4096)[1:3] == (True, "")
    assert inflate(b"zstd", [packed(WINDOW_LOG + 1)], announced=4096)[1] is False


def test_an_empty_body_is_empty():
    assert inflate(b"gzip", [b""], announced=0)[:3] == (b"", True, "")


def test_a_lost_connection_is_no_error_of_the_body():
    assert inflate(b"gzip", [])[:3] == (b"", False, "")


@pytest.mark.parametrize(
    ("value", "coding"),
    [(None, None), (b"identity", None), (b"", None), (b"gzip", b"gzip"), (b" GZip ", b"gzip"), (b"zstd", b"zstd")],
)
def test_codings(value, coding):
    assert coding_of({} if value is None else {b"content-encoding": value}) == coding


@pytest.mark.parametrize("value", [b"br", b"deflate", b"gzip, gzip"])
def test_other_codings_are_named(value):
    with pytest.raises(InvalidArgument, match=value.decode()):
        coding_of({b"content-encoding": value})


def test_headers_tell_of_the_uncompressed_body():
    headers = [(b"content-length", b"5"), (b"content-encoding", b"gzip"), (b"x-reduct-content-length", b"9")]
    found, announced = plain_headers(headers, dict(headers))
    assert sorted(found) == [(b"content-length", b"9"), (b"x-reduct-content-length", b"9")]
    assert announced == 9
    assert plain_headers(headers[:2], dict(headers[:2])) == ([], None)


@pytest.mark.parametrize("value", [b"", b"-1", b"1e3", b"9" * 21])
def test_an_announced_size_is_a_number(value):
    with pytest.raises(InvalidArgument, match="x-reduct-content-length"):
        plain_headers([], {b"x-reduct-content-length": value})
