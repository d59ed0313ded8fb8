"""What a program may give as content, and that it has the length that was announced."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from lamina.reduct.batch.common import DEFAULT_TYPE
from lamina.reduct.error import ReductError
from lamina.reduct.transport import Body

TEXT_TYPE = "text/plain; charset=utf-8"

TOO_LONG = "Content is bigger than in content-length"
TOO_SHORT = "Content is smaller than in content-length"
"""As the server says it."""


def checked(data: object, content_length: int | None) -> tuple[Body, int, str]:
    """Body, length and default type of a content. Raises TypeError, ReductError (length)."""
    if isinstance(data, str):
        body, _, _ = checked(data.encode(), content_length)
        return body, len(data.encode()), TEXT_TYPE
    if isinstance(data, bytes | bytearray | memoryview):
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        if content_length is not None and content_length != size:
            raise ReductError(400, TOO_LONG if content_length < size else TOO_SHORT)
        return data if isinstance(data, bytes) else bytes(data), size, DEFAULT_TYPE
    if not isinstance(data, AsyncIterable):
        raise TypeError(f"data is {type(data).__name__}: expected bytes, or an async iterator of bytes")
    if content_length is None:
        raise TypeError("an async iterator needs content_length: the size of a record is announced before its content")
    if content_length == 0:
        return b"", 0, DEFAULT_TYPE  # nothing is announced, and nothing asked for
    return _announced(aiter(data), content_length), content_length, DEFAULT_TYPE


async def _announced(data: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same; the last piece is given once it is known to be the last. Raises ReductError."""
    left = size
    async for piece in data:
        left -= len(piece)
        if left < 0:
            raise ReductError(400, TOO_LONG)
        if left == 0:
            async for more in data:
                if more:
                    raise ReductError(400, TOO_LONG)
            yield piece
            return
        if piece:
            yield piece
    raise ReductError(400, TOO_SHORT)
